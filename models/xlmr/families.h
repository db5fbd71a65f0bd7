#pragma once

// The two families of one function: XLM-R (Conneau et al., arXiv 1911.02116; Goyal et al., arXiv 2105.00572) and encoders
// that call themselves BERT.

#include "models/families.h"

namespace koine {

const ModelFamily& xlmr_family();
const ModelFamily& bert_family();

}  // namespace koine
