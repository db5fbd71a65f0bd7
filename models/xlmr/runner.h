#pragma once

// One step of an XLM-R with its heads, on memory that is handed in: what a model runs and what a dry run counts.

#include <vector>

#include "models/heads/head.h"
#include "models/xlmr/encoder.h"

namespace koine {

class XlmrRunner {
 public:
  XlmrRunner(const XlmrConfig& config, DType type, const std::vector<HeadSpec>& heads, const XlmrParameters& parameters,
             const ParameterAddresses& addresses);

  double train(const Context& context, const PackedBatch& batch, double gradient_scale, const StepIdentity& step,
               StackMemory& stack);
  double loss(const Context& context, const PackedBatch& batch, StackMemory& stack);
  std::vector<float> predict(const Context& context, const PackedBatch& batch, StackMemory& stack);
  std::vector<float> encode(const Context& context, const PackedBatch& batch, std::int64_t layer, Pooling pooling,
                            StackMemory& stack);
  std::vector<float> hidden_states(const Context& context, const PackedBatch& batch, std::int64_t layer, StackMemory& stack);

 private:
  BatchView view_of(const PackedBatch& batch);
  HeadInput head_input(const Context& context, const BatchView& view, const void* hidden, StackMemory& stack) const;
  const HeadParameters& head_of(const PackedBatch& batch) const;

  XlmrConfig config_;
  DType type_;
  Encoder encoder_;
  std::vector<HeadParameters> heads_;
  EncoderActivations activations_;
  std::vector<std::int32_t> zero_positions_;
};

/// Peak memory of `runner`'s steps for batches of up to `maximum_tokens` tokens and every mix of sequence lengths, by dry
/// runs.
MemoryPlan plan_memory(XlmrRunner& runner, const XlmrConfig& config, const std::vector<HeadSpec>& heads,
                       std::int64_t maximum_tokens, bool training, const Context& context);

}  // namespace koine
