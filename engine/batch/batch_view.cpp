#include "engine/batch/batch_view.h"

#include "kernels/common/check.h"

namespace koine {

namespace {

SequencesView host_view(const PackedSequences& list, const std::vector<std::int32_t>& zero_positions) {
  check(std::ssize(zero_positions) >= list.sequences, "too few zeros for ", list.sequences, " sequences");
  SequencesView view;
  view.tokens = list.tokens;
  view.sequences = list.sequences;
  view.maximum_length = list.maximum_length;
  view.ids = list.ids.data();
  view.positions = list.positions.data();
  view.cumulative_lengths = list.cumulative_lengths.data();
  view.host_cumulative_lengths = list.cumulative_lengths.data();
  view.zero_positions = zero_positions.data();
  view.token_examples = list.token_examples.data();
  view.sequence_examples = list.sequence_examples.data();
  view.by_id = list.by_id.view();
  view.by_position = list.by_position.view();
  return view;
}

}  // namespace

BatchView host_view(const PackedBatch& batch, const std::vector<std::int32_t>& zero_positions) {
  check(facts_of(batch.head_kind).logits != LogitsPlace::kCountedToken ||
            std::ssize(batch.counted_tokens) == batch.counted_labels,
        "labels of a masked batch were changed and not recounted");
  BatchView view;
  view.source = host_view(batch.source, zero_positions);
  view.target = host_view(batch.target, zero_positions);
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
