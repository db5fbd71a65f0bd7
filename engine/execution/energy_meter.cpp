#include "engine/execution/energy_meter.h"

#include <chrono>
#include <fstream>
#include <string>
#include <string_view>

namespace koine {

namespace fs = std::filesystem;

namespace {

constexpr std::chrono::seconds kBetweenReadings(20);

std::optional<double> read_number(const fs::path& path) {
  double value = 0;
  std::ifstream file(path);
  if (!(file >> value) || value < 0) return std::nullopt;
  return value;
}

bool is_package(const fs::path& zone) {
  constexpr std::string_view kZone = "intel-rapl:";  // AMD's too; intel-rapl-mmio shows the same packages once more
  const std::string folder = zone.filename().string();
  if (!folder.starts_with(kZone) || folder.find(':', kZone.size()) != std::string::npos) return false;
  std::string name;
  std::ifstream(zone / "name") >> name;
  return name.starts_with("package-");
}

}  // namespace

EnergyMeter::EnergyMeter(const fs::path& zones) {
  std::error_code none;
  for (const fs::directory_entry& zone : fs::directory_iterator(zones, none)) {
    if (!is_package(zone.path())) continue;
    const std::optional<double> now = read_number(zone.path() / "energy_uj");
    const std::optional<double> range = read_number(zone.path() / "max_energy_range_uj");
    if (!now || !range) fail(zone.path() / (now ? "max_energy_range_uj" : "energy_uj"));
    counters_.push_back({zone.path() / "energy_uj", range.value_or(0), now.value_or(0)});
  }
  if (counters_.empty()) reason_ = zones.string() + ": there is no counter of a processor's package";
  if (counters_.empty() || !readable_) return;
  reader_ = std::jthread([this](const std::stop_token& stop) {
    std::unique_lock<std::mutex> lock(mutex_);
    while (!wake_.wait_for(lock, stop, kBetweenReadings, [&] { return stop.stop_requested(); })) read();
  });
}

void EnergyMeter::read() {
  for (Counter& counter : counters_) {
    const std::optional<double> now = read_number(counter.file);
    if (!now) return fail(counter.file);
    microjoules_ += *now - counter.last + (*now < counter.last ? counter.range : 0);
    counter.last = *now;
  }
}

void EnergyMeter::fail(const fs::path& counter) {
  readable_ = false;
  reason_ = counter.string() + " cannot be read (most systems let only root)";
}

std::string EnergyMeter::reason() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return reason_;
}

std::optional<double> EnergyMeter::joules() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (readable_) read();
  if (counters_.empty() || !readable_) return std::nullopt;
  return microjoules_ * 1e-6;
}

}  // namespace koine
