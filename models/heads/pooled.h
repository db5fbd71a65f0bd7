#pragma once

// Sentence vectors of several hidden states from one pass, for the runners of all families.

#include <functional>
#include <vector>

#include "models/heads/head.h"

namespace koine {

/// Model::encode_layers: `run(last, use)` runs the model up to hidden state `last` and shows `use` each on its way. `input`
/// says type, width and memory; `sequences` is the list the hidden states are of.
using ShowHiddenStates =
    std::function<void(std::int64_t last, const std::function<void(std::int64_t layer, const void* hidden)>& use)>;
std::vector<float> pooled_layers(const HeadInput& input, const SequencesView& sequences,
                                 const std::vector<std::int64_t>& layers, Pooling pooling, const ShowHiddenStates& run);

}  // namespace koine
