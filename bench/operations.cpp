// Measures every variant of the operations on the real shapes of XLM-R.
//
//   bench_operations [--device cpu|cuda] [--tiny] [--repetitions N] [--iterations N]
//                    [--benchmark_filter=gemm/ffn] [--benchmark_out=result.json --benchmark_out_format=json]
//
// Names are operation/case/model/tokens/type/variant. Rates come from the operation's own flops() and bytes(). `of_product`
// is the share of a large matrix product's rate in the same type, by the fastest variant there is, `of_copy` that of a large
// copy's bandwidth, both measured at the start of this run on the same machine. The label is the shape's key in the tuning
// table. Operands are random numbers.
//
// On the CPU: XLM-R base and large, all processors the process may use, Google Benchmark's own number of iterations. On a
// device: base, large, XL, XXL; each repetition on operands of its own; before every launch the cache is flushed and the
// time is that between two events around the launch; the counters are of the median launch of a repetition, `us_least` and
// `us_most` its extremes, and Google Benchmark adds median and spread over the repetitions.
//
// --tiny: shapes that take no time, to see that everything runs. It is the only way to run CUDA's variants in a build whose
// kernels run on the CPU, and names then begin with "smoke/": such a run measures nothing.

#include "kernels/operations.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <iostream>
#include <memory>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "bench/support/machine.h"
#include "kernels/activation/activation.h"
#include "kernels/attention/attention.h"
#include "kernels/cast/cast.h"
#include "kernels/common/parallel.h"
#include "kernels/dropout/dropout.h"
#include "kernels/embedding/embedding.h"
#include "kernels/gather/gather.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/weight_gradients.h"
#include "kernels/layernorm/layernorm.h"
#include "kernels/optimizer/adamw.h"
#include "kernels/optimizer/gradient_norm.h"
#include "kernels/pooling/pooling.h"
#include "kernels/random/random.h"
#include "kernels/reduce/reduce.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"
#include "kernels/span_loss/span_loss.h"
#include "kernels/topk/topk.h"

