#include "engine/training/step_results.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "kernels/common/check.h"

namespace koine {

StepResults::StepResults(Device device, int most, std::int64_t parts) : device_(device), parts_(parts) {
  for (int i = 0; i < most; ++i) {
    slots_.emplace_back();
    slots_.back().loss_sums.resize(static_cast<std::size_t>(parts));
    if (device == Device::kCpu) continue;
    slots_.back().memory = cuda::PinnedMemory(sums_bytes() + sizeof(float));
    slots_.back().arrived.emplace();
  }
}

void StepResults::enqueue(const Context& context, double* loss_sums, const float* norm) {
  check(waiting_ < static_cast<int>(slots_.size()), "more results are on their way than there is room for");
  Slot& slot = slots_[static_cast<std::size_t>(first_ + waiting_) % slots_.size()];
  ++waiting_;
  if (device_ == Device::kCpu) {
    std::copy(loss_sums, loss_sums + parts_, slot.loss_sums.begin());
    std::fill(loss_sums, loss_sums + parts_, 0.0);
    slot.norm = *norm;
    return;
  }
  auto* memory = static_cast<std::byte*>(slot.memory.data());
  cuda::copy_to_host(memory, loss_sums, sums_bytes(), context.stream);
  cuda::copy_to_host(memory + sums_bytes(), norm, sizeof *norm, context.stream);
  cuda::fill_with_zero(loss_sums, sums_bytes(), context.stream);
  slot.arrived->record(context.stream);
}

StepResult StepResults::take() {
  check(waiting_ > 0, "no result is on its way");
  Slot& slot = slots_[static_cast<std::size_t>(first_)];
  first_ = (first_ + 1) % static_cast<int>(slots_.size());
  --waiting_;
  if (device_ != Device::kCpu) {
    if (!slot.arrived->passed()) slot.arrived->synchronize();
    const auto* memory = static_cast<const std::byte*>(slot.memory.data());
    std::memcpy(slot.loss_sums.data(), memory, sums_bytes());
    std::memcpy(&slot.norm, memory + sums_bytes(), sizeof slot.norm);
  }
  return {std::accumulate(slot.loss_sums.begin() + 1, slot.loss_sums.end(), slot.loss_sums.front()), slot.norm};
}

}  // namespace koine
