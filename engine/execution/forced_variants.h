#pragma once

#include "engine/execution/execution.h"

namespace koine {

/// What the environment variable KOINE_FORCE says: layernorm:portable,gemm_forward:packed. An operation's own name, or that of
/// a family for its forward and its backward. Throws UserError where it names what is not there.
ForcedVariants forced_variants();

}  // namespace koine
