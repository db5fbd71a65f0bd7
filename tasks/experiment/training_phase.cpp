#include "tasks/experiment/training_phase.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/files/atomic_file.h"
#include "engine/files/text_file.h"
#include "engine/tokenizer/tokenizer_files.h"
#include "engine/training/observers.h"
#include "engine/training/shared_prediction.h"
#include "kernels/common/check.h"
#include "tasks/experiment/equal_tokens.h"
#include "tasks/experiment/toml_settings.h"
#include "tasks/experiment/work_energy.h"
#include "tasks/families/text.h"

namespace koine {

namespace fs = std::filesystem;

namespace {

bool starts_with(const std::string& text, std::string_view prefix) { return text.rfind(prefix, 0) == 0; }

/// Whether a parameter belongs to what a task puts on top of the published model.
bool is_task_head(const std::string& name) {
  return starts_with(name, "classifier") || starts_with(name, "qa_outputs") || starts_with(name, "heads.") ||
         starts_with(name, "logit_scale");
}

MaskingSettings masking_of(const PhaseTask& task, const Tokenizer& tokenizer, std::uint32_t seed) {
  MaskingSettings masking;
  masking.probability = task.mlm_probability;
  masking.mask_id = tokenizer.special().mask;
  masking.vocabulary = tokenizer.vocabulary_size();
  masking.special_ids = tokenizer.special().all();
  masking.seed = seed;
  return masking;
}

EvaluationOptions dev_options(int head, std::int64_t max_tokens_per_batch, Communicator* ranks) {
  EvaluationOptions options;
  options.ranks = ranks;
  options.max_tokens_per_batch = max_tokens_per_batch;
  options.head = head;
  options.want_predictions = false;
  return options;
}

/// Evaluates each task that has validation data, with the help of the other ranks. `progress` and `ranks` may be null.
EvaluateFunction dev_evaluation(const std::vector<PhaseTask>& tasks, const TrainingSettings& settings,
                                TrainingObserver* progress, Communicator* ranks) {
  if (std::none_of(tasks.begin(), tasks.end(), [](const PhaseTask& task) { return task.dev != nullptr; })) return {};
  return [&tasks, tokens = settings.max_tokens_per_batch, progress, ranks](Model& model) {
    std::vector<HeadSpec> heads;
    std::map<std::string, double> scores;
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      const int head = add_head(heads, tasks[i].head);
      if (tasks[i].dev == nullptr) continue;
      EvaluationOptions options = dev_options(head, tokens, ranks);
      if (progress != nullptr) {
        options.progress = [&](std::int64_t done, std::int64_t total) {
          progress->on_evaluating(tasks[i].name + " dev", done, total);
        };
      }
      const Evaluation evaluation = tasks[i].dev->evaluate(model, options);
      scores[tasks[i].name] = evaluation.selection.value_or(evaluation.value);
    }
    return scores;
  };
}

/// data.json: what the phase was trained on, for whoever compares runs. (A run continued with other data is refused by
/// train.)
void record_data(const TrainingPhase& phase) {
  nlohmann::json record = nlohmann::json::object();
  for (const PhaseTask& task : phase.tasks) {
    record[task.name] = {
        {"train", {{"name", task.train->name}, {"examples", task.train->groups()}, {"xxh3", fingerprint_of(*task.train)}}}};
    if (task.left_out.count > 0) record[task.name]["train"]["left_out"] = task.left_out.count;
    if (task.dev == nullptr) continue;
    const Dataset& dev = task.dev->dataset();
    record[task.name]["dev"] = {{"name", dev.name}, {"examples", dev.groups()}, {"xxh3", fingerprint_of(dev)}};
  }
  write_file_atomically(phase.directory / "data.json", record.dump(2) + "\n");
}

fs::path attempt_folder(const fs::path& directory, std::int64_t attempt) {
  return attempt == 0 ? directory : directory / concatenate("attempt-", attempt + 1);
}

/// Whether a head's answers are classes, so that they can all be one.
bool answers_classes(HeadKind kind) {
  return kind != HeadKind::kSpan && kind != HeadKind::kMaskedLm && kind != HeadKind::kDualEncoder;
}

/// What a trained model's answers on the validation data collapsed to, by task.
std::map<std::string, Collapse> collapses_of(Model& model, const TrainingPhase& phase, Communicator* ranks) {
  std::map<std::string, Collapse> collapses;
  std::vector<HeadSpec> heads;
  for (const PhaseTask& task : phase.tasks) {
    const int head = add_head(heads, task.head);
    if (task.dev == nullptr || !answers_classes(task.head.kind)) continue;
    const Evaluation evaluation = task.dev->evaluate(model, dev_options(head, phase.settings.max_tokens_per_batch, ranks));
    if (evaluation.collapse.has_value()) collapses[task.name] = *evaluation.collapse;
  }
  return collapses;
}

ModelOptions model_options(const TrainingPhase& phase, const RunOptions& options) {
  ModelOptions result;
  result.execution = options.execution;
  result.training = true;
  for (const PhaseTask& task : phase.tasks) add_head(result.heads, task.head);
  result.seed = phase.settings.seed;
  result.master = phase.settings.master;
  result.recompute = phase.settings.recompute;
  result.shared = phase.settings.zero > 0;
  result.shared_gradients = phase.settings.zero == 2;
  result.labels = phase.labels;
  return result;
}

}  // namespace

