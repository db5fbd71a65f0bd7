// Masks of dropout (dropout_mask.h) in vectors of the processor at hand. Included once per target, after or without
// kernels/common/vector-inl.h, under the same rules.

#if defined(KOINE_KERNELS_RANDOM_DROPOUT_MASK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KOINE_KERNELS_RANDOM_DROPOUT_MASK_INL_H_
#undef KOINE_KERNELS_RANDOM_DROPOUT_MASK_INL_H_
#else
#define KOINE_KERNELS_RANDOM_DROPOUT_MASK_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/random/dropout_mask.h"

HWY_BEFORE_NAMESPACE();
namespace koine {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Philox4x32-10 of one counter per 64-bit lane: on entry words 0..3 stand in the lower halves of x0..x3, on return the
/// random words do. The upper halves may hold anything and do afterwards: a 32 x 32 -> 64 bit product reads lower halves
/// only.
template <class D64, class V64>
HWY_INLINE void philox_lanes(D64 d64, V64& x0, V64& x1, V64& x2, V64& x3, std::uint32_t key0, std::uint32_t key1) {
  const hn::Repartition<std::uint32_t, D64> d32;
  const auto multiplier0 = hn::Set(d32, kPhiloxMultiplier0);
  const auto multiplier1 = hn::Set(d32, kPhiloxMultiplier1);
  for (int round = 0; round < 10; ++round) {
    const auto product0 = hn::MulEven(hn::BitCast(d32, x0), multiplier0);
    const auto product1 = hn::MulEven(hn::BitCast(d32, x2), multiplier1);
    x0 = hn::Xor3(x1, hn::Set(d64, key0), hn::ShiftRight<32>(product1));
    x2 = hn::Xor3(x3, hn::Set(d64, key1), hn::ShiftRight<32>(product0));
    x1 = product1;
    x3 = product0;
    key0 += kPhiloxWeyl0;
    key1 += kPhiloxWeyl1;
  }
}

/// fill_hidden_draws may write up to this many draws more than asked for.
inline constexpr std::int64_t kDrawPadding = 64;

/// The 16-bit draws of hidden units column .. column + count - 1 of row `position` of `example`, in order; `column` is a
/// multiple of 8. `draws` has room for count + kDrawPadding.
HWY_INLINE void fill_hidden_draws(const Dropout& dropout, std::uint32_t example, std::uint32_t position, std::int64_t column,
                                  std::int64_t count, std::uint16_t* draws) {
  const hn::ScalableTag<std::uint64_t> d64;
  const hn::Repartition<std::uint16_t, decltype(d64)> d16;
  constexpr std::int64_t kCalls = static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<std::uint64_t>()));
  const auto lower = hn::Set(d64, 0xffffffffu);
  const auto lanes = hn::Iota(d64, static_cast<std::uint64_t>(column / 8));
  for (std::int64_t done = 0; done < count; done += 8 * kCalls) {
    auto x0 = hn::Add(lanes, hn::Set(d64, static_cast<std::uint64_t>(done / 8)));
    auto x1 = hn::Set(d64, position);
    auto x2 = hn::Set(d64, example);
    auto x3 = hn::Set(d64, dropout.site << 16);
    philox_lanes(d64, x0, x1, x2, x3, dropout.seed, dropout.step);
    // The four words of a call are its eight draws in order of the columns.
    const auto words01 = hn::Or(hn::And(x0, lower), hn::ShiftLeft<32>(x1));
    const auto words23 = hn::Or(hn::And(x2, lower), hn::ShiftLeft<32>(x3));
    HWY_ALIGN std::uint64_t interleaved[2 * kCalls];
    hn::StoreInterleaved2(words01, words23, d64, interleaved);
    const auto* first = reinterpret_cast<const std::uint16_t*>(interleaved);
    hn::StoreU(hn::Load(d16, first), d16, draws + done);
    hn::StoreU(hn::Load(d16, first + 4 * kCalls), d16, draws + done + 4 * kCalls);
  }
}

