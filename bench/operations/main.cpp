#include <benchmark/benchmark.h>

#include <cstdlib>
#include <iostream>
#include <string>

#include "bench/operations/ceilings.h"
#include "bench/operations/measure.h"
#include "bench/operations/table.h"
#include "engine/files/comma_list.h"

namespace koine::bench {
namespace {

constexpr const char* kHelp = R"(bench_operations: every variant of every operation, on the real shapes of XLM-R

  --filter REGEX      only benchmarks whose name it is found in; -REGEX: all others
  --list              their names, and measure nothing
  --variants A,B      only these variants, in turns of milliseconds on the same machine: for ratios that can be believed;
                      "reference" is measured where it is named
  --shape KEY=N,...   a batch and a model of your own: tokens (1024), hidden (768), feed_forward (4 times hidden), heads (hidden
                      by 64), length of sequences in attention, vocabulary, elements of the optimizer's tensors
  --device cpu|cuda   what to measure (cpu)
  --repetitions N     of each benchmark, on operands of its own (cuda: 3)
  --iterations N      launches of a repetition (cuda: 20), or turns (20)
  --no-ceilings       starts at once: no shares of the product's and the copy's rate
  --tiny              shapes that take no time, to see that everything runs; measures nothing
  --benchmark_...     Google Benchmark's own options, to write JSON with --benchmark_out=FILE, or another format than the table
                      with --benchmark_format=console; --help-benchmark lists them

    bench_operations --filter '^layernorm_forward.*/bf16/'
    bench_operations --filter '^gemm/feed_forward_1_forward/' --shape tokens=500,hidden=1000,feed_forward=3000,heads=10 --variants reference,packed

Names are operation/case/model/tokens/type/shape/variant. The table has for each variant the microseconds of the median launch
and the quartiles, how many times as fast it is as the first variant, its rates from the operation's own FLOPs and bytes, and
the larger of two shares: of a large matrix product's rate in the same type, by the fastest variant there is, and of a large
copy's bandwidth, both measured at the start of this run on the same machine. Operands are random numbers.

On the CPU: XLM-R base and large, all processors the process may use, Google Benchmark's own number of iterations. On a
device: base, large, XL, XXL; before every launch the cache is flushed and the time is that between two events around the
launch; the counters are of the median launch of a repetition, us_lower, us_upper, us_least and us_most its quartiles and
extremes, to_first the median ratio of turns, and Google Benchmark
adds median and spread over the repetitions. Labels in JSON say, behind "| key", which row of the tuning table a shape is.

Where a build's kernels run on the CPU, CUDA's variants run with --tiny only. Names then begin with smoke/.
The exit code is 0, 1 where something failed or no benchmark matches the filter, 2 for wrong options.
)";

void note_ceilings() {
  for (const auto& [name, value] : machine().description()) benchmark::AddCustomContext(name, value);
  if (plan().tiny && machine().measures()) benchmark::AddCustomContext("not_a_measurement", "tiny shapes");
  if (plan().tiny || !plan().ceilings) return;
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
  bool benchmark_help = false;
  bool list = false;    ///< names only: nothing is measured
  bool format = false;  ///< one of Google Benchmark's
  bool ceilings = true;
  std::string filter, shape, variants;
  int repetitions = 0;
  int iterations = 0;
};

/// Takes this program's own options out of the command line.
Options parse(int& count, char** arguments) {
  static char list_tests[] = "--benchmark_list_tests=true";
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
    } else if (option == "--no-ceilings") {
      options.ceilings = false;
    } else if (option == "--filter") {
      options.filter = value();
    } else if (option == "--shape") {
      options.shape = value();
    } else if (option == "--variants") {
      options.variants = value();
    } else if (option == "--list") {
      options.list = true;
      arguments[kept++] = list_tests;
    } else if (option == "--repetitions") {
      options.repetitions = positive();
    } else if (option == "--iterations") {
      options.iterations = positive();
    } else {
      options.benchmark_help = options.benchmark_help || option == "--help-benchmark";
      options.help = options.help || option == "--help" || option == "-h";
      options.list = options.list || option.starts_with("--benchmark_list_tests");
      options.format = options.format || option.starts_with("--benchmark_format");
      arguments[kept++] = arguments[i];
    }
  }
  count = kept;
  require(options.device == "cpu" || options.device == "cuda", "--device is cpu or cuda");
  require(options.device == "cpu" || options.tiny || options.help || options.list || !cuda::on_host(),
          "this build runs CUDA kernels on the CPU: only with --tiny");
  return options;
}

Plan plan_of(const Options& options) {
  Plan plan = plan_for(options.device == "cpu" ? Device::kCpu : Device::kCuda, options.tiny);
  plan.repetitions = options.repetitions, plan.iterations = options.iterations, plan.ceilings = options.ceilings;
  plan.variants = split_commas(options.variants);
  if (!options.shape.empty()) set_shape(plan, options.shape);
  return plan;
}

int run(int argc, char** argv) {
  const Options options = parse(argc, argv);
  if (options.help) {
    std::cout << kHelp;
    return 0;
  }
  if (options.benchmark_help) {
    benchmark::PrintDefaultHelp();
    return 0;
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  if (!options.filter.empty()) benchmark::SetBenchmarkFilter(options.filter);
  set_plan(plan_of(options));
  add_all();
  if (!options.list) note_ceilings();
  TableReporter table(std::cout);
  const bool own = !options.format && !options.list;
  return (own ? benchmark::RunSpecifiedBenchmarks(&table) : benchmark::RunSpecifiedBenchmarks()) > 0 ? 0 : 1;
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
