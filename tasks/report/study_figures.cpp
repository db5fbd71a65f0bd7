#include "tasks/report/study_figures.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>

#include "kernels/common/check.h"

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

void Measured::add_behind(const Measured& other) {
  add_rows(other.rows);
  examples.insert(other.examples.begin(), other.examples.end());
}

Estimate Measured::over_examples() const {
  std::int64_t count = 0;
  for (const auto& [set, number] : examples) count += number;
  if (values.empty() || count < kFewestExamples) return {};
  std::vector<double> mean(static_cast<std::size_t>(kResamples), 0.0);
  for (const auto& [seed, value] : values) {
    const auto found = drawn.find(seed);
    if (found == drawn.end()) return {};
    for (std::size_t i = 0; i < mean.size(); ++i) mean[i] += found->second[i] / static_cast<double>(values.size());
  }
  return drawn_estimate(spread_of(values).mean, count, std::move(mean));
}

Measured mean_of(const std::vector<Measured>& parts) {
  Measured mean;
  std::map<std::uint32_t, std::size_t> seen;
  std::map<std::uint32_t, std::size_t> seen_drawn;
  std::size_t counted = 0;
  for (const Measured& part : parts) {
    if (part.values.empty()) continue;
    ++counted;
    for (const auto& [seed, value] : part.values) {
      mean.values[seed] += value;
      ++seen[seed];
    }
    for (const auto& [seed, draws] : part.drawn) {
      std::vector<double>& sum = mean.drawn[seed];
      sum.resize(draws.size());
      for (std::size_t i = 0; i < draws.size(); ++i) sum[i] += draws[i];
      ++seen_drawn[seed];
    }
    mean.add_behind(part);
  }
  std::erase_if(mean.values, [&](const auto& entry) { return seen[entry.first] != counted; });
  std::erase_if(mean.drawn, [&](const auto& entry) { return seen_drawn[entry.first] != counted; });
  for (auto& [seed, value] : mean.values) value /= static_cast<double>(counted);
  for (auto& [seed, draws] : mean.drawn) {
    for (double& value : draws) value /= static_cast<double>(counted);
  }
  return mean;
}

Measured less(const Measured& values, const Measured& others, bool single_for_all) {
  Measured difference;
  difference.values = paired_differences(values.values, others.values, single_for_all);
  difference.add_behind(values);
  difference.add_behind(others);
  // As paired_differences: a single figure of what does not depend on the seed is that of every seed.
  const auto draws_of = [](const Measured& measured, std::uint32_t seed) {
    const auto found = measured.drawn.find(seed);
    return found == measured.drawn.end() && measured.values.size() == 1 ? measured.drawn.begin() : found;
  };
  for (const auto& [seed, ignored] : difference.values) {
    const auto one = draws_of(values, seed);
    const auto other = draws_of(others, seed);
    if (one == values.drawn.end() || other == others.drawn.end()) continue;
    std::vector<double>& draws = difference.drawn[seed];
    for (std::size_t i = 0; i < one->second.size(); ++i) draws.push_back(one->second[i] - other->second[i]);
  }
  return difference;
}

Measured combined(const std::vector<std::pair<double, Measured>>& parts) {
  Measured sum;
  if (parts.empty()) return sum;
  const auto everywhere = [&](std::uint32_t seed, bool drawn) {
    return std::all_of(parts.begin(), parts.end(), [&](const auto& part) {
      return drawn ? part.second.drawn.contains(seed) : part.second.values.contains(seed);
    });
  };
  for (const auto& [seed, ignored] : parts.front().second.values) {
    if (!everywhere(seed, false)) continue;
    const bool drawn = everywhere(seed, true);
    std::vector<double> draws(drawn ? static_cast<std::size_t>(kResamples) : 0, 0.0);
    for (const auto& [factor, part] : parts) {
      sum.values[seed] += factor * part.values.at(seed);
      for (std::size_t i = 0; i < draws.size(); ++i) draws[i] += factor * part.drawn.at(seed)[i];
    }
    if (drawn) sum.drawn[seed] = std::move(draws);
  }
  for (const auto& [factor, part] : parts) sum.add_behind(part);
  return sum;
}

