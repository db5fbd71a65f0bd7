#include "tasks/report/summary.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "kernels/common/check.h"
#include "tasks/common/task.h"

namespace koine {

namespace {

template <class T>
void add_new(std::vector<T>& list, const T& item) {
  if (std::find(list.begin(), list.end(), item) == list.end()) list.push_back(item);
}

/// The task of a row's target. Null where that is none.
const Task* known_task(const ResultRow& row) {
  const std::string& name = row.task.empty() ? row.target : row.task;
  for (const Task* task : all_tasks()) {
    if (task->name() == name) return task;
  }
  return nullptr;
}

std::string baseline_of(const std::vector<std::string>& intermediates, const std::string& wanted) {
  for (const std::string& name : {wanted, std::string("none"), std::string("baseline")}) {
    if (!name.empty() && std::find(intermediates.begin(), intermediates.end(), name) != intermediates.end()) return name;
  }
  return intermediates.front();
}

/// Figures of other data than the test set, of a target that has both, are a target of their own.
std::vector<ResultRow> with_splits_apart(std::vector<ResultRow> rows) {
  std::map<std::string, std::set<std::string>> splits;
  for (const ResultRow& row : rows) splits[row.target].insert(row.split);
  for (ResultRow& row : rows) {
    if (row.split.empty() || splits[row.target].size() == 1) continue;
    if (row.task.empty()) row.task = row.target;
    row.target += " (" + row.split + ")";
  }
  return rows;
}

class Arranger {
 public:
  Arranger(std::vector<ResultRow> rows, const std::string& baseline, const std::string& source)
      : rows_(std::move(rows)), baseline_(baseline), source_(source) {}

  Summary arrange() {
    require(!rows_.empty(), "there are no results to report");
    add_arms();
    for (const ResultRow& row : rows_) add_value(row);
    std::stable_sort(summary_.targets.begin(), summary_.targets.end(),
                     [&](const TargetSummary& a, const TargetSummary& b) { return place(a) < place(b); });
    for (TargetSummary& target : summary_.targets) {
      target.headline = target.metric == headline(target.target);
      std::stable_partition(target.languages.begin(), target.languages.end(),
                            [&](const std::string& language) { return language == source_; });
    }
    std::stable_sort(summary_.targets.begin(), summary_.targets.end(), [&](const TargetSummary& a, const TargetSummary& b) {
      return a.target == b.target && a.headline && !b.headline;
    });
    add_costs();
    return std::move(summary_);
  }

 private:
  std::string label(const ResultRow& row) const {
    return models_.size() > 1 ? row.model + " / " + row.intermediate : row.intermediate;
  }

  void add_arms() {
    std::map<std::string, std::vector<std::string>> intermediates;
    for (const ResultRow& row : rows_) {
      add_new(models_, row.model);
      add_new(intermediates[row.model], row.intermediate);
    }
    for (const std::string& model : models_) {
      ResultRow row{.model = model,
                    .intermediate = baseline_of(intermediates[model], baseline_),
                    .target = {},
                    .language = {},
                    .metric = {}};
      const std::string baseline = label(row);
      for (const std::string& intermediate : intermediates[model]) {
        row.intermediate = intermediate;
        summary_.arms.push_back({label(row), baseline, model, intermediate});
      }
    }
  }

  /// Figures of other hidden states than those of the target's first row of the same model say which they are of: models of different depth are
  /// compared each by its own.
  std::string metric_of(const ResultRow& row) {
    const auto first = layers_.try_emplace({row.model, row.target}, row.layer).first->second;
    return row.layer == first || !row.layer.has_value() ? row.metric : concatenate(row.metric, ", layer ", *row.layer);
  }

  void add_value(const ResultRow& row) {
    const std::string metric = metric_of(row);
    add_new(target_order_, row.target);
    add_new(metrics_[row.target], metric);
    auto found = std::find_if(summary_.targets.begin(), summary_.targets.end(), [&](const TargetSummary& target) {
      return target.target == row.target && target.metric == metric;
    });
    if (found == summary_.targets.end()) {
      found = summary_.targets.emplace(found);
      found->target = row.target;
      found->metric = metric;
      found->source_language = source_;
      tasks_[row.target] = known_task(row);
      if (const Task* task = tasks_[row.target]; task != nullptr) found->trained = !task->train_task().empty();
    }
    add_new(found->languages, row.language);
    if (const Task* task = tasks_[row.target]; task != nullptr && !task->is_official(row.language))
      found->outside.insert(row.language);
    const auto [place, fresh] = found->values[label(row)][row.language].emplace(row.seed, row.value);
    require(fresh || place->second == row.value, "two results for model ", row.model, ", intermediate ", row.intermediate,
            ", target ", row.target, ", language ", row.language, ", metric ", metric, ", seed ", row.seed, ": ",
            place->second, " and ", row.value, "; report one run at a time, or give the models different names");
  }

  std::size_t place(const TargetSummary& target) const {
    return static_cast<std::size_t>(std::find(target_order_.begin(), target_order_.end(), target.target) -
                                    target_order_.begin());
  }

  const std::string& headline(const std::string& target) const {
    const std::vector<std::string>& metrics = metrics_.at(target);
    std::vector<std::string> preferred = {"accuracy", "f1"};
    if (const Task* task = tasks_.at(target); task != nullptr) preferred.insert(preferred.begin(), task->metric());
    for (const std::string& name : preferred) {
      const auto found = std::find(metrics.begin(), metrics.end(), name);
      if (found != metrics.end()) return *found;
    }
    return metrics.front();
  }

