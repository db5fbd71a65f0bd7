#pragma once

// Which elements dropout drops: a pure function of what the element is, never of where it lies in a batch or which thread
// meets it. So a padded run, a packed run, a run on other hardware and a run on eight ranks drop the same elements.
//
// An element is named by (seed, step | site, example, head, row, column): `site` numbers the dropouts of the model in order
// of execution, `example` is the number of the example in its data set, `row` the position in its sequence, `column` the
// hidden unit (head 0) or, in attention, the key position. One Philox call makes eight 16-bit draws; an element is dropped
// when its draw is below the threshold.
//
//   key     = (seed, step)
//   counter = (block, line, example, site << 16 | head)
//
//   hidden units:  block = column / 8, line = row; draw number column % 8. Draw d is bits 16*(d%2) .. +15 of word d/2.
//   attention:     the 16 x 16 patches that tensor cores accumulate in: with r = row % 16, c = column % 16,
//                  block = (column / 16) * 4 + (c % 8) / 2, line = (row / 16) * 8 + r % 8,
//                  draw number (r / 8) * 4 + (c / 8) * 2 + c % 2,
//                  so that the eight elements one thread holds of an mma.m16n8k16 pair come from one call.

#include <cmath>
#include <cstdint>

#include "kernels/random/philox.h"

namespace koine {

struct Dropout {
  float rate = 0;          ///< probability of dropping, in [0, 1); 0 = no dropout, nothing below is read
  std::uint32_t seed = 0;  ///< of the run
  std::uint32_t step = 0;  ///< optimizer step
  /// On a device: where to read the step instead, so that recorded work can be run again for another step. Null: `step`.
  const std::uint32_t* step_from = nullptr;
  std::uint32_t site = 0;  ///< which dropout of the model, below 65,536
  /// [rows] for hidden units, [sequences] for attention: the example each belongs to.
  const std::uint32_t* examples = nullptr;
  /// [rows] position of each row in its sequence; not read by attention, which knows.
  const std::int32_t* positions = nullptr;

  bool active() const { return rate > 0; }
  /// A draw below this drops. The rate really applied is threshold() / 65536.
  std::uint32_t threshold() const { return static_cast<std::uint32_t>(std::lround(static_cast<double>(rate) * 65536.0)); }
  /// What is kept is multiplied by this: 1 / (1 - rate really applied).
  float scale() const { return static_cast<float>(1.0 / (1.0 - threshold() / 65536.0)); }
};

constexpr std::uint32_t philox_draw(const PhiloxCounter& bits, int draw) {
  return (bits[draw / 2] >> (16 * (draw % 2))) & 0xffffu;
}

/// Whether hidden unit `column` of row `position` of `example` is kept. The slow, plain meaning; kernels vectorise it.
inline bool keeps_hidden(const Dropout& dropout, std::uint32_t example, std::uint32_t position, std::uint32_t column) {
  const PhiloxCounter bits = philox({column / 8, position, example, dropout.site << 16}, {dropout.seed, dropout.step});
  return philox_draw(bits, static_cast<int>(column % 8)) >= dropout.threshold();
}

/// Whether attention weight (row = query position, column = key position) of `head` of `example` is kept.
inline bool keeps_attention(const Dropout& dropout, std::uint32_t example, std::uint32_t head, std::uint32_t row,
                            std::uint32_t column) {
  const std::uint32_t r = row % 16;
  const std::uint32_t c = column % 16;
  const PhiloxCounter bits = philox({column / 16 * 4 + c % 8 / 2, row / 16 * 8 + r % 8, example, dropout.site << 16 | head},
                                    {dropout.seed, dropout.step});
  return philox_draw(bits, static_cast<int>(r / 8 * 4 + c / 8 * 2 + c % 2)) >= dropout.threshold();
}

}  // namespace koine
