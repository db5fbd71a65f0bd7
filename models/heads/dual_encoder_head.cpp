// A dual encoder with one encoder for both sides, as XTREME-R's (google-research/xtreme, third_party/bert.py,
// BertForRetrieval):
//
//   v(x)    = u / |u|,  u = tanh(pooler(first token of x))
//   s(q, c) = scale * v(q) . v(c);  the scale is a parameter that begins with 100
//   loss of query i = -log(softmax of s(q_i, c_j) over all candidates j of the batch at j = i)
//
// No dropout behind the encoder. Sequences come in pairs: query, candidate, query, candidate ...
//
// The scores of n queries with n candidates would outgrow the rest where sequences are many and short, so queries go through
// the product, the loss and back in chunks, in one buffer that holds the scores and then, in place, their gradient.

#include <algorithm>

#include "kernels/common/check.h"
#include "kernels/gemm/gemm.h"
#include "kernels/l2_normalise/l2_normalise.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"
#include "models/heads/head.h"

namespace koine {
namespace {

constexpr std::int64_t kScores = std::int64_t{1} << 22;  // of a chunk: 16 MB in fp32

/// Every `every`th vector from the first one on, at length 1 times the scale.
L2NormaliseForwardArguments normalisation(const HeadInput& input, const void* vectors, std::int64_t rows, std::int64_t every,
                                          const float* scale) {
  L2NormaliseForwardArguments arguments;
  arguments.type = input.type;
  arguments.rows = rows;
  arguments.width = input.hidden;
  arguments.stride = every * input.hidden;
  arguments.input = vectors;
  arguments.scale = scale;
  return arguments;
}

void* normalised(const HeadInput& input, const char* name, L2NormaliseForwardArguments arguments) {
  arguments.output = input.stack.allocate_elements(name, input.type, arguments.rows * arguments.width);
  l2_normalise_forward(input.context, arguments);
  return arguments.output;
}

void normalisation_backward(const HeadInput& input, const L2NormaliseForwardArguments& forward, const void* d_output,
                            void* d_input, float* d_scale) {
  l2_normalise_backward(input.context, {forward.type, forward.rows, forward.width, forward.stride, forward.input,
                                        forward.scale, d_output, d_input, d_scale});
}

/// The vectors of both sides, [pairs, hidden], the queries' scaled.
struct Sides {
  std::int64_t pairs = 0;
  SentenceVectors vectors;  ///< of all sequences
  L2NormaliseForwardArguments query_norm;
  L2NormaliseForwardArguments candidate_norm;
  void* queries = nullptr;
  void* candidates = nullptr;
};

Sides sides_of(const HeadInput& input, const HeadParameters& head) {
  Sides sides;
  sides.pairs = input.sequences.sequences / kPair;
  sides.vectors = sentence_vectors(input, head);
  sides.query_norm = normalisation(input, sides.vectors.output, sides.pairs, kPair, head.scale);
  sides.candidate_norm =
      normalisation(input, offset_by(sides.vectors.output, input.type, input.hidden), sides.pairs, kPair, nullptr);
  sides.queries = normalised(input, "queries", sides.query_norm);
  sides.candidates = normalised(input, "candidates", sides.candidate_norm);
  return sides;
}

/// The queries from `begin` on of one chunk.
struct Chunk {
  std::int64_t begin = 0;
  std::int64_t rows = 0;
  const void* queries = nullptr;
};

/// scores [rows, pairs] = queries candidates^T
void score(const HeadInput& input, const Sides& sides, const Chunk& chunk, void* scores) {
  GemmArguments product;
  product.m = chunk.rows;
  product.n = product.ldc = sides.pairs;
  product.k = product.lda = product.ldb = input.hidden;
  product.a = chunk.queries;
  product.b = sides.candidates;
  product.transpose_b = true;
  product.input_type = input.type;
  product.c = scores;
  product.output_type = logits_type(input.type);
  gemm(input.context, product);
}

/// d_queries [rows, hidden] = d_scores candidates;  d_candidates [pairs, hidden] += d_scores^T queries
void score_backward(const HeadInput& input, const Sides& sides, const Chunk& chunk, const void* d_scores, void* d_queries,
                    void* d_candidates) {
  GemmArguments to_queries;
  to_queries.m = chunk.rows;
  to_queries.n = to_queries.ldb = to_queries.ldc = input.hidden;
  to_queries.k = to_queries.lda = sides.pairs;
  to_queries.a = d_scores;
  to_queries.b = sides.candidates;
  to_queries.input_type = to_queries.output_type = input.type;
  to_queries.c = d_queries;
  gemm(input.context, to_queries);
  GemmArguments to_candidates;
  to_candidates.m = to_candidates.lda = sides.pairs;
  to_candidates.n = to_candidates.ldb = to_candidates.ldc = input.hidden;
  to_candidates.k = chunk.rows;
  to_candidates.a = d_scores;
  to_candidates.transpose_a = true;
  to_candidates.b = chunk.queries;
  to_candidates.input_type = input.type;
  to_candidates.output_type = logits_type(input.type);
  to_candidates.accumulate = chunk.begin > 0;
  to_candidates.c = d_candidates;
  gemm(input.context, to_candidates);
}

}  // namespace

void dual_encoder_loss(const HeadInput& input, const HeadParameters& head, double* loss, void* d_hidden) {
  check(input.batch.group == kPair && input.sequences.sequences % kPair == 0, "a batch of ", input.sequences.sequences,
        " sequences in groups of ", input.batch.group, " does not hold pairs of a query and its candidate");
  const DType type = logits_type(input.type);
  const Sides sides = sides_of(input, head);
  const std::int64_t elements = sides.pairs * input.hidden;
  const std::int64_t chunk_rows = std::clamp<std::int64_t>(kScores / sides.pairs, 1, sides.pairs);
  void* scores = input.stack.allocate_elements("scores", type, chunk_rows * sides.pairs);
  float* losses = input.stack.allocate_array<float>("losses", sides.pairs);
  const bool back = d_hidden != nullptr;
  void* d_queries = back ? input.stack.allocate_elements("d_queries", input.type, elements) : nullptr;
  void* d_candidates = back ? input.stack.allocate_elements("d_candidates", type, elements) : nullptr;
  for (std::int64_t begin = 0; begin < sides.pairs; begin += chunk_rows) {
    const StackScope scope(input.stack);
    const Chunk chunk = {begin, std::min(chunk_rows, sides.pairs - begin),
                         offset_by(static_cast<const void*>(sides.queries), input.type, begin * input.hidden)};
    score(input, sides, chunk, scores);
    softmax_cross_entropy(
        input.context, {type, chunk.rows, sides.pairs, sides.pairs, scores, input.batch.labels + begin, input.gradient_scale,
                        losses + begin, back ? scores : nullptr, input.batch.gradient_scale_from});
    if (!back) continue;
    score_backward(input, sides, chunk, as_model_type(input, scores, chunk.rows * sides.pairs),
                   offset_by(d_queries, input.type, begin * input.hidden), d_candidates);
  }
  if (back) {
    void* d_vectors = input.stack.allocate_elements("d_vectors", input.type, kPair * elements);
    normalisation_backward(input, sides.query_norm, d_queries, d_vectors, head.d_scale);
    normalisation_backward(input, sides.candidate_norm, as_model_type(input, d_candidates, elements),
                           offset_by(d_vectors, input.type, input.hidden), nullptr);
    sentence_vectors_backward(input, head, sides.vectors, d_vectors, d_hidden);
  }
  add_losses(input, losses, sides.pairs, loss);
}

std::vector<float> dual_encoder_vectors(const HeadInput& input, const HeadParameters& head) {
  const std::int64_t rows = input.sequences.sequences;
  const SentenceVectors vectors = sentence_vectors(input, head);
  const void* unit = normalised(input, "vectors", normalisation(input, vectors.output, rows, 1, nullptr));
  return to_host(input, unit, input.type, rows * input.hidden);
}

}  // namespace koine
