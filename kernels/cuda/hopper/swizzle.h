#pragma once

// How tensor copies and wgmma permute the 16-byte chunks of a tile in shared memory, so that neither its rows nor its
// columns meet in a bank (PTX ISA, "Swizzling modes"; compute capability 9.0).
//
// A tile lies in rows of swizzle_bytes(), one behind the other. With the address written in bits,
//   128 bytes   bits 4-6 ^= bits 7-9     chunk c of row r lies at chunk c ^ (r % 8)
//    64 bytes   bits 4-5 ^= bits 7-8                                 c ^ (r / 2 % 4)
//    32 bytes   bit  4   ^= bit  7                                   c ^ (r / 4 % 2)
// on the absolute address in shared memory, the last thing that is done to it: hence a tile begins on a multiple of
// swizzle_period(). Tensor copies and wgmma do it by themselves; loads and stores of threads apply swizzled().

#include <cstdint>

#include "kernels/common/types.h"

namespace koine::cuda {

enum class Swizzle { kNone, k32Bytes, k64Bytes, k128Bytes };

/// Bytes of a row of a tile; without a swizzle the chunk itself.
constexpr int swizzle_bytes(Swizzle swizzle) { return 16 << static_cast<int>(swizzle); }
/// Bytes after which the permutation begins again: what a tile has to be aligned to.
constexpr int swizzle_period(Swizzle swizzle) { return swizzle == Swizzle::kNone ? 128 : 8 * swizzle_bytes(swizzle); }

/// Where the byte at `address`, counted without a swizzle from a multiple of the period on, lies.
KOINE_HOST_DEVICE constexpr std::uint32_t swizzled(std::uint32_t address, Swizzle swizzle) {
  const std::uint32_t chunks = (1u << static_cast<int>(swizzle)) - 1;
  return address ^ ((address >> 3) & (chunks << 4));
}

/// The field of a wgmma descriptor that says which, and the number by which cuTensorMapEncodeTiled knows it. They differ.
constexpr std::uint64_t swizzle_of_descriptor(Swizzle swizzle) {
  return swizzle == Swizzle::kNone ? 0 : 4u - static_cast<unsigned>(swizzle);
}
constexpr int swizzle_of_tensor_map(Swizzle swizzle) { return static_cast<int>(swizzle); }

}  // namespace koine::cuda
