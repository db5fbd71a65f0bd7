#pragma once

// One step of an encoder and a decoder with their head. A batch without targets goes through the encoder alone.

#include <memory>
#include <vector>

#include "models/heads/head.h"
#include "models/mt5/stack.h"
#include "models/runner.h"

namespace koine {

class EncoderDecoderRunner : public ModelRunner {
 public:
  EncoderDecoderRunner(const ModelConfig& config, DType type, const std::vector<HeadSpec>& heads,
                       const ParameterAddresses& addresses);

  void require_readable(const PackedBatch& batch) const override;
  void recompute_activations(bool recompute) override {
    encoder_.recompute_activations(recompute);
    decoder_.recompute_activations(recompute);
  }
  void train(const Context& context, const BatchView& batch, double gradient_scale, const StepIdentity& step,
             StackMemory& stack, double* loss, const WeightsNeeded& needed, const BackwardProgress& progress) override;
  void loss(const Context& context, const BatchView& batch, StackMemory& stack, double* loss) override;
  std::vector<float> predict(const Context& context, const BatchView& batch, StackMemory& stack) override;
  /// Of the encoder.
  std::vector<float> encode_layers(const Context& context, const BatchView& batch, const std::vector<std::int64_t>& layers,
                                   Pooling pooling, StackMemory& stack) override;
  /// Of the decoder where the batch has targets, else of the encoder.
  std::vector<float> hidden_states(const Context& context, const BatchView& batch, std::int64_t layer,
                                   StackMemory& stack) override;
  std::unique_ptr<Decoding> begin_decoding(const Context& context, const BatchView& batch, std::int64_t rows,
                                           std::int64_t maximum_length, StackMemory& stack) override;

 private:
  EncoderDecoderRunner(const ModelConfig& config, DType type, const std::vector<HeadSpec>& heads,
                       const EncoderDecoderTable& table, const ParameterAddresses& addresses);
  HeadInput head_input(const Context& context, const BatchView& view, const void* hidden, StackMemory& stack) const;
  const HeadParameters& head_under(const BatchView& batch) const;
  /// The decoder's last hidden state, without dropout.
  const void* decoded(const Context& context, const BatchView& batch, StackMemory& stack) const;

  ModelConfig config_;
  DType type_;
  Stack encoder_;
  Stack decoder_;
  std::vector<HeadParameters> heads_;
  StackActivations encoder_activations_;
  StackActivations decoder_activations_;
  int parameters_ = 0;  ///< of the table; what of them is complete behind the head, behind each block:
  int complete_behind_head_ = 0;
  std::vector<int> complete_behind_decoder_block_;
  std::vector<int> complete_behind_encoder_block_;
};

std::unique_ptr<ModelRunner> make_encoder_decoder_runner(const ModelConfig& config, DType type,
                                                         const std::vector<HeadSpec>& heads,
                                                         const ParameterAddresses& addresses);

}  // namespace koine
