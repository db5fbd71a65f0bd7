#include "bench/operations/measure.h"
#include "kernels/span_loss/span_loss_cases.h"

namespace koine::bench {
namespace {

const Measured span_loss([] {
  for (const Batch& batch : batches()) {
    measure(batch.name("length_128"), batch.type, [=] {
      cases::Spans spans;
      cases::TestRandom random(6);
      for (const std::int64_t length : lengths_of("128", batch.tokens)) {
        spans.add(static_cast<std::int32_t>(length), static_cast<std::int32_t>(random.below(16)),
                  static_cast<std::int32_t>(random.below(16)));
      }
      return cases::span_loss_case(spans, cases::LogitsGradient::kApart, cases::random(2 * batch.tokens, 4, 2));
    });
  }
});

}  // namespace
}  // namespace koine::bench
