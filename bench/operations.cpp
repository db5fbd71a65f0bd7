// Measures every variant of the operations on the shapes of XLM-R base and large.
//
//   bench_operations --benchmark_filter=gemm/ffn --benchmark_out=result.json --benchmark_out_format=json
//
// Names are operation/case/model/tokens/type/variant. Rates come from the operation's own flops() and bytes(). `of_product`
// is the share of a large matrix product's rate in the same type, `of_copy` that of a large copy's bandwidth, both measured
// at the start of this run with the same threads (all processors the process may use). Operands are random numbers.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "kernels/activation/activation.h"
#include "kernels/attention/attention.h"
#include "kernels/common/parallel.h"
#include "kernels/common/registry.h"
#include "kernels/embedding/embedding.h"
#include "kernels/gemm/gemm.h"
#include "kernels/layernorm/layernorm.h"
#include "kernels/optimizer/adamw.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

namespace koine {
namespace {

struct Model {
  const char* name;
  std::int64_t hidden, feed_forward, heads;
};
constexpr Model kModels[] = {{"base", 768, 3072, 12}, {"large", 1024, 4096, 16}};
constexpr std::int64_t kTokens[] = {256, 1024, 4096};
constexpr DType kTypes[] = {DType::kFloat32, DType::kBFloat16};
constexpr std::int64_t kVocabulary = 250002;

// --- operands ------------------------------------------------------------------------------------------------------------

/// The memory one benchmark's arguments point into.
class Operands {
 public:
  void* random(DType type, std::int64_t count) {
    void* data = take(static_cast<std::size_t>(count) * size_of(type));
    for (std::int64_t i = 0; i < count; ++i) store_element(data, type, i, static_cast<double>(next() >> 8) * 0x1p-23 - 1.0);
    return data;
  }
  float* random_fp32(std::int64_t count) { return static_cast<float*>(random(DType::kFloat32, count)); }
  /// Random numbers in [0, bound).
  std::int32_t* random_ids(std::int64_t count, std::int64_t bound) {
    auto* data = take_array<std::int32_t>(count);
    for (std::int64_t i = 0; i < count; ++i) data[i] = static_cast<std::int32_t>(next() % static_cast<std::uint64_t>(bound));
    return data;
  }
  /// i / divisor for i in [0, count).
  template <class T>
  T* quotients(std::int64_t count, std::int64_t divisor) {
    T* data = take_array<T>(count);
    for (std::int64_t i = 0; i < count; ++i) data[i] = static_cast<T>(i / divisor);
    return data;
  }
  template <class T>
  T* take_array(std::int64_t count) {
    return static_cast<T*>(take(static_cast<std::size_t>(count) * sizeof(T)));
  }

 private:
  void* take(std::size_t bytes) {
    blocks_.emplace_back(bytes + StackMemory::kAlignment);
    const auto address = reinterpret_cast<std::uintptr_t>(blocks_.back().data());
    return blocks_.back().data() + (StackMemory::kAlignment - address % StackMemory::kAlignment);
  }
  std::uint32_t next() { return state_ = state_ * 1664525u + 1013904223u; }

