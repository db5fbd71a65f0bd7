// Tokens per second of whole steps of an XLM-R with random weights: encoding (hidden states pooled) and training (forward,
// backward with dropout, clipping, AdamW), beside the matrix-product rate measured in the same run, and the time by
// operation.
//
//   bench_step --mode encode|train [--size base|large] [--precision fp32|bf16] [--lengths 16x128 | FILE] [--batch N]
//   [--repeats N]
//              [--threads N] [--layers N] [--vocabulary N] [--profile]
//
// --lengths FILE holds one sequence length a line. Training takes --batch sequences a step, in file order; encoding may pack
// as it likes. One JSON object on standard output: real tokens per second (every repeat), share of the ceiling, time by
// operation.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <string>

#include "engine/batch/batcher.h"
#include "engine/training/optimizer.h"
#include "kernels/common/parallel.h"
#include "kernels/gemm/gemm.h"
#include "kernels/random/philox.h"
#include "models/xlmr/xlmr.h"

namespace koine {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

struct Options {
  std::map<std::string, std::string> values = {{"mode", "encode"},    {"size", "base"},  {"precision", "fp32"},
                                               {"lengths", "16x128"}, {"batch", "32"},   {"repeats", "5"},
                                               {"threads", "0"},      {"layers", "0"},   {"profile", "0"},
                                               {"vocabulary", "0"},   {"tokens", "2048"}};
  const std::string& operator[](const std::string& key) const { return values.at(key); }
  std::int64_t number(const std::string& key) const { return std::stoll(values.at(key)); }
};

Options parse(int count, char** arguments) {
  Options options;
  for (int i = 1; i < count; ++i) {
    const std::string key = std::string(arguments[i]).substr(std::min<std::size_t>(2, std::string(arguments[i]).size()));
    require(options.values.count(key) != 0, "unknown option ", arguments[i]);
    if (key == "profile") {
      options.values[key] = "1";
      continue;
    }
    require(i + 1 < count, "option ", arguments[i], " needs a value");
    options.values[key] = arguments[++i];
  }
  return options;
}

std::vector<std::int64_t> read_lengths(const std::string& text) {
  const std::size_t cross = text.find('x');
  if (cross != std::string::npos && text.find('/') == std::string::npos && text.find('.') == std::string::npos) {
    return std::vector<std::int64_t>(std::stoul(text.substr(0, cross)), std::stoll(text.substr(cross + 1)));
  }
  std::ifstream file(text);
  require(file.good(), text, ": cannot be read");
  std::vector<std::int64_t> lengths;
  for (std::int64_t length; file >> length;) lengths.push_back(length);
  require(!lengths.empty(), text, ": holds no lengths");
  return lengths;
}

Dataset random_dataset(const std::vector<std::int64_t>& lengths, std::int64_t vocabulary) {
  Dataset dataset;
  dataset.name = "random";
  dataset.head = HeadKind::kSequence;
  dataset.classes = 3;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    Example example;
    example.number = static_cast<std::uint32_t>(i);
    for (std::int64_t t = 0; t < lengths[i]; ++t) {
      const std::uint32_t bits = philox({static_cast<std::uint32_t>(t), static_cast<std::uint32_t>(i), 0, 0}, {1, 2})[0];
      example.ids.push_back(static_cast<std::int32_t>(4 + bits % static_cast<std::uint32_t>(vocabulary - 4)));
    }
    example.labels = {static_cast<std::int32_t>(i % 3)};
    dataset.examples.push_back(std::move(example));
  }
  return dataset;
}

/// FLOP/s of a large product in `type`, the median of several: what this machine can do with all its threads.
double product_rate(Context& context, DType type) {
  constexpr std::int64_t kSize = 2048;
  const std::size_t count = kSize * kSize;
  std::vector<float> source(count);
  for (std::size_t i = 0; i < count; ++i) {
    source[i] = static_cast<float>(philox({static_cast<std::uint32_t>(i), 1, 0, 0}, {3, 4})[0] / 4294967296.0 - 0.5);
  }
  std::vector<BFloat16> rounded(count);
  for (std::size_t i = 0; i < count; ++i) rounded[i] = to_bfloat16(source[i]);
  std::vector<float> result(count);
  GemmArguments product;
  product.m = product.n = product.k = kSize;
  product.lda = product.ldb = product.ldc = kSize;
  product.transpose_b = true;
  product.input_type = type;
  product.output_type = type;
  product.a = product.b = type == DType::kFloat32 ? static_cast<const void*>(source.data()) : rounded.data();
  product.c = result.data();
  std::vector<double> rates;
  StackMemory scratch("scratch", std::size_t{512} << 20);
  Context own = context;
  own.scratch = &scratch;
  own.profile = nullptr;
  for (int repeat = 0; repeat < 12; ++repeat) {
    const Clock::time_point start = Clock::now();
    gemm(own, product);
    if (repeat >= 2) rates.push_back(2.0 * kSize * kSize * kSize / seconds_since(start));
  }
  std::sort(rates.begin(), rates.end());
  return rates[rates.size() / 2];
}

struct Work {
  std::vector<PackedBatch> batches;
  double tokens = 0;
  double flops = 0;
};

