#pragma once

// A stream of random draws for the generator of the demo's data: Philox keyed by (seed, stream), counted by draw. Two
// streams never share a number, so a longer corpus in one file changes nothing in another.

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "kernels/common/check.h"
#include "kernels/random/philox.h"

namespace koine::demo {

class Draws {
 public:
  Draws(std::uint32_t seed, std::uint32_t stream) : key_{seed, stream} {}

  /// 32 random bits.
  std::uint32_t bits() {
    if (used_ == 4) {
      block_ = philox({static_cast<std::uint32_t>(count_), static_cast<std::uint32_t>(count_ >> 32), 0, 0}, key_);
      ++count_;
      used_ = 0;
    }
    return block_[used_++];
  }

  /// Uniform in [0, bound), by multiplication; the bias of at most bound / 2^32 is far below what any corpus could show.
  int below(int bound) {
    check(bound > 0, "a draw needs at least one possibility");
    return static_cast<int>(static_cast<std::uint64_t>(bits()) * static_cast<std::uint32_t>(bound) >> 32);
  }

  /// True with this probability.
  bool chance(double probability) { return bits() < probability * 4294967296.0; }

  template <class T>
  const T& pick(const std::vector<T>& from) {
    return from[static_cast<std::size_t>(below(static_cast<int>(from.size())))];
  }

  template <class T>
  void shuffle(std::vector<T>& items) {
    for (std::size_t last = items.size(); last > 1; --last) {
      std::swap(items[last - 1], items[static_cast<std::size_t>(below(static_cast<int>(last)))]);
    }
  }

 private:
  PhiloxKey key_;
  PhiloxCounter block_{};
  std::uint64_t count_ = 0;
  std::size_t used_ = 4;
};

}  // namespace koine::demo
