#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/gemm/gemm_cases.h"
#include "kernels/gemm/gemm_portable.h"
#include "kernels/layernorm/layernorm.h"
#include "tests/kernels/suite.h"

namespace koine::testing {
namespace {

using Shape = GemmShape;
using Extras = GemmExtras;

// The sum of k products of standard normal numbers is a chain of k roundings at partial sums of size sqrt(k / 2) in the
// mean: together a standard deviation of at most 0.41 k 2^-24; six of them are granted, and twenty roundings of the epilogue
// (bias, activation, residual) at the size of the largest elements, 5 sqrt(k).
double granted(const Shape& shape) {
  const double root = std::sqrt(static_cast<double>(shape.k)) + 1;
  return fp32_error(2.5 * root, root) + fp32_error(20, 5 * root);
}

Case<GemmArguments> make_case(const Shape& shape, Transposes transposes, const Extras& extras) {
  Case<GemmArguments> test_case = gemm_case(shape, transposes, extras);
  for (Operand<GemmArguments>& operand : test_case.operands) {
    if (operand.written) operand.accumulation = granted(shape);
  }
  return test_case;
}

constexpr Transposes kAllTransposes[] = {Transposes::kNeither, Transposes::kB, Transposes::kA, Transposes::kBoth};

TEST(Gemm, SmallAndOddShapes) {
  for (const Shape& shape : {Shape{1, 1, 1}, Shape{1, 3, 64}, Shape{2, 17, 5, 3}, Shape{7, 65, 33}, Shape{16, 64, 32},
                             Shape{17, 16, 31, 1}, Shape{50, 130, 96}}) {
    for (const Transposes transposes : kAllTransposes) check_variants(make_case(shape, transposes, {}));
  }
}

TEST(Gemm, EmptyShapes) {
  for (const Shape& shape : {Shape{0, 5, 3}, Shape{5, 0, 3}, Shape{5, 40, 0}, Shape{0, 0, 0}}) {
    for (const Transposes transposes : kAllTransposes) check_variants(make_case(shape, transposes, {.bias = true}));
  }
  check_variants(make_case({5, 7, 0}, Transposes::kA, {.accumulate = true}));
}

// Around 512, around the number of rows (256) from which op(B) is packed once, and around the depth (992) at which op(A) is
// cut.
TEST(Gemm, ShapesAroundBorders) {
  for (const Shape& shape :
       {Shape{511, 20, 40}, Shape{20, 513, 64}, Shape{9, 33, 512}, Shape{256, 70, 32}, Shape{257, 140, 96, 5},
        Shape{33, 18, 992}, Shape{21, 66, 993}, Shape{300, 10, 1100}, Shape{5, 70, 2050}}) {
    for (const Transposes transposes : kAllTransposes) {
      Case<GemmArguments> test_case = make_case(shape, transposes, {.bias = true});
      // These borders are the CPU variants'; the CUDA kernels have theirs in the tests of plans.
      test_case.large = shape.k > 600 || shape.m > 256;
      check_variants(test_case);
    }
  }
}

TEST(Gemm, Epilogues) {
  const std::vector<Extras> list = {{.bias = true},
                                    {.residual = true},
                                    {.bias = true, .residual = true},
                                    {.epilogue = GemmEpilogue::kGelu},
                                    {.bias = true, .epilogue = GemmEpilogue::kGelu, .keep_pre_activation = true},
                                    {.epilogue = GemmEpilogue::kGeluGradient},
                                    {.accumulate = true},
                                    {.bias = true, .residual = false, .accumulate = true}};
  for (const Extras& extras : list) {
    for (const Shape& shape : {Shape{37, 75, 24}, Shape{270, 33, 64, 2}}) {
      for (const Transposes transposes : kAllTransposes) {
        Case<GemmArguments> test_case = make_case(shape, transposes, extras);
        test_case.large = shape.m > 256;
        check_variants(test_case);
      }
    }
  }
}

// The reference and the CUDA variants only.
TEST(Gemm, DropsHiddenUnits) {
  for (const Extras& extras : {Extras{.dropout_rate = 0.3f}, Extras{.bias = true, .residual = true, .dropout_rate = 0.3f}}) {
    check_variants(make_case({37, 75, 24}, Transposes::kB, extras));
    check_variants(make_case({66, 72, 40, 8}, Transposes::kNeither, extras));
  }
}

// --- the CUDA variant's tiles and parts of the depth ---------------------------------------------------------------------

GemmPlan planned;  // what variant_of_plan() launches
std::size_t planned_workspace(const GemmArguments& g) { return gemm_plan_workspace(g, planned); }
void launch_planned(const Context& context, const GemmArguments& g, void* workspace) {
  launch_gemm_plan(context, g, planned, workspace);
}
Variant<GemmArguments> variant_of_plan(const GemmPlan& plan) {
  planned = plan;
  return {"planned", Device::kCuda, kFrom80, nullptr, planned_workspace, launch_planned};
}

Outcome check_plan(const Case<GemmArguments>& test_case, DType type, const GemmPlan& plan) {
  const Variant<GemmArguments> variant = variant_of_plan(plan);
  const std::string label =
      concatenate("tile ", static_cast<int>(plan.tile), ", ", plan.splits, " parts, ", test_case.name, ": ");
  const Outcome truth = launch(test_case, reference_variant<GemmArguments>(), type, DType::kFloat64);
  const Outcome rounded = launch(test_case, reference_variant<GemmArguments>(), type, type);
  Outcome first = launch(test_case, variant, type, type, true);
  for (std::size_t i = 0; i < test_case.operands.size(); ++i) {
    if (test_case.operands[i].written) compare_operand(test_case, i, first, rounded, truth, label);
  }
  for_each_schedule([&](const std::string& schedule) {
    EXPECT_TRUE(same_bits(first, launch(test_case, variant, type, type, true))) << label << schedule << " differs";
  });
  return first;
}

bool cuda_available() {
  bool available = false;
  context_for(Device::kCuda, &available);
  return available;
}

constexpr Transposes kTiledTransposes[] = {Transposes::kNeither, Transposes::kB, Transposes::kA};

// Rows of all matrices begin on multiples of 16 bytes, and end inside of 16 bytes but in the second shape. Depths of less
// than one slice, of all slices under way, and of the ring more than once. All tiles give the same bits: a row's result does
// not depend on the number of rows, by which tiles are chosen.
TEST(Gemm, TilesAgree) {
  if (!cuda_available()) GTEST_SKIP();
  for (const Shape& shape : {Shape{125, 133, 21, 3}, Shape{136, 72, 96}, Shape{61, 133, 269, 3}}) {
    for (const Transposes transposes : kTiledTransposes) {
      const Case<GemmArguments> test_case = make_case(shape, transposes, {.bias = true, .residual = true});
      const Outcome small = check_plan(test_case, DType::kBFloat16, {GemmTile::kSmall, 1, shape.k});
      const Outcome large = check_plan(test_case, DType::kBFloat16, {GemmTile::kLarge, 1, shape.k});
      const Outcome elements = check_plan(test_case, DType::kBFloat16, {GemmTile::kSmallElements, 1, shape.k});
      EXPECT_TRUE(same_bits(small, large)) << test_case.name;
      EXPECT_TRUE(same_bits(small, elements)) << test_case.name;
    }
  }
}

TEST(Gemm, EpiloguesOfLargeTiles) {
  if (!cuda_available()) GTEST_SKIP();
  for (const Extras& extras : {Extras{.bias = true, .epilogue = GemmEpilogue::kGelu, .keep_pre_activation = true},
                               Extras{.epilogue = GemmEpilogue::kGeluGradient}, Extras{.accumulate = true},
                               Extras{.bias = true, .residual = true, .dropout_rate = 0.3f}}) {
    check_plan(make_case({130, 136, 40}, Transposes::kB, extras), DType::kBFloat16, {GemmTile::kLarge, 1, 40});
  }
}

TEST(Gemm, PartsOfTheDepth) {
  if (!cuda_available()) GTEST_SKIP();
  for (const Extras& extras : {Extras{.bias = true, .accumulate = true}, Extras{.residual = true, .dropout_rate = 0.3f},
                               Extras{.epilogue = GemmEpilogue::kGelu}}) {
    const Case<GemmArguments> test_case = make_case({72, 67, 150, 5}, Transposes::kA, extras);
    check_plan(test_case, DType::kFloat32, {GemmTile::kFloat, 3, 64});
    for (const GemmTile tile : {GemmTile::kLarge, GemmTile::kSmall, GemmTile::kSmallElements}) {
      Case<GemmArguments> aligned = make_case({77, 67, 150, 5}, Transposes::kA, extras);
      aligned.arguments.lda += 6;  // 88
      aligned.operands[0].values = random_values(150 * aligned.arguments.lda, 1);
      aligned.operands[0].count = 150 * aligned.arguments.lda;
      check_plan(aligned, DType::kBFloat16, {tile, 3, 64});
    }
  }
  check_variants(make_case({20, 24, 2050}, Transposes::kA, {.accumulate = true}));
}

TEST(Gemm, PlansDependOnShapes) {
  const auto plan_of = [](std::int64_t m, std::int64_t n, std::int64_t k, bool transpose_a, DType type) {
    GemmArguments g;
    g.m = m, g.n = n, g.k = k, g.transpose_a = transpose_a, g.transpose_b = !transpose_a;
    g.lda = transpose_a ? m : k, g.ldb = transpose_a ? n : k, g.ldc = n;
    g.input_type = type;
    return plan_gemm(g);
  };
  const DType bf16 = DType::kBFloat16;
  EXPECT_EQ(plan_of(16384, 1024, 1024, false, bf16).tile, GemmTile::kLarge);
  EXPECT_EQ(plan_of(1440, 1024, 4096, false, bf16).tile, GemmTile::kLarge);
  EXPECT_EQ(plan_of(32, 1024, 1024, false, bf16).tile, GemmTile::kSmall);
  EXPECT_EQ(plan_of(32, 1024, 1023, false, bf16).tile, GemmTile::kSmallElements);
  EXPECT_EQ(plan_of(1024, 1024, 16384, true, bf16).tile, GemmTile::kLarge);
  EXPECT_EQ(plan_of(1024, 1024, 16384, true, bf16).splits, 4);
  EXPECT_EQ(plan_of(1023, 1024, 16384, true, bf16).tile, GemmTile::kSmallElements);
  EXPECT_EQ(plan_of(1023, 1024, 16384, true, bf16).splits, 4);
  EXPECT_EQ(plan_of(3072, 1024, 16384, true, bf16).splits, 4);  // 192 tiles are three quarters of a wave, 768 nearly three
  EXPECT_EQ(plan_of(250002, 1024, 16384, true, bf16).splits, 1);
  EXPECT_EQ(plan_of(768, 768, 700, true, bf16).splits, 1);
  EXPECT_EQ(plan_of(768, 768, 700, true, bf16).tile, GemmTile::kSmall);
  for (const DType type : {DType::kFloat32, bf16}) {
    for (const std::int64_t m : {1, 40, 3000}) EXPECT_EQ(plan_of(m, 64, 65536, false, type).splits, 1);
    const GemmPlan plan = plan_of(64, 64, 9000, true, type);
    EXPECT_GT(plan.splits, 8);
    EXPECT_LT((plan.splits - 1) * plan.depth, 9000);
    EXPECT_GE(plan.splits * plan.depth, 9000);
  }
}

// With dropout: what layernorm's sum is after a plain product, bit for bit.
TEST(Gemm, DropoutIsThatOfLayerNorm) {
  if (!cuda_available()) GTEST_SKIP();
  const std::int64_t m = 70, n = 80;
  for (const DType type : {DType::kFloat32, DType::kBFloat16}) {
    const Variant<GemmArguments>& variant = operation<GemmArguments>().variants.front();
    ASSERT_EQ(variant.name, "portable");
    const Case<GemmArguments> fused =
        make_case({m, n, 40}, Transposes::kB, {.bias = true, .residual = true, .dropout_rate = 0.3f});
    const Outcome sums = launch(fused, variant, type, type, true);
    const Outcome product = launch(make_case({m, n, 40}, Transposes::kB, {.bias = true}), variant, type, type, true);
    Buffer sum(type, m * n), output(type, m * n), weight(DType::kFloat32, n), bias(DType::kFloat32, n),
        mean(DType::kFloat32, m), rstd(DType::kFloat32, m);
    LayerNormForwardArguments norm;
    norm.type = type;
    norm.rows = m;
    norm.width = n;
    norm.input = product.buffers[2].data();
    norm.residual = sums.buffers[4].data();
    norm.dropout = fused.arguments.dropout;
    norm.sum = sum.data();
    norm.output = output.data();
    norm.weight = static_cast<const float*>(weight.data());
    norm.bias = static_cast<const float*>(bias.data());
    norm.mean = static_cast<float*>(mean.data());
    norm.rstd = static_cast<float*>(rstd.data());
    layernorm_forward(Context{}, norm);
    EXPECT_EQ(std::memcmp(sum.data(), sums.buffers[2].data(), sum.bytes()), 0) << name_of(type);
  }
}

// bf16 inputs also go to an fp32 output that is overwritten.
TEST(Gemm, MixedTypesWithoutAccumulation) {
  Case<GemmArguments> test_case = make_case({40, 50, 60}, Transposes::kB, {});
  test_case.set_type = [](GemmArguments& to, DType type) {
    to.input_type = type;
    to.output_type = DType::kFloat32;
  };
  test_case.fixed(test_case.operand("c"), DType::kFloat32);
  check_variants(test_case);
}

// Operands that are packed in several chunks: more than 16 MB of each.
TEST(Gemm, SeveralChunks) {
  const std::int64_t m = 2200, n = 2300, k = 2000;
  for (const Variant<GemmArguments>& variant : operation<GemmArguments>().variants) {
    GemmArguments g;
    g.m = m, g.n = n, g.k = k;
    g.transpose_a = true, g.transpose_b = true;
    g.lda = m, g.ldb = k, g.ldc = n;
    std::vector<float> a(static_cast<std::size_t>(k * m)), b(static_cast<std::size_t>(n * k)),
        c(static_cast<std::size_t>(m * n));
    // Small integers: every sum is exact.
    for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i % 7) - 3;
    for (std::size_t i = 0; i < b.size(); ++i) b[i] = static_cast<float>(i % 5) - 2;
    g.a = a.data(), g.b = b.data(), g.c = c.data();
    if (variant.name == kReference || !usable(variant, Context{}, g)) continue;
    Buffer workspace(variant.workspace_bytes(g));
    variant.launch(Context{}, g, workspace.data());
    EXPECT_TRUE(workspace.guards_intact());
    TestRandom random(9);
    for (int trial = 0; trial < 2000; ++trial) {
      const std::int64_t row = random.below(m), column = random.below(n);
      double expected = 0;
      for (std::int64_t i = 0; i < k; ++i)
        expected += a[static_cast<std::size_t>(i * m + row)] * b[static_cast<std::size_t>(column * k + i)];
      ASSERT_EQ(c[static_cast<std::size_t>(row * n + column)], expected) << variant.name << " " << row << " " << column;
    }
  }
}

std::vector<unsigned char> product_of_first_rows(const Variant<GemmArguments>& variant, GemmArguments g, std::int64_t rows) {
  const std::size_t bytes = static_cast<std::size_t>(rows * g.n) * size_of(g.output_type);
  Buffer c(g.output_type, rows * g.n);
  g.m = rows;
  g.c = c.data();
  Buffer workspace(variant.workspace_bytes(g));
  variant.launch(Context{}, g, workspace.data());
  const auto* begin = static_cast<const unsigned char*>(c.data());
  return {begin, begin + bytes};
}

// A row's result does not depend on how many rows the product has: what makes a sentence's encoding independent of its
// batch.
TEST(Gemm, RowsDoNotDependOnTheirNumber) {
  constexpr std::int64_t kRows = 600;
  for (const DType type : {DType::kFloat32, DType::kBFloat16}) {
    for (const std::int64_t k : {96, 1021}) {
      Buffer a(type, kRows * k), b(type, 100 * k);
      const std::vector<double> values = random_values(kRows * k, 8);
      for (std::int64_t i = 0; i < kRows * k; ++i) store_element(a.data(), type, i, values[static_cast<std::size_t>(i)]);
      for (std::int64_t i = 0; i < 100 * k; ++i) store_element(b.data(), type, i, values[static_cast<std::size_t>(i)]);
      GemmArguments g;
      g.n = 100, g.k = k, g.lda = k, g.ldb = k, g.ldc = 100, g.transpose_b = true;
      g.a = a.data(), g.b = b.data(), g.input_type = type, g.output_type = type;
      for (const Variant<GemmArguments>& variant : operation<GemmArguments>().variants) {
        if (variant.name == kReference || !usable(variant, Context{}, g)) continue;
        const std::vector<unsigned char> whole = product_of_first_rows(variant, g, kRows);
        for (std::int64_t rows = 1; rows < kRows; rows += k < 100 ? 1 : 37) {
          const std::vector<unsigned char> part = product_of_first_rows(variant, g, rows);
          ASSERT_EQ(std::memcmp(part.data(), whole.data(), part.size()), 0)
              << variant.name << " " << name_of(type) << " " << rows << " rows, k " << k;
        }
      }
    }
  }
}

// Operands that are the corner of larger matrices: what lies beyond them is NaN here, and is not read.
TEST(Gemm, ReadsOnlyItsOperands) {
  const std::int64_t m = 37, n = 75, k = 33, large = 160;
  for (const DType type : {DType::kFloat32, DType::kBFloat16}) {
    for (const Transposes transposes : kAllTransposes) {
      GemmArguments g = make_case({m, n, k}, transposes, {}).arguments;
      Buffer a(type, large * large, true), b(type, large * large, true), c(type, m * n);
      const auto fill = [&](Buffer& to, std::int64_t rows, std::int64_t columns) {
        for (std::int64_t i = 0; i < rows * columns; ++i)
          store_element(to.data(), type, i / columns * large + i % columns, 1);
      };
      fill(a, g.transpose_a ? k : m, g.transpose_a ? m : k);
      fill(b, g.transpose_b ? n : k, g.transpose_b ? k : n);
      g.a = a.data(), g.b = b.data(), g.c = c.data(), g.lda = g.ldb = large, g.input_type = g.output_type = type;
      for (const Variant<GemmArguments>& variant : operation<GemmArguments>().variants) {
        bool available = true;
        const Context context = context_for(variant.device, &available);
        if (!available || !usable(variant, context, g)) continue;
        Buffer workspace(variant.workspace_bytes == nullptr ? 0 : variant.workspace_bytes(g));
        if (variant.device == Device::kCuda) {
          launch_on_device(context, variant, g, {}, {&a, &b, &c, &workspace}, workspace.data());
        } else {
          variant.launch(context, g, workspace.data());
        }
        for (std::int64_t i = 0; i < m * n; ++i) ASSERT_EQ(load_element(c.data(), type, i), k) << variant.name << " " << i;
      }
    }
  }
}

// C is the GELU of the pre-activation as it is stored, so that backward sees what forward saw.
TEST(Gemm, ActivationIsOfTheStoredValue) {
  const std::int64_t m = 40, n = 90;
  const Case<GemmArguments> test_case =
      make_case({m, n, 20}, Transposes::kB, {.bias = true, .epilogue = GemmEpilogue::kGelu, .keep_pre_activation = true});
  for (const Variant<GemmArguments>& variant : operation<GemmArguments>().variants) {
    GemmArguments typed = test_case.arguments;
    test_case.set_type(typed, DType::kBFloat16);
    bool available = true;
    if (!usable(variant, context_for(variant.device, &available), typed) || !available) continue;
    const Outcome outcome = launch(test_case, variant, DType::kBFloat16, DType::kBFloat16);
    for (std::int64_t i = 0; i < m * n; ++i) {
      const double x = outcome.value(4, i);
      const double expected = 0.5 * x * std::erfc(-x / std::sqrt(2.0));
      // erf in fp32 is off by 1e-7 at most.
      EXPECT_NEAR(outcome.value(2, i), expected, one_rounding(DType::kBFloat16, expected) * 1.001 + std::fabs(x) * 1e-7)
          << variant.name;
    }
  }
}

TEST(Gemm, CountsWork) {
  GemmArguments g;
  g.m = 3, g.n = 5, g.k = 7;
  g.input_type = DType::kBFloat16, g.output_type = DType::kFloat32;
  EXPECT_EQ(operation<GemmArguments>().flops(g), 210);
  EXPECT_EQ(operation<GemmArguments>().bytes(g), (21 + 35) * 2 + 15 * 4);
  g.accumulate = true;
  EXPECT_EQ(operation<GemmArguments>().bytes(g), (21 + 35) * 2 + 2 * 15 * 4);
}

TEST(Gemm, RefusesWrongArguments) {
  std::vector<float> data(64);
  GemmArguments good;
  good.m = good.n = good.k = good.lda = good.ldb = good.ldc = 4;
  good.a = good.b = data.data();
  good.c = data.data() + 32;
  const auto refuses = [&](const char* text, const std::function<void(GemmArguments&)>& spoil) {
    GemmArguments g = good;
    spoil(g);
    try {
      operation<GemmArguments>().validate(g);
      ADD_FAILURE() << "accepted: " << text;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
    }
  };
  EXPECT_NO_THROW(operation<GemmArguments>().validate(good));
  refuses("negative size", [](auto& g) { g.k = -1; });
  refuses("lda is shorter", [](auto& g) { g.lda = 3; });
  refuses("ldb is shorter", [](auto& g) { g.n = 3, g.ldb = 3, g.transpose_b = true; });
  refuses("ldc is shorter", [](auto& g) { g.ldc = 3; });
  refuses("C is null", [](auto& g) { g.c = nullptr; });
  refuses("A or B is null", [](auto& g) { g.b = nullptr; });
  refuses("no product of these types", [](auto& g) { g.output_type = DType::kBFloat16; });
  refuses("no product of these types", [](auto& g) { g.output_type = DType::kFloat64; });
  refuses("accumulate in fp32 only", [](auto& g) { g.input_type = g.output_type = DType::kBFloat16, g.accumulate = true; });
  refuses("accumulate goes with no activation", [](auto& g) { g.epilogue = GemmEpilogue::kGelu, g.accumulate = true; });
  refuses("residual goes with no activation", [](auto& g) { g.epilogue = GemmEpilogue::kGelu, g.residual = g.a; });
  refuses("there is no activation", [](auto& g) { g.pre_activation = g.c; });
  refuses("dropout goes with no activation", [](auto& g) { g.dropout.rate = 0.1f, g.accumulate = true; });
  refuses("dropout goes with no activation", [](auto& g) { g.dropout.rate = 0.1f, g.epilogue = GemmEpilogue::kGelu; });
  refuses("examples and positions", [](auto& g) { g.dropout.rate = 0.1f; });
  refuses("needs pre_activation", [](auto& g) { g.epilogue = GemmEpilogue::kGeluGradient; });
}

}  // namespace
}  // namespace koine::testing
