#pragma once

// The suite that every operation's variants run through: one case = one set of arguments with its operands; each usable
// variant is compared with the double reference in fp32 and bf16, on every instruction set of this processor.
//
// The rule. Inputs are first rounded to the type under test. `truth` is the reference in double on these inputs, `rounded`
// the reference in the type under test (computing in double, rounding what it stores). A variant's output v is accepted
// where
//     |v - truth| <= 2 max|rounded - truth| + one rounding of truth to the output's type + accumulation
// with the maximum over the operand, and `accumulation` what the case grants for summing and computing in fp32:
// fp32_error(roundings, magnitude). Operands marked exact must equal `rounded` bit for bit.
//
// Outputs and workspaces are NaN before each launch and guarded on both sides. Every CPU variant must give the same bits
// when run again, and with 1, 2 and 3 threads. CUDA variants run on copies of the operands in device memory, aligned and
// not; by the host implementation (kernels/cuda/host) in several orders of blocks and threads, which must give the same
// bits, and on a device where the build has one.
//
// A test takes a case of the operation's `<op>_cases.h` (kernels/common/cases.h), says what it grants, and checks it:
//
//   Case<DropoutArguments> test_case = dropout_case(3, 100, 0.1f, true);
//   test_case.operand("output").accumulation = fp32_error(1, 4);
//   check_variants(test_case);

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels/common/cases.h"
#include "kernels/common/parallel.h"
#include "kernels/common/registry.h"
#include "kernels/cuda/runtime.h"
#if !defined(KOINE_HAVE_CUDA)
#include "kernels/cuda/host/execution.h"
#include "kernels/cuda/host/memory_guard.h"
#include "kernels/cuda/host/sanitizers.h"
#endif

namespace koine::testing {

using namespace cases;

/// Memory that is NaN (read as fp32, bf16 or fp64) until something writes it, guarded on both sides. It starts `offset`
/// bytes after a multiple of 256: operands start one element off, so that nobody counts on alignment.
class Buffer {
 public:
  explicit Buffer(std::size_t bytes, std::size_t offset = 0)
      : bytes_(bytes),
        begin_(kGuard + offset),
        size_((begin_ + bytes + 2 * kGuard) / kGuard * kGuard),
        memory_(static_cast<unsigned char*>(std::aligned_alloc(kGuard, size_))) {
    std::memset(memory_.get(), kGuardValue, size_);
    std::memset(data(), 0xff, bytes);
  }
  Buffer(DType type, std::int64_t count, bool aligned = false)
      : Buffer(static_cast<std::size_t>(count) * size_of(type), aligned ? 0 : size_of(type)) {}

  void* data() { return memory_.get() + begin_; }
  const void* data() const { return memory_.get() + begin_; }
  std::size_t bytes() const { return bytes_; }
  /// All of it, guards included.
  unsigned char* block() { return memory_.get(); }
  std::size_t block_bytes() const { return size_; }
  bool guards_intact() const {
    const auto untouched = [](unsigned char value) { return value == kGuardValue; };
    return std::all_of(memory_.get(), memory_.get() + begin_, untouched) &&
           std::all_of(memory_.get() + begin_ + bytes_, memory_.get() + size_, untouched);
  }

