#pragma once

#include <map>

#include "kernels/common/cases.h"
#include "kernels/embedding/embedding.h"

namespace koine::cases {

/// The tokens of a batch grouped by their key (a word id, a position), as the batcher lists them.
struct TokenGroups {
  explicit TokenGroups(const std::vector<std::int32_t>& token_keys) {
    std::map<std::int32_t, std::vector<std::int32_t>> places;
    for (std::size_t t = 0; t < token_keys.size(); ++t) places[token_keys[t]].push_back(static_cast<std::int32_t>(t));
    for (const auto& [key, list] : places) {
      keys.push_back(key);
      starts.push_back(static_cast<std::int32_t>(tokens.size()));
      tokens.insert(tokens.end(), list.begin(), list.end());
    }
    starts.push_back(static_cast<std::int32_t>(tokens.size()));
  }
  /// Arrays of the case.
  TokenOrder order(Arrays& arrays) const {
    return {std::ssize(keys), arrays.keep(keys), arrays.keep(starts), arrays.keep(tokens)};
  }
  std::vector<std::int32_t> keys;
  std::vector<std::int32_t> starts;
  std::vector<std::int32_t> tokens;
};

/// The tables' rows.
struct EmbeddingTables {
  std::int64_t vocabulary, positions, width;
};

inline Case<EmbeddingForwardArguments> embedding_forward_case(std::vector<std::int32_t> ids,
                                                              std::vector<std::int32_t> positions,
                                                              const EmbeddingTables& tables) {
  using Arguments = EmbeddingForwardArguments;
  const std::int64_t tokens = std::ssize(ids), width = tables.width;
  Case<Arguments> one(concatenate("[", tokens, ", ", width, "] of ", tables.vocabulary, " words"));
  Arguments& a = one.arguments;
  a.tokens = tokens, a.width = width, a.vocabulary = tables.vocabulary, a.positions = tables.positions;
  a.ids = one.keep(std::move(ids)), a.position_ids = one.keep(std::move(positions));
  one.input("word", random(tables.vocabulary * width, 1), &Arguments::word);
  one.input("position", random(tables.positions * width, 2), &Arguments::position);
  one.input("token_type", random(width, 3), &Arguments::token_type);
  one.output("output", tokens * width, &Arguments::output);
  return one;
}

/// `padding` tokens more than the orders list.
inline Case<EmbeddingBackwardArguments> embedding_backward_case(const TokenGroups& by_id, const TokenGroups& by_position,
                                                                const EmbeddingTables& tables, std::int64_t padding = 0) {
  using Arguments = EmbeddingBackwardArguments;
  const std::int64_t tokens = by_id.starts.back() + padding, width = tables.width;
  Case<Arguments> one(concatenate("[", tokens, ", ", width, "] of ", tables.vocabulary, " words"));
  one.arguments.tokens = tokens, one.arguments.width = width;
  one.arguments.by_id = by_id.order(one), one.arguments.by_position = by_position.order(one);
  one.input("d_output", random(tokens * width, 1), &Arguments::d_output);
  one.in_out_fp32("d_word", random(tables.vocabulary * width, 2), &Arguments::d_word);
  one.in_out_fp32("d_position", random(tables.positions * width, 3), &Arguments::d_position);
  one.in_out_fp32("d_token_type", random(width, 4), &Arguments::d_token_type);
  return one;
}

}  // namespace koine::cases
