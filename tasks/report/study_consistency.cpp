#include <algorithm>
#include <cmath>

#include "kernels/common/check.h"
#include "tasks/report/study_cells.h"
#include "tasks/report/study_parts.h"

namespace koine {
namespace {

struct AgreementKind {
  ExampleMeasure measure;
  const char* name;
};
/// RankC stands beside the same answer.
constexpr AgreementKind kAgreements[] = {{ExampleMeasure::kSameAnswer, "same answer"},
                                         {ExampleMeasure::kSharedRight, "right in both of right in either"}};

class ConsistencyWriter {
 public:
  explicit ConsistencyWriter(const StudyFigures& figures) : figures_(figures) {}

  StudyPart write() {
    for (const std::string& model : figures_.models()) {
      for (const TargetSummary& target : figures_.summary().targets) {
        if (!target.headline) continue;
        for (const Arm& arm : figures_.summary().arms) {
          if (arm.model == model) add_arm(arm, target);
        }
      }
    }
    StudyPart part;
    if (means_.lines.empty()) {
      part.remarks.push_back(
          "Nothing is said of the agreement of answers over languages: no outcomes are kept of test sets that are "
          "translations of one another with the source language among them.");
      return part;
    }
    add_over_examples(means_, 5, mean_examples_, false, false);
    add_holm(means_, 8);
    add_over_examples(means_, 8, change_examples_);
    add_over_examples(languages_, 5, language_examples_, false, false);
    part.tables = {std::move(means_), std::move(languages_)};
    for (const std::string& line : figures_.examples().not_parallel())
      part.remarks.push_back("Left out of the agreement of answers: " + line + ".");
    return part;
  }

 private:
  void add_arm(const Arm& arm, const TargetSummary& target) {
    for (const AgreementKind& kind : kAgreements) {
      std::vector<Measured> all, ranks, changes;
      std::string lowest = "–";
      double least = INFINITY;
      for (const std::string& language : target.languages) {
        const Measured agreement = figures_.example_measure(kind.measure, arm, target, language);
        if (agreement.values.empty()) continue;
        const Measured rank = kind.measure == ExampleMeasure::kSameAnswer
                                  ? figures_.example_measure(ExampleMeasure::kRankC, arm, target, language)
                                  : Measured{};
        all.push_back(agreement);
        ranks.push_back(rank);
        changes.push_back(change(kind.measure, arm, target, language, agreement));
        const double mean = spread_of(agreement.values).mean;
        if (mean < least) lowest = concatenate(language, " ", format_decimal(mean, 1));
        least = std::min(least, mean);
        languages_.lines.push_back({{name_cell(arm.model), name_cell(target.target), name_cell(arm.intermediate),
                                     name_cell(kind.name), name_cell(shown_code(language)),
                                     estimate_cell(agreement.estimate(), false), estimate_cell(rank.estimate(), false)},
                                    agreement.rows});
        language_examples_.push_back(agreement.over_examples());
      }
      if (all.empty()) continue;
      const Measured mean = mean_of(all);
      const Measured more = mean_of(changes);
      means_.lines.push_back({{name_cell(arm.model),
                               name_cell(target.target),
                               name_cell(arm.intermediate),
                               name_cell(kind.name),
                               {std::to_string(all.size())},
                               estimate_cell(mean.estimate(), false),
                               estimate_cell(mean_of(ranks).estimate(), false),
                               {lowest},
                               estimate_cell(more.estimate())},
                              mean.rows});
      mean_examples_.push_back(mean.over_examples());
      change_examples_.push_back(more.over_examples());
    }
  }

  /// Against the baseline of the same model; nothing for the baseline itself.
  Measured change(ExampleMeasure measure, const Arm& arm, const TargetSummary& target, const std::string& language,
                  const Measured& agreement) const {
    if (arm.label == arm.baseline) return {};
    const auto& arms = figures_.summary().arms;
    const auto baseline = std::find_if(arms.begin(), arms.end(), [&](const Arm& one) { return one.label == arm.baseline; });
    return less(agreement, figures_.example_measure(measure, *baseline, target, language), !target.trained);
  }

  const StudyFigures& figures_;
  StudyTable means_{
      .title = "Agreement of answers with the source language",
      .note =
          "percent, mean over the languages whose test set is a translation of the source language's. Same answer: of the "
          "examples; RankC (Qi et al., EMNLP 2023) of the labels ranked by the model's scores, where they have an order; "
          "right in both of right in either: of the questions answered exactly in one of the two languages, those answered "
          "so "
          "in both. Agreement is no accuracy: a model that always answers the same agrees with itself",
      .names = 4,
      .columns = {"model", "target", "arm", "measure", "languages", "agreement", "RankC", "lowest", "more than baseline"},
      .lines = {}};
  StudyTable languages_{.title = "Agreement of answers by language",
                        .note = "one line for each model, target, arm, measure and language, as above",
                        .names = 5,
                        .columns = {"model", "target", "arm", "measure", "language", "agreement", "RankC"},
                        .lines = {}};
  std::vector<Estimate> mean_examples_, change_examples_, language_examples_;
};

}  // namespace

StudyPart consistency_part(const StudyFigures& figures) { return ConsistencyWriter(figures).write(); }

}  // namespace koine
