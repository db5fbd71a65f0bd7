#include "tasks/experiment/evaluate.h"

#include <nlohmann/json.hpp>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/common/prediction.h"
#include "tasks/experiment/work_energy.h"

namespace koine {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

json to_json(const Evaluation& evaluation) {
  json record = {{"metric", evaluation.metric},     {"value", evaluation.value},   {"metrics", evaluation.metrics},
                 {"examples", evaluation.examples}, {"tokens", evaluation.tokens}, {"seconds", evaluation.seconds}};
  if (evaluation.layer.has_value()) record["layer"] = *evaluation.layer;
  if (evaluation.unreadable.has_value()) record["unreadable"] = *evaluation.unreadable;
  if (evaluation.other_script.has_value()) record["other_script"] = *evaluation.other_script;
  for (const auto& [layer, metrics] : evaluation.layers)
    record["layers"].push_back({{"layer", layer}, {"metrics", metrics}});
  return record;
}

/// "3 of 40 answers unreadable, 2 in another script than their text"; empty where there are none.
std::string text_answers_line(const Evaluation& result) {
  std::string line;
  const auto add = [&](const std::optional<std::int64_t>& count, const char* what) {
    if (count.value_or(0) == 0) return;
    line += concatenate(line.empty() ? "" : ", ", *count, " of ", result.examples, " answers ", what);
  };
  add(result.unreadable, "unreadable");
  add(result.other_script, "in another script than their text");
  return line;
}

/// FLOPs of the pass over a data set that gave `result`: with the model's first head, or, where hidden states were compared,
/// without one up to the last of them (all layers take the same).
double forward_flops(const Model& model, const Dataset& dataset, const Evaluation& result) {
  std::vector<std::int64_t> lengths;
  std::int64_t tokens = 0;
  std::int64_t targets = 0;
  for (const Example& example : dataset.examples) {
    lengths.push_back(static_cast<std::int64_t>(example.ids.size()));
    tokens += lengths.back();
    targets += std::ssize(example.target_ids);
  }
  if (result.layer.has_value() || !result.layers.empty()) {
    const std::int64_t last = result.layers.empty() ? *result.layer : result.layers.rbegin()->first;
    return static_cast<double>(last) / static_cast<double>(model.layers()) * model.forward_flops(lengths, -1, 0);
  }
  if (facts_of(dataset.head).of_target) return model.forward_flops(lengths, 0, targets);  // answers as long as the gold
  if (facts_of(dataset.head).in_batch) return model.forward_flops(lengths, 0, 0);         // vectors alone
  return model.forward_flops(lengths, 0, dataset.head == HeadKind::kToken ? tokens : dataset.groups());
}

/// Writes the table of the examples' outcomes; what the record says of it.
json keep_outcomes(const ExampleOutcomes& outcomes, const PlannedEvaluation& evaluation, const std::string& language,
                   const fs::path& folder) {
  const Task& task = *evaluation.task;
  const fs::path file = fs::path("outcomes") / submission_name(task.name(), evaluation.split, language, "tsv");
  const std::string table = example_table(outcomes);
  make_directory((folder / file).parent_path());
  write_file_atomically(folder / file, table);
  return {
      {"file", file.string()}, {"metric", outcomes.metric}, {"parallel", task.row().parallel}, {"xxh3", xxh3_hex(table)}};
}

}  // namespace

bool evaluate_languages(Model& model, const PlannedEvaluation& evaluation, const fs::path& data, const Tokenizer& tokenizer,
                        const fs::path& folder, const RunOptions& options, json& evaluations) {
  const fs::path file = folder / "evaluations.json";
  json records = fs::exists(file) ? read_json(file) : json::object();
  for (const std::string& language : evaluation.languages) {
    if (!records.contains(language)) {
      EvaluationOptions evaluation_options = evaluation.options;
      evaluation_options.stop = options.stop;
      evaluation_options.ranks = options.execution.communicator;
      const std::unique_ptr<TrainingObserver> progress = options.progress ? options.progress() : nullptr;
      if (progress != nullptr) {
        evaluation_options.progress = [&](std::int64_t done, std::int64_t total) {
          progress->on_evaluating(evaluation.task->name() + " " + language, done, total);
        };
      }
      const std::unique_ptr<TaskData> examples =
          evaluation.task->load(data, evaluation.split, language, tokenizer, evaluation.features);
      Evaluation result;
      std::optional<double> joules;
      try {
        WorkEnergy energy(options);
        result = examples->evaluate(model, evaluation_options);
        if (progress != nullptr) progress->on_end();
        joules = energy.joules();
      } catch (const Interrupted&) {
        return false;
      }
      if (!result.prediction_file.empty()) {
        const fs::path predictions = folder / "predictions" / result.prediction_file;
        make_directory(predictions.parent_path());
        write_file_atomically(predictions, result.prediction_content);
      }
      records[language] = to_json(result);
      if (!result.outcomes.metric.empty())
        records[language]["outcomes"] = keep_outcomes(result.outcomes, evaluation, language, folder);
      if (const LeftOut left_out = examples->left_out(); left_out.count > 0) {
        records[language]["left_out"] = left_out.count;
        options.message(concatenate("  ", evaluation.task->name(), " ", evaluation.split, " ", language, ": ",
                                    left_out.count, " of ", left_out.total, " ", left_out.what));
      }
      const std::string what = concatenate("  ", evaluation.task->name(), " ", evaluation.split, " ", language, ": ");
      if (const Truncation truncation = examples->truncation(); truncation.examples > 0) {
        records[language]["truncated"] = truncation;
        options.message(what + describe(truncation));
      }
      if (const std::string line = text_answers_line(result); !line.empty()) options.message(what + line);
      if (result.collapse.has_value()) {
        records[language]["collapsed"] = *result.collapse;
        options.message(what + describe(*result.collapse));
      }
      records[language]["flops"] = forward_flops(model, examples->dataset(), result);
      if (joules.has_value()) records[language]["joules"] = *joules;
      write_file_atomically(file, records.dump(2) + "\n");
      options.message(concatenate("  ", evaluation.task->name(), " ", language, " ", result.metric, " ", result.value,
                                  result.layer.has_value() ? concatenate(", layer ", *result.layer) : ""));
    }
    evaluations[language] = records[language];
  }
  return true;
}

}  // namespace koine