  std::deque<std::vector<char>> blocks_;
  std::uint32_t state_ = 1;
};

// --- ceilings ------------------------------------------------------------------------------------------------------------

double best_seconds(const std::function<void()>& body) {
  double best = std::numeric_limits<double>::infinity();
  for (int trial = 0; trial < 5; ++trial) {
    const auto start = std::chrono::steady_clock::now();
    body();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

GemmArguments square_product(Operands& operands, DType type, std::int64_t size) {
  GemmArguments g;
  g.m = g.n = g.k = g.lda = g.ldb = g.ldc = size;
  g.input_type = g.output_type = type;
  g.a = operands.random(type, size * size);
  g.b = operands.random(type, size * size);
  g.c = operands.random(type, size * size);
  return g;
}

double measure_product(DType type) {
  Operands operands;
  const GemmArguments g = square_product(operands, type, 2048);
  const Variant<GemmArguments>& variant = choose_variant(Context{}, g);
  std::vector<char> workspace(variant.workspace_bytes(g));
  return operation<GemmArguments>().flops(g) / best_seconds([&] { variant.launch(Context{}, g, workspace.data()); });
}

double measure_copy() {
  constexpr std::int64_t kBytes = 256 << 20;
  std::vector<char> from(kBytes, 1), to(kBytes, 2);
  const double seconds = best_seconds([&] {
    parallel_ranges(kBytes, 1 << 20, [&](std::int64_t begin, std::int64_t end) {
      std::memcpy(to.data() + begin, from.data() + begin, static_cast<std::size_t>(end - begin));
    });
  });
  return 2.0 * kBytes / seconds;
}

double product_ceiling(DType type) {
  static const double fp32 = measure_product(DType::kFloat32);
  static const double bf16 = measure_product(DType::kBFloat16);
  return type == DType::kBFloat16 ? bf16 : fp32;
}

double copy_ceiling() {
  static const double rate = measure_copy();
  return rate;
}

// --- one benchmark -------------------------------------------------------------------------------------------------------

template <class Arguments>
using MakeArguments = std::function<Arguments(Operands&)>;

template <class Arguments>
void measure(benchmark::State& state, const Variant<Arguments>& variant, DType type, const MakeArguments<Arguments>& make) {
  Operands operands;
  const Arguments arguments = make(operands);
  const Operation<Arguments>& table = operation<Arguments>();
  table.validate(arguments);
  if (!usable(variant, Context{}, arguments)) {
    state.SkipWithError("not for this processor");
    return;
  }
  std::vector<char> workspace(variant.workspace_bytes == nullptr ? 0 : variant.workspace_bytes(arguments));
  const auto start = std::chrono::steady_clock::now();
  for (auto _ : state) variant.launch(Context{}, arguments, workspace.data());
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;

  const double launches_per_second = static_cast<double>(state.iterations()) / taken.count();
  const double flops_per_second = table.flops(arguments) * launches_per_second;
  const double bytes_per_second = table.bytes(arguments) * launches_per_second;
  state.counters["TFLOP/s"] = flops_per_second * 1e-12;
  state.counters["GB/s"] = bytes_per_second * 1e-9;
  state.counters["of_product"] = flops_per_second / product_ceiling(type);
  state.counters["of_copy"] = bytes_per_second / copy_ceiling();
}

/// Registers all variants but the reference; `name` is case/model/tokens.
template <class Arguments>
void add(const std::string& name, DType type, const MakeArguments<Arguments>& make) {
  for (const Variant<Arguments>& variant : operation<Arguments>().variants) {
    if (variant.name == kReference || variant.device != Device::kCpu) continue;
    const std::string full = concatenate(operation<Arguments>().name, "/", name, "/", name_of(type), "/", variant.name);
    benchmark::RegisterBenchmark(
        full.c_str(), [&variant, type, make](benchmark::State& state) { measure<Arguments>(state, variant, type, make); })
        ->UseRealTime()
        ->Unit(benchmark::kMicrosecond);
  }
}

std::string case_name(const char* what, const Model& model, std::int64_t tokens) {
  return concatenate(what, "/", model.name, "/", tokens);
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

void add_layer_products(const std::string& layer, const Model& model, std::int64_t tokens, DType type, std::int64_t out,
                        std::int64_t in) {
  const auto name = [&](const char* direction) { return case_name((layer + direction).c_str(), model, tokens); };
  add<GemmArguments>(name("_forward"), type, [=](Operands& operands) {
    GemmArguments g = forward_product(operands, type, tokens, out, in);
    if (out > 3 * in) {  // the first product of the feed-forward layer
      g.epilogue = GemmEpilogue::kGelu;
      g.pre_activation = operands.random(type, tokens * out);
    }
    return g;
  });
  add<GemmArguments>(name("_input_gradient"), type, [=](Operands& operands) {
    GemmArguments g = input_gradient(operands, type, tokens, out, in);
    if (in > 3 * out) {  // the second one: its input is a GELU's output
      g.epilogue = GemmEpilogue::kGeluGradient;
      g.pre_activation = operands.random(type, tokens * in);
    }
    return g;
  });
  add<GemmArguments>(name("_weight_gradient"), type,
                     [=](Operands& operands) { return weight_gradient(operands, type, tokens, out, in); });
}

void add_products(const Model& model, std::int64_t tokens, DType type) {
  add_layer_products("qkv", model, tokens, type, 3 * model.hidden, model.hidden);
  add_layer_products("attention_output", model, tokens, type, model.hidden, model.hidden);
  add_layer_products("feed_forward_1", model, tokens, type, model.feed_forward, model.hidden);
  add_layer_products("feed_forward_2", model, tokens, type, model.hidden, model.feed_forward);
  if (tokens == 256) add_layer_products("mlm_logits", model, tokens, type, kVocabulary, model.hidden);
}

// --- the other operations ------------------------------------------------------------------------------------------------

Dropout tenth(Operands& operands, std::int64_t rows, std::int64_t length) {
  Dropout dropout;
  dropout.rate = 0.1f;
  dropout.seed = 1, dropout.step = 1;
  dropout.examples = operands.quotients<std::uint32_t>(rows, length);
  auto* positions = operands.take_array<std::int32_t>(rows);
  for (std::int64_t row = 0; row < rows; ++row) positions[row] = static_cast<std::int32_t>(row % length);
  dropout.positions = positions;
  return dropout;
}

constexpr std::int64_t kLength = 128;  // of every sequence

void add_layernorm(const Model& model, std::int64_t tokens, DType type) {
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

AttentionShape attention_shape(Operands& operands, const Model& model, std::int64_t tokens, DType type) {
  AttentionShape shape;
  shape.type = type, shape.tokens = tokens, shape.sequences = tokens / kLength, shape.maximum_length = kLength;
  shape.heads = model.heads, shape.head_size = model.hidden / model.heads;
  shape.qkv_stride = 3 * model.hidden, shape.output_stride = model.hidden;
  shape.scale = 1.0f / std::sqrt(static_cast<float>(shape.head_size));
  auto* cumulative = operands.take_array<std::int32_t>(shape.sequences + 1);
  for (std::int64_t i = 0; i <= shape.sequences; ++i) cumulative[i] = static_cast<std::int32_t>(i * kLength);
  shape.cumulative_lengths = cumulative;
  shape.dropout = tenth(operands, shape.sequences, 1);
  return shape;
}

void add_attention(const Model& model, std::int64_t tokens, DType type) {
  const std::int64_t hidden = model.hidden;
  add<AttentionForwardArguments>(case_name("length_128", model, tokens), type, [=](Operands& operands) {
    AttentionForwardArguments a;
    a.shape = attention_shape(operands, model, tokens, type);
    const void* qkv = operands.random(type, tokens * 3 * hidden);
    a.query = qkv, a.key = offset_by(qkv, type, hidden), a.value = offset_by(qkv, type, 2 * hidden);
    a.output = operands.random(type, tokens * hidden);
    a.log_sum_exp = operands.random_fp32(tokens * model.heads);
    return a;
  });
  add<AttentionBackwardArguments>(case_name("length_128", model, tokens), type, [=](Operands& operands) {
    AttentionBackwardArguments a;
    a.shape = attention_shape(operands, model, tokens, type);
    const void* qkv = operands.random(type, tokens * 3 * hidden);
    void* d_qkv = operands.random(type, tokens * 3 * hidden);
    a.query = qkv, a.key = offset_by(qkv, type, hidden), a.value = offset_by(qkv, type, 2 * hidden);
    a.d_query = d_qkv, a.d_key = offset_by(d_qkv, type, hidden), a.d_value = offset_by(d_qkv, type, 2 * hidden);
    a.output = operands.random(type, tokens * hidden), a.d_output = operands.random(type, tokens * hidden);
    auto* log_sum_exp = operands.random_fp32(tokens * model.heads);
    // About log(128) plus what the random scores add, so that no weight overflows.
    for (std::int64_t i = 0; i < tokens * model.heads; ++i) log_sum_exp[i] = 5.0f;
    a.log_sum_exp = log_sum_exp;
    return a;
  });
}

void add_activation(const Model& model, std::int64_t tokens, DType type) {
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

void add_embedding(const Model& model, std::int64_t tokens, DType type) {
  // A fifth of the vocabulary: enough that rows come from memory and not from a cache.
  constexpr std::int64_t kRows = kVocabulary / 5, kPositions = 514;
  const std::int64_t width = model.hidden;
  add<EmbeddingForwardArguments>(case_name("word_position_type", model, tokens), type, [=](Operands& operands) {
    EmbeddingForwardArguments a;
    a.type = type, a.tokens = tokens, a.width = width, a.vocabulary = kRows, a.positions = kPositions;
    a.ids = operands.random_ids(tokens, kRows), a.position_ids = operands.random_ids(tokens, kPositions);
    a.word = operands.random(type, kRows * width), a.position = operands.random(type, kPositions * width);
    a.token_type = operands.random(type, width), a.output = operands.random(type, tokens * width);
    return a;
  });
}

void add_cross_entropy(const Model& model, DType type) {
  constexpr std::int64_t kRows = 128;
  add<SoftmaxCrossEntropyArguments>(case_name("mlm", model, kRows), type, [=](Operands& operands) {
    SoftmaxCrossEntropyArguments a;
    a.type = type, a.rows = kRows, a.classes = a.stride = kVocabulary;
    a.logits = operands.random(type, kRows * kVocabulary), a.d_logits = operands.random(type, kRows * kVocabulary);
    a.labels = operands.random_ids(kRows, kVocabulary), a.loss = operands.random_fp32(kRows);
    return a;
  });
}

void add_adamw(DType type) {
  constexpr std::int64_t kCount = 16 << 20;
  add<AdamWArguments>(concatenate("dense/any/", kCount), type, [=](Operands& operands) {
    AdamWArguments a;
    a.count = kCount;
    a.parameter = operands.random_fp32(kCount), a.gradient = operands.random_fp32(kCount);
    a.first_moment = operands.random_fp32(kCount), a.second_moment = operands.random_fp32(kCount);
    for (std::int64_t i = 0; i < kCount; ++i) a.second_moment[i] = std::fabs(a.second_moment[i]);
    if (type == DType::kBFloat16) a.working = operands.take_array<BFloat16>(kCount);
    a.step = adamw_step(10, 1e-5, 0.9, 0.999, 1e-8, 0.01);
    a.zero_gradient = false;
    return a;
  });
}

void add_everything() {
  for (const Model& model : kModels) {
    for (const DType type : kTypes) {
      for (const std::int64_t tokens : kTokens) {
        add_products(model, tokens, type);
        add_layernorm(model, tokens, type);
        add_attention(model, tokens, type);
        add_activation(model, tokens, type);
        add_embedding(model, tokens, type);
      }
      if (&model == &kModels[0]) {
        add_cross_entropy(model, type);
        add_adamw(type);
      }
    }
  }
}

void note_ceilings() {
  benchmark::AddCustomContext("threads", std::to_string(thread_count()));
  benchmark::AddCustomContext("product_fp32_TFLOP/s", std::to_string(product_ceiling(DType::kFloat32) * 1e-12));
  benchmark::AddCustomContext("product_bf16_TFLOP/s", std::to_string(product_ceiling(DType::kBFloat16) * 1e-12));
  benchmark::AddCustomContext("copy_GB/s", std::to_string(copy_ceiling() * 1e-9));
}

}  // namespace
}  // namespace koine

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  koine::note_ceilings();
  koine::add_everything();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
