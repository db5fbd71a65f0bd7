#include "kernels/pooling/pooling.h"

namespace koine {
namespace {

// Whether token `t` of the sequence [begin, end) is averaged.
bool counts(bool skip_special, std::int64_t t, std::int64_t begin, std::int64_t end) {
  return !skip_special || (t > begin && t + 1 < end);
}

std::int64_t count_of(bool skip_special, std::int64_t begin, std::int64_t end) {
  std::int64_t count = 0;
  for (std::int64_t t = begin; t < end; ++t) count += counts(skip_special, t, begin, end);
  return count;
}

}  // namespace

void mean_pooling_forward_reference(const Context&, const MeanPoolingForwardArguments& a, void*) {
  for (std::int64_t s = 0; s < a.sequences; ++s) {
    const std::int64_t begin = a.cumulative_lengths[s];
    const std::int64_t end = a.cumulative_lengths[s + 1];
    for (std::int64_t c = 0; c < a.width; ++c) {
      double sum = 0;
      double weights = 0;
      std::int64_t place = 0;
      for (std::int64_t t = begin; t < end; ++t) {
        if (!counts(a.skip_special, t, begin, end)) continue;
        const double weight = a.by_position ? static_cast<double>(++place) : 1;
        sum += weight * load_element(a.input, a.type, t * a.width + c);
        weights += weight;
      }
      store_element(a.output, a.type, s * a.width + c, weights == 0 ? 0 : sum / weights);
    }
  }
}

void mean_pooling_backward_reference(const Context&, const MeanPoolingBackwardArguments& a, void*) {
  for (std::int64_t s = 0; s < a.sequences; ++s) {
    const std::int64_t begin = a.cumulative_lengths[s];
    const std::int64_t end = a.cumulative_lengths[s + 1];
    const std::int64_t count = count_of(a.skip_special, begin, end);
    for (std::int64_t t = begin; t < end; ++t) {
      for (std::int64_t c = 0; c < a.width; ++c) {
        const double gradient = load_element(a.d_output, a.type, s * a.width + c) / static_cast<double>(count);
        store_element(a.d_input, a.type, t * a.width + c, counts(a.skip_special, t, begin, end) ? gradient : 0);
      }
    }
  }
}

}  // namespace koine
