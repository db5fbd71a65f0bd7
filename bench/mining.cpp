// Mining of translations beside the plain matrix product of the same size, in turns, on random unit vectors.
//
//   bench_mining [--source N] [--target N] [--width N] [--repeats N] [--threads N]
//
// The product is gemm() of the two sets of vectors, in as few calls as keep its result below 1 GiB; mining is all of it,
// neighbours of both sides, margin and choice (tasks/scorers/bitext_mining.h). One JSON object on standard output: of every
// repeat the seconds that passed and those of the processor, which others on the machine disturb less; GFLOP/s of the fastest
// of either, their ratio, and the median over the repeats of product's to mining's processor time; the memory that the process
// had before and at most while it mined the first time, and what the matrix of all products would have taken. Defaults are
// small: 200,000 x 200,000 of 1024 is BUCC's largest pair, and 82 TFLOP.

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/support/machine.h"
#include "kernels/common/own_scratch.h"
#include "kernels/common/parallel.h"
#include "kernels/gemm/gemm.h"
#include "kernels/random/philox.h"
#include "tasks/scorers/bitext_mining.h"

namespace koine::bench {
namespace {

std::map<std::string, std::int64_t> parse(int count, char** arguments) {
  std::map<std::string, std::int64_t> options = {
      {"--source", 8192}, {"--target", 8192}, {"--width", 1024}, {"--repeats", 5}, {"--threads", 0}};
  for (int i = 1; i < count; i += 2) {
    require(options.contains(arguments[i]) && i + 1 < count, "unknown option, or one without a value: ", arguments[i]);
    options[arguments[i]] = std::stoll(arguments[i + 1]);
    require(options[arguments[i]] > 0, arguments[i], " must be above 0");
  }
  return options;
}

std::vector<float> unit_vectors(std::int64_t rows, std::int64_t width, std::uint32_t seed) {
  std::vector<float> vectors(static_cast<std::size_t>(rows * width));
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    const auto draw = philox({static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(i >> 32), 0, 0}, {seed, 1});
    vectors[i] = static_cast<float>(draw[0]) / 4294967296.0f - 0.5f;
  }
  normalise_rows(vectors, width);
  return vectors;
}

/// Seconds of the product, all of it.
class Product {
 public:
  Product(const std::vector<float>& source, const std::vector<float>& target, std::int64_t width)
      : source_(source), target_(target), width_(width), columns_(std::ssize(target) / width) {
    rows_ = std::clamp<std::int64_t>((std::int64_t{1} << 28) / columns_, 1, std::ssize(source) / width);
    result_.resize(static_cast<std::size_t>(rows_ * columns_));
    scratch_ = OwnScratch(Context{}, "product", [&](const Context& context) { gemm(context, block(0)); });
  }
  void run() {
    const Context context = scratch_.in(Context{});
    for (std::int64_t row = 0; row < std::ssize(source_) / width_; row += rows_) gemm(context, block(row));
  }

 private:
  GemmArguments block(std::int64_t row) {
    GemmArguments product;
    product.m = std::min(rows_, std::ssize(source_) / width_ - row);
    product.n = product.ldc = columns_;
    product.k = product.lda = product.ldb = width_;
    product.a = source_.data() + row * width_;
    product.b = target_.data();
    product.transpose_b = true;
    product.c = result_.data();
    return product;
  }

  const std::vector<float>& source_;
  const std::vector<float>& target_;
  std::int64_t width_;
  std::int64_t columns_;
  std::int64_t rows_ = 0;
  std::vector<float> result_;
  OwnScratch scratch_;
};

/// Of every repeat.
struct Seconds {
  std::vector<double> passed;
  std::vector<double> processor;  ///< of all threads together
  double best() const { return *std::min_element(passed.begin(), passed.end()); }
};

double processor_seconds() {
  timespec now = {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

template <class Body>
void measure(Seconds& seconds, const Body& body) {
  const auto start = std::chrono::steady_clock::now();
  const double processor = processor_seconds();
  body();
  seconds.processor.push_back(processor_seconds() - processor);
  seconds.passed.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
}

double median_ratio(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < a.size(); ++i) ratios.push_back(a[i] / b[i]);
  std::sort(ratios.begin(), ratios.end());
  return (ratios[(ratios.size() - 1) / 2] + ratios[ratios.size() / 2]) / 2;
}

double peak_memory_bytes() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024;
}

int run(int count, char** arguments) {
  auto options = parse(count, arguments);
  if (options["--threads"] > 0) set_thread_count(static_cast<int>(options["--threads"]));
  const std::int64_t width = options["--width"];
  const std::vector<float> source = unit_vectors(options["--source"], width, 1);
  const std::vector<float> target = unit_vectors(options["--target"], width, 2);
  Seconds mining, product;
  std::size_t pairs = 0;
  const auto mine = [&] { pairs = mine_bitext(source, target, width, {}).size(); };
  const double before = peak_memory_bytes();
  measure(mining, mine);
  const double memory = peak_memory_bytes();  // before the product's result
  Product plain(source, target, width);
  measure(product, [&] { plain.run(); });
  for (std::int64_t repeat = 1; repeat < options["--repeats"]; ++repeat) {
    measure(mining, mine);
    measure(product, [&] { plain.run(); });
  }
  const double flops = 2.0 * static_cast<double>(source.size()) * static_cast<double>(options["--target"]);
  const nlohmann::ordered_json result = {
      {"machine", Machine(Device::kCpu).description()},
      {"source", options["--source"]},
      {"target", options["--target"]},
      {"width", width},
      {"pairs", pairs},
      {"product_seconds", product.passed},
      {"mining_seconds", mining.passed},
      {"product_processor_seconds", product.processor},
      {"mining_processor_seconds", mining.processor},
      {"product_gflops", flops / product.best() * 1e-9},
      {"mining_gflops", flops / mining.best() * 1e-9},
      {"ratio", product.best() / mining.best()},
      {"processor_ratio", median_ratio(product.processor, mining.processor)},
      {"memory_before_bytes", before},
      {"peak_memory_bytes", memory},
      {"matrix_bytes", 4.0 * static_cast<double>(options["--source"]) * static_cast<double>(options["--target"])}};
  std::cout << result.dump(1) << std::endl;
  return 0;
}

}  // namespace
}  // namespace koine::bench

int main(int count, char** arguments) {
  try {
    return koine::bench::run(count, arguments);
  } catch (const std::exception& error) {
    std::cerr << "bench_mining: " << error.what() << std::endl;
    return 1;
  }
}
