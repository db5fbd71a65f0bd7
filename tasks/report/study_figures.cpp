#include "tasks/report/study_figures.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>

#include "kernels/common/check.h"
#include "tasks/statistics/association.h"

namespace koine {
Estimate Measured::estimate() const {
  std::vector<double> list;
  for (const auto& [seed, value] : values) list.push_back(value);
  return mean_estimate(list);
}

void Measured::add_rows(const std::vector<std::size_t>& more) {
  rows.insert(rows.end(), more.begin(), more.end());
  std::sort(rows.begin(), rows.end());
  rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
}

Measured mean_of(const std::vector<Measured>& parts) {
  Measured mean;
  std::map<std::uint32_t, std::size_t> seen;
  std::size_t counted = 0;
  for (const Measured& part : parts) {
    if (part.values.empty()) continue;
    ++counted;
    for (const auto& [seed, value] : part.values) {
      mean.values[seed] += value;
      ++seen[seed];
    }
    mean.add_rows(part.rows);
  }
  std::erase_if(mean.values, [&](const auto& entry) { return seen[entry.first] != counted; });
  for (auto& [seed, value] : mean.values) value /= static_cast<double>(counted);
  return mean;
}

Measured less(const Measured& values, const Measured& others) {
  Measured difference{paired_differences(values.values, others.values), values.rows};
  difference.add_rows(others.rows);
  return difference;
}

StudyFigures::StudyFigures(const StudyInput& input, bool all_languages)
    : input_(input), all_languages_(all_languages), summary_(summarise(input.rows, input.baseline, input.source_language)) {
  for (const Arm& arm : summary_.arms) {
    if (std::find(models_.begin(), models_.end(), arm.model) == models_.end()) models_.push_back(arm.model);
  }
  const auto size = [&](const std::string& model) { return log_parameters(model).value_or(INFINITY); };
  std::stable_sort(models_.begin(), models_.end(),
                   [&](const std::string& a, const std::string& b) { return size(a) < size(b); });
  for (const std::string& model : models_) {
    for (const TargetSummary& target : summary_.targets) {
      for (const Arm& arm : summary_.arms) {
        if (target.headline && arm.model == model && arm.label != arm.baseline && target.values.contains(arm.label) &&
            target.values.contains(arm.baseline))
          comparisons_.push_back({&arm, &target});
      }
    }
  }
  std::map<std::pair<std::string, std::string>, const Arm*> arms;
  for (const Arm& arm : summary_.arms) arms[{arm.model, arm.intermediate}] = &arm;
  std::map<std::string, std::optional<std::int64_t>> layers;  // of a target's first row: what its headline is of
  for (std::size_t i = 0; i < input.rows.size(); ++i) {
    const ResultRow& row = input.rows[i];
    const auto layer = layers.try_emplace(row.target, row.layer).first->second;
    if (row.layer.has_value() && row.layer != layer) continue;
    rows_[{arms.at({row.model, row.intermediate})->label, row.target, row.metric, row.language}].push_back(i);
  }
}

std::optional<double> StudyFigures::log_parameters(const std::string& model) const {
  const auto known = input_.parameters.find(model);
  return known == input_.parameters.end() ? std::nullopt : std::optional<double>(std::log10(known->second));
}

std::vector<std::string> StudyFigures::arms(const std::string& model) const {
  std::vector<std::string> names;
  for (const Arm& arm : summary_.arms) {
    if (arm.model == model && arm.label != arm.baseline) names.push_back(arm.intermediate);
  }
  return names;
}

std::vector<std::string> StudyFigures::languages(const Comparison& comparison) const {
  std::vector<std::string> both;
  if (all_languages_) {
    const TargetSummary& target = *comparison.target;
    std::copy_if(target.languages.begin(), target.languages.end(), std::back_inserter(both),
                 [&](const std::string& language) {
                   return language != target.source_language &&
                          std::all_of(target.values.begin(), target.values.end(),
                                      [&](const auto& arm) { return target.find(arm.first, language) != nullptr; });
                 });
    return both;
  }
  for (const std::string& language : comparison.target->mean_languages(comparison.arm->label, false)) {
    if (comparison.target->find(comparison.arm->baseline, language) != nullptr) both.push_back(language);
  }
  return both;
}

std::vector<std::string> StudyFigures::languages() const {
  std::vector<std::string> all;
  for (const Comparison& comparison : comparisons_) {
    for (const std::string& language : languages(comparison)) {
      if (std::find(all.begin(), all.end(), language) == all.end()) all.push_back(language);
    }
  }
  return all;
}

Measured StudyFigures::mean_figure(const std::string& arm, const TargetSummary& target,
                                   const std::vector<std::string>& languages) const {
  std::vector<Measured> parts;
  for (const std::string& language : languages) {
    const SeedValues* values = target.find(arm, language);
    if (values == nullptr) continue;
    parts.push_back({*values, {}});
    const auto rows = rows_.find({arm, target.target, target.metric, language});
    if (rows != rows_.end()) parts.back().rows = rows->second;
  }
  return mean_of(parts);
}

Measured StudyFigures::figure(const Comparison& comparison, const std::vector<std::string>& languages) const {
  return mean_figure(comparison.arm->label, *comparison.target, languages);
}

Measured StudyFigures::baseline(const Comparison& comparison, const std::vector<std::string>& languages) const {
  return mean_figure(comparison.arm->baseline, *comparison.target, languages);
}

Measured StudyFigures::gain(const Comparison& comparison, const std::vector<std::string>& languages) const {
  const Measured arm = figure(comparison, languages);
  const Measured base = baseline(comparison, languages);
  Measured gain = less(arm, base);
  gain.values = paired_differences(arm.values, base.values, !comparison.target->trained);
  return gain;
}

Measured StudyFigures::gap(const Comparison& comparison) const {
  const std::string& source = comparison.target->source_language;
  if (comparison.target->find(comparison.arm->label, source) == nullptr) return {};
  return less(figure(comparison, {source}), figure(comparison, languages(comparison)));
}

Measured StudyFigures::worst(const Comparison& comparison) const {
  const std::vector<std::string> all = languages(comparison);
  Measured worst = figure(comparison, all);
  for (auto& [seed, value] : worst.values) {
    for (const std::string& language : all) {
      const SeedValues* values = comparison.target->find(comparison.arm->label, language);
      if (const auto found = values->find(seed); found != values->end()) value = std::min(value, found->second);
    }
  }
  return worst;
}

Measured StudyFigures::losing(const Comparison& comparison) const {
  const std::vector<std::string> all = languages(comparison);
  std::vector<Measured> parts;
  for (const std::string& language : all) {
    parts.push_back(gain(comparison, {language}));
    for (auto& [seed, value] : parts.back().values) value = value < 0 ? 100 : 0;
  }
  return mean_of(parts);
}

bool StudyFigures::everywhere(const Comparison& comparison) const {
  return std::all_of(models_.begin(), models_.end(), [&](const std::string& model) {
    return std::any_of(comparisons_.begin(), comparisons_.end(), [&](const Comparison& other) {
      return other.arm->model == model && other.arm->intermediate == comparison.arm->intermediate &&
             other.target == comparison.target;
    });
  });
}

Measured StudyFigures::of_model(const std::string& model, const std::function<Measured(const Comparison&)>& measure,
                                const std::string& arm) const {
  std::vector<Measured> parts;
  for (const Comparison& comparison : comparisons_) {
    if (comparison.arm->model == model && (arm.empty() || comparison.arm->intermediate == arm) && everywhere(comparison))
      parts.push_back(measure(comparison));
  }
  return mean_of(parts);
}

Measured StudyFigures::slope(const std::function<Measured(const std::string& model)>& measure) const {
  Measured slope;
  std::vector<std::pair<double, Measured>> points;
  for (const std::string& model : models_) {
    const std::optional<double> size = log_parameters(model);
    if (!size.has_value()) continue;
    points.emplace_back(*size, measure(model));
    if (points.back().second.values.empty())
      points.pop_back();
    else
      slope.add_rows(points.back().second.rows);
  }
  if (points.size() < 2) return {};
  for (const auto& [seed, ignored] : points.front().second.values) {
    std::vector<double> x;
    std::vector<double> y;
    for (const auto& [size, measured] : points) {
      const auto value = measured.values.find(seed);
      if (value == measured.values.end()) continue;
      x.push_back(size);
      y.push_back(value->second);
    }
    if (x.size() != points.size()) continue;
    if (x.size() == 2)
      slope.values[seed] = (y[1] - y[0]) / (x[1] - x[0]);
    else if (const Line line = fit_line(x, y); line.slope.count > 0)
      slope.values[seed] = line.slope.value;
  }
  return slope;
}

}  // namespace koine
