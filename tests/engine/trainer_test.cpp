#include "engine/training/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/files/text_file.h"
#include "engine/settings/setting_keys.h"
#include "engine/training/checkpoint.h"
#include "kernels/common/check.h"
#include "kernels/common/parallel.h"
#include "tests/engine/bag_model.h"
#include "tests/engine/temporary_folder.h"

namespace koine {
namespace {

/// Keeps what a run reports; may set a stop flag when a step is done.
class Recorder : public TrainingObserver {
 public:
  std::vector<Step> steps;
  std::vector<std::int64_t> evaluations;
  std::vector<std::int64_t> best;
  std::vector<std::string> messages;
  std::int64_t started_at = -1;
  int ended = 0;
  std::int64_t stop_at = -1;
  std::atomic<bool> stop = false;

  void on_start(std::int64_t step, std::int64_t) override { started_at = step; }
  void on_step(const Step& step) override {
    steps.push_back(step);
    if (step.step == stop_at) stop = true;
  }
  void on_evaluation(std::int64_t step, const std::map<std::string, double>&, bool is_best) override {
    evaluations.push_back(step);
    if (is_best) best.push_back(step);
  }
  void on_message(const std::string& text) override { messages.push_back(text); }
  void on_end() override { ++ended; }
};

const Dataset& bags() {
  static const Dataset kData = bag_dataset(150);
  return kData;
}

TrainingSettings quick_settings() {
  TrainingSettings settings;
  settings.learning_rate = 2e-2;
  settings.per_device_train_batch_size = 16;
  settings.max_tokens_per_batch = 64;  // two to four micro-batches a step
  settings.max_steps = 30;
  settings.early_stopping_patience = 0;
  settings.load_best_model_at_end = false;
  return settings;
}

TrainingRun run_of(BagModel& model, Recorder& recorder, const TrainingSettings& settings = quick_settings()) {
  TrainingRun run;
  run.model = &model;
  TrainingTask task;
  task.name = "bags";
  task.train = &bags();
  run.tasks = {task};
  run.settings = settings;
  run.observers = {&recorder};
  run.stop = &recorder.stop;
  return run;
}

bool same_weights(Model& a, Model& b) {
  const std::int64_t elements = a.parameters().table().elements();
  const std::vector<float> left = a.parameters().read_all(ParameterStore::Values::kMaster);
  const std::vector<float> right = b.parameters().read_all(ParameterStore::Values::kMaster);
  return left.size() == right.size() && same_bits(left.data(), right.data(), elements) &&
         std::memcmp(a.parameters().working(0), b.parameters().working(0),
                     static_cast<std::size_t>(elements) * size_of(a.parameters().compute_type())) == 0;
}

struct Trained {
  TrainingResult result;
  std::string moments;  ///< the bytes of their file in the checkpoint behind step `last`
};
/// Trains with that checkpoint, in a folder of its own where the run has none.
Trained train_and_save(TrainingRun run, std::int64_t last = 30) {
  std::optional<TemporaryFolder> folder;
  if (run.directory.empty()) run.directory = folder.emplace().path();
  run.settings.save_steps = last;
  const TrainingResult result = train(run);
  return {result, read_file(run.directory / ("checkpoints/step-" + std::to_string(last)) / "optimizer.safetensors")};
}

void expect_same_steps(const std::vector<TrainingObserver::Step>& a, const std::vector<TrainingObserver::Step>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].step, b[i].step);
    EXPECT_EQ(a[i].loss, b[i].loss) << "step " << a[i].step;
    EXPECT_EQ(a[i].gradient_norm, b[i].gradient_norm) << "step " << a[i].step;
    EXPECT_EQ(a[i].learning_rate, b[i].learning_rate);
    EXPECT_EQ(a[i].tokens, b[i].tokens);
    EXPECT_EQ(a[i].task, b[i].task);
    EXPECT_EQ(a[i].epoch, b[i].epoch);
  }
}

/// Minus the mean loss, and something that is not a function of it: a score that goes up and down.
std::map<std::string, double> evaluate_bags(Model& model) {
  const std::vector<std::int64_t> groups = {0, 1, 2, 3};
  return {{"minus_loss", -model.evaluate_loss(pack_groups(bags(), groups)) / 4}};
}

/// Scores handed out one by one, kept outside so that they go on behind an interruption.
EvaluateFunction scripted(std::vector<double> scores, std::size_t* next) {
  return [scores, next](Model&) -> std::map<std::string, double> {
    const double score = scores.at((*next)++);
    return {{"a", score - 1}, {"b", score + 1}};
  };
}

