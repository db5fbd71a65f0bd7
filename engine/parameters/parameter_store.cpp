#include "engine/parameters/parameter_store.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "engine/parameters/host_copy.h"
#include "kernels/cast/cast.h"
#include "kernels/common/check.h"
#include "kernels/common/parallel.h"
#include "kernels/random/random.h"

namespace koine {
namespace {

// Elements one thread fills, copies or clears at a time.
constexpr std::int64_t kGrain = 1 << 16;

// FNV-1a, 64 bit, names a parameter's stream of random numbers: the same value on every machine, which std::hash does not
// promise.
std::uint64_t hash_of(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char character : text) hash = (hash ^ static_cast<unsigned char>(character)) * 0x100000001b3u;
  return hash;
}

void fill_zero(void* data, std::int64_t bytes) {
  parallel_ranges(bytes, kGrain * 4, [&](std::int64_t begin, std::int64_t end) {
    std::memset(static_cast<std::byte*>(data) + begin, 0, static_cast<std::size_t>(end - begin));
  });
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
  if (training) {
    parts.push_back({"gradients", master});
    parts.push_back({"moments", 2 * master});
  }
  return parts;
}

ParameterStore::ParameterStore(ParameterTable table, DType compute_type, bool training, Device device)
    : table_(std::move(table)), compute_type_(compute_type), device_(device) {
  check(device == Device::kCpu || compute_type != DType::kFloat64, "fp64 is the references', which run on the CPU");
  master_ = static_cast<float*>(allocate("master weights", DType::kFloat32));
  if (compute_type != DType::kFloat32) working_ = allocate("working weights", compute_type);
  if (training) {
    gradient_ = static_cast<float*>(allocate("gradients", DType::kFloat32));
    first_moment_ = static_cast<float*>(allocate("first moments", DType::kFloat32));
    second_moment_ = static_cast<float*>(allocate("second moments", DType::kFloat32));
  }
}

// Every element is written once, also those between parameters, which whole-buffer operations read.
void* ParameterStore::allocate(const char* name, DType type) {
  const std::size_t bytes = bytes_of(table_, type);
  if (device_ == Device::kCuda) {
    device_blocks_.emplace_back(name, bytes);
    cuda::fill_with_zero(device_blocks_.back().data(), bytes, nullptr);
    cuda::synchronize(nullptr);
    return device_blocks_.back().data();
  }
  blocks_.push_back(std::make_unique<StackMemory>(name, bytes + StackMemory::kAlignment));  // room for a debug build's guard
  void* memory = blocks_.back()->allocate(name, bytes);
  fill_zero(memory, static_cast<std::int64_t>(bytes));
  return memory;
}

const void* ParameterStore::working(int index) const {
  const std::size_t offset = static_cast<std::size_t>(table_[index].offset);
  if (working_ == nullptr) return master_ + offset;
  return static_cast<const std::byte*>(working_) + offset * size_of(compute_type_);
}

BFloat16* ParameterStore::working_bfloat16(int index) {
  if (compute_type_ != DType::kBFloat16) return nullptr;
  return static_cast<BFloat16*>(working_) + table_[index].offset;
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
  }
  if (device_ == Device::kCuda) copy_in(values, master(index), spec.count());
}

float* ParameterStore::flat(Buffer buffer) const {
  switch (buffer) {
    case Buffer::kMaster:
      return master_;
    case Buffer::kGradient:
      return gradient_;
    case Buffer::kFirstMoment:
      return first_moment_;
    case Buffer::kSecondMoment:
      return second_moment_;
  }
  throw Error("unknown buffer of parameters");
}

void ParameterStore::copy_out(const float* from, float* to, std::int64_t count) const {
  check(from != nullptr, "parameters without training state have no gradients and moments");
  copy_to_host(device_, to, from, static_cast<std::size_t>(count) * sizeof(float));
}

void ParameterStore::copy_in(const float* from, float* to, std::int64_t count) {
  check(to != nullptr, "parameters without training state have no gradients and moments");
  copy_from_host(device_, to, from, static_cast<std::size_t>(count) * sizeof(float));
}

void ParameterStore::read(Buffer buffer, int index, float* values) const {
  copy_out(flat(buffer) == nullptr ? nullptr : flat(buffer) + table_[index].offset, values, table_[index].count());
}

void ParameterStore::write(Buffer buffer, int index, const float* values) {
  copy_in(values, flat(buffer) == nullptr ? nullptr : flat(buffer) + table_[index].offset, table_[index].count());
}

std::vector<float> ParameterStore::read_all(Buffer buffer) const {
  std::vector<float> values(static_cast<std::size_t>(table_.elements()));
  copy_out(flat(buffer), values.data(), table_.elements());
  return values;
}

void ParameterStore::write_all(Buffer buffer, const std::vector<float>& values) {
  check(std::ssize(values) == table_.elements(), "values of another model");
  copy_in(values.data(), flat(buffer), table_.elements());
}

void ParameterStore::refresh_working(const Context& context) {
  if (compute_type_ == DType::kBFloat16) {
    cast(context, {table_.elements(), DType::kFloat32, DType::kBFloat16, master_, working_});
  } else if (compute_type_ == DType::kFloat64) {
    parallel_ranges(table_.elements(), kGrain, [&](std::int64_t begin, std::int64_t end) {
      std::copy(master_ + begin, master_ + end, static_cast<double*>(working_) + begin);
    });
  }
}

void ParameterStore::reset_training_state() {
  check(training(), "parameters without training state have none to reset");
  const auto bytes = static_cast<std::int64_t>(bytes_of(table_, DType::kFloat32));
  if (device_ == Device::kCuda) cuda::synchronize_device();
  for (float* buffer : {gradient_, first_moment_, second_moment_}) {
    if (device_ == Device::kCuda) {
      cuda::fill_with_zero(buffer, static_cast<std::size_t>(bytes), nullptr);
    } else {
      fill_zero(buffer, bytes);
    }
  }
  if (device_ == Device::kCuda) cuda::synchronize(nullptr);
}

}  // namespace koine
