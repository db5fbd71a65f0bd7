// One rank, for tests that start several: rank_probe WHAT [KEY=VALUE ...]. Which rank it is stands in the environment.
//
//   meet                      meets the others and leaves
//   collectives               every operation of a communicator, compared with what it is defined as; device=cuda: of the host
//                             implementation of CUDA, through the stand-in for NCCL
//   sums output=FILE          bits of sums that could be rounded in many orders, as hexadecimal numbers
//   train output=FOLDER ...   trains the small model of bag_model.h; each rank leaves FOLDER/rank-N.txt, and in bytes-N.txt what
//                             it has sent; sparse=0: as if a step read all of its table
//   encoder output=FOLDER ... the same with a small encoder on that device
//   predict output=FOLDER     predictions that rank 0 has all ranks make; FOLDER/rank-N.txt holds how many batches each had
//   optimizer output=FOLDER ... steps of an optimizer on gradients that all ranks have; FOLDER/rank-N.txt says what they left

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <thread>

#include "engine/batch/batcher.h"
#include "engine/files/text_file.h"
#include "engine/optimizer/optimizer.h"
#include "engine/ranks/nccl_communicator.h"
#include "engine/ranks/rank_group.h"
#include "engine/ranks/shards_of.h"
#include "engine/settings/setting_keys.h"
#include "engine/training/shared_prediction.h"
#include "engine/training/trainer.h"
#include "kernels/common/buffer.h"
#include "kernels/common/check.h"
#include "kernels/common/parallel.h"
#include "kernels/random/random.h"
#include "tests/engine/bag_model.h"
#include "tests/engine/nccl_stand_in.h"
#include "tests/models/tiny_training.h"

namespace koine {
namespace {

using Arguments = std::map<std::string, std::string>;

std::string text_argument(const Arguments& arguments, const std::string& key) {
  const auto found = arguments.find(key);
  return found == arguments.end() ? "" : found->second;
}

std::int64_t number_argument(const Arguments& arguments, const std::string& key, std::int64_t otherwise) {
  const auto found = arguments.find(key);
  return found == arguments.end() ? otherwise : std::stoll(found->second);
}

// --- collectives ----------------------------------------------------------------------------------------------------------

constexpr DType kTypes[] = {DType::kFloat32, DType::kBFloat16, DType::kFloat64};

/// Whole numbers: every order of their sum is exact, in every type.
double value_of(int rank, std::int64_t i) { return static_cast<double>((7 * rank + 3 * i) % 13 - 6); }

class Values {
 public:
  Values(Device device, DType type, std::int64_t count)
      : type_(type),
        count_(count),
        host_(static_cast<std::size_t>(count + 1) * size_of(type)),
        memory_(device, "values", host_.size()) {
    for (std::int64_t i = 0; i <= count; ++i) store_element(host_.data(), type, i, 99);  // one more as a guard
    memory_.write(host_.data(), host_.size());
  }
  Values& fill(int rank) {
    for (std::int64_t i = 0; i < count_; ++i) store_element(host_.data(), type_, i, value_of(rank, i));
    memory_.write(host_.data(), host_.size());
    return *this;
  }
  void* data(std::int64_t at = 0) { return offset_by(memory_.data(), type_, at); }
  void copy_from(Values& other, std::int64_t at) {
    std::vector<std::byte> values(static_cast<std::size_t>(other.count_) * size_of(type_));
    other.memory_.read(values.data(), values.size());
    memory_.write(values.data(), values.size(), static_cast<std::size_t>(at) * size_of(type_));
  }
  template <class Expected>
  void expect(const char* what, const Expected& expected) {
    memory_.read(host_.data(), host_.size());
    for (std::int64_t i = 0; i <= count_; ++i) {
      const double wanted = i == count_ ? 99 : expected(i);
      const double found = load_element(host_.data(), type_, i);
      check(found == wanted, "", what, " of ", count_, " ", name_of(type_), ": [", i, "] is ", found, ", not ", wanted);
    }
  }

