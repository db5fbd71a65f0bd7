#include "engine/batch/batch_view.h"

#include "kernels/common/check.h"

namespace koine {

BatchView host_view(const PackedBatch& batch, const std::vector<std::int32_t>& zero_positions) {
  check(std::ssize(zero_positions) >= batch.sequences, "too few zeros for ", batch.sequences, " sequences");
  check(facts_of(batch.head_kind).logits != LogitsPlace::kCountedToken ||
            std::ssize(batch.counted_tokens) == batch.counted_labels,
        "labels of a masked batch were changed and not recounted");
  BatchView view;
  view.tokens = batch.tokens;
  view.sequences = batch.sequences;
  view.maximum_length = batch.maximum_length;
  view.ids = batch.ids.data();
  view.positions = batch.positions.data();
  view.cumulative_lengths = batch.cumulative_lengths.data();
  view.host_cumulative_lengths = batch.cumulative_lengths.data();
  view.zero_positions = zero_positions.data();
  view.token_examples = batch.token_examples.data();
  view.sequence_examples = batch.sequence_examples.data();
  view.by_id = batch.by_id.view();
  view.by_position = batch.by_position.view();
  view.head_kind = batch.head_kind;
  view.head = batch.head;
  view.group = batch.group;
  view.labelled = !batch.labels.empty();
  view.labels = batch.labels.data();
  view.counted_labels = batch.counted_labels;
  view.counted_tokens = batch.counted_tokens.data();
  view.counted_token_labels = batch.counted_token_labels.data();
  return view;
}

}  // namespace koine
