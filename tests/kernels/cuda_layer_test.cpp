// The layer under the CUDA kernels: every primitive against plain loops, and mistakes in kernels and in the use of streams,
// each of which the host implementation must catch. Runs where the kernels run on the CPU.

#if !defined(KOINE_HAVE_CUDA)

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <regex>
#include <string>
#include <vector>

#include "kernels/cuda/async_copy.h"
#include "kernels/cuda/dropout.h"
#include "kernels/cuda/host/race_hooks.h"
#include "kernels/cuda/host/sanitizers.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/matrix.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/vector.h"
#include "kernels/cuda/warp.h"
#include "tests/kernels/suite.h"

namespace koine::cuda {
namespace {

using koine::testing::TestRandom;

#if defined(KOINE_ADDRESS_SANITIZER)
constexpr bool kAddressSanitizer = true;
#else
constexpr bool kAddressSanitizer = false;
#endif
constexpr bool kRaces = host::races::kDetects;

template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::size_t count, const char* name = "an array") : memory_(name, count * sizeof(T)), count_(count) {}
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    copy_to_device(data(), values.data(), count_ * sizeof(T), nullptr);
    synchronize(nullptr);
  }
  T* data() const { return static_cast<T*>(memory_.data()); }
  std::vector<T> values() const {
    std::vector<T> result(count_);
    copy_to_host(result.data(), data(), count_ * sizeof(T), nullptr);
    synchronize(nullptr);
    return result;
  }

 private:
  DeviceMemory memory_;
  std::size_t count_;
};

struct Geometry {
  Index3 grid = {1, 1, 1};
  int threads = 32;
  std::size_t shared_bytes = 0;
  void* stream = nullptr;
};

template <class... Parameters, class... Arguments>
void start(const Geometry& geometry, void (*kernel)(Parameters...), const Arguments&... arguments) {
  launch({.kernel = "test",
          .shape = {7},
          .grid = geometry.grid,
          .threads = geometry.threads,
          .shared_bytes = geometry.shared_bytes,
          .stream = geometry.stream},
         kernel, arguments...);
}

/// What the Error says that `body` throws; empty if it throws none.
std::string failure_of(const std::function<void()>& body) {
  try {
    body();
    synchronize(nullptr);
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}
void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "\"" << text << "\" does not say \"" << part << "\"";
}

/// Under each of several orders.
void for_schedules(const std::function<void()>& body) {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    host::set_schedule_seed(seed);
    body();
  }
  host::set_schedule_seed(1);
}

float number(int i) { return static_cast<float>(std::sin(1.0 + i)); }

// --- places and orders ---

KOINE_KERNEL places_kernel(std::uint32_t* to) {
  const Index3 b = block_index();
  const Index3 g = grid_size();
  const std::uint32_t block = (b.z * g.y + b.y) * g.x + b.x;
  to[block * static_cast<unsigned>(block_threads()) + static_cast<unsigned>(thread_index())] =
      block * 1000 + static_cast<unsigned>(warp_index()) * 100 + static_cast<unsigned>(lane_index());
}

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

struct Matrices {
  alignas(16) BFloat16 rows[32][8];
};
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

struct CopyTiles {
  alignas(16) float first[64][4];
  alignas(16) float second[64][4];
};
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

// --- mistakes in kernels: missing synchronisation ---

struct Exchange {
  float x[1024];
};
template <bool kBarrier>
KOINE_KERNEL exchange_kernel(const float* from, float* to) {
  auto& s = shared_memory<Exchange>();
  const int t = thread_index();
  s.x[t] = from[t];
  if (kBarrier) sync_block();
  to[t] = s.x[(t + 33) % block_threads()];
}
template <bool kBarrier>
KOINE_KERNEL reuse_kernel(const float* from, float* to) {
  auto& s = shared_memory<Exchange>();
  const int t = thread_index();
  for (int round = 0; round < 2; ++round) {
    s.x[t] = from[t] + static_cast<float>(round);
    sync_block();
    to[block_threads() * round + t] = s.x[(t + 33) % block_threads()];
    if (kBarrier) sync_block();
  }
}
template <bool kSync>
KOINE_KERNEL warp_exchange_kernel(const float* from, float* to) {
  auto& s = shared_memory<Exchange>();
  const int t = thread_index();
  s.x[t] = from[t];
  if (kSync) sync_warp();
  to[t] = s.x[t ^ 1];
}

