#include "engine/batch/packed_batch.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "kernels/common/check.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

namespace koine {
namespace {

/// Groups tokens by their key, keys and the tokens of a key ascending.
PackedSequences::Order order_by(const std::vector<std::int32_t>& keys) {
  PackedSequences::Order order;
  order.tokens.resize(keys.size());
  std::iota(order.tokens.begin(), order.tokens.end(), 0);
  std::stable_sort(order.tokens.begin(), order.tokens.end(), [&](std::int32_t a, std::int32_t b) {
    return keys[static_cast<std::size_t>(a)] < keys[static_cast<std::size_t>(b)];
  });
  for (std::size_t i = 0; i < order.tokens.size(); ++i) {
    const std::int32_t key = keys[static_cast<std::size_t>(order.tokens[i])];
    if (order.keys.empty() || order.keys.back() != key) {
      order.keys.push_back(key);
      order.starts.push_back(static_cast<std::int32_t>(i));
    }
  }
  order.starts.push_back(static_cast<std::int32_t>(order.tokens.size()));
  return order;
}

/// The ids that labels belong to.
const std::vector<std::int32_t>& labelled_ids(const Example& example) {
  return example.target_ids.empty() ? example.ids : example.target_ids;
}

void check_span(const Example& example) {
  const auto length = static_cast<std::int32_t>(labelled_ids(example).size());
  const std::int32_t start = example.labels[0];
  const std::int32_t end = example.labels[1];
  check(start >= 0 && start < length && end >= 0 && end < length, "sequence ", example.number, " has the answer span [",
        start, ", ", end, "] in ", length, " tokens");
}

/// Takes over the labels, if there are any. A labelled sequence beside one without is a mistake of whoever made them.
void add_labels(PackedBatch& batch, std::span<const Example* const> examples) {
  const bool labelled =
      std::any_of(examples.begin(), examples.end(), [](const Example* example) { return !example->labels.empty(); });
  if (!labelled) return;
  const HeadFacts& head = facts_of(batch.head_kind);
  for (std::size_t i = 0; i < examples.size(); ++i) {
    const Example& example = *examples[i];
    const std::int64_t expected =
        head.labels_of(std::ssize(labelled_ids(example)), i % static_cast<std::size_t>(batch.group) == 0);
    check(std::ssize(example.labels) == expected, "sequence ", example.number, " has ", example.labels.size(),
          " labels where its head wants ", expected);
    if (head.labels == LabelPlace::kSpan) {
      check_span(example);
      batch.labels.push_back(example.labels[0]);
    } else if (head.labels == LabelPlace::kOwnGroup && expected > 0) {
      batch.labels.push_back(static_cast<std::int32_t>(i) / batch.group);
    } else {
      batch.labels.insert(batch.labels.end(), example.labels.begin(), example.labels.end());
    }
  }
  if (head.labels == LabelPlace::kSpan) {
    for (const Example* example : examples) batch.labels.push_back(example->labels[1]);
  }
}

}  // namespace

void set_target(Example& example, std::vector<std::int32_t> text, std::int32_t start, std::int32_t pad) {
  require(!text.empty(), "example ", example.number, " has an empty target");
  example.target_ids = {start};
  example.target_ids.insert(example.target_ids.end(), text.begin(), text.end() - 1);
  std::replace(example.target_ids.begin(), example.target_ids.end(), kIgnoredLabel, pad);
  example.labels = std::move(text);
}

void PackedSequences::add(std::span<const std::int32_t> sequence, std::uint32_t number) {
  check(!sequence.empty(), "sequence ", number, " to be packed is empty");
  check(tokens + std::ssize(sequence) <= std::numeric_limits<std::int32_t>::max(),
        "a batch has too many tokens for 32-bit places");
  for (std::size_t i = 0; i < sequence.size(); ++i) {
    ids.push_back(sequence[i]);
    positions.push_back(static_cast<std::int32_t>(i));
    token_examples.push_back(number);
  }
  sequence_examples.push_back(number);
  tokens += std::ssize(sequence);
  sequences += 1;
  maximum_length = std::max(maximum_length, std::ssize(sequence));
  cumulative_lengths.push_back(static_cast<std::int32_t>(tokens));
}

void PackedSequences::rebuild_orders() {
  by_id = order_by(ids);
  by_position = order_by(positions);
}

void recount_labels(PackedBatch& batch) {
  const auto counts = [](std::int32_t label) { return label != kIgnoredLabel; };
  const HeadFacts& head = facts_of(batch.head_kind);
  batch.counted_labels = head.labels == LabelPlace::kSpan ? (batch.labels.empty() ? 0 : batch.under_head().sequences)
                                                          : std::count_if(batch.labels.begin(), batch.labels.end(), counts);
  batch.counted_tokens.clear();
  batch.counted_token_labels.clear();
  if (head.logits != LogitsPlace::kCountedToken) return;
  for (std::size_t token = 0; token < batch.labels.size(); ++token) {
    if (!counts(batch.labels[token])) continue;
    batch.counted_tokens.push_back(static_cast<std::int32_t>(token));
    batch.counted_token_labels.push_back(batch.labels[token]);
  }
}

PackedBatch pack(std::span<const Example* const> examples, HeadKind head, std::int32_t group) {
  check(!examples.empty(), "a batch of no sequences is packed");
  check(group >= 1 && examples.size() % static_cast<std::size_t>(group) == 0,
        "sequences are no whole number of groups: ", examples.size(), " in groups of ", group);
  PackedBatch batch;
  batch.head_kind = head;
  batch.group = group;
  for (const Example* example : examples) {
    batch.source.add(example->ids, example->number);
    check(example->target_ids.empty() == examples.front()->target_ids.empty(), "sequence ", example->number,
          " and the first of its batch differ in whether they have a target");
    if (!example->target_ids.empty()) batch.target.add(example->target_ids, example->number);
  }
  add_labels(batch, examples);
  batch.source.rebuild_orders();
  if (batch.target.sequences > 0) batch.target.rebuild_orders();
  recount_labels(batch);
  return batch;
}

PackedBatch pack_padded(std::span<const std::int32_t> ids, std::int64_t sequences, std::int64_t width, std::int32_t pad_id) {
  check(sequences > 0 && width > 0 && static_cast<std::int64_t>(ids.size()) == sequences * width, "a padded batch of [",
        sequences, ", ", width, "] has ", ids.size(), " ids");
  PackedBatch batch;
  std::vector<std::int32_t> sequence;
  for (std::int64_t row = 0; row < sequences; ++row) {
    sequence.clear();
    for (const std::int32_t id : ids.subspan(static_cast<std::size_t>(row * width), static_cast<std::size_t>(width))) {
      if (id != pad_id) sequence.push_back(id);
    }
    batch.source.add(sequence, static_cast<std::uint32_t>(row));
  }
  batch.source.rebuild_orders();
  recount_labels(batch);
  return batch;
}

}  // namespace koine
