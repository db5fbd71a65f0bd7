#pragma once

// XLM-R (Conneau et al., arXiv 1911.02116; Goyal et al., arXiv 2105.00572).

#include "models/families.h"

namespace koine {

const ModelFamily& xlmr_family();

}  // namespace koine
