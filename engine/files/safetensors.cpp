#include "engine/files/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "engine/files/atomic_file.h"
#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "kernels/common/types.h"

namespace koine {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian, and tensors are used as they lie");

constexpr std::uint64_t kMaximumHeaderBytes = 100'000'000;
constexpr std::uint64_t kLengthBytes = 8;

struct DtypeBits {
  const char* name;
  int bits;
};
constexpr DtypeBits kDtypes[] = {
    {"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"U8", 8},          {"I8", 8},
    {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"I16", 16},        {"U16", 16},        {"F16", 16},
    {"BF16", 16},   {"I32", 32},    {"U32", 32},    {"F32", 32},        {"F8_E4M3FNUZ", 8}, {"C64", 64},
    {"F64", 64},    {"I64", 64},    {"U64", 64},    {"F8_E5M2FNUZ", 8},
};

/// Bytes a tensor of `shape` takes; UserError (`where`: file and tensor) when they overflow or are not whole.
std::uint64_t byte_size(const std::vector<std::int64_t>& shape, int bits, const std::string& where) {
  // One bound for the elements and their bits, so that everything after it fits a signed 64-bit number.
  constexpr std::uint64_t kMaximumBits = std::numeric_limits<std::int64_t>::max();
  std::uint64_t total = static_cast<std::uint64_t>(bits);
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  for (const std::int64_t extent : shape) {
    require(total <= kMaximumBits / static_cast<std::uint64_t>(extent), where, ": its shape overflows 64 bits");
    total *= static_cast<std::uint64_t>(extent);
  }
  require(total % 8 == 0, where, ": its elements do not fill whole bytes");
  return total / 8;
}

std::uint64_t unsigned_of(const nlohmann::json& value, const std::string& where, const char* what) {
  require(value.is_number_unsigned() && value.get<std::uint64_t>() <= std::numeric_limits<std::int64_t>::max(), where, ": ",
          what, " must hold whole numbers from 0, not ", value.dump());
  return value.get<std::uint64_t>();
}

TensorEntry parse_entry(const nlohmann::json& value, const std::string& where) {
  require(value.is_object() && value.contains("dtype") && value.contains("shape") && value.contains("data_offsets"), where,
          ": needs dtype, shape and data_offsets");
  const nlohmann::json& dtype = value["dtype"];
  const nlohmann::json& shape = value["shape"];
  const nlohmann::json& offsets = value["data_offsets"];
  require(dtype.is_string() && safetensors_bits(dtype.get_ref<const std::string&>()) != 0, where, ": unknown dtype ",
          dtype.dump());
  require(shape.is_array(), where, ": shape must be a list");
  require(offsets.is_array() && offsets.size() == 2, where, ": data_offsets must be [begin, end]");
  TensorEntry entry;
  entry.dtype = dtype.get<std::string>();
  for (const nlohmann::json& extent : shape) {
    entry.shape.push_back(static_cast<std::int64_t>(unsigned_of(extent, where, "shape")));
  }
  entry.begin = unsigned_of(offsets[0], where, "data_offsets");
  entry.end = unsigned_of(offsets[1], where, "data_offsets");
  const std::uint64_t expected = byte_size(entry.shape, safetensors_bits(entry.dtype), where);
  require(entry.begin <= entry.end && entry.end - entry.begin == expected, where, ": data_offsets [", entry.begin, ", ",
          entry.end, ") do not hold the ", expected, " bytes of its shape and dtype");
  return entry;
}

std::map<std::string, std::string> parse_metadata(const nlohmann::json& value, const std::string& where) {
  require(value.is_object(), where, ": __metadata__ must map strings to strings");
  std::map<std::string, std::string> metadata;
  for (const auto& [key, text] : value.items()) {
    require(text.is_string(), where, ": __metadata__ must map strings to strings, but \"", key, "\" is ", text.dump());
    metadata.emplace(key, text.get<std::string>());
  }
  return metadata;
}

/// The tensors cover [0, data_bytes) without overlap or hole.
void check_cover(const std::map<std::string, TensorEntry>& tensors, std::uint64_t data_bytes, const std::string& where) {
  std::vector<std::pair<const TensorEntry*, const std::string*>> order;
  for (const auto& [name, entry] : tensors) order.emplace_back(&entry, &name);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first->begin, a.first->end) < std::pair(b.first->begin, b.first->end);
  });
  std::uint64_t end = 0;
  for (const auto& [entry, name] : order) {
    require(entry->begin >= end, where, ": tensor ", *name, " overlaps the one before it (begins at ", entry->begin,
            ", not ", end, ")");
    require(entry->begin == end, where, ": a hole of ", entry->begin - end, " bytes before tensor ", *name);
    end = entry->end;
  }
  require(end <= data_bytes, where, ": truncated: its tensors need ", end, " bytes of data, but ", data_bytes, " are there");
  require(end == data_bytes, where, ": ", data_bytes - end, " bytes follow the last tensor");
}

