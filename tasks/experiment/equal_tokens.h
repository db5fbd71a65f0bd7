#pragma once

// A training set in several languages with as many tokens as one in a single language, so that a comparison of the two does
// not compare amounts of computation: the same text is more tokens in some languages than in others.

#include <cstdint>
#include <string>
#include <vector>

#include "engine/batch/packed_batch.h"

namespace koine {

/// Tokens of all sequences, special ones included.
std::int64_t tokens_of(const Dataset& dataset);

/// Examples (Dataset::group sequences each) taken from `sets`, one set for each language, until the next one would bring
/// their tokens above `budget`. The next one is always of the language that has the fewest tokens so far (the first of
/// equals, languages whose examples are used up apart). Set k of N begins with its example floor(k * examples / N) and goes
/// on from there, behind the last with the first: of translations of one another each language gives other examples, as far
/// as they reach. So the result has at most `budget` tokens, and less by no more than one example, unless all sets together
/// have less. Examples are numbered anew.
Dataset take_equal_tokens(const std::vector<const Dataset*>& sets, std::int64_t budget);

}  // namespace koine