TEST(Train, LearnsAndReportsEveryStep) {
  BagModel model;
  Recorder recorder;
  const TrainingResult result = train(run_of(model, recorder));
  ASSERT_EQ(recorder.steps.size(), 30u);
  // The classes are told apart by seven tokens in ten; log 3 is the loss of knowing nothing.
  EXPECT_NEAR(recorder.steps.front().loss, std::log(3.0), 0.1);
  EXPECT_LT(recorder.steps.back().loss, 0.7);
  EXPECT_EQ(recorder.started_at, 0);
  EXPECT_EQ(recorder.ended, 1);
  EXPECT_EQ(recorder.steps.front().learning_rate, 0.0);  // linear warm-up begins there
  EXPECT_EQ(recorder.steps[3].learning_rate, 2e-2);      // 10 % of 30 steps later
  EXPECT_EQ(result.steps, 30);
  EXPECT_EQ(result.total_steps, 30);
  EXPECT_EQ(result.final_loss, recorder.steps.back().loss);
  EXPECT_FALSE(result.interrupted);
  std::int64_t tokens = 0;
  for (const TrainingObserver::Step& step : recorder.steps) tokens += step.tokens;
  EXPECT_EQ(result.tokens, tokens);
  EXPECT_DOUBLE_EQ(result.flops, 3.0 * static_cast<double>(tokens) * BagModel::kWidth);
  EXPECT_EQ(model.identities.front().step, 0u);
  EXPECT_EQ(model.identities.front().seed, 1u);
  EXPECT_EQ(model.identities.back().step, 29u);
  EXPECT_GT(model.identities.size(), 60u);  // several micro-batches a step
}

TEST(Train, TwoRunsAreOneBitForBitOnAnyNumberOfThreads) {
  const int threads = thread_count();
  for (const DType type : {DType::kFloat32, DType::kBFloat16}) {
    set_thread_count(1);
    BagModel one({{"", HeadKind::kSequence, 3}}, type);
    Recorder first;
    const std::string moments = train_and_save(run_of(one, first)).moments;
    set_thread_count(2);
    BagModel two({{"", HeadKind::kSequence, 3}}, type);
    Recorder second;
    EXPECT_EQ(moments, train_and_save(run_of(two, second)).moments);
    expect_same_steps(first.steps, second.steps);
    EXPECT_TRUE(same_weights(one, two)) << name_of(type);
  }
  set_thread_count(threads);
}

TEST(Train, LazyRowsAreDenseBitForBit) {
  BagModel lazy;
  BagModel dense;
  dense.sparse = false;
  Recorder first, second;
  EXPECT_EQ(train_and_save(run_of(lazy, first)).moments, train_and_save(run_of(dense, second)).moments);
  expect_same_steps(first.steps, second.steps);
  EXPECT_TRUE(same_weights(lazy, dense));
}

// Which labels count and which elements drop does not depend on the cut; fp32 gradient sums are rounded in another order.
TEST(Train, TheCutIntoMicroBatchesChangesRoundingOnly) {
  TrainingSettings whole = quick_settings();
  whole.max_tokens_per_batch = 4096;
  TrainingSettings accumulated = quick_settings();
  accumulated.per_device_train_batch_size = 4;
  accumulated.gradient_accumulation_steps = 4;
  BagModel one, many;
  Recorder first, second;
  train(run_of(one, first, whole));
  train(run_of(many, second, accumulated));
  EXPECT_EQ(one.identities.size(), 30u);
  ASSERT_EQ(first.steps.size(), second.steps.size());
  for (std::size_t i = 0; i < first.steps.size(); ++i) {
    EXPECT_EQ(first.steps[i].tokens, second.steps[i].tokens);
    // Rounding of the gradients (2^-24) times the steps it passes through; AdamW magnifies it where a moment is near zero.
    EXPECT_NEAR(first.steps[i].loss, second.steps[i].loss, 1e-4) << "step " << i + 1;
  }
  // Before any update: sums of 16 sequences' gradients in another order, a few roundings of 2^-24 each.
  EXPECT_NEAR(first.steps[0].gradient_norm, second.steps[0].gradient_norm, first.steps[0].gradient_norm * 16 * 0x1p-24);
}

struct ResumeCase {
  DType type;
  std::int64_t stop_at;
  OptimizerKind optimizer = OptimizerKind::kAdamW;
  MasterKind master = MasterKind::kFloat32;
};

class Resume : public testing::TestWithParam<ResumeCase> {};