 private:
  DType type_;
  std::int64_t count_;
  std::vector<std::byte> host_;
  Buffer memory_;
};

void try_collectives(Communicator& ranks, DType type, std::int64_t count) {
  const int rank = ranks.rank();
  const int size = ranks.size();
  const auto sum = [&](std::int64_t i) {
    double total = 0;
    for (int other = 0; other < size; ++other) total += value_of(other, i);
    return total;
  };
  const Device device = ranks.device();
  Values all(device, type, count);
  all.fill(rank);
  ranks.all_reduce(type, all.data(), count, nullptr);
  all.expect("all_reduce", sum);

  Values many(device, type, size * count);
  many.fill(rank);
  Values one(device, type, count);
  ranks.reduce_scatter(type, many.data(), one.data(), count, nullptr);
  one.expect("reduce_scatter", [&](std::int64_t i) { return sum(rank * count + i); });
  many.expect("what reduce_scatter read", [&](std::int64_t i) { return value_of(rank, i); });
  ranks.reduce_scatter(type, many.data(), many.data(rank * count), count, nullptr);
  many.expect("reduce_scatter in place",
              [&](std::int64_t i) { return count > 0 && i / count == rank ? sum(i) : value_of(rank, i); });

  one.fill(rank);
  const auto gathered = [&](std::int64_t i) { return value_of(static_cast<int>(i / count), i % count); };
  ranks.all_gather(type, one.data(), many.data(), count, nullptr);
  many.expect("all_gather", gathered);
  Values in_place(device, type, size * count);
  if (count > 0) in_place.copy_from(one, rank * count);
  ranks.all_gather(type, in_place.data(rank * count), in_place.data(), count, nullptr);
  in_place.expect("all_gather in place", gathered);

  many.fill(rank);
  ranks.all_to_all(type, many.data(), in_place.data(), count, nullptr);
  in_place.expect("all_to_all",
                  [&](std::int64_t i) { return value_of(static_cast<int>(i / count), rank * count + i % count); });

  for (int root = 0; root < size; ++root) {
    one.fill(rank);
    ranks.broadcast(type, one.data(), count, root, nullptr);
    one.expect("broadcast", [&](std::int64_t i) { return value_of(root, i); });
  }
}

/// Through the stand-in for NCCL where the arguments name a device.
std::unique_ptr<Communicator> device_communicator(RankGroup& group, const Arguments& arguments) {
  if (text_argument(arguments, "device") != "cuda") return nullptr;
  nccl_stand_in::state().polls_in_progress = 2;
  return make_nccl_communicator(group.communicator(), nccl_stand_in::api(), group.watch(), group.place().timeout);
}

/// What each operation adds to bytes_sent(), of 60 numbers a rank.
void count_bytes(Communicator& ranks) {
  const std::int64_t others = ranks.size() - 1;
  Values many(ranks.device(), DType::kFloat32, 60 * ranks.size());
  Values all(ranks.device(), DType::kFloat32, 60 * ranks.size());
  std::int64_t before = ranks.bytes_sent();
  const auto expect = [&](const char* what, std::int64_t bytes) {
    const std::int64_t now = ranks.bytes_sent();
    check(now - before == bytes, what, " counts ", now - before, " bytes and not ", bytes);
    before = now;
  };
  ranks.all_reduce(DType::kFloat32, all.data(), 60, nullptr);
  expect("all_reduce", 2 * 60 * 4 * others / ranks.size());
  ranks.reduce_scatter(DType::kFloat32, many.data(), all.data(), 60, nullptr);
  expect("reduce_scatter", 60 * 4 * others);
  ranks.all_gather(DType::kFloat32, many.data(), all.data(), 60, nullptr);
  expect("all_gather", 60 * 4 * others);
  ranks.all_to_all(DType::kFloat32, many.data(), all.data(), 60, nullptr);
  expect("all_to_all", 60 * 4 * others);
  ranks.broadcast(DType::kFloat32, all.data(), 60, 0, nullptr);
  expect("broadcast", others > 0 ? 60 * 4 : 0);
  ranks.sum(1);
  expect("sum", 2 * 8 * others / ranks.size());
}

void collectives(RankGroup& group, const Arguments& arguments) {
  const std::unique_ptr<Communicator> on_device = device_communicator(group, arguments);
  Communicator& ranks = on_device == nullptr ? group.communicator() : *on_device;
  for (const DType type : kTypes) {
    for (const std::int64_t count : {0, 1, 2, 3, 17, 1000, 70001}) {
      if ((type != DType::kFloat32 || on_device != nullptr) && count > 1000) continue;
      try_collectives(ranks, type, count);
    }
  }
  count_bytes(ranks);
  std::vector<std::int64_t> numbers = {ranks.rank(), -1, std::int64_t{1} << 60};
  if (ranks.size() > 4) numbers[2] = 0;
  const std::int64_t large = numbers[2];
  ranks.sum(numbers);
  check(numbers[0] == ranks.size() * (ranks.size() - 1) / 2 && numbers[1] == -ranks.size() &&
            numbers[2] == ranks.size() * large,
        "sums of whole numbers are wrong");
  for (int root = 0; root < ranks.size(); ++root) {
    const std::string said(static_cast<std::size_t>(1000 * root), static_cast<char>('a' + root));
    check(ranks.share(ranks.rank() == root ? said : "mine", root) == said, "a text that was shared is another");
  }
  ranks.barrier();
}

void sums(RankGroup& group, const Arguments& arguments) {
  Communicator& ranks = group.communicator();
  std::string text;
  for (const DType type : kTypes) {
    const std::int64_t count = 4099;
    std::vector<std::byte> bytes(static_cast<std::size_t>(count) * size_of(type));
    RandomStream random(5, static_cast<std::uint64_t>(ranks.rank()));
    for (std::int64_t i = 0; i < count; ++i)
      store_element(bytes.data(), type, i, (random.uniform() - 0.5) * std::pow(2.0, static_cast<double>(random.below(20))));
    ranks.all_reduce(type, bytes.data(), count, nullptr);
    text += xxh3_hex({reinterpret_cast<const char*>(bytes.data()), bytes.size()}) + "\n";
    if (type == DType::kBFloat16) text += concatenate(load_element(bytes.data(), type, 0), "\n");
  }
  std::ofstream(concatenate(text_argument(arguments, "output"), ".", ranks.rank())) << text;
}

// --- settings of both kinds of training -----------------------------------------------------------------------------------

void take_settings(const Arguments& arguments, TrainingSettings& settings) {
  settings.zero = number_argument(arguments, "zero", 0);
  settings.overlap_communication = number_argument(arguments, "overlap", 1) == 1;
  for (const char* key : {"optimizer", "master"}) {
    const std::string value = text_argument(arguments, key);
    if (!value.empty()) set_setting(settings, key, value, key);
  }
}
DType type_argument(const Arguments& arguments) {
  return text_argument(arguments, "type") == "bf16" ? DType::kBFloat16 : DType::kFloat32;
}
std::string hash_of(const void* values, std::size_t bytes) { return xxh3_hex({static_cast<const char*>(values), bytes}); }

// --- steps of an optimizer ------------------------------------------------------------------------------------------------

/// Tensors with and without codes, read in fp32 or not, cut by any number of ranks.
ParameterTable optimizer_table() {
  ParameterTable table;
  table.add({"head.weight", {3, 1000}, true});
  table.add({"head.bias", {3}, false});
  table.add({"dense.weight", {70, 101}, true});
  table.add({"dense.bias", {300}, false});
  table.add({"norm", {301}, false, Initialisation::kOne});
  ParameterSpec word{"word", {90, 101}, true};
  word.embedding = word.lazy_rows = true;
  table.add(word);
  return table;
}

/// Hashes of the working weights. Of what lies apart the flat ones may be anything.
std::map<std::string, std::string> working_of(const ParameterStore& store) {
  const std::size_t size = size_of(store.compute_type());
  std::vector<std::byte> working(static_cast<std::size_t>(store.table().elements()) * size);
  if (store.device() == Device::kCuda) {
    cuda::copy_to_host(working.data(), store.working(0), working.size(), nullptr);
    cuda::synchronize(nullptr);
  } else {
    std::memcpy(working.data(), store.working(0), working.size());
  }
  std::map<std::string, std::string> hashes;
  for (const ParameterSpec& spec : store.table().specs()) {
    if (spec.in_fp32()) continue;
    hashes[spec.name] = hash_of(working.data() + static_cast<std::size_t>(spec.offset) * size,
                                static_cast<std::size_t>(spec.count()) * size);
  }
  return hashes;
}

void optimize(RankGroup& group, const Arguments& arguments) {
  const std::unique_ptr<Communicator> on_device = device_communicator(group, arguments);
  Communicator& ranks = on_device == nullptr ? group.communicator() : *on_device;
  TrainingSettings settings;
  take_settings(arguments, settings);
  ParameterTable table = optimizer_table();
  const Shards shards = shards_of(table, ranks, settings.zero == 2);
  ParameterStore store(std::move(table), type_argument(arguments), true, ranks.device(), settings.master,
                       settings.zero > 0 && ranks.size() > 1 ? &shards : nullptr);
  Context context;
  context.device = ranks.device();
  if (context.device == Device::kCuda) context.architecture = cuda::device_properties(0).architecture;
  store.initialise(3, 0.1);
  store.refresh_working(context);
  Optimizer optimizer(store, settings, false);
  std::string text;
  for (std::uint64_t step = 1; step <= 5; ++step) {
    std::vector<float> gradients(static_cast<std::size_t>(store.table().elements()), 0.0f);
    for (int index = 0; index < store.table().size(); ++index) {
      const ParameterSpec& spec = store.table()[index];
      fill_normal(gradients.data() + spec.offset, spec.count(), 0, 1, step, static_cast<std::uint64_t>(index));
    }
    store.write_all(ParameterStore::Values::kGradient, gradients);
    text += concatenate("norm ", optimizer.step(context, 1e-3), "\n");
  }
  const std::vector<float> left = store.read_all(ParameterStore::Values::kGradient);
  check(std::all_of(left.begin(), left.end(), [](float value) { return value == 0; }), "a gradient was left");
  for (const auto& [name, hash] : working_of(store)) text += name + " working " + hash + "\n";
  for (int index = 0; index < store.table().size(); ++index) {
    const ParameterSpec& spec = store.table()[index];
    std::vector<float> master(static_cast<std::size_t>(spec.count()));
    store.read(ParameterStore::Values::kMaster, index, master.data());
    text += spec.name + " master " + hash_of(master.data(), master.size() * sizeof(float)) + "\n";
  }
  for (const TensorSource& source : optimizer.state().tensors()) {
    std::size_t bytes = source.dtype == "U8" ? 1 : sizeof(float);
    for (const std::int64_t side : source.shape) bytes *= static_cast<std::size_t>(side);
    std::vector<std::byte> values(bytes);
    source.read(values.data());
    text += source.name + " " + hash_of(values.data(), bytes) + "\n";
  }
  store.end_sharing(ranks.rank() == 0);
  if (ranks.rank() == 0) check(!store.read_all(ParameterStore::Values::kMaster).empty(), "rank 0 has no masters");
  std::ofstream(concatenate(text_argument(arguments, "output"), "/rank-", group.place().rank, ".txt")) << text;
}

// --- training -------------------------------------------------------------------------------------------------------------

/// Writes down every step, and ends this rank in the way a test wants.
class ProbeObserver : public TrainingObserver {
 public:
  ProbeObserver(const RankPlace& place, const Arguments& arguments)
      : rank_(place.rank), last_(place.rank + 1 == place.size), arguments_(arguments) {}

