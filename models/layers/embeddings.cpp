#include "models/layers/embeddings.h"

#include "kernels/dropout/dropout.h"
#include "kernels/embedding/embedding.h"
#include "models/layers/norm.h"

namespace koine {
namespace {

bool normalises(const EmbeddingParameters& parameters) { return parameters.norm.weight != nullptr; }

}  // namespace

EmbeddingActivations allocate_embedding_activations(StackMemory& stack, const EmbeddingShape& shape,
                                                    const EmbeddingParameters& parameters, std::int64_t tokens) {
  EmbeddingActivations activations;
  activations.output = stack.allocate_elements("embeddings", shape.type, tokens * shape.hidden);
  if (!normalises(parameters)) return activations;
  activations.sum = stack.allocate_elements("embedding_sum", shape.type, tokens * shape.hidden);
  activations.mean = stack.allocate_array<float>("embedding_mean", tokens);
  activations.rstd = stack.allocate_array<float>("embedding_rstd", tokens);
  return activations;
}

void embeddings_forward(const Context& context, const EmbeddingShape& shape, const EmbeddingParameters& parameters,
                        const Dropout& drop, const SequencesView& sequences, const EmbeddingActivations& activations) {
  EmbeddingForwardArguments lookup;
  lookup.type = shape.type;
  lookup.tokens = sequences.tokens;
  lookup.width = shape.hidden;
  lookup.vocabulary = shape.vocabulary;
  lookup.positions = shape.positions;
  lookup.ids = sequences.ids;
  lookup.position_ids = sequences.positions;
  lookup.word = parameters.word;
  lookup.position = parameters.position;
  lookup.token_type = parameters.token_type;
  lookup.output = normalises(parameters) ? activations.sum : activations.output;
  embedding_forward(context, lookup);
  if (normalises(parameters)) {
    LayerNormForwardArguments norm =
        norm_forward(shape.type, sequences.tokens, shape.hidden, shape.epsilon, parameters.norm);
    norm.input = activations.sum;
    norm.output = activations.output;
    norm.mean = activations.mean;
    norm.rstd = activations.rstd;
    layernorm_forward(context, norm);
  }
  if (!drop.active()) return;
  dropout(context, {shape.type, sequences.tokens, shape.hidden, activations.output, nullptr, drop, activations.output});
}

void embeddings_backward(const Context& context, const EmbeddingShape& shape, const EmbeddingParameters& parameters,
                         const Dropout& drop, const SequencesView& sequences, const EmbeddingActivations& activations,
                         void* d_output) {
  if (drop.active()) dropout(context, {shape.type, sequences.tokens, shape.hidden, d_output, nullptr, drop, d_output});
  if (normalises(parameters)) {
    LayerNormBackwardArguments norm = norm_backward(shape.type, sequences.tokens, shape.hidden, parameters.norm);
    norm.d_output = d_output;
    norm.sum = activations.sum;
    norm.mean = activations.mean;
    norm.rstd = activations.rstd;
    norm.d_sum = d_output;
    layernorm_backward(context, norm);
  }
  EmbeddingBackwardArguments lookup;
  lookup.type = shape.type;
  lookup.tokens = sequences.tokens;
  lookup.width = shape.hidden;
  lookup.by_id = sequences.by_id;
  lookup.by_position = sequences.by_position;
  lookup.d_output = d_output;
  lookup.d_word = parameters.d_word;
  lookup.d_position = parameters.d_position;
  lookup.d_token_type = parameters.d_token_type;
  embedding_backward(context, lookup);
}

}  // namespace koine