/// How many of the schedules give a wrong result, or, where races are looked for, end in a report of one.
int schedules_that_show(void (*kernel)(const float*, float*), int rounds, int (*source)(int)) {
  int shown = 0;
  for_schedules([&] {
    std::vector<float> x;
    for (int i = 0; i < 64; ++i) x.push_back(number(i));
    const DeviceArray<float> from(x);
    const DeviceArray<float> to(static_cast<std::size_t>(64 * rounds));
    const std::string failure =
        failure_of([&] { start({.threads = 64, .shared_bytes = sizeof(Exchange)}, kernel, from.data(), to.data()); });
    const std::vector<float> values = to.values();
    bool wrong = !failure.empty();
    for (int i = 0; i < 64 * rounds && !wrong; ++i) {
      wrong =
          !(values[static_cast<std::size_t>(i)] == x[static_cast<std::size_t>(source(i % 64))] + static_cast<float>(i / 64));
    }
    shown += wrong ? 1 : 0;
  });
  return shown;
}
int across(int i) { return (i + 33) % 64; }
int neighbour(int i) { return i ^ 1; }

TEST(CudaLayer, MissingBarriersShowInResults) {
  EXPECT_EQ(schedules_that_show(exchange_kernel<true>, 1, across), 0);
  EXPECT_EQ(schedules_that_show(exchange_kernel<false>, 1, across), 8);
  EXPECT_EQ(schedules_that_show(reuse_kernel<true>, 2, across), 0);
  EXPECT_GE(schedules_that_show(reuse_kernel<false>, 2, across), 7);
  EXPECT_EQ(schedules_that_show(warp_exchange_kernel<true>, 1, neighbour), 0);
  EXPECT_EQ(schedules_that_show(warp_exchange_kernel<false>, 1, neighbour), 8);
}

KOINE_KERNEL unwritten_kernel(float* to) {
  auto& s = shared_memory<Exchange>();
  if (thread_index() < 31) s.x[thread_index()] = 1;
  sync_block();
  to[block_index().x * 32 + static_cast<unsigned>(thread_index())] = s.x[thread_index()];
}
TEST(CudaLayer, SharedMemoryNobodyWroteIsNaN) {
  const DeviceArray<float> to(64);
  const std::string failure =
      failure_of([&] { start({.grid = {2}, .shared_bytes = sizeof(Exchange)}, unwritten_kernel, to.data()); });
  if (kRaces) {
    expect_contains(failure, "read of 4 bytes at byte 124 of shared memory which no thread of the block has written");
  } else {
    const std::vector<float> values = to.values();
    EXPECT_EQ(values[30], 1);
    EXPECT_TRUE(std::isnan(values[31]) && std::isnan(values[63]));
  }
}

KOINE_KERNEL leftovers_kernel(float* to) {
  auto& s = shared_memory<Exchange>();
  if (block_index().x == 0) s.x[thread_index()] = 1;
  if (block_index().x == 1) to[thread_index()] = s.x[thread_index()];
}
TEST(CudaLayer, ABlockFindsNothingOfTheBlockBefore) {
  host::set_schedule_seed(0);
  const DeviceArray<float> to(32);
  const std::string failure =
      failure_of([&] { start({.grid = {2}, .shared_bytes = sizeof(Exchange)}, leftovers_kernel, to.data()); });
  host::set_schedule_seed(1);
  if (kRaces) {
    expect_contains(failure, "which no thread of the block has written");
  } else {
    EXPECT_TRUE(std::isnan(to.values()[5]));
  }
}

// --- mistakes in kernels: control flow ---

