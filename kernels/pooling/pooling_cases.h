#pragma once

#include "kernels/common/cases.h"
#include "kernels/pooling/pooling.h"

namespace koine::cases {

template <class Arguments>
Case<Arguments> pooling_case(const std::vector<std::int32_t>& cumulative_lengths, std::int64_t width, bool skip_special) {
  const std::int64_t tokens = cumulative_lengths.back(), sequences = std::ssize(cumulative_lengths) - 1;
  Case<Arguments> one(
      concatenate(sequences, " sequences, [", tokens, ", ", width, "]", skip_special ? " without special tokens" : ""));
  Arguments& a = one.arguments;
  a.tokens = tokens, a.sequences = sequences, a.width = width, a.skip_special = skip_special;
  a.cumulative_lengths = one.keep(cumulative_lengths);
  return one;
}

inline Case<MeanPoolingForwardArguments> mean_pooling_forward_case(const std::vector<std::int32_t>& cumulative_lengths,
                                                                   std::int64_t width, bool skip_special,
                                                                   bool by_position = false) {
  using Arguments = MeanPoolingForwardArguments;
  Case<Arguments> one = pooling_case<Arguments>(cumulative_lengths, width, skip_special);
  one.arguments.by_position = by_position;
  one.input("input", random(one.arguments.tokens * width, 1), &Arguments::input);
  one.output("output", one.arguments.sequences * width, &Arguments::output);
  return one;
}

inline Case<MeanPoolingBackwardArguments> mean_pooling_backward_case(const std::vector<std::int32_t>& cumulative_lengths,
                                                                     std::int64_t width, bool skip_special) {
  using Arguments = MeanPoolingBackwardArguments;
  Case<Arguments> one = pooling_case<Arguments>(cumulative_lengths, width, skip_special);
  one.input("d_output", random(one.arguments.sequences * width, 2), &Arguments::d_output);
  one.output("d_input", one.arguments.tokens * width, &Arguments::d_input);
  return one;
}

}  // namespace koine::cases
