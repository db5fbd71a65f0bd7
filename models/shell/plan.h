#pragma once

// How much memory a model's steps take, by running them with launches off.

#include <vector>

#include "models/config.h"
#include "models/runner.h"

namespace koine {

/// Peak memory of `runner`'s steps for batches of up to `maximum_tokens` tokens and every mix of sequence lengths, by dry
/// runs.
MemoryPlan plan_memory(ModelRunner& runner, const ModelConfig& config, const std::vector<HeadSpec>& heads,
                       std::int64_t maximum_tokens, bool training, const Context& context);

}  // namespace koine
