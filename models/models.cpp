#include "models/models.h"

#include <algorithm>
#include <cctype>
#include <numeric>
#include <optional>
#include <utility>

#include "engine/files/safetensors.h"
#include "engine/files/text_file.h"
#include "engine/ranks/shards_of.h"
#include "engine/tokenizer/tokenizer_files.h"
#include "kernels/cuda/runtime.h"
#include "models/families.h"
#include "models/shell/checkpoint.h"
#include "models/shell/device_side.h"
#include "models/shell/plan.h"
#include "models/shell/search.h"

namespace koine {
namespace {

ParameterStore make_store(const ModelConfig& config, const ModelOptions& options) {
  ParameterTable table = config.family->parameters(config, options.heads);
  Communicator* const ranks = options.execution.communicator;
  std::optional<Shards> shards;
  if (options.training && options.shared && ranks != nullptr && ranks->size() > 1)
    shards = shards_of(table, *ranks, options.shared_gradients);
  return ParameterStore(std::move(table), options.execution.precision, options.training, options.execution.device,
                        options.training ? options.master : MasterKind::kFloat32, shards.has_value() ? &*shards : nullptr);
}

/// A model of any family: parameters, memory and batches around what the family's runner does.
class ModelShell : public Model {
 public:
  ModelShell(const ModelConfig& config, const ModelOptions& options)
      : config_(config),
        options_(options),
        store_(make_store(config, options)),
        runner_(config.family->runner(config, options.execution.precision, options.heads, ParameterAddresses(store_))),
        context_(context_of(options_.execution)),
        losses_(Buffer::zeroed(context_.device, "losses", 2 * sizeof(double))) {
    runner_->recompute_activations(options.recompute);
    if (context_.device == Device::kCpu) return;
    device_ = std::make_unique<DeviceSide>();
    context_.stream = device_->stream();
  }

  void initialise(bool heads_only) { store_.initialise(options_.seed, config_.initializer_range, heads_only); }
  void refresh() {
    store_.refresh_working(context_);
    if (device_ != nullptr) cuda::synchronize(context_.stream);
  }

  ParameterStore& parameters() override { return store_; }
  const std::vector<HeadSpec>& heads() const override { return options_.heads; }
  std::int64_t hidden_size() const override { return config_.hidden_size; }
  std::int64_t layers() const override { return config_.num_hidden_layers; }
  std::int64_t maximum_length() const override { return config_.maximum_length(); }
  Context& context() override { return context_; }

  void reserve(std::int64_t maximum_tokens, bool training) override {
    check(maximum_tokens > 0, "memory is reserved for at least one token");
    check(!training || options_.training, "this model was made for prediction");
    if (maximum_tokens <= reserved_tokens_ && (!training || reserved_training_)) return;
    reserved_tokens_ = std::max(reserved_tokens_, maximum_tokens);
    reserved_training_ = reserved_training_ || training;
    const MemoryPlan plan = plan_memory(*runner_, config_, options_.heads, reserved_tokens_, reserved_training_, context_);
    context_.scratch = nullptr;
    const auto decodes = [](const HeadSpec& head) { return facts_of(head.kind).of_target; };
    const bool targets = std::any_of(options_.heads.begin(), options_.heads.end(), decodes);
    if (device_ != nullptr) device_->reserve(reserved_tokens_, targets ? 2 : 1);
    activations_.reset();
    scratch_.reset();
    activations_ = std::make_unique<StackMemory>("activations", plan.activation_bytes, context_.device);
    scratch_ = std::make_unique<StackMemory>("scratch", plan.scratch_bytes, context_.device);
    context_.scratch = scratch_.get();
  }

