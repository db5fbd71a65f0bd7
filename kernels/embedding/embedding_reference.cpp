#include "kernels/embedding/embedding.h"

namespace koine {
namespace {

void add_groups(const EmbeddingBackwardArguments& a, const TokenOrder& order, float* table) {
  for (std::int64_t group = 0; group < order.groups; ++group) {
    if (order.starts[group] == order.starts[group + 1]) continue;
    for (std::int64_t c = 0; c < a.width; ++c) {
      float& row = table[order.keys[group] * a.width + c];
      double sum = static_cast<double>(row);
      for (std::int64_t i = order.starts[group]; i < order.starts[group + 1]; ++i) {
        sum += load_element(a.d_output, a.type, order.tokens[i] * a.width + c);
      }
      row = static_cast<float>(sum);
    }
  }
}

}  // namespace

void embedding_forward_reference(const Context&, const EmbeddingForwardArguments& a, void*) {
  for (std::int64_t token = 0; token < a.tokens; ++token) {
    for (std::int64_t c = 0; c < a.width; ++c) {
      const double sum = load_element(a.word, a.type, a.ids[token] * a.width + c) + load_element(a.token_type, a.type, c) +
                         load_element(a.position, a.type, a.position_ids[token] * a.width + c);
      store_element(a.output, a.type, token * a.width + c, sum);
    }
  }
}

void embedding_backward_reference(const Context&, const EmbeddingBackwardArguments& a, void*) {
  add_groups(a, a.by_id, a.d_word);
  add_groups(a, a.by_position, a.d_position);
  if (a.d_token_type == nullptr) return;
  for (std::int64_t c = 0; c < a.width; ++c) {
    double sum = static_cast<double>(a.d_token_type[c]);
    for (std::int64_t token = 0; token < a.tokens; ++token) sum += load_element(a.d_output, a.type, token * a.width + c);
    a.d_token_type[c] = static_cast<float>(sum);
  }
}

}  // namespace koine
