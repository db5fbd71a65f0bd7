// Written by tools/gpu/tune.py.

#include "kernels/common/tuning_table.h"

namespace koine {

// No device has been measured yet.
std::span<const TunedVariant> tuning_table() { return {}; }

}  // namespace koine
