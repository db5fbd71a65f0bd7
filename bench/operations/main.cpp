#include <benchmark/benchmark.h>

#include <cstdlib>
#include <iostream>
#include <string>

#include "bench/operations/ceilings.h"
#include "bench/operations/measure.h"

namespace koine::bench {
namespace {

constexpr const char* kHelp = R"(bench_operations: every variant of every operation, on the real shapes of XLM-R

  --device cpu|cuda   what to measure (cpu)
  --tiny              shapes that take no time, to see that everything runs; measures nothing
  --repetitions N     of each benchmark, on operands of its own (cuda: 3)
  --iterations N      launches of a repetition (cuda: 20)
  --benchmark_filter=REGEX, --benchmark_list_tests, --benchmark_out=FILE --benchmark_out_format=json ...
                      Google Benchmark's own options; its --help follows

Names are operation/case/model/tokens/type/variant; the label says the true shapes, and behind "| key" which row of the
tuning table they belong to. Rates come from the operation's own FLOPs and bytes. of_product is the share of a large matrix
product's rate in the same type, by the fastest variant there is, of_copy that of a large copy's bandwidth, both measured
at the start of this run on the same machine. Operands are random numbers.

On the CPU: XLM-R base and large, all processors the process may use, Google Benchmark's own number of iterations. On a
device: base, large, XL, XXL; before every launch the cache is flushed and the time is that between two events around the
launch; the counters are of the median launch of a repetition, us_least and us_most its extremes, and Google Benchmark
adds median and spread over the repetitions.

Where a build's kernels run on the CPU, CUDA's variants run with --tiny only. Names then begin with smoke/.
The exit code is 0, 1 where something failed or no benchmark matches the filter, 2 for wrong options.

)";

void note_ceilings() {
  for (const auto& [name, value] : machine().description()) benchmark::AddCustomContext(name, value);
  if (plan().tiny && machine().measures()) benchmark::AddCustomContext("not_a_measurement", "tiny shapes");
  if (plan().tiny) return;
  for (const DType type : {DType::kFloat32, DType::kBFloat16}) {
    const Ceiling& ceiling = product_ceiling(type);
    benchmark::AddCustomContext(concatenate("product_", name_of(type), "_TFLOP/s"), std::to_string(ceiling.rate * 1e-12));
    benchmark::AddCustomContext(concatenate("product_", name_of(type), "_variant"), ceiling.variant);
  }
  benchmark::AddCustomContext("copy_GB/s", std::to_string(copy_ceiling() * 1e-9));
}

/// What runs in front of Google Benchmark.
struct Options {
  std::string device = "cpu";
  bool tiny = false;
  bool help = false;
  bool list = false;  ///< names only: nothing is measured
  int repetitions = 0;
  int iterations = 0;
};

/// Takes this program's own options out of the command line.
Options parse(int& count, char** arguments) {
  Options options;
  int kept = 1;
  for (int i = 1; i < count; ++i) {
    const std::string option = arguments[i];
    const auto value = [&] {
      require(i + 1 < count, "option ", option, " needs a value");
      return std::string(arguments[++i]);
    };
    const auto positive = [&] {
      const std::string text = value();
      char* end = nullptr;
      const long number = std::strtol(text.c_str(), &end, 10);
      require(*end == '\0' && number > 0 && number < 1000000, "option ", option, ": ", text,
              " is no number from 1 to 999999");
      return static_cast<int>(number);
    };
    if (option == "--device") {
      options.device = value();
    } else if (option == "--tiny") {
      options.tiny = true;
    } else if (option == "--repetitions") {
      options.repetitions = positive();
    } else if (option == "--iterations") {
      options.iterations = positive();
    } else {
      options.help = options.help || option == "--help" || option == "-h";
      options.list = options.list || option.starts_with("--benchmark_list_tests");
      arguments[kept++] = arguments[i];
    }
  }
  count = kept;
  require(options.device == "cpu" || options.device == "cuda", "--device is cpu or cuda");
  require(options.device == "cpu" || options.tiny || options.help || options.list || !cuda::on_host(),
          "this build runs CUDA kernels on the CPU: only with --tiny");
  return options;
}

int run(int argc, char** argv) {
  const Options options = parse(argc, argv);
  if (options.help) std::cout << kHelp << std::flush;
  benchmark::Initialize(&argc, argv);  // ends the program after --help
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  set_plan(options.device == "cpu" ? Device::kCpu : Device::kCuda, options.tiny, options.repetitions, options.iterations);
  add_all();
  if (!options.list) note_ceilings();
  return benchmark::RunSpecifiedBenchmarks() > 0 ? 0 : 1;
}

}  // namespace
}  // namespace koine::bench

int main(int argc, char** argv) {
  try {
    return koine::bench::run(argc, argv);
  } catch (const koine::UserError& error) {
    std::cerr << "bench_operations: " << error.what() << "\n";
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "bench_operations: " << error.what() << "\n";
    return 1;
  }
}
