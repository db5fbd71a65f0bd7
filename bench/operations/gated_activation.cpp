#include "bench/operations/measure.h"
#include "kernels/gated_activation/gated_activation_cases.h"

namespace koine::bench {
namespace {

const Measured gated_activation([] {
  for (const Batch& batch : batches()) {
    const std::int64_t rows = batch.tokens, width = batch.model.feed_forward;
    measure(batch.name("gelu"), batch.type, [=] { return cases::gated_activation_forward_case(rows, width); });
    measure(batch.name("gelu"), batch.type, [=] { return cases::gated_activation_backward_case(rows, width); });
  }
});

}  // namespace
}  // namespace koine::bench