KOINE_KERNEL two_barriers_kernel() {
  if (warp_index() == 0) {
    sync_block();
  } else {
    sync_block();
  }
}
KOINE_KERNEL early_exit_kernel() {
  if (thread_index() == 40) return;
  sync_block();
}
KOINE_KERNEL divergent_lanes_kernel(float* to) {
  if (lane_index() < 16) {
    to[0] = warp_sum(1.0f);
  } else {
    to[1] = warp_max(1.0f);
  }
}
KOINE_KERNEL deadlock_kernel() {
  if (lane_index() < 16) {
    sync_block();
  } else {
    sync_warp();
  }
}
KOINE_KERNEL throwing_kernel() {
  if (thread_index() == 7) throw Error("something in the kernel");
  sync_block();
}
TEST(CudaLayer, DivergenceEndsTheLaunch) {
  const Geometry two_warps = {.threads = 64};
  for_schedules([&] {
    expect_contains(failure_of([&] { start(two_warps, two_barriers_kernel); }),
                    "the threads of a block meet different barriers");
    const std::string early = failure_of([&] { start(two_warps, early_exit_kernel); });
    expect_contains(early, "test [7] (grid 1 x 1 x 1, 64 threads, 0 bytes of shared memory; ");
    expect_contains(early, "wait in vain: from thread 0 at the barrier of ");
    expect_contains(early, "from thread 40 finished, from thread 41 at the barrier of ");
    const DeviceArray<float> to(2);
    expect_contains(failure_of([&] { start(two_warps, divergent_lanes_kernel, to.data()); }),
                    "the lanes of a warp meet different operations");
    const std::string deadlock = failure_of([&] { start(two_warps, deadlock_kernel); });
    expect_contains(deadlock, "wait in vain: from thread 0 at the barrier of ");
    expect_contains(deadlock, "from thread 16 at the warp operation of ");
    expect_contains(failure_of([&] { start(two_warps, throwing_kernel); }), "something in the kernel");
  });
  // And nothing of it is left behind.
  const DeviceArray<std::uint32_t> to(64);
  start(two_warps, places_kernel, to.data());
  EXPECT_EQ(to.values()[33], 101u);
}

// --- mistakes in kernels: memory ---

KOINE_KERNEL uncommitted_kernel(const float* from, float* to, bool commit, bool wait) {
  auto& s = shared_memory<CopyTiles>();
  async_copy<16>(s.first[thread_index()], from + 4 * thread_index());
  if (commit) async_commit();
  if (wait) async_wait<0>();
  sync_block();
  to[thread_index()] = s.first[(thread_index() + 1) % 32][0];
}
TEST(CudaLayer, CopiesNobodyWaitedForAreCaught) {
  const DeviceArray<float> from(std::vector<float>(128, 2.0f));
  for (const bool commit : {false, true}) {
    for (const bool wait : {false, true}) {
      const DeviceArray<float> to(32);
      const std::string failure = failure_of(
          [&] { start({.shared_bytes = sizeof(CopyTiles)}, uncommitted_kernel, from.data(), to.data(), commit, wait); });
      if (commit && wait) {
        EXPECT_EQ(failure, "");
        EXPECT_EQ(to.values()[3], 2.0f);
      } else {
        expect_contains(failure, "a thread leaves while its asynchronous copies are under way");
      }
    }
  }
}

KOINE_KERNEL misaligned_kernel(const BFloat16* from, int which) {
  auto& s = shared_memory<Matrices>();
  std::uint32_t x[4];
  if (which == 0) load_pack<BFloat16, 8>(from + 4);
  if (which == 1) store_pack<BFloat16, 2>(&s.rows[0][1], {});
  if (which == 2) async_copy<16>(s.rows[thread_index()], from + 1);
  if (which == 3) async_copy<8>(&s.rows[thread_index()][2], from);
  if (which == 4) load_matrix_x4(x, &s.rows[thread_index()][1]);
}
TEST(CudaLayer, MisalignedAccessesAreCaught) {
  const DeviceArray<BFloat16> from(512);
  for (int which = 0; which < 5; ++which) {
    const std::string failure =
        failure_of([&] { start({.shared_bytes = sizeof(Matrices)}, misaligned_kernel, from.data(), which); });
    expect_contains(failure, "is not a multiple of ");
  }
}