  void add_batch(const PackedBatch& batch, double gradient_scale, const StepIdentity& step,
                 const GradientReady& ready) override {
    runner_->require_readable(batch);
    ready_for(batch, true);
    if (device_ == nullptr) {
      const BackwardProgress progress = [&](int parameters) {
        if (ready) ready(parameters, nullptr);
      };
      runner_->train(context_, host_view_of(batch), gradient_scale, step, *activations_, loss_sum(), needed_, progress);
      return;
    }
    PackedBatch padded = batch;
    pad_to_common_size(padded, static_cast<std::int32_t>(config_.pad_token_id), reserved_tokens_, config_.maximum_length());
    const BatchView view =
        device_->uploader().upload(padded, step.step, static_cast<float>(gradient_scale), context_.stream);
    const bool shared = store_.shares_gradients();
    // A profile waits around every operation, which a recording cannot; the counted tokens of a masked batch are never as
    // many twice; nor can a recording wait for what another rank has not been told yet.
    const bool varies = facts_of(batch.head_kind).logits == LogitsPlace::kCountedToken;
    const bool recorded = options_.graphs && context_.profile == nullptr && !varies && !shared;
    if (recorded && needed_) needed_(0);
    const auto work = [&] {
      device_->begin_marks();
      runner_->train(context_, view, gradient_scale, step, *activations_, loss_sum(), recorded ? WeightsNeeded() : needed_,
                     [&](int parameters) {
                       const cuda::Event& passed = device_->mark(parameters);
                       if (shared && ready) ready(parameters, &passed);
                     });
    };
    if (recorded) {
      device_->run_recorded(view, step, work);
    } else {
      work();
    }
    if (ready && !shared) device_->tell(ready);
  }
  double* loss_sum() override { return losses_.as<double>(); }
  bool ask_before_reading(WeightsNeeded needed) override {
    needed_ = std::move(needed);
    return true;
  }

  double evaluate_loss(const PackedBatch& batch) override {
    const BatchView view = view_of(batch);  // which may make room first
    double* place = losses_.as<double>() + 1;
    if (device_ == nullptr) {
      *place = 0;
      runner_->loss(context_, view, *activations_, place);
      return *place;
    }
    double loss = 0;
    cuda::fill_with_zero(place, sizeof loss, context_.stream);
    runner_->loss(context_, view, *activations_, place);
    cuda::copy_to_host(&loss, place, sizeof loss, context_.stream);
    cuda::synchronize(context_.stream);
    return loss;
  }
  std::vector<float> predict(const PackedBatch& batch) override {
    const BatchView view = view_of(batch);  // which may make room first
    return runner_->predict(context_, view, *activations_);
  }
  std::vector<float> encode_layers(const PackedBatch& batch, const std::vector<std::int64_t>& layers,
                                   Pooling pooling) override {
    const BatchView view = view_of(batch);  // which may make room first
    return runner_->encode_layers(context_, view, layers, pooling, *activations_);
  }
  std::vector<float> hidden_states(const PackedBatch& batch, std::int64_t layer) override {
    const BatchView view = view_of(batch);  // which may make room first
    return runner_->hidden_states(context_, view, layer, *activations_);
  }

  std::vector<Generation> generate(const PackedBatch& batch, const GenerationSettings& settings) override {
    const std::int64_t sources = batch.source.sequences;
    const std::unique_ptr<Decoding> decoding = begin_decoding(batch, sources * settings.beams, settings.maximum_length);
    GenerationSettings whole = settings;
    if (whole.end < 0) whole.end = decoding->end();
    return search(*decoding, sources, whole);
  }
  std::vector<std::vector<float>> answer_scores(
      const PackedBatch& batch, const std::vector<std::vector<std::vector<std::int32_t>>>& answers) override {
    const std::int64_t sources = batch.source.sequences;
    const AnswerRows size = rows_to_compare(sources, answers);
    return compare(*begin_decoding(batch, size.rows, size.longest), sources, answers);
  }

  double forward_flops(const std::vector<std::int64_t>& lengths, int head, std::int64_t counted_labels) const override {
    return model_forward_flops(config_, head < 0 ? nullptr : &options_.heads[static_cast<std::size_t>(head)], lengths,
                               counted_labels);
  }
  bool word_gradient_is_sparse() const override {
    const std::vector<ParameterSpec>& specs = store_.table().specs();
    return std::any_of(specs.begin(), specs.end(), [](const ParameterSpec& spec) { return spec.lazy_rows; });
  }

  void save(const std::string& directory) override {
    write_model(directory, config_, options_.heads, options_.labels, store_);
  }

 private:
  BatchView host_view_of(const PackedBatch& batch) {
    if (std::ssize(zero_positions_) < batch.source.sequences)
      zero_positions_.assign(static_cast<std::size_t>(batch.source.sequences), 0);
    return host_view(batch, zero_positions_);
  }