  void add_costs() {
    std::set<std::tuple<std::string, std::string, std::string, std::uint32_t>> seen;
    for (const ResultRow& row : rows_) {
      const std::string arm = label(row);
      if (!seen.emplace(row.target, arm, row.language, row.seed).second) continue;
      auto found = std::find_if(summary_.costs.begin(), summary_.costs.end(),
                                [&](const CostSummary& cost) { return cost.target == row.target && cost.arm == arm; });
      if (found == summary_.costs.end()) {
        found = summary_.costs.insert(found, {.target = row.target, .arm = arm, .flops = 0.0});
      }
      ++found->evaluations;
      found->examples += row.examples;
      found->tokens += row.tokens;
      found->seconds += row.seconds;
      if (row.flops.has_value() && found->flops.has_value())
        *found->flops += *row.flops;
      else
        found->flops.reset();
    }
    std::stable_sort(summary_.costs.begin(), summary_.costs.end(),
                     [&](const CostSummary& a, const CostSummary& b) { return target_place(a) < target_place(b); });
  }

  std::size_t target_place(const CostSummary& cost) const {
    return static_cast<std::size_t>(std::find(target_order_.begin(), target_order_.end(), cost.target) -
                                    target_order_.begin());
  }

  const std::vector<ResultRow> rows_;
  const std::string& baseline_;
  const std::string& source_;
  Summary summary_;
  std::vector<std::string> models_;
  std::vector<std::string> target_order_;
  std::map<std::string, std::vector<std::string>> metrics_;
  std::map<std::pair<std::string, std::string>, std::optional<std::int64_t>>
      layers_;                                ///< by model and target, of its first row
  std::map<std::string, const Task*> tasks_;  ///< by target
};

}  // namespace

const SeedValues* TargetSummary::find(const std::string& arm, const std::string& language) const {
  const auto by_arm = values.find(arm);
  if (by_arm == values.end()) return nullptr;
  const auto by_language = by_arm->second.find(language);
  return by_language == by_arm->second.end() ? nullptr : &by_language->second;
}

Spread TargetSummary::spread(const std::string& arm, const std::string& language) const {
  const SeedValues* found = find(arm, language);
  return found == nullptr ? Spread{} : spread_of(*found);
}

std::vector<std::string> TargetSummary::common_languages(const std::vector<std::string>& arms, bool with_source) const {
  std::vector<std::string> common;
  for (const std::string& language : languages) {
    if ((language == source_language && !with_source) || outside.contains(language)) continue;
    const bool everywhere =
        std::all_of(arms.begin(), arms.end(), [&](const std::string& arm) { return find(arm, language) != nullptr; });
    if (everywhere) common.push_back(language);
  }
  return common;
}

std::vector<std::string> TargetSummary::mean_languages(const std::string& arm, bool with_source) const {
  const std::vector<std::string> own = common_languages({arm}, with_source);
  std::vector<std::string> arms;  // that have any
  for (const auto& [name, ignored] : values) {
    if (!common_languages({name}, with_source).empty()) arms.push_back(name);
  }
  const std::vector<std::string> common = common_languages(arms, with_source);
  return own.empty() || common.empty() ? own : common;
}

SeedValues TargetSummary::mean_over(const std::string& arm, const std::vector<std::string>& over) const {
  if (over.empty() || !values.contains(arm)) return {};
  SeedValues means;
  for (const auto& [seed, ignored] : *find(arm, over.front())) {
    double sum = 0;
    std::size_t present = 0;
    for (const std::string& language : over) {
      const SeedValues& by_seed = *find(arm, language);
      const auto value = by_seed.find(seed);
      if (value == by_seed.end()) continue;
      sum += value->second;
      ++present;
    }
    if (present == over.size()) means[seed] = sum / static_cast<double>(present);
  }
  return means;
}

SeedValues TargetSummary::mean_by_seed(const std::string& arm, bool with_source) const {
  return mean_over(arm, mean_languages(arm, with_source));
}

Spread TargetSummary::difference_in(const Arm& arm, const std::string& language) const {
  const SeedValues* figures = find(arm.label, language);
  const SeedValues* baseline = find(arm.baseline, language);
  return figures == nullptr || baseline == nullptr ? Spread{} : difference(*figures, *baseline, !trained);
}

Spread TargetSummary::difference_of_means(const Arm& arm, bool with_source) const {
  std::vector<std::string> both;
  for (const std::string& language : mean_languages(arm.label, with_source)) {
    if (find(arm.baseline, language) != nullptr) both.push_back(language);
  }
  return difference(mean_over(arm.label, both), mean_over(arm.baseline, both), !trained);
}

Summary summarise(const std::vector<ResultRow>& rows, const std::string& baseline, const std::string& source_language) {
  return Arranger(with_splits_apart(rows), baseline, source_language).arrange();
}

Spread spread_of(const SeedValues& values) {
  std::vector<double> list;
  for (const auto& [seed, value] : values) list.push_back(value);
  return spread_of(list);
}

SeedValues paired_differences(const SeedValues& values, const SeedValues& baseline, bool single_for_all) {
  const bool different = single_for_all && values.size() != baseline.size();
  const bool one_value = different && values.size() == 1;
  const bool one_baseline = different && baseline.size() == 1;
  SeedValues paired;
  for (const auto& [seed, ignored] : one_value ? baseline : values) {
    const auto first = one_value ? values.begin() : values.find(seed);
    const auto second = one_baseline ? baseline.begin() : baseline.find(seed);
    if (first != values.end() && second != baseline.end()) paired[seed] = first->second - second->second;
  }
  return paired;
}

Spread difference(const SeedValues& values, const SeedValues& baseline, bool single_for_all) {
  if (values.empty() || baseline.empty()) return {};
  const SeedValues paired = paired_differences(values, baseline, single_for_all);
  if (!paired.empty()) return spread_of(paired);
  return {.count = 1, .mean = spread_of(values).mean - spread_of(baseline).mean};
}

}  // namespace koine
