#pragma once

// What the tests of the layer under the CUDA kernels share: arrays on the device, launches, several orders of threads. For
// builds whose kernels run on the CPU.

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
#include "kernels/cuda/host/execution.h"
#include "kernels/cuda/host/sanitizers.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/matrix.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/vector.h"
#include "kernels/cuda/warp.h"
#include "tests/kernels/suite.h"

namespace koine::cuda {

using koine::testing::TestRandom;

#if defined(KOINE_ADDRESS_SANITIZER)
inline constexpr bool kAddressSanitizer = true;
#else
inline constexpr bool kAddressSanitizer = false;
#endif
const bool kRaces = host::watches_races();

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
inline std::string failure_of(const std::function<void()>& body) {
  try {
    body();
    synchronize(nullptr);
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}
inline void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "\"" << text << "\" does not say \"" << part << "\"";
}

/// Under each of several orders.
inline void for_schedules(const std::function<void()>& body) {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    host::set_schedule_seed(seed);
    body();
  }
  host::set_schedule_seed(1);
}

inline float number(int i) { return static_cast<float>(std::sin(1.0 + i)); }

inline KOINE_KERNEL places_kernel(std::uint32_t* to) {
  const Index3 b = block_index();
  const Index3 g = grid_size();
  const std::uint32_t block = (b.z * g.y + b.y) * g.x + b.x;
  to[block * static_cast<unsigned>(block_threads()) + static_cast<unsigned>(thread_index())] =
      block * 1000 + static_cast<unsigned>(warp_index()) * 100 + static_cast<unsigned>(lane_index());
}

struct CopyTiles {
  alignas(16) float first[64][4];
  alignas(16) float second[64][4];
};

struct Matrices {
  alignas(16) BFloat16 rows[32][8];
};

}  // namespace koine::cuda