void renew_heads(Model& model, const LoadReport& report, std::uint32_t seed, double standard_deviation) {
  ParameterStore& store = model.parameters();
  std::vector<std::pair<int, std::vector<float>>> kept;
  for (int index = 0; index < store.table().size(); ++index) {
    const ParameterSpec& spec = store.table()[index];
    const bool was_there = std::find(report.fresh.begin(), report.fresh.end(), spec.name) == report.fresh.end();
    if (!spec.head || is_task_head(spec.name) || !was_there) continue;
    kept.emplace_back(index, std::vector<float>(static_cast<std::size_t>(spec.count())));
    store.read(ParameterStore::Values::kMaster, index, kept.back().second.data());
  }
  store.initialise(seed, standard_deviation, true);
  for (const auto& [index, values] : kept) store.write(ParameterStore::Values::kMaster, index, values.data());
  store.refresh_working(model.context());
}

std::unique_ptr<Model> make_model(const StartPoint& start, const ModelOptions& options, bool fresh_heads,
                                  const std::function<void(const std::string& text)>& message) {
  if (start.directory.empty()) return make_model(start.config, options);
  LoadReport report;
  std::unique_ptr<Model> model = load_model(start.directory, options, &report);
  for (const std::string& note : report.notes) {
    if (message) message(note);
  }
  if (fresh_heads && !options.heads.empty()) {
    renew_heads(*model, report, options.seed, read_model_config(start.directory).initializer_range);
  }
  return model;
}

void set_sampler(std::vector<PhaseTask>& tasks, const SamplerSpec& sampler) {
  std::vector<std::string> names;
  std::vector<std::int64_t> examples;
  for (const PhaseTask& task : tasks) {
    names.push_back(task.name);
    examples.push_back(task.train->groups());
  }
  const std::vector<TrainingTask> drawn = sampled_tasks(sampler, names, examples);
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    tasks[i].weight = drawn[i].weight;
    tasks[i].weight_at = drawn[i].weight_at;
    tasks[i].examples_cap = drawn[i].examples_cap;
    tasks[i].batch_size = drawn[i].batch_size;
  }
}

int add_head(std::vector<HeadSpec>& heads, const HeadSpec& head) {
  const auto found =
      std::find_if(heads.begin(), heads.end(), [&](const HeadSpec& known) { return known.name == head.name; });
  const auto number = static_cast<int>(found - heads.begin());
  if (found == heads.end()) heads.push_back(head);
  return number;
}

std::uint32_t seed_of_attempt(std::uint32_t seed, std::int64_t attempt) {
  return seed + 1'000'000u * static_cast<std::uint32_t>(attempt);
}