Work prepare(const Options& options, const Dataset& dataset, const Model& model, bool training) {
  Work work;
  if (training) {
    const std::int64_t batch = options.number("batch");
    for (std::int64_t begin = 0; begin < dataset.groups(); begin += batch) {
      std::vector<std::int64_t> groups;
      for (std::int64_t i = begin; i < std::min(begin + batch, dataset.groups()); ++i) groups.push_back(i);
      work.batches.push_back(pack_groups(dataset, groups));
    }
  } else {
    for (const std::vector<std::int64_t>& groups : plan_prediction(dataset, options.number("tokens")).micro_batches) {
      work.batches.push_back(pack_groups(dataset, groups));
    }
  }
  for (const PackedBatch& batch : work.batches) {
    std::vector<std::int64_t> lengths;
    for (std::int64_t s = 0; s < batch.sequences; ++s) {
      lengths.push_back(batch.cumulative_lengths[static_cast<std::size_t>(s + 1)] -
                        batch.cumulative_lengths[static_cast<std::size_t>(s)]);
    }
    work.tokens += static_cast<double>(batch.tokens);
    work.flops += (training ? 3 : 1) * model.forward_flops(lengths, training ? 0 : -1, batch.counted_labels);
  }
  return work;
}

void print_numbers(const char* name, const std::vector<double>& values) {
  std::printf("\"%s\": [", name);
  for (std::size_t i = 0; i < values.size(); ++i) std::printf("%s%.6g", i == 0 ? "" : ", ", values[i]);
  std::printf("], ");
}

int measure(const Options& options) {
  if (options.number("threads") > 0) set_thread_count(static_cast<int>(options.number("threads")));
  const bool training = options["mode"] == "train";
  require(training || options["mode"] == "encode", "--mode is encode or train");
  const DType type = options["precision"] == "bf16" ? DType::kBFloat16 : DType::kFloat32;
  XlmrConfig config = published_xlmr_config(options["size"]);
  if (options.number("layers") > 0) config.num_hidden_layers = options.number("layers");
  if (options.number("vocabulary") > 0) config.vocab_size = options.number("vocabulary");
  ModelOptions model_options;
  model_options.precision = type;
  model_options.training = training;
  if (training) model_options.heads = {{"", HeadKind::kSequence, 3}};
  const std::unique_ptr<Model> model = make_xlmr(config, model_options);
  const Dataset dataset = random_dataset(read_lengths(options["lengths"]), config.vocab_size);
  const Work work = prepare(options, dataset, *model, training);
  std::int64_t largest = 0;
  for (const PackedBatch& batch : work.batches) largest = std::max(largest, batch.tokens);
  model->reserve(largest, training);

  TrainingSettings settings;
  std::unique_ptr<Optimizer> optimizer;
  if (training) optimizer = std::make_unique<Optimizer>(model->parameters(), settings, model->word_gradient_is_sparse());
  Profile profile;
  std::vector<double> rates;
  std::vector<double> shares;
  std::vector<double> ceilings;
  std::uint32_t step = 0;
  for (std::int64_t repeat = -1; repeat < options.number("repeats"); ++repeat) {
    const double ceiling = product_rate(model->context(), type);
    if (repeat == 0 && options["profile"] == "1") model->context().profile = &profile;
    const Clock::time_point start = Clock::now();
    for (const PackedBatch& batch : work.batches) {
      if (training) {
        optimizer->prepare_rows(model->context(), batch);
        model->train_batch(batch, 1.0 / static_cast<double>(batch.counted_labels), {1, step++});
        optimizer->step(model->context(), settings.learning_rate);
      } else {
        model->encode(batch, model->layers(), Pooling::kMean);
      }
    }
    const double seconds = seconds_since(start);
    if (repeat < 0) continue;  // Warm-up: primitives are made, pages touched.
    rates.push_back(work.tokens / seconds);
    ceilings.push_back(ceiling);
    shares.push_back(work.flops / seconds / ceiling);
  }
  std::printf(
      "{\"program\": \"koine\", \"mode\": \"%s\", \"size\": \"%s\", \"precision\": \"%s\", \"threads\": %d, \"lengths\": "
      "\"%s\", "
      "\"batches\": %zu, \"tokens\": %.0f, ",
      options["mode"].c_str(), options["size"].c_str(), name_of(type), thread_count(), options["lengths"].c_str(),
      work.batches.size(), work.tokens);
  print_numbers("tokens_per_second", rates);
  print_numbers("ceiling_gflops", [&] {
    std::vector<double> scaled = ceilings;
    for (double& value : scaled) value /= 1e9;
    return scaled;
  }());
  print_numbers("share_of_ceiling", shares);
  std::printf("\"operations\": {");
  const char* separator = "";
  for (const auto& [name, entry] : profile.operations) {
    std::printf("%s\"%s\": {\"calls\": %lld, \"seconds\": %.6g, \"gflops\": %.4g, \"gigabytes_per_second\": %.4g}",
                separator, name.c_str(), static_cast<long long>(entry.calls), entry.seconds,
                entry.flops / entry.seconds / 1e9, entry.bytes / entry.seconds / 1e9);
    separator = ", ";
  }
  std::printf("}}\n");
  return 0;
}

}  // namespace
}  // namespace koine

int main(int count, char** arguments) {
  try {
    return koine::measure(koine::parse(count, arguments));
  } catch (const std::exception& error) {
    std::cerr << "bench_step: " << error.what() << "\n";
    return 1;
  }
}
