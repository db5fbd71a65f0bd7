#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "engine/batch/batcher.h"
#include "kernels/common/check.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

namespace koine {
namespace {

using Ids = std::vector<std::int32_t>;

Dataset dataset_of_lengths(const std::vector<std::size_t>& lengths, HeadKind head = HeadKind::kSequence,
                           std::int32_t group = 1) {
  Dataset dataset;
  dataset.name = "test set";
  dataset.head = head;
  dataset.group = group;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    dataset.examples.push_back({Ids(lengths[i], static_cast<std::int32_t>(10 + i)), {}, static_cast<std::uint32_t>(i)});
  }
  return dataset;
}

void expect_order(const PackedSequences::Order& order, const Ids& keys) {
  ASSERT_EQ(order.starts.size(), order.keys.size() + 1);
  EXPECT_EQ(order.starts.front(), 0);
  EXPECT_EQ(order.starts.back(), static_cast<std::int32_t>(keys.size()));
  EXPECT_TRUE(std::is_sorted(order.keys.begin(), order.keys.end()));
  EXPECT_EQ(std::adjacent_find(order.keys.begin(), order.keys.end()), order.keys.end());
  std::set<std::int32_t> seen;
  for (std::size_t g = 0; g < order.keys.size(); ++g) {
    EXPECT_LT(order.starts[g], order.starts[g + 1]);
    for (std::int32_t i = order.starts[g]; i < order.starts[g + 1]; ++i) {
      const std::int32_t token = order.tokens[static_cast<std::size_t>(i)];
      EXPECT_EQ(keys[static_cast<std::size_t>(token)], order.keys[g]);
      if (i > order.starts[g]) {
        EXPECT_GT(token, order.tokens[static_cast<std::size_t>(i - 1)]);
      }
      seen.insert(token);
    }
  }
  EXPECT_EQ(seen.size(), keys.size());
}

TEST(Pack, LaysSequencesEndToEnd) {
  const Example a{{0, 7, 9, 2}, {1}, 40};
  const Example b{{0, 7, 2}, {kIgnoredLabel}, 41};
  const Example* examples[] = {&a, &b};
  const PackedBatch batch = pack(examples, HeadKind::kSequence);
  EXPECT_EQ(batch.source.tokens, 7);
  EXPECT_EQ(batch.source.sequences, 2);
  EXPECT_EQ(batch.source.maximum_length, 4);
  EXPECT_EQ(batch.source.ids, (Ids{0, 7, 9, 2, 0, 7, 2}));
  EXPECT_EQ(batch.source.positions, (Ids{0, 1, 2, 3, 0, 1, 2}));
  EXPECT_EQ(batch.source.token_examples, (std::vector<std::uint32_t>{40, 40, 40, 40, 41, 41, 41}));
  EXPECT_EQ(batch.source.sequence_examples, (std::vector<std::uint32_t>{40, 41}));
  EXPECT_EQ(batch.source.cumulative_lengths, (Ids{0, 4, 7}));
  EXPECT_EQ(batch.labels, (Ids{1, kIgnoredLabel}));
  EXPECT_EQ(batch.counted_labels, 1);
  EXPECT_EQ(batch.source.by_id.keys, (Ids{0, 2, 7, 9}));
  EXPECT_EQ(batch.source.by_id.tokens, (Ids{0, 4, 3, 6, 1, 5, 2}));
  EXPECT_EQ(batch.source.by_id.starts, (Ids{0, 2, 4, 6, 7}));
  expect_order(batch.source.by_position, batch.source.positions);
}

TEST(Pack, ATargetIsASecondListWhoseTokensTheLabelsBelongTo) {
  const Example a{{5, 6, 7}, {8, 2}, 3, {0, 8}};
  const Example b{{5}, {9, 9, 2}, 4, {0, 9, 9}};
  const Example* both[] = {&a, &b};
  const PackedBatch batch = pack(both, HeadKind::kToken);
  EXPECT_EQ(batch.source.ids, (Ids{5, 6, 7, 5}));
  EXPECT_EQ(batch.target.ids, (Ids{0, 8, 0, 9, 9}));
  EXPECT_EQ(batch.source.cumulative_lengths, (Ids{0, 3, 4}));
  EXPECT_EQ(batch.target.cumulative_lengths, (Ids{0, 2, 5}));
  EXPECT_EQ(batch.target.sequence_examples, batch.source.sequence_examples);
  EXPECT_EQ(batch.target.positions, (Ids{0, 1, 0, 1, 2}));
  EXPECT_EQ(batch.target.maximum_length, 3);
  expect_order(batch.target.by_id, batch.target.ids);
  EXPECT_EQ(batch.labels, (Ids{8, 2, 9, 9, 2}));
  EXPECT_EQ(&batch.under_head(), &batch.target);
  const Example without{{5}, {2}, 5};
  const Example* mixed[] = {&a, &without};
  EXPECT_THROW(pack(mixed, HeadKind::kToken), Error);
  const Example* single[] = {&without};
  const PackedBatch one = pack(single, HeadKind::kToken);
  EXPECT_EQ(one.target.sequences, 0);
  EXPECT_EQ(&one.under_head(), &one.source);
}

TEST(Pack, LaysOutTheLabelsOfEveryHead) {
  const Example span_a{{0, 5, 6, 2}, {1, 2}, 0};
  const Example span_b{{0, 5, 2}, {0, 0}, 1};
  const Example* spans[] = {&span_a, &span_b};
  const PackedBatch span = pack(spans, HeadKind::kSpan);
  EXPECT_EQ(span.labels, (Ids{1, 0, 2, 0}));
  EXPECT_EQ(span.counted_labels, 2);
  const Example token_a{{0, 5, 2}, {kIgnoredLabel, 3, kIgnoredLabel}, 0};
  const Example* tokens[] = {&token_a};
  const PackedBatch token = pack(tokens, HeadKind::kToken);
  EXPECT_EQ(token.labels, token_a.labels);
  EXPECT_EQ(token.counted_labels, 1);
  const Example first{{0, 5, 2}, {1}, 0};
  const Example second{{0, 6, 2}, {}, 1};
  const Example* choices[] = {&first, &second, &first, &second};
  const PackedBatch choice = pack(choices, HeadKind::kChoice, 2);
  EXPECT_EQ(choice.labels, (Ids{1, 1}));
  EXPECT_EQ(choice.group, 2);
  const Example unlabelled{{0, 2}, {}, 0};
  const Example* bare[] = {&unlabelled, &unlabelled};
  for (const HeadKind head : {HeadKind::kSequence, HeadKind::kSpan, HeadKind::kMaskedLm, HeadKind::kToken}) {
    const PackedBatch batch = pack(bare, head);
    EXPECT_TRUE(batch.labels.empty());
    EXPECT_EQ(batch.counted_labels, 0);
  }
}

TEST(Pack, RefusesWhatDoesNotFit) {
  const Example good{{0, 5, 2}, {1}, 0};
  const Example empty{{}, {1}, 1};
  const Example unlabelled{{0, 2}, {}, 2};
  const Example* none[] = {&good, &empty};
  EXPECT_THROW(pack({}, HeadKind::kSequence), Error);
  EXPECT_THROW(pack(none, HeadKind::kSequence), Error);
  const Example* mixed[] = {&good, &unlabelled};
  EXPECT_THROW(pack(mixed, HeadKind::kSequence), Error);
  const Example* one[] = {&good};
  EXPECT_THROW(pack(one, HeadKind::kToken), Error);
  EXPECT_THROW(pack(one, HeadKind::kSpan), Error);
  EXPECT_THROW(pack(one, HeadKind::kChoice, 2), Error);
  const Example outside{{0, 5, 2}, {1, 3}, 0};
  const Example negative{{0, 5, 2}, {-1, 1}, 0};
  for (const Example* bad : {&outside, &negative}) EXPECT_THROW(pack({&bad, 1}, HeadKind::kSpan), Error);
}

TEST(Pack, DropsPadding) {
  const Ids padded = {0, 7, 9, 2, 0, 7, 2, 1};
  const PackedBatch batch = pack_padded(padded, 2, 4, 1);
  const Example a{{0, 7, 9, 2}, {}, 0};
  const Example b{{0, 7, 2}, {}, 1};
  const Example* examples[] = {&a, &b};
  const PackedBatch expected = pack(examples, HeadKind::kSequence);
  EXPECT_EQ(batch.source.ids, expected.source.ids);
  EXPECT_EQ(batch.source.positions, expected.source.positions);
  EXPECT_EQ(batch.source.cumulative_lengths, expected.source.cumulative_lengths);
  EXPECT_EQ(batch.source.token_examples, expected.source.token_examples);
  EXPECT_EQ(batch.source.by_id.tokens, expected.source.by_id.tokens);
  EXPECT_THROW(pack_padded(padded, 2, 3, 1), Error);
  EXPECT_THROW(pack_padded(Ids{0, 1, 1, 1}, 2, 2, 1), Error);  // a row of padding only
}

TEST(Plan, FillsMicroBatchesByTokens) {
  const Dataset dataset = dataset_of_lengths({30, 5, 40, 5, 20, 10, 35});
  const std::vector<std::int64_t> groups = {6, 0, 1, 2, 3, 4, 5};
  const StepPlan plan = plan_step(dataset, groups, 70);
  EXPECT_EQ(plan.micro_batches, (std::vector<std::vector<std::int64_t>>{{1, 3, 5, 4, 0}, {6}, {2}}));
  EXPECT_EQ(plan_prediction(dataset, 70).micro_batches, plan.micro_batches);
  try {
    plan_step(dataset, groups, 39);
    ADD_FAILURE() << "a group beyond the budget must be refused";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("example 2 of test set has 40 tokens"), std::string::npos) << error.what();
  }
}