StudyFigures::StudyFigures(const StudyInput& input, bool all_languages)
    : input_(input),
      all_languages_(all_languages),
      summary_(summarise(input.rows, input.baseline, input.source_language)),
      examples_(input.outcomes, input.source_language) {
  for (const Arm& arm : summary_.arms) arms_[arm.label] = &arm;
  for (const Arm& arm : summary_.arms) {
    if (std::find(models_.begin(), models_.end(), arm.model) == models_.end()) models_.push_back(arm.model);
  }
  const auto size = [&](const std::string& model) { return log_parameters(model).value_or(INFINITY); };
  std::stable_sort(models_.begin(), models_.end(),
                   [&](const std::string& a, const std::string& b) { return size(a) < size(b); });
  for (const std::string& model : models_) {
    for (const TargetSummary& target : summary_.targets) {
      for (const Arm& arm : summary_.arms) {
        if (target.headline && target.metric != kAlignmentMetric && arm.model == model && arm.label != arm.baseline &&
            target.values.contains(arm.label) && target.values.contains(arm.baseline))
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
    parts.emplace_back();
    if (examples_.metric(target.target) == target.metric)
      parts.back() = example_measure(ExampleMeasure::kFigure, *arms_.at(arm), target, language);
    parts.back().values = *values;
    const auto rows = rows_.find({arm, target.target, target.metric, language});
    if (rows != rows_.end()) parts.back().rows = rows->second;
  }
  return mean_of(parts);
}

Measured StudyFigures::example_measure(ExampleMeasure measure, const Arm& arm, const TargetSummary& target,
                                       const std::string& language) const {
  Measured measured;
  const auto* seeds = examples_.find({measure, arm.model, arm.intermediate, target.target, language});
  if (seeds == nullptr) return measured;
  for (const auto& [seed, figure] : *seeds) {
    measured.values[seed] = figure.value;
    measured.drawn[seed] = figure.drawn;
  }
  measured.examples.insert(examples_.set_of(target.target, language));
  for (const std::string& one : {language, target.source_language}) {
    const auto rows = rows_.find({arm.label, target.target, target.metric, one});
    if (rows != rows_.end()) measured.add_rows(rows->second);
  }
  return measured;
}

Measured StudyFigures::figure(const Comparison& comparison, const std::vector<std::string>& languages) const {
  return mean_figure(comparison.arm->label, *comparison.target, languages);
}

Measured StudyFigures::baseline(const Comparison& comparison, const std::vector<std::string>& languages) const {
  return mean_figure(comparison.arm->baseline, *comparison.target, languages);
}

Measured StudyFigures::gain(const Comparison& comparison, const std::vector<std::string>& languages) const {
  return less(figure(comparison, languages), baseline(comparison, languages), !comparison.target->trained);
}

std::string StudyFigures::interval_words() const {
  const bool one_seed =
      std::all_of(comparisons_.begin(), comparisons_.end(), [&](const Comparison& c) { return gain(c).values.size() < 2; });
  return one_seed && !examples().empty() ? "95 % intervals over test examples (one seed)" : "95 % intervals over seeds";
}

Measured StudyFigures::gap(const Comparison& comparison) const {
  const std::string& source = comparison.target->source_language;
  if (comparison.target->find(comparison.arm->label, source) == nullptr) return {};
  return less(figure(comparison, {source}), figure(comparison, languages(comparison)));
}

Measured StudyFigures::worst(const Comparison& comparison) const {
  const std::vector<std::string> all = languages(comparison);
  Measured worst = figure(comparison, all);
  worst.drawn.clear();  // the lowest of drawn figures lies below what it stands for, here and in losing()
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
    parts.back().drawn.clear();
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
  std::vector<std::pair<double, Measured>> points;
  double mean = 0;
  for (const std::string& model : models_) {
    const std::optional<double> size = log_parameters(model);
    if (!size.has_value()) continue;
    Measured measured = measure(model);
    if (measured.values.empty()) continue;
    mean += *size;
    points.emplace_back(*size, std::move(measured));
  }
  if (points.size() < 2) return {};
  mean /= static_cast<double>(points.size());
  double squares = 0;
  for (const auto& [size, measured] : points) squares += (size - mean) * (size - mean);
  if (squares == 0) return {};
  // Least squares: the sum of (x - mean) y / sum of (x - mean)^2; the same of y less the first model's.
  std::vector<std::pair<double, Measured>> parts;
  for (std::size_t i = 1; i < points.size(); ++i)
    parts.emplace_back((points[i].first - mean) / squares, less(points[i].second, points[0].second));
  return combined(parts);
}

}  // namespace koine
