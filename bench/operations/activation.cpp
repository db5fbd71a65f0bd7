#include "bench/operations/measure.h"
#include "kernels/activation/activation_cases.h"

namespace koine::bench {
namespace {

const Measured activation([] {
  for (const Batch& batch : batches()) {
    const std::int64_t count = batch.tokens * batch.model.feed_forward;
    measure(batch.name("gelu"), batch.type, [=] { return cases::activation_forward_case(Activation::kGeluErf, count); });
    measure(batch.name("gelu"), batch.type, [=] { return cases::activation_backward_case(Activation::kGeluErf, count); });
  }
});

}  // namespace
}  // namespace koine::bench
