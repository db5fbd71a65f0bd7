#include "engine/training/model.h"

#include "kernels/common/check.h"

namespace koine {

std::vector<float> Model::hidden_states(const PackedBatch&, std::int64_t) {
  throw Error("this model has no hidden states to show");
}

}  // namespace koine
