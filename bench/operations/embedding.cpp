#include "bench/operations/measure.h"
#include "kernels/embedding/embedding_cases.h"

namespace koine::bench {
namespace {

const Measured embedding([] {
  for (const Batch& batch : batches()) {
    const cases::EmbeddingTables tables = {plan().vocabulary, 514, batch.model.hidden};
    measure(batch.name("word_position_type"), batch.type,
            [=] { return cases::embedding_forward_case(word_ids(batch.tokens), positions_of(batch.tokens), tables); });
    measure(batch.name("word_position_type"), batch.type, [=] {
      return cases::embedding_backward_case(cases::TokenGroups(word_ids(batch.tokens)),
                                            cases::TokenGroups(positions_of(batch.tokens)), tables);
    });
  }
});

}  // namespace
}  // namespace koine::bench
