#include "engine/parameters/parameter_store.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string_view>
#include <utility>

#include "kernels/cast/cast.h"
#include "kernels/common/check.h"
#include "kernels/common/parallel.h"
#include "kernels/cuda/runtime.h"
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

/// Whether what the model reads in fp32 lies apart: where not every rank has an fp32 master of everything.
bool is_apart(MasterKind master, DType compute_type, bool shared) {
  return master != MasterKind::kFloat32 || (shared && compute_type == DType::kBFloat16);
}

/// A buffer of elements from `begin` on, as if those before were there.
template <class T>
T* counted_from_zero(const Buffer& buffer, std::int64_t begin) {
  const auto address = reinterpret_cast<std::uintptr_t>(buffer.data());
  return reinterpret_cast<T*>(address - static_cast<std::uintptr_t>(begin) * sizeof(T));
}

void require_mixed(MasterKind master, DType compute_type) {
  require(master == MasterKind::kFloat32 || compute_type == DType::kBFloat16,
          "master = ", master == MasterKind::kNone ? "none" : "remainder", " is of mixed precision, and this run is in ",
          name_of(compute_type), "; say --precision bf16, or master = fp32");
}

}  // namespace

std::vector<ParameterStore::Footprint> ParameterStore::footprint(const ParameterTable& table, DType compute_type,
                                                                 bool training, MasterKind master, int ranks,
                                                                 bool shares_gradients) {
  require_mixed(master, compute_type);
  const std::size_t fp32 = bytes_of(table, DType::kFloat32);
  std::vector<Footprint> parts;
  if (is_apart(master, compute_type, ranks > 1)) {
    std::int64_t apart = 0;
    places_apart(table, apart);
    std::int64_t most = 0;
    for (const ElementRange& range : cut_into_shards(table, ranks)) most = std::max(most, range.count());
    const auto elements = static_cast<std::size_t>(most);
    parts.push_back({"weights that are read in fp32", static_cast<std::size_t>(apart) * sizeof(float)});
    if (master == MasterKind::kFloat32) parts.push_back({"master weights", elements * sizeof(float)});
    if (master == MasterKind::kRemainder)
      parts.push_back({"remainders of master weights", elements * sizeof(std::uint16_t)});
  } else {
    parts.push_back({"master weights", fp32});
  }
  if (compute_type != DType::kFloat32) parts.push_back({"working weights", bytes_of(table, compute_type)});
  if (!training) return parts;
  if (!shares_gradients || ranks == 1) {
    parts.push_back({"gradients", fp32});
    return parts;
  }
  // The device decides only how much is kept behind a rank's range, at most some hundred kilobytes.
  std::int64_t most = 0;
  for (const ElementRange& range : cut_into_shards(table, ranks))
    most = std::max(most, koine::kept_gradients(table, Device::kCuda, range).count());
  parts.push_back({"gradients", static_cast<std::size_t>(most) * sizeof(float)});
  const std::int64_t passing = plan_passing_gradients(table).elements;
  parts.push_back({"gradients that pass through", static_cast<std::size_t>(passing) * sizeof(float)});
  return parts;
}

ParameterStore::ParameterStore(ParameterTable table, DType compute_type, bool training, Device device, MasterKind master,
                               const Shards* shards)
    : table_(std::move(table)), compute_type_(compute_type), device_(device), kind_(master) {
  check(device == Device::kCpu || compute_type != DType::kFloat64, "fp64 is the references', which run on the CPU");
  require_mixed(master, compute_type);
  if (shards != nullptr) shards_ = *shards;
  const std::size_t bytes = bytes_of(table_, DType::kFloat32);
  if (is_apart(master, compute_type, shards != nullptr)) {
    std::int64_t apart = 0;
    apart_ = places_apart(table_, apart);
    const auto elements = static_cast<std::size_t>(share().count());
    fp32_ = Buffer::zeroed(device, "weights that are read in fp32", static_cast<std::size_t>(apart) * sizeof(float));
    if (master == MasterKind::kFloat32) master_ = Buffer::zeroed(device, "master weights", elements * sizeof(float));
    if (master == MasterKind::kRemainder)
      remainder_ = Buffer::zeroed(device, "remainders of master weights", elements * sizeof(std::uint16_t));
  } else {
    master_ = Buffer::zeroed(device, "master weights", bytes);
  }
  if (compute_type != DType::kFloat32) working_ = Buffer::zeroed(device, "working weights", bytes_of(table_, compute_type));
  if (training && shares_gradients()) {
    share_gradients();
  } else if (training) {
    gradient_ = Buffer::zeroed(device, "gradients", bytes);
  }
}