  /// Of the batch's sources, which are read now.
  std::unique_ptr<Decoding> begin_decoding(const PackedBatch& batch, std::int64_t rows, std::int64_t longest) {
    PackedBatch sources = batch;
    sources.target = {};
    sources.labels.clear();
    sources.counted_labels = 0;
    const BatchView view = view_of(sources);  // which may make room first
    return runner_->begin_decoding(context_, view, rows, longest, *activations_);
  }

  /// The batch where the operations can read it, for prediction.
  BatchView view_of(const PackedBatch& batch) {
    runner_->require_readable(batch);
    ready_for(batch, false);
    return device_ == nullptr ? host_view_of(batch) : device_->uploader().upload(batch, 0, 1, context_.stream);
  }

  void ready_for(const PackedBatch& batch, bool training) {
    // Growing in the middle of a run would hide a wrong budget: only prediction may, for sequences longer than it.
    if (batch.tokens() > reserved_tokens_ || (training && !reserved_training_)) {
      check(!training, "a training batch of ", batch.tokens(), " tokens is beyond the ", reserved_tokens_,
            " tokens reserved");
      reserve(batch.tokens(), false);
    }
  }

  ModelConfig config_;
  ModelOptions options_;
  ParameterStore store_;
  std::unique_ptr<ModelRunner> runner_;
  Context context_;
  Buffer losses_;                       ///< of training, of an evaluation
  std::unique_ptr<DeviceSide> device_;  ///< null on the CPU
  std::vector<std::int32_t> zero_positions_;
  WeightsNeeded needed_;
  std::unique_ptr<StackMemory> activations_;
  std::unique_ptr<StackMemory> scratch_;
  std::int64_t reserved_tokens_ = 0;
  bool reserved_training_ = false;
};

/// The masked-language head's decoder is the word embedding; a checkpoint whose is not would be read as another model.
void require_tied(const ModelConfig& config, const std::vector<HeadSpec>& heads, const std::filesystem::path& directory) {
  for (const HeadSpec& head : heads) {
    require(config.tie_word_embeddings || !parts_of(config, head.kind).tied, (directory / "config.json").string(),
            ": key \"tie_word_embeddings\" is false: the decoder of the masked-language head has weights of its own, which "
            "koine "
            "does not run");
  }
}

std::string lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += concatenate(text.empty() ? "" : ",", name);
  return text;
}

/// "a", "b" with their quotation marks.
std::string quoted(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += concatenate(text.empty() ? "\"" : ", \"", name, "\"");
  return text;
}

/// The names of id2label by class, in lower case; empty where it has none, or placeholders.
std::vector<std::string> names_of_classes(const ModelConfig& config) {
  std::vector<std::string> names;
  const auto found = config.original.find("id2label");
  if (found == config.original.end() || !found->is_object()) return names;
  for (std::size_t i = 0; i < found->size(); ++i) {
    const auto entry = found->find(std::to_string(i));
    if (entry == found->end() || !entry->is_string()) return {};
    names.push_back(lower_case(entry->get<std::string>()));
  }
  const bool placeholders =
      std::all_of(names.begin(), names.end(), [](const std::string& name) { return name.starts_with("label_"); });
  return placeholders ? std::vector<std::string>() : names;
}

}  // namespace

std::unique_ptr<Model> make_model(const ModelConfig& config, const ModelOptions& options) {
  use_device(options.execution);
  auto model = std::make_unique<ModelShell>(config, options);
  model->initialise(/*heads_only=*/false);
  model->refresh();
  return model;
}

std::unique_ptr<Model> load_model(const std::filesystem::path& directory, const ModelOptions& options, LoadReport* report) {
  ModelConfig config = read_model_config(directory);
  const ModelWeights weights(directory);
  const bool told_tied = config.tie_word_embeddings;
  if (config.family->correct != nullptr) config.family->correct(weights, config);
  require_tied(config, options.heads, directory);
  use_device(options.execution);
  auto model = std::make_unique<ModelShell>(config, options);
  model->initialise(/*heads_only=*/true);
  LoadReport found = read_weights(weights, directory, *config.family, model->parameters());
  if (told_tied != config.tie_word_embeddings) {
    found.notes.push_back(
        concatenate((directory / "config.json").string(), ": \"tie_word_embeddings\" says ", told_tied ? "true" : "false",
                    ", the tensors another thing: ",
                    config.tie_word_embeddings ? "the head is the word embedding" : "the head has weights of its own"));
  }
  if (report != nullptr) *report = std::move(found);
  model->refresh();
  return model;
}

