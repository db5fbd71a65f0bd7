#include "tasks/experiment/outcome.h"

#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/files/text_file.h"

namespace koine {

using nlohmann::json;

namespace {

struct LayerFigures {
  std::optional<std::int64_t> layer;
  std::map<std::string, double> metrics;
};

/// The figures of one language: the headline's, behind them those of the other layers.
std::vector<LayerFigures> figures_of(const json& record) {
  std::vector<LayerFigures> figures(1);
  figures[0].metrics = record.at("metrics").get<std::map<std::string, double>>();
  if (record.contains("layer")) figures[0].layer = record.at("layer").get<std::int64_t>();
  for (const json& layer : record.value("layers", json::array())) {
    const auto number = layer.at("layer").get<std::int64_t>();
    if (figures[0].layer == number) continue;
    figures.push_back({number, layer.at("metrics").get<std::map<std::string, double>>()});
  }
  return figures;
}

ResultRow common_row(const RunOutcome& outcome, const PlannedPhase& phase) {
  const TargetSpec& target = outcome.plan.experiment.targets[phase.target];
  ResultRow row;
  row.model = outcome.plan.experiment.model.name;
  row.intermediate = outcome.plan.experiment.intermediate[phase.arm].name;
  row.target = target.name;
  if (target.name != target.task) row.task = target.task;
  if (target.split != "test") row.split = target.split;
  row.seed = phase.seed;
  return row;
}

/// Of a training's record; nothing where it was not measured, as by programs that did not.
std::optional<double> joules_of(const json& training) {
  const json joules = training.value("joules", json());
  return joules.is_number() ? std::optional<double>(joules.get<double>()) : std::nullopt;
}

}  // namespace

void add_rows(std::vector<ResultRow>& rows, const ResultRow& common, const json& end_mark) {
  const json training_left_out = end_mark.at("training").value("left_out", json::object());
  const json training_truncated = end_mark.at("training").value("truncated", json::object());
  for (const std::string& language : end_mark.at("order").get<std::vector<std::string>>()) {
    const json& record = end_mark.at("languages").at(language);
    for (const auto& [layer, metrics] : figures_of(record)) {
      for (const auto& [metric, value] : metrics) {
        ResultRow row = common;
        row.language = language;
        row.metric = metric;
        row.value = value;
        row.layer = layer;
        row.examples = record.at("examples");
        row.tokens = record.at("tokens");
        row.seconds = record.at("seconds");
        if (record.contains("flops")) row.flops = record.at("flops").get<double>();
        if (record.contains("joules")) row.joules = record.at("joules").get<double>();
        row.left_out = record.value("left_out", std::int64_t{0});
        for (const json& left_out : training_left_out) row.left_out += left_out.at("count").get<std::int64_t>();
        if (record.contains("collapsed")) row.collapsed = record.at("collapsed").get<Collapse>();
        if (record.contains("unreadable")) row.unreadable = record.at("unreadable").get<std::int64_t>();
        if (record.contains("other_script")) row.other_script = record.at("other_script").get<std::int64_t>();
        if (record.contains("truncated")) row.truncated = record.at("truncated").get<Truncation>();
        for (const json& cut : training_truncated) row.training_truncated.append(cut.get<Truncation>());
        rows.push_back(row);
      }
    }
  }
}

void add_result(RunOutcome& outcome, const PlannedPhase& phase, const json& end_mark) {
  if (phase.evaluation.has_value()) add_rows(outcome.rows, common_row(outcome, phase), end_mark);
  const json& training = end_mark.value("training", json::object());
  if (!training.contains("tokens")) return;
  PhaseCost cost;
  cost.phase = phase.folder.string();
  cost.steps = training.at("steps");
  cost.tokens = training.at("tokens");
  cost.seconds = training.at("seconds");
  cost.flops = training.at("flops");
  cost.joules = joules_of(training);
  if (training.contains("tasks")) {
    cost.tasks = task_lines(training.at("tasks"));
    cost.task_record = training.at("tasks").dump();
  }
  for (const json& attempt : training.value("collapsed_attempts", json::array())) {
    cost.tokens += attempt.at("tokens").get<std::int64_t>();
    cost.seconds += attempt.at("seconds").get<double>();
    cost.flops += attempt.at("flops").get<double>();
    const std::optional<double> more = joules_of(attempt);
    cost.joules = cost.joules && more ? std::optional<double>(*cost.joules + *more) : std::nullopt;
  }
  cost.left_out = left_out_lines(training.value("left_out", json::object()));
  cost.guards = guard_lines(training);
  outcome.costs.push_back(cost);
}

ReportDetails report_details(const RunOptions& options, const RunOutcome& outcome) {
  const Experiment& experiment = outcome.plan.experiment;
  ReportDetails details;
  details.source_language = experiment.source_language;
  for (const PlannedPhase& phase : outcome.plan.phases) {
    if (!phase.evaluation.has_value()) continue;
    const IntermediateSpec& arm = experiment.intermediate[phase.arm];
    if (details.baseline.empty() && arm.tasks.empty() && !arm.start_fresh) details.baseline = arm.name;
    const Task& task = *phase.evaluation->task;
    if (const double chance = task.chance(); chance > 0) details.chance[experiment.targets[phase.target].name] = chance;
  }
  if (experiment.generated.has_value()) {
    for (const DemoLanguage& language : demo_languages()) details.language_names[language.code] = language.name;
    details.introduction =
        "The languages are artificial, made by the program; \"" + experiment.source_language +
        "\" is the one all training sets are in. Scores say what the method does, not how well it works on real languages.";
  }
  PhaseCost all;
  for (const PhaseCost& cost : outcome.costs) {
    all.tokens += cost.tokens;
    all.seconds += cost.seconds;
    all.flops += cost.flops;
  }
  details.provenance = {{"experiment", experiment.name},
                        {"program", options.program},
                        {"precision", name_of(options.execution.precision)},
                        {"trainings", std::to_string(outcome.costs.size())},
                        {"training tokens", std::to_string(all.tokens)},
                        {"training seconds", std::to_string(static_cast<std::int64_t>(all.seconds))},
                        {"training TFLOPs", std::to_string(static_cast<std::int64_t>(all.flops * 1e-12))}};
  return details;
}

void write_outcome(const RunOptions& options, const RunOutcome& outcome) {
  write_results(options.output / "results.json", outcome.rows);
  json costs = json::array();
  for (const PhaseCost& cost : outcome.costs) {
    costs.push_back({{"phase", cost.phase},
                     {"steps", cost.steps},
                     {"tokens", cost.tokens},
                     {"seconds", cost.seconds},
                     {"flops", cost.flops},
                     {"joules", cost.joules ? json(*cost.joules) : json(nullptr)},
                     {"tasks", cost.task_record.empty() ? json::object() : json::parse(cost.task_record)},
                     {"left_out", cost.left_out},
                     {"guards", cost.guards}});
  }
  write_file_atomically(options.output / "costs.json", costs.dump(1) + "\n");
  if (outcome.rows.empty()) return;
  write_report(options.output / "report.html", outcome.plan.experiment.name, outcome.rows, report_details(options, outcome));
}

}  // namespace koine
