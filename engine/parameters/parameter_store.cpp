#include "engine/parameters/parameter_store.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "kernels/cast/cast.h"
#include "kernels/common/check.h"
#include "kernels/common/parallel.h"
#include "kernels/random/random.h"

namespace koine {
namespace {

// Elements one thread copies at a time.
constexpr std::int64_t kGrain = 1 << 16;

// FNV-1a, 64 bit, names a parameter's stream of random numbers: the same value on every machine, which std::hash does not
// promise.
std::uint64_t hash_of(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char character : text) hash = (hash ^ static_cast<unsigned char>(character)) * 0x100000001b3u;
  return hash;
}

std::size_t bytes_of(const ParameterTable& table, DType type) {
  return static_cast<std::size_t>(table.elements()) * size_of(type);
}

}  // namespace

std::vector<ParameterStore::Footprint> ParameterStore::footprint(const ParameterTable& table, DType compute_type,
                                                                 bool training) {
  const std::size_t master = bytes_of(table, DType::kFloat32);
  std::vector<Footprint> parts = {{"master weights", master}};
  if (compute_type != DType::kFloat32) parts.push_back({"working weights", bytes_of(table, compute_type)});
  if (training) parts.push_back({"gradients", master});
  return parts;
}

ParameterStore::ParameterStore(ParameterTable table, DType compute_type, bool training, Device device)
    : table_(std::move(table)), compute_type_(compute_type), device_(device) {
  check(device == Device::kCpu || compute_type != DType::kFloat64, "fp64 is the references', which run on the CPU");
  const std::size_t bytes = bytes_of(table_, DType::kFloat32);
  master_ = Buffer::zeroed(device, "master weights", bytes);
  if (compute_type != DType::kFloat32) working_ = Buffer::zeroed(device, "working weights", bytes_of(table_, compute_type));
  if (training) gradient_ = Buffer::zeroed(device, "gradients", bytes);
}

float* ParameterStore::at(const Buffer& values, int index) const {
  return values.empty() ? nullptr : values.as<float>() + table_[index].offset;
}

const void* ParameterStore::working(int index) const {
  const std::size_t offset = static_cast<std::size_t>(table_[index].offset);
  if (working_.empty()) return master_.as<float>() + offset;
  return working_.as<std::byte>() + offset * size_of(compute_type_);
}

BFloat16* ParameterStore::working_bfloat16(int index) {
  if (compute_type_ != DType::kBFloat16) return nullptr;
  return working_.as<BFloat16>() + table_[index].offset;
}

void ParameterStore::initialise(std::uint32_t seed, double standard_deviation, bool heads_only) {
  for (int index = 0; index < table_.size(); ++index) {
    if (!heads_only || table_[index].head) initialise_one(index, seed, standard_deviation);
  }
}

void ParameterStore::initialise_one(int index, std::uint32_t seed, double standard_deviation) {
  const ParameterSpec& spec = table_[index];
  std::vector<float> staged(device_ == Device::kCuda ? static_cast<std::size_t>(spec.count()) : 0);
  float* values = device_ == Device::kCuda ? staged.data() : master(index);
  switch (spec.initialisation) {
    case Initialisation::kNormal:
      fill_normal(values, spec.count(), 0, standard_deviation, seed, hash_of(spec.name));
      break;
    case Initialisation::kZero:
      std::fill_n(values, spec.count(), 0.0f);
      break;
    case Initialisation::kOne:
      std::fill_n(values, spec.count(), 1.0f);
      break;
    case Initialisation::kHundred:
      std::fill_n(values, spec.count(), 100.0f);
      break;
  }
  if (device_ == Device::kCuda) write(Values::kMaster, index, values);
}

const Buffer& ParameterStore::buffer(Values values) const {
  check(values == Values::kMaster || training(), "parameters that are not trained have no gradients");
  return values == Values::kMaster ? master_ : gradient_;
}

Buffer& ParameterStore::buffer(Values values) { return const_cast<Buffer&>(std::as_const(*this).buffer(values)); }

void ParameterStore::read(Values values, int index, float* to) const {
  const ParameterSpec& spec = table_[index];
  buffer(values).read(to, static_cast<std::size_t>(spec.count()) * sizeof(float),
                      static_cast<std::size_t>(spec.offset) * sizeof(float));
}

void ParameterStore::write(Values values, int index, const float* from) {
  const ParameterSpec& spec = table_[index];
  buffer(values).write(from, static_cast<std::size_t>(spec.count()) * sizeof(float),
                       static_cast<std::size_t>(spec.offset) * sizeof(float));
}

std::vector<float> ParameterStore::read_all(Values values) const {
  std::vector<float> all(static_cast<std::size_t>(table_.elements()));
  buffer(values).read(all.data(), all.size() * sizeof(float));
  return all;
}

void ParameterStore::write_all(Values values, const std::vector<float>& from) {
  check(std::ssize(from) == table_.elements(), "values of another model");
  buffer(values).write(from.data(), from.size() * sizeof(float));
}

void ParameterStore::refresh_working(const Context& context) {
  if (compute_type_ == DType::kBFloat16) {
    cast(context, {table_.elements(), DType::kFloat32, DType::kBFloat16, master_.data(), working_.data()});
  } else if (compute_type_ == DType::kFloat64) {
    const auto* master = master_.as<float>();
    parallel_ranges(table_.elements(), kGrain, [&](std::int64_t begin, std::int64_t end) {
      std::copy(master + begin, master + end, working_.as<double>() + begin);
    });
  }
}

void ParameterStore::reset_gradients() { buffer(Values::kGradient).fill_with_zero(); }

}  // namespace koine
