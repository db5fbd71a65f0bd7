#pragma once

// Devices that one buys hours of, and what their hours cost: so that memory, time, energy and money of a run are known before it.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "tasks/experiment/estimate.h"

namespace koine {

struct DeviceKind {
  std::string_view name;
  double memory_mib = 0;  ///< all of it, as nvidia-smi says; a CUDA context and the driver take a part (kDeviceReserve)
  double watts = 0;       ///< power limit
  double tflops = 0;      ///< of bf16 products as measured, not the data sheet's; 0: no measured figure at hand
};
std::span<const DeviceKind> device_kinds();
/// UserError naming all for another name.
const DeviceKind& device_kind(const std::string& name);

/// Bytes of a device's memory that a run does not get: the context, code and the allocator's rests. Ours to choose, on the safe side.
inline constexpr double kDeviceReserve = 1024.0 * 1024 * 1024;

/// "139GiB", "80 GB", "512MiB": bytes. UserError naming `what` for anything else.
double parse_bytes(const std::string& text, const std::string& what);
/// "1.25 GiB", "340.0 MiB", "0.5 KiB".
std::string format_bytes(double bytes);

/// The most tokens in memory at a time, a multiple of 128, with which `question` stays within `bytes`; 0: not even 128 do.
std::int64_t largest_token_budget(MemoryQuestion question, double bytes);

/// What hours of a device cost. Energy of one device and its share of the host:
///
///     kWh = hours * (kShareOfPowerLimit * watts + kHostWatts) * kPowerUsageEffectiveness / 1000
///
/// All three constants are assumptions, and named where figures made with them are shown.
struct HourlyCost {
  double watts = 0;  ///< power limit of the device; 0: unknown
  double price = 0;  ///< money for a device's hour; 0: not asked for
};
inline constexpr double kShareOfPowerLimit = 0.85;
inline constexpr double kHostWatts = 300;
inline constexpr double kPowerUsageEffectiveness = 1.2;
double kilowatt_hours(const HourlyCost& cost, double hours);

}  // namespace koine
