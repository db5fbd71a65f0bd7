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

/// Where the parameters that a model reads in fp32 lie apart, -1 for the others; and how many elements that takes. Neighbours
/// are as far from each other as in the flat buffers, so that they can be updated as one.
std::vector<std::int64_t> places_apart(const ParameterTable& table, std::int64_t& elements) {
  std::vector<std::int64_t> places(static_cast<std::size_t>(table.size()), -1);
  std::int64_t run = 0;  // what to subtract from the offsets of a run of neighbours
  elements = 0;
  for (int index = 0; index < table.size(); ++index) {
    if (!table[index].in_fp32()) continue;
    const bool alone = index == 0 || !table[index - 1].in_fp32();
    if (alone) run = table[index].offset - elements;
    places[static_cast<std::size_t>(index)] = table[index].offset - run;
    elements = (index + 1 < table.size() ? table[index + 1].offset : table.elements()) - run;
  }
  return places;
}

void require_mixed(MasterKind master, DType compute_type) {
  require(master == MasterKind::kFloat32 || compute_type == DType::kBFloat16,
          "master = ", master == MasterKind::kNone ? "none" : "remainder", " is of mixed precision, and this run is in ",
          name_of(compute_type), "; say --precision bf16, or master = fp32");
}

}  // namespace

std::vector<ParameterStore::Footprint> ParameterStore::footprint(const ParameterTable& table, DType compute_type,
                                                                 bool training, MasterKind master) {
  require_mixed(master, compute_type);
  const std::size_t fp32 = bytes_of(table, DType::kFloat32);
  std::vector<Footprint> parts;
  if (master == MasterKind::kFloat32) {
    parts.push_back({"master weights", fp32});
  } else {
    std::int64_t apart = 0;
    places_apart(table, apart);
    parts.push_back({"weights that are read in fp32", static_cast<std::size_t>(apart) * sizeof(float)});
    if (master == MasterKind::kRemainder) parts.push_back({"remainders of master weights", fp32 / 2});
  }
  if (compute_type != DType::kFloat32) parts.push_back({"working weights", bytes_of(table, compute_type)});
  if (training) parts.push_back({"gradients", fp32});
  return parts;
}

ParameterStore::ParameterStore(ParameterTable table, DType compute_type, bool training, Device device, MasterKind master)
    : table_(std::move(table)), compute_type_(compute_type), device_(device), kind_(master) {
  check(device == Device::kCpu || compute_type != DType::kFloat64, "fp64 is the references', which run on the CPU");
  require_mixed(master, compute_type);
  const std::size_t bytes = bytes_of(table_, DType::kFloat32);
  if (master == MasterKind::kFloat32) {
    master_ = Buffer::zeroed(device, "master weights", bytes);
  } else {
    std::int64_t apart = 0;
    apart_ = places_apart(table_, apart);
    master_ = Buffer::zeroed(device, "weights that are read in fp32", static_cast<std::size_t>(apart) * sizeof(float));
    if (master == MasterKind::kRemainder) remainder_ = Buffer::zeroed(device, "remainders of master weights", bytes / 2);
  }
  if (compute_type != DType::kFloat32) working_ = Buffer::zeroed(device, "working weights", bytes_of(table_, compute_type));
  if (training) gradient_ = Buffer::zeroed(device, "gradients", bytes);
}

float* ParameterStore::at(const Buffer& values, int index) const {
  return values.empty() ? nullptr : values.as<float>() + table_[index].offset;
}

float* ParameterStore::master(int index) {
  if (kind_ == MasterKind::kFloat32) return at(master_, index);
  check(apart(index) >= 0, "parameter ", table_[index].name, " has no master of fp32");
  return master_.as<float>() + apart(index);
}

MasterWeights ParameterStore::masters() const {
  MasterWeights masters;
  masters.kind = kind_;
  if (kind_ != MasterKind::kFloat32) masters.apart = master_.as<float>();
  if (kind_ == MasterKind::kRemainder) masters.remainder = remainder_.as<std::uint16_t>();
  return masters;
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
  const bool is_staged = device_ == Device::kCuda || is_split(Values::kMaster, index);
  std::vector<float> staged(is_staged ? static_cast<std::size_t>(spec.count()) : 0);
  float* values = is_staged ? staged.data() : master(index);
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
  if (is_staged) write(Values::kMaster, index, values);
}

