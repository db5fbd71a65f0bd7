#pragma once

// One step of an XLM-R or a BERT-named encoder with its heads.

#include <memory>
#include <vector>

#include "models/heads/head.h"
#include "models/runner.h"
#include "models/xlmr/encoder.h"

namespace koine {

class EncoderRunner : public ModelRunner {
 public:
  EncoderRunner(const ModelConfig& config, DType type, const std::vector<HeadSpec>& heads,
                const ParameterAddresses& addresses);

  void require_readable(const PackedBatch& batch) const override;
  void recompute_activations(bool recompute) override { encoder_.recompute_activations(recompute); }
  void train(const Context& context, const BatchView& batch, double gradient_scale, const StepIdentity& step,
             StackMemory& stack, double* loss, const WeightsNeeded& needed, const BackwardProgress& progress) override;
  void loss(const Context& context, const BatchView& batch, StackMemory& stack, double* loss) override;
  std::vector<float> predict(const Context& context, const BatchView& batch, StackMemory& stack) override;
  std::vector<float> encode_layers(const Context& context, const BatchView& batch, const std::vector<std::int64_t>& layers,
                                   Pooling pooling, StackMemory& stack) override;
  std::vector<float> hidden_states(const Context& context, const BatchView& batch, std::int64_t layer,
                                   StackMemory& stack) override;

 private:
  EncoderRunner(const ModelConfig& config, DType type, const std::vector<HeadSpec>& heads, const EncoderTable& table,
                const ParameterAddresses& addresses);
  HeadInput head_input(const Context& context, const BatchView& view, const void* hidden, StackMemory& stack) const;

  ModelConfig config_;
  DType type_;
  Encoder encoder_;
  std::vector<HeadParameters> heads_;
  EncoderActivations activations_;
  int parameters_ = 0;  ///< of the table; what of them is complete behind the head, behind each block:
  int complete_behind_head_ = 0;
  std::vector<int> complete_behind_block_;
};

std::unique_ptr<ModelRunner> make_encoder_runner(const ModelConfig& config, DType type, const std::vector<HeadSpec>& heads,
                                                 const ParameterAddresses& addresses);

}  // namespace koine
