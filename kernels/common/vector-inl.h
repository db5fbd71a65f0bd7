// Vectors of fp32 for the processor at hand: what the CPU variants share. Included once per target (vector_targets.h).
//
// Everything stands in koine::HWY_NAMESPACE and is inlined. `d` is a Highway tag of float (hn::ScalableTag<float>), V its vector.
//   load_float, store_float       fp32 or bf16 buffers as fp32 vectors; bf16 rounds as to_bfloat16() does, bit for bit
//   load_partial, store_partial   the same for the first `count` lanes (the others read as 0 and are not written)
//   sum_lanes                     horizontal sum, in an order that the target fixes
//   exp, erf, tanh                errors beside each; NaN stays NaN
//   gelu_erf, gelu_tanh           and their gradients (kernels/activation/activation.h has the formulas)
//   fill_hidden_draws, fill_attention_draws, keep_multiplier    dropout (kernels/random/dropout_mask.h)
//
// Polynomials are minimax fits of this project's own (iteratively reweighted least squares on Chebyshev points).
//
// Multiplications that feed an addition are written as MulAdd, so that compilers have nothing left to contract: the same
// function inlined at two places computes the same bits.

#if defined(KOINE_KERNELS_COMMON_VECTOR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KOINE_KERNELS_COMMON_VECTOR_INL_H_
#undef KOINE_KERNELS_COMMON_VECTOR_INL_H_
#else
#define KOINE_KERNELS_COMMON_VECTOR_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/common/types.h"
#include "kernels/random/dropout_mask.h"

HWY_BEFORE_NAMESPACE();
namespace koine {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// --- memory ----------------------------------------------------------------------------------------------------------------

template <class D>
HWY_INLINE hn::Vec<D> load_float(D d, const float* from) {
  return hn::LoadU(d, from);
}

template <class D>
HWY_INLINE hn::Vec<D> load_float(D d, const BFloat16* from) {
  const hn::Rebind<std::uint16_t, D> d16;
  const hn::Rebind<std::uint32_t, D> d32;
  const auto bits = hn::LoadU(d16, reinterpret_cast<const std::uint16_t*>(from));
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(d32, bits)));
}

/// The bits of the nearest bf16 of each lane, in the lower half of each 32-bit lane.
template <class D>
HWY_INLINE hn::Vec<hn::Rebind<std::uint32_t, D>> bfloat16_bits(D d, hn::Vec<D> value) {
  const hn::Rebind<std::uint32_t, D> d32;
  const auto bits = hn::BitCast(d32, value);
  const auto upper = hn::ShiftRight<16>(bits);
  const auto odd = hn::And(upper, hn::Set(d32, 1u));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(d32, 0x7fffu))));
  const auto quiet = hn::Or(upper, hn::Set(d32, 0x40u));
  return hn::IfThenElse(hn::RebindMask(d32, hn::IsNaN(value)), quiet, rounded);
}

template <class D>
HWY_INLINE void store_float(D d, hn::Vec<D> value, float* to) {
  hn::StoreU(value, d, to);
}

template <class D>
HWY_INLINE void store_float(D d, hn::Vec<D> value, BFloat16* to) {
  const hn::Rebind<std::uint16_t, D> d16;
  hn::StoreU(hn::TruncateTo(d16, bfloat16_bits(d, value)), d16, reinterpret_cast<std::uint16_t*>(to));
}

/// `value` as a buffer of T would give it back: rounded to bf16, or unchanged.
template <class T, class D>
HWY_INLINE hn::Vec<D> rounded_to(D d, hn::Vec<D> value) {
  if constexpr (sizeof(T) == sizeof(float)) {
    return value;
  } else {
    return hn::BitCast(d, hn::ShiftLeft<16>(bfloat16_bits(d, value)));
  }
}

template <class D, class T>
HWY_INLINE hn::Vec<D> load_partial(D d, const T* from, std::size_t count) {
  HWY_ALIGN T lanes[HWY_MAX_BYTES / sizeof(float)] = {};
  std::memcpy(lanes, from, count * sizeof(T));
  return load_float(d, lanes);
}

template <class D, class T>
HWY_INLINE void store_partial(D d, hn::Vec<D> value, T* to, std::size_t count) {
  HWY_ALIGN T lanes[HWY_MAX_BYTES / sizeof(float)];
  store_float(d, value, lanes);
  std::memcpy(to, lanes, count * sizeof(T));
}

