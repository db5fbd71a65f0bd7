#include "bench/operations/measure.h"
#include "kernels/layernorm/layernorm_cases.h"

namespace koine::bench {
namespace {

const Measured layernorm([] {
  for (const Batch& batch : batches()) {
    // Without and with dropout, beside each other.
    const auto what = [](float rate) { return rate > 0 ? "dropout_residual" : "residual"; };
    for (const float rate : {0.0f, 0.1f}) {
      const cases::LayerNormShape shape = {batch.tokens, batch.model.hidden, true, rate, kLength};
      measure(batch.name(what(rate)), batch.type, [=] { return cases::layernorm_forward_case(shape); });
    }
    for (const float rate : {0.0f, 0.1f}) {
      const cases::LayerNormShape shape = {batch.tokens, batch.model.hidden, false, rate, kLength};
      measure(batch.name(what(rate)), batch.type, [=] { return cases::layernorm_backward_case(shape); });
    }
  }
});

}  // namespace
}  // namespace koine::bench
