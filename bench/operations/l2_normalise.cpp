#include "bench/operations/measure.h"
#include "kernels/l2_normalise/l2_normalise_cases.h"

namespace koine::bench {
namespace {

// The vectors of a batch of sequences of some 128 tokens: questions are every other row.
const Measured l2_normalise([] {
  for (const Batch& batch : batches()) {
    const std::int64_t rows = batch.tokens / 256, width = batch.model.hidden;
    measure(batch.name("pairs"), batch.type, [=] { return cases::l2_normalise_forward_case(rows, width, 2 * width); });
    measure(batch.name("pairs"), batch.type, [=] { return cases::l2_normalise_backward_case(rows, width, 2 * width); });
  }
});

}  // namespace
}  // namespace koine::bench
