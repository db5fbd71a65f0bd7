#include "engine/ranks/flat_sums.h"

#include <algorithm>
#include <cstring>

#include "kernels/common/parallel.h"
#include "kernels/cuda/runtime.h"
#include "kernels/reduce/reduce.h"

namespace koine {
namespace {

std::int64_t round_up_to(std::int64_t value, std::int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

}  // namespace

std::int64_t exchanged_at_once(std::int64_t exchange_elements, std::int64_t elements, int ranks) {
  return round_up_to(std::min(exchange_elements, elements), ranks * kShareMultiple);
}

std::int64_t share_of_rank(std::int64_t count, std::int64_t ranks) {
  return round_up_to((count + ranks - 1) / ranks, kShareMultiple);
}

void FlatSums::add(float* to, const float* from, std::int64_t count, void* stream) {
  if (count == 0) return;
  if (device_ == Device::kCuda) {
    const Context context = in_stream(stream);
    for (std::int64_t at = 0; at < count; at += kExchangeElements) {
      const std::int64_t piece = std::min(kExchangeElements, count - at);
      column_sum(context, {DType::kFloat32, 1, piece, piece, from + at, to + at});
    }
    return;
  }
  parallel_ranges(count, 1 << 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) to[i] += from[i];
  });
}

void FlatSums::copy(float* to, const float* from, std::int64_t count, void* stream) const {
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(float);
  if (count == 0) return;
  if (device_ == Device::kCuda) {
    cuda::copy_on_device(to, from, bytes, stream);
  } else {
    std::memcpy(to, from, bytes);
  }
}

void FlatSums::clear(float* values, std::int64_t count, void* stream) const {
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(float);
  if (device_ == Device::kCuda) {
    cuda::fill_with_zero(values, bytes, stream);
  } else {
    std::memset(values, 0, bytes);
  }
}

/// With scratch of its own. Streams that use it are ordered.
Context FlatSums::in_stream(void* stream) {
  Context context;
  context.device = device_;
  context.architecture = 80;  // what column_sum asks for
  context.stream = stream;
  if (!scratch_.made()) {
    const std::int64_t most = std::min(kExchangeElements, most_ + kShareMultiple);
    scratch_ = OwnScratch(context, "scratch of sums of gradients", [&](const Context& dry) {
      column_sum(dry, {DType::kFloat32, 1, most, most, nullptr, nullptr});
    });
  }
  return scratch_.in(context);
}

}  // namespace koine
