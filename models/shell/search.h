#pragma once

// Greedy and beam search over what a decoder says of the next token (engine/training/generation.h).

#include <span>
#include <vector>

#include "engine/training/generation.h"
#include "models/runner.h"

namespace koine {

/// One answer for each of `sources` texts that `decoding` has read. Of a text nothing depends on the others. UserError for
/// settings that fit no vocabulary, and for answers that hold an id outside of it, are empty or lack the end.
std::vector<Generation> search(Decoding& decoding, std::int64_t sources, const GenerationSettings& settings);

}  // namespace koine
