#include "engine/training/model.h"

#include "kernels/common/check.h"
#include "kernels/cuda/runtime.h"

namespace koine {

double Model::train_batch(const PackedBatch& batch, double gradient_scale, const StepIdentity& step) {
  add_batch(batch, gradient_scale, step);
  double loss = 0;
  if (context().device == Device::kCpu) {
    std::swap(loss, *loss_sum());
    return loss;
  }
  cuda::copy_to_host(&loss, loss_sum(), sizeof loss, context().stream);
  cuda::fill_with_zero(loss_sum(), sizeof loss, context().stream);
  cuda::synchronize(context().stream);
  return loss;
}

std::vector<std::vector<float>> Model::answer_scores(const PackedBatch&,
                                                     const std::vector<std::vector<std::vector<std::int32_t>>>&) {
  throw Error("this model has no decoder whose answers could be compared");
}

std::vector<float> Model::hidden_states(const PackedBatch&, std::int64_t) {
  throw Error("this model has no hidden states to show");
}

std::vector<Generation> Model::generate(const PackedBatch&, const GenerationSettings&) {
  throw Error("this model has no decoder, and generates nothing");
}

}  // namespace koine
