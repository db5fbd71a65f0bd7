#include "bench/operations/measure.h"
#include "kernels/gemm/gemm_cases.h"

namespace koine::bench {
namespace {

using cases::Transposes;

/// The three products of a linear layer [out, in] (kernels/gemm/gemm.h), with the epilogues a block gives them.
void add_layer(const std::string& layer, const Batch& batch, std::int64_t rows, std::int64_t out, std::int64_t in) {
  const auto add = [&](const char* direction, const cases::GemmShape& shape, Transposes transposes,
                       const cases::GemmExtras& extras) {
    measure(batch.name(layer + direction, rows), batch.type, [=] { return cases::gemm_case(shape, transposes, extras); });
  };
  cases::GemmExtras forward = {.bias = true}, input_gradient;
  if (layer == "feed_forward_1") forward.epilogue = GemmEpilogue::kGelu, forward.keep_pre_activation = true;
  // Its input is a GELU's output.
  if (layer == "feed_forward_2") input_gradient.epilogue = GemmEpilogue::kGeluGradient;
  add("_forward", {rows, out, in}, Transposes::kB, forward);
  add("_input_gradient", {rows, in, out}, Transposes::kNeither, input_gradient);
  add("_weight_gradient", {out, in, rows}, Transposes::kA, {.accumulate = true});
}

/// The products that end a half of a block: with residual, and dropout, in the epilogue.
void add_residual(const std::string& layer, const Batch& batch, std::int64_t in) {
  if (plan().device == Device::kCpu) return;  // its layernorm does that
  for (const float rate : {0.0f, 0.1f}) {
    const cases::GemmExtras extras = {.bias = true, .residual = true, .dropout_rate = rate, .length = kLength};
    const cases::GemmShape shape = {batch.tokens, batch.model.hidden, in};
    measure(batch.name(layer + (rate > 0 ? "_dropout_residual" : "_residual")), batch.type,
            [=] { return cases::gemm_case(shape, Transposes::kB, extras); });
  }
}

const Measured gemm([] {
  for (const Batch& batch : batches()) {
    const std::int64_t hidden = batch.model.hidden, feed_forward = batch.model.feed_forward;
    add_layer("qkv", batch, batch.tokens, 3 * hidden, hidden);
    add_layer("attention_output", batch, batch.tokens, hidden, hidden);
    add_layer("feed_forward_1", batch, batch.tokens, feed_forward, hidden);
    add_layer("feed_forward_2", batch, batch.tokens, hidden, feed_forward);
    // As many rows as a step of masked-language modelling predicts at once.
    if (batch.first()) add_layer("mlm_logits", batch, 256, plan().vocabulary, hidden);
    add_residual("attention_output", batch, hidden);
    add_residual("feed_forward_2", batch, feed_forward);
  }
});

}  // namespace
}  // namespace koine::bench
