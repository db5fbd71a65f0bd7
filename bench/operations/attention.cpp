#include "bench/operations/measure.h"
#include "kernels/attention/attention_cases.h"

namespace koine::bench {
namespace {

/// Calls add(name, batch's shape) without and with dropout, beside each other.
template <class Add>
void with_and_without_dropout(const Batch& batch, const std::string& kind, Add add) {
  for (const float rate : {0.0f, 0.1f}) {
    const std::int64_t heads = batch.model.heads, head_size = batch.model.hidden / heads;
    add(batch.name((kind == "mnli" ? "" : "length_") + kind + (rate > 0 ? "_dropout" : "")),
        [=] { return cases::AttentionBatch(lengths_of(kind, batch.tokens), heads, head_size, rate); });
  }
}

const Measured attention([] {
  for (const Batch& batch : batches()) {
    for (const std::string& kind : plan().lengths) {
      with_and_without_dropout(batch, kind, [&](const std::string& name, auto shape) {
        measure(name, batch.type, [=] {
          const cases::AttentionBatch made = shape();
          return cases::attention_forward_case(made, cases::random(made.qkv_count()));
        });
      });
      with_and_without_dropout(batch, kind, [&](const std::string& name, auto shape) {
        measure(name, batch.type, [=] {
          const cases::AttentionBatch made = shape();
          // About the log of a length plus what random scores add, so that no weight overflows.
          return cases::attention_backward_case(made, cases::random(made.qkv_count()), cases::random(made.output_count()),
                                                cases::constant(made.statistics_count(), 5));
        });
      });
    }
  }
});

}  // namespace
}  // namespace koine::bench
