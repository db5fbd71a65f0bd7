#pragma once

// What stands before the first block: word embedding + position embedding + token type 0, a layer normalisation where the
// model has one, and dropout.

#include "engine/batch/batch_view.h"
#include "kernels/common/registry.h"
#include "kernels/random/dropout_mask.h"
#include "models/layers/parameters.h"

namespace koine {

struct EmbeddingShape {
  DType type = DType::kFloat32;
  std::int64_t hidden = 0;
  std::int64_t vocabulary = 0;
  std::int64_t positions = 0;  ///< of the longest sequence
  float epsilon = 1e-5f;
};

struct EmbeddingParameters {
  const void* word = nullptr;        ///< [vocabulary, hidden]
  const void* position = nullptr;    ///< [positions, hidden], row 0 that of the first token of a sequence
  const void* token_type = nullptr;  ///< row 0, which every token gets
  float* d_word = nullptr;
  float* d_position = nullptr;
  float* d_token_type = nullptr;
  Norm norm;  ///< without addresses: none
};

struct EmbeddingActivations {
  void* sum = nullptr;  ///< [tokens, hidden] what the layer normalisation saw
  float* mean = nullptr;
  float* rstd = nullptr;
  void* output = nullptr;  ///< [tokens, hidden]
};

EmbeddingActivations allocate_embedding_activations(StackMemory& stack, const EmbeddingShape& shape,
                                                    const EmbeddingParameters& parameters, std::int64_t tokens);

void embeddings_forward(const Context& context, const EmbeddingShape& shape, const EmbeddingParameters& parameters,
                        const Dropout& dropout, const SequencesView& sequences, const EmbeddingActivations& activations);

/// d_output: gradient of the output, overwritten along the way.
void embeddings_backward(const Context& context, const EmbeddingShape& shape, const EmbeddingParameters& parameters,
                         const Dropout& dropout, const SequencesView& sequences, const EmbeddingActivations& activations,
                         void* d_output);

}  // namespace koine
