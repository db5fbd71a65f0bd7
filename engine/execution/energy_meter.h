#pragma once

// Energy, as the processor's own counters tell it: RAPL of Intel's and AMD's processors, through Linux's powercap
// (Documentation/power/powercap/powercap.rst). A counter is that of a whole package: what else runs there is in it, memory
// and devices are not. Most systems let only root read them.

#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace koine {

class EnergyMeter {
 public:
  /// `zones`: powercap's folder; of its zones the packages count (intel-rapl:N whose name is package-...). Counters begin
  /// anew after 65 kJ or more, so a thread looks at them every 20 seconds.
  explicit EnergyMeter(const std::filesystem::path& zones = "/sys/class/powercap");

  /// Joules of all packages since the meter was made; nothing where there is no counter or one cannot be read.
  std::optional<double> joules();
  /// Why joules() gives nothing; empty where it gives something.
  std::string reason();

 private:
  struct Counter {
    std::filesystem::path file;
    double range = 0;  ///< microjoules, from which it begins anew at 0
    double last = 0;
  };
  void fail(const std::filesystem::path& counter);
  void read();  ///< adds what the counters show more than before

  std::vector<Counter> counters_;
  double microjoules_ = 0;
  bool readable_ = true;
  std::string reason_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread reader_;
};

}  // namespace koine