TEST(Plan, KeepsGroupsTogether) {
  const Dataset dataset = dataset_of_lengths({3, 4, 9, 9, 1, 1}, HeadKind::kChoice, 2);
  EXPECT_EQ(dataset.groups(), 3);
  const StepPlan plan = plan_prediction(dataset, 18);
  EXPECT_EQ(plan.micro_batches, (std::vector<std::vector<std::int64_t>>{{2, 0}, {1}}));
  const PackedBatch batch = pack_groups(dataset, plan.micro_batches[0]);
  EXPECT_EQ(batch.source.sequence_examples, (std::vector<std::uint32_t>{4, 5, 0, 1}));
  EXPECT_EQ(batch.head_kind, HeadKind::kChoice);
  EXPECT_EQ(batch.group, 2);
}

// Queries and candidates, which compete within their batch: as many as are asked for, in the order drawn.
TEST(Plan, KeepsWholeBatchesWhereExamplesCompete) {
  Dataset dataset = dataset_of_lengths({3, 4, 9, 9, 1, 1, 5, 5, 2, 2}, HeadKind::kDualEncoder, kPair);
  for (std::size_t i = 0; i < dataset.examples.size(); i += kPair) dataset.examples[i].labels = {5};
  const std::vector<std::int64_t> drawn = {3, 1, 4, 0, 2};
  const StepPlan plan = plan_whole_batches(dataset, drawn, 2, 28);
  EXPECT_EQ(plan.micro_batches, (std::vector<std::vector<std::int64_t>>{{3, 1}, {4, 0}, {2}}));
  const PackedBatch batch = pack_groups(dataset, plan.micro_batches[0]);
  EXPECT_EQ(batch.source.sequence_examples, (std::vector<std::uint32_t>{6, 7, 2, 3}));
  EXPECT_EQ(batch.labels, (std::vector<std::int32_t>{0, 1})) << "each its own place, whatever the examples say";
  EXPECT_EQ(batch.counted_labels, 2);
  EXPECT_EQ(longest_batch_tokens(dataset, 2), 28);
  EXPECT_EQ(longest_batch_tokens(dataset, 9), 41);
  EXPECT_THROW(plan_whole_batches(dataset, drawn, 2, 27), Error);
}

