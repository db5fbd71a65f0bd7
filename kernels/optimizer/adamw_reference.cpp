#include <cmath>

#include "kernels/optimizer/adamw.h"

namespace koine {
namespace {

// One step of element i, in double; stored in fp32 after every step, as the state between two steps is.
void update(float& parameter, float& first_moment, float& second_moment, double gradient, const AdamWStep& step) {
  const double decayed = static_cast<double>(parameter) * static_cast<double>(step.one_minus_rate_decay);
  const double first = static_cast<double>(first_moment);
  const double m = first + static_cast<double>(step.one_minus_beta1) * (gradient - first);
  const double v = static_cast<double>(step.beta2) * static_cast<double>(second_moment) +
                   static_cast<double>(step.one_minus_beta2) * gradient * gradient;
  const double denominator = std::sqrt(v) / static_cast<double>(step.sqrt_correction2) + static_cast<double>(step.epsilon);
  parameter = static_cast<float>(decayed - static_cast<double>(step.step_size) * m / denominator);
  first_moment = static_cast<float>(m);
  second_moment = static_cast<float>(v);
}

// A factor of exactly 0: the norm was not finite.
bool gives_nothing(const float* gradient_factor) { return gradient_factor != nullptr && *gradient_factor == 0; }

double factor_of(const float* gradient_factor) {
  return gradient_factor == nullptr ? 1 : static_cast<double>(*gradient_factor);
}

}  // namespace

void adamw_reference(const Context&, const AdamWArguments& a, void*) {
  if (gives_nothing(a.gradient_factor)) return;
  const AdamWStep step = a.step_from == nullptr ? a.step : *a.step_from;
  for (std::int64_t i = 0; i < a.count; ++i) {
    const double gradient = factor_of(a.gradient_factor) * static_cast<double>(a.gradient[i]);
    update(a.parameter[i], a.first_moment[i], a.second_moment[i], gradient, step);
    if (a.working != nullptr) a.working[i] = to_bfloat16(a.parameter[i]);
    if (a.zero_gradient) a.gradient[i] = 0;
  }
}

void adamw_segments_reference(const Context&, const AdamWSegmentsArguments& a, void*) {
  if (gives_nothing(a.gradient_factor)) return;
  for (std::int64_t index = 0; index < a.segments; ++index) {
    const FlatSegment& segment = a.segment_list[index];
    const ElementRange inside = intersection({segment.offset, segment.offset + segment.count()}, a.range);
    for (std::int64_t i = inside.begin; i < inside.end; ++i) {
      const double gradient = factor_of(a.gradient_factor) * static_cast<double>(a.gradient[i]);
      const std::int64_t state = i - a.range.begin;
      const bool in_bf16 = segment.apart < 0 && a.master.kind != MasterKind::kFloat32;
      float joined = 0;
      if (in_bf16) join_weights(a.master, a.working, i, 1, &joined);
      float& parameter = in_bf16              ? joined
                         : segment.apart >= 0 ? a.master.apart[segment.apart + i - segment.offset]
                                              : a.parameter[i];
      update(parameter, static_cast<float*>(a.first_moment)[state], static_cast<float*>(a.second_moment)[state], gradient,
             a.steps[segment.group]);
      if (in_bf16) split_weights(a.master, a.working, i, 1, &joined);
      if (segment.apart < 0 && !in_bf16 && a.working != nullptr) a.working[i] = to_bfloat16(parameter);
      if (a.zero_gradient) a.gradient[i] = 0;
    }
  }
}

void adamw_rows_reference(const Context&, const AdamWRowsArguments& a, void*) {
  if (a.with_gradient && gives_nothing(a.gradient_factor)) return;
  const std::int64_t rows = a.row_list == nullptr ? a.rows : a.listed_from == nullptr ? a.listed : *a.listed_from;
  const std::int64_t last = a.step_from == nullptr ? a.step : *a.step_from;
  for (std::int64_t listed = 0; listed < rows; ++listed) {
    const std::int64_t row = a.row_list == nullptr ? listed : a.row_list[listed];
    const ElementRange inside = intersection({row * a.width, (row + 1) * a.width}, a.range);
    for (std::int64_t i = inside.begin; i < inside.end; ++i) {
      const std::int64_t state = i - a.range.begin;
      for (std::int64_t step = a.last_step[row] + 1; step <= last; ++step) {
        const bool applied = a.with_gradient && step == last;
        const double gradient = applied ? factor_of(a.gradient_factor) * static_cast<double>(a.gradient[i]) : 0;
        update(a.parameter[i], static_cast<float*>(a.first_moment)[state], static_cast<float*>(a.second_moment)[state],
               gradient, a.history[step]);
        if (applied && a.zero_gradient) a.gradient[i] = 0;
      }
      if (a.working != nullptr) a.working[i] = to_bfloat16(a.parameter[i]);
    }
    a.last_step[row] = static_cast<std::int32_t>(last);
  }
}

}  // namespace koine
