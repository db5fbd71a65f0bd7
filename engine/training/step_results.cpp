#include "engine/training/step_results.h"

#include <cstring>
#include <utility>

#include "kernels/common/check.h"

namespace koine {

StepResults::StepResults(Device device, int most) : device_(device) {
  for (int i = 0; i < most; ++i) {
    slots_.emplace_back();
    if (device == Device::kCpu) continue;
    slots_.back().memory = cuda::PinnedMemory(sizeof(StepResult));
    slots_.back().arrived.emplace();
  }
}

void StepResults::enqueue(const Context& context, double* loss_sum, const float* norm) {
  check(waiting_ < static_cast<int>(slots_.size()), "more results are on their way than there is room for");
  Slot& slot = slots_[static_cast<std::size_t>(first_ + waiting_) % slots_.size()];
  ++waiting_;
  if (device_ == Device::kCpu) {
    slot.result = {std::exchange(*loss_sum, 0.0), *norm};
    return;
  }
  auto* result = static_cast<StepResult*>(slot.memory.data());
  cuda::copy_to_host(&result->loss_sum, loss_sum, sizeof *loss_sum, context.stream);
  cuda::copy_to_host(&result->norm, norm, sizeof *norm, context.stream);
  cuda::fill_with_zero(loss_sum, sizeof *loss_sum, context.stream);
  slot.arrived->record(context.stream);
}

StepResult StepResults::take() {
  check(waiting_ > 0, "no result is on its way");
  Slot& slot = slots_[static_cast<std::size_t>(first_)];
  first_ = (first_ + 1) % static_cast<int>(slots_.size());
  --waiting_;
  if (device_ == Device::kCpu) return slot.result;
  if (!slot.arrived->passed()) slot.arrived->synchronize();
  StepResult result;
  std::memcpy(&result, slot.memory.data(), sizeof result);
  return result;
}

}  // namespace koine
