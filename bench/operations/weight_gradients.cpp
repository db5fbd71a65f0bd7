#include "bench/operations/measure.h"
#include "kernels/gemm/weight_gradients_cases.h"

namespace koine::bench {
namespace {

/// The four weight gradients of a block and their biases', as one.
const Measured weight_gradients([] {
  for (const Batch& batch : batches()) {
    const std::int64_t hidden = batch.model.hidden, feed_forward = batch.model.feed_forward, rows = batch.tokens;
    measure(batch.name("block"), batch.type, [=] {
      return cases::weight_gradients_case(
          {{3 * hidden, hidden, rows}, {hidden, hidden, rows}, {feed_forward, hidden, rows}, {hidden, feed_forward, rows}});
    });
  }
});

}  // namespace
}  // namespace koine::bench
