#pragma once

// Values passed between the lanes of a warp, and sums and maxima over warps and blocks. All orders are fixed: the same
// inputs give the same bits.

#include "kernels/cuda/platform.h"

namespace koine::cuda {

#if KOINE_ON_DEVICE

/// `value` of lane `lane` (0..31). T is 4 or 8 bytes.
template <class T>
KOINE_DEVICE T shuffle(T value, int lane) {
  return __shfl_sync(0xffffffffu, value, lane);
}
/// `value` of the lane whose number differs from this one's in the bits of `mask`.
template <class T>
KOINE_DEVICE T shuffle_xor(T value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}
/// Bit l of the result: whether lane l passed true.
KOINE_DEVICE std::uint32_t ballot(bool value) { return __ballot_sync(0xffffffffu, value); }
/// Index of the highest set bit plus one subtracted from 32; 32 for 0. And the number of set bits.
KOINE_DEVICE int count_bits(std::uint32_t value) { return __popc(value); }

#else

template <class T>
T shuffle(T value, int lane, KOINE_SITE) {
  struct Deposit {
    T value;
    int source;
    T result;
  } deposit = {value, lane & 31, value};
  host::warp_collective(site, &deposit, [](void* const* lanes) {
    for (int l = 0; l < kWarpThreads; ++l) {
      auto* mine = static_cast<Deposit*>(lanes[l]);
      mine->result = static_cast<const Deposit*>(lanes[mine->source])->value;
    }
  });
  return deposit.result;
}
template <class T>
T shuffle_xor(T value, int mask, KOINE_SITE) {
  return shuffle(value, lane_index() ^ mask, site);
}
inline std::uint32_t ballot(bool value, KOINE_SITE) {
  struct Deposit {
    bool value;
    std::uint32_t result;
  } deposit = {value, 0};
  host::warp_collective(site, &deposit, [](void* const* lanes) {
    std::uint32_t bits = 0;
    for (int l = 0; l < kWarpThreads; ++l) bits |= static_cast<std::uint32_t>(static_cast<Deposit*>(lanes[l])->value) << l;
    for (int l = 0; l < kWarpThreads; ++l) static_cast<Deposit*>(lanes[l])->result = bits;
  });
  return deposit.result;
}
inline int count_bits(std::uint32_t value) { return __builtin_popcount(value); }

#endif

/// Sum over the `kLanes` neighbouring lanes (a power of two) this lane is one of; every lane gets it.
template <int kLanes = kWarpThreads, class T>
KOINE_DEVICE T warp_sum(T value) {
  KOINE_UNROLL
  for (int mask = kLanes / 2; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
  return value;
}
template <int kLanes = kWarpThreads, class T>
KOINE_DEVICE T warp_max(T value) {
  KOINE_UNROLL
  for (int mask = kLanes / 2; mask > 0; mask /= 2) {
    const T other = shuffle_xor(value, mask);
    value = other > value ? other : value;
  }
  return value;
}

/// Sum over the block; every thread gets it. `scratch`: shared memory for one T per warp, free again when all threads have
/// passed the next barrier. The warps' sums are added in order.
template <class T>
KOINE_DEVICE T block_sum(T value, T* scratch) {
  value = warp_sum(value);
  if (lane_index() == 0) scratch[warp_index()] = value;
  sync_block();
  T total = scratch[0];
  for (int warp = 1; warp < block_threads() / kWarpThreads; ++warp) total += scratch[warp];
  return total;
}
template <class T>
KOINE_DEVICE T block_max(T value, T* scratch) {
  value = warp_max(value);
  if (lane_index() == 0) scratch[warp_index()] = value;
  sync_block();
  T largest = scratch[0];
  for (int warp = 1; warp < block_threads() / kWarpThreads; ++warp) {
    largest = scratch[warp] > largest ? scratch[warp] : largest;
  }
  return largest;
}

}  // namespace koine::cuda
