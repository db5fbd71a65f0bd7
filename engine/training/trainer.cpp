#include "engine/training/trainer.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <deque>
#include <optional>
#include <set>
#include <sstream>
#include <utility>
#include <variant>

#include "engine/batch/step_parts.h"
#include "engine/files/text_file.h"
#include "engine/ranks/agreement.h"
#include "engine/ranks/ordered_sum.h"
#include "engine/ranks/sharded_sum.h"
#include "engine/ranks/touched_rows.h"
#include "engine/ranks/weight_sharing.h"
#include "engine/settings/setting_keys.h"
#include "engine/training/checkpoint.h"
#include "engine/training/shared_prediction.h"
#include "engine/training/step_results.h"
#include "kernels/common/check.h"
#include "kernels/cuda/runtime.h"
#include "kernels/random/random.h"

namespace koine {
namespace {

// The stream of random numbers that draws tasks.
constexpr std::uint64_t kTaskStream = 0x7461736b73616d70u;

std::int64_t batch_size_of(const TrainingTask& task, const TrainingSettings& settings) {
  return task.batch_size > 0 ? task.batch_size : settings.per_device_train_batch_size;
}

std::int64_t groups_per_step(const TrainingTask& task, const TrainingSettings& settings) {
  return batch_size_of(task, settings) * settings.gradient_accumulation_steps;
}

bool reads_sequence(HeadKind kind) { return facts_of(kind).labels == LabelPlace::kSequence; }

// --- what is refused before anything runs -------------------------------------------------------------------------------

void check_lengths(const TrainingRun& run, const Dataset& data) {
  std::int64_t group_tokens = 0;
  for (std::size_t index = 0; index < data.examples.size(); ++index) {
    const Example& example = data.examples[index];
    const std::int64_t longest = run.model->maximum_length();
    require(std::ssize(example.ids) <= longest, data.name, ": example ", example.number, " has ", example.ids.size(),
            " tokens, the model reads at most ", longest, "; lower max_seq_length");
    require(std::ssize(example.target_ids) <= longest, data.name, ": example ", example.number, " has a target of ",
            example.target_ids.size(), " tokens, the model writes at most ", longest, "; lower max_target_length");
    const bool first = index % static_cast<std::size_t>(data.group) == 0;
    group_tokens = (first ? 0 : group_tokens) + example.tokens();
    require(group_tokens <= run.settings.max_tokens_per_batch, data.name, ": example ", data.examples[index].number, " has ",
            group_tokens, " tokens, more than max_tokens_per_batch = ", run.settings.max_tokens_per_batch, "; raise it");
  }
}

/// Where the examples of a batch compete they stay together, however long they are.
void check_whole_batches(const TrainingRun& run, const Dataset& data, std::int64_t batch) {
  const std::int64_t tokens = longest_batch_tokens(data, batch);
  require(tokens <= run.settings.max_tokens_per_batch, data.name, ": ", batch, " examples (per_device_train_batch_size), ",
          "which are each other's negatives and so stay in one batch, may have ", tokens,
          " tokens, more than max_tokens_per_batch = ", run.settings.max_tokens_per_batch,
          "; raise it, or take fewer examples, and more gradient_accumulation_steps");
}

void check_task(const TrainingRun& run, const TrainingTask& task) {
  check(task.train != nullptr, "task ", task.name, " has no training data");
  const std::vector<HeadSpec>& heads = run.model->heads();
  check(task.head >= 0 && task.head < static_cast<int>(heads.size()), "task ", task.name, " has head ", task.head,
        ", the model has ", heads.size());
  const HeadKind kind = heads[static_cast<std::size_t>(task.head)].kind;
  check(kind == task.train->head || (reads_sequence(kind) && reads_sequence(task.train->head)), "task ", task.name,
        " has labels of another kind than its head");
  check(kind != HeadKind::kMaskedLm || task.masking != nullptr, "task ", task.name, " has no masking settings");
  require(task.train->groups() > 0, "task ", task.name, ": ", task.train->name, " has no training examples");
  check_lengths(run, *task.train);
  check(task.batch_size >= 0, "task ", task.name, " has batches of ", task.batch_size, " examples");
  if (facts_of(kind).in_batch) check_whole_batches(run, *task.train, batch_size_of(task, run.settings));
}

void check_run(const TrainingRun& run) {
  check(run.model != nullptr && !run.tasks.empty(), "a training run needs a model and a task");
  check(run.model->parameters().training(), "the model was made without training state");
  check_settings(run.settings);
  check(run.model->parameters().master_kind() == run.settings.master,
        "the model was made with other masters than master = ", name_of(run.settings.master));
  const bool shares = run.settings.zero > 0 && run.communicator != nullptr && run.communicator->size() > 1;
  check((run.model->parameters().shards() != nullptr) == shares, "the model was made ",
        shares ? "for one rank" : "to be shared", ", and zero = ", run.settings.zero);
  check(run.model->parameters().shares_gradients() == (shares && run.settings.zero == 2),
        "the model was made with gradients of another kind than zero = ", run.settings.zero);
  for (const TrainingTask& task : run.tasks) check_task(run, task);
  const bool changes =
      std::any_of(run.tasks.begin(), run.tasks.end(), [](const TrainingTask& task) { return task.weight_at.has_value(); });
  const std::int64_t steps = changes ? total_steps(run) : 1;
  for (std::int64_t step = 0; step < steps; ++step) task_probabilities(step, run.tasks);
}

// --- what a run resumes under -------------------------------------------------------------------------------------------

std::string text_of(double value) {
  std::ostringstream stream;
  stream.precision(17);
  stream << value;
  return stream.str();
}
std::string text_of(std::int64_t value) { return std::to_string(value); }
std::string text_of(bool value) { return value ? "true" : "false"; }
std::string text_of(Schedule value) { return name_of(value); }
std::string text_of(OptimizerKind value) { return name_of(value); }
std::string text_of(MasterKind value) { return name_of(value); }

/// XXH3 over all ids and labels, so that other data under the same name is noticed.
std::string fingerprint(const Dataset& data) {
  std::vector<std::int32_t> flat;
  for (const Example& example : data.examples) {
    flat.push_back(static_cast<std::int32_t>(example.ids.size()));
    flat.insert(flat.end(), example.ids.begin(), example.ids.end());
    flat.push_back(static_cast<std::int32_t>(example.labels.size()));
    flat.insert(flat.end(), example.labels.begin(), example.labels.end());
    flat.push_back(static_cast<std::int32_t>(example.number));
  }
  return xxh3_hex({reinterpret_cast<const char*>(flat.data()), flat.size() * sizeof(std::int32_t)});
}

double weight_of(const TrainingTask& task, std::int64_t step) {
  return task.weight_at ? task.weight_at->at(static_cast<double>(step)) : task.weight;
}

// --- the run ------------------------------------------------------------------------------------------------------------

/// One optimizer step. What is counted is that of all ranks.
struct StepBatches {
  const TrainingTask* task = nullptr;
  std::vector<PackedBatch> batches;    ///< of this rank
  std::vector<std::size_t> part_ends;  ///< of its parts, each behind its last batch
  std::vector<std::int32_t> rows;      ///< where rows are told (Trainer::marks_), those that batches of any rank touch
  std::int64_t counted_labels = 0;
  std::int64_t tokens = 0;
  std::int64_t flops = 0;
  double epoch = 0;
  std::optional<double> probability;  ///< with which the task was drawn, where there are several
};

using Clock = std::chrono::steady_clock;

/// A step the device may still be at.
struct RunningStep {
  StepBatches batches;
  std::int64_t number = 0;  ///< from 0
  double learning_rate = 0;
  Clock::time_point begin;
  std::optional<CommunicationSeconds> communication = {};
  std::optional<std::int64_t> bytes = {};
};
constexpr int kMostRunning = 2;

/// "17, 4, 256 ..." : the examples of one or all micro-batches, for messages.
std::string examples_of(std::span<const PackedBatch> batches) {
  constexpr std::size_t kMost = 64;
  std::vector<std::uint32_t> numbers;
  for (const PackedBatch& batch : batches) {
    numbers.insert(numbers.end(), batch.source.sequence_examples.begin(), batch.source.sequence_examples.end());
  }
  std::string text;
  for (std::size_t index = 0; index < std::min(kMost, numbers.size()); ++index) {
    text += concatenate(index == 0 ? "" : ", ", numbers[index]);
  }
  return numbers.size() > kMost ? text + concatenate(" and ", numbers.size() - kMost, " more") : text;
}

double batch_flops(const Model& model, const PackedBatch& batch) {
  std::vector<std::int64_t> lengths;
  for (std::int64_t sequence = 0; sequence < batch.source.sequences; ++sequence) {
    const auto i = static_cast<std::size_t>(sequence);
    lengths.push_back(batch.source.cumulative_lengths[i + 1] - batch.source.cumulative_lengths[i]);
  }
  return 3 * model.forward_flops(lengths, batch.head, batch.counted_labels);
}

class Trainer {
 public:
  explicit Trainer(const TrainingRun& run);
  ~Trainer() { model_.ask_before_reading({}); }
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;
  TrainingResult run();

