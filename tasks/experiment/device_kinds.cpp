#include "tasks/experiment/device_kinds.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "kernels/common/check.h"

namespace koine {
namespace {

// Memory: what nvidia-smi reports (github.com/modal-labs/modal-client/pull/2797 lists most; RTX: reports of users), H200: what a program was
// found to get of one, 139 GiB. Power limits: those nvidia-smi shows of the SXM cards; L40S, RTX: the makers' data sheets. H200's rate: the
// slowest of products in bf16 on random data.
constexpr std::array<DeviceKind, 7> kKinds = {{
    {"h200", 139 * 1024, 700, 769},
    {"h100", 81559, 700, 0},
    {"a100-80gb", 81920, 400, 0},
    {"a100-40gb", 40960, 400, 0},
    {"l40s", 46068, 350, 0},
    {"rtx5090", 32607, 575, 0},
    {"rtx4090", 24564, 450, 0},
}};

constexpr std::int64_t kStep = 128;  // of token budgets

}  // namespace

std::span<const DeviceKind> device_kinds() { return kKinds; }

const DeviceKind& device_kind(const std::string& name) {
  std::string lower = name;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  std::string all;
  for (const DeviceKind& kind : kKinds) {
    if (kind.name == lower) return kind;
    all += (all.empty() ? "" : ", ") + std::string(kind.name);
  }
  fail_user("--device-kind ", name, ": koine knows ", all, "; of another say --device-memory");
}

double parse_bytes(const std::string& text, const std::string& what) {
  struct Unit {
    std::string_view name;
    double bytes;
  };
  constexpr double kKibi = 1024;
  constexpr std::array<Unit, 4> kUnits = {
      {{"GiB", kKibi * kKibi * kKibi}, {"MiB", kKibi * kKibi}, {"GB", 1e9}, {"MB", 1e6}}};
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  while (*end == ' ') ++end;
  const auto unit = std::find_if(kUnits.begin(), kUnits.end(), [&](const Unit& known) { return known.name == end; });
  require(end != text.c_str() && unit != kUnits.end() && std::isfinite(number) && number > 0, what, " ", text,
          ": a size is a number and GiB, MiB, GB or MB, such as 139GiB");
  return number * unit->bytes;
}

std::string format_bytes(double bytes) {
  constexpr double kKibi = 1024;
  const auto text = [](double value, int decimals, const char* unit) {
    char buffer[64];
    std::snprintf(buffer, sizeof buffer, "%.*f %s", decimals, value, unit);
    return std::string(buffer);
  };
  if (bytes >= kKibi * kKibi * kKibi) return text(bytes / (kKibi * kKibi * kKibi), 2, "GiB");
  if (bytes >= kKibi * kKibi) return text(bytes / (kKibi * kKibi), 1, "MiB");
  return text(bytes / kKibi, 1, "KiB");
}

// Memory is nearly a straight line over the tokens: where that meets `bytes` is tried first, so that few dry runs are made.
std::int64_t largest_token_budget(MemoryQuestion question, double bytes) {
  constexpr std::int64_t kMost = (std::int64_t{1} << 22) / kStep;
  struct Point {
    std::int64_t steps;
    double bytes;
  };
  const auto at = [&](std::int64_t steps) {
    question.tokens = steps * kStep;
    return Point{steps, estimate_memory(question).back().bytes};
  };
  const auto meeting = [&](const Point& a, const Point& b) {
    const double slope = std::max(1.0, (b.bytes - a.bytes) / static_cast<double>(b.steps - a.steps));
    return a.steps + static_cast<std::int64_t>(std::min<double>((bytes - a.bytes) / slope, kMost));
  };
  Point enough = at(1);
  if (enough.bytes > bytes) return 0;
  Point beyond = at(9);
  while (beyond.bytes <= bytes) {
    if (beyond.steps >= kMost) return kMost * kStep;
    const std::int64_t next = meeting(enough, beyond);
    enough = beyond;
    beyond = at(std::clamp(next + next / 8, 2 * enough.steps, std::max(kMost, 2 * enough.steps)));
  }
  for (bool halve = false; beyond.steps - enough.steps > 1; halve = !halve) {
    const std::int64_t line = std::clamp(meeting(enough, beyond), enough.steps + 1, beyond.steps - 1);
    const Point between = at(halve && beyond.steps - enough.steps > 4 ? (enough.steps + beyond.steps) / 2 : line);
    (between.bytes <= bytes ? enough : beyond) = between;
  }
  return enough.steps * kStep;
}

double kilowatt_hours(const HourlyCost& cost, double hours) {
  return hours * (kShareOfPowerLimit * cost.watts + kHostWatts) * kPowerUsageEffectiveness / 1000;
}

}  // namespace koine