// An uninterrupted run against one that stops, is saved, and goes on in a new model that begins with other weights.
TEST_P(Resume, IsTheUninterruptedRunBitForBit) {
  TrainingSettings settings = quick_settings();
  settings.optimizer = GetParam().optimizer;
  settings.master = GetParam().master;
  if (settings.optimizer == OptimizerKind::kAdafactorT5) settings.weight_decay = 0;
  settings.eval_steps = 4;
  settings.load_best_model_at_end = true;
  const std::vector<HeadSpec> heads = {{"", HeadKind::kSequence, 3}};
  BagModel whole(heads, GetParam().type, 7, GetParam().master);
  Recorder whole_recorder;
  TrainingRun whole_run = run_of(whole, whole_recorder, settings);
  whole_run.evaluate = evaluate_bags;
  const auto [expected, moments] = train_and_save(whole_run);

  const TemporaryFolder folder;
  BagModel first(heads, GetParam().type, 7, GetParam().master);
  Recorder recorder;
  recorder.stop_at = GetParam().stop_at;
  TrainingRun first_run = run_of(first, recorder, settings);
  first_run.evaluate = evaluate_bags;
  first_run.directory = folder.path();
  const TrainingResult interrupted = train(first_run);
  EXPECT_TRUE(interrupted.interrupted);
  EXPECT_EQ(interrupted.steps, GetParam().stop_at);

  recorder.stop = false;
  BagModel second(heads, GetParam().type, 12345, GetParam().master);
  TrainingRun second_run = run_of(second, recorder, settings);
  second_run.evaluate = evaluate_bags;
  second_run.directory = folder.path();
  second_run.resume = true;
  const auto [result, resumed_moments] = train_and_save(second_run);
  EXPECT_EQ(resumed_moments, moments);
  EXPECT_EQ(recorder.started_at, GetParam().stop_at);
  expect_same_steps(whole_recorder.steps, recorder.steps);
  EXPECT_EQ(whole_recorder.evaluations, recorder.evaluations);
  EXPECT_EQ(whole_recorder.best, recorder.best);
  EXPECT_TRUE(same_weights(whole, second));
  EXPECT_FALSE(result.interrupted);
  EXPECT_EQ(result.steps, expected.steps);
  EXPECT_EQ(result.tokens, expected.tokens);
  EXPECT_EQ(result.flops, expected.flops);
  EXPECT_EQ(result.final_loss, expected.final_loss);
  EXPECT_EQ(result.best_step, expected.best_step);
  EXPECT_EQ(result.best_metrics, expected.best_metrics);
}

// In the first steps, between evaluations, where an evaluation is due, behind the last step.
INSTANTIATE_TEST_SUITE_P(Places, Resume,
                         testing::Values(ResumeCase{DType::kFloat32, 1}, ResumeCase{DType::kFloat32, 14},
                                         ResumeCase{DType::kFloat32, 16}, ResumeCase{DType::kFloat32, 30},
                                         ResumeCase{DType::kBFloat16, 14},
                                         ResumeCase{DType::kBFloat16, 14, OptimizerKind::kAdafactorT5},
                                         ResumeCase{DType::kFloat32, 14, OptimizerKind::kAdafactor},
                                         ResumeCase{DType::kBFloat16, 14, OptimizerKind::kAdamWRms},
                                         ResumeCase{DType::kBFloat16, 14, OptimizerKind::kAdamW8Bit},
                                         ResumeCase{DType::kBFloat16, 14, OptimizerKind::kAdamW, MasterKind::kRemainder},
                                         ResumeCase{DType::kBFloat16, 14, OptimizerKind::kAdamW8Bit, MasterKind::kRemainder},
                                         ResumeCase{DType::kBFloat16, 14, OptimizerKind::kAdamW, MasterKind::kNone},
                                         ResumeCase{DType::kBFloat16, 14, OptimizerKind::kAdamW8Bit, MasterKind::kNone}),
                         [](const auto& info) {
                           return concatenate(name_of(info.param.type), "_", info.param.stop_at, "_",
                                              name_of(info.param.optimizer), "_", name_of(info.param.master));
                         });

