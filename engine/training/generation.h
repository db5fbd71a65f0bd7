#pragma once

// What a model of an encoder and a decoder writes about a text: greedy and beam search as transformers' `generate` defines them
// (GenerationMixin._beam_search).

#include <cstdint>
#include <vector>

namespace koine {

/// When beam search stops looking: kNo where the best running beam is worse by a heuristic (its score at the length it has);
/// kYes where there are as many finished beams as beams; kNever only where the best running beam cannot get better any more.
enum class EarlyStopping { kNo, kYes, kNever };

struct GenerationSettings {
  std::int32_t beams = 1;             ///< 1: greedy
  std::int64_t maximum_length = 128;  ///< tokens of an answer at most, its end included: transformers' max_new_tokens
  double length_penalty = 1;          ///< a score is the sum of log-probabilities by length to this power
  EarlyStopping early_stopping = EarlyStopping::kNo;
  std::int32_t end = -1;  ///< id that ends an answer; -1: the model's own
  /// Where it is not empty, nothing else may be answered; each with its end. They may begin alike.
  std::vector<std::vector<std::int32_t>> answers = {};
  /// The same where sources have answers of their own: a list for each source of the batch, instead of `answers`.
  std::vector<std::vector<std::vector<std::int32_t>>> own_answers = {};
};

struct Generation {
  std::vector<std::int32_t> ids;  ///< the end included, where it came
  double score = 0;               ///< what beams are compared by
};

}  // namespace koine
