#include "engine/batch/device_batch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "kernels/common/check.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

namespace koine {
namespace {

PackedBatch batch_of(HeadKind head, const std::vector<std::int64_t>& lengths, std::int32_t group = 1) {
  std::vector<Example> examples;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    Example example;
    example.number = static_cast<std::uint32_t>(7 + i);
    for (std::int64_t t = 0; t < lengths[i]; ++t)
      example.ids.push_back(static_cast<std::int32_t>(3 + (5 * t + static_cast<std::int64_t>(i)) % 40));
    const bool first = i % static_cast<std::size_t>(group) == 0;
    example.labels.assign(static_cast<std::size_t>(facts_of(head).labels_of(lengths[i], first)), 1);
    if (facts_of(head).labels == LabelPlace::kSpan) example.labels = {0, static_cast<std::int32_t>(lengths[i] - 1)};
    examples.push_back(std::move(example));
  }
  std::vector<const Example*> pointers;
  for (const Example& example : examples) pointers.push_back(&example);
  return pack(pointers, head, group);
}

void expect_consistent(const PackedSequences& list) {
  const auto tokens = static_cast<std::size_t>(list.tokens);
  const auto sequences = static_cast<std::size_t>(list.sequences);
  EXPECT_EQ(list.ids.size(), tokens);
  EXPECT_EQ(list.positions.size(), tokens);
  EXPECT_EQ(list.token_examples.size(), tokens);
  EXPECT_EQ(list.sequence_examples.size(), sequences);
  ASSERT_EQ(list.cumulative_lengths.size(), sequences + 1);
  EXPECT_LE(list.maximum_length, list.tokens);
  EXPECT_LE(list.by_position.keys.size(), tokens);
  EXPECT_LE(list.by_id.keys.size(), tokens);
  EXPECT_EQ(list.cumulative_lengths.back(), list.tokens);
  for (std::size_t s = 0; s < sequences; ++s) {
    const std::int32_t begin = list.cumulative_lengths[s];
    const std::int32_t end = list.cumulative_lengths[s + 1];
    EXPECT_GE(end - begin, 1) << "the first token of every sequence is read";
    EXPECT_LE(end - begin, list.maximum_length);
    for (std::int32_t t = begin; t < end; ++t) EXPECT_EQ(list.positions[static_cast<std::size_t>(t)], t - begin);
  }
}

void expect_consistent(const PackedBatch& batch) {
  expect_consistent(batch.source);
  if (batch.target.sequences == 0) return;
  expect_consistent(batch.target);
  EXPECT_EQ(batch.target.sequences, batch.source.sequences);
}

/// A batch whose sequences of `lengths` have targets of `target_lengths`.
PackedBatch batch_with_targets(const std::vector<std::int64_t>& lengths, const std::vector<std::int64_t>& target_lengths) {
  std::vector<Example> examples;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    Example example;
    example.ids.assign(static_cast<std::size_t>(lengths[i]), static_cast<std::int32_t>(10 + i));
    example.target_ids.assign(static_cast<std::size_t>(target_lengths[i]), static_cast<std::int32_t>(20 + i));
    example.labels = example.target_ids;
    examples.push_back(std::move(example));
  }
  std::vector<const Example*> pointers;
  for (const Example& example : examples) pointers.push_back(&example);
  return pack(pointers, HeadKind::kToken);
}