void ParameterStore::share_gradients() {
  passing_ = plan_passing_gradients(table_);
  passing_places_.resize(static_cast<std::size_t>(table_.size()));
  for (const PassingRun& run : passing_.runs) {
    for (int index = run.first; index < run.last; ++index)
      passing_places_[static_cast<std::size_t>(index)] = run.place + table_[index].offset - run.begin;
  }
  kept_ = koine::kept_gradients(table_, device_, share());
  norm_range_ = norm_cells_from(table_, device_, share());
  const auto bytes_of_floats = [](std::int64_t count) { return static_cast<std::size_t>(count) * sizeof(float); };
  gradient_ = Buffer::zeroed(device_, "gradients that pass through", bytes_of_floats(passing_.elements));
  kept_gradient_ = Buffer::zeroed(device_, "gradients", bytes_of_floats(kept_.count()));
}

float* ParameterStore::at(const Buffer& values, int index) const {
  return values.empty() ? nullptr : values.as<float>() + table_[index].offset;
}

float* ParameterStore::master(int index) {
  if (apart_.empty()) return at(master_, index);
  check(apart(index) >= 0, "parameter ", table_[index].name, " has no master of fp32 here");
  return fp32_.as<float>() + apart(index);
}

float* ParameterStore::gradient(int index) {
  if (!shares_gradients() || gradient_.empty()) return at(gradient_, index);
  return gradient_.as<float>() + passing_places_[static_cast<std::size_t>(index)];
}

float* ParameterStore::flat_gradient() const {
  return shares_gradients() ? counted_from_zero<float>(kept_gradient_, kept_.begin) : gradient_.as<float>();
}

ElementRange ParameterStore::share() const {
  return shards_.has_value() ? shards_->range() : ElementRange{0, table_.elements()};
}

float* ParameterStore::flat_master() const {
  if (kind_ != MasterKind::kFloat32) return nullptr;
  return counted_from_zero<float>(master_, apart_.empty() ? 0 : share().begin);
}

MasterWeights ParameterStore::masters() const {
  MasterWeights masters;
  masters.kind = kind_;
  if (!apart_.empty()) masters.apart = fp32_.as<float>();
  if (kind_ == MasterKind::kRemainder) masters.remainder = counted_from_zero<std::uint16_t>(remainder_, share().begin);
  return masters;
}

// --- shared out ---------------------------------------------------------------------------------------------------------

/// What of the weights that lie apart belongs to a range of the flat buffers.
ElementRange ParameterStore::apart_part(const ElementRange& range) const {
  ElementRange result = {0, 0};
  for (int index = 0; index < table_.size(); ++index) {
    const ElementRange part = part_of(table_[index], range);
    if (apart(index) < 0 || part.count() == 0) continue;
    if (result.count() == 0) result.begin = apart(index) + part.begin;
    result.end = apart(index) + part.end;
  }
  return result;
}

