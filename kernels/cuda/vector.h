#pragma once

// Aligned groups of elements, moved 16 bytes at a time, with conversion between the storage type and fp32.

#include "kernels/cuda/numeric.h"
#include "kernels/cuda/platform.h"

namespace koine::cuda {

/// Elements that lie together on a multiple of their size, at most 16 bytes.
template <class T, int kCount>
struct alignas(sizeof(T) * kCount) Pack {
  static_assert(sizeof(T) * kCount <= 16);
  T values[kCount];
};

/// The number of elements of T one access moves when a thread handles `kCount` of them.
template <class T, int kCount>
inline constexpr int kPackSize = sizeof(T) * kCount <= 16 ? kCount : 16 / static_cast<int>(sizeof(T));

template <class T, int kCount>
KOINE_DEVICE Pack<T, kCount> load_pack(const T* from) {
#if !KOINE_ON_DEVICE
  host::check_aligned(from, alignof(Pack<T, kCount>));
#endif
  return *reinterpret_cast<const Pack<T, kCount>*>(from);
}
template <class T, int kCount>
KOINE_DEVICE void store_pack(T* to, const Pack<T, kCount>& pack) {
#if !KOINE_ON_DEVICE
  host::check_aligned(to, alignof(Pack<T, kCount>));
#endif
  *reinterpret_cast<Pack<T, kCount>*>(to) = pack;
}

/// `kCount` elements from `from` as fp32. `from` is a multiple of min(16, kCount * sizeof(T)) bytes; kCount a power of two.
template <int kCount, class T>
KOINE_DEVICE void load_floats(float (&to)[kCount], const T* from) {
  constexpr int kPack = kPackSize<T, kCount>;
  KOINE_UNROLL
  for (int i = 0; i < kCount; i += kPack) {
    const Pack<T, kPack> pack = load_pack<T, kPack>(from + i);
    KOINE_UNROLL
    for (int j = 0; j < kPack; ++j) to[i + j] = to_float(pack.values[j]);
  }
}

KOINE_DEVICE void round_into(float& to, float value) { to = value; }
#if KOINE_ON_DEVICE
KOINE_DEVICE void round_into(BFloat16& to, float value) { asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(to.bits) : "f"(value)); }
#else
inline void round_into(BFloat16& to, float value) { to = to_bfloat16(value); }
#endif

/// The value a T holds after `value` was stored in it.
template <class T>
KOINE_DEVICE float rounded(float value) {
  T stored;
  round_into(stored, value);
  return to_float(stored);
}

/// Rounds and stores `kCount` elements; aligned as load_floats.
template <int kCount, class T>
KOINE_DEVICE void store_floats(T* to, const float (&from)[kCount]) {
  constexpr int kPack = kPackSize<T, kCount>;
  KOINE_UNROLL
  for (int i = 0; i < kCount; i += kPack) {
    if constexpr (sizeof(T) == 2 && kPack % 2 == 0) {  // two at a time, as the hardware rounds them
      Pack<std::uint32_t, kPack / 2> pairs;
      KOINE_UNROLL
      for (int j = 0; j < kPack; j += 2) pairs.values[j / 2] = pack_bfloat16(from[i + j], from[i + j + 1]);
      store_pack<std::uint32_t, kPack / 2>(reinterpret_cast<std::uint32_t*>(to + i), pairs);
    } else {
      Pack<T, kPack> pack;
      KOINE_UNROLL
      for (int j = 0; j < kPack; ++j) round_into(pack.values[j], from[i + j]);
      store_pack<T, kPack>(to + i, pack);
    }
  }
}

}  // namespace koine::cuda