namespace koine::bench {
namespace {

struct Shape {
  const char* name;
  std::int64_t hidden, feed_forward, heads;
};

/// What is measured: set once from the command line.
struct Plan {
  Device device = Device::kCpu;
  bool tiny = false;
  int repetitions = 0;  // 0: 3 on a device, Google Benchmark's option on the CPU
  int iterations = 0;   // of a repetition; 0: 20 on a device
  std::vector<Shape> shapes;
  std::vector<std::int64_t> tokens;
  std::vector<std::string> lengths;  // of the sequences in attention: a number, or "mnli"
  std::int64_t vocabulary = 250002;
  std::int64_t optimizer_elements = 16 << 20;
  std::int64_t product_size = 2048;
  std::size_t copy_bytes = 256 << 20;
};

Plan plan_of(Device device, bool tiny) {
  Plan plan;
  plan.device = device, plan.tiny = tiny;
  if (tiny) {
    plan.shapes = {{"tiny", 64, 256, 1}};
    plan.tokens = {48};
    plan.lengths = {"16", "mnli"};
    plan.vocabulary = 500, plan.optimizer_elements = 4096, plan.product_size = 64, plan.copy_bytes = 1 << 16;
  } else if (device == Device::kCpu) {
    plan.shapes = {{"base", 768, 3072, 12}, {"large", 1024, 4096, 16}};
    plan.tokens = {256, 1024, 4096};
    plan.lengths = {"128"};
  } else {
    plan.shapes = {{"base", 768, 3072, 12}, {"large", 1024, 4096, 16}, {"xl", 2560, 10240, 32}, {"xxl", 4096, 16384, 32}};
    plan.tokens = {1024, 4096, 16384};
    plan.lengths = {"128", "512", "mnli"};
    plan.optimizer_elements = 64 << 20;
    plan.product_size = 8192, plan.copy_bytes = std::size_t{4} << 30;  // 8.6 GB read and written
  }
  return plan;
}

Plan the_plan;
std::set<std::string> measured_operations;

Machine& machine() {
  static Machine made(the_plan.device);
  return made;
}

// --- ceilings ------------------------------------------------------------------------------------------------------------

struct Ceiling {
  double rate = 0;
  std::string variant;
};

const Ceiling& product_ceiling(DType type) {
  const auto measure = [](DType measured) {
    Ceiling ceiling;
    // fp32 products are slower by an order: half the size says as much.
    const std::int64_t size = the_plan.product_size / (measured == DType::kFloat32 && machine().on_device() ? 2 : 1);
    ceiling.rate = product_rate(machine(), measured, size, &ceiling.variant);
    return ceiling;
  };
  static const Ceiling fp32 = measure(DType::kFloat32);
  static const Ceiling bf16 = measure(DType::kBFloat16);
  return type == DType::kBFloat16 ? bf16 : fp32;
}

double copy_ceiling() {
  static const double rate = copy_rate(machine(), the_plan.copy_bytes);
  return rate;
}

// --- one benchmark -------------------------------------------------------------------------------------------------------

template <class Arguments>
using MakeArguments = std::function<Arguments(Operands&)>;

/// Seconds of each launch of this repetition.
template <class Launch>
std::vector<double> time_launches(benchmark::State& state, const Operands& operands, const Launch& launch) {
  const auto prepare = [&] {
    if (operands.before_each) operands.before_each();
  };
  if (machine().on_device()) {
    for (int warm_up = 0; warm_up < (the_plan.tiny ? 0 : 3); ++warm_up) prepare(), launch();
  }
  std::vector<double> seconds;
  for (auto _ : state) {
    prepare();
    machine().flush_cache();
    seconds.push_back(machine().seconds(launch));
    state.SetIterationTime(seconds.back());
  }
  return seconds;
}

template <class Arguments>
void measure(benchmark::State& state, const Variant<Arguments>& variant, DType type, const MakeArguments<Arguments>& make) {
  Operands operands(machine());
  const Arguments arguments = make(operands);
  const Operation<Arguments>& table = operation<Arguments>();
  table.validate(arguments);
  const Context& context = machine().context();
  if (!usable(variant, context, arguments)) {
    state.SkipWithError("not for this machine or these arguments");
    return;
  }
  void* const workspace = operands.unwritten<char>(
      static_cast<std::int64_t>(variant.workspace_bytes == nullptr ? 0 : variant.workspace_bytes(arguments)));
  const std::vector<double> seconds = time_launches(state, operands, [&] { variant.launch(context, arguments, workspace); });
  if (the_plan.tiny) {
    state.SetLabel("not a measurement");
    return;
  }
  const double taken = median(seconds);
  const Arguments counted = operands.on_host(arguments);
  if (table.tuning_key != nullptr) {
    const std::uint64_t key = table.tuning_key(arguments);
    state.SetLabel(concatenate(key, " ", table.tuning_text(key)));  // as tools/gpu/tune.py reads it
  }
  state.counters["us"] = taken * 1e6;
  state.counters["us_least"] = *std::min_element(seconds.begin(), seconds.end()) * 1e6;
  state.counters["us_most"] = *std::max_element(seconds.begin(), seconds.end()) * 1e6;
  state.counters["TFLOP/s"] = table.flops(counted) / taken * 1e-12;
  state.counters["GB/s"] = table.bytes(counted) / taken * 1e-9;
  state.counters["of_product"] = table.flops(counted) / taken / product_ceiling(type).rate;
  state.counters["of_copy"] = table.bytes(counted) / taken / copy_ceiling();
}

/// Registers all variants of the device but the reference; `name` is case/model/tokens.
template <class Arguments>
void add(const std::string& name, DType type, const MakeArguments<Arguments>& make) {
  measured_operations.insert(std::string(operation<Arguments>().name));
  for (const Variant<Arguments>& variant : operation<Arguments>().variants) {
    if (variant.name == kReference || variant.device != the_plan.device) continue;
    const std::string full = concatenate(the_plan.tiny ? "smoke/" : "", operation<Arguments>().name, "/", name, "/",
                                         name_of(type), "/", variant.name);
    benchmark::internal::Benchmark* added = benchmark::RegisterBenchmark(
        full.c_str(), [&variant, type, make](benchmark::State& state) { measure<Arguments>(state, variant, type, make); });
    added->UseManualTime()->Unit(benchmark::kMicrosecond);
    const bool device = the_plan.device == Device::kCuda;
    if (the_plan.iterations > 0 || device || the_plan.tiny) {
      added->Iterations(the_plan.iterations > 0 ? the_plan.iterations : the_plan.tiny ? 1 : 20);
    }
    if (the_plan.repetitions > 0 || (device && !the_plan.tiny)) {
      added->Repetitions(the_plan.repetitions > 0 ? the_plan.repetitions : 3);
    }
  }
}

std::string case_name(const std::string& what, const Shape& shape, std::int64_t tokens) {
  return concatenate(what, "/", shape.name, "/", tokens);
}

// --- matrix products -----------------------------------------------------------------------------------------------------

/// y [tokens, out] = x [tokens, in] W^T [out, in] + b
GemmArguments forward_product(Operands& operands, DType type, std::int64_t tokens, std::int64_t out, std::int64_t in) {
  GemmArguments g;
  g.m = tokens, g.n = out, g.k = in;
  g.lda = g.ldb = in, g.ldc = out;
  g.transpose_b = true;
  g.input_type = g.output_type = type;
  g.a = operands.random(type, tokens * in);
  g.b = operands.random(type, out * in);
  g.c = operands.random(type, tokens * out);
  g.bias = operands.random_fp32(out);
  return g;
}

/// dx [tokens, in] = dy [tokens, out] W [out, in]
GemmArguments input_gradient(Operands& operands, DType type, std::int64_t tokens, std::int64_t out, std::int64_t in) {
  GemmArguments g;
  g.m = tokens, g.n = in, g.k = out;
  g.lda = out, g.ldb = g.ldc = in;
  g.input_type = g.output_type = type;
  g.a = operands.random(type, tokens * out);
  g.b = operands.random(type, out * in);
  g.c = operands.random(type, tokens * in);
  return g;
}

/// dW [out, in] += dy^T [out, tokens] x [tokens, in]
GemmArguments weight_gradient(Operands& operands, DType type, std::int64_t tokens, std::int64_t out, std::int64_t in) {
  GemmArguments g;
  g.m = out, g.n = in, g.k = tokens;
  g.lda = out, g.ldb = g.ldc = in;
  g.transpose_a = g.accumulate = true;
  g.input_type = type, g.output_type = DType::kFloat32;
  g.a = operands.random(type, tokens * out);
  g.b = operands.random(type, tokens * in);
  g.c = operands.random(DType::kFloat32, out * in);
  return g;
}

void add_layer_products(const std::string& layer, const Shape& model, std::int64_t tokens, DType type, std::int64_t out,
                        std::int64_t in) {
  const auto name = [&](const char* direction) { return case_name(layer + direction, model, tokens); };
  add<GemmArguments>(name("_forward"), type, [=](Operands& operands) {
    GemmArguments g = forward_product(operands, type, tokens, out, in);
    if (layer == "feed_forward_1") {
      g.epilogue = GemmEpilogue::kGelu;
      g.pre_activation = operands.random(type, tokens * out);
    }
    return g;
  });
  add<GemmArguments>(name("_input_gradient"), type, [=](Operands& operands) {
    GemmArguments g = input_gradient(operands, type, tokens, out, in);
    if (layer == "feed_forward_2") {  // its input is a GELU's output
      g.epilogue = GemmEpilogue::kGeluGradient;
      g.pre_activation = operands.random(type, tokens * in);
    }
    return g;
  });
  add<GemmArguments>(name("_weight_gradient"), type,
                     [=](Operands& operands) { return weight_gradient(operands, type, tokens, out, in); });
}

void add_products(const Shape& model, std::int64_t tokens, DType type) {
  add_layer_products("qkv", model, tokens, type, 3 * model.hidden, model.hidden);
  add_layer_products("attention_output", model, tokens, type, model.hidden, model.hidden);
  add_layer_products("feed_forward_1", model, tokens, type, model.feed_forward, model.hidden);
  add_layer_products("feed_forward_2", model, tokens, type, model.hidden, model.feed_forward);
  // As many rows as a step of masked-language modelling predicts at once.
  if (tokens == the_plan.tokens.front())
    add_layer_products("mlm_logits", model, 256, type, the_plan.vocabulary, model.hidden);
}

// --- batches -------------------------------------------------------------------------------------------------------------

/// Lengths that add up to `tokens`: all alike ("128"), or as MNLI's pairs are in the XLM-R vocabulary, about lognormal with
/// mean 45 and coefficient of variation 0.55 ("mnli").
std::vector<std::int64_t> lengths_of(const std::string& kind, std::int64_t tokens) {
  std::vector<std::int64_t> lengths;
  RandomStream random(1, 1);
  constexpr double kSigma = 0.514;
  for (std::int64_t left = tokens; left > 0; left -= lengths.back()) {
    const std::int64_t wanted =
        kind == "mnli"
            ? std::clamp<std::int64_t>(std::lround(45 * std::exp(kSigma * random.normal() - kSigma * kSigma / 2)), 8, 256)
            : std::stoll(kind);
    lengths.push_back(std::min(wanted, left));
  }
  return lengths;
}

std::vector<std::int32_t> cumulative_of(const std::vector<std::int64_t>& lengths) {
  std::vector<std::int32_t> cumulative = {0};
  for (const std::int64_t length : lengths) cumulative.push_back(cumulative.back() + static_cast<std::int32_t>(length));
  return cumulative;
}

constexpr std::int64_t kLength = 128;  // of every sequence, where only rows matter

Dropout tenth(Operands& operands, std::int64_t rows, std::int64_t length) {
  std::vector<std::uint32_t> examples(static_cast<std::size_t>(rows));
  std::vector<std::int32_t> positions(static_cast<std::size_t>(rows));
  for (std::int64_t row = 0; row < rows; ++row) {
    examples[static_cast<std::size_t>(row)] = static_cast<std::uint32_t>(row / length);
    positions[static_cast<std::size_t>(row)] = static_cast<std::int32_t>(row % length);
  }
  Dropout dropout;
  dropout.rate = 0.1f;
  dropout.seed = 1, dropout.step = 1;
  dropout.examples = operands.upload(examples);
  dropout.positions = operands.upload(positions);
  return dropout;
}

/// Tokens by key, as the batcher lists them.
TokenOrder order_of(Operands& operands, const std::vector<std::int32_t>& keys) {
  std::vector<std::int32_t> tokens(keys.size());
  std::iota(tokens.begin(), tokens.end(), 0);
  const auto key_of = [&](std::int32_t token) { return keys[static_cast<std::size_t>(token)]; };
  std::stable_sort(tokens.begin(), tokens.end(), [&](std::int32_t a, std::int32_t b) { return key_of(a) < key_of(b); });
  std::vector<std::int32_t> distinct;
  std::vector<std::int32_t> starts;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0 && key_of(tokens[i]) == key_of(tokens[i - 1])) continue;
    distinct.push_back(key_of(tokens[i]));
    starts.push_back(static_cast<std::int32_t>(i));
  }
  starts.push_back(static_cast<std::int32_t>(tokens.size()));
  return {static_cast<std::int64_t>(distinct.size()), operands.upload(distinct), operands.upload(starts),
          operands.upload(tokens)};
}