void order_classes(Model& model, const ModelConfig& config, const std::vector<std::string>& labels,
                   const std::vector<std::string>& told, const std::string& where) {
  if (labels.empty()) return;
  std::vector<std::string> names;
  for (const std::string& name : told) names.push_back(lower_case(name));
  require(told.empty() || told.size() == labels.size(), "--labels names ", told.size(), " classes, the task has ",
          labels.size(), ": ", quoted(labels));
  if (told.empty()) names = names_of_classes(config);
  require(!names.empty(), where,
          ": no id2label says what the classes are (LABEL_0 and the like are placeholders); say it in ",
          "the checkpoint's order, for example --labels ", joined(labels));
  std::vector<std::size_t> order;
  std::vector<std::string> missing;
  for (const std::string& label : labels) {
    const auto found = std::find(names.begin(), names.end(), lower_case(label));
    order.push_back(static_cast<std::size_t>(found - names.begin()));
    if (found == names.end()) missing.push_back(label);
  }
  require(missing.empty(), told.empty() ? where + ": id2label" : "--labels", " has no class ", quoted(missing), "; it has ",
          quoted(names));
  check(model.heads().size() == 1, "the classes of one head are ordered");
  ParameterStore& store = model.parameters();
  const std::string output(parts_of(config, model.heads().front().kind).output);
  for (const char* part : {".weight", ".bias"}) {
    const int index = store.table().find(output + part);
    check(index >= 0, "a head without ", output, part);
    const auto count = static_cast<std::size_t>(store.table()[index].count());
    std::vector<float> before(count);
    std::vector<float> after;
    store.read(ParameterStore::Values::kMaster, index, before.data());
    const std::size_t row = count / names.size();
    for (const std::size_t from : order) {
      const auto begin = before.begin() + static_cast<std::ptrdiff_t>(from * row);
      after.insert(after.end(), begin, begin + static_cast<std::ptrdiff_t>(row));
    }
    check(after.size() == count, "id2label has ", names.size(), " classes, the head ", labels.size());
    store.write(ParameterStore::Values::kMaster, index, after.data());
  }
  store.refresh_working(model.context());
}

std::string_view family_name(const ModelConfig& config) { return config.family->name; }

Tokenizer load_tokenizer(const ModelConfig& config, const std::filesystem::path& path) {
  return Tokenizer(path, config.family->numbering);
}

void complete_model_directory(const std::filesystem::path& directory) {
  if (!std::filesystem::exists(directory / "config.json")) return;
  try {
    ModelConfig config = read_model_config(directory);
    if (!config.original.contains("transformers_version")) {
      state_transformers_version(config.original);
      write_file_atomically(directory / "config.json", config.original.dump(2) + "\n");
    }
    save_tokenizer(load_tokenizer(config, directory), config.maximum_length(), directory);
  } catch (const UserError&) {
    // Another family's model, or one without a tokenizer, has what it came with.
  }
}

ParameterTable model_parameter_table(const ModelConfig& config, const std::vector<HeadSpec>& heads) {
  return config.family->parameters(config, heads);
}

MemoryPlan plan_model_memory(const ModelConfig& config, const ModelOptions& options, std::int64_t maximum_tokens) {
  const ParameterTable table = model_parameter_table(config, options.heads);
  const std::unique_ptr<ModelRunner> runner =
      config.family->runner(config, options.execution.precision, options.heads, ParameterAddresses(table));
  runner->recompute_activations(options.recompute);
  return plan_memory(*runner, config, options.heads, maximum_tokens, options.training, context_of(options.execution));
}

double model_forward_flops(const ModelConfig& config, const HeadSpec* head, const std::vector<std::int64_t>& lengths,
                           std::int64_t counted_labels) {
  const bool decodes = head != nullptr && facts_of(head->kind).of_target;
  const std::int64_t tokens = decodes ? counted_labels : std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
  std::vector<std::int64_t> targets;
  if (decodes) targets.assign(lengths.size(), counted_labels / std::max<std::int64_t>(1, std::ssize(lengths)));
  const double flops = config.family->forward_flops(config, lengths, targets);
  if (head == nullptr) return flops;
  return flops + head_forward_flops(*head, parts_of(config, head->kind), config.hidden_size, tokens, std::ssize(lengths),
                                    counted_labels);
}

}  // namespace koine