 private:
  struct Free {
    void operator()(unsigned char* memory) const { std::free(memory); }
  };
  static constexpr std::size_t kGuard = 256;
  static constexpr unsigned char kGuardValue = 0xa5;
  std::size_t bytes_;
  std::size_t begin_;
  std::size_t size_;
  std::unique_ptr<unsigned char, Free> memory_;
};

inline double round_to(DType type, double value) {
  if (type == DType::kFloat64) return value;
  return type == DType::kFloat32 ? static_cast<float>(value) : to_float(to_bfloat16(static_cast<float>(value)));
}

/// Half the distance between neighbouring values of `type` around `value`.
inline double one_rounding(DType type, double value) {
  if (type == DType::kFloat64) return 0;
  const double smallest = 1.1754943508222875e-38;  // of the normal numbers
  return std::ldexp(1.0, std::ilogb(std::max(std::fabs(value), smallest)) - (type == DType::kFloat32 ? 24 : 8));
}

/// What `roundings` roundings to fp32 at numbers of size `magnitude` add up to at most.
inline double fp32_error(double roundings, double magnitude) { return roundings * std::ldexp(magnitude, -24); }

using cases::region_of;
inline Region region_of(Buffer& buffer) { return {buffer.data(), buffer.bytes()}; }

/// The device of CUDA variants, and the architecture; the CPU for others. `available` false: this machine has none.
inline Context context_for(Device device, bool* available = nullptr) {
  Context context;
  context.device = device;
  if (device == Device::kCuda) {
    const bool found = cuda::device_count() > 0;
    if (available != nullptr) *available = found;
    context.architecture = found ? cuda::device_properties(0).architecture : 0;
  }
  return context;
}

/// While this lives, the host implementation of the CUDA kernels is a device that the variant is for. A real one is what it
/// is.
class DeviceFor {
 public:
  template <class Arguments>
  explicit DeviceFor([[maybe_unused]] const Variant<Arguments>& variant) {
#if !defined(KOINE_HAVE_CUDA)
    const ArchitectureWindow& window = variant.architectures;
    if (variant.device == Device::kCuda && !window.holds(before_)) cuda::host::set_architecture(window.first);
#endif
  }
  DeviceFor(const DeviceFor&) = delete;
  DeviceFor& operator=(const DeviceFor&) = delete;
#if !defined(KOINE_HAVE_CUDA)
  ~DeviceFor() { cuda::host::set_architecture(before_); }

 private:
  int before_ = cuda::host::architecture();
#endif
};

/// A copy of host memory in device memory, with what lies around it unreadable where the address sanitizer watches.
class DeviceCopy {
 public:
  /// `block`: bytes around the region that come along, guards; or the region itself.
  DeviceCopy(Region region, Region block)
      : region_(region), block_(block), memory_("a test's operand", std::max<std::size_t>(block.bytes, 1)) {
    cuda::copy_to_device(memory_.data(), block.begin, block.bytes, nullptr);
    cuda::synchronize(nullptr);
    guard(true);
  }
  void copy_back() {
    guard(false);
    cuda::copy_to_host(block_.begin, memory_.data(), block_.bytes, nullptr);
    cuda::synchronize(nullptr);
  }
  /// Where `address` lies on the device; null where it is not in this region (its end belongs to it).
  void* translate(const void* address) const {
    const auto* begin = static_cast<const char*>(region_.begin);
    const auto* wanted = static_cast<const char*>(address);
    if (region_.begin == nullptr || wanted < begin || wanted > begin + region_.bytes) return nullptr;
    return static_cast<char*>(memory_.data()) + (wanted - static_cast<const char*>(block_.begin));
  }

