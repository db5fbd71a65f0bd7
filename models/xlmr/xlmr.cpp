#include "models/xlmr/xlmr.h"

#include <algorithm>
#include <array>
#include <deque>

#include "engine/batch/device_batch.h"
#include "engine/files/safetensors.h"
#include "kernels/cuda/runtime.h"
#include "models/xlmr/checkpoint.h"
#include "models/xlmr/runner.h"

namespace koine {
namespace {

/// What a model on a device has besides its parameters.
class DeviceSide {
 public:
  /// Batches of up to `tokens` tokens from now on. What was recorded for the old memory is forgotten.
  void reserve(std::int64_t tokens) {
    cuda::synchronize_device();
    graphs_.clear();
    uploader_ = std::make_unique<BatchUploader>(tokens);
  }

  void* stream() const { return stream_.handle(); }
  BatchUploader& uploader() { return *uploader_; }

  /// Marks, behind what is in the stream (recorded or not), that the gradients of the first `parameters` are final.
  void mark(int parameters) {
    if (next_mark_ == marks_.size()) marks_.emplace_back();
    marks_[next_mark_].event.record(stream());
    marks_[next_mark_++].parameters = parameters;
  }
  /// Whether or not `work` ran or its recording did, its marks are set: all work sets the same ones.
  void tell(const GradientReady& ready) const {
    for (const Mark& mark : marks_) ready(mark.parameters, &mark.event);
  }
  void begin_marks() { next_mark_ = 0; }

  /// Runs `work`, which depends on nothing but the batch's sizes: the first time as it is, the second time it is recorded,
  /// from then on the recording.
  template <class Work>
  void run_recorded(const BatchView& batch, const StepIdentity& step, const Work& work) {
    Recorded& recorded = graphs_[Size{batch.tokens, batch.sequences, batch.maximum_length, batch.by_id.groups,
                                      batch.by_position.groups, batch.labelled ? 1 : 0, batch.head, step.seed}];
    recorded.last_use = ++uses_;
    if (recorded.graph.empty()) {
      if (++recorded.seen == 1) {
        work();
        forget_the_oldest();
        return;
      }
      cuda::Graph::begin_recording(stream());
      try {
        work();
      } catch (...) {
        cuda::Graph::abandon_recording(stream());
        throw;
      }
      recorded.graph = cuda::Graph::end_recording(stream());
    }
    recorded.graph.launch(stream());
  }

 private:
  using Size = std::array<std::int64_t, 8>;
  struct Recorded {
    int seen = 0;
    std::int64_t last_use = 0;
    cuda::Graph graph;
  };
  struct Mark {
    cuda::Event event;
    int parameters = 0;
  };
  static constexpr std::size_t kMostGraphs = 64;

  void forget_the_oldest() {
    if (graphs_.size() <= kMostGraphs) return;
    const auto older = [](const auto& a, const auto& b) { return a.second.last_use < b.second.last_use; };
    cuda::synchronize(stream());  // it may still run
    graphs_.erase(std::min_element(graphs_.begin(), graphs_.end(), older));
  }

  cuda::Stream stream_;
  std::unique_ptr<BatchUploader> uploader_;
  std::map<Size, Recorded> graphs_;
  std::int64_t uses_ = 0;
  std::deque<Mark> marks_;  ///< of a backward: recordings refer to them
  std::size_t next_mark_ = 0;
};

class XlmrModel : public Model {
 public:
  XlmrModel(const XlmrConfig& config, const ModelOptions& options)
      : config_(config),
        options_(options),
        index_(xlmr_parameters(config, options.heads)),
        store_(index_.table, options.execution.precision, options.training, options.execution.device),
        runner_(config, options.execution.precision, options.heads, index_, ParameterAddresses(store_)),
        context_(context_of(options_.execution)),
        losses_(Buffer::zeroed(context_.device, "losses", 2 * sizeof(double))) {
    if (context_.device == Device::kCpu) return;
    device_ = std::make_unique<DeviceSide>();
    context_.stream = device_->stream();
  }

  void initialise() { store_.initialise(options_.seed, config_.initializer_range); }
  void refresh() {
    store_.refresh_working(context_);
    if (device_ != nullptr) cuda::synchronize(context_.stream);
  }

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
    if (device_ != nullptr) device_->reserve(reserved_tokens_);
    activations_.reset();
    scratch_.reset();
    activations_ = std::make_unique<StackMemory>("activations", plan.activation_bytes, context_.device);
    scratch_ = std::make_unique<StackMemory>("scratch", plan.scratch_bytes, context_.device);
    context_.scratch = scratch_.get();
  }

