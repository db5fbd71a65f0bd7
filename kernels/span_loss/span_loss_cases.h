#pragma once

#include "kernels/softmax_cross_entropy/softmax_cross_entropy_cases.h"
#include "kernels/span_loss/span_loss.h"

namespace koine::cases {

/// Sequences and where their answers begin and end.
struct Spans {
  std::vector<std::int32_t> cumulative_lengths = {0};
  std::vector<std::int32_t> start, end;
  void add(std::int32_t length, std::int32_t first, std::int32_t last) {
    cumulative_lengths.push_back(cumulative_lengths.back() + length);
    start.push_back(first);
    end.push_back(last);
  }
  std::int64_t tokens() const { return cumulative_lengths.back(); }
};

inline Case<SpanLossArguments> span_loss_case(const Spans& spans, LogitsGradient gradient, Values logits) {
  using Arguments = SpanLossArguments;
  Case<Arguments> one(concatenate(spans.start.size(), " sequences, ", spans.tokens(), " tokens"));
  Arguments& a = one.arguments;
  a.tokens = spans.tokens(), a.sequences = std::ssize(spans.start);
  a.cumulative_lengths = one.keep(spans.cumulative_lengths);
  a.start_labels = one.keep(spans.start), a.end_labels = one.keep(spans.end);
  a.gradient_scale = 0.5f;
  const auto bind_both = [](Arguments& to, void* data) { to.logits = to.d_logits = data; };
  if (gradient == LogitsGradient::kInPlace) {
    one.in_out("logits", std::move(logits), bind_both);
  } else {
    one.input("logits", std::move(logits), &Arguments::logits);
  }
  one.output_fp32("loss", a.sequences, &Arguments::loss);
  if (gradient == LogitsGradient::kApart) one.output("d_logits", 2 * a.tokens, &Arguments::d_logits);
  return one;
}

}  // namespace koine::cases