/// IEEE binary16, subnormals, infinities and NaNs included.
float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  const std::uint32_t exponent = (half >> 10) & 31u;
  const std::uint32_t mantissa = half & 1023u;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  const std::uint32_t wide = exponent == 31 ? 255u : exponent + 112u;
  return std::bit_cast<float>(sign | wide << 23 | mantissa << 13);
}

template <class Stored, class Result, class Convert>
void convert_all(const std::byte* bytes, std::int64_t count, Result* output, Convert convert) {
  for (std::int64_t i = 0; i < count; ++i) {
    Stored value;
    std::memcpy(&value, bytes + static_cast<std::size_t>(i) * sizeof value, sizeof value);
    output[i] = convert(value);
  }
}

}  // namespace

int safetensors_bits(std::string_view dtype) {
  for (const DtypeBits& known : kDtypes) {
    if (dtype == known.name) return known.bits;
  }
  return 0;
}

std::int64_t TensorEntry::count() const {
  std::int64_t product = 1;
  for (const std::int64_t extent : shape) {
    if (extent == 0) return 0;
    product *= extent;
  }
  return product;
}

SafetensorsHeader parse_safetensors_header(std::string_view file, const std::string& where) {
  require(file.size() >= kLengthBytes, where, ": truncated: ", file.size(), " bytes are no safetensors file");
  std::uint64_t length;
  std::memcpy(&length, file.data(), sizeof length);
  require(length <= kMaximumHeaderBytes, where, ": its header claims ", length,
          " bytes, the format allows 100,000,000; is this a safetensors file?");
  require(length <= file.size() - kLengthBytes, where, ": truncated: its header claims ", length, " bytes, but ",
          file.size() - kLengthBytes, " follow");
  const std::string_view text = file.substr(kLengthBytes, length);
  require(text.starts_with('{'), where, ": its header is not a JSON object");
  const nlohmann::json header = parse_json(text, where + ": header");

  SafetensorsHeader result;
  result.data_begin = kLengthBytes + length;
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") {
      result.metadata = parse_metadata(value, where);
    } else {
      result.tensors.emplace(name, parse_entry(value, where + ": tensor " + name));
    }
  }
  check_cover(result.tensors, file.size() - result.data_begin, where);
  return result;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : path_(path), mapping_(path), header_(parse_safetensors_header(mapping_.bytes(), path.string())) {}

const TensorEntry& SafetensorsFile::entry(const std::string& name) const {
  const auto found = header_.tensors.find(name);
  require(found != header_.tensors.end(), path_.string(), ": has no tensor ", name);
  return found->second;
}

const std::byte* SafetensorsFile::bytes(const std::string& name) const {
  return reinterpret_cast<const std::byte*>(mapping_.bytes().data()) + header_.data_begin + entry(name).begin;
}

void SafetensorsFile::read_float(const std::string& name, float* output) const {
  const TensorEntry& tensor = entry(name);
  const std::byte* data = bytes(name);
  const std::int64_t count = tensor.count();
  if (count == 0) return;
  if (tensor.dtype == "F32") {
    std::memcpy(output, data, static_cast<std::size_t>(count) * sizeof(float));
  } else if (tensor.dtype == "BF16") {
    convert_all<std::uint16_t>(data, count, output, [](std::uint16_t bits) { return to_float(BFloat16{bits}); });
  } else if (tensor.dtype == "F16") {
    convert_all<std::uint16_t>(data, count, output, half_to_float);
  } else if (tensor.dtype == "F64") {
    convert_all<double>(data, count, output, [](double value) { return static_cast<float>(value); });
  } else {
    fail_user(path_.string(), ": tensor ", name, " has dtype ", tensor.dtype, "; F32, F16, BF16 or F64 is needed");
  }
}

std::vector<float> SafetensorsFile::read_float(const std::string& name) const {
  std::vector<float> values(static_cast<std::size_t>(entry(name).count()));
  read_float(name, values.data());
  return values;
}

std::vector<std::int64_t> SafetensorsFile::read_integer(const std::string& name) const {
  const TensorEntry& tensor = entry(name);
  const std::byte* data = bytes(name);
  const std::int64_t count = tensor.count();
  std::vector<std::int64_t> values(static_cast<std::size_t>(count));
  const auto widen = [](auto value) { return static_cast<std::int64_t>(value); };
  if (tensor.dtype == "I64") {
    convert_all<std::int64_t>(data, count, values.data(), widen);
  } else if (tensor.dtype == "I32") {
    convert_all<std::int32_t>(data, count, values.data(), widen);
  } else if (tensor.dtype == "I16") {
    convert_all<std::int16_t>(data, count, values.data(), widen);
  } else if (tensor.dtype == "I8") {
    convert_all<std::int8_t>(data, count, values.data(), widen);
  } else if (tensor.dtype == "U8" || tensor.dtype == "BOOL") {
    convert_all<std::uint8_t>(data, count, values.data(), widen);
  } else {
    fail_user(path_.string(), ": tensor ", name, " has dtype ", tensor.dtype, "; an integer tensor is needed");
  }
  return values;
}