TEST(Train, CheckpointsAreWrittenAsTheRunGoesAndTheNewestIsTaken) {
  const TemporaryFolder folder;
  TrainingSettings settings = quick_settings();
  settings.save_steps = 8;
  settings.save_total_limit = 2;
  BagModel model;
  Recorder recorder;
  TrainingRun run = run_of(model, recorder, settings);
  run.directory = folder.path();
  train(run);
  EXPECT_FALSE(std::filesystem::exists(folder / "checkpoints/step-8"));
  EXPECT_TRUE(std::filesystem::exists(folder / "checkpoints/step-16"));
  EXPECT_TRUE(std::filesystem::exists(folder / "checkpoints/step-24"));
  // As after a crash in step 30: the rest is taken again.
  BagModel again({{"", HeadKind::kSequence, 3}}, DType::kFloat32, 99);
  Recorder rest;
  TrainingRun resumed = run_of(again, rest, settings);
  resumed.directory = folder.path();
  resumed.resume = true;
  train(resumed);
  EXPECT_EQ(rest.steps.size(), 6u);
  EXPECT_TRUE(same_weights(model, again));
  // Without resume the run would mix with the old one's checkpoints.
  resumed.resume = false;
  expect_user_error([&] { train(resumed); }, {"earlier run", "step-24"});
}

TEST(Train, CheckpointsAreWrittenByTime) {
  for (const double minutes : {0.0, 15.0, 1e-9}) {
    const TemporaryFolder folder;
    TrainingSettings settings = quick_settings();
    settings.save_minutes = minutes;
    settings.save_total_limit = 100;
    BagModel model;
    Recorder recorder;
    TrainingRun run = run_of(model, recorder, settings);
    run.directory = folder.path();
    train(run);
    // Every step takes longer than a ten-millionth of a second, and all of them less than a quarter of an hour.
    const bool any = std::filesystem::exists(folder / "checkpoints");
    EXPECT_EQ(any, minutes == 1e-9) << minutes;
    if (any) {
      EXPECT_TRUE(std::filesystem::exists(folder / "checkpoints/step-1"));
      EXPECT_TRUE(std::filesystem::exists(folder / "checkpoints/step-30"));
    }
  }
}

TEST(Train, ResumesOnlyUnderTheSameSettingsAndData) {
  const TemporaryFolder folder;
  BagModel model;
  Recorder recorder;
  recorder.stop_at = 5;
  TrainingRun run = run_of(model, recorder);
  run.directory = folder.path();
  run.resume = true;
  train(run);
  recorder.stop = false;
  run.settings.learning_rate = 3e-2;
  expect_user_error([&] { train(run); }, {"step-5", "learning_rate = 0.02", "0.029999999999999999"});
  run.settings = quick_settings();
  run.settings.logging_steps = 77;  // decides nothing
  Dataset other = bags();
  other.examples[17].ids[0] ^= 1;
  run.tasks[0].train = &other;
  expect_user_error([&] { train(run); }, {"step-5", "task bags"});
  run.tasks[0].train = &bags();
  EXPECT_EQ(train(run).steps, 30);
}

TEST(Train, StopsEarlyAsJiantAndBringsTheBestWeightsBack) {
  TrainingSettings settings = quick_settings();
  settings.eval_steps = 3;
  settings.early_stopping_patience = 3;
  settings.load_best_model_at_end = true;
  BagModel model;
  Recorder recorder;
  std::size_t next = 0;
  TrainingRun run = run_of(model, recorder, settings);
  // An equal score is no improvement, nor is one that is not a number.
  run.evaluate = scripted({50, 60, 60, std::nan(""), 59, 99}, &next);
  const TrainingResult result = train(run);
  EXPECT_EQ(next, 5u);
  EXPECT_TRUE(result.stopped_early);
  EXPECT_EQ(result.steps, 15);
  EXPECT_EQ(result.best_step, 6);
  EXPECT_EQ(result.best_metrics.at("a"), 59);
  EXPECT_EQ(recorder.best, (std::vector<std::int64_t>{3, 6}));
  // The same run, cut off behind step 6 by hand.
  BagModel short_model;
  Recorder short_recorder;
  short_recorder.stop_at = 6;
  TrainingRun short_run = run_of(short_model, short_recorder, settings);
  train(short_run);
  EXPECT_TRUE(
      same_bits(model.parameters().master(0), short_model.parameters().master(0), model.parameters().table().elements()));
}

TEST(Train, AScoreThatIsNotANumberIsNeverTheBest) {
  TrainingSettings settings = quick_settings();
  settings.eval_steps = 10;
  BagModel model;
  Recorder recorder;
  std::size_t next = 0;
  TrainingRun run = run_of(model, recorder, settings);
  run.evaluate = scripted({std::nan(""), 50, 40}, &next);
  EXPECT_EQ(train(run).best_step, 20);
}

