#pragma once

// Copies of whole boxes between global and shared memory that one thread asks for and no thread takes part in (PTX ISA,
// cp.async.bulk and cp.async.bulk.tensor, "TMA"; compute capability 9.0).
//
// A tensor copy moves a box of a matrix or of a stack of matrices, described by a TensorMap that the host makes and the
// kernel takes as `const KOINE_GRID_CONSTANT TensorMap`. Coordinates are elements, the innermost first, and may lie outside:
// zeros are read there, and nothing is written. In shared memory the box lies without gaps, innermost first, permuted by the
// map's swizzle; it begins on a multiple of swizzle_period().
//
// A load ends at an MBarrier, which counts all bytes of the box, those outside too. A store belongs to the thread that asked
// for it: bulk_commit() closes a group, bulk_wait_read<n>() waits until all but the youngest n of them have read shared
// memory, bulk_wait<n>() until they have been written. Before a store, whoever filled the box calls fence_async_proxy() and
// they meet.
//
// Multicast: the box and its bytes go to the same places of all blocks of the cluster whose bit is set. Each of these
// blocks' barriers expects them, and the one that asks has to know that the place is free in all of them.

#include <cstddef>

#include "kernels/cuda/hopper/barrier.h"
#include "kernels/cuda/hopper/swizzle.h"
#include "kernels/cuda/platform.h"

#if KOINE_ON_DEVICE
#define KOINE_GRID_CONSTANT __grid_constant__
#else
#define KOINE_GRID_CONSTANT
#endif

namespace koine::cuda {

/// What the hardware is told of a tensor. It wants it on a multiple of 64 bytes.
#if KOINE_ON_DEVICE || defined(KOINE_HAVE_CUDA)
struct alignas(64) TensorMap {
#else
struct TensorMap {
#endif
  std::uint64_t words[16];
};

/// A tensor of 2 or 3 dimensions, innermost first, and the box that copies of it move.
struct TensorLayout {
  const void* data = nullptr;  ///< on a multiple of 16 bytes
  DType type = DType::kBFloat16;
  int dimensions = 2;
  std::int64_t extent[3] = {0, 0, 0};  ///< elements, 1 to 2^32 of each
  /// From one index to the next, multiples of 16; of dimension 0 the element itself.
  std::int64_t stride_bytes[3] = {0, 0, 0};
  int box[3] = {0, 0, 0};  ///< 1 to 256 each; box[0] as many bytes as the swizzle's rows, or a multiple of 16 without
  Swizzle swizzle = Swizzle::k128Bytes;
};

/// The map of a layout. Throws Error, naming the number, where the hardware cannot have it so.
TensorMap make_tensor_map(const TensorLayout& layout);
/// Bytes a copy with this layout moves.
constexpr int box_bytes(const TensorLayout& layout) {
  int elements = layout.box[0] * layout.box[1];
  if (layout.dimensions == 3) elements *= layout.box[2];
  return elements * static_cast<int>(size_of(layout.type));
}

#if KOINE_ON_DEVICE

KOINE_DEVICE void prefetch_tensor_map(const TensorMap& map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

KOINE_DEVICE void tensor_load_2d(void* to, const TensorMap& map, int c0, int c1, MBarrier& barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(
          shared_address(to)),
      "l"(&map), "r"(shared_address(&barrier)), "r"(c0), "r"(c1)
      : "memory");
}
KOINE_DEVICE void tensor_load_3d(void* to, const TensorMap& map, int c0, int c1, int c2, MBarrier& barrier) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];" ::"r"(
          shared_address(to)),
      "l"(&map), "r"(shared_address(&barrier)), "r"(c0), "r"(c1), "r"(c2)
      : "memory");
}
KOINE_DEVICE void tensor_load_2d_multicast(void* to, const TensorMap& map, int c0, int c1, MBarrier& barrier,
                                           std::uint16_t blocks) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%3, %4}], "
      "[%2], %5;" ::"r"(shared_address(to)),
      "l"(&map), "r"(shared_address(&barrier)), "r"(c0), "r"(c1), "h"(blocks)
      : "memory");
}
KOINE_DEVICE void tensor_load_3d_multicast(void* to, const TensorMap& map, int c0, int c1, int c2, MBarrier& barrier,
                                           std::uint16_t blocks) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%3, %4, "
      "%5}], [%2], %6;" ::"r"(shared_address(to)),
      "l"(&map), "r"(shared_address(&barrier)), "r"(c0), "r"(c1), "r"(c2), "h"(blocks)
      : "memory");
}
KOINE_DEVICE void tensor_store_2d(const TensorMap& map, const void* from, int c0, int c1) {
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];" ::"l"(&map),
               "r"(shared_address(from)), "r"(c0), "r"(c1)
               : "memory");
}
KOINE_DEVICE void tensor_store_3d(const TensorMap& map, const void* from, int c0, int c1, int c2) {
  asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(&map),
               "r"(shared_address(from)), "r"(c0), "r"(c1), "r"(c2)
               : "memory");
}

