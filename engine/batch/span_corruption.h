#pragma once

// Text with spans taken out, for encoder-decoders to fill in: T5's denoising (Raffel et al., arXiv 1910.10683, section 3.1.4;
// google-research/text-to-text-transfer-transformer, t5/data/preprocessors.py: random_spans_noise_mask,
// noise_span_to_unique_sentinel, nonnoise_span_to_unique_sentinel).
//
// Of `length` tokens noise = round(length * density) are taken out, in spans = round(noise / mean_span), at least one each; halves
// are rounded to even. Text and noise take turns, the text first, the noise last; their lengths are drawn so that every cut of
// the noise into so many spans is as likely as any other, and so of the text. Of a b c D E f G the source is a b c <0> f <1> end,
// the target <0> D E <1> G end.

#include <cstdint>
#include <span>
#include <vector>

#include "engine/batch/packed_batch.h"

namespace koine {

struct SpanCorruption {
  double density = 0.15;
  double mean_span = 3;
  std::vector<std::int32_t> sentinels;  ///< ids of <extra_id_0>, <extra_id_1> ...
  std::int32_t end = 1;
  std::int32_t pad = 0;  ///< which targets are read behind
  std::uint32_t seed = 0;
};

/// How many tokens of a text go, and in how many spans: its length alone decides. No more spans than tokens stay.
struct SpanCounts {
  std::int64_t noise = 0;
  std::int64_t spans = 0;
};
SpanCounts span_counts(std::int64_t length, const SpanCorruption& settings);

/// Which tokens of a text go, drawn by Philox from (seed, epoch, example).
std::vector<bool> noise_mask(std::int64_t length, const SpanCorruption& settings, std::uint32_t epoch,
                             std::uint32_t example);

/// Makes a text of two tokens or more (Error for a shorter one), without its end, an example's source and target. UserError where
/// it has more spans than there are sentinels.
void corrupt_spans(Example& example, std::span<const std::int32_t> text, const SpanCorruption& settings,
                   std::uint32_t epoch);
/// The text that corrupt_spans made this example of.
std::vector<std::int32_t> text_before(const Example& example, const SpanCorruption& settings);

/// The most tokens of a text whose source has at most `longest` tokens, its end included.
std::int64_t longest_text(std::int64_t longest, const SpanCorruption& settings);

/// The groups of a micro-batch with spans drawn anew: sources and targets stay as long as they are.
PackedBatch pack_corrupted(const Dataset& dataset, std::span<const std::int64_t> groups, const SpanCorruption& settings,
                           std::uint32_t epoch);

}  // namespace koine
