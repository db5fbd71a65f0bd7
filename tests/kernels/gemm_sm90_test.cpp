// The product for 9.0 beyond what the suite of all variants asks (gemm_test.cpp): against the portable one bit for bit, with
// few blocks and many tiles, with sums that are cut, and its plan.

#if !defined(KOINE_HAVE_CUDA)

#include "kernels/gemm/gemm_sm90.h"

#include <cstring>
#include <functional>

#include "kernels/gemm/gemm_portable.h"
#include "kernels/gemm/gemm_tile.h"
#include "tests/kernels/cuda_layer.h"
#include "tests/kernels/hopper_host.h"

namespace koine {
namespace {

using cuda::DeviceArray;
using cuda::Emulated;

struct Shape {
  std::int64_t m;
  std::int64_t n;
  std::int64_t k;
  bool transpose_a = false;
  bool transpose_b = true;
};

/// A product with operands of its own. Rows lie 8 elements apart from each other.
struct Problem {
  GemmArguments g;
  std::vector<BFloat16> host_a;
  std::vector<BFloat16> host_b;
  DeviceArray<BFloat16> a;
  DeviceArray<BFloat16> b;
  DeviceArray<float> bias;
  DeviceArray<BFloat16> other;  // residual or pre-activation

  explicit Problem(const Shape& shape)
      : host_a(values((shape.transpose_a ? shape.k : shape.m) * stride(shape.transpose_a ? shape.m : shape.k), 1)),
        host_b(values((shape.transpose_b ? shape.n : shape.k) * stride(shape.transpose_b ? shape.k : shape.n), 2)),
        a(host_a),
        b(host_b),
        bias(std::vector<float>(static_cast<std::size_t>(shape.n), 0.25f)),
        other(values(shape.m * stride(shape.n), 3)) {
    g.m = shape.m, g.n = shape.n, g.k = shape.k;
    g.transpose_a = shape.transpose_a, g.transpose_b = shape.transpose_b;
    g.a = a.data(), g.lda = stride(shape.transpose_a ? shape.m : shape.k);
    g.b = b.data(), g.ldb = stride(shape.transpose_b ? shape.k : shape.n);
    g.ldc = stride(shape.n);
    g.input_type = DType::kBFloat16;
  }

  static std::int64_t stride(std::int64_t width) { return (width + 15) / 8 * 8; }
  static std::vector<BFloat16> values(std::int64_t count, std::uint64_t seed) {
    testing::TestRandom random(seed);
    std::vector<BFloat16> result(static_cast<std::size_t>(count));
    for (BFloat16& value : result) value = to_bfloat16(static_cast<float>(random.normal()));
    return result;
  }
  float a_at(std::int64_t row, std::int64_t depth) const {
    return to_float(host_a[static_cast<std::size_t>(g.transpose_a ? depth * g.lda + row : row * g.lda + depth)]);
  }
  float b_at(std::int64_t depth, std::int64_t column) const {
    return to_float(host_b[static_cast<std::size_t>(g.transpose_b ? column * g.ldb + depth : depth * g.ldb + column)]);
  }