TEST(EpochSampler, VisitsEveryGroupOnceAPass) {
  EpochSampler sampler(10, 4, 3);
  EXPECT_EQ(sampler.steps_per_epoch(), 3);
  std::vector<std::int64_t> drawn;
  for (std::int64_t step = 0; step < 5; ++step) {
    const auto groups = sampler.step_groups(step);
    EXPECT_EQ(groups.size(), 4u);
    drawn.insert(drawn.end(), groups.begin(), groups.end());
  }
  for (const std::ptrdiff_t pass : {0, 10}) {
    std::vector<std::int64_t> sorted(drawn.begin() + pass, drawn.begin() + pass + 10);
    std::sort(sorted.begin(), sorted.end());
    std::vector<std::int64_t> all(10);
    std::iota(all.begin(), all.end(), 0);
    EXPECT_EQ(sorted, all);
  }
  EXPECT_NE(std::vector<std::int64_t>(drawn.begin(), drawn.begin() + 10),
            std::vector<std::int64_t>(drawn.begin() + 10, drawn.end()));
  // Any step at any time, the same from a fresh sampler; another seed, another order.
  EpochSampler again(10, 4, 3);
  EXPECT_EQ(again.step_groups(4), std::vector<std::int64_t>(drawn.begin() + 16, drawn.end()));
  EXPECT_EQ(again.step_groups(2), std::vector<std::int64_t>(drawn.begin() + 8, drawn.begin() + 12));
  EpochSampler other(1000, 4, 4);
  EXPECT_NE(other.step_groups(0), EpochSampler(1000, 4, 3).step_groups(0));
  EXPECT_EQ(EpochSampler(1, 3, 0).step_groups(7), (std::vector<std::int64_t>{0, 0, 0}));
}

