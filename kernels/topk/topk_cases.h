#pragma once

#include "kernels/common/cases.h"
#include "kernels/topk/topk.h"

namespace koine::cases {

inline Case<TopKArguments> top_k_case(std::int64_t queries, std::int64_t candidates, std::int64_t width, std::int64_t k,
                                      Values query_values, Values candidate_values) {
  using Arguments = TopKArguments;
  Case<Arguments> one(concatenate(queries, " queries, ", candidates, " candidates, width ", width, ", k ", k));
  one.types = {DType::kFloat32};
  Arguments& a = one.arguments;
  a.queries_count = queries, a.candidates_count = candidates, a.width = width, a.k = k;
  one.input_fp32("queries", std::move(query_values), &Arguments::queries);
  one.input_fp32("candidates", std::move(candidate_values), &Arguments::candidates);
  one.output_fp32("indices", queries * k, &Arguments::indices);  // int32: as many bytes, read by their bits
  one.output_fp32("scores", queries * k, &Arguments::scores);
  return one;
}

inline Case<TwoWayTopKArguments> top_k_two_way_case(std::int64_t queries, std::int64_t candidates, std::int64_t width,
                                                    std::int64_t k, std::int64_t back_k, Values query_values,
                                                    Values candidate_values) {
  using Arguments = TwoWayTopKArguments;
  Case<Arguments> one(
      concatenate(queries, " queries, ", candidates, " candidates, width ", width, ", k ", k, " and ", back_k));
  one.types = {DType::kFloat32};
  Arguments& a = one.arguments;
  a.queries_count = queries, a.candidates_count = candidates, a.width = width, a.k = k, a.back_k = back_k;
  one.input_fp32("queries", std::move(query_values), &Arguments::queries);
  one.input_fp32("candidates", std::move(candidate_values), &Arguments::candidates);
  one.output_fp32("indices", queries * k, &Arguments::indices);
  one.output_fp32("scores", queries * k, &Arguments::scores);
  one.output_fp32("back indices", candidates * back_k, &Arguments::back_indices);
  one.output_fp32("back scores", candidates * back_k, &Arguments::back_scores);
  return one;
}

}  // namespace koine::cases
