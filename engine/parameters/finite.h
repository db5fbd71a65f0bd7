#pragma once

// Whether numbers are numbers: a weight or a logit that is infinite or not a number makes every figure behind it worthless.

#include <cstdint>
#include <cstring>
#include <span>

namespace koine {

/// How many are infinite or not a number: those whose exponent bits are all set (IEEE 754, binary32).
inline std::int64_t count_not_finite(std::span<const float> values) {
  constexpr std::uint32_t kExponent = 0x7f800000u;
  std::int64_t count = 0;
  for (const float value : values) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    count += (bits & kExponent) == kExponent ? 1 : 0;
  }
  return count;
}

}  // namespace koine
