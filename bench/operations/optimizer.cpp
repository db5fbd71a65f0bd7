#include "bench/operations/measure.h"
#include "kernels/optimizer/adafactor_cases.h"
#include "kernels/optimizer/adamw_8bit_cases.h"
#include "kernels/optimizer/adamw_cases.h"
#include "kernels/optimizer/adamw_rms_cases.h"
#include "kernels/optimizer/gradient_norm_cases.h"

namespace koine::bench {
namespace {

/// The tensors of at most `count` elements as a large layer has them: matrices, each followed by its bias.
std::vector<FlatSegment> layer_segments(std::int64_t count) {
  const std::int64_t width = std::min<std::int64_t>(1024, count / 4);
  std::vector<FlatSegment> segments;
  for (std::int64_t at = 0; at + width * 2 <= count;) {
    const std::int64_t rows = std::min<std::int64_t>(width, (count - at) / width - 1);
    segments.push_back({at, rows, width, 0, 0});
    segments.push_back({at + rows * width, 1, width, 0, 1});
    at += (rows + 1) * width;
  }
  return segments;
}

AdamWStep step_of(std::int64_t step) { return adamw_step(step, 1e-5, 0.9, 0.999, 1e-8, 0.01); }

/// With the working copy of mixed precision in bf16.
const Measured adamw([] {
  const std::int64_t count = plan().optimizer_elements;
  const std::string layers = concatenate("layers/any/", count);
  for (const DType type : {DType::kFloat32, DType::kBFloat16}) {
    const bool working = type == DType::kBFloat16;
    measure(concatenate("dense/any/", count), type, [=] { return cases::adamw_case(count, working); });
    measure(layers, type, [=] {
      return cases::adamw_segments_case(layer_segments(count), count, {step_of(10), step_of(10)}, working);
    });
  }
});

/// The word embedding's rows of one batch, each of which missed four steps.
const Measured adamw_rows([] {
  for (const Batch& batch : batches()) {
    measure(batch.name("four_missed"), batch.type, [=] {
      std::vector<std::int32_t> rows = word_ids(batch.tokens);
      std::sort(rows.begin(), rows.end());
      rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
      std::vector<AdamWStep> history(1);
      for (std::int64_t step = 1; step <= 5; ++step) history.push_back(step_of(step));
      return cases::adamw_rows_case(rows, plan().vocabulary, batch.model.hidden, history, batch.type == DType::kBFloat16);
    });
  }
});

/// The same tensors, matrices factored.
const Measured adafactor([] {
  const std::int64_t count = plan().optimizer_elements;
  for (const DType type : {DType::kFloat32, DType::kBFloat16}) {
    measure(concatenate("layers/any/", count), type, [=] {
      std::vector<std::array<std::int64_t, 3>> shapes;
      for (const FlatSegment& segment : layer_segments(count)) {
        shapes.push_back({segment.rows, segment.width, segment.rows > 1 ? 1 : 0});
      }
      return cases::adafactor_case(shapes, true, type == DType::kBFloat16);
    });
  }
});

/// The same tensors.
const Measured adamw_rms([] {
  const std::int64_t count = plan().optimizer_elements;
  for (const DType type : {DType::kFloat32, DType::kBFloat16}) {
    measure(concatenate("layers/any/", count), type,
            [=] { return cases::adamw_rms_case(layer_segments(count), count, type == DType::kBFloat16); });
  }
});

/// The same tensors, matrices with coded moments.
const Measured adamw_8bit([] {
  const std::int64_t count = plan().optimizer_elements;
  for (const DType type : {DType::kFloat32, DType::kBFloat16}) {
    measure(concatenate("layers/any/", count), type, [=] {
      std::vector<std::array<std::int64_t, 2>> tensors;
      for (const FlatSegment& segment : layer_segments(count)) {
        tensors.push_back({segment.count(), segment.rows > 1 ? 1 : 0});
      }
      return cases::adamw_8bit_case(tensors, type == DType::kBFloat16);
    });
  }
});

const Measured gradient_norm([] {
  const std::int64_t count = plan().optimizer_elements;
  measure(concatenate("layers/any/", count), DType::kFloat32,
          [=] { return cases::gradient_norm_case(layer_segments(count), {}, 1, cases::random(count, 2)); });
  measure("one/any/1", DType::kFloat32, [] { return cases::clip_factor_case(4, 1); });
});

}  // namespace
}  // namespace koine::bench