  void on_step(const Step& step) override {
    char line[160];
    std::snprintf(line, sizeof line, "step %lld loss %a norm %a tokens %lld\n", static_cast<long long>(step.step), step.loss,
                  step.gradient_norm, static_cast<long long>(step.tokens));
    text_ += line;
    bytes_ += step.communication_bytes.value_or(0);
    if (last_ && step.step == number_argument(arguments_, "stop-at", -1)) stop.store(true);  // the others are not told
    if (step.step != number_argument(arguments_, "end-at", -1) || rank_ != number_argument(arguments_, "end-rank", 0))
      return;
    const std::string how = text_argument(arguments_, "end");
    if (how == "kill") raise(SIGKILL);
    if (how == "stop") raise(SIGSTOP);
    if (how == "late") std::this_thread::sleep_for(std::chrono::seconds(60));
    if (how == "throw") throw Error("this rank has had enough");
  }
  void on_evaluation(std::int64_t step, const std::map<std::string, double>& metrics, bool best) override {
    char line[160];
    std::snprintf(line, sizeof line, "evaluation %lld %a %s\n", static_cast<long long>(step), metrics.begin()->second,
                  best ? "best" : "");
    text_ += line;
  }
  void on_message(const std::string& text) override { text_ += text + "\n"; }
  const std::string& text() const { return text_; }
  std::int64_t bytes() const { return bytes_; }

