// A model on a device against the same model on the CPU. Without a GPU the device is the host implementation of the CUDA
// kernels, which runs the same sources.

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include "engine/optimizer/optimizer.h"
#include "engine/training/trainer.h"
#include "kernels/common/check.h"
#include "kernels/cuda/runtime.h"
#include "tests/models/tiny.h"

namespace koine {
namespace {

using Values = ParameterStore::Values;

ModelOptions options_for(HeadKind kind, DType precision, Device device) {
  ModelOptions options;
  options.execution.device = device;
  options.execution.precision = precision;
  options.training = true;
  options.heads = {tiny::head(kind)};
  options.seed = 5;
  return options;
}

std::unique_ptr<Model> model_on(Device device, NormPlacement norm, HeadKind kind, DType precision, bool graphs = true) {
  ModelOptions options = options_for(kind, precision, device);
  options.graphs = graphs;
  std::unique_ptr<Model> model = make_model(tiny::config(norm), options);
  model->reserve(128, true);
  return model;
}

/// What a short training leaves: the loss of every step, and the weights.
struct ShortTraining {
  std::vector<double> losses;
  std::vector<float> weights;
};

TrainingSettings settings() {
  TrainingSettings settings;
  settings.learning_rate = 1e-3;
  settings.adam_epsilon = 1e-6;
  settings.weight_decay = 0.01;
  settings.max_grad_norm = 1;
  settings.max_steps = 64;
  return settings;
}

/// Two micro-batches a step; every third step has another size, so that recorded and fresh work take turns, and a recording
/// is run for batches of other lengths than it was made of.
ShortTraining train(Model& model, HeadKind kind, std::uint32_t steps) {
  Optimizer optimizer(model.parameters(), settings(), model.word_gradient_is_sparse());
  ShortTraining result;
  for (std::uint32_t step = 0; step < steps; ++step) {
    double loss = 0;
    // 62 and 70 tokens in turns, which padding makes 128 of.
    const std::vector<std::int64_t> lengths =
        step % 3 == 2 ? std::vector<std::int64_t>{1, 30} : std::vector<std::int64_t>{20, 20, 12 + 8 * (step % 2), 10};
    for (std::uint32_t part = 0; part < 2; ++part) {
      const PackedBatch batch = tiny::packed(tiny::examples(kind, lengths, 2 * step + part), kind);
      optimizer.prepare_rows(model.context(), batch);
      loss += model.train_batch(batch, 0.5 / static_cast<double>(batch.counted_labels), {1, step}) /
              static_cast<double>(batch.counted_labels);
    }
    optimizer.step(model.context(), settings().learning_rate);
    result.losses.push_back(loss / 2);
  }
  optimizer.catch_up(model.context());
  result.weights = model.parameters().read_all(Values::kMaster);
  return result;
}

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    largest = std::max(largest, std::fabs(a[i] - b[i]) / std::max(1.0, std::fabs(b[i])));
  return largest;
}

/// |a - b| / |b - start|: how far apart two trainings are, as a share of the way they went.
double share_of_movement(const std::vector<float>& a, const std::vector<float>& b, const std::vector<float>& start) {
  double difference = 0;
  double movement = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(double{a[i]} - b[i], 2);
    movement += std::pow(double{b[i]} - start[i], 2);
  }
  return std::sqrt(difference / movement);
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

class DeviceModel : public testing::TestWithParam<NormPlacement> {
 protected:
  void SetUp() override {
    if (cuda::device_count() == 0) GTEST_SKIP() << "CUDA finds no device";
  }
};

// Sums in another order, otherwise the same operations: every loss of 20 steps with dropout within 1e-5 of the CPU's, and
// the weights within 1e-3 of their movement (Adam divides by the root of the second moment, so that gradients which are zero
// but for rounding, like those of key biases, move weights by a rounding's sign).
TEST_P(DeviceModel, TrainsAsTheCpuDoesInFp32) {
  for (const HeadKind kind : tiny::head_kinds()) {
    const std::unique_ptr<Model> cpu = model_on(Device::kCpu, GetParam(), kind, DType::kFloat32);
    const std::unique_ptr<Model> device = model_on(Device::kCuda, GetParam(), kind, DType::kFloat32);
    const std::vector<float> start = cpu->parameters().read_all(Values::kMaster);
    ASSERT_TRUE(same_bits(start, device->parameters().read_all(Values::kMaster)));
    const std::uint32_t steps = kind == HeadKind::kSequence ? 20 : 3;
    const ShortTraining on_cpu = train(*cpu, kind, steps);
    const ShortTraining on_device = train(*device, kind, steps);
    EXPECT_LT(largest_difference(on_device.losses, on_cpu.losses), 1e-5) << "head " << static_cast<int>(kind);
    EXPECT_LT(share_of_movement(on_device.weights, on_cpu.weights, start), 1e-3) << "head " << static_cast<int>(kind);
  }
}

// The bound of mixed precision is what mixed precision itself costs: the device may be as far from the fp32 training as
// twice the CPU in bf16 is, which rounds at the same points.
TEST_P(DeviceModel, TrainsInMixedPrecisionAsWellAsTheCpu) {
  for (const HeadKind kind : {HeadKind::kSequence, HeadKind::kMaskedLm}) {
    const std::unique_ptr<Model> exact = model_on(Device::kCpu, GetParam(), kind, DType::kFloat32);
    const std::vector<float> start = exact->parameters().read_all(Values::kMaster);
    const ShortTraining truth = train(*exact, kind, 6);
    const ShortTraining on_cpu = train(*model_on(Device::kCpu, GetParam(), kind, DType::kBFloat16), kind, 6);
    const ShortTraining on_device = train(*model_on(Device::kCuda, GetParam(), kind, DType::kBFloat16), kind, 6);
    EXPECT_LT(largest_difference(on_device.losses, truth.losses),
              2 * largest_difference(on_cpu.losses, truth.losses) + 1e-3);
    EXPECT_LT(share_of_movement(on_device.weights, truth.weights, start),
              2 * share_of_movement(on_cpu.weights, truth.weights, start));
  }
}

TEST_P(DeviceModel, RecordedWorkGivesTheSameBits) {
  const auto recorded = model_on(Device::kCuda, GetParam(), HeadKind::kSpan, DType::kBFloat16, true);
  const auto fresh = model_on(Device::kCuda, GetParam(), HeadKind::kSpan, DType::kBFloat16, false);
  const std::int64_t before = cuda::trace().graph_launches;
  const ShortTraining a = train(*recorded, HeadKind::kSpan, 6);
  EXPECT_GT(cuda::trace().graph_launches, before + 6);
  const std::int64_t after = cuda::trace().graph_launches;
  const ShortTraining b = train(*fresh, HeadKind::kSpan, 6);
  EXPECT_EQ(cuda::trace().graph_launches, after);
  EXPECT_EQ(a.losses, b.losses);
  EXPECT_TRUE(same_bits(a.weights, b.weights));
}

TEST_P(DeviceModel, NothingInAStepAllocatesOrWaits) {
  const HeadKind kind = HeadKind::kToken;
  const auto model = model_on(Device::kCuda, GetParam(), kind, DType::kBFloat16);
  Optimizer optimizer(model->parameters(), settings(), model->word_gradient_is_sparse());
  const auto step = [&](std::uint32_t number) {
    const PackedBatch batch = tiny::packed(tiny::examples(kind, {4, 11, 2, 7}, number), kind);
    optimizer.prepare_rows(model->context(), batch);
    model->add_batch(batch, 1.0 / static_cast<double>(batch.counted_labels), {1, number});
    optimizer.enqueue_step(model->context(), 1e-3);
  };
  for (std::uint32_t number = 0; number < 4; ++number) {
    step(number);
    cuda::synchronize(model->context().stream);  // as the trainer reads results, a step late
  }
  const cuda::Trace before = cuda::trace();
  step(4);
  const cuda::Trace after = cuda::trace();
  EXPECT_EQ(after.allocations, before.allocations);
  EXPECT_EQ(after.synchronizations, before.synchronizations);
  EXPECT_EQ(after.graph_launches, before.graph_launches + 1);
  cuda::synchronize(model->context().stream);
}

TEST_P(DeviceModel, PredictsAsTheCpuDoes) {
  for (const HeadKind kind : tiny::head_kinds()) {
    const std::unique_ptr<Model> cpu = model_on(Device::kCpu, GetParam(), kind, DType::kFloat32);
    const std::unique_ptr<Model> device = model_on(Device::kCuda, GetParam(), kind, DType::kFloat32);
    const PackedBatch batch = tiny::packed(tiny::examples(kind, {5, 1, 30, 9}, 3), kind);
    const auto close = [&](const std::vector<float>& a, const std::vector<float>& b, const char* what) {
      ASSERT_EQ(a.size(), b.size()) << what;
      // Values of size 1 to 10 after two layers: a few dozen roundings of fp32.
      for (std::size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 2e-5) << what << " " << i;
    };
    close(device->predict(batch), cpu->predict(batch), "logits");
    EXPECT_NEAR(device->evaluate_loss(batch), cpu->evaluate_loss(batch), 1e-5 * cpu->evaluate_loss(batch));
    for (const std::int64_t layer : {0, 1, 2}) {
      close(device->hidden_states(batch, layer), cpu->hidden_states(batch, layer), "hidden states");
      for (const Pooling pooling :
           {Pooling::kMean, Pooling::kMeanWithoutSpecial, Pooling::kFirstToken, Pooling::kPositionWeightedMean}) {
        close(device->encode(batch, layer, pooling), cpu->encode(batch, layer, pooling), "vectors");
      }
    }
  }
}

TEST_P(DeviceModel, SavesAndLoads) {
  const std::filesystem::path folder = std::filesystem::temp_directory_path() / concatenate("koine_device_model_", getpid());
  const auto model = model_on(Device::kCuda, GetParam(), HeadKind::kSequence, DType::kBFloat16);
  train(*model, HeadKind::kSequence, 2);
  model->save(folder.string());
  const auto loaded = load_model(folder, options_for(HeadKind::kSequence, DType::kBFloat16, Device::kCuda));
  EXPECT_TRUE(same_bits(model->parameters().read_all(Values::kMaster), loaded->parameters().read_all(Values::kMaster)));
  const PackedBatch batch = tiny::packed(tiny::examples(HeadKind::kSequence, {5, 9}, 3), HeadKind::kSequence);
  EXPECT_EQ(model->predict(batch), loaded->predict(batch));  // the working copies are those of the master weights
  std::filesystem::remove_all(folder);
}

// --- whole runs of the training loop, which reads what a step left while the next one runs ------------------------------

class Recorder : public TrainingObserver {
 public:
  void on_step(const Step& step) override {
    steps.push_back(step);
    if (static_cast<std::int64_t>(steps.size()) == stop_behind) stop = true;
  }
  void on_evaluation(std::int64_t, const std::map<std::string, double>&, bool) override {}
  void on_message(const std::string&) override {}
  std::vector<Step> steps;
  std::int64_t stop_behind = -1;
  std::atomic<bool> stop = false;
};

const Dataset& sentences() {
  static const Dataset kData = [] {
    Dataset dataset;
    dataset.name = "sentences";
    dataset.head = HeadKind::kSequence;
    dataset.classes = 3;
    std::vector<std::int64_t> lengths;
    for (std::int64_t i = 0; i < 24; ++i) lengths.push_back(2 + 5 * i % 17);
    dataset.examples = tiny::examples(HeadKind::kSequence, lengths, 9);
    return dataset;
  }();
  return kData;
}

TrainingResult run(Model& model, Recorder& recorder, const std::filesystem::path& folder = {}, bool resume = false) {
  TrainingRun training;
  training.model = &model;
  TrainingTask task;
  task.name = "sentences";
  task.train = &sentences();
  training.tasks = {task};
  training.settings = settings();
  training.settings.max_steps = 8;
  training.settings.per_device_train_batch_size = 6;
  training.settings.max_tokens_per_batch = 64;
  training.observers = {&recorder};
  training.directory = folder;
  training.resume = resume;
  training.stop = &recorder.stop;
  return koine::train(training);
}

TEST_P(DeviceModel, TheTrainingLoopGivesTheCpusResults) {
  const auto cpu = model_on(Device::kCpu, GetParam(), HeadKind::kSequence, DType::kFloat32);
  const auto device = model_on(Device::kCuda, GetParam(), HeadKind::kSequence, DType::kFloat32);
  Recorder on_cpu;
  Recorder on_device;
  const TrainingResult expected = run(*cpu, on_cpu);
  const TrainingResult result = run(*device, on_device);
  EXPECT_EQ(result.steps, 8);
  EXPECT_EQ(result.tokens, expected.tokens);
  EXPECT_EQ(result.flops, expected.flops);
  ASSERT_EQ(on_device.steps.size(), on_cpu.steps.size());
  for (std::size_t i = 0; i < on_cpu.steps.size(); ++i) {
    EXPECT_EQ(on_device.steps[i].step, on_cpu.steps[i].step);
    EXPECT_EQ(on_device.steps[i].tokens, on_cpu.steps[i].tokens);
    EXPECT_EQ(on_device.steps[i].learning_rate, on_cpu.steps[i].learning_rate);
    EXPECT_NEAR(on_device.steps[i].loss, on_cpu.steps[i].loss, 1e-5);
    EXPECT_NEAR(on_device.steps[i].gradient_norm, on_cpu.steps[i].gradient_norm, 1e-4 * on_cpu.steps[i].gradient_norm);
  }
}

TEST_P(DeviceModel, AnInterruptedRunContinuesBitForBit) {
  const std::filesystem::path folder = std::filesystem::temp_directory_path() / concatenate("koine_device_run_", getpid());
  std::filesystem::remove_all(folder);
  const auto whole = model_on(Device::kCuda, GetParam(), HeadKind::kSequence, DType::kBFloat16);
  Recorder all;
  run(*whole, all);
  const auto first = model_on(Device::kCuda, GetParam(), HeadKind::kSequence, DType::kBFloat16);
  Recorder before;
  before.stop_behind = 3;
  EXPECT_TRUE(run(*first, before, folder).interrupted);
  const auto second = model_on(Device::kCuda, GetParam(), HeadKind::kSequence, DType::kBFloat16);
  Recorder after;
  EXPECT_EQ(run(*second, after, folder, true).steps, 8);
  ASSERT_EQ(before.steps.size() + after.steps.size(), all.steps.size());
  for (std::size_t i = 0; i < all.steps.size(); ++i) {
    const auto& part = i < before.steps.size() ? before.steps[i] : after.steps[i - before.steps.size()];
    EXPECT_EQ(part.loss, all.steps[i].loss) << i;
    EXPECT_EQ(part.gradient_norm, all.steps[i].gradient_norm) << i;
  }
  EXPECT_TRUE(same_bits(second->parameters().read_all(Values::kMaster), whole->parameters().read_all(Values::kMaster)));
  std::filesystem::remove_all(folder);
}

// Another device gives other bits, so a run stays where it began.
TEST_P(DeviceModel, ARunDoesNotContinueElsewhere) {
  const std::filesystem::path folder = std::filesystem::temp_directory_path() / concatenate("koine_moved_run_", getpid());
  std::filesystem::remove_all(folder);
  Recorder before;
  before.stop_behind = 1;
  run(*model_on(Device::kCpu, GetParam(), HeadKind::kSequence, DType::kFloat32), before, folder);
  Recorder after;
  try {
    run(*model_on(Device::kCuda, GetParam(), HeadKind::kSequence, DType::kFloat32), after, folder, true);
    FAIL() << "the run went on elsewhere";
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("device = cpu"), std::string::npos) << error.what();
  }
  std::filesystem::remove_all(folder);
}

TEST_P(DeviceModel, AGradientThatIsNotFiniteChangesNothingAndNamesItsStep) {
  const auto model = model_on(Device::kCuda, GetParam(), HeadKind::kSequence, DType::kFloat32);
  std::vector<float> weights = model->parameters().read_all(Values::kMaster);
  const int bias = model->parameters().table().find("classifier.out_proj.bias");
  ASSERT_GE(bias, 0);
  weights[static_cast<std::size_t>(model->parameters().table()[bias].offset)] = std::numeric_limits<float>::quiet_NaN();
  model->parameters().write_all(Values::kMaster, weights);
  Recorder recorder;
  try {
    run(*model, recorder);
    FAIL() << "a NaN went unnoticed";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("of step 1 is not finite"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("examples 1"), std::string::npos) << error.what();
  }
  EXPECT_TRUE(same_bits(weights, model->parameters().read_all(Values::kMaster)));
}

INSTANTIATE_TEST_SUITE_P(Norms, DeviceModel, testing::Values(NormPlacement::kPost, NormPlacement::kPre));

}  // namespace
}  // namespace koine
