// The layer under the kernels for 9.0 (kernels/cuda/hopper/): swizzles, tensor maps, and every primitive against plain
// loops. On a device of 9.0, or run on the CPU.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <vector>

#include "kernels/common/check.h"
#include "kernels/cuda/runtime.h"
#include "tests/kernels/hopper_probe.h"
#include "tests/kernels/suite.h"

#if !defined(KOINE_HAVE_CUDA)
#include "kernels/cuda/hopper/cluster.h"
#include "kernels/cuda/hopper/dependent_launch.h"
#include "kernels/cuda/hopper/store_matrix.h"
#include "tests/kernels/cuda_layer.h"
#include "tests/kernels/hopper_host.h"
#endif

namespace koine::cuda {
namespace {

using koine::testing::TestRandom;

// --- swizzles and descriptors: numbers ---

constexpr Swizzle kSwizzles[] = {Swizzle::kNone, Swizzle::k32Bytes, Swizzle::k64Bytes, Swizzle::k128Bytes};

/// Chunk c of row r, in the words of the manual.
int chunk_of(Swizzle swizzle, int row, int chunk) {
  if (swizzle == Swizzle::k128Bytes) return chunk ^ (row & 7);
  if (swizzle == Swizzle::k64Bytes) return chunk ^ ((row >> 1) & 3);
  if (swizzle == Swizzle::k32Bytes) return chunk ^ ((row >> 2) & 1);
  return chunk;
}

TEST(HopperLayer, SwizzlesAreThoseOfTheManual) {
  for (const Swizzle swizzle : kSwizzles) {
    const int line = swizzle_bytes(swizzle);
    std::vector<bool> taken(8192);
    for (int row = 0; row < 8192 / line; ++row) {
      for (int byte = 0; byte < line; ++byte) {
        const auto place = static_cast<int>(swizzled(static_cast<std::uint32_t>(row * line + byte), swizzle));
        EXPECT_EQ(place, row * line + chunk_of(swizzle, row, byte / 16) * 16 + byte % 16);
        EXPECT_FALSE(taken[static_cast<std::size_t>(place)]);
        taken[static_cast<std::size_t>(place)] = true;
      }
    }
    // The permutation begins again after a period and is its own inverse.
    const auto period = static_cast<std::uint32_t>(swizzle_period(swizzle));
    for (std::uint32_t at = 0; at < 2048; at += 16) {
      EXPECT_EQ(swizzled(at + period, swizzle), swizzled(at, swizzle) + period);
      EXPECT_EQ(swizzled(swizzled(at, swizzle), swizzle), at);
    }
  }
  static_assert(swizzled(0x480, Swizzle::k128Bytes) == 0x490 && swizzled(0x4a0, Swizzle::k64Bytes) == 0x4b0);
  static_assert(swizzle_period(Swizzle::k128Bytes) == 1024 && swizzle_period(Swizzle::k64Bytes) == 512 &&
                swizzle_period(Swizzle::k32Bytes) == 256);
  // The two encodings differ: wgmma 1 = 128, 2 = 64, 3 = 32; tensor maps 1 = 32, 2 = 64, 3 = 128.
  static_assert(swizzle_of_descriptor(Swizzle::k128Bytes) == 1 && swizzle_of_descriptor(Swizzle::k64Bytes) == 2 &&
                swizzle_of_descriptor(Swizzle::k32Bytes) == 3 && swizzle_of_descriptor(Swizzle::kNone) == 0);
  static_assert(swizzle_of_tensor_map(Swizzle::k128Bytes) == 3 && swizzle_of_tensor_map(Swizzle::k64Bytes) == 2 &&
                swizzle_of_tensor_map(Swizzle::k32Bytes) == 1 && swizzle_of_tensor_map(Swizzle::kNone) == 0);
}

TEST(HopperLayer, DescriptorsHaveTheirFieldsWhereTheManualSays) {
  static_assert(matrix_descriptor(0x8400, 16, 1024, Swizzle::k128Bytes) == 0x4000'0040'0001'0840u);
  static_assert(matrix_descriptor(0x38ff0, 8192, 512, Swizzle::k64Bytes) == 0x8000'0020'0200'38ffu);
  static_assert(matrix_descriptor(0x400, 128, 256, Swizzle::kNone) == 0x0000'0010'0008'0040u);
  static_assert(matrix_descriptor(0x400, 0, 256, Swizzle::k32Bytes) >> 62 == 3);
}

TEST(HopperLayer, TensorMapsTheHardwareCannotHaveAreRefused) {
  const TensorLayout good = {.data = reinterpret_cast<const void*>(0x1000),
                             .type = DType::kBFloat16,
                             .dimensions = 2,
                             .extent = {100, 50},
                             .stride_bytes = {2, 208},
                             .box = {64, 32},
                             .swizzle = Swizzle::k128Bytes};
  EXPECT_EQ(box_bytes(good), 64 * 32 * 2);
  const auto refusal = [&](const std::function<void(TensorLayout&)>& change) -> std::string {
    TensorLayout layout = good;
    change(layout);
    try {
      make_tensor_map(layout);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  const auto expect = [&](const std::string& part, const std::function<void(TensorLayout&)>& change) {
    const std::string text = refusal(change);
    EXPECT_NE(text.find(part), std::string::npos) << "\"" << text << "\" does not say \"" << part << "\"";
  };
  expect("no multiple of 16 bytes", [](TensorLayout& t) { t.data = reinterpret_cast<const void*>(0x1008); });
  expect("no multiple of 16 bytes", [](TensorLayout& t) { t.data = nullptr; });
  expect("stride 1 is 200 bytes", [](TensorLayout& t) { t.stride_bytes[1] = 200; });
  expect("1 to 256 elements", [](TensorLayout& t) { t.box[1] = 257; });
  expect("1 to 256 elements", [](TensorLayout& t) { t.box[1] = 0; });
  expect("extent 1 is 0", [](TensorLayout& t) { t.extent[1] = 0; });
  expect("2 or 3 dimensions, not 4", [](TensorLayout& t) { t.dimensions = 4; });
  expect("has 64 bytes, the swizzle 128", [](TensorLayout& t) { t.box[0] = 32; });
  expect("has 256 bytes, the swizzle 128", [](TensorLayout& t) { t.box[0] = 128; });
  expect("has 24 bytes, no multiple of 16", [](TensorLayout& t) { t.box[0] = 12, t.swizzle = Swizzle::kNone; });
  expect("fp32 or bf16", [](TensorLayout& t) { t.type = DType::kFloat64; });
}

// --- on the device, or as if on it ---

#if defined(KOINE_HAVE_CUDA)
/// Skips a test without such a device.
#define KOINE_NEEDS_HOPPER \
  if (device_count() == 0 || device_properties(0).architecture != 90) GTEST_SKIP() << "no device of 9.0"
void for_orders(const std::function<void()>& body) { body(); }
#else
#define KOINE_NEEDS_HOPPER const Emulated device(90)
void for_orders(const std::function<void()>& body) { for_schedules(body); }
#endif

template <class T>
class OnDevice {
 public:
  explicit OnDevice(std::size_t count) : memory_("a probe's array", count * sizeof(T)), count_(count) {}
  explicit OnDevice(const std::vector<T>& values) : OnDevice(values.size()) {
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

std::vector<BFloat16> random_values(std::size_t count, int seed) {
  TestRandom random(static_cast<std::uint64_t>(seed));
  std::vector<BFloat16> result(count);
  for (BFloat16& value : result) value = to_bfloat16(static_cast<float>(random.normal()));
  return result;
}

/// Fifteen numbers that no two places share.
template <class T>
T element_of(std::size_t i);
template <>
float element_of<float>(std::size_t i) {
  return static_cast<float>(i + 1);
}
template <>
BFloat16 element_of<BFloat16>(std::size_t i) {
  return {static_cast<std::uint16_t>(i + 1)};
}

struct Tensor3 {
  std::size_t extent[3];  // innermost first
  std::size_t stride[3];  // elements
};
template <class T>
T read_tensor(const std::vector<T>& values, const Tensor3& t, const std::int64_t (&at)[3]) {
  std::size_t place = 0;
  for (int d = 0; d < 3; ++d) {
    if (at[d] < 0 || at[d] >= static_cast<std::int64_t>(t.extent[d])) return T{};
    place += static_cast<std::size_t>(at[d]) * t.stride[d];
  }
  return values[place];
}

/// Copies a box there and back, and compares what lay in shared memory and what came back with plain loops.
template <class T>
void check_box(Swizzle swizzle, int dimensions, const int (&box)[3], const int (&at)[3], const int (&back)[3]) {
  const Tensor3 tensor = {{100, 40, dimensions == 3 ? std::size_t{6} : 1}, {1, 104, 104 * 41}};
  std::vector<T> values(104 * 41 * 6);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = element_of<T>(i);
  const OnDevice<T> from(values);
  const OnDevice<T> to(std::vector<T>(values.size(), element_of<T>(60000)));
  TensorLayout layout = {.data = from.data(),
                         .type = sizeof(T) == 4 ? DType::kFloat32 : DType::kBFloat16,
                         .dimensions = dimensions,
                         .swizzle = swizzle};
  for (int d = 0; d < dimensions; ++d) {
    layout.extent[d] = static_cast<std::int64_t>(tensor.extent[d]);
    layout.stride_bytes[d] = static_cast<std::int64_t>(tensor.stride[d] * sizeof(T));
    layout.box[d] = box[d];
  }
  TensorLayout target = layout;
  target.data = to.data();
  const OnDevice<unsigned char> raw(static_cast<std::size_t>(box_bytes(layout)));
  launch_box_probe(layout, target, at, back, raw.data(), nullptr);
  const std::vector<unsigned char> lay = raw.values();
  const std::vector<T> result = to.values();
  std::vector<T> expected(values.size(), element_of<T>(60000));
  const int planes = dimensions == 3 ? box[2] : 1;
  for (int z = 0; z < planes; ++z) {
    for (int y = 0; y < box[1]; ++y) {
      for (int x = 0; x < box[0]; ++x) {
        const T value = read_tensor(values, tensor, {at[0] + x, at[1] + y, dimensions == 3 ? at[2] + z : 0});
        const int row = z * box[1] + y;
        const int line = box[0] * static_cast<int>(sizeof(T));
        const int byte = x * static_cast<int>(sizeof(T));
        T found;
        std::memcpy(&found, lay.data() + row * line + chunk_of(swizzle, row, byte / 16) * 16 + byte % 16, sizeof found);
        ASSERT_EQ(std::memcmp(&found, &value, sizeof value), 0) << x << ' ' << y << ' ' << z;
        const std::int64_t target_at[3] = {back[0] + x, back[1] + y, dimensions == 3 ? back[2] + z : 0};
        bool inside = true;
        std::size_t place = 0;
        for (int d = 0; d < 3; ++d) {
          inside = inside && target_at[d] >= 0 && target_at[d] < static_cast<std::int64_t>(tensor.extent[d]);
          place += static_cast<std::size_t>(target_at[d]) * tensor.stride[d];
        }
        if (inside) expected[place] = value;
      }
    }
  }
  ASSERT_EQ(std::memcmp(result.data(), expected.data(), result.size() * sizeof(T)), 0);
}

TEST(HopperLayer, BoxesComeAndGoAsTheirTensorSays) {
  KOINE_NEEDS_HOPPER;
  for_orders([] {
    for (const Swizzle swizzle : kSwizzles) {
      const int width = swizzle == Swizzle::kNone ? 24 : swizzle_bytes(swizzle) / 2;
      check_box<BFloat16>(swizzle, 2, {width, 16, 1}, {8, 3, 0}, {0, 0, 0});
      check_box<BFloat16>(swizzle, 2, {width, 16, 1}, {88, 30, 0}, {80, 33, 0});  // beyond both ends
      check_box<BFloat16>(swizzle, 2, {width, 16, 1}, {-3, -5, 0}, {-7, -1, 0});  // before both beginnings
      check_box<BFloat16>(swizzle, 2, {width, 16, 1}, {0, 50, 0}, {200, 0, 0});   // all outside
      check_box<BFloat16>(swizzle, 3, {width, 8, 3}, {4, 36, 4}, {50, 38, -1});
      check_box<float>(swizzle, 2, {width / 2, 24, 1}, {-4, 20, 0}, {60, -2, 0});
    }
  });
}

void check_product(const ProductProbe& shape) {
  const auto depth = static_cast<std::size_t>(shape.depth);
  const auto columns = static_cast<std::size_t>(shape.columns);
  const std::vector<BFloat16> a = random_values(64 * depth, 1);
  const std::vector<BFloat16> b = random_values(columns * depth, 2);
  const OnDevice<BFloat16> device_a(a);
  const OnDevice<BFloat16> device_b(b);
  const OnDevice<float> d(64 * columns);
  ProductProbe probe = shape;
  probe.a = device_a.data();
  probe.b = device_b.data();
  probe.d = d.data();
  launch_product_probe(probe, nullptr);
  const std::vector<float> result = d.values();
  for (std::size_t row = 0; row < 64; ++row) {
    for (std::size_t column = 0; column < columns; ++column) {
      double expected = 0;
      double magnitude = 0;
      for (std::size_t k = 0; k < depth; ++k) {
        const double x = to_float(a[shape.rows_major_a ? k * 64 + row : row * depth + k]);
        const double y = to_float(b[shape.rows_major_b ? k * columns + column : column * depth + k]);
        expected += x * y;
        magnitude += std::fabs(x * y);
      }
      // Each of the terms cut at 2^-23 of the largest sum on the way, at worst.
      ASSERT_NEAR(result[row * columns + column], expected, std::ldexp(magnitude, -23) * static_cast<double>(depth))
          << row << ' ' << column;
    }
  }
}

TEST(HopperLayer, ProductsOfEveryLayoutAreThoseOfDouble) {
  KOINE_NEEDS_HOPPER;
  for (const Swizzle swizzle : kSwizzles) {
    for (const int columns : {8, 80, 256}) {
      for (const bool rows_major_b : {false, true}) {
        SCOPED_TRACE(::testing::Message() << swizzle_bytes(swizzle) << " bytes, " << columns << " columns, B by rows "
                                          << rows_major_b);
        // Boxes are as wide as the swizzle: rows of fewer columns are no tensor for it.
        const ProductProbe shape = {.columns = columns, .depth = 128, .rows_major_b = rows_major_b, .swizzle = swizzle};
        ProductProbe turned = shape;
        turned.rows_major_a = true;
        ProductProbe registers = shape;
        registers.a_in_registers = true;
        check_product(shape);
        check_product(turned);
        check_product(registers);
      }
    }
  }
}

TEST(HopperLayer, ProductsOfEveryWidthAreThoseOfDouble) {
  KOINE_NEEDS_HOPPER;
  for_orders([] {
    for (const int columns : kProbeColumns) check_product({.columns = columns, .depth = 64});
  });
}

TEST(HopperLayer, ARingOfTwoBlocksFillsBoth) {
  KOINE_NEEDS_HOPPER;
  for_orders([] {
    const std::size_t rows = 32 * 7 - 9;
    const std::vector<BFloat16> values = random_values(rows * 64, 5);
    const OnDevice<BFloat16> from(values);
    const OnDevice<BFloat16> to(2 * rows * 64);
    launch_ring_probe(from.data(), static_cast<std::int64_t>(rows), to.data(), nullptr);
    const std::vector<BFloat16> result = to.values();
    ASSERT_EQ(std::memcmp(result.data(), values.data(), values.size() * sizeof(BFloat16)), 0);
    ASSERT_EQ(std::memcmp(result.data() + values.size(), values.data(), values.size() * sizeof(BFloat16)), 0);
  });
}

// --- how sums are cut ---

/// Sums of 1 and 15 times 2^-(r + 10), by row r. All of it in fp32 would be exact up to 2^-23.
std::vector<float> sums_with_small_terms() {
  std::vector<BFloat16> x(64 * 16, to_bfloat16(1.0f));
  std::vector<BFloat16> y(8 * 16, to_bfloat16(1.0f));
  for (std::size_t row = 0; row < 64; ++row) {
    for (std::size_t k = 1; k < 16; ++k) x[16 * row + k] = to_bfloat16(std::ldexp(1.0f, -static_cast<int>(row) - 10));
  }
  const OnDevice<BFloat16> device_x(x);
  const OnDevice<BFloat16> device_y(y);
  const OnDevice<float> c(std::vector<float>(64, 0.0f));
  const OnDevice<float> to(64);
  launch_truncation_probe({device_x.data(), device_y.data(), c.data(), to.data()}, nullptr);
  return to.values();
}

// What a tensor core keeps of a term beside 1 is for the device to say; that small terms vanish and larger ones do not is asked of it.
TEST(HopperLayer, SmallTermsVanishBesideLargeOnes) {
  KOINE_NEEDS_HOPPER;
#if !defined(KOINE_HAVE_CUDA)
  host::set_truncating_sums(true);
#endif
  const std::vector<float> sums = sums_with_small_terms();
#if !defined(KOINE_HAVE_CUDA)
  host::set_truncating_sums(false);
  for (int row = 0; row < 64; ++row) {
    // Terms below 2^-24 vanish each by itself; the sum of those at 2^-24 is cut to the 23 bits behind the point.
    const int exponent = row + 10;
    const double terms = exponent <= 24 ? 15 * std::ldexp(1.0, -exponent) : 0;
    const double sum = 1 + std::floor(std::ldexp(terms, 23)) * std::ldexp(1.0, -23);
    EXPECT_EQ(sums[static_cast<std::size_t>(row)], static_cast<float>(sum)) << row;
  }
#endif
  int kept = 0;  // 26 at most shows: fifteen of 2^-27 are less than a unit
  while (kept < 54 && sums[static_cast<std::size_t>(kept)] > 1) ++kept;
  RecordProperty("smallest_kept_term", 9 + kept);
  std::printf("beside 1 a tensor core keeps terms down to 2^-%d; 15 of 2^-24 make %a\n", 9 + kept,
              static_cast<double>(sums[14] - 1));
  EXPECT_GE(9 + kept, 23);
  EXPECT_EQ(sums[63], 1.0f);
}

}  // namespace
}  // namespace koine::cuda
