#include "engine/optimizer/moments.h"

#include "kernels/common/check.h"

namespace koine {
namespace {

constexpr const char* kFirstPrefix = "first_moment.";
constexpr const char* kSecondPrefix = "second_moment.";

std::size_t bytes_of(const ParameterTable& table) { return static_cast<std::size_t>(table.elements()) * sizeof(float); }

std::size_t bytes_of(const ParameterSpec& spec) { return static_cast<std::size_t>(spec.count()) * sizeof(float); }
std::size_t begin_of(const ParameterSpec& spec) { return static_cast<std::size_t>(spec.offset) * sizeof(float); }

}  // namespace

std::vector<ParameterStore::Footprint> Moments::footprint(const ParameterTable& table) {
  return {{"moments", 2 * bytes_of(table)}};
}

Moments::Moments(const ParameterTable& table, Device device)
    : table_(table),
      range_{0, table.elements()},
      first_(Buffer::zeroed(device, "first moments", bytes_of(table))),
      second_(Buffer::zeroed(device, "second moments", bytes_of(table))) {}

std::vector<TensorSource> Moments::tensors() const {
  std::vector<TensorSource> sources;
  const auto add = [&](const char* prefix, const Buffer& moments) {
    for (const ParameterSpec& spec : table_.specs()) {
      const auto read = [&](void* to) { moments.read(to, bytes_of(spec), begin_of(spec)); };
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
      moments.write(file.read_float(name).data(), bytes_of(spec), begin_of(spec));
    }
  };
  take(kFirstPrefix, first_);
  take(kSecondPrefix, second_);
}

}  // namespace koine