 private:
  void start();
  void resume_from(const std::filesystem::path& folder);
  void require_agreement();
  void require_single_batches();
  bool leads() const { return communicator_.rank() == 0; }
  bool alone() const { return communicator_.size() == 1; }
  void agree();
  /// Of several ranks as they agreed last, so that all of them do the same.
  bool stop_requested() const { return alone() ? stop_signalled() : stop_agreed_; }
  bool stop_signalled() const { return run_.stop != nullptr && run_.stop->load(); }
  bool stopped_early() const;
  bool finished() const { return state_.step >= total_ || stopped_early(); }
  bool evaluation_due() const;
  bool checkpoint_due() const;
  bool save_minutes_passed() const;
  StepBatches next_batches();
  void add_up_counts(StepBatches& step);
  std::vector<StepPlan> plan_of(const TrainingTask& task, std::span<const std::int64_t> groups) const;
  std::map<std::string, double> evaluate_by_one();
  PackedBatch pack_one(const TrainingTask& task, std::span<const std::int64_t> groups, std::int64_t visit) const;
  void take_step();
  void accumulate(const StepBatches& step);
  void accumulate_in_rounds(const StepBatches& step);
  std::span<const PackedBatch> batches_of(const StepBatches& step, std::size_t part) const;
  void add_batch(const StepBatches& step, const PackedBatch& batch, const GradientReady& ready);
  void keep_loss(std::int64_t part);
  void wait_for_weights();
  double* loss_sums() { return parts_ > 0 ? part_losses_.as<double>() : model_.loss_sum(); }
  void finish_oldest();
  void finish_all();
  void require_finite(const char* what, const RunningStep& step, double value, std::span<const PackedBatch> batches) const;
  void evaluate();
  void save();
  void restore_best();
  TrainingResult result(bool interrupted) const;
  void message(const std::string& text) const;

