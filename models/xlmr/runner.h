#pragma once

// One step of an XLM-R with its heads, on memory that is handed in: what a model runs and what a dry run counts. Nothing
// here waits for a device but what returns values to the host.

#include <vector>

#include "models/heads/head.h"
#include "models/xlmr/encoder.h"

namespace koine {

class XlmrRunner {
 public:
  XlmrRunner(const XlmrConfig& config, DType type, const std::vector<HeadSpec>& heads, const XlmrParameters& parameters,
             const ParameterAddresses& addresses);

  /// UserError for a batch this model cannot read.
  void require_readable(const PackedBatch& batch) const;

  /// Adds gradients, and the loss to `loss` (where the operations run). The step's numbers come from the batch where it
  /// names memory for them. `progress` is told how far backward is.
  void train(const Context& context, const BatchView& batch, double gradient_scale, const StepIdentity& step,
             StackMemory& stack, double* loss, const BackwardProgress& progress = {});
  /// Adds the loss without dropout to `loss`.
  void loss(const Context& context, const BatchView& batch, StackMemory& stack, double* loss);
  std::vector<float> predict(const Context& context, const BatchView& batch, StackMemory& stack);
  std::vector<float> encode(const Context& context, const BatchView& batch, std::int64_t layer, Pooling pooling,
                            StackMemory& stack);
  std::vector<float> hidden_states(const Context& context, const BatchView& batch, std::int64_t layer, StackMemory& stack);

 private:
  HeadInput head_input(const Context& context, const BatchView& view, const void* hidden, StackMemory& stack) const;
  const HeadParameters& head_of(const BatchView& batch) const;

  XlmrConfig config_;
  DType type_;
  Encoder encoder_;
  std::vector<HeadParameters> heads_;
  EncoderActivations activations_;
  int parameters_ = 0;  ///< of the table; what of them is complete behind the head, behind each block:
  int complete_behind_head_ = 0;
  std::vector<int> complete_behind_block_;
};

/// Peak memory of `runner`'s steps for batches of up to `maximum_tokens` tokens and every mix of sequence lengths, by dry
/// runs.
MemoryPlan plan_memory(XlmrRunner& runner, const XlmrConfig& config, const std::vector<HeadSpec>& heads,
                       std::int64_t maximum_tokens, bool training, const Context& context);

}  // namespace koine
