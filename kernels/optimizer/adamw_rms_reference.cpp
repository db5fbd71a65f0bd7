#include <algorithm>
#include <cmath>

#include "kernels/optimizer/adamw_rms.h"

namespace koine {

void adamw_rms_reference(const Context&, const AdamWRmsArguments& a, void*) {
  const double factor = a.gradient_factor == nullptr ? 1 : static_cast<double>(*a.gradient_factor);
  if (factor == 0) return;
  for (std::int64_t index = 0; index < a.segments; ++index) {
    const FlatSegment& segment = a.segment_list[index];
    const AdamWStep& step = a.steps[segment.group];
    const std::int64_t end = segment.offset + segment.count();
    double squares = 0;
    for (std::int64_t i = segment.offset; i < end; ++i) squares += std::pow(static_cast<double>(a.parameter[i]), 2);
    const double scale = std::max(kAdamWRmsLeastScale, std::sqrt(squares / static_cast<double>(segment.count())));
    for (std::int64_t i = segment.offset; i < end; ++i) {
      const double g = factor * static_cast<double>(a.gradient[i]);
      const auto before = static_cast<double>(a.first_moment[i]);
      const double m = before + static_cast<double>(step.one_minus_beta1) * (g - before);
      const double v = static_cast<double>(step.beta2) * static_cast<double>(a.second_moment[i]) +
                       static_cast<double>(step.one_minus_beta2) * g * g;
      const double denominator =
          std::sqrt(v) / static_cast<double>(step.sqrt_correction2) + static_cast<double>(step.epsilon);
      const double moved =
          static_cast<double>(a.parameter[i]) - scale * static_cast<double>(step.step_size) * m / denominator;
      a.parameter[i] = static_cast<float>(moved * static_cast<double>(step.one_minus_rate_decay));
      a.first_moment[i] = static_cast<float>(m);
      a.second_moment[i] = static_cast<float>(v);
      if (a.working != nullptr) a.working[i] = to_bfloat16(a.parameter[i]);
      if (a.zero_gradient) a.gradient[i] = 0;
    }
  }
}

}  // namespace koine