TEST(Train, PatienceAndBestWeightsSurviveAnInterruption) {
  TrainingSettings settings = quick_settings();
  settings.eval_steps = 3;
  settings.early_stopping_patience = 3;
  settings.load_best_model_at_end = true;
  const std::vector<double> scores = {50, 60, 60, 58, 59, 99};
  BagModel whole;
  Recorder whole_recorder;
  std::size_t next = 0;
  TrainingRun run = run_of(whole, whole_recorder, settings);
  run.evaluate = scripted(scores, &next);
  const std::string moments = train_and_save(run, 15).moments;
  const TemporaryFolder folder;
  std::size_t next_in_parts = 0;
  std::optional<BagModel> model;
  Recorder recorder;
  TrainingResult result;
  for (const std::int64_t stop_at : {7, 13, -1}) {
    model.emplace();
    recorder.stop = false;
    recorder.stop_at = stop_at;
    TrainingRun part = run_of(*model, recorder, settings);
    part.evaluate = scripted(scores, &next_in_parts);
    part.directory = folder.path();
    part.resume = true;
    part.settings.save_steps = 15;
    result = train(part);
  }
  EXPECT_EQ(read_file(folder / "checkpoints/step-15/optimizer.safetensors"), moments);
  EXPECT_TRUE(result.stopped_early);
  EXPECT_EQ(result.steps, 15);
  EXPECT_EQ(result.best_step, 6);
  EXPECT_EQ(recorder.evaluations, whole_recorder.evaluations);
  EXPECT_TRUE(same_weights(whole, *model));
}

TEST(Train, AnEvaluationCutShortIsMadeAgain) {
  TrainingSettings settings = quick_settings();
  settings.eval_steps = 10;
  const TemporaryFolder folder;
  BagModel model;
  Recorder recorder;
  int calls = 0;
  TrainingRun run = run_of(model, recorder, settings);
  run.directory = folder.path();
  run.resume = true;
  run.evaluate = [&](Model&) -> std::map<std::string, double> {
    if (++calls == 2) recorder.stop = true;
    return {{"calls", calls}};
  };
  EXPECT_TRUE(train(run).interrupted);
  EXPECT_EQ(recorder.evaluations, (std::vector<std::int64_t>{10}));
  recorder.stop = false;
  EXPECT_FALSE(train(run).interrupted);
  EXPECT_EQ(recorder.evaluations, (std::vector<std::int64_t>{10, 20, 30}));
  EXPECT_EQ(recorder.steps.size(), 30u);
}

TEST(Train, TasksAreDrawnByWeightAndResumeWithTheirOwnPlaces) {
  const Dataset tokens = bag_dataset(40, HeadKind::kToken, 8);
  const Dataset text = bag_dataset(60, HeadKind::kMaskedLm, 9);
  const MaskingSettings masking = {0.15, 96, static_cast<std::int32_t>(BagModel::kVocabulary), {}, 5};
  const std::vector<HeadSpec> heads = {{"bags", HeadKind::kSequence, 3},
                                       {"tokens", HeadKind::kToken, 3},
                                       {"text", HeadKind::kMaskedLm, static_cast<std::int32_t>(BagModel::kVocabulary)}};
  const auto multi = [&](BagModel& model, Recorder& recorder) {
    TrainingRun run = run_of(model, recorder);
    run.tasks[0].weight = 2;
    run.tasks.push_back({"tokens", 1, &tokens, 1, nullptr});
    run.tasks.push_back({"text", 2, &text, 1, &masking, TimeFunction("exp(t/20)")});
    return run;
  };
  BagModel whole(heads);
  Recorder expected;
  const auto [result, moments] = train_and_save(multi(whole, expected));
  std::map<std::string, TaskCount> drawn;
  for (const TrainingObserver::Step& step : expected.steps) {
    ++drawn[step.task].steps;
    drawn[step.task].tokens += step.tokens;
  }
  EXPECT_EQ(drawn.size(), 3u);
  const TemporaryFolder folder;
  BagModel first(heads), second(heads, DType::kFloat32, 77);
  Recorder recorder;
  recorder.stop_at = 11;
  TrainingRun part = multi(first, recorder);
  part.directory = folder.path();
  train(part);
  recorder.stop = false;
  TrainingRun rest = multi(second, recorder);
  rest.directory = folder.path();
  rest.resume = true;
  const auto [resumed, resumed_moments] = train_and_save(rest);
  EXPECT_EQ(resumed_moments, moments);
  expect_same_steps(expected.steps, recorder.steps);
  EXPECT_TRUE(same_weights(whole, second));
  for (const auto& [name, count] : drawn) {
    for (const TrainingResult* counted : {&result, &resumed}) {
      ASSERT_TRUE(counted->tasks.contains(name)) << name;
      EXPECT_EQ(counted->tasks.at(name).steps, count.steps) << name;
      EXPECT_EQ(counted->tasks.at(name).tokens, count.tokens) << name;
    }
  }
  rest.tasks[2].weight_at.emplace("exp(t/21)");
  expect_user_error([&] { train(rest); }, {"task text", "exp(t/20)", "exp(t/21)"});
}

