// The layer under the CUDA kernels: every primitive against plain loops. Runs where the kernels run on the CPU.

#if !defined(KOINE_HAVE_CUDA)

#include "tests/kernels/cuda_layer.h"

namespace koine::cuda {
namespace {

// --- places and orders ---

TEST(CudaLayer, EveryThreadOfEveryBlockRunsOnce) {
  for_schedules([] {
    const DeviceArray<std::uint32_t> to(2 * 3 * 5 * 96);
    start({.grid = {5, 3, 2}, .threads = 96}, places_kernel, to.data());
    const std::vector<std::uint32_t> values = to.values();
    for (std::uint32_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(values[i], i / 96 * 1000 + i % 96 / 32 * 100 + i % 32) << i;
    }
  });
}

int next_turn = 0;
KOINE_KERNEL turns_kernel(int* to) { to[block_index().x * 32 + static_cast<unsigned>(thread_index())] = next_turn++; }

TEST(CudaLayer, OrdersComeFromTheSeedAlone) {
  const auto turns = [](std::uint64_t seed) {
    host::set_schedule_seed(seed);
    next_turn = 0;
    const DeviceArray<int> to(96);
    start({.grid = {3}}, turns_kernel, to.data());
    host::set_schedule_seed(1);
    return to.values();
  };
  std::vector<int> ascending(96);
  for (int i = 0; i < 96; ++i) ascending[static_cast<std::size_t>(i)] = i;
  EXPECT_EQ(turns(0), ascending);
  EXPECT_EQ(turns(5), turns(5));
  EXPECT_NE(turns(5), turns(6));
  int thread_before = 0;
  int block_before = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    const std::vector<int> order = turns(seed);
    thread_before += order[3] < order[17] ? 1 : 0;
    block_before += order[0] < order[64] ? 1 : 0;
  }
  EXPECT_TRUE(thread_before > 5 && thread_before < 35) << thread_before;
  EXPECT_TRUE(block_before > 5 && block_before < 35) << block_before;
}

// --- warps and blocks ---

template <class T>
KOINE_KERNEL shuffle_kernel(T* to) {
  const int thread = thread_index();
  const T value = static_cast<T>(thread * thread + 1);
  to[2 * thread] = shuffle(value, (7 * thread + 3) % 32);
  to[2 * thread + 1] = shuffle_xor(value, 13);
}
template <class T>
void check_shuffles() {
  const DeviceArray<T> to(2 * 64);
  start({.threads = 64}, shuffle_kernel<T>, to.data());
  const std::vector<T> values = to.values();
  for (int t = 0; t < 64; ++t) {
    const int given = t / 32 * 32 + (7 * t + 3) % 32;
    const int crossed = t / 32 * 32 + ((t % 32) ^ 13);
    EXPECT_EQ(values[static_cast<std::size_t>(2 * t)], static_cast<T>(given * given + 1));
    EXPECT_EQ(values[static_cast<std::size_t>(2 * t + 1)], static_cast<T>(crossed * crossed + 1));
  }
}
TEST(CudaLayer, ShufflesTakeTheValueOfTheLane) {
  for_schedules([] {
    check_shuffles<float>();
    check_shuffles<double>();
    check_shuffles<std::int32_t>();
    check_shuffles<std::uint64_t>();
  });
}

KOINE_KERNEL ballot_kernel(std::uint32_t* to) {
  const std::uint32_t bits = ballot(thread_index() % 3 == 1);
  to[2 * thread_index()] = bits;
  to[2 * thread_index() + 1] = static_cast<std::uint32_t>(count_bits(bits));
}
TEST(CudaLayer, BallotsCollectOneBitALane) {
  const DeviceArray<std::uint32_t> to(2 * 96);
  start({.threads = 96}, ballot_kernel, to.data());
  const std::vector<std::uint32_t> values = to.values();
  for (std::uint32_t t = 0; t < 96; ++t) {
    std::uint32_t expected = 0;
    std::uint32_t count = 0;
    for (std::uint32_t lane = 0; lane < 32; ++lane) {
      if ((t / 32 * 32 + lane) % 3 == 1) expected |= 1u << lane, ++count;
    }
    EXPECT_EQ(values[2 * t], expected);
    EXPECT_EQ(values[2 * t + 1], count);
  }
}

struct Reductions {
  float sum8, max8, sum32, max32, block_sum_of_all, block_max_of_all;
};
struct ReductionScratch {
  float sums[32];
  float maxima[32];
};
KOINE_KERNEL reduction_kernel(const float* from, Reductions* to) {
  auto& scratch = shared_memory<ReductionScratch>();
  const float x = from[thread_index()];
  to[thread_index()] = {
      warp_sum<8>(x), warp_max<8>(x), warp_sum(x), warp_max(x), block_sum(x, scratch.sums), block_max(x, scratch.maxima)};
}
/// By halves, as the butterfly adds.
float folded(std::vector<float> x) {
  for (std::size_t half = x.size() / 2; half > 0; half /= 2) {
    for (std::size_t i = 0; i < half; ++i) x[i] += x[i + half];
  }
  return x[0];
}
TEST(CudaLayer, ReductionsAreThoseOfPlainLoops) {
  for (const int threads : {32, 160, 1024}) {
    std::vector<float> x;
    for (int i = 0; i < threads; ++i) x.push_back(number(i));
    const auto part = [&](int begin, int count) { return std::vector<float>(x.begin() + begin, x.begin() + begin + count); };
    float total = 0;
    for (int w = 0; w < threads; w += 32) total = w == 0 ? folded(part(0, 32)) : total + folded(part(w, 32));
    for_schedules([&] {
      const DeviceArray<float> from(x);
      const DeviceArray<Reductions> to(static_cast<std::size_t>(threads));
      start({.threads = threads, .shared_bytes = sizeof(ReductionScratch)}, reduction_kernel, from.data(), to.data());
      const std::vector<Reductions> values = to.values();
      for (int t = 0; t < threads; ++t) {
        const Reductions& r = values[static_cast<std::size_t>(t)];
        const auto group = part(t / 8 * 8, 8);
        const auto warp = part(t / 32 * 32, 32);
        ASSERT_EQ(r.sum8, folded(group));
        ASSERT_EQ(r.max8, *std::max_element(group.begin(), group.end()));
        ASSERT_EQ(r.sum32, folded(warp));
        ASSERT_EQ(r.max32, *std::max_element(warp.begin(), warp.end()));
        ASSERT_EQ(r.block_sum_of_all, total);
        ASSERT_EQ(r.block_max_of_all, *std::max_element(x.begin(), x.end()));
      }
    });
  }
}

// --- tensor cores ---

/// Row r of matrix m lies in row (5 * (8 m + r)) % 32, so that the addresses matter.
KOINE_KERNEL load_matrix_kernel(std::uint32_t* to, bool transposed) {
  auto& s = shared_memory<Matrices>();
  const int lane = lane_index();
  for (int c = 0; c < 8; ++c) s.rows[5 * lane % 32][c].bits = static_cast<std::uint16_t>(lane * 8 + c);
  sync_warp();
  std::uint32_t x[4];
  if (transposed) {
    load_matrix_x4_transposed(x, s.rows[5 * lane % 32]);
  } else {
    load_matrix_x4(x, s.rows[5 * lane % 32]);
  }
  for (int i = 0; i < 4; ++i) to[4 * lane + i] = x[i];
}
TEST(CudaLayer, LdmatrixGivesTheFragmentsOfThePtxManual) {
  for (const bool transposed : {false, true}) {
    const DeviceArray<std::uint32_t> to(128);
    start({.shared_bytes = sizeof(Matrices)}, load_matrix_kernel, to.data(), transposed);
    const std::vector<std::uint32_t> values = to.values();
    for (unsigned lane = 0; lane < 32; ++lane) {
      for (unsigned matrix = 0; matrix < 4; ++matrix) {
        const unsigned row = lane / 4;
        const unsigned column = lane % 4 * 2;
        const auto element = [&](unsigned r, unsigned c) {
          return (matrix * 8 + (transposed ? c : r)) * 8 + (transposed ? r : c);
        };
        EXPECT_EQ(values[4 * lane + matrix], element(row, column) | element(row, column + 1) << 16);
      }
    }
  }
}

struct Products {
  const BFloat16* a;  // [16, 16]
  const BFloat16* b;  // [16, 8]
  const float* c;     // [16, 8]
  float* d;
};
/// Fragments as in the figures of the PTX manual for mma.m16n8k16: element i of a lane.
KOINE_KERNEL product_kernel(Products p) {
  const int group = lane_index() / 4;
  const int in_group = lane_index() % 4;
  FragmentA a = {};
  FragmentB b = {};
  Accumulator d = {};
  for (int i = 0; i < 8; ++i) {
    const int row = i < 2 || (i >= 4 && i < 6) ? group : group + 8;
    const int column = in_group * 2 + (i & 1) + (i >= 4 ? 8 : 0);
    a.x[i / 2] |= static_cast<std::uint32_t>(p.a[16 * row + column].bits) << (16 * (i & 1));
  }
  for (int i = 0; i < 4; ++i) {
    const int row = in_group * 2 + (i & 1) + (i >= 2 ? 8 : 0);
    b.x[i / 2] |= static_cast<std::uint32_t>(p.b[8 * row + group].bits) << (16 * (i & 1));
    d.x[i] = p.c[8 * (i < 2 ? group : group + 8) + in_group * 2 + (i & 1)];
  }
  multiply_add(d, a, b);
  for (int i = 0; i < 4; ++i) p.d[8 * (i < 2 ? group : group + 8) + in_group * 2 + (i & 1)] = d.x[i];
}
struct ProductTiles {
  alignas(16) BFloat16 a[16][16];
  alignas(16) BFloat16 b[16][8];
  alignas(16) BFloat16 b_transposed[8][16];
};
/// The same by ldmatrix. B comes from row-major memory transposed, or from column-major memory as it is.
KOINE_KERNEL loaded_product_kernel(Products p, bool from_columns) {
  auto& s = shared_memory<ProductTiles>();
  const int lane = lane_index();
  for (int i = lane; i < 256; i += 32) s.a[i / 16][i % 16] = p.a[i];
  for (int i = lane; i < 128; i += 32) s.b[i / 8][i % 8] = s.b_transposed[i % 8][i / 8] = p.b[i];
  sync_warp();
  FragmentA a;
  load_matrix_x4(a.x, &s.a[lane % 16][lane / 16 * 8]);
  std::uint32_t x[4];  // two of them twice
  if (from_columns) {
    load_matrix_x4(x, &s.b_transposed[lane % 8][lane / 8 % 2 * 8]);
  } else {
    load_matrix_x4_transposed(x, &s.b[lane % 16][0]);
  }
  Accumulator d;
  for (int i = 0; i < 4; ++i) d.x[i] = p.c[8 * (lane / 4 + i / 2 * 8) + lane % 4 * 2 + i % 2];
  multiply_add(d, a, {{x[0], x[1]}});
  for (int i = 0; i < 4; ++i) p.d[8 * (lane / 4 + i / 2 * 8) + lane % 4 * 2 + i % 2] = d.x[i];
}
TEST(CudaLayer, MmaIsTheProductInDouble) {
  TestRandom random(3);
  const auto values = [&](std::size_t count) {
    std::vector<BFloat16> result(count);
    for (BFloat16& value : result) value = to_bfloat16(static_cast<float>(random.normal()));
    return result;
  };
  const std::vector<BFloat16> a = values(256);
  const std::vector<BFloat16> b = values(128);
  std::vector<float> c(128);
  for (float& value : c) value = static_cast<float>(random.normal());
  const DeviceArray<BFloat16> device_a(a);
  const DeviceArray<BFloat16> device_b(b);
  const DeviceArray<float> device_c(c);
  const auto check_result = [&](const DeviceArray<float>& d) {
    const std::vector<float> result = d.values();
    for (std::size_t row = 0; row < 16; ++row) {
      for (std::size_t column = 0; column < 8; ++column) {
        double expected = c[8 * row + column];
        double magnitude = std::fabs(expected);
        for (std::size_t k = 0; k < 16; ++k) {
          const double product = static_cast<double>(to_float(a[16 * row + k])) * to_float(b[8 * k + column]);
          expected += product;
          magnitude += std::fabs(product);
        }
        // Products of bf16 are exact in fp32; 16 sums, each within one rounding of at most `magnitude`.
        EXPECT_NEAR(result[8 * row + column], expected, koine::testing::fp32_error(16, magnitude));
      }
    }
  };
  const auto params = [&](const DeviceArray<float>& d) {
    return Products{device_a.data(), device_b.data(), device_c.data(), d.data()};
  };
  for_schedules([&] {
    const DeviceArray<float> d(128);
    start({}, product_kernel, params(d));
    check_result(d);
    for (const bool from_columns : {false, true}) {
      const DeviceArray<float> loaded(128);
      start({.shared_bytes = sizeof(ProductTiles)}, loaded_product_kernel, params(loaded), from_columns);
      check_result(loaded);
    }
  });
}

// --- copies and packs ---

template <int kBytes>
KOINE_KERNEL copy_kernel(const float* from, float* to, bool* poisoned) {
  auto& s = shared_memory<CopyTiles>();
  const int t = thread_index();
  constexpr int kFloats = kBytes / 4;
  async_copy<kBytes>(s.first[t], from + t * 4);
  async_commit();
  async_copy<kBytes>(s.second[t], from + t * 4, t % 2 == 0);
  async_commit();
  async_wait<1>();
  sync_block();
  const int other = (t + 37) % 64;
  for (int i = 0; i < kFloats; ++i) to[t * 8 + i] = s.first[other][i];
  poisoned[t] = std::isnan(s.second[t][0]);  // which no correct kernel reads yet
  async_wait<0>();
  sync_block();
  for (int i = 0; i < kFloats; ++i) to[t * 8 + 4 + i] = s.second[other][i];
}
template <int kBytes>
void check_async_copies() {
  std::vector<float> x;
  for (int i = 0; i < 256; ++i) x.push_back(number(i));
  const DeviceArray<float> from(x);
  const DeviceArray<float> to(512);
  const DeviceArray<std::uint8_t> poisoned(64);
  start({.threads = 64, .shared_bytes = sizeof(CopyTiles)}, copy_kernel<kBytes>, from.data(), to.data(),
        reinterpret_cast<bool*>(poisoned.data()));
  const std::vector<float> values = to.values();
  for (std::size_t t = 0; t < 64; ++t) {
    const std::size_t other = (t + 37) % 64;
    EXPECT_EQ(poisoned.values()[t], 1);
    for (std::size_t i = 0; i < kBytes / 4; ++i) {
      EXPECT_EQ(values[t * 8 + i], x[other * 4 + i]);
      EXPECT_EQ(values[t * 8 + 4 + i], other % 2 == 0 ? x[other * 4 + i] : 0.0f);
    }
  }
}
TEST(CudaLayer, AsynchronousCopiesArriveWhenTheirGroupIsWaitedFor) {
  for_schedules([] {
    check_async_copies<4>();
    check_async_copies<8>();
    check_async_copies<16>();
  });
}

template <class T, int kCount>
KOINE_KERNEL pack_kernel(const T* from, T* to, float* widened) {
  const int i = thread_index() * kCount;
  float values[kCount];
  load_floats(values, from + i);
  for (int j = 0; j < kCount; ++j) widened[i + j] = values[j];
  for (float& value : values) value *= 1.0625f;
  store_floats(to + i, values);
}
template <class T, int kCount>
void check_packs() {
  std::vector<T> x(32 * kCount);
  for (std::size_t i = 0; i < x.size(); ++i) round_into(x[i], number(static_cast<int>(i)));
  const DeviceArray<T> from(x);
  const DeviceArray<T> to(x.size());
  const DeviceArray<float> widened(x.size());
  start({}, pack_kernel<T, kCount>, from.data(), to.data(), widened.data());
  const std::vector<T> stored = to.values();
  const std::vector<float> loaded = widened.values();
  for (std::size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(loaded[i], to_float(x[i]));
    EXPECT_EQ(to_float(stored[i]), rounded<T>(to_float(x[i]) * 1.0625f));
  }
}
TEST(CudaLayer, PacksConvertElementByElement) {
  check_packs<float, 1>();
  check_packs<float, 4>();
  check_packs<float, 8>();
  check_packs<BFloat16, 1>();
  check_packs<BFloat16, 2>();
  check_packs<BFloat16, 8>();
  check_packs<BFloat16, 16>();
  static_assert(kPackSize<BFloat16, 16> == 8 && kPackSize<float, 8> == 4 && kPackSize<BFloat16, 4> == 4);
}

TEST(CudaLayer, ArithmeticIsThatOfDouble) {
  for (double x = -9; x < 9; x += 0.37) {
    const auto y = static_cast<float>(x);
    const double distribution = 0.5 * (1 + std::erf(y / std::sqrt(2.0)));
    const double density = std::exp(-0.5 * y * y) / std::sqrt(2 * 3.14159265358979323846);
    // A few roundings at numbers of size 1, times x.
    EXPECT_NEAR(gelu_erf(y), y * distribution, koine::testing::fp32_error(6, std::max(1.0, std::fabs(x))));
    EXPECT_NEAR(gelu_erf_gradient(y), distribution + y * density,
                koine::testing::fp32_error(6, std::max(1.0, std::fabs(x))));
    const std::uint32_t pair = pack_bfloat16(y, -2 * y);
    EXPECT_EQ(low_bfloat16(pair), to_float(to_bfloat16(y)));
    EXPECT_EQ(high_bfloat16(pair), to_float(to_bfloat16(-2 * y)));
  }
}

// --- dropout ---

KOINE_KERNEL hidden_mask_kernel(DropoutParams dropout, const std::uint32_t* where, std::uint32_t* kept) {
  const std::uint32_t* mine = where + 3 * thread_index();  // example, position, column
  kept[thread_index()] = kept_hidden(dropout, dropout_key(dropout), mine[0], mine[1], mine[2] / 8) >> (mine[2] % 8) & 1u;
}
KOINE_KERNEL attention_mask_kernel(DropoutParams dropout, const std::uint32_t* where, std::uint32_t* kept) {
  const std::uint32_t* mine = where + 4 * thread_index();  // example, head, row, column
  const std::uint32_t row = mine[2];
  const std::uint32_t column = mine[3];
  const std::uint32_t bits = kept_attention(dropout, dropout_key(dropout), mine[0], mine[1], row / 16 * 16 + row % 8,
                                            column / 16 * 16 + column % 8 / 2 * 2);
  kept[thread_index()] = bits >> (row % 16 / 8 * 4 + column % 16 / 8 * 2 + column % 2) & 1u;
}
TEST(CudaLayer, MasksAreThoseOfSingleElements) {
  TestRandom random(11);
  const DeviceArray<std::uint32_t> step(std::vector<std::uint32_t>{1234});
  for (const float rate : {0.1f, 0.5f}) {
    Dropout dropout;
    dropout.rate = rate;
    dropout.seed = 99;
    dropout.step = 1234;
    dropout.site = 17;
    for (const bool from_device : {false, true}) {
      DropoutParams params = dropout_params(dropout);
      if (from_device) {
        params.step = 0;
        params.step_from = step.data();
      }
      std::vector<std::uint32_t> hidden;
      std::vector<std::uint32_t> attention;
      for (int i = 0; i < 1024; ++i) {
        for (const int bound : {1 << 20, 512, 1024}) hidden.push_back(static_cast<std::uint32_t>(random.below(bound)));
        for (const int bound : {1 << 20, 16, 512, 512}) attention.push_back(static_cast<std::uint32_t>(random.below(bound)));
      }
      const DeviceArray<std::uint32_t> device_hidden(hidden);
      const DeviceArray<std::uint32_t> device_attention(attention);
      const DeviceArray<std::uint32_t> kept(1024);
      start({.threads = 1024}, hidden_mask_kernel, params, device_hidden.data(), kept.data());
      const std::vector<std::uint32_t> kept_units = kept.values();
      start({.threads = 1024}, attention_mask_kernel, params, device_attention.data(), kept.data());
      const std::vector<std::uint32_t> kept_weights = kept.values();
      int count = 0;
      for (std::size_t i = 0; i < 1024; ++i) {
        const std::uint32_t* h = &hidden[3 * i];
        const std::uint32_t* a = &attention[4 * i];
        ASSERT_EQ(kept_units[i] != 0, keeps_hidden(dropout, h[0], h[1], h[2])) << i;
        ASSERT_EQ(kept_weights[i] != 0, keeps_attention(dropout, a[0], a[1], a[2], a[3])) << i;
        count += static_cast<int>(kept_units[i]);
      }
      EXPECT_NEAR(count, 1024 * (1 - rate), 80);  // 5 standard deviations of 16
    }
  }
}
// --- what ran ---

/// Says at the end of the program which kernels the host implementation has run.
class KernelSummary : public ::testing::Environment {
 public:
  // The CPU kernels' threads are there: a child of fork() alone would lack them.
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
  void TearDown() override {
    const std::vector<host::KernelCount> counts = host::kernel_counts();
    if (counts.empty()) return;
    std::printf("%-32s %9s %11s %13s %9s %9s\n", "kernel", "launches", "blocks", "threads", "a block", "shared");
    for (const host::KernelCount& one : counts) {
      std::printf("%-32s %9lld %11lld %13lld %9d %9zu\n", one.kernel.c_str(), static_cast<long long>(one.launches),
                  static_cast<long long>(one.blocks), static_cast<long long>(one.threads), one.largest_block,
                  one.largest_shared_bytes);
    }
  }
};
const auto* const summary = ::testing::AddGlobalTestEnvironment(new KernelSummary);

}  // namespace
}  // namespace koine::cuda

#endif