namespace {

/// One training from the phase's start in a folder of its own, and its model, where it was not interrupted.
std::unique_ptr<Model> train_attempt(const TrainingPhase& phase, const fs::path& folder, const Tokenizer& tokenizer,
                                     const RunOptions& options, TrainingResult& result) {
  Communicator* const ranks = options.execution.communicator;
  const bool leads = is_leader(ranks);
  RankJob job;
  job.kind = RankJob::Kind::kTrain;
  job.phase = phase.number;
  job.seed = phase.settings.seed;
  job.directory = fs::absolute(folder);
  if (!phase.start.directory.empty()) job.start = fs::absolute(phase.start.directory);
  if (leads) tell_job(ranks, job);
  std::unique_ptr<Model> model = make_model(phase.start, model_options(phase, options), phase.fresh_heads,
                                            leads ? options.message : std::function<void(const std::string&)>());

  std::vector<MaskingSettings> masking;
  std::vector<std::optional<SpanCorruption>> spans;
  for (const PhaseTask& task : phase.tasks) {
    masking.push_back(masking_of(task, tokenizer, phase.settings.seed));
    spans.emplace_back();
    if (task.head.kind == HeadKind::kTextToText && task.mlm_probability > 0)
      spans.back() = span_corruption_of(tokenizer, task.mlm_probability, phase.settings.seed);
  }
  TrainingRun run;
  run.model = model.get();
  std::vector<HeadSpec> heads;
  for (std::size_t i = 0; i < phase.tasks.size(); ++i) {
    const PhaseTask& task = phase.tasks[i];
    run.tasks.push_back({task.name, add_head(heads, task.head), task.train, task.weight,
                         task.head.kind == HeadKind::kMaskedLm ? &masking[i] : nullptr, task.weight_at, task.examples_cap,
                         task.batch_size, spans[i].has_value() ? &*spans[i] : nullptr});
  }
  run.settings = phase.settings;
  run.communicator = ranks;
  run.program = options.program;
  run.directory = folder;
  run.resume = true;
  run.stop = options.stop;
  run.evaluate = dev_evaluation(phase.tasks, phase.settings, nullptr, ranks);
  if (!leads) {
    result = train(run);
    return model;
  }
  if (run.tasks.size() > 1) options.message("tasks: " + probabilities_text(run.tasks, total_steps(run)));
  if (fs::exists(folder / "metrics.jsonl") && !newest_checkpoint(folder).has_value())
    options.message(folder.string() + " holds a training that was begun, but no checkpoint of it: it starts over");
  MetricsFile metrics(folder / "metrics.jsonl", phase.settings.logging_steps);
  TensorBoardObserver events(folder, phase.settings.logging_steps);
  const std::unique_ptr<TrainingObserver> progress = options.progress ? options.progress() : nullptr;
  run.observers = {&metrics, &events};
  if (progress != nullptr) run.observers.push_back(progress.get());
  run.evaluate = dev_evaluation(phase.tasks, phase.settings, progress.get(), ranks);
  result = train(run);
  return model;
}

}  // namespace

PhaseTraining run_training_phase(const TrainingPhase& phase, const Tokenizer& tokenizer, const RunOptions& options) {
  record_data(phase);
  const fs::path record = phase.directory / "attempts.json";
  nlohmann::json earlier = fs::exists(record) ? read_json(record) : nlohmann::json::array();
  while (true) {
    const std::int64_t attempt = std::ssize(earlier);
    TrainingPhase again = phase;
    again.settings.seed = seed_of_attempt(phase.settings.seed, attempt);
    PhaseTraining trained;
    trained.seed = again.settings.seed;
    const fs::path folder = attempt_folder(phase.directory, attempt);
    make_directory(folder);
    TrainingEnergy energy(folder, options);
    const std::unique_ptr<Model> model = train_attempt(again, folder, tokenizer, options, trained.result);
    trained.joules = energy.finish();
    if (trained.result.interrupted) return trained;
    trained.collapsed = collapses_of(*model, again, options.execution.communicator);
    if (several_ranks(options.execution.communicator)) end_help(*options.execution.communicator);
    for (const auto& [task, collapse] : trained.collapsed)
      options.message(concatenate("  ", task, " validation: ", describe(collapse)));
    if (trained.collapsed.empty() || attempt >= phase.settings.restarts) {
      trained.earlier_attempts = earlier.dump();
      const fs::path target = phase.directory / "model";
      make_directory(target);
      model->save(target.string());
      save_tokenizer(tokenizer, model->maximum_length(), target);
      return trained;
    }
    earlier.push_back(training_record(trained));
    write_file_atomically(record, earlier.dump(2) + "\n");
    remove_at_once(folder / "checkpoints");
    options.message(concatenate("  begun again with seed ", seed_of_attempt(phase.settings.seed, attempt + 1), ", restart ",
                                attempt + 1, " of ", phase.settings.restarts));
  }
}