// As jiant's run_train_step: one draw, and every micro-batch of the step is of that task. Two tasks share a head.
TEST(Train, AllMicroBatchesOfAStepAreOfTheTaskThatWasDrawn) {
  const Dataset more = bag_dataset(70, HeadKind::kSequence, 8);
  const Dataset tokens = bag_dataset(40, HeadKind::kToken, 9);
  BagModel model({{"bags", HeadKind::kSequence, 3}, {"tokens", HeadKind::kToken, 3}});
  Recorder recorder;
  TrainingRun run = run_of(model, recorder);
  run.tasks.push_back({"more", 0, &more});
  run.tasks.push_back({"tokens", 1, &tokens});
  train(run);
  ASSERT_EQ(model.batch_heads.size(), model.identities.size());
  EXPECT_GT(model.batch_heads.size(), 2 * recorder.steps.size()) << "steps of several micro-batches";
  std::set<int> drawn;
  for (std::size_t i = 0; i < model.batch_heads.size(); ++i) {
    const std::int64_t step = model.identities[i].step;
    const int task = draw_task(run.settings.seed, step, run.tasks);
    drawn.insert(task);
    EXPECT_EQ(model.batch_heads[i], run.tasks[static_cast<std::size_t>(task)].head) << "step " << step;
    const TrainingObserver::Step& report = recorder.steps[static_cast<std::size_t>(step)];
    EXPECT_EQ(report.task, run.tasks[static_cast<std::size_t>(task)].name);
    EXPECT_EQ(report.probability, 1.0 / 3);
  }
  EXPECT_EQ(drawn.size(), 3u);
}

TEST(Train, ATaskMayHaveBatchesOfItsOwn) {
  const Dataset more = bag_dataset(70, HeadKind::kSequence, 8);
  BagModel model;
  Recorder recorder;
  TrainingRun run = run_of(model, recorder);
  run.settings.gradient_accumulation_steps = 2;
  run.settings.max_steps = -1;
  run.settings.num_train_epochs = 2;
  run.tasks.push_back({"more", 0, &more});
  const std::map<std::string, std::string> as_set = deciding_settings(run);
  run.tasks[1].batch_size = 3;
  EXPECT_EQ(total_steps(run), 34);  // 2 * (ceil(150 / 32) + ceil(70 / 6))
  train(run);
  std::map<std::int64_t, std::int64_t> examples;  // by step
  for (std::size_t i = 0; i < model.identities.size(); ++i) examples[model.identities[i].step] += model.batch_sequences[i];
  std::map<std::string, int> visits;
  for (const TrainingObserver::Step& step : recorder.steps) {
    const std::int64_t expected = step.task == "more" ? 6 : 32;
    EXPECT_EQ(examples[step.step - 1], expected) << step.step;
    EXPECT_DOUBLE_EQ(step.epoch, static_cast<double>(++visits[step.task] * expected) / (step.task == "more" ? 70 : 150));
  }
  EXPECT_EQ(visits.size(), 2u);
  // A run goes on under the same batches only; without any its settings say what they always said.
  std::map<std::string, std::string> own = deciding_settings(run);
  EXPECT_EQ(own.at("examples of a step of more"), "6");
  EXPECT_EQ(own.size(), as_set.size() + 1);
}

TEST(Train, AWeightThatTurnsNegativeIsRefusedBeforeTheFirstStep) {
  BagModel model;
  Recorder recorder;
  TrainingRun run = run_of(model, recorder);
  run.tasks.push_back({"more", 0, &bags(), 1, nullptr, TimeFunction("1 - t/28")});
  expect_user_error([&] { train(run); }, {"task more", "1 - t/28", "t = 29"});
  EXPECT_TRUE(recorder.steps.empty());
  run.settings.max_steps = 29;
  EXPECT_EQ(train(run).steps, 29);
  run.tasks[0].weight = std::nan("");
  expect_user_error([&] { train(run); }, {"task bags", "nan"});
}

