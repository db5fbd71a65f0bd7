#pragma once

// Rows of results, arranged: targets, arms, languages, and statistics over seeds.

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tasks/report/results.h"

namespace koine {

/// Figures of one arm in one language by seed.
using SeedValues = std::map<std::uint32_t, double>;

struct Arm {
  std::string label;     ///< intermediate, or "model / intermediate" where there are several models
  std::string baseline;  ///< label of its model's baseline arm; its own for the baseline
  std::string model;
  std::string intermediate;
};

/// One metric of one target.
struct TargetSummary {
  std::string target;
  std::string metric;
  bool trained = true;    ///< false: nothing is trained for the task, and the one figure of an arm stands for every seed
  bool headline = false;  ///< what tables and plots lead with: the task's own metric; of a target that is no task accuracy,
                          ///< else f1, else the first
  std::vector<std::string> languages;  ///< the source first, then in order of appearance
  std::set<std::string> outside;       ///< of them, those that are not the benchmark's (Task::is_official): in no mean
  std::map<std::string, std::map<std::string, SeedValues>> values;  ///< arm -> language -> seed -> value

  const SeedValues* find(const std::string& arm, const std::string& language) const;
  Spread spread(const std::string& arm, const std::string& language) const;
  /// The languages an arm's mean is over: of the benchmark's (the source left out unless asked for) those that all arms have
  /// that have any; where there are none (runs in different languages), all that the arm has.
  std::vector<std::string> mean_languages(const std::string& arm, bool with_source) const;
  /// Mean over mean_languages by seed: the seeds for which all of them are there.
  SeedValues mean_by_seed(const std::string& arm, bool with_source) const;
  /// An arm's figures less the baseline's: in one language, and of the means, which are over languages that both have.
  Spread difference_in(const Arm& arm, const std::string& language) const;
  Spread difference_of_means(const Arm& arm, bool with_source) const;
  std::string source_language;

 private:
  std::vector<std::string> common_languages(const std::vector<std::string>& arms, bool with_source) const;
  SeedValues mean_over(const std::string& arm, const std::vector<std::string>& languages) const;
};

/// Cost of the evaluations of one arm and target, each counted once.
struct CostSummary {
  std::string target;
  std::string arm;
  std::int64_t evaluations = 0;
  std::int64_t examples = 0;
  std::int64_t tokens = 0;
  double seconds = 0;
  std::optional<double> flops;  ///< of all of them; unknown if one is
};

struct Summary {
  std::vector<Arm> arms;               ///< in order of appearance
  std::vector<TargetSummary> targets;  ///< in order of appearance, headline metric first
  std::vector<CostSummary> costs;
};

/// UserErrors as write_report says.
Summary summarise(const std::vector<ResultRow>& rows, const std::string& baseline, const std::string& source_language);

/// `values - baseline`, of the seeds they share. With `single_for_all` a single figure on one side is that of every seed of the
/// other.
SeedValues paired_differences(const SeedValues& values, const SeedValues& baseline, bool single_for_all = false);

/// The same, summed up; where they share no seed the difference of the means, without spread. Count 0 where one is
/// empty.
Spread difference(const SeedValues& values, const SeedValues& baseline, bool single_for_all = false);

Spread spread_of(const SeedValues& values);

}  // namespace koine
