// koine estimate

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/common/check.h"
#include "kernels/cuda/runtime.h"
#include "tasks/experiment/estimate.h"
#include "tools/koine/commands.h"

namespace koine {

namespace {

struct EstimateArguments {
  std::string experiment;
  std::string data;
  std::string model;
  std::string model_size;
  std::string head = "sequence";
  std::int64_t max_tokens = 4096;
  bool prediction = false;
  double product_rate = 0;  ///< TFLOP/s; 0: measured
};

/// Labels that a head of this kind is planned with: udpos has 17, MNLI 3.
std::int64_t planned_labels(const HeadFacts& head) { return head.labels == LabelPlace::kToken ? 17 : 3; }

HeadSpec head_of(const std::string& name, const ModelConfig& config) {
  for (const HeadFacts& head : all_heads()) {
    if (head.name == name) return {"", head.kind, head.classes(planned_labels(head), config.vocab_size)};
  }
  fail_user("--head ", name, ": there is no such head");
}

std::vector<std::string> head_names() {
  std::vector<std::string> names;
  for (const HeadFacts& head : all_heads()) names.emplace_back(head.name);
  return names;
}

double total_memory(const MemoryQuestion& question) { return estimate_memory(question).back().bytes; }

std::string memory_table(const MemoryQuestion& question) {
  std::vector<std::vector<std::string>> rows = {{"memory", "size"}};
  for (const MemoryLine& entry : estimate_memory(question)) rows.push_back({entry.name, format_bytes(entry.bytes)});
  return format_table(rows);
}

/// Share of the product rate that whole steps are assumed to reach in the times shown.
constexpr double kAssumedShare = 0.7;

std::string model_summary(const ModelConfig& config, const std::vector<HeadSpec>& heads) {
  return concatenate(config.num_hidden_layers, " layers of ", config.hidden_size, ", ", format_count(config.vocab_size),
                     " embedding rows, ", format_count(model_parameter_table(config, heads).parameters()),
                     " parameters\n\n");
}

/// FLOP/s of products: as given, or measured on the device that is planned for. NaN where that is not here.
double product_rate(const EstimateArguments& arguments, const Execution& execution, const ModelConfig& config,
                    std::int64_t tokens) {
  if (arguments.product_rate > 0) return arguments.product_rate * 1e12;
  if (execution.device == Device::kCpu) {
    return measure_product_rate(execution.precision, execution.forced_variants, std::min<std::int64_t>(tokens, 4096),
                                config.intermediate_size, config.hidden_size);
  }
  const bool here = !cuda::on_host() && execution.device_index < cuda::device_count();
  if (!here) return std::numeric_limits<double>::quiet_NaN();
  use_device(execution);
  return measure_device_product_rate(execution.precision, execution.forced_variants);
}

std::string rate_text(double rate, DType precision) {
  if (std::isnan(rate)) return "not measured: the device is not here (give --product-rate)";
  return concatenate(format_number(rate * 1e-9, 0), " GFLOP/s in ", name_of(precision));
}

std::string time_text(double seconds) { return std::isnan(seconds) ? "?" : format_seconds(seconds); }

int estimate_model(const EstimateArguments& arguments, const CommonOptions& common) {
  const ModelConfig config =
      arguments.model_size.empty() ? read_model_config(arguments.model) : published_model_config(arguments.model_size);
  const Execution execution = planned_execution(common);
  const HeadSpec head = head_of(arguments.head, config);
  const bool training = !arguments.prediction;
  print(model_summary(config, {head}));
  constexpr std::int64_t kLength = 128;
  const std::vector<std::int64_t> lengths(
      static_cast<std::size_t>(std::max<std::int64_t>(arguments.max_tokens / kLength, 1)),
      std::min(kLength, arguments.max_tokens));
  const auto tokens = static_cast<double>(lengths.front()) * static_cast<double>(lengths.size());
  const auto counted = static_cast<std::int64_t>(0.15 * tokens);  // of a masked batch
  const double flops = (training ? 3 : 1) * model_forward_flops(config, &head, lengths, counted);
  const double rate = product_rate(arguments, execution, config, arguments.max_tokens);
  MemoryQuestion question{config, {head}, execution, training, arguments.max_tokens};
  question.keeps_best = training;
  question.from_file = true;
  question.resident_bytes = resident_memory();
  print(memory_table(question) + "(without tokenizer and data)\n\n");
  print(format_table(
      {{""},
       {training ? "training" : "prediction", concatenate("on sequences of ", kLength, " tokens")},
       {"FLOPs per token", format_number(flops / tokens * 1e-9, 3) + " G"},
       {"product rate", rate_text(rate, execution.precision)},
       {"tokens per second", std::isnan(rate) ? "?"
                                              : format_number(kAssumedShare * rate / (flops / tokens), 1) + " at " +
                                                    format_number(100 * kAssumedShare, 0) + " % of it"}}));
  return 0;
}

int estimate_run(const EstimateArguments& arguments, const CommonOptions& common) {
  Experiment experiment = read_experiment(arguments.experiment, arguments.data);
  const Execution execution = planned_execution(common, experiment.precision);
  const ExperimentEstimate estimate = estimate_experiment(std::move(experiment));
  const ModelConfig& config = estimate.plan.config;
  const std::vector<MemoryQuestion> questions = memory_questions(estimate.plan, execution, estimate.phases);
  MemoryQuestion largest =
      *std::max_element(questions.begin(), questions.end(),
                        [](const MemoryQuestion& a, const MemoryQuestion& b) { return total_memory(a) < total_memory(b); });
  const double rate = kAssumedShare * product_rate(arguments, execution, config, largest.tokens);
  largest.resident_bytes = estimate.resident_bytes;
  print(model_summary(config, largest.heads));
  print(memory_table(largest) + "\n");

  std::vector<std::vector<std::string>> rows = {{"phase", "runs", "steps", "tokens", "TFLOPs", "time here"}};
  double all_tokens = 0;
  double all_flops = 0;
  bool complete = true;
  for (const PhaseEstimate& phase : estimate.phases) {
    if (!phase.missing.empty()) {
      rows.push_back({phase.label, std::to_string(phase.runs), "?", "?", "?", "? " + phase.missing});
      complete = false;
      continue;
    }
    const auto runs = static_cast<double>(phase.runs);
    rows.push_back({phase.label, std::to_string(phase.runs), format_count(phase.steps),
                    format_count(static_cast<std::int64_t>(phase.tokens)), format_number(phase.flops * 1e-12, 2),
                    time_text(phase.flops / rate)});
    all_tokens += runs * phase.tokens;
    all_flops += runs * phase.flops;
  }
  rows.push_back({complete ? "all" : "all known", "", "", format_count(static_cast<std::int64_t>(all_tokens)),
                  format_number(all_flops * 1e-12, 2), time_text(all_flops / rate)});
  print(format_table(rows));
  for (const PhaseEstimate& phase : estimate.phases) {
    if (!phase.tasks.empty()) print(concatenate("\n", phase.label, ": ", phase.tasks, " of the steps"));
  }
  print(concatenate("\nOne run each, without early stopping; the last line counts all runs. Times: ",
                    format_number(100 * kAssumedShare, 0), " % of the product rate (",
                    rate_text(rate / kAssumedShare, execution.precision), ").\n"));
  return 0;
}

}  // namespace

void add_estimate_command(CommandLine& line) {
  auto arguments = std::make_shared<EstimateArguments>();
  CLI::App* app = line.add("estimate", "Memory, FLOPs, tokens and time before a run", [&line, arguments] {
    if (!line.common.device.starts_with("cuda")) apply(line.common);
    const int given = (arguments->experiment.empty() ? 0 : 1) + (arguments->model.empty() ? 0 : 1) +
                      (arguments->model_size.empty() ? 0 : 1);
    require(given == 1, "give one of: an experiment file, --model DIR, --model-size base|large|xl|xxl");
    return arguments->experiment.empty() ? estimate_model(*arguments, line.common) : estimate_run(*arguments, line.common);
  });
  app->add_option("experiment", arguments->experiment, "experiment file");
  line.take_task_files(*app);
  app->add_option("--data", arguments->data, "folder of the data sets");
  app->add_option("--model", arguments->model, "transformers directory (its config.json)");
  app->add_option("--model-size", arguments->model_size, "base, large, xl or xxl");
  app->add_option("--head", arguments->head, "the head that is planned")
      ->check(CLI::IsMember(head_names()))
      ->capture_default_str();
  app->add_option("--max-tokens", arguments->max_tokens, "tokens in memory at a time")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app->add_option("--product-rate", arguments->product_rate, "TFLOP/s of products to assume; default: measured")
      ->check(CLI::PositiveNumber);
  app->add_flag("--prediction", arguments->prediction, "memory of prediction instead of training");
}

}  // namespace koine