// The values are those of jiant's TimeDependentProbMultiTaskSampler.get_task_p, run with numexpr 2 under numpy; the first
// three also stand, rounded, in its test_task_sampler.py.
TEST(TaskProbabilities, OfFormulasAreJiants) {
  struct Case {
    std::vector<const char*> formulas;
    std::int64_t t;
    std::vector<double> expected;
  };
  const std::vector<const char*> plain = {"1", "1 - t/1000", "exp(t/1000)"};
  const std::vector<const char*> mixed = {"where(t < 10, 2, 1/sqrt(t))", "2*t**2 - -3", "log1p(t)+2**-1"};
  const Case cases[] = {
      {plain, 0, {0.3333333333333333, 0.3333333333333333, 0.3333333333333333}},
      {plain, 500, {0.317589241482034, 0.158794620741017, 0.5236161377769489}},
      {plain, 999, {0.2690656629106507, 0.000269065662910651, 0.7306652714264387}},
      {mixed, 1, {0.24410644114210991, 0.6102661028552747, 0.14562745600261534}},
      {mixed, 9, {0.011778383697189773, 0.9717166550181562, 0.016504961284654077}},
      {mixed, 10, {0.0015334922815025385, 0.9844136619187318, 0.014052845799765647}},
      {mixed, 400, {1.5624534000156822e-07, 0.9999795507304368, 2.0293024223331684e-05}},
  };
  for (const Case& test : cases) {
    std::vector<TrainingTask> tasks(3);
    for (std::size_t i = 0; i < 3; ++i) tasks[i].weight_at.emplace(test.formulas[i]);
    const std::vector<double> probabilities = task_probabilities(test.t, tasks);
    for (std::size_t i = 0; i < 3; ++i) {
      // A few roundings of either side: of the function, the sum, the quotient.
      EXPECT_NEAR(probabilities[i], test.expected[i], 4 * 0x1p-52 * test.expected[i]) << test.formulas[i] << " " << test.t;
    }
  }
}

TEST(TimeFunctions, AreReadAsNumexprReadsThem) {
  const auto at = [](const std::string& text, double t) { return TimeFunction(text).at(t); };
  EXPECT_EQ(at("2 - 3 - 4", 0), -5);
  EXPECT_EQ(at("12/4/2*3", 0), 4.5);
  EXPECT_EQ(at("-2**2", 0), -4);
  EXPECT_EQ(at("2**3**2", 0), 512);
  EXPECT_EQ(at("2**-t", 2), 0.25);
  EXPECT_EQ(at(" ( 1 + t ) * .5e1 ", 3), 20);
  EXPECT_EQ(at("abs(-t)+floor(2.5)+ceil(2.5)", 1), 6);
  EXPECT_EQ(at("(t >= 2) + (t > 2) + (t <= 2) + (t == 2) + (t != 2)", 2), 3);
  for (const char* wrong : {"", "1 +", "x", "sqrt 2", "sqrt(2", "(1", "1 2", "where(1, 2)", "t t", "1e999", "..", "exp()"})
    expect_user_error([&] { TimeFunction{wrong}; }, {std::string("\"") + wrong + "\"", "character", "expected"});
  expect_user_error([&] { at(std::string(5000, '('), 0); }, {"at most 1000 characters"});
}

// Pearson's statistic of the draws of a seed: for two degrees of freedom it is above 27.6 once in a million seeds.
TEST(DrawTask, CountsFitTheProbabilities) {
  std::vector<TrainingTask> tasks(3);
  tasks[0].weight_at.emplace("1");
  tasks[1].weight_at.emplace("1 - t/30000");
  tasks[2].weight_at.emplace("exp(t/10000)");
  constexpr int kDraws = 30000;
  double expected[3] = {};
  double counts[3] = {};
  for (int step = 0; step < kDraws; ++step) {
    const std::vector<double> probabilities = task_probabilities(step, tasks);
    for (std::size_t i = 0; i < 3; ++i) expected[i] += probabilities[i];
    const int drawn = draw_task(11, step, tasks);
    EXPECT_EQ(drawn, draw_task(11, step, tasks));
    counts[drawn] += 1;
  }
  double statistic = 0;
  for (int i = 0; i < 3; ++i) statistic += (counts[i] - expected[i]) * (counts[i] - expected[i]) / expected[i];
  EXPECT_LT(statistic, 27.6);
}

TEST(DrawTask, FollowsTheWeights) {
  std::vector<TrainingTask> tasks(4);
  const double weights[] = {1, 0, 2, 5};
  for (std::size_t i = 0; i < 4; ++i) tasks[i].weight = weights[i];
  constexpr int kDraws = 20000;
  double counts[4] = {};
  for (int step = 0; step < kDraws; ++step) counts[draw_task(3, step, tasks)] += 1;
  EXPECT_EQ(counts[1], 0);
  for (const int i : {0, 2, 3}) {
    const double share = weights[i] / 8;
    EXPECT_NEAR(counts[i] / kDraws, share, 5 * std::sqrt(share * (1 - share) / kDraws));  // five standard errors
  }
  for (TrainingTask& task : tasks) task.weight = 0;
  EXPECT_THROW(draw_task(3, 0, tasks), UserError);
}