void follow_trainings(const Tokenizer& tokenizer, const RunOptions& options,
                      const std::function<TrainingPhase(const RankJob& job)>& phase_of,
                      const std::function<std::unique_ptr<Model>(const RankJob& job)>& evaluated_model_of) {
  Communicator& ranks = *options.execution.communicator;
  while (true) {
    const RankJob job = next_job(ranks);
    if (job.kind == RankJob::Kind::kEnd) return;
    check(job.kind != RankJob::Kind::kBegin, "rank 0 tells a rank to begin twice");
    if (job.kind == RankJob::Kind::kEvaluate) {
      help_predicting(*evaluated_model_of(job), ranks);
      continue;
    }
    TrainingPhase phase = phase_of(job);
    phase.settings.seed = job.seed;
    TrainingResult result;
    const std::unique_ptr<Model> model = train_attempt(phase, job.directory, tokenizer, options, result);
    if (!result.interrupted) help_predicting(*model, ranks);
  }
}

nlohmann::json training_record(const PhaseTraining& trained) {
  const TrainingResult& result = trained.result;
  nlohmann::json record = {{"steps", result.steps},
                           {"total_steps", result.total_steps},
                           {"final_loss", result.final_loss},
                           {"tokens", result.tokens},
                           {"seconds", result.seconds},
                           {"flops", result.flops},
                           {"best_step", result.best_step},
                           {"stopped_early", result.stopped_early},
                           {"best_metrics", result.best_metrics},
                           {"seed", trained.seed},
                           {"joules", trained.joules ? nlohmann::json(*trained.joules) : nlohmann::json(nullptr)}};
  if (!trained.collapsed.empty()) record["collapsed"] = trained.collapsed;
  if (!trained.earlier_attempts.empty()) {
    nlohmann::json earlier = nlohmann::json::parse(trained.earlier_attempts);
    if (!earlier.empty()) record["collapsed_attempts"] = std::move(earlier);
  }
  return record;
}

nlohmann::json truncation_record(const std::vector<PhaseTask>& tasks) {
  nlohmann::json record = nlohmann::json::object();
  for (const PhaseTask& task : tasks) {
    if (task.truncation.examples > 0) record[task.name] = task.truncation;
  }
  return record;
}

std::vector<std::string> guard_lines(const nlohmann::json& training) {
  std::vector<std::string> lines;
  const nlohmann::json truncated = training.value("truncated", nlohmann::json::object());
  const nlohmann::json attempts = training.value("collapsed_attempts", nlohmann::json::array());
  const nlohmann::json collapsed = training.value("collapsed", nlohmann::json::object());
  for (const auto& [task, cut] : truncated.items())
    lines.push_back(concatenate(task, " train: ", describe(cut.get<Truncation>())));
  for (const nlohmann::json& attempt : attempts) {
    for (const auto& [task, collapse] : attempt.at("collapsed").items())
      lines.push_back(concatenate(task, " validation, seed ", attempt.at("seed").get<std::uint32_t>(), ": ",
                                  describe(collapse.get<Collapse>()), "; begun again with another seed"));
  }
  for (const auto& [task, collapse] : collapsed.items())
    lines.push_back(concatenate(task, " validation: ", describe(collapse.get<Collapse>())));
  return lines;
}

nlohmann::json task_record(const TrainingPhase& phase, const TrainingResult& result) {
  std::vector<TrainingTask> drawn(phase.tasks.size());
  for (std::size_t i = 0; i < drawn.size(); ++i) {
    drawn[i].name = phase.tasks[i].name;
    drawn[i].weight = phase.tasks[i].weight;
    drawn[i].weight_at = phase.tasks[i].weight_at;
  }
  const std::vector<double> first = task_probabilities(0, drawn);
  const std::vector<double> last = task_probabilities(result.total_steps - 1, drawn);
  nlohmann::json record = nlohmann::json::object();
  for (std::size_t i = 0; i < drawn.size(); ++i) {
    const PhaseTask& task = phase.tasks[i];
    nlohmann::json& entry = record[task.name];
    entry = {{"examples", task.train->groups()}, {"tokens", tokens_of(*task.train)}, {"probability", {first[i], last[i]}}};
    if (task.tokens_of_source > 0) entry["source_tokens"] = task.tokens_of_source;
    if (task.translated_tokens > 0) entry["translated_tokens"] = task.translated_tokens;
    if (result.tasks.empty()) continue;
    const auto count = result.tasks.find(task.name);
    entry["steps"] = count == result.tasks.end() ? 0 : count->second.steps;
    entry["trained_tokens"] = count == result.tasks.end() ? 0 : count->second.tokens;
  }
  return record;
}

