// Vectors of fp32 for the processor at hand: what the CPU variants share. Included once per target (vector_targets.h).
//
// Everything stands in koine::HWY_NAMESPACE and is inlined. `d` is a Highway tag of float (hn::ScalableTag<float>), V its
// vector.
//   load_float, store_float       fp32 or bf16 buffers as fp32 vectors; bf16 rounds as to_bfloat16() does, bit for bit
//   load_partial, store_partial   the same for the first `count` lanes (the others read as 0 and are not written)
//   for_lanes                     a loop over a row, its end included
//   sum_lanes                     horizontal sum, in an order that the target fixes
//   exp, exp_of_negative, erf, tanh    errors beside each; NaN stays NaN
//   gelu_erf, gelu_tanh           and their gradients (kernels/activation/activation.h has the formulas)
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
#include <type_traits>

#include "kernels/common/types.h"

HWY_BEFORE_NAMESPACE();
namespace koine {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// --- memory ----------------------------------------------------------------------------------------------------------

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
HWY_INLINE hn::Vec<hn::Rebind<std::uint32_t, D>> bfloat16_bits(D, hn::Vec<D> value) {
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

/// A place in a loop over a row where all lanes are inside.
struct FullLanes {
  template <class D, class T>
  HWY_INLINE hn::Vec<D> load(D d, const T* from) const {
    return load_float(d, from);
  }
  template <class D, class T>
  HWY_INLINE void store(D d, hn::Vec<D> value, T* to) const {
    store_float(d, value, to);
  }
  template <class D>
  HWY_INLINE hn::Vec<D> zero_outside(D, hn::Vec<D> value) const {
    return value;
  }
};

/// The end of a row, where only the first `count` lanes are: the others read as 0 and are not written.
struct FirstLanes {
  std::size_t count;
  template <class D, class T>
  HWY_INLINE hn::Vec<D> load(D d, const T* from) const {
    return load_partial(d, from, count);
  }
  template <class D, class T>
  HWY_INLINE void store(D d, hn::Vec<D> value, T* to) const {
    store_partial(d, value, to, count);
  }
  template <class D>
  HWY_INLINE hn::Vec<D> zero_outside(D d, hn::Vec<D> value) const {
    return hn::IfThenElseZero(hn::FirstN(d, count), value);
  }
};

/// What a lambda given to for_lanes is marked with: compiled for the target, and inlined, so that what it captures stays in
/// registers.
#undef KOINE_LANES
#define KOINE_LANES HWY_ATTR __attribute__((always_inline))

/// body(i, lanes) for i = 0, Lanes(d), ... below count, where `lanes` loads and stores what lies inside:
///   for_lanes(d, count, [&](std::int64_t i, auto lanes) KOINE_LANES { lanes.store(d, hn::Neg(lanes.load(d, x + i)), y + i);
///   });
template <class D, class Body>
HWY_INLINE void for_lanes(D d, std::int64_t count, const Body& body) {
  const auto step = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + step <= count; i += step) body(i, FullLanes{});
  if (i < count) body(i, FirstLanes{static_cast<std::size_t>(count - i)});
}

/// for_lanes for sums: body(i, lanes, slot), where `slot` is one of kSlots constants, in turn, so that as many accumulators
/// hide the latency of the additions. sum_slots adds the accumulators up.
inline constexpr int kSlots = 4;
template <class D, class Body>
HWY_INLINE void for_lanes_in_slots(D d, std::int64_t count, const Body& body) {
  const auto step = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + kSlots * step <= count; i += kSlots * step) {
    body(i, FullLanes{}, std::integral_constant<int, 0>());
    body(i + step, FullLanes{}, std::integral_constant<int, 1>());
    body(i + 2 * step, FullLanes{}, std::integral_constant<int, 2>());
    body(i + 3 * step, FullLanes{}, std::integral_constant<int, 3>());
  }
  for (; i + step <= count; i += step) body(i, FullLanes{}, std::integral_constant<int, 0>());
  if (i < count) body(i, FirstLanes{static_cast<std::size_t>(count - i)}, std::integral_constant<int, 1>());
}

template <class D>
HWY_INLINE float sum_lanes(D d, hn::Vec<D> value) {
  return hn::GetLane(hn::SumOfLanes(d, value));
}

template <class D>
HWY_INLINE float sum_slots(D d, const hn::Vec<D> (&slots)[kSlots]) {
  return sum_lanes(d, hn::Add(hn::Add(slots[0], slots[1]), hn::Add(slots[2], slots[3])));
}

