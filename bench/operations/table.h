#pragma once

// What bench_operations prints unless Google Benchmark's own format is asked for.

#include <benchmark/benchmark.h>

#include <ostream>
#include <string>
#include <vector>

namespace koine::bench {

/// A paragraph a case, a line a variant: microseconds of the median launch and the quartiles, how many times as fast as the
/// paragraph's first variant, rates, and the larger of the shares of the product's and the copy's rate. Medians of them over
/// repetitions.
class TableReporter : public benchmark::BenchmarkReporter {
 public:
  explicit TableReporter(std::ostream& output) { SetOutputStream(&output); }
  bool ReportContext(const Context& context) override;
  void ReportRuns(const std::vector<Run>& runs) override;

 private:
  std::string case_;
  double first_ = 0;  ///< microseconds of the case's first variant
};

}  // namespace koine::bench