 private:
  void guard([[maybe_unused]] bool on) {
#if !defined(KOINE_HAVE_CUDA)
    const auto change = on ? cuda::host::make_unreadable : cuda::host::make_readable;
    const auto before = static_cast<std::size_t>(static_cast<char*>(region_.begin) - static_cast<char*>(block_.begin));
    change(memory_.data(), before / 8 * 8);  // the sanitizer's granules are 8 bytes
    change(static_cast<char*>(memory_.data()) + before + region_.bytes, memory_.bytes() - before - region_.bytes);
#endif
  }
  Region region_;
  Region block_;
  cuda::DeviceMemory memory_;
};

/// Launches a CUDA variant with `arguments`, whose pointers into the regions and buffers are turned into pointers to copies
/// on the device; afterwards the regions and buffers hold what the launch left. False, and no launch, where the variant does
/// not support where these lie.
template <class Arguments>
bool launch_on_device(const Context& context, const Variant<Arguments>& variant, Arguments arguments,
                      const std::vector<Region>& regions, const std::vector<Buffer*>& buffers, void* workspace) {
  std::vector<std::unique_ptr<DeviceCopy>> copies;
  for (Buffer* buffer : buffers) {
    copies.push_back(std::make_unique<DeviceCopy>(region_of(*buffer), Region{buffer->block(), buffer->block_bytes()}));
  }
  for (const Region& region : regions) copies.push_back(std::make_unique<DeviceCopy>(region, region));
  const auto translate = [&](void* address) -> void* {
    for (const auto& copy : copies) {
      if (void* there = copy->translate(address)) return there;
    }
    return address;
  };
  arguments = with_pointers(arguments, translate);
  if (variant.supports != nullptr && !variant.supports(arguments)) return false;
  variant.launch(context, arguments, translate(workspace));
  cuda::synchronize(nullptr);
  for (const auto& copy : copies) copy->copy_back();
  return true;
}

/// What a launch left in each operand, in their order.
struct Outcome {
  bool launched = true;  ///< false: the variant does not support operands that lie so
  std::vector<DType> types;
  std::vector<Buffer> buffers;
  double value(std::size_t operand, std::int64_t index) const {
    return load_element(buffers[operand].data(), types[operand], index);
  }
  std::vector<double> values(std::size_t operand) const {
    std::vector<double> result(buffers[operand].bytes() / size_of(types[operand]));
    for (std::size_t i = 0; i < result.size(); ++i) result[i] = value(operand, static_cast<std::int64_t>(i));
    return result;
  }
};

/// Launches `variant` on fresh memory. The inputs are rounded to `data_type`, and stored and computed in `compute_type`.
/// Arrays are as they were afterwards: what a variant writes there, tests look at by themselves.
template <class Arguments>
Outcome launch(const Case<Arguments>& test_case, const Variant<Arguments>& variant, DType data_type, DType compute_type,
               bool aligned = false) {
  Outcome outcome;
  Arguments arguments = test_case.typed(compute_type);
  for (const Operand<Arguments>& operand : test_case.operands) {
    outcome.types.push_back(operand.type(compute_type));
    outcome.buffers.emplace_back(outcome.types.back(), operand.count, aligned);
    if (operand.read) {
      for (std::int64_t i = 0; i < operand.count; ++i) {
        const double value = operand.values[static_cast<std::size_t>(i)];
        store_element(outcome.buffers.back().data(), outcome.types.back(), i,
                      operand.fixed ? value : round_to(data_type, value));
      }
    }
  }
  for (std::size_t i = 0; i < outcome.buffers.size(); ++i) {
    if (test_case.operands[i].bind) test_case.operands[i].bind(arguments, outcome.buffers[i].data());
  }
  operation<Arguments>().validate(arguments);
  EXPECT_GE(operation<Arguments>().flops(arguments), 0);
  EXPECT_GE(operation<Arguments>().bytes(arguments), 0);
  Buffer workspace(variant.workspace_bytes == nullptr ? 0 : variant.workspace_bytes(arguments));
  void* const space = workspace.bytes() == 0 ? nullptr : workspace.data();
  const Context context = context_for(variant.device);
  if (variant.device == Device::kCuda) {
    std::vector<Buffer*> buffers = {&workspace};
    for (Buffer& buffer : outcome.buffers) buffers.push_back(&buffer);
    outcome.launched = launch_on_device(context, variant, arguments, test_case.arrays, buffers, space);
  } else {
    variant.launch(context, arguments, space);
  }
  EXPECT_TRUE(workspace.guards_intact()) << test_case.name << ": " << variant.name << " wrote outside its workspace";
  for (std::size_t i = 0; i < outcome.buffers.size(); ++i) {
    EXPECT_TRUE(outcome.buffers[i].guards_intact())
        << test_case.name << ": " << variant.name << " wrote outside " << test_case.operands[i].name;
  }
  return outcome;
}

template <class Arguments>
const Variant<Arguments>& reference_variant() {
  for (const Variant<Arguments>& variant : operation<Arguments>().variants) {
    if (variant.name == kReference) return variant;
  }
  throw Error(concatenate(operation<Arguments>().name, " has no reference"));
}

inline bool same_bits(const Outcome& left, const Outcome& right) {
  for (std::size_t i = 0; i < left.buffers.size(); ++i) {
    if (std::memcmp(left.buffers[i].data(), right.buffers[i].data(), left.buffers[i].bytes()) != 0) return false;
  }
  return true;
}

/// Compares operand `index` of `outcome` by the rule above.
template <class Arguments>
void compare_operand(const Case<Arguments>& test_case, std::size_t index, const Outcome& outcome, const Outcome& rounded,
                     const Outcome& truth, const std::string& label) {
  const Operand<Arguments>& operand = test_case.operands[index];
  const DType type = outcome.types[index];
  if (operand.exact) {
    const std::size_t bytes = outcome.buffers[index].bytes();
    EXPECT_EQ(std::memcmp(outcome.buffers[index].data(), rounded.buffers[index].data(), bytes), 0)
        << label << operand.name << " is not an exact copy";
    return;
  }
  double reference_error = 0;
  for (std::int64_t i = 0; i < operand.count; ++i) {
    reference_error = std::max(reference_error, std::fabs(rounded.value(index, i) - truth.value(index, i)));
  }
  double worst = 0;
  std::int64_t place = -1, first = -1, last = -1, wrong = 0;
  for (std::int64_t i = 0; i < operand.count; ++i) {
    const double expected = truth.value(index, i);
    if (outcome.value(index, i) == expected) continue;  // infinities too
    const double allowed = 2 * reference_error + one_rounding(type, expected) + operand.accumulation;
    const double excess = std::fabs(outcome.value(index, i) - expected) - allowed;
    if (!(excess <= 0)) {
      if (first < 0) first = i;
      last = i;
      ++wrong;
    }
    if (!(excess <= worst)) {  // also where the result is NaN
      worst = std::isnan(excess) ? std::numeric_limits<double>::infinity() : excess;
      place = i;
    }
  }
  if (place >= 0) {
    ADD_FAILURE() << label << operand.name << "[" << place << "] = " << outcome.value(index, place) << ", expected "
                  << truth.value(index, place) << ", " << worst << " beyond the allowed error; so are " << wrong << " of "
                  << operand.count << ", from [" << first << "] to [" << last << "]";
  }
}

/// Calls `body(name)` once for each instruction set the vector code was compiled for and this processor has.
inline void for_each_instruction_set(const std::function<void(const std::string&)>& body) {
#if defined(__x86_64__)
  const auto supported = hwy::SupportedTargets();
  for (const auto target : {HWY_AVX3, HWY_AVX2, HWY_SSSE3}) {
    if ((supported & target) == 0) continue;
    hwy::SetSupportedTargetsForTest(target);
    body(hwy::TargetName(target));
  }
  hwy::SetSupportedTargetsForTest(0);
#else
  body("native");
#endif
}

/// Calls `body` with 1, 2 and 3 threads, the number there is among them where it is one of these, then puts the number back.
inline void for_each_thread_count(const std::function<void(int)>& body) {
  const int before = thread_count();
  for (const int threads : {1, 2, 3}) {
    set_thread_count(threads);
    body(threads);
  }
  set_thread_count(before);
}

/// Whether this program looks at every access, many times slower. It does everything once: that the same work gives the same
/// bits is seen in others.
inline bool watches_accesses() {
#if defined(KOINE_ADDRESS_SANITIZER)
  return true;
#elif defined(KOINE_HAVE_CUDA)
  return false;
#else
  return cuda::host::watches_races();
#endif
}

/// Calls `body(name)` for several orders of blocks and threads of the host implementation; once on a device, or where one is
/// `enough`. Builds that watch every access, many times slower, try one.
inline void for_each_schedule(const std::function<void(const std::string&)>& body, bool enough = false) {
#if defined(KOINE_HAVE_CUDA)
  static_cast<void>(enough);
  body("on the device");
#else
  const std::vector<std::uint64_t> seeds =
      enough || watches_accesses() ? std::vector<std::uint64_t>{3} : std::vector<std::uint64_t>{2, 3, 0};
  for (const std::uint64_t seed : seeds) {
    cuda::host::set_schedule_seed(seed);
    body(concatenate("schedule ", seed));
  }
  cuda::host::set_schedule_seed(1);
#endif
}

/// Every usable variant against the reference, and each against itself.
template <class Arguments>
void check_variants(const Case<Arguments>& test_case) {
  const Operation<Arguments>& table = operation<Arguments>();
  for (const DType type : test_case.types) {
    const Outcome truth = launch(test_case, reference_variant<Arguments>(), type, DType::kFloat64);
    const Outcome rounded = launch(test_case, reference_variant<Arguments>(), type, type);
    const Arguments typed = test_case.typed(type);
    for (const Variant<Arguments>& variant : table.variants) {
      bool available = true;
      const DeviceFor device(variant);
      const Context context = context_for(variant.device, &available);
      if (variant.name == kReference || !available || !usable(variant, context, typed)) continue;
      if (variant.device == Device::kCuda) {
        if (test_case.large && cuda::on_host()) continue;
        for (const bool aligned : {false, true}) {
          const std::string label = concatenate(table.name, ":", variant.name, aligned ? " aligned " : " ", name_of(type),
                                                ", ", test_case.name, ": ");
          const Outcome first = launch(test_case, variant, type, type, aligned);
          if (!first.launched) continue;
          for (std::size_t i = 0; i < test_case.operands.size(); ++i) {
            if (test_case.operands[i].written) compare_operand(test_case, i, first, rounded, truth, label);
          }
          if (watches_accesses()) continue;
          for_each_schedule(
              [&](const std::string& schedule) {
                EXPECT_TRUE(same_bits(first, launch(test_case, variant, type, type, aligned)))
                    << label << schedule << " differs";
              },
              aligned);  // where memory lies does not change who waits for whom: one other order is enough there
        }
        continue;
      }
#if !defined(KOINE_HAVE_CUDA)
      if (cuda::host::watches_races())
        continue;  // that program looks at the CUDA kernels' accesses; others test CPU variants
#endif
      for_each_instruction_set([&](const std::string& instructions) {
        const std::string label =
            concatenate(table.name, ":", variant.name, " ", instructions, " ", name_of(type), ", ", test_case.name, ": ");
        const Outcome first = launch(test_case, variant, type, type);
        for (std::size_t i = 0; i < test_case.operands.size(); ++i) {
          if (test_case.operands[i].written) compare_operand(test_case, i, first, rounded, truth, label);
        }
        if (watches_accesses()) return;
        for_each_thread_count([&](int threads) {
          EXPECT_TRUE(same_bits(first, launch(test_case, variant, type, type))) << label << threads << " threads differ";
        });
      });
    }
  }
}

/// The reference's outputs in double for these operands.
template <class Arguments>
Outcome reference_in_double(const Case<Arguments>& test_case) {
  return launch(test_case, reference_variant<Arguments>(), DType::kFloat64, DType::kFloat64);
}

/// Compares `gradient` with central differences of `loss` at `values`. With step h the error of the difference is
/// O(h^2 |third derivative|) + 1e-16 |loss| / h; `tolerance` is relative to the largest gradient.
inline void check_gradient(const std::string& name, const std::function<double(const std::vector<double>&)>& loss,
                           std::vector<double> values, const std::vector<double>& gradient, double step = 0x1p-12,
                           double tolerance = 2e-6) {
  ASSERT_EQ(values.size(), gradient.size()) << name;
  double largest = 0;
  for (const double value : gradient) largest = std::max(largest, std::fabs(value));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double middle = values[i];
    values[i] = middle + step;
    const double above = loss(values);
    values[i] = middle - step;
    const double below = loss(values);
    values[i] = middle;
    const double difference = (above - below) / (2 * step);
    EXPECT_NEAR(gradient[i], difference, tolerance * std::max(largest, 1e-3)) << name << "[" << i << "]";
  }
}

inline double dot(const std::vector<double>& left, const std::vector<double>& right) {
  double sum = 0;
  for (std::size_t i = 0; i < left.size(); ++i) sum += left[i] * right[i];
  return sum;
}

}  // namespace koine::testing
