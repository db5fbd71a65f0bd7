#include "models/xlmr/xlmr.h"

#include <algorithm>

#include "engine/files/safetensors.h"
#include "models/xlmr/checkpoint.h"
#include "models/xlmr/runner.h"

namespace koine {
namespace {

class XlmrModel : public Model {
 public:
  XlmrModel(const XlmrConfig& config, const ModelOptions& options)
      : config_(config),
        options_(options),
        index_(xlmr_parameters(config, options.heads)),
        store_(index_.table, options.precision, options.training),
        runner_(config, options.precision, options.heads, index_, ParameterAddresses(store_)) {
    context_.forced = &options_.forced_variants;
  }

  void initialise() { store_.initialise(options_.seed, config_.initializer_range); }
  void refresh() { store_.refresh_working(context_); }

  ParameterStore& parameters() override { return store_; }
  const std::vector<HeadSpec>& heads() const override { return options_.heads; }
  std::int64_t hidden_size() const override { return config_.hidden_size; }
  std::int64_t layers() const override { return config_.num_hidden_layers; }
  std::int64_t vocabulary_size() const override { return config_.vocab_size; }
  std::int64_t maximum_length() const override { return config_.maximum_length(); }
  Context& context() override { return context_; }

  void reserve(std::int64_t maximum_tokens, bool training) override {
    check(maximum_tokens > 0, "memory is reserved for at least one token");
    check(!training || options_.training, "this model was made for prediction");
    if (maximum_tokens <= reserved_tokens_ && (!training || reserved_training_)) return;
    reserved_tokens_ = std::max(reserved_tokens_, maximum_tokens);
    reserved_training_ = reserved_training_ || training;
    const MemoryPlan plan = plan_memory(runner_, config_, options_.heads, reserved_tokens_, reserved_training_, context_);
    context_.scratch = nullptr;
    activations_.reset();
    scratch_.reset();
    activations_ = std::make_unique<StackMemory>("activations", plan.activation_bytes);
    scratch_ = std::make_unique<StackMemory>("scratch", plan.scratch_bytes);
    context_.scratch = scratch_.get();
  }

  double train_batch(const PackedBatch& batch, double gradient_scale, const StepIdentity& step) override {
    ready_for(batch, true);
    return runner_.train(context_, batch, gradient_scale, step, *activations_);
  }
  double evaluate_loss(const PackedBatch& batch) override {
    ready_for(batch, false);
    return runner_.loss(context_, batch, *activations_);
  }
  std::vector<float> predict(const PackedBatch& batch) override {
    ready_for(batch, false);
    return runner_.predict(context_, batch, *activations_);
  }
  std::vector<float> encode(const PackedBatch& batch, std::int64_t layer, Pooling pooling) override {
    ready_for(batch, false);
    return runner_.encode(context_, batch, layer, pooling, *activations_);
  }
  std::vector<float> hidden_states(const PackedBatch& batch, std::int64_t layer) override {
    ready_for(batch, false);
    return runner_.hidden_states(context_, batch, layer, *activations_);
  }

  double forward_flops(const std::vector<std::int64_t>& lengths, int head, std::int64_t counted_labels) const override {
    HeadSpec none;
    none.kind = HeadKind::kToken;
    return xlmr_forward_flops(config_, head < 0 ? none : options_.heads[static_cast<std::size_t>(head)], lengths,
                              counted_labels);
  }
  bool word_gradient_is_sparse() const override { return store_.table()[index_.word].lazy_rows; }
  int word_embedding() const override { return index_.word; }

  void save(const std::string& directory) override {
    write_model(directory, config_, options_.heads, options_.labels, store_);
  }

 private:
  void ready_for(const PackedBatch& batch, bool training) {
    // Growing in the middle of a run would hide a wrong budget: only prediction may, for sequences longer than it.
    if (batch.tokens > reserved_tokens_ || (training && !reserved_training_)) {
      check(!training, "a training batch of ", batch.tokens, " tokens is beyond the ", reserved_tokens_, " tokens reserved");
      reserve(batch.tokens, false);
    }
  }

  XlmrConfig config_;
  ModelOptions options_;
  XlmrParameters index_;
  ParameterStore store_;
  XlmrRunner runner_;
  Context context_;
  std::unique_ptr<StackMemory> activations_;
  std::unique_ptr<StackMemory> scratch_;
  std::int64_t reserved_tokens_ = 0;
  bool reserved_training_ = false;
};

}  // namespace

std::unique_ptr<Model> make_xlmr(const XlmrConfig& config, const ModelOptions& options) {
  auto model = std::make_unique<XlmrModel>(config, options);
  model->initialise();
  model->refresh();
  return model;
}

std::unique_ptr<Model> load_xlmr(const std::filesystem::path& directory, const ModelOptions& options, LoadReport* report) {
  XlmrConfig config = read_xlmr_config(directory / "config.json");
  const ModelWeights weights(directory);
  config.norm = norm_placement_of(weights, config.norm);
  auto model = std::make_unique<XlmrModel>(config, options);
  model->parameters().initialise(options.seed, config.initializer_range, /*heads_only=*/true);
  LoadReport found = read_weights(weights, directory, model->parameters());
  if (report != nullptr) *report = std::move(found);
  model->refresh();
  return model;
}

ParameterTable xlmr_parameter_table(const XlmrConfig& config, const std::vector<HeadSpec>& heads) {
  return xlmr_parameters(config, heads).table;
}

MemoryPlan plan_xlmr_memory(const XlmrConfig& config, const ModelOptions& options, std::int64_t maximum_tokens) {
  const XlmrParameters parameters = xlmr_parameters(config, options.heads);
  XlmrRunner runner(config, options.precision, options.heads, parameters, ParameterAddresses(parameters.table));
  Context context;
  context.forced = &options.forced_variants;
  return plan_memory(runner, config, options.heads, maximum_tokens, options.training, context);
}

double xlmr_forward_flops(const XlmrConfig& config, const HeadSpec& head, const std::vector<std::int64_t>& lengths,
                          std::int64_t counted_labels) {
  const double hidden = static_cast<double>(config.hidden_size);
  const double layers = static_cast<double>(config.num_hidden_layers);
  const double weights = layers * (4 * hidden * hidden + 2 * hidden * static_cast<double>(config.intermediate_size));
  double tokens = 0;
  double squares = 0;
  for (const std::int64_t length : lengths) {
    tokens += static_cast<double>(length);
    squares += static_cast<double>(length) * static_cast<double>(length);
  }
  double flops = 2 * weights * tokens + 4 * hidden * layers * squares;
  const double sequences = static_cast<double>(lengths.size());
  const double classes = head.classes;
  switch (head.kind) {
    case HeadKind::kMaskedLm:
      flops += 2 * static_cast<double>(counted_labels) * (hidden * hidden + classes * hidden);
      break;
    case HeadKind::kSequence:
      flops += 2 * sequences * (hidden * hidden + classes * hidden);
      break;
    case HeadKind::kSequencePooled:
      flops += 2 * sequences * (2 * hidden * hidden + classes * hidden);
      break;
    case HeadKind::kChoice:
      flops += 2 * sequences * (hidden * hidden + hidden);
      break;
    case HeadKind::kToken:
    case HeadKind::kSpan:
      flops += 2 * tokens * classes * hidden;
      break;
  }
  return flops;
}

}  // namespace koine
