#pragma once

// What the training loop, the evaluation and the tasks know of a model.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/batch/packed_batch.h"
#include "engine/parameters/parameter_store.h"
#include "engine/ranks/gradient_buckets.h"
#include "engine/training/generation.h"
#include "kernels/common/registry.h"

namespace koine {

/// A head of a model: its name ("xnli"; "" for the only one), kind and number of classes (HeadFacts::classes).
struct HeadSpec {
  std::string name;
  HeadKind kind = HeadKind::kSequence;
  std::int32_t classes = 0;
};

/// A sequence's vector: the mean of its tokens, special ones included or not; its first token; the mean weighted by position,
/// 1 for the first token, 2 for the next ... (SGPT, arXiv 2202.08904; MEXA's own).
enum class Pooling { kMean, kMeanWithoutSpecial, kFirstToken, kPositionWeightedMean };

/// What names a training step to dropout.
struct StepIdentity {
  std::uint32_t seed = 0;
  std::uint32_t step = 0;
};

/// How a model follows its own backward: the gradients of the first `parameters` of its table are final behind what the
/// context's stream holds by now. May be empty.
using BackwardProgress = std::function<void(int parameters)>;

/// How a model says what its forward is about to read: the weights of parameters from `first` of its table on. Falls.
using WeightsNeeded = std::function<void(int first)>;

/// Memory a step needs besides the parameters, from a dry run.
struct MemoryPlan {
  std::vector<PlannedAllocation> activations;
  std::size_t activation_bytes = 0;
  std::size_t scratch_bytes = 0;
};

class Model {
 public:
  virtual ~Model() = default;

  virtual ParameterStore& parameters() = 0;
  virtual const std::vector<HeadSpec>& heads() const = 0;
  virtual std::int64_t hidden_size() const = 0;
  virtual std::int64_t layers() const = 0;
  virtual std::int64_t maximum_length() const = 0;  ///< tokens of the longest sequence it can read (512 for XLM-R)
  virtual Context& context() = 0;

  /// Makes room for batches of up to `maximum_tokens` tokens (sequences up to maximum_length()), by a dry run; nothing is
  /// allocated while batches run. Called again, it grows if need be.
  virtual void reserve(std::int64_t maximum_tokens, bool training) = 0;

  /// Forward and backward of one labelled micro-batch with dropout. Adds the gradient of gradient_scale * (sum of the
  /// counted labels' losses) to the parameters' gradients, and that unscaled sum of losses to *loss_sum(). With
  /// gradient_scale = 1 / (counted labels of the optimizer step), the accumulated gradient is that of the mean. On a device
  /// this only puts work into context().stream; the batch may be changed afterwards. `ready`, where given, is told how far
  /// the gradients are: on the CPU as backward goes, on a device before this returns, with events that last as long as the
  /// model. Where ranks share gradients out it is told as backward goes on a device too, and may have context().stream wait.
  virtual void add_batch(const PackedBatch& batch, double gradient_scale, const StepIdentity& step,
                         const GradientReady& ready = {}) = 0;

  /// From now on add_batch calls `needed` before it reads weights, or puts what reads them into the stream; empty: no more. False,
  /// and nothing, where a model does not tell.
  virtual bool ask_before_reading(WeightsNeeded /*needed*/) { return false; }

  /// Where add_batch adds up losses: on the device the model runs on. Whoever reads it sets it back to zero.
  virtual double* loss_sum() = 0;

  /// add_batch, and its loss; waits for a device. Leaves *loss_sum() zero.
  double train_batch(const PackedBatch& batch, double gradient_scale, const StepIdentity& step);

  /// Sum of the counted labels' losses, without dropout.
  virtual double evaluate_loss(const PackedBatch& batch) = 0;

  /// Logits without dropout, fp32: kSequence(Pooled) [sequences, classes], kToken and kSpan [tokens, classes],
  /// kChoice [sequences, 1], kMaskedLm [counted tokens, vocabulary], kDualEncoder [sequences, hidden], vectors of length 1.
  virtual std::vector<float> predict(const PackedBatch& batch) = 0;

  /// One vector per sequence from each of the hidden states `layers` (0 = embeddings, layers() = last), in their order:
  /// [layers, sequences, hidden]. One pass, which stops above the last of them: later layers are not run. Each layer's
  /// vectors are, bit for bit, what a pass for it alone gives.
  virtual std::vector<float> encode_layers(const PackedBatch& batch, const std::vector<std::int64_t>& layers,
                                           Pooling pooling) = 0;
  /// Of one hidden state: [sequences, hidden].
  std::vector<float> encode(const PackedBatch& batch, std::int64_t layer, Pooling pooling) {
    return encode_layers(batch, {layer}, pooling);
  }

  /// Hidden state `layer` of every token, [tokens, hidden_size] fp32, without dropout; numbered as in encode(). Throws Error
  /// where a model has none to show.
  virtual std::vector<float> hidden_states(const PackedBatch& batch, std::int64_t layer);

  /// An answer to each of the batch's sources (kTextToText); its targets are not read. Throws Error where a model has no decoder.
  virtual std::vector<Generation> generate(const PackedBatch& batch, const GenerationSettings& settings);

  /// Log-probabilities of texts as answers to the batch's sources (kTextToText; its targets are not read): of source i those of
  /// answers[i], each with its end, in their order; or, where there is one list only, of that. A source is read once, and what
  /// its answers have in common at their beginning is written once. Throws Error where a model has no decoder.
  virtual std::vector<std::vector<float>> answer_scores(const PackedBatch& batch,
                                                        const std::vector<std::vector<std::vector<std::int32_t>>>& answers);

  /// Forward FLOPs of one batch with these sequence lengths and head (-1: without one); a training step takes three times as
  /// many.
  virtual double forward_flops(const std::vector<std::int64_t>& lengths, int head, std::int64_t counted_labels) const = 0;

  /// Whether gradients of the word embedding are confined to the rows of the batch (no head tied to them).
  virtual bool word_gradient_is_sparse() const = 0;

  /// Writes config.json and model.safetensors as transformers' save_pretrained does.
  virtual void save(const std::string& directory) = 0;
};

}  // namespace koine