KOINE_KERNEL shared_index_kernel(int index, bool write, float* to) {
  auto* x = &shared_memory<float>();
  if (thread_index() == 0) {
    if (write) {
      x[index] = 3;
    } else {
      to[0] = x[index];
    }
  }
}
KOINE_KERNEL large_struct_kernel(float* to) { to[0] = shared_memory<Exchange>().x[0]; }
KOINE_KERNEL copy_outside_kernel(const float* from) {
  auto& s = shared_memory<Matrices>();
  async_copy<16>(s.rows[32 + thread_index()], from);
}
TEST(CudaLayer, AccessesOutsideOfSharedMemoryAreCaught) {
  const DeviceArray<float> to(4);
  for (const int index : {25, -1, 60}) {
    const auto write = [&] { start({.shared_bytes = 100}, shared_index_kernel, index, true, to.data()); };
    if (kAddressSanitizer) {
      EXPECT_DEATH(write(), "AddressSanitizer");
      EXPECT_DEATH(start({.shared_bytes = 100}, shared_index_kernel, index, false, to.data()), "AddressSanitizer");
    } else {
      expect_contains(failure_of(write), "wrote outside of its 100 bytes of shared memory");
    }
  }
  expect_contains(failure_of([&] { start({.shared_bytes = 100}, large_struct_kernel, to.data()); }),
                  "the kernel uses 4096 bytes of shared memory, its launch asked for 100");
  expect_contains(failure_of([&] { start({.shared_bytes = sizeof(Matrices)}, copy_outside_kernel, to.data()); }),
                  "an asynchronous copy goes outside of shared memory");
}

KOINE_KERNEL global_index_kernel(float* x, std::int64_t index, bool write, float* to) {
  if (thread_index() == 0) {
    if (write) {
      x[index] = 3;
    } else {
      to[0] = x[index];
    }
  }
}
TEST(CudaLayer, AccessesOutsideOfDeviceMemoryAreCaught) {
  const DeviceArray<float> to(1);
  for (const std::int64_t index : {100, -1, 127}) {
    const DeviceArray<float> x(100, "weights");
    const auto access = [&](bool write) { start({}, global_index_kernel, x.data(), index, write, to.data()); };
    if (kAddressSanitizer) {
      EXPECT_DEATH(access(true), "AddressSanitizer");
      EXPECT_DEATH(access(false), "AddressSanitizer");
    } else {
      expect_contains(failure_of([&] { access(true); }),
                      "something wrote outside of the 400 bytes of device memory \"weights\"");
      EXPECT_EQ(failure_of([&] {}), "");  // told once
    }
  }
  const DeviceArray<float> x(100);
  for (const std::int64_t far : {2000, -2000}) {
    EXPECT_DEATH(start({}, global_index_kernel, x.data(), far, false, to.data()), "");
  }
}

TEST(CudaLayer, DeviceMemoryIsNaNUntilWrittenAndAlignedTo256) {
  const DeviceArray<float> x(100);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(x.data()) % 256, 0u);
  EXPECT_TRUE(std::isnan(x.values()[0]) && std::isnan(x.values()[99]));
}

TEST(CudaLayer, HostCodeCannotTouchDeviceMemory) {
  const DeviceArray<float> x(std::vector<float>(10, 1.0f));
  EXPECT_DEATH(x.data()[3] = 2, "");
  EXPECT_DEATH(std::exit(x.data()[3] == 1 ? 0 : 1), "");
}

TEST(CudaLayer, LaunchesADeviceWouldRefuseFail) {
  const DeviceArray<std::uint32_t> to(64);
  const auto failure = [&](const Geometry& geometry) {
    return failure_of([&] { start(geometry, places_kernel, to.data()); });
  };
  EXPECT_EQ(failure({.grid = {2}}), "");
  expect_contains(failure({.grid = {0}}), "test [7] (grid 0 x 1 x 1");
  expect_contains(failure({.grid = {0}}), "no such grid");
  expect_contains(failure({.grid = {1, 65536, 1}}), "no such grid");
  expect_contains(failure({.grid = {1, 1, 65536}}), "no such grid");
  expect_contains(failure({.grid = {0x80000000u, 1, 1}}), "no such grid");
  for (const int threads : {0, 33, 1056}) expect_contains(failure({.threads = threads}), "a block has 32 to 1024 threads");
  EXPECT_EQ(failure({.shared_bytes = 227 << 10}), "");
  expect_contains(failure({.shared_bytes = (227 << 10) + 1}), "at most 227 KiB of shared memory");
}

