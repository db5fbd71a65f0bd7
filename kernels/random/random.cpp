#include "kernels/random/random.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/common/check.h"
#include "kernels/common/parallel.h"

namespace koine {
namespace {

// Second word of the key, where dropout has the step: no run takes so many steps.
constexpr std::uint32_t kHostKey = 0xfd9c3a71u;

// Two independent standard normal numbers from two random words.
std::pair<double, double> box_muller(std::uint32_t first, std::uint32_t second) {
  const double radius = std::sqrt(-2 * std::log((static_cast<double>(first) + 1) * 0x1p-32));
  const double angle = 6.283185307179586476925 * 0x1p-32 * static_cast<double>(second);
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

}  // namespace

PhiloxCounter random_block(std::uint64_t seed, std::uint64_t stream, std::uint64_t block) {
  return philox({static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                 static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)},
                {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32) ^ kHostKey});
}

std::uint32_t RandomStream::next_uint32() {
  if (used_ == 4) {
    words_ = random_block(seed_, stream_, next_block_++);
    used_ = 0;
  }
  return words_[static_cast<std::size_t>(used_++)];
}

std::uint64_t RandomStream::next_uint64() {
  const std::uint64_t lower = next_uint32();
  return lower | static_cast<std::uint64_t>(next_uint32()) << 32;
}

double RandomStream::uniform() { return static_cast<double>(next_uint64() >> 11) * 0x1p-53; }

std::int64_t RandomStream::below(std::int64_t bound) {
  check(bound > 0, "nothing is below ", bound);
  const auto n = static_cast<std::uint64_t>(bound);
  const std::uint64_t excess =
      (UINT64_MAX % n + 1) % n;  // 2^64 mod n: draws among the last so many would favour small results
  std::uint64_t draw = next_uint64();
  while (draw > UINT64_MAX - excess) draw = next_uint64();
  return static_cast<std::int64_t>(draw % n);
}

double RandomStream::normal() {
  const std::uint32_t first = next_uint32();
  return box_muller(first, next_uint32()).first;
}

void fill_normal(float* values, std::int64_t count, double mean, double standard_deviation, std::uint64_t seed,
                 std::uint64_t stream) {
  parallel_ranges(count, 16384, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; i += 4) {
      const PhiloxCounter words = random_block(seed, stream, static_cast<std::uint64_t>(i / 4));
      const auto [first, second] = box_muller(words[0], words[1]);
      const auto [third, fourth] = box_muller(words[2], words[3]);
      const double normal[4] = {first, second, third, fourth};
      for (std::int64_t k = 0; k < std::min<std::int64_t>(4, end - i); ++k) {
        values[i + k] = static_cast<float>(mean + standard_deviation * normal[k]);
      }
    }
  });
}

}  // namespace koine
