#pragma once

// Starting a kernel.
//
//   launch({.kernel = "scale", .shape = {rows, width}, .grid = {blocks}, .threads = 256, .stream = context.stream},
//          scale_kernel<float>, params);
//
// Arguments are passed by value and must be trivially copyable. A launch that the device refuses throws Error with the
// kernel's name, the shape, the grid and the place of the call; what goes wrong while it runs is thrown by the next call of
// runtime.h that waits for the stream.

#include <array>
#include <cstddef>
#include <functional>
#include <string>
#include <tuple>
#include <type_traits>

#include "kernels/cuda/platform.h"

namespace koine::cuda {

struct Launch {
  const char* kernel = "";              ///< for messages, profiles and the table of resources
  std::array<std::int64_t, 4> shape{};  ///< of the operation, for messages; -1 or 0 behind the last
  Index3 grid;
  /// Blocks that are started together on neighbouring multiprocessors (compute capability 9.0 and up): neighbours of the
  /// grid, whose extents are multiples of these. At most 8 of them; 1: no clusters.
  Index3 cluster = {};
  int threads = 0;
  std::size_t shared_bytes = 0;
  /// Begins while the kernel before it in the stream still runs: see hopper/dependent_launch.h (compute capability 9.0).
  bool overlap = false;
  /// Of a multiprocessor: the second of the kernel's launch bounds, where its roles hand registers to each other
  /// (hopper/warpgroup.h). A device knows it by the kernel.
  int blocks_at_once = 1;
  void* stream = nullptr;
  const char* file = __builtin_FILE();
  int line = __builtin_LINE();
};

/// "gemm [128, 3072, 768] (grid 24 x 1 x 1, 256 threads, 98304 bytes of shared memory; kernels/gemm/gemm.cu:310)"; where
/// there are clusters, "grid 24 x 1 x 1 in clusters of 2 x 1 x 1".
std::string describe(const Launch& launch);
inline bool has_clusters(const Launch& launch) {
  return launch.cluster.x != 1 || launch.cluster.y != 1 || launch.cluster.z != 1;
}

#if KOINE_ON_DEVICE
namespace device {
void launch(const Launch& launch, const void* function, void** arguments);
}  // namespace device

template <class... Parameters, class... Arguments>
void launch(const Launch& launch, void (*kernel)(Parameters...), const Arguments&... arguments) {
  std::tuple<std::remove_const_t<Parameters>...> values(arguments...);
  std::apply(
      [&](auto&... value) {
        void* pointers[] = {static_cast<void*>(&value)...};
        device::launch(launch, reinterpret_cast<const void*>(kernel), pointers);
      },
      values);
}
#else
namespace host {
/// Runs `work` (a copy of it) when the stream comes to it.
void enqueue(void* stream, std::function<void()> work);
}  // namespace host

template <class... Parameters, class... Arguments>
void launch(const Launch& launch, void (*kernel)(Parameters...), const Arguments&... arguments) {
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<std::remove_const_t<Parameters>...> arguments;
  };
  static_assert((std::is_trivially_copyable_v<Parameters> && ...));
  const Call call = {kernel, {arguments...}};
  host::enqueue(launch.stream, [launch, call] {
    host::run_grid(
        launch.kernel, describe(launch),
        {{launch.grid.x, launch.grid.y, launch.grid.z},
         {launch.cluster.x, launch.cluster.y, launch.cluster.z},
         launch.threads,
         launch.shared_bytes,
         launch.overlap,
         launch.blocks_at_once},
        [](const void* what) {
          const auto* one = static_cast<const Call*>(what);
          std::apply(one->kernel, one->arguments);
        },
        &call);
  });
}
#endif

/// Number of groups of `size` that hold `count`.
constexpr std::int64_t divide_up(std::int64_t count, std::int64_t size) { return (count + size - 1) / size; }
/// `count` as an extent of a grid.
inline unsigned grid_extent(std::int64_t count) { return static_cast<unsigned>(count); }

/// Whether all of these are multiples of `bytes`: pointers, or byte strides of rows.
template <class... Values>
bool all_aligned(std::size_t bytes, Values... values) {
  const auto number = [](auto value) {
    if constexpr (std::is_pointer_v<decltype(value)>) {
      return reinterpret_cast<std::uintptr_t>(value);
    } else {
      return static_cast<std::uintptr_t>(value);
    }
  };
  return ((number(values) % bytes == 0) && ...);
}

}  // namespace koine::cuda
