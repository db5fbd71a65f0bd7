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
};

std::int64_t whole_blocks(std::int64_t elements) { return (elements + kCodedBlock - 1) / kCodedBlock * kCodedBlock; }

std::vector<CodedTensor> coded_tensors(const ParameterTable& table, CodedSizes& sizes) {
  std::vector<CodedTensor> list;
  for (const ParameterSpec& spec : table.specs()) {
    CodedTensor tensor;
    tensor.offset = spec.offset;
    tensor.count = spec.count();
    tensor.coded = spec.count() >= CodedMoments::kLeastCoded && !spec.embedding && !spec.lazy_rows ? 1 : 0;
    std::int64_t& next = tensor.coded != 0 ? sizes.codes : sizes.plain;
    tensor.state = next;
    tensor.group = spec.decay ? 1 : 0;
    next += tensor.coded != 0 ? whole_blocks(tensor.count) : tensor.count;
    list.push_back(tensor);
  }
  return list;
}

CodedSizes sizes_of(const ParameterTable& table) {
  CodedSizes sizes;
  coded_tensors(table, sizes);
  return sizes;
}

}  // namespace

std::vector<ParameterStore::Footprint> CodedMoments::footprint(const ParameterTable& table) {
  const CodedSizes sizes = sizes_of(table);
  return {{"moments in 8 bits", 2 * (sizes.code_bytes() + sizes.scale_bytes())},
          {"moments of embeddings and small parameters", 2 * sizes.plain_bytes()}};
}

CodedMoments::CodedMoments(const ParameterTable& table, Device device) : table_(table) {
  CodedSizes sizes;
  list_ = coded_tensors(table, sizes);
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
    const auto count = static_cast<std::size_t>(tensor.count);
    const auto state = static_cast<std::size_t>(tensor.state);
    if (tensor.coded == 0) {
      parts.push_back({"first_moment." + spec.name, "F32", spec.shape, &CodedMoments::first_, state * sizeof(float),
                       count * sizeof(float)});
      parts.push_back({"second_moment." + spec.name, "F32", spec.shape, &CodedMoments::second_, state * sizeof(float),
                       count * sizeof(float)});
      continue;
    }
    const std::int64_t blocks = whole_blocks(tensor.count) / kCodedBlock;
    const std::size_t scales_begin = state / kCodedBlock * sizeof(float);
    const std::size_t scales_bytes = static_cast<std::size_t>(blocks) * sizeof(float);
    parts.push_back({"first_to_root_codes." + spec.name, "U8", spec.shape, &CodedMoments::first_codes_, state, count});
    parts.push_back(
        {"first_to_root_scales." + spec.name, "F32", {blocks}, &CodedMoments::first_scales_, scales_begin, scales_bytes});
    parts.push_back({"second_root_codes." + spec.name, "U8", spec.shape, &CodedMoments::second_codes_, state, count});
    parts.push_back(
        {"second_root_scales." + spec.name, "F32", {blocks}, &CodedMoments::second_scales_, scales_begin, scales_bytes});
  }
  return parts;
}

std::vector<TensorSource> CodedMoments::tensors() const {
  std::vector<TensorSource> sources;
  for (const Part& part : parts()) {
    const auto read = [this, part](void* to) { (this->*part.buffer).read(to, part.bytes, part.begin); };
    sources.push_back({part.name, part.dtype, part.shape, nullptr, read});
  }
  return sources;
}

void CodedMoments::read(const SafetensorsFile& file) {
  for (const Part& part : parts()) {
    const TensorEntry& entry = file.entry(part.name);
    require(entry.shape == part.shape && entry.dtype == part.dtype, file.path().string(), ": tensor ", part.name,
            " has another shape or type than this model's; resume with the model the run was started with");
    (this->*part.buffer).write(file.bytes(part.name), part.bytes, part.begin);
  }
}

}  // namespace koine
