#pragma once

// Eight neighbouring hidden units of a row, in kernels: what one thread moves at a time (16 bytes of bf16, 32 of fp32), and
// what one Philox call draws for.

#include "kernels/cuda/dropout.h"
#include "kernels/cuda/vector.h"

namespace koine::cuda {

inline constexpr int kGroup = 8;

/// A group as it lies in memory.
template <class T>
struct HiddenGroup {
  static constexpr int kPack = kPackSize<T, kGroup>;
  static constexpr int kPacks = kGroup / kPack;
  Pack<T, kPack> packs[kPacks];

  KOINE_DEVICE float operator[](int i) const { return to_float(packs[i / kPack].values[i % kPack]); }
};

/// The values as memory of T holds them.
template <class T>
KOINE_DEVICE HiddenGroup<T> rounded_group(const float (&values)[kGroup]) {
  HiddenGroup<T> group;
  if constexpr (sizeof(T) == 2) {  // two values an instruction
    Pack<std::uint32_t, 4> pairs;
    KOINE_UNROLL
    for (int i = 0; i < 4; ++i) pairs.values[i] = pack_bfloat16(values[2 * i], values[2 * i + 1]);
    group.packs[0] = __builtin_bit_cast(Pack<T, 8>, pairs);
  } else {
    KOINE_UNROLL
    for (int i = 0; i < kGroup; ++i) group.packs[i / 4].values[i % 4] = values[i];
  }
  return group;
}

/// `from` lies on a multiple of 16 bytes.
template <class T>
KOINE_DEVICE HiddenGroup<T> load_group(const T* from) {
  HiddenGroup<T> group;
  KOINE_UNROLL
  for (int i = 0; i < HiddenGroup<T>::kPacks; ++i) {
    group.packs[i] = load_pack<T, HiddenGroup<T>::kPack>(from + i * HiddenGroup<T>::kPack);
  }
  return group;
}
template <class T>
KOINE_DEVICE void store_group(T* to, const HiddenGroup<T>& group) {
  KOINE_UNROLL
  for (int i = 0; i < HiddenGroup<T>::kPacks; ++i) {
    store_pack<T, HiddenGroup<T>::kPack>(to + i * HiddenGroup<T>::kPack, group.packs[i]);
  }
}

/// The first `count` elements at `from`, zeros for the others, one by one: for rows of any width and alignment.
template <class T>
KOINE_DEVICE void load_some(float (&to)[kGroup], const T* from, int count) {
  KOINE_UNROLL
  for (int i = 0; i < kGroup; ++i) to[i] = i < count ? to_float(from[i]) : 0.0f;
}
template <class T>
KOINE_DEVICE void store_some(T* to, const float (&from)[kGroup], int count) {
  KOINE_UNROLL
  for (int i = 0; i < kGroup; ++i) {
    if (i < count) round_into(to[i], from[i]);
  }
}

/// What the units of a group are multiplied by: bit i of `kept` set: unit i by `scale`, else by 0.
struct GroupMask {
  std::uint32_t kept = 0xff;
  float scale = 1;

  KOINE_DEVICE float operator[](int i) const { return (kept >> i & 1) != 0 ? scale : 0.0f; }
};

/// Where a row's draws come from.
struct RowDraws {
  PhiloxKey key = {};
  std::uint32_t example = 0;
  std::uint32_t position = 0;
};
/// Reads nothing where the dropout is inactive.
KOINE_DEVICE RowDraws row_draws(const DropoutParams& dropout, std::int64_t row) {
  if (dropout.threshold == 0) return {};
  return {dropout_key(dropout), dropout.examples[row], static_cast<std::uint32_t>(dropout.positions[row])};
}
/// Of the units [8 group, 8 group + 8).
KOINE_DEVICE GroupMask group_mask(const DropoutParams& dropout, const RowDraws& draws, int group) {
  if (dropout.threshold == 0) return {};
  return {kept_hidden(dropout, draws.key, draws.example, draws.position, static_cast<std::uint32_t>(group)), dropout.scale};
}

}  // namespace koine::cuda