TEST(PadToCommonSize, AddsWhatNothingCounts) {
  for (const HeadFacts& facts : all_heads()) {
    const HeadKind head = facts.kind;
    const std::int32_t group = head == HeadKind::kChoice || head == HeadKind::kDualEncoder ? 2 : 1;
    for (const std::vector<std::int64_t>& lengths :
         {std::vector<std::int64_t>{1, 1}, {5, 9, 30, 2}, {63, 1}, {64, 64}, std::vector<std::int64_t>(40, 45), {512, 3}}) {
      const PackedBatch batch = batch_of(head, lengths, group);
      PackedBatch padded = batch;
      pad_to_common_size(padded, 1, 4096, 512);
      expect_consistent(padded);
      if (head == HeadKind::kMaskedLm || head == HeadKind::kDualEncoder) {
        EXPECT_EQ(padded.source.tokens, batch.source.tokens);
        continue;
      }
      EXPECT_EQ(padded.source.tokens % 64, 0);
      EXPECT_EQ(padded.source.sequences % (4 * group), 0);
      EXPECT_LE(padded.source.tokens,
                batch.source.tokens + batch.source.tokens / 16 + batch.source.sequences / 16 + 4 * group + 128);
      // What was there is there, in its place.
      EXPECT_TRUE(std::equal(batch.source.ids.begin(), batch.source.ids.end(), padded.source.ids.begin()));
      EXPECT_TRUE(std::equal(batch.source.cumulative_lengths.begin(), batch.source.cumulative_lengths.end(),
                             padded.source.cumulative_lengths.begin()));
      EXPECT_EQ(padded.counted_labels, batch.counted_labels);
      // No place of the padding in the orders.
      EXPECT_EQ(padded.source.by_id.tokens, batch.source.by_id.tokens);
      EXPECT_EQ(padded.source.by_id.starts.back(), batch.source.tokens);
      EXPECT_EQ(padded.source.by_position.starts.back(), batch.source.tokens);
      // And only ignored labels, where the heads look for them.
      std::int64_t counted = 0;
      for (const std::int32_t label : padded.labels) counted += label != kIgnoredLabel;
      EXPECT_EQ(counted, head == HeadKind::kSpan ? 2 * batch.counted_labels : batch.counted_labels);
      if (head == HeadKind::kSpan) {
        ASSERT_EQ(padded.labels.size(), static_cast<std::size_t>(2 * padded.source.sequences));
        for (std::int64_t s = 0; s < batch.source.sequences; ++s) {
          EXPECT_EQ(padded.labels[static_cast<std::size_t>(padded.source.sequences + s)],
                    batch.labels[static_cast<std::size_t>(batch.source.sequences + s)]);
        }
      }
    }
  }
}

TEST(PadToCommonSize, SizesAreFewAndStayWithinTheBudget) {
  std::set<std::pair<std::int64_t, std::int64_t>> sizes;
  for (std::int64_t extra = 0; extra < 64; ++extra) {
    std::vector<std::int64_t> lengths(32, 44);
    lengths.back() += extra;
    PackedBatch batch = batch_of(HeadKind::kSequence, lengths);
    pad_to_common_size(batch, 1, 4096, 512);
    sizes.insert({batch.source.tokens, batch.source.sequences});
  }
  EXPECT_LE(sizes.size(), 3u);
  PackedBatch full = batch_of(HeadKind::kSequence, {512, 512});
  pad_to_common_size(full, 1, 1024, 512);
  EXPECT_EQ(full.source.tokens, 1024);
  EXPECT_EQ(full.source.sequences, 2);
  PackedBatch nearly = batch_of(HeadKind::kSequence, {512, 500});
  pad_to_common_size(nearly, 1, 1024, 512);
  EXPECT_LE(nearly.source.tokens, 1024);
  expect_consistent(nearly);
  PackedBatch small = batch_of(HeadKind::kSequence, {40, 22});  // no room, and shorter than the step of lengths
  pad_to_common_size(small, 1, 62, 512);
  EXPECT_EQ(small.source.tokens, 62);
  expect_consistent(small);
}

TEST(PadToCommonSize, BothListsGetAsManySequences) {
  const PackedBatch batch = batch_with_targets({5, 9, 30, 2}, {1, 80, 3, 1});
  PackedBatch padded = batch;
  pad_to_common_size(padded, 1, 4096, 512);
  expect_consistent(padded);
  EXPECT_EQ(padded.source.tokens, 64);
  EXPECT_EQ(padded.target.tokens, 128);
  EXPECT_EQ(std::ssize(padded.labels), padded.target.tokens);
  EXPECT_EQ(std::count(padded.labels.begin(), padded.labels.end(), kIgnoredLabel), 128 - 85);
  PackedBatch full = batch;  // the target has no room
  pad_to_common_size(full, 1, 85, 512);
  expect_consistent(full);
  EXPECT_EQ(full.source.tokens, 46);
  EXPECT_EQ(full.target.tokens, 85);
}