/// The 16-bit draws of the attention weights of rows row .. row + rows - 1 (query positions) and columns column .. column +
/// columns - 1 (key positions) of `head` of `example`: draws[i * stride + j] for (row + i, column + j). `row` and `column`
/// are multiples of 16, and whole 16 x 16 patches are written: `draws` has room for rows and columns rounded up to 16.
HWY_INLINE void fill_attention_draws(const Dropout& dropout, std::uint32_t example, std::uint32_t head, std::int64_t row,
                                     std::int64_t rows, std::int64_t column, std::int64_t columns, std::uint16_t* draws,
                                     std::int64_t stride) {
  const hn::ScalableTag<std::uint64_t> d64;
  const hn::Rebind<std::uint32_t, decltype(d64)> d32;
  constexpr std::int64_t kCalls = static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<std::uint64_t>()));
  constexpr std::int64_t kRun = kCalls < 4 ? kCalls : 4;  // calls whose words lie side by side in a patch's row
  const std::int64_t calls = (columns + 15) / 16 * 4;
  const auto lanes = hn::Iota(d64, static_cast<std::uint64_t>(column / 16 * 4));
  for (std::int64_t patch_row = 0; patch_row < rows; patch_row += 16) {
    for (std::int64_t r = 0; r < 8; ++r) {
      const auto line = static_cast<std::uint64_t>((row + patch_row) / 16 * 8 + r);
      std::uint16_t* upper_row = draws + (patch_row + r) * stride;
      std::uint16_t* lower_row = upper_row + 8 * stride;
      for (std::int64_t call = 0; call < calls; call += kCalls) {
        auto x0 = hn::Add(lanes, hn::Set(d64, static_cast<std::uint64_t>(call)));
        auto x1 = hn::Set(d64, line);
        auto x2 = hn::Set(d64, example);
        auto x3 = hn::Set(d64, dropout.site << 16 | head);
        philox_lanes(d64, x0, x1, x2, x3, dropout.seed, dropout.step);
        // Word 0 of the four calls of a patch are columns 0..7 of its row r, word 1 columns 8..15; words 2, 3 row r + 8.
        HWY_ALIGN std::uint32_t words[4][kCalls];
        hn::Store(hn::TruncateTo(d32, x0), d32, words[0]);
        hn::Store(hn::TruncateTo(d32, x1), d32, words[1]);
        hn::Store(hn::TruncateTo(d32, x2), d32, words[2]);
        hn::Store(hn::TruncateTo(d32, x3), d32, words[3]);
        for (std::int64_t lane = 0; lane < kCalls && call + lane < calls; lane += kRun) {
          const std::int64_t offset = (call + lane) / 4 * 16 + (call + lane) % 4 * 2;
          std::memcpy(upper_row + offset, &words[0][lane], kRun * sizeof(std::uint32_t));
          std::memcpy(upper_row + offset + 8, &words[1][lane], kRun * sizeof(std::uint32_t));
          std::memcpy(lower_row + offset, &words[2][lane], kRun * sizeof(std::uint32_t));
          std::memcpy(lower_row + offset + 8, &words[3][lane], kRun * sizeof(std::uint32_t));
        }
      }
    }
  }
}

/// What the elements of the next lanes are multiplied by: `scale` where the draw is at least `threshold`, else 0. Reads a
/// full vector of draws.
template <class D>
HWY_INLINE hn::Vec<D> keep_multiplier(D d, const std::uint16_t* draws, std::uint32_t threshold, float scale) {
  const hn::Rebind<std::uint16_t, D> d16;
  const hn::Rebind<std::int32_t, D> di;
  const auto draw = hn::PromoteTo(di, hn::LoadU(d16, draws));
  const auto kept = hn::Gt(draw, hn::Set(di, static_cast<std::int32_t>(threshold) - 1));
  return hn::IfThenElseZero(hn::RebindMask(d, kept), hn::Set(d, scale));
}

}  // namespace HWY_NAMESPACE
}  // namespace koine
HWY_AFTER_NAMESPACE();

#endif
