#include "tasks/scorers/squad2_score.h"

#include <algorithm>
#include <numeric>

#include "kernels/common/check.h"
#include "tasks/scorers/answer_score.h"

namespace koine {
namespace {

/// The best score over the gold answers, no threshold applied.
AnswerScore raw_score(const Squad2Answer& answer) {
  const auto words = normalise_squad_answer(answer.prediction);
  AnswerScore best;
  bool any = false;
  for (const std::string& gold : answer.gold) {
    const auto truth = normalise_squad_answer(gold);
    if (truth.empty()) continue;
    any = true;
    best.exact_match = std::max(best.exact_match, words == truth ? 1.0 : 0.0);
    best.f1 = std::max(best.f1, words_f1(words, truth));
  }
  if (!any) best.exact_match = best.f1 = words.empty() ? 1 : 0;
  return best;
}

struct Best {
  double score = 0;  ///< in percent
  double threshold = 0;
};

Best best_threshold(const std::vector<Squad2Answer>& answers, const std::vector<double>& scores) {
  std::vector<std::size_t> order(answers.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return answers[a].no_answer < answers[b].no_answer; });
  double current = 0;
  for (const Squad2Answer& answer : answers) current += answer.gold.empty() ? 1 : 0;
  Best best{current, 0};
  for (const std::size_t i : order) {
    if (answers[i].gold.empty()) {
      current -= answers[i].prediction.empty() ? 0 : 1;
    } else {
      current += scores[i];
    }
    if (current > best.score) best = {current, answers[i].no_answer};
  }
  best.score = 100.0 * best.score / static_cast<double>(answers.size());
  return best;
}

double percent(double sum, std::int64_t count) { return count == 0 ? 0 : 100.0 * sum / static_cast<double>(count); }

}  // namespace

Squad2Score score_squad2(const std::vector<Squad2Answer>& answers, double threshold) {
  check(!answers.empty(), "no questions scored");
  std::vector<double> exact;
  std::vector<double> f1;
  AnswerScore all;
  AnswerScore answerable;
  double unanswerable = 0;
  Squad2Score result;
  result.questions = static_cast<std::int64_t>(answers.size());
  for (const Squad2Answer& answer : answers) {
    const AnswerScore raw = raw_score(answer);
    exact.push_back(raw.exact_match);
    f1.push_back(raw.f1);
    const bool has_answer = !answer.gold.empty();
    const double refused = has_answer ? 0 : 1;
    const AnswerScore score = answer.no_answer > threshold ? AnswerScore{refused, refused} : raw;
    all.exact_match += score.exact_match;
    all.f1 += score.f1;
    if (has_answer) {
      answerable.exact_match += score.exact_match;
      answerable.f1 += score.f1;
      ++result.answerable;
    } else {
      unanswerable += score.exact_match;
    }
  }
  result.exact_match = percent(all.exact_match, result.questions);
  result.f1 = percent(all.f1, result.questions);
  result.answerable_exact_match = percent(answerable.exact_match, result.answerable);
  result.answerable_f1 = percent(answerable.f1, result.answerable);
  result.unanswerable_accuracy = percent(unanswerable, result.questions - result.answerable);
  const Best best_exact = best_threshold(answers, exact);
  const Best best_f1 = best_threshold(answers, f1);
  result.best_exact_match = best_exact.score;
  result.best_exact_match_threshold = best_exact.threshold;
  result.best_f1 = best_f1.score;
  result.best_f1_threshold = best_f1.threshold;
  return result;
}

}  // namespace koine