// What a plan of memory expects is never exceeded, and full batches of common sizes have room to be padded.
TEST(PadToCommonSize, BothListsStayWithinWhatIsPlanned) {
  for (const std::int64_t budget : {60, 200, 1000, 4096}) {
    EXPECT_EQ(most_padded_tokens(budget, 1), budget);
    std::int64_t padded_ones = 0;
    for (std::int64_t sources = budget / 10; sources < budget; sources += budget / 10) {
      const std::int64_t each = sources / 8, answer = (budget - 8 * each) / 8;
      if (each < 1 || answer < 1) continue;
      PackedBatch batch = batch_with_targets(std::vector<std::int64_t>(8, each), std::vector<std::int64_t>(8, answer));
      const std::int64_t tokens = batch.tokens();
      pad_to_common_size(batch, 1, budget, 512);
      expect_consistent(batch);
      EXPECT_LE(batch.tokens(), most_padded_tokens(budget, 2)) << budget << ", " << sources << " of the source";
      if (batch.tokens() > tokens) ++padded_ones;
    }
    if (budget >= 1000) {
      EXPECT_GE(padded_ones, 8) << budget;
    }
  }
}

template <class T>
std::vector<T> from_device(const T* place, std::size_t count) {
  std::vector<T> values(count);
  cuda::copy_to_host(values.data(), place, count * sizeof(T), nullptr);
  cuda::synchronize(nullptr);
  return values;
}

TEST(BatchUploader, BringsEveryArrayToTheSamePlace) {
  if (cuda::device_count() == 0) GTEST_SKIP() << "CUDA finds no device";
  BatchUploader uploader(1024);
  const cuda::Stream stream;
  const std::int64_t allocations = cuda::trace().allocations;
  const std::int32_t* place = nullptr;
  for (std::uint32_t step = 0; step < 5; ++step) {
    const PackedBatch batch = batch_of(HeadKind::kMaskedLm, {5, 9 + step, 30 - step});
    const BatchView view = uploader.upload(batch, step, 0.25f, stream.handle());
    EXPECT_TRUE(place == nullptr || place == view.source.ids);
    place = view.source.ids;
    cuda::synchronize(stream.handle());
    EXPECT_EQ(from_device(view.source.ids, batch.source.ids.size()), batch.source.ids);
    EXPECT_EQ(from_device(view.source.positions, batch.source.positions.size()), batch.source.positions);
    EXPECT_EQ(from_device(view.source.cumulative_lengths, 4), batch.source.cumulative_lengths);
    EXPECT_EQ(from_device(view.source.zero_positions, 3), std::vector<std::int32_t>(3, 0));
    EXPECT_EQ(from_device(view.source.token_examples, batch.source.token_examples.size()), batch.source.token_examples);
    EXPECT_EQ(from_device(view.source.sequence_examples, 3), batch.source.sequence_examples);
    EXPECT_EQ(from_device(view.labels, batch.labels.size()), batch.labels);
    EXPECT_EQ(from_device(view.counted_tokens, batch.counted_tokens.size()), batch.counted_tokens);
    EXPECT_EQ(from_device(view.counted_token_labels, batch.counted_tokens.size()), batch.counted_token_labels);
    EXPECT_EQ(from_device(view.source.by_id.keys, batch.source.by_id.keys.size()), batch.source.by_id.keys);
    EXPECT_EQ(from_device(view.source.by_id.starts, batch.source.by_id.starts.size()), batch.source.by_id.starts);
    EXPECT_EQ(from_device(view.source.by_id.tokens, batch.source.by_id.tokens.size()), batch.source.by_id.tokens);
    EXPECT_EQ(from_device(view.source.by_position.tokens, batch.source.by_position.tokens.size()),
              batch.source.by_position.tokens);
    EXPECT_EQ(from_device(view.step_from, 1)[0], step);
    EXPECT_EQ(from_device(view.gradient_scale_from, 1)[0], 0.25f);
  }
  EXPECT_EQ(cuda::trace().allocations, allocations);
}

