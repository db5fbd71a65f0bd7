#pragma once

#include <cmath>
#include <numbers>
#include <random>

namespace koine {

/// Standard normal draws, the same on every machine (Box and Muller; std::normal_distribution is free to differ).
class NormalDraws {
 public:
  explicit NormalDraws(std::uint32_t seed) : bits_(seed) {}
  double operator()() {
    const double radius = std::sqrt(-2 * std::log(uniform()));
    return radius * std::cos(2 * std::numbers::pi * uniform());
  }

 private:
  double uniform() { return (static_cast<double>(bits_()) + 0.5) / 4294967296.0; }
  std::mt19937 bits_;
};

}  // namespace koine