  const TrainingRun& run_;
  Model& model_;
  ParameterStore& store_;
  std::int64_t total_;
  OneRank alone_;
  Communicator& communicator_;
  std::int64_t parts_;  ///< gradient_parts; 0: a part for each rank, added up by all_reduce
  std::vector<std::int64_t> own_parts_;
  Buffer part_losses_;  ///< [parts_]
  Optimizer optimizer_;
  GradientExchange gradients_;
  std::optional<RowMarks> marks_;         ///< of several ranks, where batches touch few rows of a table
  std::optional<WeightSharing> sharing_;  ///< where weights are shared out
  bool asks_ = false;                     ///< the model waits for them itself
  std::vector<EpochSampler> samplers_;    ///< of each task
  std::vector<std::int64_t> visits_;      ///< steps each task has had
  StepResults results_;
  std::deque<RunningStep> running_;
  Clock::time_point last_finish_;
  TrainingState state_;
  std::int64_t sent_before_ = 0;  ///< bytes, by the end of the step before
  std::int64_t saved_step_ = -1;
  Clock::time_point last_save_ = Clock::now();
  std::vector<float> best_;  ///< best weights so far, in the store's layout
  bool stop_agreed_ = false;
  bool save_agreed_ = false;
};

/// The parts of a step that this rank computes, in order.
std::vector<std::int64_t> own_parts_of(std::int64_t parts, const Communicator& communicator, bool in_turns) {
  const std::int64_t all = parts > 0 ? parts : communicator.size();
  if (in_turns) return parts_in_turns(all, communicator.size(), communicator.rank());
  const PartRange range = parts_of_rank(all, communicator.size(), communicator.rank());
  std::vector<std::int64_t> own;
  for (std::int64_t part = range.first; part < range.last; ++part) own.push_back(part);
  return own;
}

Trainer::Trainer(const TrainingRun& run)
    : run_(run),
      model_(*run.model),
      store_(run.model->parameters()),
      total_(total_steps(run)),
      alone_(store_.device()),
      communicator_(run.communicator == nullptr ? alone_ : *run.communicator),
      parts_(gradient_parts_of(run.settings, communicator_.size())),
      own_parts_(own_parts_of(parts_, communicator_, store_.shares_gradients())),
      part_losses_(Buffer::zeroed(store_.device(), "losses of parts", static_cast<std::size_t>(parts_) * sizeof(double))),
      optimizer_(store_, run.settings, run.model->word_gradient_is_sparse()),
      gradients_(store_, communicator_, kBucketElements, parts_),
      visits_(run.tasks.size()),
      results_(store_.device(), kMostRunning, std::max<std::int64_t>(parts_, 1)) {
  for (const TrainingTask& task : run.tasks) {
    samplers_.emplace_back(task.train->groups(), groups_per_step(task, run.settings), run.settings.seed);
  }
  if (!alone() && run.model->word_gradient_is_sparse())
    marks_.emplace(store_.table()[table_of_rows(store_.table())].rows(), communicator_.size());
  if (store_.shards() == nullptr) return;
  sharing_.emplace(store_, gradients_);
  optimizer_.share_by([this](void* stream) { sharing_->begin(stream); });
  asks_ = model_.ask_before_reading([this](int first) { sharing_->wait_for(first, model_.context().stream); });
}

/// Before anything but a training step reads weights, or tells the others something of them.
void Trainer::wait_for_weights() {
  if (sharing_.has_value()) sharing_->wait_for(0, model_.context().stream);
}

TrainingResult Trainer::run() {
  start();
  bool interrupted = false;
  while (true) {
    agree();
    if (evaluation_due() && !stop_requested()) evaluate();
    if (checkpoint_due()) save();
    if (finished() && !evaluation_due()) break;
    if (stop_requested()) {
      if (!run_.directory.empty() && saved_step_ != state_.step) save();
      interrupted = true;
      break;
    }
    take_step();
  }
  finish_all();
  optimizer_.catch_up(model_.context());
  if (!interrupted) {
    restore_best();
    store_.end_sharing(leads());
  }
  for (TrainingObserver* observer : run_.observers) observer->on_end();
  return result(interrupted);
}

// Of several ranks the first looks into the directory, and all read the checkpoint that it found.
void Trainer::start() {
  model_.reserve(run_.settings.max_tokens_per_batch, true);
  store_.reset_gradients();
  // Before anything that ranks do together by it.
  if (!alone()) require_same_on_all_ranks(communicator_, {{"zero", std::to_string(run_.settings.zero)}});
  if (!run_.directory.empty()) {
    state_.settings = deciding_settings(run_);
    std::filesystem::path newest;
    if (leads()) newest = newest_checkpoint(run_.directory).value_or("");
    require(run_.resume || newest.empty(), run_.directory.string(), " holds checkpoints of an earlier run (",
            newest.string(), "); resume it, or choose another output directory");
    newest = communicator_.share(newest.string(), 0);
    if (!newest.empty()) resume_from(newest);
  }
  if (!alone()) require_agreement();
  sent_before_ = communicator_.bytes_sent();
  if (gradients_.shares()) require_single_batches();
  for (TrainingObserver* observer : run_.observers) observer->on_start(state_.step, total_);
  if (state_.step > 0) message(concatenate("resumed behind step ", state_.step));
}

void Trainer::require_agreement() {
  std::map<std::string, std::string> facts = deciding_settings(run_);
  facts["program"] = run_.program;
  facts["steps before"] = std::to_string(state_.step);
  const std::vector<float> weights = store_.read_all(ParameterStore::Values::kMaster);
  facts["weights (XXH3)"] = xxh3_hex({reinterpret_cast<const char*>(weights.data()), weights.size() * sizeof(float)});
  require_same_on_all_ranks(communicator_, facts);
}

void Trainer::require_single_batches() {
  std::vector<std::int64_t> visits = visits_;
  for (std::int64_t step = state_.step; step < total_; ++step) {
    const auto drawn = static_cast<std::size_t>(draw_task(run_.settings.seed, step, run_.tasks));
    for (const StepPlan& part : plan_of(run_.tasks[drawn], samplers_[drawn].step_groups(visits[drawn]++))) {
      require(part.micro_batches.size() <= 1,
              "zero = 2 tells the gradients of each part of a step as they are made, and step ", step + 1, " has a part of ",
              part.micro_batches.size(), " micro-batches: raise gradient_parts (", parts_, "), or max_tokens_per_batch (",
              run_.settings.max_tokens_per_batch, ")");
    }
  }
}

/// What each rank would decide by itself, at its own time: whether to stop, and whether to save.
void Trainer::agree() {
  if (alone()) return;
  std::array<std::int64_t, 2> wishes = {stop_signalled() ? 1 : 0, leads() && save_minutes_passed() ? 1 : 0};
  communicator_.sum(wishes);
  stop_agreed_ = wishes[0] > 0;
  save_agreed_ = wishes[1] > 0;
}

void Trainer::resume_from(const std::filesystem::path& folder) {
  const std::map<std::string, std::string> present = std::move(state_.settings);
  state_ = load_checkpoint(folder, store_, optimizer_.state(), best_);
  require_same_settings(folder, state_.settings, present);
  store_.refresh_working(model_.context());
  optimizer_.restore(state_.step);
  saved_step_ = state_.step;
  for (std::int64_t step = 0; step < state_.step; ++step) {
    ++visits_[static_cast<std::size_t>(draw_task(run_.settings.seed, step, run_.tasks))];
  }
}

bool Trainer::stopped_early() const {
  const std::int64_t patience = run_.settings.early_stopping_patience;
  return patience > 0 && state_.evaluations_without_improvement >= patience;
}

bool Trainer::evaluation_due() const {
  if (!run_.evaluate || state_.step == 0 || state_.evaluated_step == state_.step) return false;
  return state_.step >= total_ || (run_.settings.eval_steps > 0 && state_.step % run_.settings.eval_steps == 0);
}

bool Trainer::checkpoint_due() const {
  if (run_.directory.empty() || state_.step == 0 || saved_step_ == state_.step) return false;
  const TrainingSettings& settings = run_.settings;
  if (settings.save_steps > 0 && state_.step % settings.save_steps == 0) return true;
  return alone() ? save_minutes_passed() : save_agreed_;
}

bool Trainer::save_minutes_passed() const {
  const double minutes = run_.settings.save_minutes;
  return minutes > 0 && Clock::now() - last_save_ >= std::chrono::duration<double>(60 * minutes);
}

/// A plan for each part of the step, the same on every rank.
std::vector<StepPlan> Trainer::plan_of(const TrainingTask& task, std::span<const std::int64_t> groups) const {
  const std::int64_t most = run_.settings.max_tokens_per_batch;
  const std::int64_t together = batch_size_of(task, run_.settings);
  const bool in_batch = facts_of(task.train->head).in_batch;
  const std::int64_t parts = parts_ > 0 ? parts_ : communicator_.size();
  if (parts == 1)
    return {in_batch ? plan_whole_batches(*task.train, groups, together, most) : plan_step(*task.train, groups, most)};
  return in_batch ? plan_whole_batch_parts(*task.train, groups, together, parts, most, model_.hidden_size())
                  : plan_parts(*task.train, groups, parts, most, model_.hidden_size());
}

StepBatches Trainer::next_batches() {
  const auto drawn = static_cast<std::size_t>(draw_task(run_.settings.seed, state_.step, run_.tasks));
  const TrainingTask& task = run_.tasks[drawn];
  const std::int64_t visit = visits_[drawn]++;
  StepBatches step;
  step.task = &task;
  if (run_.tasks.size() > 1) step.probability = task_probabilities(state_.step, run_.tasks)[drawn];
  step.epoch =
      static_cast<double>((visit + 1) * groups_per_step(task, run_.settings)) / static_cast<double>(task.train->groups());
  const std::vector<std::int64_t> groups = samplers_[drawn].step_groups(visit);
  const std::vector<StepPlan> parts = plan_of(task, groups);
  for (const std::int64_t part : own_parts_) {
    for (const std::vector<std::int64_t>& batch : parts[static_cast<std::size_t>(part)].micro_batches) {
      step.batches.push_back(pack_one(task, batch, visit));
      step.counted_labels += step.batches.back().counted_labels;
      step.tokens += step.batches.back().tokens();
      step.flops += std::llround(batch_flops(model_, step.batches.back()));
    }
    step.part_ends.push_back(step.batches.size());
  }
  add_up_counts(step);
  return step;
}

/// Counted labels, tokens and FLOPs of all ranks, and the rows that their batches touch.
void Trainer::add_up_counts(StepBatches& step) {
  std::vector<std::int64_t> counts = {step.counted_labels, step.tokens, step.flops};
  const std::size_t numbers = counts.size();
  if (marks_.has_value()) {
    std::set<std::int32_t> rows;
    for (const PackedBatch& batch : step.batches) {
      if (batch.counted_labels > 0) rows.insert(batch.source.by_id.keys.begin(), batch.source.by_id.keys.end());
    }
    counts.resize(numbers + static_cast<std::size_t>(marks_->words()));
    marks_->mark(std::vector<std::int32_t>(rows.begin(), rows.end()), std::span(counts).subspan(numbers));
  }
  communicator_.sum(counts);
  step.counted_labels = counts[0];
  step.tokens = counts[1];
  step.flops = counts[2];
  if (marks_.has_value()) step.rows = marks_->rows_of(std::span(counts).subspan(numbers));
}

// Masks are drawn for each visit of the task, not each pass, so that an example a step meets twice in a row, where a pass
// ends, is masked anew too.
PackedBatch Trainer::pack_one(const TrainingTask& task, std::span<const std::int64_t> groups, std::int64_t visit) const {
  PackedBatch batch = task.corruption == nullptr
                          ? pack_groups(*task.train, groups)
                          : pack_corrupted(*task.train, groups, *task.corruption, static_cast<std::uint32_t>(visit));
  batch.head = task.head;
  batch.head_kind = model_.heads()[static_cast<std::size_t>(task.head)].kind;
  if (batch.head_kind == HeadKind::kMaskedLm) mask_tokens(batch, *task.masking, static_cast<std::uint32_t>(visit));
  return batch;
}

// On a device the host goes on before the step has run: what it left is read when the next one is under way.
void Trainer::take_step() {
  RunningStep step = {next_batches(), state_.step, learning_rate_at(run_.settings, state_.step, total_), Clock::now()};
  if (!asks_) wait_for_weights();
  if (marks_.has_value()) optimizer_.touch_rows(step.batches.rows);
  gradients_.begin_step(marks_.has_value() ? &step.batches.rows : nullptr);
  gradients_.shares() ? accumulate_in_rounds(step.batches) : accumulate(step.batches);
  const Clock::time_point summed = Clock::now();
  communicator_.all_reduce(DType::kFloat64, loss_sums(), std::max<std::int64_t>(parts_, 1), model_.context().stream);
  const std::chrono::duration<double> losses = Clock::now() - summed;
  optimizer_.enqueue_step(model_.context(), step.learning_rate);
  if (!run_.settings.overlap_communication) wait_for_weights();
  if (!alone() && store_.device() == Device::kCpu) {
    step.communication = gradients_.take_seconds();
    const double others = losses.count() + store_.take_sharing_seconds();
    if (sharing_.has_value()) step.communication->waited += sharing_->take_waited();
    step.communication->all += others;
    step.communication->waited += others;
  }
  if (!alone()) {
    const std::int64_t sent = communicator_.bytes_sent();
    step.bytes = sent - std::exchange(sent_before_, sent);
  }
  results_.enqueue(model_.context(), loss_sums(), optimizer_.norm_on_device());
  running_.push_back(std::move(step));
  ++state_.step;
  while (std::ssize(running_) > (store_.device() == Device::kCuda ? 1 : 0)) finish_oldest();
}

void Trainer::finish_all() {
  wait_for_weights();
  while (!running_.empty()) finish_oldest();
}

void Trainer::finish_oldest() {
  const RunningStep step = std::move(running_.front());
  running_.pop_front();
  const StepResult result = results_.take();
  const StepBatches& batches = step.batches;
  require_finite("loss", step, result.loss_sum, batches.batches);
  require_finite("gradient", step, result.norm, batches.batches);
  const double loss = batches.counted_labels == 0 ? 0.0 : result.loss_sum / static_cast<double>(batches.counted_labels);
  const Clock::time_point now = Clock::now();
  const std::chrono::duration<double> taken = now - std::max(step.begin, last_finish_);
  last_finish_ = now;
  state_.tokens += batches.tokens;
  TaskCount& count = state_.tasks[batches.task->name];
  ++count.steps;
  count.tokens += batches.tokens;
  state_.seconds += taken.count();
  state_.last_loss = loss;
  state_.flops += static_cast<double>(batches.flops);
  const TrainingObserver::Step report = {step.number + 1,    total_,
                                         batches.epoch,      loss,
                                         result.norm,        step.learning_rate,
                                         batches.tokens,     taken.count(),
                                         batches.task->name, batches.probability,
                                         step.communication, step.bytes};
  for (TrainingObserver* observer : run_.observers) observer->on_step(report);
}

void Trainer::require_finite(const char* what, const RunningStep& step, double value,
                             std::span<const PackedBatch> batches) const {
  if (std::isfinite(value)) return;
  throw Error(concatenate("the ", what, " of step ", step.number + 1, " is not finite (", value, "): task ",
                          step.batches.task->name, ", examples ", examples_of(batches), " of ",
                          step.batches.task->train->name));
}

/// The micro-batches of this rank's part.
std::span<const PackedBatch> Trainer::batches_of(const StepBatches& step, std::size_t part) const {
  const std::size_t begin = part == 0 ? 0 : step.part_ends[part - 1];
  return {step.batches.data() + begin, step.part_ends[part] - begin};
}

void Trainer::add_batch(const StepBatches& step, const PackedBatch& batch, const GradientReady& ready) {
  optimizer_.prepare_rows(model_.context(), batch);
  model_.add_batch(batch, 1.0 / static_cast<double>(step.counted_labels),
                   {run_.settings.seed, static_cast<std::uint32_t>(state_.step)}, ready);
}

/// Adds up the gradients and losses of a step, and the gradients over parts and ranks. A micro-batch without a counted label
/// adds nothing.
void Trainer::accumulate(const StepBatches& step) {
  const auto counts = [](const PackedBatch& batch) { return batch.counted_labels > 0; };
  const bool overlaps = run_.settings.overlap_communication;
  for (std::size_t part = 0; part < step.part_ends.size(); ++part) {
    const bool last_part = part + 1 == step.part_ends.size();
    const std::span<const PackedBatch> batches = batches_of(step, part);
    const PackedBatch* last = nullptr;  // of the rank's step
    for (const PackedBatch& batch : batches) last = last_part && counts(batch) ? &batch : last;
    for (const PackedBatch& batch : batches) {
      if (counts(batch)) add_batch(step, batch, &batch == last && overlaps ? gradients_.start() : GradientReady());
    }
    if (parts_ == 0) continue;
    keep_loss(own_parts_[part]);
    if (!last_part) gradients_.end_part(model_.context());
  }
  gradients_.finish(model_.context());
}

/// The same where gradients are shared out: part by part with all ranks.
void Trainer::accumulate_in_rounds(const StepBatches& step) {
  const auto rounds = static_cast<std::size_t>(rounds_of(parts_, communicator_.size()));
  for (std::size_t round = 0; round < rounds; ++round) {
    if (round < own_parts_.size()) {
      for (const PackedBatch& batch : batches_of(step, round)) {
        if (batch.counted_labels > 0) add_batch(step, batch, gradients_.start(model_.context().stream));
      }
      keep_loss(own_parts_[round]);
    }
    gradients_.finish(model_.context());
  }
}

/// A part's loss goes to its own place, where the other ranks have zero.
void Trainer::keep_loss(std::int64_t part) {
  const Context& context = model_.context();
  double* place = part_losses_.as<double>() + part;
  if (context.device == Device::kCpu) {
    *place = std::exchange(*model_.loss_sum(), 0.0);
  } else {
    cuda::copy_on_device(place, model_.loss_sum(), sizeof(double), context.stream);
    cuda::fill_with_zero(model_.loss_sum(), sizeof(double), context.stream);
  }
}

/// What rank 0 finds, the others helping it. Nothing where it was perhaps cut short.
std::map<std::string, double> Trainer::evaluate_by_one() {
  std::map<std::string, double> metrics;
  if (leads()) metrics = run_.evaluate(model_);
  if (alone()) return metrics;
  if (leads()) {
    end_help(communicator_);
  } else {
    help_predicting(model_, communicator_);
  }
  if (leads() && stop_signalled()) metrics.clear();
  metrics = numbers_of_text(communicator_.share(leads() ? text_of_numbers(metrics) : "", 0));
  stop_agreed_ = communicator_.sum(leads() && stop_signalled() ? 1 : 0) > 0;
  return metrics;
}

void Trainer::evaluate() {
  finish_all();
  optimizer_.catch_up(model_.context());
  const std::map<std::string, double> metrics = evaluate_by_one();
  if (stop_requested()) return;  // perhaps cut short
  state_.evaluated_step = state_.step;
  if (metrics.empty()) return;
  double score = 0;
  for (const auto& [name, value] : metrics) score += value / static_cast<double>(metrics.size());
  const bool best = std::isfinite(score) && (!state_.has_best || score > state_.best_score);
  if (best) {
    state_.has_best = true;
    state_.best_score = score;
    state_.best_step = state_.step;
    state_.best_metrics = metrics;
    state_.evaluations_without_improvement = 0;
    if (run_.settings.load_best_model_at_end && state_.step < total_)
      best_ = store_.read_all(ParameterStore::Values::kMaster);
  } else {
    ++state_.evaluations_without_improvement;
  }
  for (TrainingObserver* observer : run_.observers) observer->on_evaluation(state_.step, metrics, best);
}

void Trainer::save() {
  finish_all();
  optimizer_.catch_up(model_.context());
  if (leads()) {
    save_checkpoint(run_.directory, state_, store_, optimizer_.state(), best_, run_.settings.save_total_limit);
  } else {
    follow_checkpoint(store_, optimizer_.state());
  }
  communicator_.barrier();
  saved_step_ = state_.step;
  last_save_ = Clock::now();
}

void Trainer::restore_best() {
  if (stopped_early() && state_.step < total_) {
    message(concatenate("stopped early: ", state_.evaluations_without_improvement, " evaluations without improvement"));
  }
  if (!run_.settings.load_best_model_at_end || !state_.has_best || state_.best_step == state_.step) return;
  store_.write_all(ParameterStore::Values::kMaster, best_);
  store_.refresh_working(model_.context());
  message(concatenate("the weights are those of step ", state_.best_step, ", the best evaluation"));
}

TrainingResult Trainer::result(bool interrupted) const {
  TrainingResult result;
  result.steps = state_.step;
  result.total_steps = total_;
  result.final_loss = state_.last_loss;
  result.tokens = state_.tokens;
  result.seconds = state_.seconds;
  result.flops = state_.flops;
  result.interrupted = interrupted;
  result.stopped_early = !interrupted && stopped_early() && state_.step < total_;
  result.best_step = state_.best_step;
  result.best_metrics = state_.best_metrics;
  std::int64_t counted = 0;
  for (const auto& [name, count] : state_.tasks) counted += count.tokens;
  if (counted == state_.tokens) result.tasks = state_.tasks;
  return result;
}

void Trainer::message(const std::string& text) const {
  for (TrainingObserver* observer : run_.observers) observer->on_message(text);
}

}  // namespace

TrainingResult train(const TrainingRun& run) {
  check_run(run);
  return Trainer(run).run();
}

std::map<std::string, std::string> deciding_settings(const TrainingRun& run) {
  const TrainingSettings& s = run.settings;
  std::map<std::string, std::string> all = {{"warmup steps", std::to_string(warmup_steps_of(s, total_steps(run)))},
                                            {"steps", std::to_string(total_steps(run))},
                                            {"per_device_train_batch_size * gradient_accumulation_steps",
                                             std::to_string(s.per_device_train_batch_size * s.gradient_accumulation_steps)},
                                            {"seed", std::to_string(s.seed)},
                                            {"device", name_of(run.model->parameters().device())},
                                            {"precision", name_of(run.model->parameters().compute_type())}};
  const std::int64_t parts = gradient_parts_of(s, run.communicator == nullptr ? 1 : run.communicator->size());
  if (parts > 0) all["parts of a step (gradient_parts)"] = std::to_string(parts);
  for (const SettingKey& key : setting_keys()) {
    if (key.effect != SettingEffect::kDecides) continue;
    all[key.name] = std::visit([&](auto member) { return text_of(s.*member); }, key.member);
  }
  for (const TrainingTask& task : run.tasks) {
    all["task " + task.name] =
        concatenate("weight ", task.weight_at ? task.weight_at->text() : text_of(task.weight), ", head ", task.head, ", ",
                    task.train->groups(), " examples (", fingerprint(*task.train), ")");
    if (facts_of(task.train->head).in_batch) all["examples of a batch"] = std::to_string(batch_size_of(task, s));
    if (task.batch_size > 0) all["examples of a step of " + task.name] = std::to_string(groups_per_step(task, s));
    if (task.corruption != nullptr) {
      all["spans of " + task.name] = concatenate("density ", text_of(task.corruption->density), ", mean length ",
                                                 text_of(task.corruption->mean_span), ", seed ", task.corruption->seed);
    }
    if (task.masking == nullptr) continue;
    const MaskingSettings& masking = *task.masking;
    all["masking of " + task.name] = concatenate("probability ", text_of(masking.probability), ", seed ", masking.seed);
  }
  return all;
}

std::int64_t total_steps(const TrainingRun& run) {
  if (run.settings.max_steps > 0) return run.settings.max_steps;
  std::int64_t steps = 0;
  for (const TrainingTask& task : run.tasks) {
    const std::int64_t per_step = groups_per_step(task, run.settings);
    const std::int64_t groups = task.train->groups();
    steps += ((task.examples_cap > 0 ? std::min(groups, task.examples_cap) : groups) + per_step - 1) / per_step;
  }
  return static_cast<std::int64_t>(std::ceil(run.settings.num_train_epochs * static_cast<double>(steps)));
}

int draw_task(std::uint32_t seed, std::int64_t step, std::span<const TrainingTask> tasks) {
  double total = 0;
  for (const TrainingTask& task : tasks) total += weight_of(task, step);
  require(total > 0, "no task has a weight above 0, so none can be drawn");
  const double uniform = random_block(seed, kTaskStream, static_cast<std::uint64_t>(step))[0] * 0x1p-32;
  double left = uniform * total;
  int last = 0;
  for (int index = 0; index < static_cast<int>(tasks.size()); ++index) {
    const double weight = weight_of(tasks[static_cast<std::size_t>(index)], step);
    if (weight <= 0) continue;
    if (left < weight) return index;
    left -= weight;
    last = index;
  }
  return last;
}

std::vector<double> task_probabilities(std::int64_t step, std::span<const TrainingTask> tasks) {
  std::vector<double> probabilities;
  double total = 0;
  for (const TrainingTask& task : tasks) {
    const double weight = weight_of(task, step);
    require(std::isfinite(weight) && weight >= 0, "task ", task.name, ": its weight",
            task.weight_at ? concatenate(" ", task.weight_at->text(), " at t = ", step) : std::string(), " is ", weight,
            ", but must be a number, 0 or more");
    probabilities.push_back(weight);
    total += weight;
  }
  require(total > 0, "no task has a weight above 0 at step ", step, ", so none can be drawn");
  for (double& probability : probabilities) probability /= total;
  return probabilities;
}

}  // namespace koine
