#include "engine/optimizer/moments.h"

#include <algorithm>

#include "kernels/common/check.h"

namespace koine {
namespace {

constexpr const char* kFirstPrefix = "first_moment.";
constexpr const char* kSecondPrefix = "second_moment.";

std::size_t bytes_of(const ElementRange& range) { return static_cast<std::size_t>(range.count()) * sizeof(float); }

ElementRange range_of(const ParameterTable& table, const Shards* shards) {
  return shards == nullptr ? ElementRange{0, table.elements()} : shards->range();
}

}  // namespace

std::vector<ParameterStore::Footprint> Moments::footprint(const ParameterTable& table, int ranks) {
  std::size_t most = 0;
  for (const ElementRange& range : cut_into_shards(table, ranks)) most = std::max(most, bytes_of(range));
  return {{"moments", 2 * most}};
}

Moments::Moments(const ParameterTable& table, Device device, const Shards* shards)
    : table_(table),
      shards_(shards),
      range_(range_of(table, shards)),
      first_(Buffer::zeroed(device, "first moments", bytes_of(range_))),
      second_(Buffer::zeroed(device, "second moments", bytes_of(range_))) {}

std::vector<TensorSource> Moments::tensors() const {
  std::vector<TensorSource> sources;
  const auto add = [&](const char* prefix, const Buffer& moments) {
    for (const ParameterSpec& spec : table_.specs()) {
      const auto read = [&](void* to) {
        if (shards_ != nullptr) return gather_parameter(*shards_, moments.device(), spec, sizeof(float), moments.data(), to);
        moments.read(to, static_cast<std::size_t>(spec.count()) * sizeof(float),
                     static_cast<std::size_t>(spec.offset) * sizeof(float));
      };
      sources.push_back({prefix + spec.name, "F32", spec.shape, nullptr, read});
    }
  };
  add(kFirstPrefix, first_);
  add(kSecondPrefix, second_);
  return sources;
}

void Moments::read(const SafetensorsFile& file) {
  const auto take = [&](const char* prefix, Buffer& moments) {
    for (const ParameterSpec& spec : table_.specs()) {
      const std::string name = prefix + spec.name;
      require(file.entry(name).shape == spec.shape, file.path().string(), ": tensor ", name,
              " has another shape than this model's; resume with the model the run was started with");
      const ElementRange part = part_of(spec, range_);
      if (part.count() == 0) continue;
      moments.write(file.read_float(name).data() + part.begin, bytes_of(part),
                    static_cast<std::size_t>(spec.offset + part.begin - range_.begin) * sizeof(float));
    }
  };
  take(kFirstPrefix, first_);
  take(kSecondPrefix, second_);
}

}  // namespace koine
