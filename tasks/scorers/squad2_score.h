#pragma once

// SQuAD 2.0's scores: exact match and F1 where a question may have no answer (the official evaluate-v2.0.py).
//
// An answer is normalised as for SQuAD 1.1 (answer_score.h). A question whose gold answers all normalise to nothing, or that
// has none, has the one gold answer "". Exact match: the normalised texts are equal; F1 as there, but where one side has no
// words it is 1 if the other has none either, else 0. A prediction whose no_answer exceeds `threshold` counts as "".
//
// The best threshold of a figure: questions in rising order of no_answer (equal ones as they stand); taking all of them for
// unanswerable scores one point for each that is; answering one more adds its score if it has an answer, and loses a point
// if it has none and the prediction is not empty; the highest sum over all prefixes, and the no_answer of its last question
// (0 for the empty prefix).

#include <cstdint>
#include <string>
#include <vector>

namespace koine {

struct Squad2Answer {
  std::vector<std::string> gold;  ///< empty: the question has no answer
  std::string prediction;         ///< empty: "there is no answer"
  double no_answer = 0;           ///< the higher, the surer that there is none
};

/// In percent, but for the thresholds and counts.
struct Squad2Score {
  double exact_match = 0;
  double f1 = 0;
  std::int64_t questions = 0;
  double answerable_exact_match = 0;  ///< of the questions that have an answer; 0 where there are none, as the next
  double answerable_f1 = 0;
  std::int64_t answerable = 0;
  double unanswerable_accuracy = 0;  ///< of those that have none (exact match and F1 are the same)
  double best_exact_match = 0;
  double best_exact_match_threshold = 0;
  double best_f1 = 0;
  double best_f1_threshold = 0;
};

/// At least one question. The official script's own threshold is 1.
Squad2Score score_squad2(const std::vector<Squad2Answer>& answers, double threshold = 1.0);

}  // namespace koine