// --- functions -------------------------------------------------------------------------------------------------------

/// e^x for x <= 0, relative error below 1.2e-7. Below -87.33, where the result would no longer be a normal number, it stays
/// at that of -87.33, 1.2e-38: as good as 0 where it is added to or multiplied by other things.
template <class D>
HWY_INLINE hn::Vec<D> exp_of_negative(D d, hn::Vec<D> x) {
  const hn::Rebind<std::int32_t, D> di;
  // e^x = 2^n e^r with |r| <= log(2)/2. Adding 1.5 * 2^23 leaves n, rounded, in the lowest bits; log(2) comes in two parts,
  // the first short enough for n times it to be exact.
  const auto magic = hn::Set(d, 12582912.0f + 127.0f);
  const auto clamped = hn::Max(hn::Set(d, -87.33f), x);
  const auto shifted = hn::MulAdd(clamped, hn::Set(d, 1.44269504f), magic);
  const auto n = hn::Sub(shifted, magic);
  const auto r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4f), hn::NegMulAdd(n, hn::Set(d, 0.693359375f), clamped));
  auto tail = hn::MulAdd(hn::Set(d, 1.381453942e-03f), r, hn::Set(d, 8.368745446e-03f));
  tail = hn::MulAdd(tail, r, hn::Set(d, 4.166838899e-02f));
  tail = hn::MulAdd(tail, r, hn::Set(d, 1.666652113e-01f));
  tail = hn::MulAdd(tail, r, hn::Set(d, 4.999999404e-01f));
  const auto mantissa = hn::Add(hn::MulAdd(hn::Mul(r, r), tail, r), hn::Set(d, 1.0f));
  return hn::Mul(mantissa, hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(di, shifted))));
}

/// e^x, relative error below 1.2e-7. Below -87.33 (where the result is no longer a normal number) 0, above 88.37 infinity.
template <class D>
HWY_INLINE hn::Vec<D> exp(D d, hn::Vec<D> x) {
  const hn::Rebind<std::int32_t, D> di;
  const auto lowest = hn::Set(d, -87.33f);
  const auto highest = hn::Set(d, 88.37f);
  const auto result = exp_of_negative(d, hn::Min(highest, x));  // right for positive x as well, as long as 2^n is finite
  const auto infinity = hn::BitCast(d, hn::Set(di, 0x7f800000));
  return hn::IfThenElse(hn::Lt(highest, x), infinity, hn::IfThenZeroElse(hn::Lt(x, lowest), result));
}

/// e^(x^2) (1 - erf(x)) for x >= 0, relative error below 3e-7; constant beyond 10.
template <class D>
HWY_INLINE hn::Vec<D> scaled_erf_complement(D d, hn::Vec<D> x) {
  // P(x) / Q(x); all coefficients are positive, so nothing cancels.
  const auto one = hn::Set(d, 1.0f);
  const auto t = hn::Min(hn::Set(d, 10.0f), x);
  auto p = hn::MulAdd(hn::Set(d, 3.234670311e-02f), t, hn::Set(d, 2.270715982e-01f));
  auto q = hn::MulAdd(hn::Set(d, 5.733226240e-02f), t, hn::Set(d, 4.025025070e-01f));
  p = hn::MulAdd(p, t, hn::Set(d, 7.270939350e-01f));
  q = hn::MulAdd(q, t, hn::Set(d, 1.316950083e+00f));
  p = hn::MulAdd(p, t, hn::Set(d, 1.234097242e+00f));
  q = hn::MulAdd(q, t, hn::Set(d, 2.392855167e+00f));
  p = hn::MulAdd(p, t, one);
  q = hn::MulAdd(q, t, hn::Set(d, 2.362476826e+00f));
  q = hn::MulAdd(q, t, one);
  return hn::Div(p, q);
}