  std::atomic<bool> stop = false;

 private:
  int rank_;
  bool last_;
  const Arguments& arguments_;
  std::string text_;
  std::int64_t bytes_ = 0;
};

void train_bags(RankGroup& group, const Arguments& arguments) {
  const int rank = group.place().rank;
  const Dataset data = bag_dataset(70);
  const Dataset tokens = bag_dataset(40, HeadKind::kToken, 11);
  TrainingRun run;
  take_settings(arguments, run.settings);
  BagModel model({{"bags", HeadKind::kSequence, 3}, {"tokens", HeadKind::kToken, 3}}, type_argument(arguments),
                 static_cast<std::uint32_t>(number_argument(arguments, "model-seed", 7)) +
                     (number_argument(arguments, "other-model", -1) == rank ? 1 : 0),
                 run.settings.master, run.settings.zero > 0 ? &group.communicator() : nullptr, run.settings.zero == 2);
  model.sparse = number_argument(arguments, "sparse", 1) == 1;
  run.model = &model;
  TrainingTask task;
  task.name = "bags";
  task.train = &data;
  run.tasks = {task};
  task.name = "tokens";
  task.train = &tokens;
  task.head = 1;
  task.weight = 0.5;
  run.tasks.push_back(task);
  run.settings.learning_rate = number_argument(arguments, "other-rate", -1) == rank ? 1e-2 : 2e-2;
  run.settings.per_device_train_batch_size = number_argument(arguments, "batch", 16);
  run.settings.max_tokens_per_batch = 64;
  run.settings.max_steps = number_argument(arguments, "steps", 8);
  run.settings.gradient_parts = number_argument(arguments, "parts", -1);
  run.settings.save_steps = number_argument(arguments, "save", 0);
  run.settings.save_minutes = 0;
  run.settings.eval_steps = number_argument(arguments, "eval", 0);
  run.settings.early_stopping_patience = number_argument(arguments, "patience", 0);
  ProbeObserver observer(group.place(), arguments);
  run.observers = {&observer};
  run.evaluate = [&](Model& trained) -> std::map<std::string, double> {
    check(rank == 0, "a rank that does not lead evaluates");
    double squares = 0;  // that grow: the first evaluation is the best
    const ParameterStore& store = trained.parameters();
    for (int i = 0; i < 3 * BagModel::kWidth; ++i) {
      const double weight = load_element(store.working(0), store.compute_type(), i);
      squares += weight * weight;
    }
    return {{"bags", -squares}};
  };
  if (run.settings.eval_steps == 0) run.evaluate = {};
  run.communicator = &group.communicator();
  run.directory = text_argument(arguments, "output");
  run.resume = true;
  run.stop = &observer.stop;
  const TrainingResult result = train(run);
  // The last of the table, which every rank has wherever masters lie.
  const ParameterStore& store = model.parameters();
  const int word = store.table().find("word");
  const std::int64_t elements =
      store.compute_type() == DType::kFloat32 ? store.table().elements() : store.table()[word].count();
  const void* weights = store.working(store.compute_type() == DType::kFloat32 ? 0 : word);
  std::ofstream(concatenate(run.directory.string(), "/rank-", rank, ".txt"))
      << observer.text() << "weights "
      << hash_of(weights, static_cast<std::size_t>(elements) * size_of(store.compute_type())) << "\nsteps " << result.steps
      << (result.interrupted ? " interrupted" : "") << (result.stopped_early ? " stopped early" : "") << "\n";
  std::ofstream(concatenate(run.directory.string(), "/bytes-", rank, ".txt")) << observer.bytes();
}

/// A short training without checkpoints. rank-N.txt holds losses, and what the weights are.
void train_encoder(RankGroup& group, const Arguments& arguments) {
  const std::unique_ptr<Communicator> on_device = device_communicator(group, arguments);
  Communicator& ranks = on_device == nullptr ? group.communicator() : *on_device;
  TrainingSettings settings;
  take_settings(arguments, settings);
  tiny::Training training(ranks.device(), settings.zero, &ranks);
  training.run.settings.max_steps = number_argument(arguments, "steps", 2);
  training.run.settings.gradient_parts = number_argument(arguments, "parts", -1);
  ProbeObserver observer(group.place(), arguments);
  training.run.observers = {&observer};
  training.run.communicator = &ranks;
  train(training.run);
  std::string text = observer.text();
  for (const auto& [name, hash] : working_of(training.model->parameters())) text += name + " " + hash + "\n";
  std::ofstream(concatenate(text_argument(arguments, "output"), "/rank-", group.place().rank, ".txt")) << text;
}

// --- predictions ----------------------------------------------------------------------------------------------------------

/// Its numbers say what stood in the batch, and with what else.
class TellingModel : public BagModel {
 public:
  std::int64_t end_at = -1;  ///< the batch at which it kills its process
  std::int64_t batches = 0;