// --- streams, events, graphs ---

KOINE_KERNEL add_kernel(float* x, float what) { x[thread_index()] += what; }
KOINE_KERNEL multiply_kernel(const float* x, float* to, float factor) { to[thread_index()] = factor * x[thread_index()]; }

/// What a second stream makes of the first one's result, with or without an event between them.
float across_streams(bool wait) {
  const Stream first;
  const Stream second;
  const DeviceArray<float> x(std::vector<float>(32, 1.0f));
  const DeviceArray<float> to(32);
  for (int i = 0; i < 4; ++i) start({.stream = first.handle()}, add_kernel, x.data(), 1.0f);
  Event done;
  done.record(first.handle());
  if (wait) done.wait_on(second.handle());
  start({.stream = second.handle()}, multiply_kernel, x.data(), to.data(), 10.0f);
  synchronize(second.handle());
  const float result = to.values()[0];
  synchronize(first.handle());
  return result;
}
TEST(CudaLayer, AMissingEventShowsInResults) {
  int wrong = 0;
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(across_streams(true), 50.0f);
    wrong += across_streams(false) == 50.0f ? 0 : 1;
  }
  EXPECT_GE(wrong, 10);
}

TEST(CudaLayer, ResultsAreNotThereBeforeTheyAreWaitedFor) {
  const Stream stream;
  const DeviceArray<float> x(std::vector<float>(32, 1.0f));
  const PinnedMemory pinned(32 * sizeof(float));
  const auto* const result = static_cast<const float*>(pinned.data());
  copy_to_host(pinned.data(), x.data(), pinned.bytes(), stream.handle());
  Event done;
  done.record(stream.handle());
  EXPECT_TRUE(std::isnan(result[0]));
  done.synchronize();
  EXPECT_EQ(result[0], 1.0f);
  start({.stream = stream.handle()}, add_kernel, x.data(), 1.0f);
  copy_to_host(pinned.data(), x.data(), pinned.bytes(), stream.handle());
  EXPECT_EQ(result[0], 1.0f);  // of before
  done.record(stream.handle());
  for (int asked = 0; !done.passed(); ++asked) ASSERT_LT(asked, 100);
  EXPECT_EQ(result[0], 2.0f);
}

TEST(CudaLayer, PinnedMemoryThatIsChangedTooEarlyShows) {
  const Stream stream;
  const DeviceArray<float> x(1);
  const PinnedMemory pinned(sizeof(float));
  auto* const staged = static_cast<float*>(pinned.data());
  *staged = 1;
  copy_to_device(x.data(), staged, sizeof(float), stream.handle());
  *staged = 2;  // the device has not read it yet
  synchronize(stream.handle());
  EXPECT_EQ(x.values()[0], 2.0f);
}

TEST(CudaLayer, GraphsReplayWhatTheyRecorded) {
  const Stream stream;
  const DeviceArray<float> x(std::vector<float>(32, 0.0f));
  float what = 3;
  Graph::begin_recording(stream.handle());
  start({.stream = stream.handle()}, add_kernel, x.data(), what);
  EXPECT_THROW(synchronize(stream.handle()), Error);
  const Graph graph = Graph::end_recording(stream.handle());
  EXPECT_EQ(x.values()[0], 0.0f);  // recorded, not run
  what = 100;                      // too late for the graph
  const Trace before = trace();
  for (int i = 0; i < 3; ++i) graph.launch(stream.handle());
  synchronize(stream.handle());
  EXPECT_EQ(x.values()[0], 9.0f);
  EXPECT_EQ(trace().graph_launches - before.graph_launches, 3);
  EXPECT_EQ(trace().launches, before.launches);
  Graph::begin_recording(stream.handle());
  start({.stream = stream.handle()}, add_kernel, x.data(), what);
  Graph::abandon_recording(stream.handle());
  synchronize(stream.handle());
  EXPECT_EQ(x.values()[0], 9.0f);
}

