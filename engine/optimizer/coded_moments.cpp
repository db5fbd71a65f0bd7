#include "engine/optimizer/coded_moments.h"

#include "kernels/common/check.h"

namespace koine {
namespace {

struct CodedSizes {
  std::int64_t codes = 0;
  std::int64_t plain = 0;  ///< elements with fp32 moments
  std::size_t code_bytes() const { return static_cast<std::size_t>(codes); }
  std::size_t scale_bytes() const { return static_cast<std::size_t>(codes / kCodedBlock) * sizeof(float); }
  std::size_t plain_bytes() const { return static_cast<std::size_t>(plain) * sizeof(float); }
  std::size_t bytes() const { return code_bytes() + scale_bytes() + plain_bytes(); }
};

std::int64_t whole_blocks(std::int64_t elements) { return (elements + kCodedBlock - 1) / kCodedBlock * kCodedBlock; }

std::vector<CodedTensor> coded_tensors(const ParameterTable& table, const ElementRange& range, CodedSizes& sizes) {
  std::vector<CodedTensor> list;
  for (const ParameterSpec& spec : table.specs()) {
    const ElementRange part = part_of(spec, range);
    CodedTensor tensor;
    tensor.offset = spec.offset + part.begin;
    tensor.count = part.count();
    tensor.coded = spec.count() >= CodedMoments::kLeastCoded && !spec.embedding && !spec.lazy_rows ? 1 : 0;
    std::int64_t& next = tensor.coded != 0 ? sizes.codes : sizes.plain;
    tensor.state = next;
    tensor.group = spec.decay ? 1 : 0;
    next += tensor.coded != 0 ? whole_blocks(tensor.count) : tensor.count;
    list.push_back(tensor);
  }
  return list;
}

static_assert(kShardMultiple % kCodedBlock == 0, "a block of codes is on one rank");

}  // namespace

std::vector<ParameterStore::Footprint> CodedMoments::footprint(const ParameterTable& table, int ranks) {
  CodedSizes most;
  for (const ElementRange& range : cut_into_shards(table, ranks)) {
    CodedSizes sizes;
    coded_tensors(table, range, sizes);
    if (sizes.bytes() > most.bytes()) most = sizes;
  }
  return {{"moments in 8 bits", 2 * (most.code_bytes() + most.scale_bytes())},
          {"moments of embeddings and small parameters", 2 * most.plain_bytes()}};
}

CodedMoments::CodedMoments(const ParameterTable& table, Device device, const Shards* shards)
    : table_(table), shards_(shards) {
  CodedSizes sizes;
  list_ = coded_tensors(table, shards == nullptr ? ElementRange{0, table.elements()} : shards->range(), sizes);
  first_codes_ = Buffer::zeroed(device, "codes of first moments", sizes.code_bytes());
  second_codes_ = Buffer::zeroed(device, "codes of second moments", sizes.code_bytes());
  first_scales_ = Buffer::zeroed(device, "scales of first moments", sizes.scale_bytes());
  second_scales_ = Buffer::zeroed(device, "scales of second moments", sizes.scale_bytes());
  first_ = Buffer::zeroed(device, "first moments", sizes.plain_bytes());
  second_ = Buffer::zeroed(device, "second moments", sizes.plain_bytes());
}

std::vector<CodedMoments::Part> CodedMoments::parts() const {
  std::vector<Part> parts;
  for (int index = 0; index < table_.size(); ++index) {
    const ParameterSpec& spec = table_[index];
    const CodedTensor& tensor = list_[static_cast<std::size_t>(index)];
    const auto state = static_cast<std::size_t>(tensor.state);
    constexpr std::size_t kFloat = sizeof(float);
    if (tensor.coded == 0) {
      parts.push_back(
          {"first_moment." + spec.name, "F32", spec.shape, &CodedMoments::first_, state * kFloat, kFloat, 1, index});
      parts.push_back(
          {"second_moment." + spec.name, "F32", spec.shape, &CodedMoments::second_, state * kFloat, kFloat, 1, index});
      continue;
    }
    const std::int64_t blocks = whole_blocks(spec.count()) / kCodedBlock;
    const std::size_t scales = state / kCodedBlock * kFloat;
    parts.push_back({"first_to_root_codes." + spec.name, "U8", spec.shape, &CodedMoments::first_codes_, state, 1, 1, index});
    parts.push_back({"first_to_root_scales." + spec.name,
                     "F32",
                     {blocks},
                     &CodedMoments::first_scales_,
                     scales,
                     kFloat,
                     kCodedBlock,
                     index});
    parts.push_back({"second_root_codes." + spec.name, "U8", spec.shape, &CodedMoments::second_codes_, state, 1, 1, index});
    parts.push_back({"second_root_scales." + spec.name,
                     "F32",
                     {blocks},
                     &CodedMoments::second_scales_,
                     scales,
                     kFloat,
                     kCodedBlock,
                     index});
  }
  return parts;
}

CodedMoments::Bytes CodedMoments::bytes_of(const Part& part, const ElementRange& range) const {
  const ElementRange inside = part_of(table_[part.parameter], range);
  const std::int64_t numbers = (inside.count() + part.elements - 1) / part.elements;
  return {static_cast<std::size_t>(inside.begin / part.elements) * part.number_bytes,
          static_cast<std::size_t>(numbers) * part.number_bytes};
}

void CodedMoments::read_part(const Part& part, std::byte* to) const {
  const Buffer& buffer = this->*part.buffer;
  if (shards_ == nullptr) return buffer.read(to, bytes_of(part, ElementRange{}).count, part.begin);
  for (int rank = 0; rank < static_cast<int>(shards_->ranges.size()); ++rank) {
    const Bytes bytes = bytes_of(part, shards_->ranges[static_cast<std::size_t>(rank)]);
    fetch_from(*shards_, buffer.device(), rank, buffer.as<std::byte>() + part.begin, bytes.count, to + bytes.begin);
  }
}

std::vector<TensorSource> CodedMoments::tensors() const {
  std::vector<TensorSource> sources;
  for (const Part& part : parts()) {
    const auto read = [this, part](void* to) { read_part(part, static_cast<std::byte*>(to)); };
    sources.push_back({part.name, part.dtype, part.shape, nullptr, read});
  }
  return sources;
}

void CodedMoments::read(const SafetensorsFile& file) {
  for (const Part& part : parts()) {
    const TensorEntry& entry = file.entry(part.name);
    require(entry.shape == part.shape && entry.dtype == part.dtype, file.path().string(), ": tensor ", part.name,
            " has another shape or type than this model's; resume with the model the run was started with");
    const Bytes bytes = bytes_of(part, shards_ == nullptr ? ElementRange{} : shards_->range());
    if (bytes.count == 0) continue;
    (this->*part.buffer).write(file.bytes(part.name) + bytes.begin, bytes.count, part.begin);
  }
}

}  // namespace koine
