#pragma once

// The masks of kernels/random/dropout_mask.h in kernels: eight elements from one Philox call.

#include "kernels/cuda/platform.h"
#include "kernels/random/dropout_mask.h"

namespace koine::cuda {

/// A Dropout as kernels take it. Inactive: threshold 0, which keeps everything; kernels skip the draws then.
struct DropoutParams {
  std::uint32_t threshold = 0;
  float scale = 1;
  std::uint32_t seed = 0;
  std::uint32_t step = 0;
  const std::uint32_t* step_from = nullptr;
  std::uint32_t site = 0;
  const std::uint32_t* examples = nullptr;
  const std::int32_t* positions = nullptr;
};

inline DropoutParams dropout_params(const Dropout& dropout) {
  if (!dropout.active()) return {};
  return {dropout.threshold(), dropout.scale(), dropout.seed,     dropout.step,
          dropout.step_from,   dropout.site,    dropout.examples, dropout.positions};
}

KOINE_DEVICE PhiloxKey dropout_key(const DropoutParams& dropout) {
  return {dropout.seed, dropout.step_from == nullptr ? dropout.step : *dropout.step_from};
}

/// Bit d: draw d of `bits` keeps its element.
KOINE_DEVICE std::uint32_t kept_draws(const PhiloxCounter& bits, std::uint32_t threshold) {
  std::uint32_t kept = 0;
  KOINE_UNROLL
  for (int word = 0; word < 4; ++word) {
    kept |= static_cast<std::uint32_t>((bits[word] & 0xffffu) >= threshold) << (2 * word);
    kept |= static_cast<std::uint32_t>((bits[word] >> 16) >= threshold) << (2 * word + 1);
  }
  return kept;
}

/// Bit i: hidden unit 8 * block + i of the row is kept. `key` is dropout_key(), the row's example and position its own.
KOINE_DEVICE std::uint32_t kept_hidden(const DropoutParams& dropout, const PhiloxKey& key, std::uint32_t example,
                                       std::uint32_t position, std::uint32_t block) {
  return kept_draws(philox({block, position, example, dropout.site << 16}, key), dropout.threshold);
}

/// The attention weights at rows r, r + 8 and columns c, c + 1, c + 8, c + 9, where r % 16 < 8 and c % 16 is 0, 2, 4 or 6:
/// what one lane holds of a 16 x 16 patch of scores made of two mma.m16n8k16. Bit 4 * (row + 8?) + 2 * (column + 8?) +
/// (column + 1?): kept.
KOINE_DEVICE std::uint32_t kept_attention(const DropoutParams& dropout, const PhiloxKey& key, std::uint32_t example,
                                          std::uint32_t head, std::uint32_t row, std::uint32_t column) {
  const std::uint32_t block = column / 16 * 4 + column % 8 / 2;
  const std::uint32_t line = row / 16 * 8 + row % 8;
  return kept_draws(philox({block, line, example, dropout.site << 16 | head}, key), dropout.threshold);
}

}  // namespace koine::cuda