TEST(CudaLayer, AFailureOnAStreamComesToWhoeverWaits) {
  const Stream stream;
  const DeviceArray<float> x(std::vector<float>(64, 0.0f));
  start({.threads = 64, .stream = stream.handle()}, early_exit_kernel);
  start({.stream = stream.handle()}, add_kernel, x.data(), 1.0f);
  expect_contains(failure_of([&] { synchronize(stream.handle()); }), "wait in vain");
  synchronize(stream.handle());
  EXPECT_EQ(x.values()[0], 0.0f);  // what came behind is dropped
  start({.stream = stream.handle()}, add_kernel, x.data(), 1.0f);
  synchronize(stream.handle());
  EXPECT_EQ(x.values()[0], 1.0f);
  {
    const Stream short_lived;
    start({.threads = 64, .stream = short_lived.handle()}, early_exit_kernel);
  }
  expect_contains(failure_of([&] { synchronize(stream.handle()); }), "wait in vain");
}

TEST(CudaLayer, EventsOfOnePassInTheirOrder) {
  const Stream stream;
  Event begin;
  Event end;
  EXPECT_TRUE(begin.passed());  // never recorded
  begin.record(stream.handle());
  const DeviceArray<float> x(std::vector<float>(32, 0.0f));
  start({.stream = stream.handle()}, add_kernel, x.data(), 1.0f);
  end.record(stream.handle());
  EXPECT_THROW(Event::milliseconds(begin, end), Error);
  end.synchronize();
  EXPECT_GE(Event::milliseconds(begin, end), 0);
  EXPECT_EQ(x.values()[0], 1.0f);
}

TEST(CudaLayer, LaunchesAreCounted) {
  const auto count = [] {
    for (const host::KernelCount& one : host::kernel_counts()) {
      if (one.kernel == "test") return one;
    }
    return host::KernelCount{};
  };
  const host::KernelCount before = count();
  const DeviceArray<std::uint32_t> to(6 * 64);
  start({.grid = {3, 2, 1}, .threads = 64, .shared_bytes = 512}, places_kernel, to.data());
  const host::KernelCount after = count();
  EXPECT_EQ(after.launches - before.launches, 1);
  EXPECT_EQ(after.blocks - before.blocks, 6);
  EXPECT_EQ(after.threads - before.threads, 6 * 64);
  EXPECT_GE(after.largest_block, 64);
  EXPECT_GE(after.largest_shared_bytes, 512u);
}

// --- races ---

#if defined(KOINE_CUDA_RACES)

/// Reports of `body` under several orders; each must name `part` and places in the source.
void expect_races(const std::function<void()>& body, const std::string& part) {
  for_schedules([&] {
    const std::string failure = failure_of(body);
    expect_contains(failure, "race on byte ");
    expect_contains(failure, part);
    // In this file, or in a header of kernels/cuda that was not inlined here.
    EXPECT_TRUE(std::regex_search(failure, std::regex("; the first at [a-z_/]*cuda[a-z_/]*\\.(cpp|h):[0-9]+"))) << failure;
    EXPECT_TRUE(std::regex_search(failure, std::regex(", the second at [a-z_/]*cuda[a-z_/]*\\.(cpp|h):[0-9]+"))) << failure;
  });
}
const Geometry kTwoWarps = {.threads = 64, .shared_bytes = sizeof(Exchange)};

/// Thread t writes element t, then reads another one's.
KOINE_KERNEL read_too_early_kernel(float* to, int distance, bool barrier) {
  auto& s = shared_memory<Exchange>();
  const int t = thread_index();
  s.x[t] = 0;
  sync_block();
  s.x[t] = 1;
  if (barrier) sync_block();
  to[t] = s.x[(t + distance) % 64];
}
TEST(CudaRaces, AReadNoBarrierSeparatesFromAWrite) {
  const DeviceArray<float> to(64);
  expect_races([&] { start(kTwoWarps, read_too_early_kernel, to.data(), 32, false); }, "no sync_block() between them");
  expect_races([&] { start(kTwoWarps, read_too_early_kernel, to.data(), 1, false); }, " between them");
  EXPECT_EQ(failure_of([&] { start(kTwoWarps, read_too_early_kernel, to.data(), 32, true); }), "");
  host::set_schedule_seed(0);
  const std::string failure = failure_of([&] { start(kTwoWarps, read_too_early_kernel, to.data(), 33, false); });
  host::set_schedule_seed(1);
  expect_contains(failure, "; the first at tests/kernels/cuda_layer_test.cpp:");
  expect_contains(failure, ", the second at tests/kernels/cuda_layer_test.cpp:");
  expect_contains(failure,
                  "race on byte 0 of shared memory: write by thread 0 of the same block, then read of 4 bytes by thread 31, "
                  "no sync_warp() or sync_block() between them; thread 31 of block (0, 0, 0); the first at ");
}

