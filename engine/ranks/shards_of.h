#pragma once

#include "engine/parameters/parameter_table.h"
#include "engine/parameters/shards.h"
#include "engine/ranks/communicator.h"

namespace koine {

/// The ranks of a communicator as those that the values of a table, `gradients` among them or not, are spread over. It outlives
/// what is made with them.
Shards shards_of(const ParameterTable& table, Communicator& communicator, bool gradients = false);

}  // namespace koine
