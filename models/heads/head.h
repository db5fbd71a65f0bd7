#pragma once

// What stands on the encoder: heads, their losses and gradients. A head's mathematics is in its own file:
//
//   sequence_head.cpp    kSequence, kSequencePooled: classifier on the first token (raw, or through the pooler)
//   choice_head.cpp      kChoice: a score per sequence through the pooler, softmax over an example's sequences
//   token_head.cpp       kToken, kSpan: a linear layer on every token
//   dual_encoder_head.cpp  kDualEncoder: vectors through the pooler, every query against the candidates of its batch
//   text_to_text_head.cpp  kTextToText: a linear layer over the vocabulary on every token of the target
//   masked_lm_head.cpp   kMaskedLm: dense, GELU, layernorm, decoder tied to the word embeddings, at the counted tokens only
//
// Logits are fp32 (fp64 in gradient checks) but those over a vocabulary, which have the model's type.

#include <span>
#include <string_view>
#include <vector>

#include "engine/batch/batch_view.h"
#include "engine/training/model.h"
#include "models/layers/linear.h"
#include "models/layers/norm.h"
#include "models/layers/parameters.h"

namespace koine {

/// What a head of one family of models is made of, and what checkpoints call its tensors; an empty name: it has no such
/// part. The order of execution is pooler, dense, norm, output.
struct HeadParts {
  HeadKind kind = HeadKind::kSequence;
  bool pooler = false;          ///< reads tanh(pooler(first token)), the encoder's pooler
  std::string_view dense;       ///< a hidden layer of the encoder's width
  std::string_view norm;        ///< layer normalisation of its output
  std::string_view output;      ///< the linear layer to the classes
  bool tied = false;            ///< the output's weight is the word embedding, and `output` names its bias
  std::string_view scale = {};  ///< one number, that scores are scaled with
};

struct HeadIndex {
  LinearIndex pooler;
  LinearIndex dense;
  NormIndex norm;
  LinearIndex output;
  int scale = -1;
};

/// Adds the parameters of heads to a table that holds nothing yet, the pooler last: where a head reads it, or there is no
/// head. `parts` has one row for each head. Of a tied head the output's weight is left for the caller to fill in.
std::vector<HeadIndex> add_heads(ParameterTableBuilder& builder, const std::vector<HeadSpec>& heads,
                                 const std::vector<HeadParts>& parts, const std::string& pooler, std::int64_t hidden);

/// Where the heads find their parameters; a part a head has not has null addresses.
struct HeadParameters {
  HeadSpec spec;
  Linear pooler;
  Linear dense;
  Norm norm;
  Linear output;
  const float* scale = nullptr;
  float* d_scale = nullptr;
};
HeadParameters head_parameters(const HeadSpec& spec, const HeadIndex& index, const ParameterAddresses& addresses);
/// The head a batch was packed for, of a model's.
const HeadParameters& head_of(const std::vector<HeadParameters>& heads, const BatchView& batch);

/// Forward FLOPs of a head on a batch.
double head_forward_flops(const HeadSpec& spec, const HeadParts& parts, std::int64_t hidden, std::int64_t tokens,
                          std::int64_t sequences, std::int64_t counted_labels);

struct HeadInput {
  const Context& context;
  StackMemory& stack;
  const BatchView& batch;          ///< labels, and how many count
  const SequencesView& sequences;  ///< the list the head stands on
  DType type = DType::kFloat32;
  std::int64_t hidden = 0;
  float epsilon = 1e-5f;
  const void* hidden_states = nullptr;  ///< [tokens, hidden], what the last block gave
  Dropout dropout;  ///< rate, seed, step; site of the head's first dropout, its next ones follow; rate 0 outside training
  float gradient_scale = 1;  ///< where the batch names no memory to read it from
};

/// Adds the sum of the counted labels' losses to `loss`, which lies where the operations run. Where d_hidden is given
/// ([tokens, hidden], overwritten) also the gradient of gradient_scale * that sum: of the head's parameters (added) and of
/// the hidden states.
void head_loss(const HeadInput& input, const HeadParameters& head, double* loss, void* d_hidden);

/// Logits as Model::predict documents them.
std::vector<float> head_logits(const HeadInput& input, const HeadParameters& head);

/// What computes a head, and what transformers calls the class of a model that has it.
struct HeadFunctions {
  HeadKind kind = HeadKind::kSequence;
  std::string_view class_suffix;  ///< "ForMaskedLM"
  void (*loss)(const HeadInput&, const HeadParameters&, double* loss, void* d_hidden) = nullptr;
  std::vector<float> (*logits)(const HeadInput&, const HeadParameters&) = nullptr;
};
const HeadFunctions& functions_of(HeadKind kind);

// --- shared by the heads ---

/// Type of a small head's logits: never bf16, so that a mixed-precision loss keeps fp32 logits.
inline DType logits_type(DType type) { return type == DType::kBFloat16 ? DType::kFloat32 : type; }

/// The losses of `rows` hidden states against their labels by a linear layer over a vocabulary, [rows] of the stack. Where
/// d_hidden is given ([rows, hidden], overwritten) also the gradients: of the layer's parameters (added) and of the hidden states.
const float* vocabulary_losses(const HeadInput& input, const Linear& output, const void* hidden_states, std::int64_t rows,
                               const std::int32_t* labels, void* d_hidden);

/// How many rows of logits over `classes` pieces of a vocabulary a head that tells them has in memory at once, of `rows`.
std::int64_t vocabulary_chunk_rows(const HeadInput& input, std::int64_t classes, std::int64_t rows);

/// Values of any type to fp32 on the host; waits for them.
std::vector<float> to_host(const HeadInput& input, const void* logits, DType type, std::int64_t count);

/// Adds per-row losses to `loss`, in order.
void add_losses(const HeadInput& input, const float* losses, std::int64_t count, double* loss);

/// The gradient of fp32 logits in the model's type, as the products read it: cast where they differ.
const void* as_model_type(const HeadInput& input, const void* d_logits, std::int64_t count);

/// Dropout of [rows, hidden] (rows = sequences or tokens), number `which` of the head. Returns the input itself where there
/// is no dropout.
const void* head_dropout_forward(const HeadInput& input, const void* values, std::int64_t rows, bool by_token, int which);
/// Its backward, in place.
void head_dropout_backward(const HeadInput& input, void* gradient, std::int64_t rows, bool by_token, int which);

/// First token of every sequence, [sequences, hidden], raw or, where the head has one, through tanh(pooler).
struct SentenceVectors {
  const void* first = nullptr;
  const void* output = nullptr;  ///< `first` itself, or the pooler's output
};
SentenceVectors sentence_vectors(const HeadInput& input, const HeadParameters& head);
/// d_output is overwritten along the way; d_hidden [tokens, hidden] is written whole.
void sentence_vectors_backward(const HeadInput& input, const HeadParameters& head, const SentenceVectors& vectors,
                               void* d_output, void* d_hidden);

void sequence_head_loss(const HeadInput&, const HeadParameters&, double* loss, void* d_hidden);
std::vector<float> sequence_head_logits(const HeadInput&, const HeadParameters&);
void choice_head_loss(const HeadInput&, const HeadParameters&, double* loss, void* d_hidden);
std::vector<float> choice_head_logits(const HeadInput&, const HeadParameters&);
void token_head_loss(const HeadInput&, const HeadParameters&, double* loss, void* d_hidden);
std::vector<float> token_head_logits(const HeadInput&, const HeadParameters&);
void dual_encoder_loss(const HeadInput&, const HeadParameters&, double* loss, void* d_hidden);
std::vector<float> dual_encoder_vectors(const HeadInput&, const HeadParameters&);
void masked_lm_head_loss(const HeadInput&, const HeadParameters&, double* loss, void* d_hidden);
std::vector<float> masked_lm_head_logits(const HeadInput&, const HeadParameters&);
void text_to_text_head_loss(const HeadInput&, const HeadParameters&, double* loss, void* d_hidden);
std::vector<float> text_to_text_head_logits(const HeadInput&, const HeadParameters&);

}  // namespace koine