TEST(BatchUploader, BringsATargetToo) {
  if (cuda::device_count() == 0) GTEST_SKIP() << "CUDA finds no device";
  BatchUploader uploader(128, 2);
  const cuda::Stream stream;
  const PackedBatch batch = batch_with_targets({5, 100, 3}, {1, 7, 120});
  const BatchView view = uploader.upload(batch, 1, 1, stream.handle());
  cuda::synchronize(stream.handle());
  EXPECT_EQ(view.target.tokens, 128);
  EXPECT_EQ(from_device(view.source.ids, 108), batch.source.ids);
  EXPECT_EQ(from_device(view.target.ids, 128), batch.target.ids);
  EXPECT_EQ(from_device(view.target.cumulative_lengths, 4), batch.target.cumulative_lengths);
  EXPECT_EQ(from_device(view.target.by_id.tokens, 128), batch.target.by_id.tokens);
  EXPECT_EQ(from_device(view.labels, 128), batch.labels);
}

// Work recorded for one batch is run for others of its padded size, so every array of theirs has to lie where its did.
TEST(BatchUploader, BatchesOfOnePaddedSizeLieInTheSamePlaces) {
  if (cuda::device_count() == 0) GTEST_SKIP() << "CUDA finds no device";
  BatchUploader uploader(1024);
  const cuda::Stream stream;
  const auto places = [&](const std::vector<std::int64_t>& lengths) {
    PackedBatch batch = batch_of(HeadKind::kSpan, lengths);
    pad_to_common_size(batch, 1, 1024, 512);
    EXPECT_EQ(batch.source.tokens, 128);
    EXPECT_EQ(batch.source.sequences, 8);
    const BatchView view = uploader.upload(batch, 1, 1, stream.handle());
    cuda::synchronize(stream.handle());
    return std::vector<const void*>{view.source.ids,
                                    view.source.positions,
                                    view.source.cumulative_lengths,
                                    view.source.zero_positions,
                                    view.source.token_examples,
                                    view.source.sequence_examples,
                                    view.source.by_id.keys,
                                    view.source.by_id.starts,
                                    view.source.by_id.tokens,
                                    view.source.by_position.keys,
                                    view.source.by_position.starts,
                                    view.source.by_position.tokens,
                                    view.labels,
                                    view.step_from,
                                    view.gradient_scale_from};
  };
  EXPECT_EQ(places({20, 20, 12, 10}), places({20, 20, 20, 10}));  // 62 and 70 tokens
}

// The worst batch of a size: every sequence one token, every token another id and counted.
TEST(BatchUploader, HasRoomForTheLargestBatch) {
  if (cuda::device_count() == 0) GTEST_SKIP() << "CUDA finds no device";
  constexpr std::int64_t kTokens = 512;
  BatchUploader uploader(kTokens);
  const cuda::Stream stream;
  PackedBatch batch = batch_of(HeadKind::kMaskedLm, std::vector<std::int64_t>(kTokens, 1));
  std::iota(batch.source.ids.begin(), batch.source.ids.end(), 0);
  batch.source.rebuild_orders();
  EXPECT_NO_THROW(uploader.upload(batch, 1, 1, stream.handle()));
  PackedBatch spans = batch_of(HeadKind::kSpan, std::vector<std::int64_t>(kTokens, 1));
  EXPECT_NO_THROW(uploader.upload(spans, 1, 1, stream.handle()));
  cuda::synchronize(stream.handle());
}

TEST(PadToCommonSize, KeepsWholeExamples) {
  for (const std::int32_t group : {3, 5}) {
    const std::vector<std::int64_t> lengths(static_cast<std::size_t>(group) * 103, 4);
    PackedBatch batch = batch_of(HeadKind::kChoice, lengths, group);
    pad_to_common_size(batch, 1, 4096, 512);
    EXPECT_GT(batch.source.sequences, std::ssize(lengths));
    EXPECT_EQ(batch.source.sequences % group, 0);
  }
}

}  // namespace
}  // namespace koine
