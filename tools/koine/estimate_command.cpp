// koine estimate

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/files/text_file.h"
#include "engine/settings/setting_keys.h"
#include "kernels/common/check.h"
#include "kernels/cuda/runtime.h"
#include "tasks/experiment/checks.h"
#include "tasks/experiment/device_kinds.h"
#include "tasks/experiment/estimate.h"
#include "tasks/experiment/selection.h"
#include "tasks/experiment/study_cost.h"
#include "tools/koine/commands.h"

namespace koine {

namespace fs = std::filesystem;

namespace {

struct EstimateArguments {
  std::vector<std::string> experiments;
  std::string data;
  std::string model;
  std::string model_size;
  std::string head;  ///< empty: the sequence head, of an encoder-decoder the one it has
  std::string optimizer = name_of(OptimizerKind::kAdamW);
  std::string master = name_of(MasterKind::kFloat32);
  std::int64_t ranks = 1;
  std::int64_t zero = 0;
  std::int64_t gradient_parts = -1;
  bool recompute = false;
  bool ways_of_state = false;
  std::string output;
  std::int64_t max_tokens = 4096;
  bool prediction = false;
  bool details = false;
  double product_rate = 0;  ///< TFLOP/s; 0: measured
  std::string device_kind;
  std::string device_memory;
  double watts = 0;  ///< 0: those of the kind
  double price = 0;
  std::int64_t examples = 0;
  double epochs = 1;
  std::int64_t length = 128;
  std::int64_t target_length = 32;  ///< of text-to-text examples
};

/// Labels that a head of this kind is planned with: udpos has 17, MNLI 3.
std::int64_t planned_labels(const HeadFacts& head) { return head.labels == LabelPlace::kToken ? 17 : 3; }

HeadSpec head_of(const std::string& asked, const ModelConfig& config) {
  const HeadKind usual = config.encoder_decoder.decoder_layers > 0 ? HeadKind::kTextToText : HeadKind::kSequence;
  const std::string name = asked.empty() ? std::string(facts_of(usual).name) : asked;
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

/// Activations in two rows, those of the blocks and the others; with `details` each by its name.
std::string memory_table(const MemoryQuestion& question, bool details) {
  std::vector<std::vector<std::string>> rows = {{"memory", "size"}};
  double blocks = 0;
  double others = 0;
  const auto flush = [&] {
    if (blocks > 0)
      rows.push_back({concatenate("activations of ", question.config.num_hidden_layers, " blocks"), format_bytes(blocks)});
    if (others > 0) rows.push_back({"activations outside them", format_bytes(others)});
    blocks = others = 0;
  };
  for (const MemoryLine& entry : estimate_memory(question)) {
    if (!details && entry.name.starts_with("activations: ")) {
      (entry.name.starts_with("activations: blocks: ") ? blocks : others) += entry.bytes;
      continue;
    }
    flush();
    rows.push_back({entry.name, format_bytes(entry.bytes)});
  }
  return format_table(rows);
}

/// The memory a run may take: of the kind of device that is named, the device that is planned for, or this machine.
struct Room {
  std::string name;
  double bytes = 0;
};
Room room_of_device(const std::string& name, double bytes) {
  return {name + ", less 1 GiB for its context", bytes - kDeviceReserve};
}

std::optional<Room> room_of(const EstimateArguments& arguments, const Execution& execution) {
  if (!arguments.device_memory.empty())
    return room_of_device("--device-memory", parse_bytes(arguments.device_memory, "--device-memory"));
  if (!arguments.device_kind.empty()) {
    const DeviceKind& kind = device_kind(arguments.device_kind);
    return room_of_device(std::string(kind.name), kind.memory_mib * 1024 * 1024);
  }
  if (execution.device == Device::kCpu) return Room{"this machine", physical_memory()};
  return std::nullopt;
}

/// Whether it fits, and what would.
std::string fit_text(const MemoryQuestion& question, const Room& room) {
  const double needed = total_memory(question);
  std::string text = concatenate(needed <= room.bytes ? "fits" : "does not fit", ": ", format_bytes(needed), " of ",
                                 format_bytes(room.bytes), " (", room.name, ")\n");
  const std::int64_t most = largest_token_budget(question, room.bytes);
  return text + (most == 0 ? "no number of tokens fits: weights and optimizer alone are too large\n"
                           : concatenate("most tokens in memory at a time that fit: ", format_count(most), "\n"));
}

constexpr int kDevices[] = {1, 2, 4, 8};

/// A way to keep weights and moments, and what a device needs then, alone and as one of several that share them out.
struct WayOfState {
  std::string optimizer;
  std::string master;
  std::vector<double> bytes;  ///< of each of kDevices
};

std::vector<WayOfState> ways_of_state(MemoryQuestion question) {
  const std::int64_t sharing = std::max<std::int64_t>(question.zero, 1);
  const bool mixed = question.execution.precision == DType::kBFloat16;
  std::vector<WayOfState> ways;
  for (std::size_t optimizer = 0; optimizer < optimizer_names().size(); ++optimizer) {
    for (std::size_t master = 0; master < (mixed ? master_names().size() : 1); ++master) {
      question.optimizer = static_cast<OptimizerKind>(optimizer);
      question.master = static_cast<MasterKind>(master);
      const bool splits = question.optimizer == OptimizerKind::kAdamW || question.optimizer == OptimizerKind::kAdamW8Bit;
      if (!splits && question.master != MasterKind::kFloat32) continue;
      WayOfState& way = ways.emplace_back(WayOfState{optimizer_names()[optimizer], master_names()[master], {}});
      for (const int devices : kDevices) {
        question.ranks = devices;
        question.zero = splits ? sharing : 0;
        question.gradient_parts = devices == 1 ? 0 : devices;
        way.bytes.push_back(total_memory(question));
      }
    }
  }
  return ways;
}

std::string ways_of_state_table(const std::vector<WayOfState>& ways, std::int64_t zero, const std::optional<Room>& room) {
  std::vector<std::vector<std::string>> rows = {{"optimizer, master"}};
  for (const int devices : kDevices) rows[0].push_back(concatenate("of ", devices));
  for (const WayOfState& way : ways) {
    std::vector<std::string>& row = rows.emplace_back(1, way.optimizer + ", " + way.master);
    for (const double bytes : way.bytes)
      row.push_back(format_bytes(bytes) + (room.has_value() && bytes > room->bytes ? " too much" : ""));
  }
  std::string text = format_table(rows) + "(memory of one device, gradient_parts = the number of devices";
  text += concatenate(", zero = ", std::max<std::int64_t>(zero, 1), " under adamw and adamw_8bit)\n");
  if (room.has_value()) text += concatenate("there are ", format_bytes(room->bytes), " (", room->name, ")\n");
  return text;
}

/// For tables of documents.
nlohmann::json ways_of_state_json(const std::vector<WayOfState>& ways, const EstimateArguments& arguments,
                                  const MemoryQuestion& question, const std::optional<Room>& room) {
  nlohmann::json json = {{"model", arguments.model_size.empty() ? arguments.model : arguments.model_size},
                         {"precision", name_of(question.execution.precision)},
                         {"tokens", question.tokens},
                         {"recompute", question.recompute},
                         {"zero", std::max<std::int64_t>(question.zero, 1)},
                         {"devices", kDevices}};
  if (room.has_value()) json["room"] = {{"name", room->name}, {"bytes", room->bytes}};
  for (const WayOfState& way : ways)
    json["ways"].push_back({{"optimizer", way.optimizer}, {"master", way.master}, {"bytes", way.bytes}});
  return json;
}

HourlyCost hourly_cost(const EstimateArguments& arguments) {
  const double known = arguments.device_kind.empty() ? 0 : device_kind(arguments.device_kind).watts;
  return {arguments.watts > 0 ? arguments.watts : known, arguments.price};
}

/// "12.3 device-hours, 13.4 kWh, 49.2 at 4 an hour", and what that assumes; empty where neither is asked for.
std::string cost_text(const HourlyCost& cost, double seconds) {
  if (std::isnan(seconds) || (cost.watts == 0 && cost.price == 0)) return "";
  const double hours = seconds / 3600;
  std::string text = concatenate("\n", format_number(hours, 2), " device-hours");
  if (cost.watts > 0) text += concatenate(", ", format_number(kilowatt_hours(cost, hours), 2), " kWh");
  if (cost.price > 0) text += concatenate(", ", format_number(cost.price * hours, 2), " at ", cost.price, " an hour");
  if (cost.watts > 0)
    text +=
        concatenate("\n(energy: ", format_number(100 * kShareOfPowerLimit, 0), " % of ", cost.watts, " W and ", kHostWatts,
                    " W of the host, times ", kPowerUsageEffectiveness, " for cooling; assumed, not measured)");
  return text + "\n";
}

/// Planned for the kind of device that is named, here or not.
CommonOptions planned_for(const EstimateArguments& arguments, CommonOptions common) {
  if ((!arguments.device_kind.empty() || !arguments.device_memory.empty()) && common.device == "auto")
    common.device = "cuda";
  return common;
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
  if (!arguments.device_kind.empty() && execution.precision == DType::kBFloat16) {
    const double measured = device_kind(arguments.device_kind).tflops;
    if (measured > 0) return measured * 1e12;
  }
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
  return concatenate(format_number(rate * 1e-12, rate < 1e13 ? 3 : 0), " TFLOP/s in ", name_of(precision));
}

std::string time_text(double seconds) { return std::isnan(seconds) ? "?" : format_seconds(seconds); }

/// What of a training decides its memory.
TrainingSettings planned_settings(const EstimateArguments& arguments) {
  TrainingSettings settings;
  set_setting(settings, "optimizer", arguments.optimizer, "--optimizer");
  set_setting(settings, "master", arguments.master, "--master");
  settings.zero = arguments.zero;
  settings.gradient_parts = arguments.gradient_parts;
  settings.weight_decay = 0;  // that of an optimizer which has none
  check_settings(settings);
  return settings;
}

int estimate_model(const EstimateArguments& arguments, const CommonOptions& common) {
  const ModelConfig config =
      arguments.model_size.empty() ? read_model_config(arguments.model) : published_model_config(arguments.model_size);
  const TrainingSettings settings = planned_settings(arguments);
  const Execution execution = planned_execution(planned_for(arguments, common));
  const HeadSpec head = head_of(arguments.head, config);
  const bool training = !arguments.prediction;
  print(model_summary(config, {head}));
  require(arguments.length <= config.maximum_length(), "--length ", arguments.length, ": the model reads at most ",
          config.maximum_length(), " tokens");
  const std::int64_t length = std::min(arguments.length, arguments.max_tokens);
  const bool targets = facts_of(head.kind).of_target;
  const std::int64_t example = length + (targets ? arguments.target_length : 0);
  const std::vector<std::int64_t> lengths(
      static_cast<std::size_t>(std::max<std::int64_t>(arguments.max_tokens / example, 1)), length);
  const auto tokens = static_cast<double>(example) * static_cast<double>(lengths.size());
  const std::int64_t counted = targets ? arguments.target_length * std::ssize(lengths)
                                       : static_cast<std::int64_t>(0.15 * tokens);  // of a masked batch
  // Backward twice the forward; with recomputation that once more.
  const double flops = (!training ? 1 : arguments.recompute ? 4 : 3) * model_forward_flops(config, &head, lengths, counted);
  const double rate = product_rate(arguments, execution, config, arguments.max_tokens);
  MemoryQuestion question{config, {head}, execution, training, arguments.max_tokens};
  question.optimizer = settings.optimizer;
  question.master = settings.master;
  question.ranks = static_cast<int>(arguments.ranks);
  question.zero = settings.zero;
  question.recompute = arguments.recompute;
  question.gradient_parts = gradient_parts_of(settings, arguments.ranks);
  question.keeps_best = training;
  question.from_file = true;
  question.resident_bytes = resident_memory();
  const std::optional<Room> room = room_of(arguments, execution);
  if (arguments.ways_of_state) {
    const std::vector<WayOfState> ways = ways_of_state(question);
    print(ways_of_state_table(ways, question.zero, room));
    if (!arguments.output.empty())
      write_file_atomically(arguments.output, ways_of_state_json(ways, arguments, question, room).dump(1) + "\n");
    return 0;
  }
  print(memory_table(question, arguments.details) + "(without tokenizer and data)\n");
  if (room.has_value()) print(fit_text(question, *room));
  print("\n");
  print(format_table(
      {{""},
       {training ? "training" : "prediction",
        concatenate("on sequences of ", length, " tokens",
                    targets ? concatenate(" and targets of ", arguments.target_length) : std::string())},
       {"FLOPs per token", format_number(flops / tokens * 1e-9, 3) + " G"},
       {"product rate", rate_text(rate, execution.precision)},
       {"tokens per second", std::isnan(rate) ? "?"
                                              : format_number(kAssumedShare * rate / (flops / tokens), 1) + " at " +
                                                    format_number(100 * kAssumedShare, 0) + " % of it"}}));
  if (arguments.examples > 0) {
    const double all = static_cast<double>(arguments.examples) * arguments.epochs * static_cast<double>(example);
    const double seconds = all * (flops / tokens) / (kAssumedShare * rate);
    print(concatenate("\n", format_count(arguments.examples), " examples, ", arguments.epochs,
                      " times: ", format_count(static_cast<std::int64_t>(all)), " tokens, ",
                      format_number(all * (flops / tokens) * 1e-15, 3), " PFLOP, ", time_text(seconds),
                      cost_text(hourly_cost(arguments), seconds), "\n"));
  }
  return 0;
}

/// What would end the run before its first step.
void print_problems(const ExperimentEstimate& estimate, const EstimateArguments& arguments, const Execution& execution) {
  const std::vector<std::size_t> all = select_phases(estimate.plan, "");
  Problems problems = estimate.problems;
  const auto append = [&](const Problems& more) { problems.insert(problems.end(), more.begin(), more.end()); };
  append(disk_problems(estimate.plan, all, fs::path("runs") / estimate.plan.experiment.name));
  if (const std::optional<Room> room = room_of(arguments, execution))
    append(memory_problems(estimate.plan, all, execution, room->bytes));
  for (const std::string& problem : problems) print("would fail: " + printable(problem) + "\n");
}

std::string hours_text(double seconds) { return format_number(seconds / 3600, 1); }

/// A study at its full size, model by model: on one device and on several, its runs as separate jobs.
std::string study_table(const Experiment& experiment, const EstimateArguments& arguments, double rate) {
  const HourlyCost hourly = hourly_cost(arguments);
  std::vector<std::vector<std::string>> rows = {{"model", "parameters", "EFLOP", "hours on 1", "on 8", "on 64"}};
  if (hourly.watts > 0) rows[0].emplace_back("kWh");
  if (hourly.price > 0) rows[0].emplace_back("money");
  rows[0].emplace_back("weights, gradients, moments");
  std::string notes;
  for (const StudyCost& cost : study_costs(experiment)) {
    std::vector<std::string>& row = rows.emplace_back(1, cost.model_size);
    if (!cost.unknown_model.empty()) {
      row.insert(row.end(), rows[0].size() - 1, "?");
      continue;
    }
    const double hours = cost.flops / rate / 3600;
    row.insert(row.end(), {format_number(cost.parameters * 1e-6, 0) + " M", format_number(cost.flops * 1e-18, 2)});
    for (const std::int64_t devices : {1, 8, 64}) row.push_back(hours_text(schedule_seconds(cost.chains, devices, rate)));
    if (hourly.watts > 0) row.push_back(format_number(kilowatt_hours(hourly, hours), 0));
    if (hourly.price > 0) row.push_back(format_number(hourly.price * hours, 0));
    row.push_back(format_bytes(cost.state_bytes));
    for (const std::string& left_out : cost.left_out) {
      if (notes.find(left_out) == std::string::npos) notes += (notes.empty() ? "" : "; ") + left_out;
    }
  }
  return experiment.name + "\n" + format_table(rows) + (notes.empty() ? "" : "not in these figures: " + notes + "\n");
}

/// Experiments with a [study], without data and weights.
int estimate_studies(const EstimateArguments& arguments) {
  const double known = arguments.device_kind.empty() ? 0 : device_kind(arguments.device_kind).tflops;
  const double product_rate = arguments.product_rate > 0 ? arguments.product_rate : known;
  require(product_rate > 0,
          "a study is estimated for a device whose rate is known: say --device-kind h200, or --product-rate");
  for (std::size_t i = 0; i < arguments.experiments.size(); ++i) {
    const Experiment experiment = read_experiment(arguments.experiments[i]);
    print((i == 0 ? "" : "\n") + study_table(experiment, arguments, kAssumedShare * product_rate * 1e12));
  }
  print(concatenate("\nAll seeds and arms, at the data sets' official sizes and the lengths measured on samples. Hours: ",
                    format_number(100 * kAssumedShare, 0), " % of ", product_rate,
                    " TFLOP/s, runs as separate jobs of one device each (koine run --only)."));
  if (hourly_cost(arguments).watts > 0)
    print(concatenate(" Energy: ", format_number(100 * kShareOfPowerLimit, 0), " % of ", hourly_cost(arguments).watts,
                      " W and ", kHostWatts, " W of the host, times ", kPowerUsageEffectiveness, "; assumed."));
  print("\n");
  return 0;
}

int estimate_run(const EstimateArguments& arguments, const CommonOptions& common) {
  Experiment experiment = read_experiment(arguments.experiments.front(), arguments.data);
  if (arguments.experiments.size() > 1 || (experiment.study.has_value() && experiment.data.empty()))
    return estimate_studies(arguments);
  use_model(experiment, arguments.model);
  const Execution execution = planned_execution(planned_for(arguments, common), experiment.precision);
  const ExperimentEstimate estimate = estimate_experiment(std::move(experiment), cache_folder(common));
  const ModelConfig& config = estimate.plan.config;
  const std::vector<MemoryQuestion> questions = memory_questions(estimate.plan, execution, estimate.phases);
  MemoryQuestion largest =
      *std::max_element(questions.begin(), questions.end(),
                        [](const MemoryQuestion& a, const MemoryQuestion& b) { return total_memory(a) < total_memory(b); });
  const double rate = kAssumedShare * product_rate(arguments, execution, config, largest.tokens);
  largest.resident_bytes = estimate.resident_bytes;
  print(model_summary(config, largest.heads));
  print(memory_table(largest, arguments.details));
  if (const std::optional<Room> room = room_of(arguments, execution)) print(fit_text(largest, *room));
  print("\n");

  std::vector<std::vector<std::string>> rows = {
      {"phase", "runs", "steps", "tokens", "TFLOPs", arguments.device_kind.empty() ? "time here" : "time there"}};
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
                    rate_text(rate / kAssumedShare, execution.precision), ").\n",
                    cost_text(hourly_cost(arguments), all_flops / rate)));
  print_problems(estimate, arguments, execution);
  return 0;
}

}  // namespace

