#include "bench/operations/measure.h"
#include "kernels/layernorm/layernorm_cases.h"

namespace koine::bench {
namespace {

const Measured layernorm([] {
  for (const Batch& batch : batches()) {
    for (const float rate : {0.0f, 0.1f}) {
      const std::string what = rate > 0 ? "dropout_residual" : "residual";
      const cases::LayerNormShape forward = {batch.tokens, batch.model.hidden, true, rate, kLength};
      const cases::LayerNormShape backward = {batch.tokens, batch.model.hidden, false, rate, kLength};
      measure(batch.name(what), batch.type, [=] { return cases::layernorm_forward_case(forward); });
      measure(batch.name(what), batch.type, [=] { return cases::layernorm_backward_case(backward); });
    }
  }
});

}  // namespace
}  // namespace koine::bench
