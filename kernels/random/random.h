#pragma once

// Reproducible random numbers on the host: initial parameters, the order of the data, what masked-language modelling hides.
//
// All are Philox4x32-10 (philox.h) under a key made from `seed`, counted by `stream` and the place in the stream: two
// purposes that take different streams of one seed are independent, and number n does not depend on who draws the others.
// Dropout (dropout_mask.h) uses other keys of the same seed.

#include <cstdint>
#include <utility>
#include <vector>

#include "kernels/random/philox.h"

namespace koine {

/// The numbers of one stream, one after the other.
class RandomStream {
 public:
  RandomStream(std::uint64_t seed, std::uint64_t stream) : seed_(seed), stream_(stream) {}

  std::uint32_t next_uint32();
  std::uint64_t next_uint64();
  /// Uniform in [0, 1), 53 bits.
  double uniform();
  /// Uniform in 0 .. bound-1, without bias; bound > 0.
  std::int64_t below(std::int64_t bound);
  /// Standard normal (Box, Muller, 1958).
  double normal();

 private:
  std::uint64_t seed_;
  std::uint64_t stream_;
  std::uint64_t next_block_ = 0;
  PhiloxCounter words_ = {};
  int used_ = 4;  // of words_
};

/// The 128 random bits at place `block` of a stream; RandomStream hands them out word by word.
PhiloxCounter random_block(std::uint64_t seed, std::uint64_t stream, std::uint64_t block);

/// values[i] = a normal number of this mean and standard deviation that depends on (seed, stream, i) alone. On all threads.
void fill_normal(float* values, std::int64_t count, double mean, double standard_deviation, std::uint64_t seed,
                 std::uint64_t stream);

/// A uniformly random order (Fisher, Yates; Durstenfeld, CACM 7, 1964).
template <class T>
void shuffle(std::vector<T>& values, RandomStream& random) {
  for (auto i = static_cast<std::int64_t>(values.size()) - 1; i > 0; --i) {
    const std::int64_t j = random.below(i + 1);
    std::swap(values[static_cast<std::size_t>(i)], values[static_cast<std::size_t>(j)]);
  }
}

}  // namespace koine
