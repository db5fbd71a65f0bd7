#pragma once

// The figures that study pages are made of: gains and gaps by seed, with the rows they come from.

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tasks/report/example_figures.h"
#include "tasks/report/study.h"
#include "tasks/report/summary.h"

namespace koine {

/// Figures by seed, and the rows behind them.
struct Measured {
  SeedValues values = {};
  std::vector<std::size_t> rows = {};                       ///< rising, each once
  std::map<std::uint32_t, std::vector<double>> drawn = {};  ///< the same of test examples drawn anew (example_figures.h)
  std::map<std::string, std::int64_t> examples = {};        ///< sets of test examples behind them, and how many each has

  /// Over seeds.
  Estimate estimate() const;
  /// Over test examples, the seeds as they are: of the mean over seeds. Count 0 where not all figures have kept their examples, or there
  /// are fewer than kFewestExamples.
  Estimate over_examples() const;
  void add_rows(const std::vector<std::size_t>& more);
  void add_behind(const Measured& other);  ///< rows and sets of examples
};
/// Of fewer a percentile interval is too narrow to be shown.
inline constexpr std::int64_t kFewestExamples = 30;

/// What is measured of alignment, not of answers: its target has gains in no table.
inline constexpr const char* kAlignmentMetric = "mexa_mean";

/// The mean of several, over the seeds that all have; empty ones are left out.
Measured mean_of(const std::vector<Measured>& parts);
/// `values - others`, seed by seed; single_for_all as paired_differences (summary.h).
Measured less(const Measured& values, const Measured& others, bool single_for_all = false);
/// The sum of factor * measure, of the seeds that all have.
Measured combined(const std::vector<std::pair<double, Measured>>& parts);

/// An arm that trains before the target, in one target.
struct Comparison {
  const Arm* arm = nullptr;
  const TargetSummary* target = nullptr;
};

class StudyFigures {
 public:
  /// Errors as summarise(). With `all_languages` those that are not the benchmark's count as well (XTREME-R's, whose rows
  /// stand under XTREME's tasks).
  explicit StudyFigures(const StudyInput& input, bool all_languages = false);

  /// Models, those of known size first, the smallest before the larger; then the others in the order of the rows.
  const std::vector<std::string>& models() const { return models_; }
  /// Of models of known size, log10 of the parameters.
  std::optional<double> log_parameters(const std::string& model) const;
  /// Every arm but the baselines with each target's headline metric, of models in their order.
  const std::vector<Comparison>& comparisons() const { return comparisons_; }
  /// All arms and targets, and what evaluations have kept of their examples.
  const Summary& summary() const { return summary_; }
  const ExampleFigures& examples() const { return examples_; }
  /// Agreement with the source language of an arm's answers in a language, or the figure itself. Empty where it is not known.
  Measured example_measure(ExampleMeasure measure, const Arm& arm, const TargetSummary& target,
                           const std::string& language) const;
  /// What an arm is called within its model.
  std::vector<std::string> arms(const std::string& model) const;
  /// Zero-shot languages that all arms of a comparison's target have.
  std::vector<std::string> languages(const Comparison& comparison) const;
  /// All of them, of all comparisons, in the order in which they appear.
  std::vector<std::string> languages() const;

  /// The mean over languages, of the arm, of its baseline, and their difference; and the same of one language.
  Measured figure(const Comparison& comparison, const std::vector<std::string>& languages) const;
  Measured baseline(const Comparison& comparison, const std::vector<std::string>& languages) const;
  Measured gain(const Comparison& comparison, const std::vector<std::string>& languages) const;
  /// The gain over all languages that languages() gives.
  Measured gain(const Comparison& comparison) const { return gain(comparison, languages(comparison)); }
  /// The source language less the zero-shot mean, of the arm. Empty where the target is not evaluated in the source language.
  Measured gap(const Comparison& comparison) const;
  /// The lowest of the languages' figures, of the arm.
  Measured worst(const Comparison& comparison) const;
  /// Share of the languages, in percent, in which the arm is below its baseline.
  Measured losing(const Comparison& comparison) const;

  /// The mean of a measure over the comparisons of a model, of those whose (target, arm) all models have; `arm`: of this one.
  Measured of_model(const std::string& model, const std::function<Measured(const Comparison&)>& measure,
                    const std::string& arm = "") const;
  /// The slope of a measure of models on log10 of their parameters, for each seed. Empty with fewer than two models of known size.
  Measured slope(const std::function<Measured(const std::string& model)>& measure) const;
  /// What the bars of a plot are: with one seed there are none over seeds.
  std::string interval_words() const;

 private:
  Measured mean_figure(const std::string& arm, const TargetSummary& target, const std::vector<std::string>& languages) const;
  bool everywhere(const Comparison& comparison) const;

  const StudyInput& input_;
  bool all_languages_;
  Summary summary_;
  ExampleFigures examples_;
  std::map<std::string, const Arm*> arms_;  ///< by label
  std::vector<std::string> models_;
  std::vector<Comparison> comparisons_;
  /// By arm's label, target, metric and language.
  std::map<std::tuple<std::string, std::string, std::string, std::string>, std::vector<std::size_t>> rows_;
};

}  // namespace koine