std::vector<std::string> task_lines(const nlohmann::json& record) {
  std::vector<std::string> lines;
  for (const auto& [task, entry] : record.items()) {
    if (record.size() == 1 && !entry.contains("source_tokens")) continue;
    std::string line = concatenate(task, ": ", entry.at("examples").get<std::int64_t>(), " examples, ",
                                   entry.at("tokens").get<std::int64_t>(), " tokens");
    if (entry.contains("source_tokens"))
      line += concatenate(" of the source language's ", entry.at("source_tokens").get<std::int64_t>());
    if (entry.contains("steps"))
      line += concatenate("; trained ", entry.at("steps").get<std::int64_t>(), " steps, ",
                          entry.at("trained_tokens").get<std::int64_t>(), " tokens");
    lines.push_back(line);
  }
  return lines;
}

nlohmann::json left_out_record(const std::vector<PhaseTask>& tasks) {
  nlohmann::json record = nlohmann::json::object();
  for (const PhaseTask& task : tasks) {
    const LeftOut& left_out = task.left_out;
    if (left_out.count == 0) continue;
    record[task.name] = {{"count", left_out.count}, {"total", left_out.total}, {"what", left_out.what}};
  }
  return record;
}

std::vector<std::string> left_out_lines(const nlohmann::json& record) {
  std::vector<std::string> lines;
  for (const auto& [task, left_out] : record.items()) {
    lines.push_back(concatenate(task, ": ", left_out.at("count").get<std::int64_t>(), " of ",
                                left_out.at("total").get<std::int64_t>(), " ", left_out.at("what").get<std::string>()));
  }
  return lines;
}

void remove_checkpoints(const fs::path& directory) {
  for (std::int64_t attempt = 0; attempt == 0 || fs::exists(attempt_folder(directory, attempt)); ++attempt)
    remove_at_once(attempt_folder(directory, attempt) / "checkpoints");
}

void require_matching(const Tokenizer& tokenizer, const ModelConfig& config, const fs::path& model) {
  const std::int64_t spare = config.vocab_size - tokenizer.vocabulary_size();
  require(spare >= 0 && spare < 1024, "the tokenizer ", tokenizer.file().string(), " has ", tokenizer.vocabulary_size(),
          " ids, but the model ", model.string(), " has ", config.vocab_size,
          " embedding rows: they do not belong together");
}

Tokenizer matching_tokenizer(const fs::path& model_directory, const ModelConfig& config, const fs::path& file) {
  Tokenizer tokenizer = load_tokenizer(config, file.empty() ? model_directory : file);
  require_matching(tokenizer, config, model_directory);
  return tokenizer;
}

std::string fingerprint_of(const Dataset& dataset) {
  std::string bytes;
  const auto append = [&bytes](const std::vector<std::int32_t>& values) {
    const auto count = static_cast<std::int64_t>(values.size());
    bytes.append(reinterpret_cast<const char*>(&count), sizeof count);
    bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(std::int32_t));
  };
  for (const Example& example : dataset.examples) {
    append(example.ids);
    append(example.labels);
  }
  return xxh3_hex(bytes);
}

Dataset read_plain_text(const std::vector<fs::path>& files, const Tokenizer& tokenizer, std::int64_t max_seq_length,
                        Truncation& truncation, bool packed) {
  Dataset dataset;
  dataset.name = "text";
  dataset.head = HeadKind::kMaskedLm;
  dataset.classes = tokenizer.vocabulary_size();
  truncation.maximum_length = max_seq_length;
  for (const fs::path& file : files) {
    std::vector<std::vector<std::int32_t>> sequences;
    for_each_line(file, [&](std::string_view text, std::int64_t) {
      std::vector<std::int32_t> ids = tokenizer.encode(text);
      if (ids.empty()) return;
      if (packed) return sequences.push_back(std::move(ids));
      const std::int64_t whole = std::ssize(ids) + tokenizer.special().around_single();
      ids = tokenizer.special().frame_single(std::move(ids), max_seq_length);
      truncation.add(whole - std::ssize(ids));
      sequences.push_back(std::move(ids));
    });
    require(!sequences.empty(), file.string(), " holds no text");
    if (packed) sequences = pack_lines(sequences, tokenizer.special(), max_seq_length);
    for (std::vector<std::int32_t>& ids : sequences)
      dataset.examples.push_back({std::move(ids), {}, static_cast<std::uint32_t>(dataset.examples.size())});
  }
  return dataset;
}

}  // namespace koine