/// erf(x), error below 1.5e-7 and below 2e-7 relative.
template <class D>
HWY_INLINE hn::Vec<D> erf(D d, hn::Vec<D> x) {
  const auto one = hn::Set(d, 1.0f);
  const auto magnitude = hn::Abs(x);
  const auto z = hn::Mul(x, x);
  auto p = hn::MulAdd(hn::Set(d, 7.853905845e-05f), z, hn::Set(d, -8.010208257e-04f));
  p = hn::MulAdd(p, z, hn::Set(d, 5.188329611e-03f));
  p = hn::MulAdd(p, z, hn::Set(d, -2.685381286e-02f));
  p = hn::MulAdd(p, z, hn::Set(d, 1.128358543e-01f));
  p = hn::MulAdd(p, z, hn::Set(d, -3.761262596e-01f));
  const auto small = hn::Mul(x, hn::MulAdd(p, z, hn::Set(d, 1.128379107e+00f)));
  const auto complement = hn::Mul(exp_of_negative(d, hn::Neg(z)), scaled_erf_complement(d, magnitude));
  const auto large = hn::CopySign(hn::Sub(one, complement), x);
  return hn::IfThenElse(hn::Lt(magnitude, one), small, large);
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
  const auto decay = exp_of_negative(d, hn::Mul(hn::Set(d, -2.0f), magnitude));
  const auto large = hn::CopySign(hn::Div(hn::Sub(one, decay), hn::Add(one, decay)), x);
  return hn::IfThenElse(hn::Lt(magnitude, hn::Set(d, 0.625f)), small, large);
}

inline constexpr float kSqrtHalf = 0.70710678f;
inline constexpr float kInverseSqrt2Pi = 0.39894228f;
inline constexpr float kGeluTanhScale = 0.79788456f;  // sqrt(2 / pi)
inline constexpr float kGeluTanhCube = 0.044715f;

/// Standard normal distribution function, (1 + erf(x / sqrt 2)) / 2, where `bell` is exp(-x^2 / 2). By way of the complement
/// of erf, so that negative x keep their relative accuracy.
template <class D>
HWY_INLINE hn::Vec<D> normal_distribution(D d, hn::Vec<D> x, hn::Vec<D> bell) {
  const auto scaled = scaled_erf_complement(d, hn::Mul(hn::Abs(x), hn::Set(d, kSqrtHalf)));
  const auto tail = hn::Mul(hn::Mul(hn::Set(d, 0.5f), bell), scaled);
  return hn::IfThenElse(hn::Lt(x, hn::Zero(d)), tail, hn::Sub(hn::Set(d, 1.0f), tail));
}

template <class D>
HWY_INLINE hn::Vec<D> normal_bell(D d, hn::Vec<D> x) {
  return exp_of_negative(d, hn::Mul(hn::Mul(x, x), hn::Set(d, -0.5f)));
}

template <class D>
HWY_INLINE hn::Vec<D> gelu_erf(D d, hn::Vec<D> x) {
  return hn::Mul(x, normal_distribution(d, x, normal_bell(d, x)));
}

template <class D>
HWY_INLINE hn::Vec<D> gelu_erf_gradient(D d, hn::Vec<D> x) {
  const auto bell = normal_bell(d, x);
  return hn::MulAdd(hn::Mul(x, hn::Set(d, kInverseSqrt2Pi)), bell, normal_distribution(d, x, bell));
}

/// e^(-2u) for the tanh GELU's u, bounded so that it and its reciprocal stay finite: (1 + tanh u) / 2 = 1 / (1 + e^(-2u)).
template <class D>
HWY_INLINE hn::Vec<D> gelu_tanh_decay(D d, hn::Vec<D> x) {
  const auto cubic = hn::MulAdd(hn::Mul(hn::Set(d, kGeluTanhCube), hn::Mul(x, x)), x, x);
  const auto exponent = hn::Mul(hn::Set(d, -2.0f * kGeluTanhScale), cubic);
  return exp_of_negative(d, hn::Min(hn::Set(d, 80.0f), exponent));  // right up to 88
}

template <class D>
HWY_INLINE hn::Vec<D> gelu_tanh(D d, hn::Vec<D> x) {
  return hn::Div(x, hn::Add(hn::Set(d, 1.0f), gelu_tanh_decay(d, x)));
}

template <class D>
HWY_INLINE hn::Vec<D> gelu_tanh_gradient(D d, hn::Vec<D> x) {
  const auto one = hn::Set(d, 1.0f);
  const auto decay = gelu_tanh_decay(d, x);
  const auto gate = hn::Div(one, hn::Add(one, decay));
  const auto slope =
      hn::MulAdd(hn::Set(d, 6.0f * kGeluTanhScale * kGeluTanhCube), hn::Mul(x, x), hn::Set(d, 2.0f * kGeluTanhScale));
  const auto curve = hn::Mul(gate, hn::Mul(gate, decay));
  return hn::MulAdd(hn::Mul(x, curve), slope, gate);
}

}  // namespace HWY_NAMESPACE
}  // namespace koine
HWY_AFTER_NAMESPACE();

#endif
