#pragma once

// The weights that an optimizer updates, under mixed precision: what is kept beside the bf16 weights that products read.
//
//   kFloat32    an fp32 number of every weight; the bf16 one is rounded from it
//   kRemainder  the 16 bits of the fp32 number that its bf16 lacks: 4 bytes of a weight in place of 6, every bit of it kept
//   kNone       nothing: the update is rounded to bf16 at random, up with the probability of the part that is cut off
//
// A remainder (Apex, multi_tensor_distopt_adam; TransformerEngine, store_param_remainders): with the bits of an fp32 number cut
// into upper and lower half, the bf16 weight is upper + 1 where lower is 0x8000 or more, else upper; lower is kept. So it is
// the nearest one, of two as near the farther from zero; to_bfloat16() takes the even one, which is another for half of those
// ties: one number in 131,072. (No 16 bits could keep that: 65,537 numbers round to an even bf16.) All numbers, infinities and
// NaNs come back as they were, but that NaNs are made quiet, which those of arithmetic are; and their bf16 are NaNs.
//
// Rounding at random (llm.c, torchao): with 16 random bits r, up where lower + r >= 0x10000: with probability lower / 65536
// exactly. Above the largest bf16 a number is cut, so that none becomes infinite. r is draw e % 8 of the Philox block
//   key (seed, step), counter (e / 8 lower word, e / 8 upper word, 0, 0xffffffff)
// of element e of the flat buffers: the same on every device, on any number of threads and ranks. (Dropout's counters end
// otherwise: dropout_mask.h.)

#include <cstdint>

#include "kernels/common/types.h"
#include "kernels/random/dropout_mask.h"

namespace koine {

enum class MasterKind { kFloat32, kRemainder, kNone };

/// An fp32 number as bf16 and the rest.
struct SplitFloat {
  BFloat16 weight;
  std::uint16_t remainder;
};

KOINE_HOST_DEVICE SplitFloat split_float(float value) {
  const auto bits = __builtin_bit_cast(std::uint32_t, value);
  const auto upper = static_cast<std::uint16_t>(bits >> 16);
  const auto lower = static_cast<std::uint16_t>(bits);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {{static_cast<std::uint16_t>(upper | 0x40u)}, lower};
  return {{static_cast<std::uint16_t>(upper + (lower >> 15))}, lower};
}

KOINE_HOST_DEVICE float join_float(BFloat16 weight, std::uint16_t remainder) {
  const bool is_nan = (weight.bits & 0x7fffu) > 0x7f80u;
  const auto upper = static_cast<std::uint16_t>(weight.bits - (is_nan ? 0 : remainder >> 15));
  return __builtin_bit_cast(float, std::uint32_t{upper} << 16 | remainder);
}

/// One of the two bf16 around `value`, by 16 random bits.
KOINE_HOST_DEVICE BFloat16 round_at_random(float value, std::uint32_t random) {
  const auto bits = __builtin_bit_cast(std::uint32_t, value);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {static_cast<std::uint16_t>(bits >> 16 | 0x40u)};
  if (magnitude >= 0x7f7f0000u) return {static_cast<std::uint16_t>(bits >> 16)};
  return {static_cast<std::uint16_t>((bits + random) >> 16)};
}

/// The eight draws of elements 8 * block .. 8 * block + 7 at a step.
constexpr PhiloxCounter rounding_block(std::uint32_t seed, std::int64_t step, std::int64_t block) {
  return philox({static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32), 0u, 0xffffffffu},
                {seed, static_cast<std::uint32_t>(step)});
}

/// Beside `parameter` and `working` of an operation. Some tensors may have their fp32 weights apart, under any kind: those that
/// a model reads in fp32 (biases, normalisations), and that have no bf16.
struct MasterWeights {
  MasterKind kind = MasterKind::kFloat32;
  float* apart = nullptr;              ///< fp32 weights of the tensors that say where in it (`apart` >= 0)
  std::uint16_t* remainder = nullptr;  ///< kRemainder: counted as `working`
  std::uint32_t seed = 0;              ///< kNone: of the run
  const std::int64_t* step = nullptr;  ///< kNone: the step's number, in memory the variant reads
};

/// The fp32 weights of elements begin .. begin + count - 1, which are kept in bf16.
KOINE_HOST_DEVICE void join_weights(const MasterWeights& master, const BFloat16* working, std::int64_t begin,
                                    std::int64_t count, float* to) {
  for (std::int64_t i = 0; i < count; ++i) {
    const BFloat16 weight = working[begin + i];
    to[i] = master.kind == MasterKind::kRemainder ? join_float(weight, master.remainder[begin + i]) : to_float(weight);
  }
}
/// And back, as the kind has it.
KOINE_HOST_DEVICE void split_weights(const MasterWeights& master, BFloat16* working, std::int64_t begin, std::int64_t count,
                                     const float* from) {
  if (master.kind == MasterKind::kRemainder) {
    for (std::int64_t i = 0; i < count; ++i) {
      const SplitFloat split = split_float(from[i]);
      working[begin + i] = split.weight;
      master.remainder[begin + i] = split.remainder;
    }
    return;
  }
  PhiloxCounter draws = {};
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t element = begin + i;
    if (i == 0 || element % 8 == 0) draws = rounding_block(master.seed, *master.step, element / 8);
    working[element] = round_at_random(from[i], philox_draw(draws, static_cast<int>(element % 8)));
  }
}

}  // namespace koine
