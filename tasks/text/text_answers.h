#pragma once

// Examples that are answered with texts: from sources and targets to a data set, and a model's answers to it.

#include <cstdint>
#include <string>
#include <vector>

#include "engine/tokenizer/tokenizer.h"
#include "tasks/common/prediction.h"

namespace koine {

/// Fills a data set, and counts what is cut: a source at its end, a target before its end.
class TextExamples {
 public:
  TextExamples(Dataset& dataset, const Tokenizer& tokenizer, std::int64_t max_seq_length, std::int64_t max_target_length)
      : dataset_(dataset),
        tokenizer_(tokenizer),
        truncation_{.maximum_length = max_seq_length},
        max_target_length_(max_target_length) {}

  void add(const std::string& source);  ///< without an answer
  /// UserError for a target without a token; `may_be_empty`: it is its end alone.
  void add(const std::string& source, const std::string& target, bool may_be_empty = false);
  /// A source of `beginning` and `text`. Where it is too long, the beginning with each of text_windows() in turn, all with the
  /// target (null: without), instead of losing its end; but where the beginning alone leaves no room it loses it. How many
  /// examples that are.
  std::int64_t add_windows(const std::string& beginning, const std::string& text, const std::string* target);
  const Truncation& truncation() const { return truncation_; }

 private:
  /// `counted`: an example of its own, not a further window of one.
  void add(std::vector<std::int32_t> source, const std::string* target, bool may_be_empty, bool counted);

  Dataset& dataset_;
  const Tokenizer& tokenizer_;
  Truncation truncation_;
  std::int64_t max_target_length_;
};

/// Windows of up to `room` pieces over a text: each begins half a window behind the one before, so that an answer of up to half
/// a window is whole in one of them; the last one reaches the end.
struct TextWindow {
  std::int64_t begin = 0;
  std::int64_t length = 0;
};
std::vector<TextWindow> text_windows(std::int64_t pieces, std::int64_t room);

/// The ids of an answer, its end behind them.
std::vector<std::int32_t> answer_ids(const std::string& text, const Tokenizer& tokenizer);
/// A text as an answer that is written so is read: through the tokenizer's normalisation.
std::string as_written(const std::string& text, const Tokenizer& tokenizer);

/// Calls use(number, generation) for every example, those of like length together. settings.own_answers, where there are any,
/// are those of the data set's examples.
PassCounts generate_all(Model& model, const Dataset& dataset, const GenerationSettings& settings,
                        const EvaluationOptions& options,
                        const std::function<void(std::size_t number, const Generation& generation)>& use);

/// The text of an answer.
std::string written_text(const Generation& generation, const Tokenizer& tokenizer);

struct WrittenAnswers {
  std::vector<std::string> texts;  ///< [examples], trimmed
  std::vector<double> scores;      ///< [examples] the mean log-probability of an answer's tokens
  PassCounts counts;
};
/// Greedy, the longest of so many tokens.
WrittenAnswers write_answers(Model& model, const Dataset& dataset, const Tokenizer& tokenizer, GenerationSettings settings,
                             const EvaluationOptions& options);

/// Log-probabilities of candidates for the answers: of example i those of candidates[i], or, where there is one list only, of that.
struct CandidateScores {
  std::vector<std::vector<float>> scores;
  PassCounts counts;
};
CandidateScores score_candidates(Model& model, const Dataset& dataset, const Tokenizer& tokenizer,
                                 const std::vector<std::vector<std::string>>& candidates, const EvaluationOptions& options);

/// Which of the candidates a model gave, as options.choices says: what it wrote, or the likeliest.
struct ChosenAnswers {
  std::vector<std::int32_t> chosen;        ///< [examples]; -1: what was written is none of them
  std::vector<std::string> texts;          ///< where they were written
  std::vector<std::vector<float>> scores;  ///< where they were compared
  PassCounts counts;
};
/// Candidates as for score_candidates().
ChosenAnswers choose_answers(Model& model, const Dataset& dataset, const Tokenizer& tokenizer,
                             const std::vector<std::vector<std::string>>& candidates, const EvaluationOptions& options);

}  // namespace koine
