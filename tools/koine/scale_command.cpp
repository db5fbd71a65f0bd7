// koine scale

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <set>

#include "engine/files/comma_list.h"
#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "kernels/common/parallel.h"
#include "tasks/experiment/device_kinds.h"
#include "tasks/scaling/published.h"
#include "tasks/scaling/scaling_report.h"
#include "tools/koine/commands.h"
#include "tools/koine/local_ranks.h"
#include "tools/koine/ranks.h"
#include "tools/koine/version.h"

namespace koine {

namespace fs = std::filesystem;

namespace {

struct ScaleArguments {
  bool simulate = false;
  std::string model;
  std::string model_size;
  std::string head;
  std::string devices = "1,8,64,512,4096";
  std::string device_kind;
  std::string parameters;
  std::string ranks;
  std::int64_t tokens = 0;        ///< 0: the default of what is asked
  std::int64_t total_tokens = 0;  ///< the same
  std::int64_t length = 0;        ///< the same
  std::int64_t micro_tokens = 0;  ///< 0: tokens
  double bucket_mebibytes = 0;    ///< the same
  std::int64_t gradient_bytes = 4;
  std::int64_t zero = 0;
  std::string algorithm;
  bool no_overlap = false;
  double product_rate = 0;  ///< TFLOP/s of whole steps; 0: a share of the kind's
  std::int64_t repetitions = 9;
  std::string against;
  std::vector<std::string> outputs;
  std::string measured;  ///< where a rank that this command started writes what it measured
};

/// "1,8,64": rising, each once.
std::vector<std::int64_t> counts_of(const std::string& text, const std::string& option, std::int64_t most) {
  std::set<std::int64_t> counts;
  for (const std::string& word : split_commas(text)) {
    std::int64_t count = 0;
    const char* const end = word.data() + word.size();
    const auto read = std::from_chars(word.data(), end, count);
    require(read.ec == std::errc() && read.ptr == end && count >= 1 && count <= most, option, " ", text, ": \"", word,
            "\" is no number from 1 to ", most);
    counts.insert(count);
  }
  require(!counts.empty(), option, ": it names no number");
  return {counts.begin(), counts.end()};
}

std::int64_t or_default(std::int64_t value, std::int64_t otherwise) { return value > 0 ? value : otherwise; }

/// What --model or --model-size names, as --model takes it; empty where neither is given.
std::string model_of(const ScaleArguments& arguments) {
  require(arguments.model.empty() || arguments.model_size.empty(),
          "--model and --model-size say the same in two ways; give one");
  if (arguments.model_size.empty()) return arguments.model;
  published_model_config(arguments.model_size);  // refused by the name that was given
  return arguments.model_size.starts_with("mt5") ? arguments.model_size : "xlm-roberta-" + arguments.model_size;
}

/// "xlm-roberta-large", "large", or a transformers directory.
ModelConfig config_of(const std::string& model) {
  if (fs::is_directory(model)) return read_model_config(model);
  const std::string prefix = "xlm-roberta-";
  try {
    return published_model_config(model.starts_with(prefix) ? model.substr(prefix.size()) : model);
  } catch (const UserError& error) {
    fail_user("--model ", model, ": there is no such directory, and ", error.what());
  }
}

HeadSpec head_named(const std::string& name, const ModelConfig& config) {
  for (const HeadFacts& head : all_heads()) {
    if (head.name == name) return {"", head.kind, head.classes(3, config.vocab_size)};
  }
  fail_user("--head ", name, ": there is no such head");
}

std::int64_t bucket_elements(double mebibytes) {
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(mebibytes * 1024 * 1024 / sizeof(float)));
}

void write_outputs(const std::vector<std::string>& outputs, const nlohmann::json& json, const std::string& svg) {
  for (const std::string& output : outputs) {
    write_file_atomically(output, output.ends_with(".svg") ? svg : json.dump(1) + "\n");
    print("written: " + output + "\n");
  }
}

void check_outputs(const std::vector<std::string>& outputs) {
  for (const std::string& output : outputs)
    require(output.ends_with(".json") || output.ends_with(".svg"), "--output ", output,
            ": it ends in neither .json nor .svg");
}

// --- simulated ------------------------------------------------------------------------------------------------------------

Machine simulated_machine(const ScaleArguments& arguments) {
  require(!arguments.device_kind.empty() || !arguments.parameters.empty(),
          "--simulate: say of which devices, --device-kind h200 or --parameters FILE");
  Machine machine;
  if (!arguments.device_kind.empty()) machine = machine_of(arguments.device_kind);
  if (!arguments.parameters.empty()) {
    if (arguments.device_kind.empty()) machine.name = arguments.parameters;
    machine = read_machine(arguments.parameters, machine);
  }
  return machine;
}

int simulate(const ScaleArguments& arguments) {
  require(!arguments.model.empty(), "--simulate: say which model, such as --model-size large");
  check_outputs(arguments.outputs);
  SimulatedScaling scaling;
  scaling.model = arguments.model;
  scaling.machine = simulated_machine(arguments);
  ModelWork& work = scaling.work;
  work.config = config_of(arguments.model);
  work.head = head_named(arguments.head.empty() ? "masked-lm" : arguments.head, work.config);
  work.length = or_default(arguments.length, 128);
  const std::int64_t tokens = or_default(arguments.tokens, 16384);
  const std::int64_t total = or_default(arguments.total_tokens, 1 << 20);
  work.micro_tokens = or_default(arguments.micro_tokens, tokens);
  work.rate = arguments.product_rate > 0 ? 1e12 * arguments.product_rate : kAssumedStepShare * scaling.machine.product_rate;
  require(work.rate > 0, "no rate of ", scaling.machine.name,
          "'s products is known: say --product-rate, the TFLOP/s of whole steps (or product_teraflops in --parameters)");
  require(work.length <= work.config.maximum_length(), "--length ", work.length, ": the model reads at most ",
          work.config.maximum_length(), " tokens");
  work.gradient_bytes = static_cast<double>(arguments.gradient_bytes);
  if (arguments.bucket_mebibytes > 0) work.bucket_elements = bucket_elements(arguments.bucket_mebibytes);
  if (!arguments.algorithm.empty()) scaling.options.algorithm = collective_algorithm(arguments.algorithm, "--algorithm");
  scaling.options.overlap = !arguments.no_overlap;
  scaling.options.sharded = arguments.zero == 1;
  const std::vector<std::int64_t> devices = counts_of(arguments.devices, "--devices", 1 << 20);
  scaling.weak = weak_scaling(work, scaling.machine, scaling.options, devices, tokens);
  scaling.strong = strong_scaling(work, scaling.machine, scaling.options, devices, total);
  const DeviceStep plan = device_step(work, scaling.machine, tokens);
  print(concatenate("simulated, not measured: ", scaling.model, " on ", scaling.machine.name, " at ",
                    format_number(work.rate * 1e-12, 0), " TFLOP/s of a device, sequences of ", work.length, " tokens, ",
                    plan.buckets.size(), " buckets of gradients, algorithm ", name_of(scaling.options.algorithm),
                    scaling.options.sharded ? ", ZeRO-1" : "", scaling.options.overlap ? "" : ", without overlap", "\n"));
  print(concatenate("\nweak scaling: ", format_count(tokens), " tokens of each device\n",
                    format_table(scaling_rows(scaling.weak))));
  print(concatenate("\nstrong scaling: ", format_count(total), " tokens of all devices\n",
                    format_table(scaling_rows(scaling.strong)), "\n"));
  write_outputs(arguments.outputs, to_json(scaling), scaling_svg(scaling));
  return 0;
}

// --- measured -------------------------------------------------------------------------------------------------------------

MeasureSettings measure_settings(const ScaleArguments& arguments) {
  MeasureSettings settings;
  settings.config = arguments.model.empty() ? measured_model_config() : config_of(arguments.model);
  settings.head = head_named("sequence", settings.config);
  settings.length = or_default(arguments.length, settings.length);
  settings.tokens = or_default(arguments.tokens, settings.tokens);
  settings.total_tokens = or_default(arguments.total_tokens, settings.total_tokens);
  settings.repetitions = arguments.repetitions;
  if (arguments.bucket_mebibytes > 0) settings.bucket_elements = bucket_elements(arguments.bucket_mebibytes);
  settings.ordered = arguments.algorithm == "all-to-all";
  return settings;
}

/// One of the processes that measure_ranks starts.
int measure_as_rank(const ScaleArguments& arguments, CommonOptions& common) {
  common.ranks = "launcher";
  return with_ranks(common, [&](RankSession& ranks) {
    apply(common);
    Execution execution = resolve_execution(common);
    ranks.join(execution);
    OneRank alone(Device::kCpu);
    const RankMeasurement measured = measure_rank(measure_settings(arguments), execution,
                                                  execution.communicator == nullptr ? alone : *execution.communicator);
    RankJob job;
    if (ranks.leads()) {
      write_file_atomically(arguments.measured, to_json(measured).dump(1) + "\n");
    } else {
      ranks.wait_to_begin(job);  // for the end
    }
    return 0;
  });
}

/// The command line of such a process.
std::vector<std::string> words_of_rank(const ScaleArguments& arguments, const CommonOptions& common, std::int64_t threads,
                                       const fs::path& file) {
  std::vector<std::string> words = {common.words.front(), "scale",
                                    "--measured",         file.string(),
                                    "--device",           "cpu",
                                    "--precision",        common.precision == "auto" ? "fp32" : common.precision,
                                    "--threads",          std::to_string(threads)};
  const auto add = [&](const std::string& option, const std::string& value) {
    words.push_back(option);
    words.push_back(value);
  };
  if (!arguments.model.empty()) add("--model", arguments.model);
  if (!arguments.algorithm.empty()) add("--algorithm", arguments.algorithm);
  if (arguments.tokens > 0) add("--tokens", std::to_string(arguments.tokens));
  if (arguments.total_tokens > 0) add("--total-tokens", std::to_string(arguments.total_tokens));
  if (arguments.length > 0) add("--length", std::to_string(arguments.length));
  if (arguments.bucket_mebibytes > 0) add("--bucket-mib", concatenate(arguments.bucket_mebibytes));
  add("--repetitions", std::to_string(arguments.repetitions));
  return words;
}

void check_measured(const ScaleArguments& arguments, const CommonOptions& common, const std::vector<std::int64_t>& ranks) {
  require(common.device == "auto" || common.device == "cpu", "--device ", common.device,
          ": koine scale --ranks measures ranks on processors");
  require(arguments.device_kind.empty() && arguments.parameters.empty(),
          "--device-kind and --parameters belong to --simulate; --ranks measures this machine");
  require(arguments.algorithm.empty() || arguments.algorithm == "ring" || arguments.algorithm == "all-to-all",
          "--algorithm ", arguments.algorithm, ": ranks of this machine add up by ring, or in a fixed order by all-to-all");
  if (arguments.algorithm == "all-to-all") {
    for (const std::int64_t count : ranks)
      require((count & (count - 1)) == 0, "--ranks ", count, ": a fixed order needs a power of two");
  }
  const MeasureSettings settings = measure_settings(arguments);
  for (const std::int64_t count : ranks)
    require(settings.total_tokens % (count * settings.length) == 0, "--total-tokens ", settings.total_tokens,
            " do not divide among ", count, " ranks in whole sequences of ", settings.length, " (--length)");
  require(settings.length <= settings.config.maximum_length(), "--length ", settings.length, ": the model reads at most ",
          settings.config.maximum_length(), " tokens");
  require(settings.tokens % settings.length == 0, "--tokens ", settings.tokens, " are not whole sequences of ",
          settings.length, " (--length)");
  check_outputs(arguments.outputs);
}

int measure(const ScaleArguments& arguments, const CommonOptions& common) {
  std::vector<std::int64_t> ranks = counts_of(arguments.ranks, "--ranks", 1024);
  if (ranks.front() != 1) ranks.insert(ranks.begin(), 1);  // what all others are compared with
  check_measured(arguments, common, ranks);
  const std::int64_t threads = std::max(1, common.threads);
  const std::int64_t processors = thread_count();
  const fs::path file = fs::temp_directory_path() / concatenate("koine-scale-", getpid(), ".json");
  std::vector<RankMeasurement> measurements;
  for (const std::int64_t count : ranks) {
    const int code = run_local_ranks(static_cast<int>(count), words_of_rank(arguments, common, threads * count, file));
    if (code != 0) return code;
    measurements.push_back(measurement_from(read_json(file)));
    fs::remove(file);
  }
  const MeasureSettings settings = measure_settings(arguments);
  const double memory_rate = settings.ordered ? measure_copy_rate() : 1;  // of no use to a ring
  const MeasuredScaling scaling = predict_measured(settings, std::move(measurements), threads, processors, memory_rate);
  print(concatenate(cpu_name(), ", ", processors, " processors, ", threads, threads == 1 ? " thread" : " threads",
                    " of each rank, medians of ", settings.repetitions, " steps; gradients added up by ",
                    settings.ordered ? "all-to-all in a fixed order" : "ring", "\n\n"));
  print(format_table(fit_rows(scaling)) + "\n" + format_table(measured_rows(scaling)) +
        "\nPredicted from the fit and from one rank's steps; a step of several ranks is in no prediction.\n");
  nlohmann::json json = to_json(scaling);
  json["processor"] = cpu_name();
  json["processors"] = processors;
  json["threads_per_rank"] = threads;
  json["repetitions"] = settings.repetitions;
  json["sum"] = settings.ordered ? "all-to-all" : "ring";
  json["version"] = kVersion;
  json["command"] = common.command;
  write_outputs(arguments.outputs, json, scaling_svg(scaling));
  return 0;
}

int run_scale(ScaleArguments arguments, CommonOptions& common) {
  arguments.model = model_of(arguments);
  if (!arguments.measured.empty()) return measure_as_rank(arguments, common);
  const int asked = (arguments.simulate ? 1 : 0) + (arguments.ranks.empty() ? 0 : 1) + (arguments.against.empty() ? 0 : 1);
  require(asked == 1, "give one of: --simulate, --ranks 1,2,4 to measure, --against FILE with published points");
  if (!arguments.against.empty()) {
    print(published_page(read_published_points(arguments.against)));
    return 0;
  }
  return arguments.simulate ? simulate(arguments) : measure(arguments, common);
}

}  // namespace