/// Bytes that lie together: addresses and their number are multiples of 16.
KOINE_DEVICE void bulk_load(void* to, const void* from, int bytes, MBarrier& barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(shared_address(to)),
      "l"(from), "r"(bytes), "r"(shared_address(&barrier))
      : "memory");
}
KOINE_DEVICE void bulk_store(void* to, const void* from, int bytes) {
  asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(to), "r"(shared_address(from)), "r"(bytes)
               : "memory");
}
/// From this block's shared memory to block `rank`'s: `to` and `barrier` are their counterparts here.
KOINE_DEVICE void bulk_copy_to_block(void* to, const void* from, int bytes, MBarrier& barrier, unsigned rank) {
  asm volatile(
      "{\n"
      ".reg .b32 place, bar;\n"
      "mapa.shared::cluster.u32 place, %0, %4;\n"
      "mapa.shared::cluster.u32 bar, %3, %4;\n"
      "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [place], [%1], %2, [bar];\n"
      "}" ::"r"(shared_address(to)),
      "r"(shared_address(from)), "r"(bytes), "r"(shared_address(&barrier)), "r"(rank)
      : "memory");
}

KOINE_DEVICE void bulk_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
template <int kPending>
KOINE_DEVICE void bulk_wait_read() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(kPending) : "memory");
}
template <int kPending>
KOINE_DEVICE void bulk_wait() {
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(kPending) : "memory");
}

#else

namespace host {
struct Coordinates {
  int dimensions;
  int c[3];
};
void prefetch_tensor_map(const TensorMap& map);
inline constexpr int kThisBlock = -1;
/// `blocks`: of the cluster, by bits, or kThisBlock.
void tensor_load(void* to, const TensorMap& map, Coordinates at, void* barrier, int blocks, Site site);
void tensor_store(const TensorMap& map, const void* from, Coordinates at, Site site);
void bulk_load(void* to, const void* from, int bytes, void* barrier, Site site);
void bulk_store(void* to, const void* from, int bytes, Site site);
void bulk_copy_to_block(void* to, const void* from, int bytes, void* barrier, unsigned rank, Site site);
void bulk_commit();
void bulk_wait(int pending, bool written, Site site);
}  // namespace host

inline void prefetch_tensor_map(const TensorMap& map) { host::prefetch_tensor_map(map); }
inline void tensor_load_2d(void* to, const TensorMap& map, int c0, int c1, MBarrier& barrier, KOINE_SITE) {
  host::tensor_load(to, map, {2, {c0, c1, 0}}, &barrier, host::kThisBlock, site);
}
inline void tensor_load_3d(void* to, const TensorMap& map, int c0, int c1, int c2, MBarrier& barrier, KOINE_SITE) {
  host::tensor_load(to, map, {3, {c0, c1, c2}}, &barrier, host::kThisBlock, site);
}
inline void tensor_load_2d_multicast(void* to, const TensorMap& map, int c0, int c1, MBarrier& barrier, std::uint16_t blocks,
                                     KOINE_SITE) {
  host::tensor_load(to, map, {2, {c0, c1, 0}}, &barrier, blocks, site);
}
inline void tensor_load_3d_multicast(void* to, const TensorMap& map, int c0, int c1, int c2, MBarrier& barrier,
                                     std::uint16_t blocks, KOINE_SITE) {
  host::tensor_load(to, map, {3, {c0, c1, c2}}, &barrier, blocks, site);
}
inline void tensor_store_2d(const TensorMap& map, const void* from, int c0, int c1, KOINE_SITE) {
  host::tensor_store(map, from, {2, {c0, c1, 0}}, site);
}
inline void tensor_store_3d(const TensorMap& map, const void* from, int c0, int c1, int c2, KOINE_SITE) {
  host::tensor_store(map, from, {3, {c0, c1, c2}}, site);
}
inline void bulk_load(void* to, const void* from, int bytes, MBarrier& barrier, KOINE_SITE) {
  host::bulk_load(to, from, bytes, &barrier, site);
}
inline void bulk_store(void* to, const void* from, int bytes, KOINE_SITE) { host::bulk_store(to, from, bytes, site); }
inline void bulk_copy_to_block(void* to, const void* from, int bytes, MBarrier& barrier, unsigned rank, KOINE_SITE) {
  host::bulk_copy_to_block(to, from, bytes, &barrier, rank, site);
}
inline void bulk_commit() { host::bulk_commit(); }
template <int kPending>
void bulk_wait_read(KOINE_SITE) {
  host::bulk_wait(kPending, false, site);
}
template <int kPending>
void bulk_wait(KOINE_SITE) {
  host::bulk_wait(kPending, true, site);
}

#endif

}  // namespace koine::cuda