  template <class T>
  std::vector<T> run(const std::function<void(const GemmArguments&)>& product) {
    const DeviceArray<T> c(std::vector<T>(static_cast<std::size_t>(g.m * g.ldc), T{}));
    g.c = c.data();
    g.output_type = sizeof(T) == 4 ? DType::kFloat32 : DType::kBFloat16;
    product(g);
    return c.values();
  }
};

void run_portable(const GemmArguments& g) { launch_gemm_plan(Context{}, g, {GemmTile::kLarge, 1, g.k}, nullptr); }
void run_sm90(const GemmArguments& g, int multiprocessors) {
  launch_gemm_sm90(Context{}, g, plan_gemm_sm90(g, multiprocessors));
}
template <class T>
bool same_bits(const std::vector<T>& left, const std::vector<T>& right) {
  return std::memcmp(left.data(), right.data(), left.size() * sizeof(T)) == 0;
}

constexpr Shape kShapes[] = {
    {1, 1, 1}, {200, 136, 200}, {300, 129, 72, false, false}, {257, 72, 130, true, false}, {64, 400, 64, true, false}};

TEST(GemmSm90, HasTheBitsOfThePortableOne) {
  const Emulated device(90);
  for (const Shape& shape : kShapes) {
    Problem problem(shape);
    const std::vector<float> expected = problem.run<float>(run_portable);
    cuda::for_schedules([&] {
      // Two clusters: each has several tiles one after the other.
      EXPECT_TRUE(same_bits(problem.run<float>([](const GemmArguments& g) { run_sm90(g, 4); }), expected))
          << shape.m << ' ' << shape.n << ' ' << shape.k;
    });
  }
}

TEST(GemmSm90, OneClusterMakesAllTiles) {
  const Emulated device(90);
  Problem problem({600, 260, 400, false, true});  // 7 slices a tile: the ring is shorter than one
  const std::vector<float> expected = problem.run<float>(run_portable);
  for (const int multiprocessors : {2, 7, 132}) {
    EXPECT_TRUE(same_bits(problem.run<float>([&](const GemmArguments& g) { run_sm90(g, multiprocessors); }), expected));
  }
}

TEST(GemmSm90, EpiloguesHaveTheBitsOfThePortableOne) {
  const Emulated device(90);
  const Shape shape = {150, 200, 96};
  const std::vector<std::function<void(Problem&)>> epilogues = {
      [](Problem& p) { p.g.bias = p.bias.data(); },
      [](Problem& p) { p.g.epilogue = GemmEpilogue::kGelu, p.g.bias = p.bias.data(); },
      [](Problem& p) { p.g.epilogue = GemmEpilogue::kGeluGradient, p.g.pre_activation = p.other.data(); },
      [](Problem& p) { p.g.residual = p.other.data(), p.g.bias = p.bias.data(); }};
  for (const auto& set : epilogues) {
    Problem problem(shape);
    set(problem);
    const std::vector<BFloat16> expected = problem.run<BFloat16>(run_portable);
    EXPECT_TRUE(same_bits(problem.run<BFloat16>([](const GemmArguments& g) { run_sm90(g, 4); }), expected));
  }
}

/// Sums that are cut as tensor cores cut them: each step of 16 loses at most 18 units of the largest term or sum in it.
void check_sums_that_are_cut(const std::function<void(const GemmArguments&)>& product) {
  Problem problem({70, 90, 1024});
  cuda::host::set_truncating_sums(true);
  const std::vector<float> cut = problem.run<float>(product);
  cuda::host::set_truncating_sums(false);
  double bias = 0;
  for (std::int64_t row = 0; row < 70; ++row) {
    for (std::int64_t column = 0; column < 90; ++column) {
      double sum = 0;
      double bound = 0;
      for (std::int64_t k = 0; k < 1024; k += 16) {
        double largest = std::fabs(sum);
        for (std::int64_t i = k; i < k + 16; ++i) {
          const double product = static_cast<double>(problem.a_at(row, i)) * problem.b_at(i, column);
          largest = std::max(largest, std::fabs(product));
          sum += product;
        }
        bound += 18 * std::ldexp(std::max(largest, std::fabs(sum)), -23);
      }
      const double found = cut[static_cast<std::size_t>(row * problem.g.ldc + column)];
      ASSERT_NEAR(found, sum, bound) << row << ' ' << column;
      bias += (std::fabs(found) - std::fabs(sum)) / (70 * 90);
    }
  }
  EXPECT_LT(bias, -std::ldexp(100.0, -24));  // towards zero: it is not rounding
}
TEST(GemmSm90, SumsThatAreCutStayNear) {
  const Emulated device(90);
  check_sums_that_are_cut([](const GemmArguments& g) { run_sm90(g, 4); });
  check_sums_that_are_cut(run_portable);
}

TEST(GemmSm90, APlanMakesEachTileOnce) {
  for (const int multiprocessors : {132, 128, 114, 2}) {
    for (const std::int64_t m : {1, 1440, 16384}) {
      for (const std::int64_t n : {1024, 3072, 250002}) {
        GemmArguments g;
        g.m = m, g.n = n, g.k = 1024;
        const GemmSm90Plan plan = plan_gemm_sm90(g, multiprocessors);
        EXPECT_LE(2 * plan.clusters, multiprocessors);
        EXPECT_GE(plan.row_pairs * 256, m);
        EXPECT_LT((plan.row_pairs - 1) * 256, m);
        EXPECT_GE(plan.column_tiles * 128, n);
        EXPECT_LT((plan.column_tiles - 1) * 128, n);
        std::vector<int> made(static_cast<std::size_t>(plan.row_pairs * plan.column_tiles));
        for (int cluster = 0; cluster < plan.clusters; ++cluster) {
          for (int tile = cluster; tile < plan.row_pairs * plan.column_tiles; tile += plan.clusters) {
            const cuda::TilePlace place = cuda::tile_place(tile, plan.row_pairs, plan.column_tiles);
            ASSERT_TRUE(place.row < plan.row_pairs && place.column < plan.column_tiles);
            ++made[static_cast<std::size_t>(place.row * plan.column_tiles + place.column)];
          }
        }
        EXPECT_TRUE(std::all_of(made.begin(), made.end(), [](int times) { return times == 1; }));
      }
    }
  }
}

TEST(GemmSm90, TakesWhatTensorCopiesTake) {
  Problem problem({64, 64, 64});
  GemmArguments good = problem.g;
  good.c = problem.other.data();
  EXPECT_TRUE(gemm_sm90_supports(good));
  const auto supports = [&](const std::function<void(GemmArguments&)>& change) {
    GemmArguments g = good;
    change(g);
    return gemm_sm90_supports(g);
  };
  EXPECT_FALSE(supports([](GemmArguments& g) { g.input_type = DType::kFloat32; }));
  EXPECT_FALSE(supports([](GemmArguments& g) { g.transpose_a = true; }));
  EXPECT_FALSE(supports([](GemmArguments& g) { g.lda = 68; }));
  EXPECT_FALSE(supports([](GemmArguments& g) { g.b = static_cast<const BFloat16*>(g.b) + 4; }));
  EXPECT_FALSE(supports([](GemmArguments& g) { g.k = 0; }));
  EXPECT_FALSE(supports([](GemmArguments& g) { g.m = 0; }));
  EXPECT_TRUE(supports([](GemmArguments& g) { g.ldc = 67; }));
}

}  // namespace
}  // namespace koine

#endif