const Buffer& ParameterStore::buffer(Values values) const {
  check(values == Values::kMaster || training(), "parameters that are not trained have no gradients");
  return values == Values::kMaster ? master_ : gradient_;
}

Buffer& ParameterStore::buffer(Values values) { return const_cast<Buffer&>(std::as_const(*this).buffer(values)); }

/// Where a parameter's values of a buffer begin, in bytes.
std::size_t ParameterStore::begin_of(Values values, int index) const {
  const bool lies_apart = values == Values::kMaster && apart(index) >= 0;
  return static_cast<std::size_t>(lies_apart ? apart(index) : table_[index].offset) * sizeof(float);
}

/// Whether its fp32 values are nowhere as such.
bool ParameterStore::is_split(Values values, int index) const {
  return values == Values::kMaster && kind_ != MasterKind::kFloat32 && apart(index) < 0;
}

void ParameterStore::read(Values values, int index, float* to) const {
  if (is_split(values, index)) return read_split(index, to);
  buffer(values).read(to, static_cast<std::size_t>(table_[index].count()) * sizeof(float), begin_of(values, index));
}

void ParameterStore::write(Values values, int index, const float* from) {
  if (is_split(values, index)) return write_split(index, from);
  buffer(values).write(from, static_cast<std::size_t>(table_[index].count()) * sizeof(float), begin_of(values, index));
}

void ParameterStore::read_split(int index, float* to) const {
  const auto count = static_cast<std::size_t>(table_[index].count());
  const std::size_t begin = static_cast<std::size_t>(table_[index].offset) * sizeof(BFloat16);
  std::vector<BFloat16> weights(count);
  std::vector<std::uint16_t> remainders(kind_ == MasterKind::kRemainder ? count : 0);
  working_.read(weights.data(), count * sizeof(BFloat16), begin);
  if (!remainders.empty()) remainder_.read(remainders.data(), count * sizeof(std::uint16_t), begin);
  MasterWeights masters;
  masters.kind = kind_;
  masters.remainder = remainders.data();
  join_weights(masters, weights.data(), 0, table_[index].count(), to);
}

void ParameterStore::write_split(int index, const float* from) {
  const auto count = static_cast<std::size_t>(table_[index].count());
  const std::size_t begin = static_cast<std::size_t>(table_[index].offset) * sizeof(BFloat16);
  std::vector<BFloat16> weights(count);
  std::vector<std::uint16_t> remainders(count);
  for (std::size_t i = 0; i < count; ++i) {
    const SplitFloat split = split_float(from[i]);
    weights[i] = kind_ == MasterKind::kRemainder ? split.weight : to_bfloat16(from[i]);
    remainders[i] = split.remainder;
  }
  working_.write(weights.data(), count * sizeof(BFloat16), begin);
  if (kind_ == MasterKind::kRemainder) remainder_.write(remainders.data(), count * sizeof(std::uint16_t), begin);
}

std::vector<float> ParameterStore::read_all(Values values) const {
  std::vector<float> all(static_cast<std::size_t>(table_.elements()));
  if (values == Values::kMaster && kind_ != MasterKind::kFloat32) {
    for (int index = 0; index < table_.size(); ++index) read(values, index, all.data() + table_[index].offset);
  } else {
    buffer(values).read(all.data(), all.size() * sizeof(float));
  }
  return all;
}

void ParameterStore::write_all(Values values, const std::vector<float>& from) {
  check(std::ssize(from) == table_.elements(), "values of another model");
  if (values == Values::kMaster && kind_ != MasterKind::kFloat32) {
    for (int index = 0; index < table_.size(); ++index) write(values, index, from.data() + table_[index].offset);
  } else {
    buffer(values).write(from.data(), from.size() * sizeof(float));
  }
}

void ParameterStore::refresh_working(const Context& context) {
  if (kind_ != MasterKind::kFloat32) return;  // there are no copies
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
