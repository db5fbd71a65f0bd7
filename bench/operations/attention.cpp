#include "bench/operations/measure.h"
#include "kernels/attention/attention_cases.h"

namespace koine::bench {
namespace {

const Measured attention([] {
  for (const Batch& batch : batches()) {
    const std::int64_t heads = batch.model.heads, head_size = batch.model.hidden / heads;
    for (const std::string& kind : plan().lengths) {
      for (const float rate : {0.0f, 0.1f}) {
        const std::string what = (kind == "mnli" ? "" : "length_") + kind + (rate > 0 ? "_dropout" : "");
        const auto shape = [=] { return cases::AttentionBatch(lengths_of(kind, batch.tokens), heads, head_size, rate); };
        measure(batch.name(what), batch.type, [=] {
          const cases::AttentionBatch made = shape();
          return cases::attention_forward_case(made, cases::random(made.qkv_count()));
        });
        measure(batch.name(what), batch.type, [=] {
          const cases::AttentionBatch made = shape();
          // About the log of a length plus what random scores add, so that no weight overflows.
          return cases::attention_backward_case(made, cases::random(made.qkv_count()), cases::random(made.output_count()),
                                                cases::constant(made.statistics_count(), 5));
        });
      }
    }
  }
});

}  // namespace
}  // namespace koine::bench
