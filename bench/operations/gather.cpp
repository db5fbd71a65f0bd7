#include "bench/operations/measure.h"
#include "kernels/gather/gather_cases.h"

namespace koine::bench {
namespace {

/// Every eighth row, about as many as masked-language modelling predicts.
const Measured gather([] {
  for (const Batch& batch : batches()) {
    std::vector<std::int32_t> rows;
    for (std::int64_t row = 0; row + 8 <= batch.tokens; row += 8) rows.push_back(static_cast<std::int32_t>(row));
    const std::int64_t width = batch.model.hidden;
    measure(batch.name("eighth"), batch.type, [=] { return cases::gather_rows_case(rows, batch.tokens, width); });
    measure(batch.name("eighth"), batch.type, [=] { return cases::scatter_rows_case(rows, batch.tokens, width); });
  }
});

}  // namespace
}  // namespace koine::bench
