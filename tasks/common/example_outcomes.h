#pragma once

// What an evaluation gives for each of its examples, so that figures can be formed anew of other draws of the examples
// (statistics/inference.h), and answers compared over languages. The figure of the metric is
//
//     100 * sum of points / sum of weights
//
//     accuracy, retrieval     points: 1 where the answer is right; weight 1
//     exact match, F1 of QA   points: the question's score, 0 to 1; weight 1
//     F1 over chunks          a sentence's points: twice its right chunks; its weight: the predicted and the true ones, for
//                             2 P R / (P + R) = 2 right / (predicted + true)
//     accuracy of tags        points: the sentence's right tags; its weight: its tags
//
// Metrics that are no such quotient (macro F1, F1 of pairs above a threshold, BLEU and their like) have none.
//
// The file, one for each language of an evaluation: a table (tab, one line an example) whose first line names the columns:
//
//     example   number from 0 on, or the question's id: the same in all arms, and, where test sets are translations of one another
//               (TaskRow::parallel), in all languages
//     points
//     weight    left out where it is 1 for all
//     ranked    where answers are chosen of numbered candidates: their numbers, the best first ("2,0,1"), or the one chosen where
//               the others have no order, "-" where the answer was unreadable
//     exact     where answers are texts: 1 where it is one of the gold answers (exact match), else 0

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace koine {

struct ExampleOutcomes {
  std::string metric;            ///< empty: there are none
  bool parallel = false;         ///< examples of the same id in other languages are translations of these
  std::vector<std::string> ids;  ///< empty: numbers from 0 on
  std::vector<float> points;
  std::vector<float> weights;        ///< empty: 1 each
  std::int64_t candidates = 0;       ///< that an example has in `ranked`; 0: answers are not chosen
  std::vector<std::int16_t> ranked;  ///< [examples, candidates]; -1: unreadable
  std::vector<std::uint8_t> exact;   ///< empty: answers are no texts

  std::size_t size() const { return points.size(); }
  /// 100 * sum of points / sum of weights; 0 where there is no weight.
  double figure() const;
};

/// Of answers that are chosen of candidates by their scores, [examples][candidates]: those of an example rank by falling score, of equal ones
/// the lower number first. Of more than kRankedAtMost candidates the best alone is kept.
ExampleOutcomes outcomes_of_scores(const std::string& metric, const std::vector<std::int32_t>& gold,
                                   const std::vector<std::vector<float>>& scores);
inline constexpr std::size_t kRankedAtMost = 8;
/// The same where nothing but the choice is known, -1 for an unreadable answer.
ExampleOutcomes outcomes_of_choices(const std::string& metric, const std::vector<std::int32_t>& gold,
                                    const std::vector<std::int32_t>& chosen);

std::string example_table(const ExampleOutcomes& outcomes);
/// Without metric and `parallel`, which the file does not say. UserError naming file and line.
ExampleOutcomes read_example_table(const std::filesystem::path& path);

}  // namespace koine
