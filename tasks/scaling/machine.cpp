#include "tasks/scaling/machine.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/experiment/device_kinds.h"
#include "tasks/experiment/toml_section.h"

namespace koine {
namespace {

constexpr double kMicrosecond = 1e-6;
constexpr double kGigabyte = 1e9;

/// What differs between kinds; the header says where from.
struct KindOfNode {
  std::string_view name;
  double nvlink_rate;
  double rail_rate;
  double multicast_rate;
  double memory_rate;
};
constexpr double kShareOfLink = 0.9;
constexpr double kMulticastOf8 = 480.70 * kGigabyte / 1.75;
constexpr std::array<KindOfNode, 4> kNodes = {{
    {"h200", 18 * 20.6 * kGigabyte, kShareOfLink * 50 * kGigabyte, kMulticastOf8, 4.3e12},
    {"h100", 18 * 20.6 * kGigabyte, kShareOfLink * 50 * kGigabyte, kMulticastOf8, 0.9 * 3.35e12},
    {"a100-80gb", 12 * 20.0 * kGigabyte, kShareOfLink * 25 * kGigabyte, 0, 0.9 * 2.039e12},
    {"a100-40gb", 12 * 20.0 * kGigabyte, kShareOfLink * 25 * kGigabyte, 0, 0.9 * 1.555e12},
}};

constexpr double kLargestNumber = 1e9;  ///< of any number of a file: beyond it is a slip of units

void read_level(TomlSection level, LinkLevel& link) {
  link.rate = kGigabyte * level.number("gigabytes_per_second", link.rate / kGigabyte, 0, kLargestNumber);
  link.ring_step = kMicrosecond * level.number("ring_step_microseconds", link.ring_step / kMicrosecond, 0, kLargestNumber);
  link.tree_step = kMicrosecond * level.number("tree_step_microseconds", link.tree_step / kMicrosecond, 0, kLargestNumber);
  level.finish();
}

}  // namespace

Machine machine_of(const std::string& kind) {
  const DeviceKind& device = device_kind(kind);
  const auto found =
      std::find_if(kNodes.begin(), kNodes.end(), [&](const KindOfNode& one) { return one.name == device.name; });
  std::string known;
  for (const KindOfNode& one : kNodes) known += (known.empty() ? "" : ", ") + std::string(one.name);
  require(found != kNodes.end(), "--device-kind ", kind, ": how such devices are linked is known of ", known,
          "; of another say it in a file, --parameters FILE");
  Machine machine;
  machine.name = device.name;
  machine.node = {found->nvlink_rate, 3.4 * kMicrosecond, 4.0 * kMicrosecond};
  machine.network = {found->rail_rate, 14.0 * kMicrosecond, 14.0 * kMicrosecond};
  machine.base = 8.4 * kMicrosecond;
  machine.tree_share = 0.92;
  machine.pat_share = 0.75;
  machine.multicast_rate = found->multicast_rate;
  machine.multicast_latency = 25 * kMicrosecond;
  machine.product_rate = device.tflops * 1e12;
  machine.memory_rate = found->memory_rate;
  machine.slowdown = 0.15;
  machine.jitter = 0.002;
  return machine;
}

Machine read_machine(const std::filesystem::path& file, Machine machine) {
  require(std::filesystem::is_regular_file(file), "--parameters: there is no file ", file.string());
  TomlSection root = TomlSection::parse(read_file(file), file.string());
  machine.name = root.text("name", machine.name);
  machine.devices_per_node = root.integer("devices_per_node", machine.devices_per_node, 1, 1 << 20);
  machine.base = kMicrosecond * root.number("base_microseconds", machine.base / kMicrosecond, 0, kLargestNumber);
  machine.tree_share = root.number("tree_share", machine.tree_share, 0.01, 1);
  machine.pat_share = root.number("pat_share", machine.pat_share, 0.01, 1);
  machine.product_rate = 1e12 * root.number("product_teraflops", machine.product_rate / 1e12, 0, kLargestNumber);
  machine.memory_rate =
      kGigabyte * root.number("memory_gigabytes_per_second", machine.memory_rate / kGigabyte, 0, kLargestNumber);
  machine.slowdown = root.number("slowdown", machine.slowdown, 0, 10);
  machine.jitter = root.number("jitter", machine.jitter, 0, 1);
  read_level(root.table("node"), machine.node);
  read_level(root.table("network"), machine.network);
  TomlSection multicast = root.table("multicast");
  machine.multicast_rate =
      kGigabyte * multicast.number("gigabytes_per_second", machine.multicast_rate / kGigabyte, 0, kLargestNumber);
  machine.multicast_latency =
      kMicrosecond * multicast.number("microseconds", machine.multicast_latency / kMicrosecond, 0, kLargestNumber);
  multicast.finish();
  root.finish();
  require_usable(machine, file.string());
  return machine;
}

void require_usable(const Machine& machine, const std::string& where) {
  require(machine.node.rate > 0 || machine.devices_per_node == 1, where,
          ": key node.gigabytes_per_second is missing: how fast the devices of a node are linked");
  require(machine.node.rate > 0 || machine.network.rate > 0, where,
          ": key network.gigabytes_per_second is missing: how fast nodes of one device are linked");
  require(machine.memory_rate > 0, where, ": key memory_gigabytes_per_second is missing");
}

}  // namespace koine