template <class D>
HWY_INLINE float sum_lanes(D d, hn::Vec<D> value) {
  return hn::GetLane(hn::SumOfLanes(d, value));
}

// --- functions -------------------------------------------------------------------------------------------------------------

/// e^x, relative error below 1.2e-7. Below -87.33 (where the result is no longer a normal number) 0, above 88.37 infinity.
template <class D>
HWY_INLINE hn::Vec<D> exp(D d, hn::Vec<D> x) {
  const hn::Rebind<std::int32_t, D> di;
  const auto lowest = hn::Set(d, -87.33f);
  const auto highest = hn::Set(d, 88.37f);
  // e^x = 2^n e^r with |r| <= log(2)/2; log(2) in two parts, the first short enough for n * it to be exact.
  const auto clamped = hn::Max(lowest, hn::Min(highest, x));
  const auto n = hn::Round(hn::Mul(clamped, hn::Set(d, 1.44269504f)));
  const auto r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4f), hn::NegMulAdd(n, hn::Set(d, 0.693359375f), clamped));
  auto tail = hn::MulAdd(hn::Set(d, 1.381453942e-03f), r, hn::Set(d, 8.368745446e-03f));
  tail = hn::MulAdd(tail, r, hn::Set(d, 4.166838899e-02f));
  tail = hn::MulAdd(tail, r, hn::Set(d, 1.666652113e-01f));
  tail = hn::MulAdd(tail, r, hn::Set(d, 4.999999404e-01f));
  const auto mantissa = hn::Add(hn::MulAdd(hn::Mul(r, r), tail, r), hn::Set(d, 1.0f));
  const auto exponent = hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(di, n), hn::Set(di, 127)));
  const auto result = hn::Mul(mantissa, hn::BitCast(d, exponent));
  const auto infinity = hn::BitCast(d, hn::Set(di, 0x7f800000));
  return hn::IfThenElse(hn::Lt(highest, x), infinity, hn::IfThenZeroElse(hn::Lt(x, lowest), result));
}

/// erf(x), error below 1.5e-7 everywhere and below 3e-7 relative; exactly +-1 from 3.92 on, where erf rounds to that.
template <class D>
HWY_INLINE hn::Vec<D> erf(D d, hn::Vec<D> x) {
  // x P(x^2) / Q(x^2); all coefficients are positive, so nothing cancels.
  const auto one = hn::Set(d, 1.0f);
  const auto bound = hn::Set(d, 3.92f);
  const auto z = hn::Min(hn::Set(d, 16.0f), hn::Mul(x, x));
  auto p = hn::MulAdd(hn::Set(d, 1.986785264e-06f), z, hn::Set(d, 2.845663985e-04f));
  auto q = hn::MulAdd(hn::Set(d, 3.742023182e-05f), z, hn::Set(d, 1.185573637e-03f));
  p = hn::MulAdd(p, z, hn::Set(d, 3.883351572e-03f));
  q = hn::MulAdd(q, z, hn::Set(d, 1.520726550e-02f));
  p = hn::MulAdd(p, z, hn::Set(d, 5.310177058e-02f));
  q = hn::MulAdd(q, z, hn::Set(d, 1.153500602e-01f));
  p = hn::MulAdd(p, z, hn::Set(d, 1.935451925e-01f));
  q = hn::MulAdd(q, z, hn::Set(d, 5.048575401e-01f));
  p = hn::MulAdd(p, z, hn::Set(d, 1.128379107e+00f));
  q = hn::MulAdd(q, z, one);
  const auto inside = hn::Div(hn::Mul(x, p), q);
  const auto outside = hn::CopySign(one, x);
  return hn::IfThenElse(hn::Lt(bound, hn::Abs(x)), outside, inside);
}

/// tanh x, relative error below 3e-7.
template <class D>
HWY_INLINE hn::Vec<D> tanh(D d, hn::Vec<D> x) {
  const auto one = hn::Set(d, 1.0f);
  const auto magnitude = hn::Abs(x);
  const auto z = hn::Mul(x, x);
  auto p = hn::MulAdd(hn::Set(d, -5.666977260e-03f), z, hn::Set(d, 2.060617693e-02f));
  p = hn::MulAdd(p, z, hn::Set(d, -5.373000726e-02f));
  p = hn::MulAdd(p, z, hn::Set(d, 1.333133131e-01f));
  p = hn::MulAdd(p, z, hn::Set(d, -3.333327770e-01f));
  const auto small = hn::MulAdd(hn::Mul(x, z), p, x);
  const auto grown = hn::Add(exp(d, hn::Add(magnitude, magnitude)), one);
  const auto large = hn::CopySign(hn::Sub(one, hn::Div(hn::Set(d, 2.0f), grown)), x);
  return hn::IfThenElse(hn::Lt(magnitude, hn::Set(d, 0.625f)), small, large);
}