  std::vector<float> predict(const PackedBatch& batch) override { return numbers_of(batch, batch.head); }
  std::vector<float> encode_layers(const PackedBatch& batch, const std::vector<std::int64_t>& layers,
                                   Pooling pooling) override {
    return numbers_of(batch, 100 * static_cast<int>(pooling) + static_cast<int>(layers.at(1)));
  }

 private:
  std::vector<float> numbers_of(const PackedBatch& batch, int asked) {
    if (batches++ == end_at) raise(SIGKILL);
    std::vector<float> numbers;
    for (std::int64_t sequence = 0; sequence < batch.source.sequences; ++sequence) {
      const auto i = static_cast<std::size_t>(sequence);
      float sum = 0;
      for (std::int32_t token = batch.source.cumulative_lengths[i]; token < batch.source.cumulative_lengths[i + 1]; ++token)
        sum = 0.7f * sum + static_cast<float>(batch.source.ids[static_cast<std::size_t>(token)]);
      numbers.insert(numbers.end(),
                     {sum, static_cast<float>(batch.source.sequence_examples[i]), static_cast<float>(batch.source.tokens),
                      static_cast<float>(asked), static_cast<float>(batch.labels.empty() ? -1 : batch.labels[i])});
    }
    return numbers;
  }
};

void predict(RankGroup& group, const Arguments& arguments) {
  Communicator& ranks = group.communicator();
  TellingModel model;
  if (number_argument(arguments, "end-rank", -1) == ranks.rank()) model.end_at = 2;
  if (ranks.rank() == 0) {
    const Dataset data = bag_dataset(300);
    PredictionPass pass;
    pass.maximum_tokens = 32;
    TellingModel alone;
    const std::vector<std::vector<std::int64_t>> all = plan_prediction(data, pass.maximum_tokens).micro_batches;
    for (const bool encodes : {false, true}) {
      pass.encodes = encodes;
      pass.head = encodes ? 0 : 3;
      pass.layers = {0, 7};
      pass.pooling = Pooling::kFirstToken;
      const auto at_once = static_cast<std::size_t>(kBatchesOfARank * ranks.size());
      for (std::size_t first = 0; first < all.size(); first += at_once) {
        const auto batches = std::span(all).subspan(first, std::min(at_once, all.size() - first));
        const std::vector<std::vector<float>> numbers = predict_together(model, ranks, pass, data, batches);
        for (std::size_t i = 0; i < batches.size(); ++i)
          check(numbers[i] == compute_batch(alone, pass, data, batches[i]), "batch ", first + i,
                " has other numbers than alone");
      }
    }
    end_help(ranks);
    check(ranks.sum(model.batches) == 2 * std::ssize(all), "batches are computed twice, or not");
  } else {
    check(help_predicting(model, ranks) == model.batches, "a helper counts other batches than it computed");
    ranks.sum(model.batches);
  }
  std::ofstream(concatenate(text_argument(arguments, "output"), "/rank-", ranks.rank(), ".txt")) << model.batches;
}

int run_probe(const std::string& what, const Arguments& arguments) {
  set_thread_count(1);
  RankGroup group(find_rank_place(environment()));
  try {
    if (what == "collectives") collectives(group, arguments);
    if (what == "encoder") train_encoder(group, arguments);
    if (what == "sums") sums(group, arguments);
    if (what == "predict") predict(group, arguments);
    if (what == "optimizer") optimize(group, arguments);
    if (what == "train") train_bags(group, arguments);
    group.leave();
    return 0;
  } catch (const std::exception& error) {
    group.fail(error.what());
    throw;
  }
}

}  // namespace
}  // namespace koine

int main(int count, char** values) {
  // As the program does: writing to a rank that has died is then an error that names it.
  signal(SIGPIPE, SIG_IGN);
  try {
    koine::Arguments arguments;
    for (int i = 2; i < count; ++i) {
      const std::string word = values[i];
      arguments[word.substr(0, word.find('='))] = word.substr(word.find('=') + 1);
    }
    return koine::run_probe(values[1], arguments);
  } catch (const koine::UserError& error) {
    std::cerr << error.what() << std::endl;
    return 2;
  } catch (const std::exception& error) {
    std::cerr << error.what() << std::endl;
    return 1;
  }
}