void write_safetensors(const std::filesystem::path& path, const std::vector<TensorSource>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::map<std::string, const TensorSource*> by_name;
  for (const TensorSource& tensor : tensors) {
    check(safetensors_bits(tensor.dtype) != 0, "unknown dtype of a tensor to be written: ", tensor.dtype);
    check(tensor.name != "__metadata__", "a tensor may not be called __metadata__");
    check(by_name.emplace(tensor.name, &tensor).second, "a tensor is written twice: ", tensor.name);
  }
  nlohmann::json header = nlohmann::json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t end = 0;
  for (const auto& [name, tensor] : by_name) {
    const std::uint64_t begin = end;
    end += byte_size(tensor->shape, safetensors_bits(tensor->dtype), name);
    header[name] = {{"dtype", tensor->dtype}, {"shape", tensor->shape}, {"data_offsets", {begin, end}}};
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  check(text.size() <= kMaximumHeaderBytes, "the safetensors header is too large: ", text.size(), " bytes");

  AtomicFile file(path);
  const std::uint64_t length = text.size();
  file.write(&length, sizeof length);
  file.write(text);
  std::vector<std::byte> fetched;
  for (const auto& [name, tensor] : by_name) {
    const std::uint64_t bytes = byte_size(tensor->shape, safetensors_bits(tensor->dtype), name);
    if (tensor->read) {
      fetched.resize(bytes);
      tensor->read(fetched.data());
    }
    file.write(tensor->read ? fetched.data() : tensor->data, bytes);
  }
  file.commit();
}

ModelWeights::ModelWeights(const std::filesystem::path& directory) : directory_(directory) {
  const std::filesystem::path single = directory / "model.safetensors";
  const std::filesystem::path index = directory / "model.safetensors.index.json";
  if (std::filesystem::exists(single)) {
    files_.push_back(std::make_unique<SafetensorsFile>(single));
    for (const auto& [name, entry] : files_.front()->tensors()) where_.emplace(name, files_.front().get());
    return;
  }
  if (!std::filesystem::exists(index)) {
    const bool torch = std::filesystem::exists(directory / "pytorch_model.bin") ||
                       std::filesystem::exists(directory / "pytorch_model.bin.index.json");
    fail_user(directory.string(), ": holds neither model.safetensors nor model.safetensors.index.json",
              torch ? "; run `koine convert` on its pytorch_model.bin first" : "; is this a model directory?");
  }
  const nlohmann::json value = read_json(index);
  require(value.is_object() && value.contains("weight_map") && value["weight_map"].is_object(), index.string(),
          ": needs an object weight_map");
  std::map<std::string, const SafetensorsFile*> shards;
  for (const auto& [name, shard_value] : value["weight_map"].items()) {
    require(shard_value.is_string(), index.string(), ": tensor ", name, ": its shard must be a file name");
    const std::string& shard = shard_value.get_ref<const std::string&>();
    require(!shard.empty() && shard.find('/') == std::string::npos && shard.find("..") == std::string::npos, index.string(),
            ": tensor ", name, ": the shard ", shard_value.dump(), " is not a plain file name");
    const SafetensorsFile*& file = shards[shard];
    if (file == nullptr) {
      files_.push_back(std::make_unique<SafetensorsFile>(directory / shard));
      file = files_.back().get();
    }
    require(file->contains(name), index.string(), ": tensor ", name, " is said to be in ", shard, ", but is not");
    where_.emplace(name, file);
  }
}

std::vector<std::string> ModelWeights::names() const {
  std::vector<std::string> names;
  for (const auto& [name, file] : where_) names.push_back(name);
  return names;
}

bool ModelWeights::contains(const std::string& name) const { return where_.count(name) != 0; }

const TensorEntry& ModelWeights::entry(const std::string& name) const {
  require(contains(name), directory_.string(), ": the model has no tensor ", name);
  return where_.at(name)->entry(name);
}

void ModelWeights::read_float(const std::string& name, float* output) const {
  entry(name);
  where_.at(name)->read_float(name, output);
}

const std::filesystem::path& ModelWeights::file_of(const std::string& name) const {
  entry(name);
  return where_.at(name)->path();
}

}  // namespace koine