KOINE_KERNEL same_place_kernel(bool once) {
  auto& s = shared_memory<Exchange>();
  if (!once || thread_index() == 40) s.x[5] = 1;
}
TEST(CudaRaces, TwoWritesToOnePlace) {
  expect_races([&] { start(kTwoWarps, same_place_kernel, false); }, "race on byte 20 of shared memory: write by thread ");
  EXPECT_EQ(failure_of([&] { start(kTwoWarps, same_place_kernel, true); }), "");
}

TEST(CudaRaces, ABufferUsedAgainTooEarly) {
  const DeviceArray<float> from(std::vector<float>(64, 1.0f));
  const DeviceArray<float> to(128);
  expect_races([&] { start(kTwoWarps, reuse_kernel<false>, from.data(), to.data()); }, "sync_block() between them");
  EXPECT_EQ(failure_of([&] { start(kTwoWarps, reuse_kernel<true>, from.data(), to.data()); }), "");
}

/// The first and the last reader of an element are in the writer's warp, one between them is not.
KOINE_KERNEL many_readers_kernel(float* to) {
  auto& s = shared_memory<Exchange>();
  const int t = thread_index();
  s.x[t] = 0;
  sync_block();
  float sum = 0;
  for (int i = 0; i < 64; ++i) sum += s.x[(t + i) % 64];
  sync_warp();
  s.x[t] = sum;
  to[t] = sum;
}
TEST(CudaRaces, AReaderOfAnotherWarpIsNotForgotten) {
  const DeviceArray<float> to(64);
  expect_races([&] { start(kTwoWarps, many_readers_kernel, to.data()); }, "no sync_block() between them");
}

/// What only looks like a synchronisation: a shuffle orders no memory.
KOINE_KERNEL after_shuffle_kernel(float* to, bool sync) {
  auto& s = shared_memory<Exchange>();
  const int t = thread_index();
  s.x[t] = 1;
  const float sum = warp_sum(1.0f);
  if (sync) sync_warp();
  to[t] = s.x[t ^ 1] + sum;
}
TEST(CudaRaces, OnlySyncWarpOrdersTheLanesOfAWarp) {
  const DeviceArray<float> to(64);
  expect_races([&] { start(kTwoWarps, after_shuffle_kernel, to.data(), false); },
               "no sync_warp() or sync_block() between them");
  EXPECT_EQ(failure_of([&] { start(kTwoWarps, after_shuffle_kernel, to.data(), true); }), "");
}

KOINE_KERNEL early_ldmatrix_kernel(std::uint32_t* to, bool sync) {
  auto& s = shared_memory<Matrices>();
  store_pack<BFloat16, 8>(s.rows[lane_index()], {});
  sync_warp();
  store_pack<BFloat16, 8>(s.rows[lane_index()], {});
  if (sync) sync_warp();
  std::uint32_t x[4];
  load_matrix_x4(x, s.rows[31 - lane_index()]);
  to[lane_index()] = x[0];
}
TEST(CudaRaces, LdmatrixReads) {
  const DeviceArray<std::uint32_t> to(32);
  const Geometry geometry = {.shared_bytes = sizeof(Matrices)};
  expect_races([&] { start(geometry, early_ldmatrix_kernel, to.data(), false); }, "no sync_warp()");
  EXPECT_EQ(failure_of([&] { start(geometry, early_ldmatrix_kernel, to.data(), true); }), "");
}

