#pragma once

// One step of a model with its heads, on memory that is handed in: what a model runs and what a dry run counts. Nothing here
// waits for a device but what returns values to the host. Every call leaves the stack as it found it.

#include <memory>
#include <vector>

#include "engine/batch/batch_view.h"
#include "engine/training/model.h"
#include "kernels/common/check.h"
#include "kernels/common/registry.h"
#include "kernels/random/dropout_mask.h"

namespace koine {

/// The rows of a decoder's step: texts it goes on with.
struct DecodingRows {
  std::vector<std::int32_t> parents;  ///< the row of the step before that each continues; before the first step its source
  std::vector<std::int32_t> sources;  ///< ascending
  std::vector<std::int32_t> tokens;   ///< what each reads next; -1: the start
  std::vector<std::vector<std::int32_t>> allowed;  ///< empty: every token may come next; else for each row those that may
};

/// What may come next, the most probable first, `count` for each row.
struct NextTokens {
  std::int32_t count = 1;
  std::vector<std::int32_t> ids;         ///< [rows, count]; -1: there are no more
  std::vector<float> log_probabilities;  ///< [rows, count]
};

/// A decoder that goes on token by token with the keys and values it has kept, over sources that were read once. A row's
/// numbers do not depend on the others.
class Decoding {
 public:
  virtual ~Decoding() = default;
  virtual std::int64_t vocabulary() const = 0;
  virtual std::int32_t end() const = 0;  ///< the model's own end of a text
  virtual void step(const DecodingRows& rows, NextTokens& next) = 0;
};

/// UserError for a token that is none of the vocabulary's.
void require_known_tokens(const PackedSequences& list, std::int64_t vocabulary);

/// Seed and step of a training batch's dropout, with rate 1: models multiply their own rates with it.
Dropout training_dropout(const BatchView& batch, const StepIdentity& step);

class ModelRunner {
 public:
  virtual ~ModelRunner() = default;

  /// UserError for a batch this model cannot read.
  virtual void require_readable(const PackedBatch& batch) const = 0;

  /// Whether train() keeps of each block its output alone and runs its forward again in backward: the same bits, less memory.
  virtual void recompute_activations(bool recompute) = 0;

  /// Adds gradients, and the loss to `loss` (where the operations run). The step's numbers come from the batch where it
  /// names memory for them. Where they are given, `needed` is told what forward reads next, `progress` how far backward is.
  virtual void train(const Context& context, const BatchView& batch, double gradient_scale, const StepIdentity& step,
                     StackMemory& stack, double* loss, const WeightsNeeded& needed, const BackwardProgress& progress) = 0;
  /// Adds the loss without dropout to `loss`.
  virtual void loss(const Context& context, const BatchView& batch, StackMemory& stack, double* loss) = 0;
  /// As Model documents them.
  virtual std::vector<float> predict(const Context& context, const BatchView& batch, StackMemory& stack) = 0;
  virtual std::vector<float> encode_layers(const Context& context, const BatchView& batch,
                                           const std::vector<std::int64_t>& layers, Pooling pooling, StackMemory& stack) = 0;
  virtual std::vector<float> hidden_states(const Context& context, const BatchView& batch, std::int64_t layer,
                                           StackMemory& stack) = 0;

  /// A decoding of the batch's sources, with memory of its own for up to `rows` rows a step of up to `maximum_length` tokens.
  /// Throws Error where the model has no decoder.
  virtual std::unique_ptr<Decoding> begin_decoding(const Context&, const BatchView&, std::int64_t /*rows*/,
                                                   std::int64_t /*maximum_length*/, StackMemory&) {
    throw Error("this model has no decoder, and generates nothing");
  }
};

}  // namespace koine
