// Span corruption: the counts T5's own code gives, what a text becomes, that it comes back, how spans are drawn.

#include "engine/batch/span_corruption.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>

#include "engine/batch/batcher.h"
#include "kernels/common/check.h"

namespace koine {
namespace {

SpanCorruption hundred_sentinels() {
  SpanCorruption settings;
  for (std::int32_t i = 0; i < 100; ++i) settings.sentinels.push_back(1099 - i);
  settings.seed = 3;
  return settings;
}

std::vector<std::int32_t> numbered_text(std::int64_t length) {
  std::vector<std::int32_t> text(static_cast<std::size_t>(length));
  std::iota(text.begin(), text.end(), 10);
  return text;
}

/// transformers' compute_input_and_target_lengths and T5's own (random_spans_helper): texts of 568 fill inputs of 512 with targets of
/// 114, of 141 inputs of 128 with targets of 29; T5's halves to even: 30 tokens at 15 % are 4.5, 4.
TEST(SpanCorruption, CountsAreT5s) {
  const SpanCorruption settings = hundred_sentinels();
  EXPECT_EQ(longest_text(512, settings), 568);
  EXPECT_EQ(longest_text(128, settings), 141);
  for (const auto& [length, noise, spans] :
       {std::tuple{568, 85, 28}, {141, 21, 7}, {30, 4, 1}, {50, 8, 3}, {2, 1, 1}, {3, 1, 1}}) {
    const SpanCounts counts = span_counts(length, settings);
    EXPECT_EQ(counts.noise, noise) << length;
    EXPECT_EQ(counts.spans, spans) << length;
  }
  Example example;
  corrupt_spans(example, numbered_text(568), settings, 0);
  EXPECT_EQ(example.ids.size(), 512u);
  EXPECT_EQ(example.labels.size(), 114u);
  EXPECT_EQ(example.target_ids.size(), 114u);
  EXPECT_EQ(example.target_ids.front(), 0);
}

TEST(SpanCorruption, TextBecomesSourceAndTarget) {
  const SpanCorruption settings = hundred_sentinels();
  for (const std::int64_t length : {2, 3, 7, 20, 100, 333}) {
    const std::vector<std::int32_t> text = numbered_text(length);
    Example example;
    example.number = 5;
    corrupt_spans(example, text, settings, 2);
    // By the mask, with a sentinel for every run of what goes or stays, as T5's two functions have it.
    const std::vector<bool> mask = noise_mask(length, settings, 2, 5);
    std::vector<std::int32_t> source;
    std::vector<std::int32_t> target;
    std::size_t runs = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (mask[i] && !mask[i - 1]) source.push_back(settings.sentinels[runs]);
      if (mask[i] && !mask[i - 1]) target.push_back(settings.sentinels[runs++]);
      (mask[i] ? target : source).push_back(text[i]);
    }
    source.push_back(1);
    target.push_back(1);
    EXPECT_EQ(example.ids, source);
    EXPECT_EQ(example.labels, target);
    EXPECT_FALSE(mask.front());
    EXPECT_TRUE(mask.back());
    EXPECT_EQ(text_before(example, settings), text);
  }
}

/// Of 12 tokens, 4 in 2 spans: 3 cuts of the noise and 7 of the rest, all 21 as likely. Chi-square with 20 degrees of freedom is
/// above 45.3 once in a thousand.
TEST(SpanCorruption, EveryCutIsAsLikely) {
  SpanCorruption settings = hundred_sentinels();
  settings.density = 1.0 / 3;
  settings.mean_span = 2;
  std::map<std::vector<bool>, int> seen;
  constexpr int kDraws = 4200;
  for (int i = 0; i < kDraws; ++i)
    ++seen[noise_mask(12, settings, static_cast<std::uint32_t>(i % 60), static_cast<std::uint32_t>(i / 60))];
  EXPECT_EQ(seen.size(), 21u);
  double chi_square = 0;
  for (const auto& [mask, count] : seen) chi_square += (count - 200.0) * (count - 200.0) / 200;
  EXPECT_LT(chi_square, 45.3);
}

TEST(SpanCorruption, BatchesAreDrawnAnewAndStayAsLong) {
  const SpanCorruption settings = hundred_sentinels();
  Dataset dataset;
  dataset.head = HeadKind::kTextToText;
  for (const std::int64_t length : {40, 90}) {
    dataset.examples.emplace_back().number = static_cast<std::uint32_t>(dataset.examples.size() - 1);
    corrupt_spans(dataset.examples.back(), numbered_text(length), settings, 0);
  }
  const std::vector<std::int64_t> groups = {0, 1};
  const PackedBatch first = pack_corrupted(dataset, groups, settings, 0);
  const PackedBatch second = pack_corrupted(dataset, groups, settings, 1);
  EXPECT_EQ(first.source.ids, pack_groups(dataset, groups).source.ids) << "the epoch the data set was made with";
  EXPECT_NE(first.source.ids, second.source.ids);
  EXPECT_EQ(first.source.cumulative_lengths, second.source.cumulative_lengths);
  EXPECT_EQ(first.target.cumulative_lengths, second.target.cumulative_lengths);
  EXPECT_EQ(second.counted_labels, second.target.tokens);
}

TEST(SpanCorruption, NamesWhatIsTooShort) {
  SpanCorruption settings = hundred_sentinels();
  settings.sentinels.resize(2);
  Example example;
  EXPECT_THROW(corrupt_spans(example, numbered_text(80), settings, 0), UserError);
  EXPECT_THROW(longest_text(2, settings), UserError);
  EXPECT_THROW(span_counts(1, settings), Error);
}

}  // namespace
}  // namespace koine
