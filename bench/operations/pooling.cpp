#include "bench/operations/measure.h"
#include "kernels/pooling/pooling_cases.h"

namespace koine::bench {
namespace {

const Measured mean_pooling([] {
  for (const Batch& batch : batches()) {
    const std::vector<std::int32_t> lengths = cases::cumulative_lengths_of(lengths_of("mnli", batch.tokens));
    const std::int64_t width = batch.model.hidden;
    measure(batch.name("mnli"), batch.type, [=] { return cases::mean_pooling_forward_case(lengths, width, false); });
    measure(batch.name("mnli"), batch.type, [=] { return cases::mean_pooling_backward_case(lengths, width, false); });
  }
});

}  // namespace
}  // namespace koine::bench
