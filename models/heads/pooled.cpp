#include "models/heads/pooled.h"

#include <algorithm>

#include "kernels/common/check.h"
#include "kernels/gather/gather.h"
#include "kernels/pooling/pooling.h"

namespace koine {
namespace {

/// The sequences' vectors from a hidden state, on the host.
std::vector<float> pool(const HeadInput& input, const SequencesView& sequences, const void* hidden, Pooling pooling) {
  const StackScope scope(input.stack);
  void* vectors = input.stack.allocate_elements("sentence_vectors", input.type, sequences.sequences * input.hidden);
  if (pooling == Pooling::kFirstToken) {
    gather_rows(input.context, {input.type, sequences.sequences, input.hidden, sequences.tokens,
                                sequences.cumulative_lengths, hidden, vectors});
  } else {
    mean_pooling_forward(input.context, {input.type, sequences.tokens, sequences.sequences, input.hidden,
                                         sequences.cumulative_lengths, pooling == Pooling::kMeanWithoutSpecial, hidden,
                                         vectors, pooling == Pooling::kPositionWeightedMean});
  }
  return to_host(input, vectors, input.type, sequences.sequences * input.hidden);
}

}  // namespace

std::vector<float> pooled_layers(const HeadInput& input, const SequencesView& sequences,
                                 const std::vector<std::int64_t>& layers, Pooling pooling, const ShowHiddenStates& run) {
  check(!layers.empty(), "no layer to encode");
  const std::int64_t numbers = sequences.sequences * input.hidden;
  std::vector<float> result(input.context.dry_run ? 0 : layers.size() * static_cast<std::size_t>(numbers));
  run(*std::max_element(layers.begin(), layers.end()), [&](std::int64_t layer, const void* hidden) {
    if (std::find(layers.begin(), layers.end(), layer) == layers.end()) return;
    const std::vector<float> vectors = pool(input, sequences, hidden, pooling);
    for (std::size_t i = 0; i < layers.size(); ++i) {
      if (layers[i] == layer)
        std::copy(vectors.begin(), vectors.end(), result.begin() + static_cast<std::ptrdiff_t>(i) * numbers);
    }
  });
  return result;
}

}  // namespace koine