// One broadcast from each rank: an all-gather of shares that differ in size.
void ParameterStore::share_weights(void* stream) {
  const auto begin = std::chrono::steady_clock::now();
  share_range({0, table_.elements()}, stream);
  sharing_seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void ParameterStore::share_range(const ElementRange& shared, void* stream) {
  check(shards_.has_value(), "weights that are not shared out");
  for (int rank = 0; rank < static_cast<int>(shards_->ranges.size()); ++rank) {
    const ElementRange range = intersection(shards_->ranges[static_cast<std::size_t>(rank)], shared);
    if (range.count() == 0) continue;
    if (apart_.empty()) {
      shards_->broadcast(DType::kFloat32, master_.as<float>() + range.begin, range.count(), rank, stream);
      continue;
    }
    shards_->broadcast(DType::kBFloat16, working_.as<BFloat16>() + range.begin, range.count(), rank, stream);
    const ElementRange part = apart_part(range);
    if (part.count() > 0) shards_->broadcast(DType::kFloat32, fp32_.as<float>() + part.begin, part.count(), rank, stream);
  }
}

void ParameterStore::add_up(double* values, std::int64_t count, void* stream) {
  check(shards_.has_value(), "numbers that are not shared out");
  const auto begin = std::chrono::steady_clock::now();
  shards_->all_reduce(DType::kFloat64, values, count, stream);
  sharing_seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Elements of the flat buffer to zero.
void ParameterStore::clear_kept(std::int64_t begin, std::int64_t end, void* stream) {
  if (begin >= end) return;
  const std::size_t bytes = static_cast<std::size_t>(end - begin) * sizeof(float);
  if (device_ == Device::kCuda) {
    cuda::fill_with_zero(flat_gradient() + begin, bytes, stream);
  } else {
    std::memset(flat_gradient() + begin, 0, bytes);
  }
}

void ParameterStore::clear_other_gradients(void* stream) {
  const ElementRange own = share();
  const ElementRange here = shares_gradients() ? kept_ : ElementRange{0, table_.elements()};
  clear_kept(here.begin, own.begin, stream);
  clear_kept(own.end, here.end, stream);
}

void ParameterStore::end_sharing(bool whole) {
  if (!shards_.has_value() || sharing_ended_) return;
  if (!apart_.empty() && kind_ != MasterKind::kNone) {
    std::vector<float> all = read_all(Values::kMaster);
    if (whole) whole_ = std::move(all);
  }
  sharing_ended_ = true;
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

/// Whether a buffer's values do not lie one behind the other as the table has them.
bool ParameterStore::lies_in_parts(Values values) const {
  return values == Values::kMaster ? !apart_.empty() : shares_gradients();
}

/// Whether its fp32 values are not here as such, or not all of them.
bool ParameterStore::is_split(Values values, int index) const {
  return values == Values::kMaster && !apart_.empty() && apart(index) < 0;
}

/// What of a parameter's gradients is kept here, counted from its first element.
ElementRange ParameterStore::kept_part(int index) const { return part_of(table_[index], kept_); }

void ParameterStore::read(Values values, int index, float* to) const {
  if (is_split(values, index)) return read_split(index, to);
  if (values == Values::kGradient && shares_gradients()) {
    const ElementRange part = kept_part(index);
    std::fill_n(to, table_[index].count(), 0.0f);
    if (part.count() == 0) return;
    kept_gradient_.read(to + part.begin, static_cast<std::size_t>(part.count()) * sizeof(float),
                        static_cast<std::size_t>(table_[index].offset + part.begin - kept_.begin) * sizeof(float));
    return;
  }
  const Buffer& from = values == Values::kMaster && apart(index) >= 0 ? fp32_ : buffer(values);
  from.read(to, static_cast<std::size_t>(table_[index].count()) * sizeof(float), begin_of(values, index));
}

void ParameterStore::write(Values values, int index, const float* from) {
  if (is_split(values, index)) return write_split(index, from);
  if (values == Values::kGradient && shares_gradients()) {
    const ElementRange part = kept_part(index);
    if (part.count() == 0) return;
    kept_gradient_.write(from + part.begin, static_cast<std::size_t>(part.count()) * sizeof(float),
                         static_cast<std::size_t>(table_[index].offset + part.begin - kept_.begin) * sizeof(float));
    return;
  }
  Buffer& to = values == Values::kMaster && apart(index) >= 0 ? fp32_ : buffer(values);
  to.write(from, static_cast<std::size_t>(table_[index].count()) * sizeof(float), begin_of(values, index));
}

/// A parameter's values of a buffer that has this rank's range.
void ParameterStore::gather(int index, std::size_t element_bytes, const Buffer& own, void* to) const {
  const ParameterSpec& spec = table_[index];
  if (shards_.has_value()) return gather_parameter(*shards_, device_, spec, element_bytes, own.data(), to);
  own.read(to, static_cast<std::size_t>(spec.count()) * element_bytes,
           static_cast<std::size_t>(spec.offset) * element_bytes);
}

void ParameterStore::read_split(int index, float* to) const {
  const ParameterSpec& spec = table_[index];
  const auto count = static_cast<std::size_t>(spec.count());
  if (sharing_ended_ && kind_ != MasterKind::kNone) {
    check(!whole_.empty(), "parameter ", spec.name, ": this rank has no master of it any more");
    std::copy_n(whole_.begin() + spec.offset, count, to);
    return;
  }
  if (kind_ == MasterKind::kFloat32) return gather(index, sizeof(float), master_, to);
  std::vector<BFloat16> weights(count);
  std::vector<std::uint16_t> remainders(kind_ == MasterKind::kRemainder ? count : 0);
  working_.read(weights.data(), count * sizeof(BFloat16), static_cast<std::size_t>(spec.offset) * sizeof(BFloat16));
  if (!remainders.empty()) gather(index, sizeof(std::uint16_t), remainder_, remainders.data());
  MasterWeights masters;
  masters.kind = kind_;
  masters.remainder = remainders.data();
  join_weights(masters, weights.data(), 0, spec.count(), to);
}

void ParameterStore::write_split(int index, const float* from) {
  check(!sharing_ended_, "weights are written when they are shared out no more");
  const ParameterSpec& spec = table_[index];
  const auto count = static_cast<std::size_t>(spec.count());
  std::vector<BFloat16> weights(count);
  std::vector<std::uint16_t> remainders(count);
  for (std::size_t i = 0; i < count; ++i) {
    const SplitFloat split = split_float(from[i]);
    weights[i] = kind_ == MasterKind::kRemainder ? split.weight : to_bfloat16(from[i]);
    remainders[i] = split.remainder;
  }
  working_.write(weights.data(), count * sizeof(BFloat16), static_cast<std::size_t>(spec.offset) * sizeof(BFloat16));
  const ElementRange own = part_of(spec, share());
  const auto place = static_cast<std::size_t>(own.count() == 0 ? 0 : spec.offset + own.begin - share().begin);
  const auto part = static_cast<std::size_t>(own.count());
  if (part == 0) return;
  if (kind_ == MasterKind::kFloat32) master_.write(from + own.begin, part * sizeof(float), place * sizeof(float));
  if (kind_ == MasterKind::kRemainder)
    remainder_.write(remainders.data() + own.begin, part * sizeof(std::uint16_t), place * sizeof(std::uint16_t));
}

std::vector<float> ParameterStore::read_all(Values values) const {
  std::vector<float> all(static_cast<std::size_t>(table_.elements()));
  if (lies_in_parts(values)) {
    for (int index = 0; index < table_.size(); ++index) read(values, index, all.data() + table_[index].offset);
  } else {
    buffer(values).read(all.data(), all.size() * sizeof(float));
  }
  return all;
}

void ParameterStore::write_all(Values values, const std::vector<float>& from) {
  check(std::ssize(from) == table_.elements(), "values of another model");
  if (lies_in_parts(values)) {
    for (int index = 0; index < table_.size(); ++index) write(values, index, from.data() + table_[index].offset);
  } else {
    buffer(values).write(from.data(), from.size() * sizeof(float));
  }
}

void ParameterStore::refresh_working(const Context& context) {
  if (!apart_.empty()) return;  // written with the masters
  if (compute_type_ == DType::kBFloat16) {
    cast(context, {table_.elements(), DType::kFloat32, DType::kBFloat16, master_.data(), working_.data()});
  } else if (compute_type_ == DType::kFloat64) {
    const auto* master = master_.as<float>();
    parallel_ranges(table_.elements(), kGrain, [&](std::int64_t begin, std::int64_t end) {
      std::copy(master + begin, master + end, working_.as<double>() + begin);
    });
  }
}

void ParameterStore::reset_gradients() {
  buffer(Values::kGradient).fill_with_zero();
  if (shares_gradients()) kept_gradient_.fill_with_zero();
}

}  // namespace koine