/// Word ids that occur about as often as words do: a few very often, most hardly (rank by Zipf's law).
std::vector<std::int32_t> word_ids(std::int64_t tokens, std::int64_t vocabulary) {
  RandomStream random(2, 1);
  std::vector<std::int32_t> ids(static_cast<std::size_t>(tokens));
  for (std::int32_t& id : ids)
    id = static_cast<std::int32_t>(std::pow(static_cast<double>(vocabulary), random.uniform())) - 1;
  return ids;
}

std::vector<std::int32_t> positions_of(std::int64_t tokens) {
  std::vector<std::int32_t> positions(static_cast<std::size_t>(tokens));
  for (std::size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<std::int32_t>(i % kLength) + 2;
  return positions;
}

std::vector<std::int32_t> every(std::int64_t count, std::int64_t stride) {
  std::vector<std::int32_t> indices(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < indices.size(); ++i)
    indices[i] = static_cast<std::int32_t>(static_cast<std::int64_t>(i) * stride);
  return indices;
}

// --- the other operations ------------------------------------------------------------------------------------------------

/// The four weight gradients of a block and their biases', as one.
void add_weight_gradients(const Shape& model, std::int64_t tokens, DType type) {
  add<WeightGradientsArguments>(case_name("block", model, tokens), type, [=](Operands& operands) {
    WeightGradientsArguments a;
    a.type = type;
    const auto add_entry = [&](std::int64_t out, std::int64_t in) {
      a.entries[a.count++] = {out,
                              in,
                              tokens,
                              operands.random(type, tokens * in),
                              in,
                              operands.random(type, tokens * out),
                              out,
                              operands.random_fp32(out * in),
                              operands.random_fp32(out)};
    };
    add_entry(3 * model.hidden, model.hidden);
    add_entry(model.hidden, model.hidden);
    add_entry(model.feed_forward, model.hidden);
    add_entry(model.hidden, model.feed_forward);
    return a;
  });
}

/// The products that end a half of a block: with dropout and residual in the epilogue.
void add_residual_product(const char* layer, const Shape& model, std::int64_t tokens, DType type, std::int64_t in) {
  if (the_plan.device == Device::kCpu) return;  // its layernorm does that
  add<GemmArguments>(case_name(concatenate(layer, "_dropout_residual"), model, tokens), type, [=](Operands& operands) {
    GemmArguments g = forward_product(operands, type, tokens, model.hidden, in);
    g.residual = operands.random(type, tokens * model.hidden);
    g.dropout = tenth(operands, tokens, kLength);
    return g;
  });
}

void add_layernorm(const Shape& model, std::int64_t tokens, DType type) {
  const std::int64_t width = model.hidden, count = tokens * width;
  add<LayerNormForwardArguments>(case_name("dropout_residual", model, tokens), type, [=](Operands& operands) {
    LayerNormForwardArguments a;
    a.type = type, a.rows = tokens, a.width = width;
    a.input = operands.random(type, count), a.residual = operands.random(type, count);
    a.dropout = tenth(operands, tokens, kLength);
    a.sum = operands.random(type, count), a.output = operands.random(type, count);
    a.weight = operands.random_fp32(width), a.bias = operands.random_fp32(width);
    a.mean = operands.random_fp32(tokens), a.rstd = operands.random_fp32(tokens);
    return a;
  });
  add<LayerNormBackwardArguments>(case_name("dropout_residual", model, tokens), type, [=](Operands& operands) {
    LayerNormBackwardArguments a;
    a.type = type, a.rows = tokens, a.width = width;
    a.d_output = operands.random(type, count), a.sum = operands.random(type, count);
    a.mean = operands.random_fp32(tokens), a.rstd = operands.random_fp32(tokens), a.weight = operands.random_fp32(width);
    a.dropout = tenth(operands, tokens, kLength);
    a.d_sum = operands.random(type, count), a.d_input = operands.random(type, count);
    a.d_weight = operands.random_fp32(width), a.d_bias = operands.random_fp32(width);
    return a;
  });
}

AttentionShape attention_shape(Operands& operands, const Shape& model, const std::vector<std::int64_t>& lengths,
                               DType type) {
  AttentionShape shape;
  const std::vector<std::int32_t> cumulative = cumulative_of(lengths);
  shape.type = type, shape.sequences = static_cast<std::int64_t>(lengths.size());
  shape.queries.tokens = cumulative.back(), shape.queries.maximum_length = *std::max_element(lengths.begin(), lengths.end());
  shape.queries.stride = 3 * model.hidden, shape.queries.cumulative_lengths = operands.upload(cumulative);
  shape.keys = shape.queries;
  shape.heads = model.heads, shape.head_size = model.hidden / model.heads;
  shape.output_stride = model.hidden;
  shape.scale = 1.0f / std::sqrt(static_cast<float>(shape.head_size));
  shape.dropout = tenth(operands, shape.sequences, 1);
  return shape;
}

void add_attention(const Shape& model, std::int64_t tokens, DType type, const std::string& kind) {
  const std::int64_t hidden = model.hidden;
  const std::string name = case_name((kind == "mnli" ? "" : "length_") + kind, model, tokens);
  const std::vector<std::int64_t> lengths = lengths_of(kind, tokens);
  add<AttentionForwardArguments>(name, type, [=](Operands& operands) {
    AttentionForwardArguments a;
    a.shape = attention_shape(operands, model, lengths, type);
    const void* qkv = operands.random(type, tokens * 3 * hidden);
    a.query = qkv, a.key = offset_by(qkv, type, hidden), a.value = offset_by(qkv, type, 2 * hidden);
    a.output = operands.random(type, tokens * hidden);
    a.log_sum_exp = operands.random_fp32(tokens * model.heads);
    return a;
  });
  add<AttentionBackwardArguments>(name, type, [=](Operands& operands) {
    AttentionBackwardArguments a;
    a.shape = attention_shape(operands, model, lengths, type);
    const void* qkv = operands.random(type, tokens * 3 * hidden);
    void* d_qkv = operands.random(type, tokens * 3 * hidden);
    a.query = qkv, a.key = offset_by(qkv, type, hidden), a.value = offset_by(qkv, type, 2 * hidden);
    a.d_query = d_qkv, a.d_key = offset_by(d_qkv, type, hidden), a.d_value = offset_by(d_qkv, type, 2 * hidden);
    a.output = operands.random(type, tokens * hidden), a.d_output = operands.random(type, tokens * hidden);
    // About the log of a length plus what the random scores add, so that no weight overflows.
    a.log_sum_exp = operands.constant_fp32(tokens * model.heads, 5.0f);
    return a;
  });
}

void add_activation(const Shape& model, std::int64_t tokens, DType type) {
  const std::int64_t count = tokens * model.feed_forward;
  add<ActivationForwardArguments>(case_name("gelu", model, tokens), type, [=](Operands& operands) {
    return ActivationForwardArguments{Activation::kGeluErf, type, count, operands.random(type, count),
                                      operands.random(type, count)};
  });
  add<ActivationBackwardArguments>(case_name("gelu", model, tokens), type, [=](Operands& operands) {
    return ActivationBackwardArguments{
        Activation::kGeluErf,        type, count, operands.random(type, count), operands.random(type, count),
        operands.random(type, count)};
  });
}

void add_embedding(const Shape& model, std::int64_t tokens, DType type) {
  constexpr std::int64_t kPositions = 514;
  const std::int64_t width = model.hidden, vocabulary = the_plan.vocabulary;
  add<EmbeddingForwardArguments>(case_name("word_position_type", model, tokens), type, [=](Operands& operands) {
    EmbeddingForwardArguments a;
    a.type = type, a.tokens = tokens, a.width = width, a.vocabulary = vocabulary, a.positions = kPositions;
    a.ids = operands.upload(word_ids(tokens, vocabulary)), a.position_ids = operands.upload(positions_of(tokens));
    a.word = operands.random(type, vocabulary * width), a.position = operands.random(type, kPositions * width);
    a.token_type = operands.random(type, width), a.output = operands.random(type, tokens * width);
    return a;
  });
  add<EmbeddingBackwardArguments>(case_name("word_position_type", model, tokens), type, [=](Operands& operands) {
    EmbeddingBackwardArguments a;
    a.type = type, a.tokens = tokens, a.width = width;
    a.by_id = order_of(operands, word_ids(tokens, vocabulary)), a.by_position = order_of(operands, positions_of(tokens));
    a.d_output = operands.random(type, tokens * width), a.d_word = operands.random_fp32(vocabulary * width);
    a.d_position = operands.random_fp32(kPositions * width), a.d_token_type = operands.random_fp32(width);
    return a;
  });
}

void add_rows(const Shape& model, std::int64_t tokens, DType type) {
  const std::int64_t width = model.hidden, picked = tokens / 8;
  add<DropoutArguments>(case_name("residual", model, tokens), type, [=](Operands& operands) {
    DropoutArguments a;
    a.type = type, a.rows = tokens, a.width = width, a.dropout = tenth(operands, tokens, kLength);
    a.input = operands.random(type, tokens * width), a.residual = operands.random(type, tokens * width);
    a.output = operands.random(type, tokens * width);
    return a;
  });
  add<GatherRowsArguments>(case_name("eighth", model, tokens), type, [=](Operands& operands) {
    return GatherRowsArguments{type,
                               picked,
                               width,
                               tokens,
                               operands.upload(every(picked, 8)),
                               operands.random(type, tokens * width),
                               operands.random(type, picked * width)};
  });
  add<ScatterRowsArguments>(case_name("eighth", model, tokens), type, [=](Operands& operands) {
    return ScatterRowsArguments{type,
                                picked,
                                width,
                                tokens,
                                operands.upload(every(picked, 8)),
                                operands.random(type, picked * width),
                                operands.random(type, tokens * width)};
  });
  const std::vector<std::int32_t> cumulative = cumulative_of(lengths_of("mnli", tokens));
  const auto sequences = static_cast<std::int64_t>(cumulative.size()) - 1;
  add<MeanPoolingForwardArguments>(case_name("mnli", model, tokens), type, [=](Operands& operands) {
    return MeanPoolingForwardArguments{type,
                                       tokens,
                                       sequences,
                                       width,
                                       operands.upload(cumulative),
                                       false,
                                       operands.random(type, tokens * width),
                                       operands.random(type, sequences * width)};
  });
  add<MeanPoolingBackwardArguments>(case_name("mnli", model, tokens), type, [=](Operands& operands) {
    return MeanPoolingBackwardArguments{type,
                                        tokens,
                                        sequences,
                                        width,
                                        operands.upload(cumulative),
                                        false,
                                        operands.random(type, sequences * width),
                                        operands.random(type, tokens * width)};
  });
  add<ColumnSumArguments>(case_name("qkv_bias", model, tokens), type, [=](Operands& operands) {
    return ColumnSumArguments{
        type, tokens, 3 * width, 3 * width, operands.random(type, tokens * 3 * width), operands.random_fp32(3 * width)};
  });
}

void add_losses(const Shape& model, std::int64_t tokens, DType type) {
  const std::int64_t rows = the_plan.device == Device::kCpu ? 128 : std::min<std::int64_t>(tokens, 512);
  if (tokens == the_plan.tokens.front()) {
    const std::int64_t classes = the_plan.vocabulary;
    add<SoftmaxCrossEntropyArguments>(case_name("mlm", model, rows), type, [=](Operands& operands) {
      SoftmaxCrossEntropyArguments a;
      a.type = type, a.rows = rows, a.classes = a.stride = classes;
      a.logits = operands.random(type, rows * classes), a.d_logits = operands.random(type, rows * classes);
      a.labels = operands.random_ids(rows, classes), a.loss = operands.random_fp32(rows);
      return a;
    });
  }
  const std::vector<std::int32_t> cumulative = cumulative_of(lengths_of("128", tokens));
  const auto sequences = static_cast<std::int64_t>(cumulative.size()) - 1;
  add<SpanLossArguments>(case_name("length_128", model, tokens), type, [=](Operands& operands) {
    SpanLossArguments a;
    a.type = type, a.tokens = tokens, a.sequences = sequences, a.cumulative_lengths = operands.upload(cumulative);
    a.logits = operands.random(type, tokens * 2), a.d_logits = operands.random(type, tokens * 2);
    a.start_labels = operands.random_ids(sequences, 16), a.end_labels = operands.random_ids(sequences, 16);
    a.loss = operands.random_fp32(sequences);
    return a;
  });
}

void add_optimizer(DType type) {
  const std::int64_t count = the_plan.optimizer_elements;
  const std::string name = concatenate("dense/any/", count);
  add<AdamWArguments>(name, type, [=](Operands& operands) {
    AdamWArguments a;
    a.count = count;
    a.parameter = operands.random_fp32(count), a.gradient = operands.random_fp32(count);
    a.first_moment = operands.random_fp32(count), a.second_moment = operands.constant_fp32(count, 0.25f);
    if (type == DType::kBFloat16) a.working = operands.zeros<BFloat16>(count);
    a.step = adamw_step(10, 1e-5, 0.9, 0.999, 1e-8, 0.01);
    a.zero_gradient = false;
    return a;
  });
  if (type != DType::kFloat32) return;
  add<CastArguments>(name, type, [=](Operands& operands) {
    return CastArguments{count, DType::kFloat32, DType::kBFloat16, operands.random_fp32(count),
                         operands.zeros<BFloat16>(count)};
  });
  constexpr std::int64_t kWidth = 1024;
  add<SumOfSquaresArguments>(name, type, [=](Operands& operands) {
    return SumOfSquaresArguments{count / kWidth, kWidth, operands.random_fp32(count), nullptr, 0, operands.zeros<double>(1)};
  });
  add<ClipFactorArguments>("one/any/1", type, [=](Operands& operands) {
    return ClipFactorArguments{operands.upload(std::vector<double>{4.0}), 1, operands.random_fp32(1),
                               operands.random_fp32(1)};
  });
}

/// The tensors of `count` elements as a large layer has them: matrices, each followed by its bias.
std::vector<FlatSegment> layer_segments(std::int64_t count, std::int64_t& pieces) {
  const std::int64_t width = std::min<std::int64_t>(1024, count / 4);
  std::vector<FlatSegment> segments;
  for (std::int64_t at = 0; at + width * 2 <= count;) {
    const std::int64_t rows = std::min<std::int64_t>(width, (count - at) / width - 1);
    segments.push_back({at, rows, width, 0, 0});
    segments.push_back({at + rows * width, 1, width, 0, 1});
    at += (rows + 1) * width;
  }
  pieces = number_pieces(segments);
  return segments;
}

std::int64_t elements_of(const std::vector<FlatSegment>& segments) {
  std::int64_t elements = 0;
  for (const FlatSegment& segment : segments) elements += segment.count();
  return elements;
}

void add_segments(DType type) {
  const std::int64_t count = the_plan.optimizer_elements;
  std::int64_t pieces = 0;
  const std::vector<FlatSegment> segments = layer_segments(count, pieces);
  add<AdamWSegmentsArguments>(concatenate("layers/any/", count), type, [=](Operands& operands) {
    AdamWSegmentsArguments a;
    a.elements = elements_of(segments), a.segments = static_cast<std::int64_t>(segments.size()), a.pieces = pieces;
    a.segment_list = operands.upload(segments);
    a.parameter = operands.random_fp32(count), a.gradient = operands.random_fp32(count);
    a.first_moment = operands.random_fp32(count), a.second_moment = operands.constant_fp32(count, 0.25f);
    if (type == DType::kBFloat16) a.working = operands.zeros<BFloat16>(count);
    a.steps = operands.upload(std::vector<AdamWStep>(2, adamw_step(10, 1e-5, 0.9, 0.999, 1e-8, 0.01)));
    a.gradient_factor = operands.constant_fp32(1, 0.5f);
    a.zero_gradient = false;
    return a;
  });
  if (type != DType::kFloat32) return;
  add<GradientNormArguments>(concatenate("layers/any/", count), type, [=](Operands& operands) {
    GradientNormArguments a;
    a.elements = elements_of(segments), a.segments = static_cast<std::int64_t>(segments.size()), a.pieces = pieces;
    a.segment_list = operands.upload(segments), a.gradient = operands.random_fp32(count);
    a.maximum_norm = 1;
    a.sum_of_squares = operands.zeros<double>(1), a.norm = operands.random_fp32(1), a.factor = operands.random_fp32(1);
    return a;
  });
}

/// The word embedding's rows of one batch, each of which missed four steps.
void add_lazy_rows(const Shape& model, std::int64_t tokens, DType type) {
  const std::int64_t width = model.hidden, vocabulary = the_plan.vocabulary;
  constexpr std::int64_t kStep = 5;
  add<AdamWRowsArguments>(case_name("four_missed", model, tokens), type, [=](Operands& operands) {
    std::vector<std::int32_t> rows = word_ids(tokens, vocabulary);
    std::sort(rows.begin(), rows.end());
    rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
    std::vector<AdamWStep> history(1);
    for (std::int64_t step = 1; step <= kStep; ++step) history.push_back(adamw_step(step, 1e-5, 0.9, 0.999, 1e-8, 0.01));
    AdamWRowsArguments a;
    a.rows = vocabulary, a.width = width;
    a.parameter = operands.random_fp32(vocabulary * width), a.gradient = operands.random_fp32(vocabulary * width);
    a.first_moment = operands.random_fp32(vocabulary * width);
    a.second_moment = operands.zeros<float>(vocabulary * width);
    if (type == DType::kBFloat16) a.working = operands.zeros<BFloat16>(vocabulary * width);
    a.row_list = operands.upload(rows), a.listed = static_cast<std::int64_t>(rows.size());
    a.last_step = operands.zeros<std::int32_t>(vocabulary), a.history = operands.upload(history);
    a.step = kStep, a.with_gradient = true, a.zero_gradient = false;
    const auto* never = operands.zeros<std::int32_t>(vocabulary);
    operands.before_each = [=] {
      machine().copy_within(a.last_step, never, static_cast<std::size_t>(vocabulary) * sizeof(std::int32_t));
    };
    return a;
  });
}

void add_search(const Shape& model) {
  const std::int64_t queries = the_plan.tiny ? 8 : 1000, candidates = the_plan.tiny                     ? 50
                                                                      : the_plan.device == Device::kCpu ? 4000
                                                                                                        : 100000;
  add<TopKArguments>(
      concatenate("k_4/", model.name, "/", queries, "x", candidates), DType::kFloat32, [=](Operands& operands) {
        TopKArguments a;
        a.queries_count = queries, a.candidates_count = candidates, a.width = model.hidden, a.k = 4;
        a.queries = operands.random_fp32(queries * model.hidden),
        a.candidates = operands.random_fp32(candidates * model.hidden);
        a.indices = operands.zeros<std::int32_t>(queries * a.k), a.scores = operands.random_fp32(queries * a.k);
        return a;
      });
  add<SumArguments>(concatenate("losses/any/", candidates), DType::kFloat32, [=](Operands& operands) {
    return SumArguments{candidates, operands.random_fp32(candidates), operands.zeros<double>(1)};
  });
}

void add_shape(const Shape& model, DType type) {
  for (const std::int64_t tokens : the_plan.tokens) {
    add_products(model, tokens, type);
    add_residual_product("attention_output", model, tokens, type, model.hidden);
    add_residual_product("feed_forward_2", model, tokens, type, model.feed_forward);
    add_weight_gradients(model, tokens, type);
    add_layernorm(model, tokens, type);
    for (const std::string& kind : the_plan.lengths) add_attention(model, tokens, type, kind);
    add_activation(model, tokens, type);
    add_embedding(model, tokens, type);
    add_rows(model, tokens, type);
    add_losses(model, tokens, type);
    add_lazy_rows(model, tokens, type);
  }
}

void add_everything() {
  for (const DType type : {DType::kFloat32, DType::kBFloat16}) {
    for (std::size_t i = 0; i < the_plan.shapes.size(); ++i) {
      // Beyond large, fp32 is for checking: nobody waits for it.
      if (type == DType::kBFloat16 || i < 2) add_shape(the_plan.shapes[i], type);
    }
    add_optimizer(type);
    add_segments(type);
  }
  add_search(the_plan.shapes.front());
  for (const OperationSummary& summary : all_operations()) {
    check(measured_operations.count(summary.name) > 0, "bench_operations has no shapes for operation ", summary.name);
  }
}

void note_ceilings() {
  for (const auto& [name, value] : machine().description()) benchmark::AddCustomContext(name, value);
  if (the_plan.tiny && machine().measures()) benchmark::AddCustomContext("not_a_measurement", "tiny shapes");
  if (the_plan.tiny) return;
  for (const DType type : {DType::kFloat32, DType::kBFloat16}) {
    const Ceiling& ceiling = product_ceiling(type);
    benchmark::AddCustomContext(concatenate("product_", name_of(type), "_TFLOP/s"), std::to_string(ceiling.rate * 1e-12));
    benchmark::AddCustomContext(concatenate("product_", name_of(type), "_variant"), ceiling.variant);
  }
  benchmark::AddCustomContext("copy_GB/s", std::to_string(copy_ceiling() * 1e-9));
}

/// Takes this program's own options out of the command line.
void parse(int& count, char** arguments) {
  std::string device = "cpu";
  bool tiny = false;
  int repetitions = 0, iterations = 0, kept = 1;
  for (int i = 1; i < count; ++i) {
    const std::string option = arguments[i];
    const auto value = [&] {
      require(i + 1 < count, "option ", option, " needs a value");
      return std::string(arguments[++i]);
    };
    if (option == "--device") {
      device = value();
    } else if (option == "--tiny") {
      tiny = true;
    } else if (option == "--repetitions") {
      repetitions = std::stoi(value());
    } else if (option == "--iterations") {
      iterations = std::stoi(value());
    } else {
      arguments[kept++] = arguments[i];
    }
  }
  count = kept;
  require(device == "cpu" || device == "cuda", "--device is cpu or cuda");
  require(device == "cpu" || tiny || !cuda::on_host(), "this build runs CUDA kernels on the CPU: only with --tiny");
  the_plan = plan_of(device == "cpu" ? Device::kCpu : Device::kCuda, tiny);
  the_plan.repetitions = repetitions, the_plan.iterations = iterations;
}

}  // namespace
}  // namespace koine::bench

int main(int argc, char** argv) {
  try {
    koine::bench::parse(argc, argv);
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    koine::bench::note_ceilings();
    koine::bench::add_everything();
    benchmark::RunSpecifiedBenchmarks();
  } catch (const std::exception& error) {
    std::cerr << "bench_operations: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
