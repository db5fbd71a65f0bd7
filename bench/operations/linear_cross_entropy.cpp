#include "bench/operations/measure.h"
#include "kernels/linear_cross_entropy/linear_cross_entropy_cases.h"

namespace koine::bench {
namespace {

/// The masked-language head's: 15 % of a batch's tokens, over the whole vocabulary.
const Measured linear_cross_entropy([] {
  for (const Batch& batch : batches()) {
    const std::int64_t rows = std::max<std::int64_t>(1, batch.tokens * 15 / 100);
    for (const bool gradients : {false, true}) {
      measure(batch.name(gradients ? "mlm" : "mlm_loss", rows), batch.type, [=] {
        const std::int64_t classes = plan().vocabulary;
        cases::TestRandom random(5);
        std::vector<std::int32_t> labels(static_cast<std::size_t>(rows));
        for (std::int32_t& label : labels) label = static_cast<std::int32_t>(random.below(classes));
        return cases::linear_cross_entropy_case(labels, {classes, batch.model.hidden, gradients});
      });
    }
  }
});

}  // namespace
}  // namespace koine::bench
