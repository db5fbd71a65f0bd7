#include "bench/operations/measure.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy_cases.h"

namespace koine::bench {
namespace {

/// Over a vocabulary: of as many rows as fit beside each other.
const Measured softmax_cross_entropy([] {
  for (const Batch& batch : batches()) {
    if (!batch.first()) continue;
    const std::int64_t rows = plan().device == Device::kCpu ? 128 : std::min<std::int64_t>(batch.tokens, 512);
    measure(batch.name("mlm", rows), batch.type, [=] {
      const std::int64_t classes = plan().vocabulary;
      cases::TestRandom random(5);
      std::vector<std::int32_t> labels(static_cast<std::size_t>(rows));
      for (std::int32_t& label : labels) label = static_cast<std::int32_t>(random.below(classes));
      return cases::softmax_cross_entropy_case(labels, classes, cases::LogitsGradient::kApart,
                                               cases::random(rows * classes, 3, 2));
    });
  }
});

}  // namespace
}  // namespace koine::bench