  void add_batch(const PackedBatch& batch, double gradient_scale, const StepIdentity& step,
                 const GradientReady& ready) override {
    runner_.require_readable(batch);
    ready_for(batch, true);
    if (device_ == nullptr) {
      const BackwardProgress progress = [&](int parameters) {
        if (ready) ready(parameters, nullptr);
      };
      runner_.train(context_, host_view_of(batch), gradient_scale, step, *activations_, loss_sum(), progress);
      return;
    }
    PackedBatch padded = batch;
    pad_to_common_size(padded, static_cast<std::int32_t>(config_.pad_token_id), reserved_tokens_, config_.maximum_length());
    const BatchView view =
        device_->uploader().upload(padded, step.step, static_cast<float>(gradient_scale), context_.stream);
    const auto work = [&] {
      device_->begin_marks();
      runner_.train(context_, view, gradient_scale, step, *activations_, loss_sum(),
                    [&](int parameters) { device_->mark(parameters); });
    };
    // A profile waits around every operation, which a recording cannot; the counted tokens of a masked batch are never as
    // many twice.
    if (options_.graphs && context_.profile == nullptr && batch.head_kind != HeadKind::kMaskedLm) {
      device_->run_recorded(view, step, work);
    } else {
      work();
    }
    if (ready) device_->tell(ready);
  }
  double* loss_sum() override { return losses_.as<double>(); }

  double evaluate_loss(const PackedBatch& batch) override {
    const BatchView view = view_of(batch);  // which may make room first
    double* place = losses_.as<double>() + 1;
    if (device_ == nullptr) {
      *place = 0;
      runner_.loss(context_, view, *activations_, place);
      return *place;
    }
    double loss = 0;
    cuda::fill_with_zero(place, sizeof loss, context_.stream);
    runner_.loss(context_, view, *activations_, place);
    cuda::copy_to_host(&loss, place, sizeof loss, context_.stream);
    cuda::synchronize(context_.stream);
    return loss;
  }
  std::vector<float> predict(const PackedBatch& batch) override {
    const BatchView view = view_of(batch);  // which may make room first
    return runner_.predict(context_, view, *activations_);
  }
  std::vector<float> encode(const PackedBatch& batch, std::int64_t layer, Pooling pooling) override {
    const BatchView view = view_of(batch);  // which may make room first
    return runner_.encode(context_, view, layer, pooling, *activations_);
  }
  std::vector<float> hidden_states(const PackedBatch& batch, std::int64_t layer) override {
    const BatchView view = view_of(batch);  // which may make room first
    return runner_.hidden_states(context_, view, layer, *activations_);
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
  BatchView host_view_of(const PackedBatch& batch) {
    if (std::ssize(zero_positions_) < batch.sequences) zero_positions_.assign(static_cast<std::size_t>(batch.sequences), 0);
    return host_view(batch, zero_positions_);
  }

  /// The batch where the operations can read it, for prediction.
  BatchView view_of(const PackedBatch& batch) {
    runner_.require_readable(batch);
    ready_for(batch, false);
    return device_ == nullptr ? host_view_of(batch) : device_->uploader().upload(batch, 0, 1, context_.stream);
  }

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
  Buffer losses_;                       ///< of training, of an evaluation
  std::unique_ptr<DeviceSide> device_;  ///< null on the CPU
  std::vector<std::int32_t> zero_positions_;
  std::unique_ptr<StackMemory> activations_;
  std::unique_ptr<StackMemory> scratch_;
  std::int64_t reserved_tokens_ = 0;
  bool reserved_training_ = false;
};

}  // namespace

std::unique_ptr<Model> make_xlmr(const XlmrConfig& config, const ModelOptions& options) {
  use_device(options.execution);
  auto model = std::make_unique<XlmrModel>(config, options);
  model->initialise();
  model->refresh();
  return model;
}

std::unique_ptr<Model> load_xlmr(const std::filesystem::path& directory, const ModelOptions& options, LoadReport* report) {
  XlmrConfig config = read_xlmr_config(directory / "config.json");
  const ModelWeights weights(directory);
  config.norm = norm_placement_of(weights, config.norm);
  use_device(options.execution);
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
  XlmrRunner runner(config, options.execution.precision, options.heads, parameters, ParameterAddresses(parameters.table));
  return plan_memory(runner, config, options.heads, maximum_tokens, options.training, context_of(options.execution));
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
