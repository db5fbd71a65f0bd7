#pragma once

// Exact match and F1 of extracted answers, as the official evaluations of SQuAD 1.1 and MLQA (XTREME's
// third_party/evaluate_squad.py and evaluate_mlqa.py) define them.
//
// An answer is normalised: lower case, ASCII punctuation out, the words a, an, the out, white space split. Exact match: the
// normalised texts are equal. F1: of their bags of words; 0 where they share none, so two answers that both normalise to
// nothing match exactly with F1 0. A question's scores are the best over its gold answers; a question without prediction
// scores 0.

#include <string>
#include <string_view>
#include <vector>

namespace koine {

/// The words of a normalised answer. Benchmarks differ in this function only.
using AnswerNormaliser = std::vector<std::u32string> (*)(std::string_view answer);

std::vector<std::u32string> normalise_squad_answer(std::string_view answer);

/// MLQA's normalisation of answers in `language`: lower case; all Unicode punctuation (category P) and ASCII's out; the
/// language's articles out (in Arabic the letters of its article wherever they stand); white space split, in Chinese each
/// character of U+4E00 to U+9FA5 besides. UserError for a language that is not MLQA's (ar de en es hi vi zh).
AnswerNormaliser mlqa_normaliser(std::string_view language);

struct AnswerScore {
  double exact_match = 0;  ///< 0 or 1 for one answer; a percentage for a data set
  double f1 = 0;
};

/// F1 of two bags of words: 2PR / (P + R); 0 where they share none.
double words_f1(const std::vector<std::u32string>& prediction, const std::vector<std::u32string>& gold);

/// Scores of one prediction against its gold answers (at least one).
AnswerScore score_answer(std::string_view prediction, const std::vector<std::string>& gold, AnswerNormaliser normalise);

/// Sums single scores in the order they are added, as the official script does.
class AnswerScores {
 public:
  void add(const AnswerScore& score);
  /// In percent.
  AnswerScore percent() const;
  long questions() const { return questions_; }

 private:
  AnswerScore sum_;
  long questions_ = 0;
};

}  // namespace koine
