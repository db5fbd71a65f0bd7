#include "bench/operations/table.h"

#include <algorithm>
#include <cstdio>

#include "bench/operations/measure.h"
#include "kernels/common/check.h"

namespace koine::bench {
namespace {

using Run = benchmark::BenchmarkReporter::Run;

std::string padded(const char* format, double value, int width) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return std::string(static_cast<std::size_t>(std::max(0, width - static_cast<int>(std::string(text).size()))), ' ') + text;
}

std::vector<double> counter(const std::vector<Run>& runs, const std::string& name) {
  std::vector<double> values;
  for (const Run& run : runs) {
    if (run.run_type != Run::RT_Iteration || run.error_occurred) continue;
    const auto found = run.counters.find(name);
    if (found != run.counters.end()) values.push_back(found->second.value);
  }
  return values;
}

std::string share(const std::vector<Run>& runs) {
  const std::vector<double> product = counter(runs, "of_product"), copy = counter(runs, "of_copy");
  if (product.empty() || copy.empty()) return "";
  const double of_product = median(product), of_copy = median(copy);
  return padded("%.0f", 100 * std::max(of_product, of_copy), 6) + (of_product > of_copy ? " % of product" : " % of copy");
}

}  // namespace

bool TableReporter::ReportContext(const Context& /*context*/) {
  std::ostream& out = GetOutputStream();
  if (plan().ceilings && !plan().tiny) {
    for (const auto& [name, value] : *benchmark::internal::GetGlobalContext()) out << name << " " << value << "\n";
  }
  out << "  variant      microseconds   quartiles                     : first    TFLOP/s      GB/s   share\n";
  return true;
}

void TableReporter::ReportRuns(const std::vector<Run>& runs) {
  if (runs.empty()) return;
  std::ostream& out = GetOutputStream();
  const std::string& name = runs.front().run_name.function_name;
  const std::size_t slash = name.rfind('/');
  if (name.substr(0, slash) != case_) {
    case_ = name.substr(0, slash);
    first_ = 0;
    out << case_ << "\n";
  }
  std::string variant = name.substr(slash + 1);
  variant.resize(std::max<std::size_t>(12, variant.size()), ' ');
  out << "  " << variant << " ";
  const std::vector<double> times = counter(runs, "us");
  if (times.empty()) {
    out << (runs.front().error_occurred ? runs.front().error_message : runs.front().report_label) << std::endl;
    return;
  }
  const double taken = median(times);
  if (first_ == 0) first_ = taken;
  const std::vector<double> in_turns = counter(runs, "to_first");
  const std::string range =
      padded("%.1f", median(counter(runs, "us_lower")), 1) + " to " + padded("%.1f", median(counter(runs, "us_upper")), 1);
  out << padded("%.1f", taken, 12) << "   " << range
      << std::string(std::max<std::size_t>(27, range.size()) - range.size(), ' ')
      << padded("%.2f", in_turns.empty() ? first_ / taken : median(in_turns), 10)
      << padded("%.3f", median(counter(runs, "TFLOP/s")), 11) << padded("%.1f", median(counter(runs, "GB/s")), 10)
      << share(runs) << std::endl;
}

}  // namespace koine::bench