void add_estimate_command(CommandLine& line) {
  auto arguments = std::make_shared<EstimateArguments>();
  CLI::App* app = line.add("estimate", "Memory, FLOPs, tokens and time before a run", [&line, arguments] {
    if (!line.common.device.starts_with("cuda")) apply(line.common);
    const bool experiments = !arguments->experiments.empty();
    const int models = (arguments->model.empty() ? 0 : 1) + (arguments->model_size.empty() ? 0 : 1);
    require(experiments ? arguments->model_size.empty() : models == 1,
            "give one of: an experiment file, --model DIR, --model-size base|large|xl|xxl or mt5-small|...|mt5-xxl");
    require(arguments->device_kind.empty() || arguments->device_memory.empty(),
            "--device-kind and --device-memory say the same in two ways; give one");
    require(arguments->output.empty() || arguments->ways_of_state, "--output belongs to --ways-of-state");
    require(!experiments || arguments->examples == 0,
            "--examples belongs to --model or --model-size; an experiment's data say how many there are");
    return experiments ? estimate_run(*arguments, line.common) : estimate_model(*arguments, line.common);
  });
  app->add_option("experiment", arguments->experiments,
                  "experiment file; of studies several: without --data they are planned at their official sizes");
  line.take_task_files(*app);
  line.take_cache(*app);
  app->add_option("--data", arguments->data, "folder of the data sets");
  app->add_option("--model", arguments->model,
                  "transformers directory (its config.json); with an experiment in the place of the file's");
  app->add_option("--model-size", arguments->model_size,
                  "base, large, xl or xxl of XLM-R; mt5-small, mt5-base, mt5-large, mt5-xl or mt5-xxl");
  app->add_option("--head", arguments->head, "the head that is planned; default: sequence, of an mT5 text-to-text")
      ->check(CLI::IsMember(head_names()));
  app->add_option("--optimizer", arguments->optimizer, "with a model: the optimizer that is planned")
      ->check(CLI::IsMember(optimizer_names()))
      ->capture_default_str();
  app->add_option("--master", arguments->master, "with a model: what mixed precision keeps of a weight beside its bf16")
      ->check(CLI::IsMember(master_names()))
      ->capture_default_str();
  app->add_option("--ranks", arguments->ranks, "with a model: processes that train together; the memory is that of one")
      ->check(between(1, 4096))
      ->capture_default_str();
  app->add_option("--zero", arguments->zero, "with a model: 1: the ranks share out masters and moments; 2: gradients too")
      ->check(between(0, 2))
      ->capture_default_str();
  app->add_option("--gradient-parts", arguments->gradient_parts,
                  "with a model: parts of a step (docs/ranks.md); default: 8, or as many as ranks, where there are several");
  app->add_flag("--recompute", arguments->recompute, "with a model: activations of blocks are computed again in backward");
  app->add_flag("--ways-of-state", arguments->ways_of_state,
                "with a model: memory under every optimizer and master, on 1, 2, 4 and 8 devices");
  app->add_option("--output", arguments->output, "with --ways-of-state: write them as JSON");
  app->add_option("--max-tokens", arguments->max_tokens, "tokens in memory at a time")
      ->check(at_least(1))
      ->capture_default_str();
  app->add_option("--product-rate", arguments->product_rate, "TFLOP/s of products to assume; default: measured")
      ->check(above_zero());
  app->add_flag("--prediction", arguments->prediction, "memory of prediction instead of training");
  app->add_flag("--details", arguments->details, "every kind of activation in a row of its own");
  std::string kinds;
  for (const DeviceKind& kind : device_kinds()) kinds += (kinds.empty() ? "" : ", ") + std::string(kind.name);
  app->add_option("--device-kind", arguments->device_kind, "plan for a device of this kind, here or not: " + kinds);
  app->add_option("--device-memory", arguments->device_memory, "plan for a GPU with so much memory: 139GiB, 80GB");
  app->add_option("--price", arguments->price, "money for a device's hour")->check(above_zero());
  app->add_option("--watts", arguments->watts, "power limit of the device; default: the kind's")->check(above_zero());
  app->add_option("--examples", arguments->examples, "with a model: training examples, to know the time without the data")
      ->check(at_least(1));
  app->add_option("--epochs", arguments->epochs, "with --examples: passes over them")
      ->check(above_zero())
      ->capture_default_str();
  app->add_option("--length", arguments->length, "with a model: tokens of a sequence")
      ->check(at_least(1))
      ->capture_default_str();
  app->add_option("--target-length", arguments->target_length, "with an mT5: tokens of what a sequence is answered with")
      ->check(at_least(1))
      ->capture_default_str();
}

}  // namespace koine
