#include "engine/batch/span_corruption.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/common/check.h"
#include "kernels/random/philox.h"

namespace koine {
namespace {

// Last word of the Philox counter: what the numbers are for (batcher.cpp has others).
constexpr std::uint32_t kSpanStream = 0x5370616eu;

/// Cuts `items` into `segments` parts of at least one, every way as likely: lengths. `which`: of the noise, of the text.
std::vector<std::int64_t> random_segments(std::int64_t items, std::int64_t segments, const SpanCorruption& settings,
                                          std::uint32_t epoch, std::uint32_t example, std::uint32_t which) {
  std::vector<char> begins(static_cast<std::size_t>(items - 1), 0);
  std::fill(begins.begin(), begins.begin() + (segments - 1), 1);
  for (std::uint32_t i = static_cast<std::uint32_t>(begins.size()); i > 1; --i) {
    const std::uint32_t bits = philox({i, example, which, kSpanStream}, {settings.seed, epoch})[0];
    std::swap(begins[i - 1], begins[static_cast<std::size_t>((static_cast<std::uint64_t>(bits) * i) >> 32)]);
  }
  std::vector<std::int64_t> lengths = {1};
  for (const char begin : begins) {
    if (begin != 0) lengths.push_back(0);
    ++lengths.back();
  }
  return lengths;
}

bool is_sentinel(std::int32_t id, const SpanCorruption& settings) {
  return std::find(settings.sentinels.begin(), settings.sentinels.end(), id) != settings.sentinels.end();
}

}  // namespace

SpanCounts span_counts(std::int64_t length, const SpanCorruption& settings) {
  check(length >= 2, "spans are taken out of a text of ", length, " tokens");
  SpanCounts counts;
  counts.noise = std::llrint(static_cast<double>(length) * settings.density);
  counts.noise = std::min(std::max<std::int64_t>(counts.noise, 1), length - 1);
  counts.spans = std::llrint(static_cast<double>(counts.noise) / settings.mean_span);
  counts.spans = std::min({std::max<std::int64_t>(counts.spans, 1), counts.noise, length - counts.noise});
  return counts;
}

std::vector<bool> noise_mask(std::int64_t length, const SpanCorruption& settings, std::uint32_t epoch,
                             std::uint32_t example) {
  const SpanCounts counts = span_counts(length, settings);
  const std::vector<std::int64_t> noise = random_segments(counts.noise, counts.spans, settings, epoch, example, 0);
  const std::vector<std::int64_t> text = random_segments(length - counts.noise, counts.spans, settings, epoch, example, 1);
  std::vector<bool> mask;
  for (std::size_t span = 0; span < noise.size(); ++span) {
    mask.insert(mask.end(), static_cast<std::size_t>(text[span]), false);
    mask.insert(mask.end(), static_cast<std::size_t>(noise[span]), true);
  }
  return mask;
}

void corrupt_spans(Example& example, std::span<const std::int32_t> text, const SpanCorruption& settings,
                   std::uint32_t epoch) {
  const std::int64_t spans = span_counts(std::ssize(text), settings).spans;
  require(spans <= std::ssize(settings.sentinels), "a text of ", text.size(), " tokens has ", spans,
          " spans taken out, but the tokenizer has ", settings.sentinels.size(),
          " sentinels (<extra_id_0> ...); lower max_seq_length");
  const std::vector<bool> mask = noise_mask(std::ssize(text), settings, epoch, example.number);
  example.ids.clear();
  std::vector<std::int32_t> target;
  std::size_t next = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (mask[i] && !mask[i - 1]) {  // the first token is never taken out
      example.ids.push_back(settings.sentinels[next]);
      target.push_back(settings.sentinels[next]);
      ++next;
    }
    (mask[i] ? target : example.ids).push_back(text[i]);
  }
  example.ids.push_back(settings.end);
  target.push_back(settings.end);
  set_target(example, std::move(target), settings.pad, settings.pad);
}

std::vector<std::int32_t> text_before(const Example& example, const SpanCorruption& settings) {
  std::vector<std::int32_t> text;
  std::size_t at = 0;  // of the target
  for (std::size_t i = 0; i + 1 < example.ids.size(); ++i) {
    if (!is_sentinel(example.ids[i], settings)) {
      text.push_back(example.ids[i]);
      continue;
    }
    check(at < example.labels.size() && example.labels[at] == example.ids[i], "sequence ", example.number,
          " is no text with spans taken out");
    for (++at; at + 1 < example.labels.size() && !is_sentinel(example.labels[at], settings); ++at)
      text.push_back(example.labels[at]);
  }
  return text;
}

std::int64_t longest_text(std::int64_t longest, const SpanCorruption& settings) {
  const auto source = [&](std::int64_t length) {
    const SpanCounts counts = span_counts(length, settings);
    return length - counts.noise + counts.spans + 1;
  };
  require(source(2) <= longest, "max_seq_length ", longest,
          " leaves no room for a text, a sentinel and an end; give at least ", source(2));
  std::int64_t length = 2;
  while (source(length + 1) <= longest) ++length;
  return length;
}

PackedBatch pack_corrupted(const Dataset& dataset, std::span<const std::int64_t> groups, const SpanCorruption& settings,
                           std::uint32_t epoch) {
  std::vector<Example> examples;
  for (const std::int64_t group : groups) {
    const Example& before = dataset.examples[static_cast<std::size_t>(group)];
    examples.emplace_back().number = before.number;
    corrupt_spans(examples.back(), text_before(before, settings), settings, epoch);
  }
  std::vector<const Example*> pointers;
  for (const Example& example : examples) pointers.push_back(&example);
  return pack(pointers, HeadKind::kTextToText);
}

}  // namespace koine