TEST(EpochSampler, ShufflesEvenly) {
  // Where group 0 of 8 lands over 8000 epochs: 1000 each, standard deviation sqrt(8000 * 1/8 * 7/8) = 30; five of them
  // allowed.
  std::vector<int> places(8, 0);
  EpochSampler sampler(8, 8, 11);
  for (std::int64_t epoch = 0; epoch < 8000; ++epoch) {
    const auto order = sampler.step_groups(epoch);
    ++places[static_cast<std::size_t>(std::find(order.begin(), order.end(), 0) - order.begin())];
  }
  for (const int count : places) EXPECT_NEAR(count, 1000, 150);
}

PackedBatch masked_batch(std::int64_t sequences, std::uint32_t epoch, std::uint32_t first_number = 0) {
  std::vector<Example> examples;
  for (std::int64_t i = 0; i < sequences; ++i) {
    Ids ids(100, 50);
    ids.front() = 0;
    ids.back() = 2;
    examples.push_back({ids, {}, first_number + static_cast<std::uint32_t>(i)});
  }
  std::vector<const Example*> list;
  for (const Example& example : examples) list.push_back(&example);
  PackedBatch batch = pack(list, HeadKind::kMaskedLm);
  mask_tokens(batch, {0.15, 999, 1000, {0, 1, 2, 3, 999}, 5}, epoch);
  return batch;
}

TEST(Masking, ChoosesTheRightShares) {
  const PackedBatch batch = masked_batch(1000, 0);
  const double tokens = 98000;
  double masked = 0;
  double random = 0;
  double kept = 0;
  for (std::size_t i = 0; i < batch.source.ids.size(); ++i) {
    if (batch.labels[i] == kIgnoredLabel) {
      EXPECT_TRUE(batch.source.ids[i] == 50 || i % 100 == 0 || i % 100 == 99);
      continue;
    }
    EXPECT_EQ(batch.labels[i], 50);
    (batch.source.ids[i] == 999 ? masked : batch.source.ids[i] == 50 ? kept : random) += 1;
    EXPECT_TRUE(batch.source.ids[i] >= 0 && batch.source.ids[i] < 1000);
  }
  const double chosen = masked + random + kept;
  EXPECT_EQ(static_cast<double>(batch.counted_labels), chosen);
  // Binomial: five standard deviations, sqrt(n p (1 - p)), of each share.
  EXPECT_NEAR(chosen, 0.15 * tokens, 5 * 112);
  EXPECT_NEAR(masked, 0.8 * chosen, 5 * 49);
  EXPECT_NEAR(random, 0.1 * chosen, 5 * 37);
  EXPECT_NEAR(kept, 0.1 * chosen, 5 * 37);
  EXPECT_EQ(batch.source.ids[0], 0);
  EXPECT_EQ(batch.labels[99], kIgnoredLabel);
  expect_order(batch.source.by_id, batch.source.ids);
}

TEST(Masking, DependsOnExampleAndEpochOnly) {
  const PackedBatch all = masked_batch(4, 7);
  const PackedBatch last = masked_batch(1, 7, 3);
  EXPECT_TRUE(std::equal(last.source.ids.begin(), last.source.ids.end(), all.source.ids.begin() + 300));
  EXPECT_TRUE(std::equal(last.labels.begin(), last.labels.end(), all.labels.begin() + 300));
  EXPECT_NE(all.labels, masked_batch(4, 8).labels);
}

TEST(Masking, AlwaysChoosesOne) {
  for (std::uint32_t number = 0; number < 50; ++number) {
    const Example example{{0, 60, 2}, {}, number};
    const Example* list[] = {&example};
    PackedBatch batch = pack(list, HeadKind::kMaskedLm);
    mask_tokens(batch, {0.15, 999, 1000, {0, 1, 2}, 5}, 0);
    EXPECT_EQ(batch.labels, (Ids{kIgnoredLabel, 60, kIgnoredLabel}));
    EXPECT_EQ(batch.counted_labels, 1);
  }
  const Example special{{0, 2}, {}, 0};
  const Example* list[] = {&special};
  PackedBatch batch = pack(list, HeadKind::kMaskedLm);
  mask_tokens(batch, {0.15, 999, 1000, {0, 1, 2}, 5}, 0);
  EXPECT_EQ(batch.counted_labels, 0);
}

}  // namespace
}  // namespace koine
