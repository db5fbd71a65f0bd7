#include "bench/operations/measure.h"
#include "kernels/rmsnorm/rmsnorm_cases.h"

namespace koine::bench {
namespace {

const Measured rmsnorm([] {
  for (const Batch& batch : batches()) {
    const std::int64_t rows = batch.tokens, width = batch.model.hidden;
    measure(batch.name("hidden"), batch.type, [=] { return cases::rmsnorm_forward_case(rows, width); });
    measure(batch.name("hidden"), batch.type, [=] { return cases::rmsnorm_backward_case(rows, width, true); });
  }
});

}  // namespace
}  // namespace koine::bench
