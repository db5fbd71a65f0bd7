#pragma once

// A number as a formula in t, the optimizer steps taken before: how jiant writes weights that change over a run
// (TimeDependentProbMultiTaskSampler in nyu-mll/jiant, jiant/proj/main/components/task_sampler.py, which leaves the formula
// to numexpr). As there, / is always true division, ** binds to the right and closer than a sign before it, and comparisons
// are 1 or 0.

#include <functional>
#include <string>

namespace koine {

/// Numbers, t, ( ), + - * / **, < <= > >= == !=, abs ceil cos exp expm1 floor log log10 log1p sin sqrt tan tanh, and
/// where(condition, then, else).
class TimeFunction {
 public:
  /// UserError with the formula, the place and what was expected there.
  explicit TimeFunction(std::string text);
  double at(double t) const { return value_(t); }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  std::function<double(double)> value_;
};

}  // namespace koine
