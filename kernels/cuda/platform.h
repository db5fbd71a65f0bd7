#pragma once

// What a kernel's source is written in, so that nvcc makes device code of it and any C++20 compiler makes a program that
// runs the same threads on the CPU (kernels/cuda/host/). A kernel is
//
//   template <class T>
//   KOINE_KERNEL KOINE_LAUNCH_BOUNDS(256) scale_kernel(ScaleParameters p) {
//     const std::int64_t i = std::int64_t{block_index().x} * block_threads() + thread_index();
//     if (i < p.count) ...
//   }
//
// in a file `<op>.cu`, started by launch() (launch.h). Blocks are one-dimensional and a multiple of 32 threads; grids have
// three dimensions. Kernels use the headers of this folder and nothing of CUDA's own: no <<<>>>, no __shared__, no
// threadIdx.
//
// Rules the host implementation enforces: every thread of a block meets every sync_block(), and every lane of a warp every
// warp operation, in the same place of the source; no thread leaves before a barrier others wait at; shared memory is read
// only after it was written; vector accesses are aligned.
//
// Floating-point products and sums are never contracted (-fmad=false): a fused multiply-add is written fused(a, b, c).

#include <cstdint>

#include "kernels/common/types.h"

#if defined(__CUDACC__)
#define KOINE_ON_DEVICE 1
#define KOINE_KERNEL __global__ void
#define KOINE_LAUNCH_BOUNDS(...) __launch_bounds__(__VA_ARGS__)
#define KOINE_DEVICE __device__ __forceinline__
#define KOINE_UNROLL _Pragma("unroll")
#else
#define KOINE_ON_DEVICE 0
#define KOINE_KERNEL void
#define KOINE_LAUNCH_BOUNDS(...)
#define KOINE_DEVICE inline
#define KOINE_UNROLL
#include "kernels/cuda/host/execution.h"
#endif

namespace koine::cuda {

inline constexpr int kWarpThreads = 32;

/// Three sizes or places; x is the one that varies fastest.
struct Index3 {
  unsigned x = 1;
  unsigned y = 1;
  unsigned z = 1;
};

#if KOINE_ON_DEVICE

KOINE_DEVICE int thread_index() { return static_cast<int>(threadIdx.x); }
KOINE_DEVICE int block_threads() { return static_cast<int>(blockDim.x); }
KOINE_DEVICE Index3 block_index() { return {blockIdx.x, blockIdx.y, blockIdx.z}; }
KOINE_DEVICE Index3 grid_size() { return {gridDim.x, gridDim.y, gridDim.z}; }
/// Blocks of a cluster; 1 where the launch asked for none.
KOINE_DEVICE Index3 cluster_size() {
  Index3 size;
#if __CUDA_ARCH__ >= 900
  asm("mov.u32 %0, %%cluster_nctaid.x;" : "=r"(size.x));
  asm("mov.u32 %0, %%cluster_nctaid.y;" : "=r"(size.y));
  asm("mov.u32 %0, %%cluster_nctaid.z;" : "=r"(size.z));
#endif
  return size;
}

/// The block's shared memory, as many bytes as the launch asked for, as a T. Uninitialised. On a multiple of 128 bytes, or
/// of 1024 where T asks for more than 128.
template <class T>
KOINE_DEVICE T& shared_memory() {
  static_assert(alignof(T) <= 1024);
  if constexpr (alignof(T) <= 128) {
    extern __shared__ __align__(128) unsigned char koine_shared_memory[];
    return *reinterpret_cast<T*>(koine_shared_memory);
  } else {
    extern __shared__ __align__(1024) unsigned char koine_aligned_shared_memory[];
    return *reinterpret_cast<T*>(koine_aligned_shared_memory);
  }
}

/// All threads of the block wait for each other; what they wrote before is seen by all after.
KOINE_DEVICE void sync_block() { __syncthreads(); }
/// The same among the 32 lanes of a warp.
KOINE_DEVICE void sync_warp() { __syncwarp(); }

#else

inline int thread_index() { return host::execution().thread; }
inline int block_threads() { return host::execution().threads; }
inline Index3 block_index() {
  const host::Execution& e = host::execution();
  return {e.block[0], e.block[1], e.block[2]};
}
inline Index3 grid_size() {
  const host::Execution& e = host::execution();
  return {e.grid[0], e.grid[1], e.grid[2]};
}

inline Index3 cluster_size() {
  const host::Execution& e = host::execution();
  return {e.cluster[0], e.cluster[1], e.cluster[2]};
}

template <class T>
T& shared_memory() {
  return *static_cast<T*>(host::shared_memory(sizeof(T), alignof(T)));
}

inline void sync_block(KOINE_SITE) { host::sync_block(site); }
inline void sync_warp(KOINE_SITE) { host::sync_warp(site); }

#endif

KOINE_DEVICE int lane_index() { return thread_index() % kWarpThreads; }
KOINE_DEVICE int warp_index() { return thread_index() / kWarpThreads; }

}  // namespace koine::cuda
