#include "bench/operations/measure.h"
#include "kernels/dropout/dropout_cases.h"

namespace koine::bench {
namespace {

const Measured dropout([] {
  for (const Batch& batch : batches()) {
    for (const float rate : {0.0f, 0.1f}) {
      measure(batch.name(rate > 0 ? "dropout_residual" : "residual"), batch.type,
              [=] { return cases::dropout_case(batch.tokens, batch.model.hidden, rate, true, kLength); });
    }
  }
});

}  // namespace
}  // namespace koine::bench