/// Two stages in one buffer. `second`: a barrier before the buffer is filled again; `first`: one behind the wait.
KOINE_KERNEL pipeline_kernel(const float* from, float* to, bool first, bool second) {
  auto& s = shared_memory<CopyTiles>();
  const int t = thread_index();
  for (int stage = 0; stage < 2; ++stage) {
    async_copy<16>(s.first[t], from + 4 * t);
    async_commit();
    async_wait<0>();
    if (first) sync_block();
    to[64 * stage + t] = s.first[(t + 32) % 64][0];
    if (second) sync_block();
  }
}
TEST(CudaRaces, AsynchronousCopiesWrite) {
  const DeviceArray<float> from(std::vector<float>(256, 1.0f));
  const DeviceArray<float> to(128);
  const Geometry geometry = {.threads = 64, .shared_bytes = sizeof(CopyTiles)};
  const auto run = [&](bool first, bool second) { start(geometry, pipeline_kernel, from.data(), to.data(), first, second); };
  EXPECT_EQ(failure_of([&] { run(true, true); }), "");
  expect_races([&] { run(true, false); }, "no sync_block() between them");
  for_schedules([&] { EXPECT_NE(failure_of([&] { run(false, true); }), ""); });  // a race, or read before anyone wrote
}

KOINE_KERNEL blocks_kernel(float* x, int which) {
  const auto block = static_cast<int>(block_index().x);
  if (thread_index() != 3) return;
  if (which == 0) x[9] = 1;                            // all write
  if (which == 1 && block == 0) x[9] = 1;              // one writes,
  if (which == 1 && block != 0) x[20 + block] = x[9];  // the others read
  if (which == 2) x[block] = x[9];                     // all read, one writes its own and what they read
  if (which == 3) x[block] = x[32];                    // all read, each writes its own
}
TEST(CudaRaces, BlocksOfALaunchAreNotOrdered) {
  const DeviceArray<float> x(std::vector<float>(64, 0.0f));
  const Geometry blocks = {.grid = {12}};
  const std::string place = "race on byte 36 of the device memory \"an array\": ";
  for (int which = 0; which < 3; ++which) {
    expect_races([&] { start(blocks, blocks_kernel, x.data(), which); }, place);
    expect_races([&] { start(blocks, blocks_kernel, x.data(), which); }, "nothing orders two blocks of a launch");
  }
  EXPECT_EQ(failure_of([&] { start(blocks, blocks_kernel, x.data(), 3); }), "");
  EXPECT_EQ(failure_of([&] { start({.grid = {1}}, blocks_kernel, x.data(), 0); }), "");
  EXPECT_EQ(failure_of([&] { start({.grid = {1}}, blocks_kernel, x.data(), 0); }), "");  // launches are ordered
}

KOINE_KERNEL global_exchange_kernel(float* x, bool barrier) {
  const int t = thread_index();
  x[t] = 1;
  if (barrier) sync_block();
  x[64 + t] = x[(t + 32) % 64];
}
TEST(CudaRaces, DeviceMemoryWithinABlock) {
  const DeviceArray<float> x(std::vector<float>(128, 0.0f));
  expect_races([&] { start(kTwoWarps, global_exchange_kernel, x.data(), false); }, "no sync_block() between them");
  EXPECT_EQ(failure_of([&] { start(kTwoWarps, global_exchange_kernel, x.data(), true); }), "");
}

template <class T>
KOINE_KERNEL neighbours_kernel(T* x) {
  const std::size_t i = block_index().x * 64 + static_cast<std::size_t>(thread_index());
  auto* s = &shared_memory<T>();
  s[thread_index()] = T{};
  x[i] = s[thread_index()];
  x[i] = x[i];
}
TEST(CudaRaces, NeighboursDoNotRace) {
  const Geometry geometry = {.grid = {4}, .threads = 64, .shared_bytes = 1024};
  const DeviceArray<double> x(256);
  auto* const odd = reinterpret_cast<unsigned char*>(x.data()) + 1;  // blocks meet inside of a word
  for_schedules([&] {
    EXPECT_EQ(failure_of([&] { start(geometry, neighbours_kernel<unsigned char>, odd); }), "");
    EXPECT_EQ(failure_of([&] { start(geometry, neighbours_kernel<BFloat16>, reinterpret_cast<BFloat16*>(x.data())); }), "");
    EXPECT_EQ(failure_of([&] { start(geometry, neighbours_kernel<float>, reinterpret_cast<float*>(x.data())); }), "");
    EXPECT_EQ(failure_of([&] { start(geometry, neighbours_kernel<double>, x.data()); }), "");
  });
}

#endif

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