void add_scale_command(CommandLine& line) {
  auto arguments = std::make_shared<ScaleArguments>();
  CLI::App* app =
      line.add("scale", "How training scales: simulated to thousands of devices, or measured on ranks of this machine",
               [&line, arguments] { return run_scale(*arguments, line.common); });
  app->add_flag("--simulate", arguments->simulate,
                "step time, efficiency and exposed communication by arithmetic (docs/scaling.md)");
  app->add_option(
      "--ranks", arguments->ranks,
      "1,2,4: measure weak and strong scaling with so many processes of this machine, beside what the simulation predicts");
  app->add_option("--against", arguments->against, "JSON file of published points: the simulation beside each, as Markdown");
  app->add_option("--model", arguments->model,
                  "xlm-roberta-base, -large, -xl or -xxl, or a transformers directory (its config.json); default with "
                  "--ranks: a small one");
  app->add_option("--model-size", arguments->model_size, "base, large, xl or xxl of XLM-R, in the place of --model");
  app->add_option("--head", arguments->head, "with --simulate: the head that is trained; default: masked-lm");
  app->add_option("--devices", arguments->devices, "with --simulate: numbers of devices")->capture_default_str();
  app->add_option("--device-kind", arguments->device_kind, "with --simulate: nodes of 8 h200, h100, a100-80gb or a100-40gb");
  app->add_option("--parameters", arguments->parameters,
                  "with --simulate: a TOML file of a machine's links and rates, over those of --device-kind");
  app->add_option("--tokens", arguments->tokens,
                  "weak scaling: tokens of a device in a step; default 16384, with --ranks 256")
      ->check(at_least(1));
  app->add_option("--total-tokens", arguments->total_tokens,
                  "strong scaling: tokens of all devices in a step; default 1048576, with --ranks 1024")
      ->check(at_least(1));
  app->add_option("--length", arguments->length, "tokens of a sequence; default 128, with --ranks 32")->check(at_least(1));
  app->add_option("--micro-tokens", arguments->micro_tokens,
                  "with --simulate: tokens of a device at a time, the rest is accumulated; default: --tokens")
      ->check(at_least(1));
  app->add_option("--product-rate", arguments->product_rate,
                  "with --simulate: TFLOP/s of a device in whole steps; default 70 % of the kind's large products")
      ->check(above_zero());
  app->add_option(
      "--algorithm", arguments->algorithm,
      "how gradients are added up: fastest, ring, tree, hierarchical, multicast (NVLS) or all-to-all (a fixed order); with "
      "--ranks ring or all-to-all");
  app->add_option("--bucket-mib", arguments->bucket_mebibytes,
                  "size of a bucket of gradients in fp32; default 25, with --ranks 1")
      ->check(above_zero());
  app->add_option("--gradient-bytes", arguments->gradient_bytes,
                  "with --simulate: of an element of the gradients that are sent")
      ->check(CLI::IsMember({2, 4}))
      ->capture_default_str();
  app->add_option("--zero", arguments->zero, "with --simulate: 1 shards the optimizer (ZeRO-1)")
      ->check(CLI::IsMember({0, 1}))
      ->capture_default_str();
  app->add_flag("--no-overlap", arguments->no_overlap, "with --simulate: communication waits for the end of backward");
  app->add_option("--repetitions", arguments->repetitions, "with --ranks: steps and messages that a median is of")
      ->check(at_least(1))
      ->capture_default_str();
  app->add_option("--output", arguments->outputs, "write .json or .svg; may be repeated");
  app->add_option("--measured", arguments->measured, "written by a rank that this command started")->group("");
}

}  // namespace koine
