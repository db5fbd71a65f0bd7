#include "engine/parameters/parameter_store.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

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

ParameterStore::ParameterStore(ParameterTable table, DType compute_type, bool training)
    : table_(std::move(table)), compute_type_(compute_type) {
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
  float* values = master(index);
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
  for (float* buffer : {gradient_, first_moment_, second_moment_}) fill_zero(buffer, bytes);
}

}  // namespace koine
