#include "bench/operations/measure.h"
#include "kernels/reduce/reduce_cases.h"

namespace koine::bench {
namespace {

const Measured sums([] {
  for (const Batch& batch : batches()) {
    const std::int64_t width = 3 * batch.model.hidden;
    measure(batch.name("qkv_bias"), batch.type, [=] { return cases::column_sum_case(batch.tokens, width, width); });
  }
  constexpr std::int64_t kWidth = 1024;
  const std::int64_t rows = plan().optimizer_elements / kWidth;
  measure(concatenate("dense/any/", plan().optimizer_elements), DType::kFloat32,
          [=] { return cases::sum_of_squares_case(rows, kWidth, 0); });
  const std::int64_t losses = plan().tiny ? 50 : plan().device == Device::kCpu ? 4000 : 100000;
  measure(concatenate("losses/any/", losses), DType::kFloat32, [=] { return cases::sum_case(losses, 0); });
});

}  // namespace
}  // namespace koine::bench
