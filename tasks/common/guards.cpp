#include "tasks/common/guards.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "kernels/common/check.h"

namespace koine {

std::optional<Collapse> find_collapse(const ClassCounts& gold, const ClassCounts& answers) {
  Collapse collapse;
  for (const auto& [label, count] : answers) {
    collapse.total += count;
    if (count <= collapse.predicted) continue;
    collapse.label = label;
    collapse.predicted = count;
  }
  if (const auto found = gold.find(collapse.label); found != gold.end()) collapse.gold = found->second;
  const auto total = static_cast<double>(collapse.total);
  if (collapse.total < kFewestAnswers || static_cast<double>(collapse.predicted) < kCollapsedShare * total ||
      static_cast<double>(collapse.gold) > kOneSidedGoldShare * total) {
    return std::nullopt;
  }
  return collapse;
}

std::string describe(const Collapse& collapse) {
  return concatenate(collapse.predicted, " of ", collapse.total, " answers are \"", collapse.label, "\", ", collapse.gold,
                     " of the gold labels: collapsed to one class");
}

void Truncation::add(std::int64_t lost, bool of_target) {
  ++total;
  if (lost <= 0) return;
  ++examples;
  targets += of_target ? 1 : 0;
  pieces += lost;
}

void Truncation::append(const Truncation& more) {
  maximum_length = std::max(maximum_length, more.maximum_length);
  total += more.total;
  examples += more.examples;
  pieces += more.pieces;
  targets += more.targets;
}

std::string describe(const Truncation& truncation) {
  return concatenate(truncation.examples, " of ", truncation.total, " examples cut to ", truncation.maximum_length,
                     " tokens (", truncation.pieces, " pieces lost",
                     truncation.targets > 0 ? concatenate("; of ", truncation.targets, " the answer too") : "", ")");
}

void to_json(nlohmann::json& json, const Collapse& collapse) {
  json = {{"label", collapse.label}, {"predicted", collapse.predicted}, {"gold", collapse.gold}, {"total", collapse.total}};
}

void from_json(const nlohmann::json& json, Collapse& collapse) {
  json.at("label").get_to(collapse.label);
  json.at("predicted").get_to(collapse.predicted);
  json.at("gold").get_to(collapse.gold);
  json.at("total").get_to(collapse.total);
}

void to_json(nlohmann::json& json, const Truncation& truncation) {
  json = {{"maximum_length", truncation.maximum_length},
          {"total", truncation.total},
          {"examples", truncation.examples},
          {"pieces", truncation.pieces}};
  if (truncation.targets > 0) json["targets"] = truncation.targets;
}

void from_json(const nlohmann::json& json, Truncation& truncation) {
  json.at("maximum_length").get_to(truncation.maximum_length);
  json.at("total").get_to(truncation.total);
  json.at("examples").get_to(truncation.examples);
  json.at("pieces").get_to(truncation.pieces);
  truncation.targets = json.value("targets", std::int64_t{0});
}

}  // namespace koine