TEST(Train, StepsAreCountedFromEpochsOrGiven) {
  BagModel model;
  Recorder recorder;
  TrainingRun run = run_of(model, recorder);
  run.settings.max_steps = -1;
  run.settings.num_train_epochs = 2;
  EXPECT_EQ(total_steps(run), 20);  // 2 * ceil(150 / 16)
  run.settings.gradient_accumulation_steps = 2;
  EXPECT_EQ(total_steps(run), 10);
  run.settings.num_train_epochs = 0.25;
  EXPECT_EQ(total_steps(run), 2);
  run.settings.max_steps = 7;
  EXPECT_EQ(total_steps(run), 7);
  // jiant's SimpleAPIMultiTaskConfigurator: epochs * the sum of ceil(min(examples, cap) / batch).
  run.settings.max_steps = -1;
  run.settings.num_train_epochs = 3;
  run.tasks.push_back({"more", 0, &bags()});
  EXPECT_EQ(total_steps(run), 30);  // 3 * 2 * ceil(150 / 32)
  for (TrainingTask& task : run.tasks) task.examples_cap = 33;
  EXPECT_EQ(total_steps(run), 12);  // 3 * 2 * ceil(33 / 32)
}

std::string failure_of(const TrainingRun& run) {
  try {
    train(run);
  } catch (const UserError& error) {
    return std::string("user error: ") + error.what();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Train, ALossThatIsNotFiniteNamesStepAndExamples) {
  BagModel model;
  Recorder recorder;
  model.nan_loss_example = 1042;
  const std::string message = failure_of(run_of(model, recorder));
  EXPECT_NE(message.find("loss of step " + std::to_string(recorder.steps.size() + 1)), std::string::npos) << message;
  EXPECT_NE(message.find("1042"), std::string::npos) << message;
  EXPECT_NE(message.find("task bags"), std::string::npos) << message;
}

TEST(Train, AGradientThatIsNotFiniteNamesStepAndExamplesAndUpdatesNothing) {
  BagModel model, reference;
  Recorder recorder, reference_recorder;
  model.infinite_gradient_step = 6;
  const std::string message = failure_of(run_of(model, recorder));
  EXPECT_EQ(recorder.steps.size(), 6u);
  EXPECT_NE(message.find("gradient of step 7"), std::string::npos) << message;
  EXPECT_NE(message.find("examples 1"), std::string::npos) << message;
  reference_recorder.stop_at = 6;
  train(run_of(reference, reference_recorder));
  const int head = 0;
  EXPECT_TRUE(same_bits(model.parameters().master(head), reference.parameters().master(head), 3 * BagModel::kWidth));
}

TEST(Train, StepsWithoutACountedLabelAreTaken) {
  Dataset ignored = bag_dataset(10, HeadKind::kToken);
  for (Example& example : ignored.examples) example.labels.assign(example.ids.size(), kIgnoredLabel);
  BagModel model({{"", HeadKind::kToken, 3}});
  Recorder recorder;
  TrainingRun run = run_of(model, recorder);
  run.tasks[0].train = &ignored;
  EXPECT_EQ(train(run).steps, 30);
  EXPECT_EQ(recorder.steps.back().loss, 0.0);
  EXPECT_TRUE(model.identities.empty());
}

TEST(Train, RefusesWhatCannotBeTrainedBeforeAnythingRuns) {
  BagModel model;
  Recorder recorder;
  TrainingRun run = run_of(model, recorder);
  run.settings.max_tokens_per_batch = 10;
  expect_user_error([&] { train(run); }, {"bags", "max_tokens_per_batch = 10"});
  run.settings = quick_settings();
  Dataset data = bags();
  data.examples[3].ids.assign(33, 5);
  run.tasks[0].train = &data;
  expect_user_error([&] { train(run); }, {"example 1003", "33 tokens", "32"});
  data.examples.clear();
  expect_user_error([&] { train(run); }, {"bags", "no training examples"});
  run.tasks[0].train = &bags();
  run.settings.adam_beta2 = 1;
  expect_user_error([&] { train(run); }, {"adam_beta2 is 1"});
  EXPECT_EQ(recorder.started_at, -1);
}

}  // namespace
}  // namespace koine