inline constexpr float kSqrtHalf = 0.70710678f;
inline constexpr float kInverseSqrt2Pi = 0.39894228f;
inline constexpr float kGeluTanhScale = 0.79788456f;  // sqrt(2 / pi)
inline constexpr float kGeluTanhCube = 0.044715f;

/// Standard normal distribution function, (1 + erf(x / sqrt 2)) / 2.
template <class D>
HWY_INLINE hn::Vec<D> normal_distribution(D d, hn::Vec<D> x) {
  const auto half = hn::Set(d, 0.5f);
  return hn::MulAdd(half, erf(d, hn::Mul(x, hn::Set(d, kSqrtHalf))), half);
}

template <class D>
HWY_INLINE hn::Vec<D> gelu_erf(D d, hn::Vec<D> x) {
  return hn::Mul(x, normal_distribution(d, x));
}

template <class D>
HWY_INLINE hn::Vec<D> gelu_erf_gradient(D d, hn::Vec<D> x) {
  const auto density = hn::Mul(hn::Set(d, kInverseSqrt2Pi), exp(d, hn::Mul(hn::Mul(x, x), hn::Set(d, -0.5f))));
  return hn::MulAdd(x, density, normal_distribution(d, x));
}

/// 1 / (1 + e^(-2u)) = (1 + tanh u) / 2 for the tanh GELU's u.
template <class D>
HWY_INLINE hn::Vec<D> gelu_tanh_gate(D d, hn::Vec<D> x) {
  const auto one = hn::Set(d, 1.0f);
  const auto bracket = hn::MulAdd(hn::Mul(hn::Set(d, kGeluTanhCube), hn::Mul(x, x)), x, x);
  const auto decay = exp(d, hn::Mul(hn::Set(d, -2.0f * kGeluTanhScale), bracket));
  return hn::Div(one, hn::Add(one, decay));
}

template <class D>
HWY_INLINE hn::Vec<D> gelu_tanh(D d, hn::Vec<D> x) {
  return hn::Mul(x, gelu_tanh_gate(d, x));
}

template <class D>
HWY_INLINE hn::Vec<D> gelu_tanh_gradient(D d, hn::Vec<D> x) {
  const auto gate = gelu_tanh_gate(d, x);
  const auto slope = hn::MulAdd(hn::Set(d, 6.0f * kGeluTanhScale * kGeluTanhCube), hn::Mul(x, x),
                                hn::Set(d, 2.0f * kGeluTanhScale));
  const auto curve = hn::Mul(gate, hn::Sub(hn::Set(d, 1.0f), gate));
  return hn::MulAdd(hn::Mul(x, curve), slope, gate);
}

// --- dropout ---------------------------------------------------------------------------------------------------------------

/// Philox4x32-10 of one counter per 64-bit lane: on entry words 0..3 stand in the lower halves of x0..x3, on return the random
/// words do. The upper halves may hold anything and do afterwards: a 32 x 32 -> 64 bit product reads lower halves only.
template <class D64, class V64>
HWY_INLINE void philox_lanes(D64 d64, V64& x0, V64& x1, V64& x2, V64& x3, std::uint32_t key0, std::uint32_t key1) {
  const hn::Repartition<std::uint32_t, D64> d32;
  const auto multiplier0 = hn::Set(d32, kPhiloxMultiplier0);
  const auto multiplier1 = hn::Set(d32, kPhiloxMultiplier1);
  for (int round = 0; round < 10; ++round) {
    const auto product0 = hn::MulEven(hn::BitCast(d32, x0), multiplier0);
    const auto product1 = hn::MulEven(hn::BitCast(d32, x2), multiplier1);
    x0 = hn::Xor(hn::Xor(x1, hn::Set(d64, key0)), hn::ShiftRight<32>(product1));
    x2 = hn::Xor(hn::Xor(x3, hn::Set(d64, key1)), hn::ShiftRight<32>(product0));
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
/// columns - 1 (key positions) of `head` of `example`: draws[i * stride + j] for (row + i, column + j). `row` and `column` are
/// multiples of 16, and whole 16 x 16 patches are written: `draws` has room for rows and columns rounded up to 16.
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
