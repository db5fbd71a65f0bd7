#pragma once

// The decoder of an encoder-decoder, going on token by token.
//
// Keys and values of self-attention lie packed, as attention wants them: the tokens of row 0, then those of row 1 ... A step's
// new ones are computed behind those of the step before; one gather then brings each row's, from whichever row it continues,
// and its new one into the next memory. So beams that change places, rows that end and rows of any length cost one copy, and
// no kernel knows of a cache. Layers write in turn: each into the memory that the layer before it has left.
// Keys and values of cross-attention are computed once; the rows of a source are the queries of one sequence.

#include <memory>

#include "models/mt5/stack.h"
#include "models/runner.h"

namespace koine {

struct DecodingModel {
  const Stack& decoder;
  const Linear& head;  ///< to the vocabulary
  std::int32_t start = 0;
  std::int32_t end = 1;
};

/// `encoded`: the source's last hidden state [tokens, hidden], read during the call only.
std::unique_ptr<Decoding> begin_decoding(const Context& context, const DecodingModel& model, const SequencesView& source,
                                         const void* encoded, std::int64_t rows, std::int64_t maximum_length);

}  // namespace koine
