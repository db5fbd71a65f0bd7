#include "engine/files/torch_pickle.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/files/pickle.h"
#include "engine/files/safetensors.h"
#include "engine/files/text_file.h"
#include "engine/files/zip_archive.h"
#include "kernels/common/check.h"

namespace koine {
namespace {

using Kind = PickleObject::Kind;
using StorageBytes = std::map<std::string, std::string_view>;

constexpr std::string_view kLegacyMagic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);  // 0x1950a86a20f9469cfc6c
constexpr std::int64_t kLegacyProtocol = 1001;
/// Tensors may share bytes: tied weights, all layers of an encoder. A file whose tensors are so many times its own size, or
/// so many times in copies for their strides, is made to exhaust disk or memory.
constexpr std::uint64_t kMaximumGrowth = 64;
constexpr std::uint64_t kMaximumCopies = 8;

std::uint64_t element_bytes(std::string_view dtype) { return static_cast<std::uint64_t>(safetensors_bits(dtype)) / 8; }

/// Elements of a shape; UserError when a size is negative or the product overflows.
std::int64_t count_of(const std::vector<std::int64_t>& shape, const std::string& where) {
  std::int64_t count = 1;
  bool empty = false;
  for (const std::int64_t extent : shape) {
    require(extent >= 0, where, ": has a negative size");
    empty = empty || extent == 0;
    require(!__builtin_mul_overflow(count, std::max<std::int64_t>(extent, 1), &count), where,
            ": its sizes overflow 64 bits");
  }
  return empty ? 0 : count;
}

/// Element of the storage that the tensor's last element is; UserError when it, or any of the numbers, is out of range.
void check_reach(const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& strides, std::int64_t offset,
                 std::int64_t storage_elements, const std::string& where) {
  std::int64_t last = offset;
  bool sound = offset >= 0;
  for (std::size_t i = 0; i < shape.size() && sound; ++i) {
    std::int64_t reach = 0;
    sound = strides[i] >= 0 && !__builtin_mul_overflow(shape[i] - 1, strides[i], &reach) &&
            !__builtin_add_overflow(last, reach, &last);
  }
  require(sound && last < storage_elements, where, ": reaches outside its storage of ", storage_elements, " elements");
}

bool is_row_major(const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& strides) {
  std::int64_t expected = 1;
  for (std::size_t i = shape.size(); i-- > 0; expected *= shape[i]) {
    if (shape[i] != 1 && strides[i] != expected) return false;
  }
  return true;
}

/// Copies the elements in row-major order: an odometer over all dimensions.
std::vector<std::byte> gather(const std::byte* first, const std::vector<std::int64_t>& shape,
                              const std::vector<std::int64_t>& strides, std::int64_t count, std::uint64_t bytes) {
  std::vector<std::byte> copy(static_cast<std::size_t>(count) * bytes);
  std::vector<std::int64_t> index(shape.size(), 0);
  std::int64_t source = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    std::memcpy(copy.data() + static_cast<std::uint64_t>(i) * bytes, first + static_cast<std::uint64_t>(source) * bytes,
                bytes);
    for (std::size_t axis = shape.size(); axis-- > 0;) {
      source += strides[axis];
      if (++index[axis] < shape[axis]) break;
      source -= strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
  return copy;
}

std::vector<std::int64_t> integers_of(const PickleObject& tuple) {
  std::vector<std::int64_t> values;
  for (const PickleObject* item : tuple.items) values.push_back(item->integer);
  return values;
}

void check_state_dictionary(const PickleObject& root, const std::string& where) {
  require(root.kind == Kind::kDictionary, where, ": does not hold a state dictionary");
  for (std::size_t i = 0; i < root.items.size(); i += 2) {
    const std::string_view name = root.items[i]->text;
    require(name.find('\n') == std::string_view::npos, where, ": a tensor's name has a line break");
    require(root.items[i + 1]->kind == Kind::kTensor, where, ": tensor ", name,
            ": is not a tensor; only a plain state dictionary can be converted");
  }
}

TorchTensor resolve(const PickleObject& object, std::string_view name, const StorageBytes& storages,
                    const std::string& file) {
  TorchTensor tensor;
  tensor.name = name;
  const std::string where = file + ": tensor " + tensor.name;
  const PickleObject& storage = *object.items[0];
  tensor.dtype = storage.dtype;
  tensor.shape = integers_of(*object.items[1]);
  const std::vector<std::int64_t> strides = integers_of(*object.items[2]);
  const auto found = storages.find(std::string(storage.text));
  require(found != storages.end(), where, ": its storage is not in the file");
  const std::uint64_t bytes = element_bytes(storage.dtype);
  require(found->second.size() / bytes == static_cast<std::uint64_t>(storage.integer) && found->second.size() % bytes == 0,
          where, ": its storage should have ", storage.integer, " elements, but has ", found->second.size(), " bytes");
  require(strides.size() == tensor.shape.size(), where, ": has ", tensor.shape.size(), " sizes, but ", strides.size(),
          " strides");
  const std::int64_t count = count_of(tensor.shape, where);
  if (count == 0) return tensor;
  require(count <= storage.integer, where, ": has more elements than its storage");
  check_reach(tensor.shape, strides, object.integer, storage.integer, where);
  tensor.data =
      reinterpret_cast<const std::byte*>(found->second.data()) + static_cast<std::uint64_t>(object.integer) * bytes;
  if (!is_row_major(tensor.shape, strides)) {
    tensor.copy = gather(tensor.data, tensor.shape, strides, count, bytes);
    tensor.data = tensor.copy.data();
  }
  return tensor;
}

std::vector<TorchTensor> tensors_of(const PickleObject& root, const StorageBytes& storages, std::size_t file_bytes,
                                    const std::string& where) {
  std::vector<TorchTensor> tensors;
  std::set<std::string_view> names;
  std::uint64_t total = 0;
  std::uint64_t copies = 0;
  for (std::size_t i = 0; i < root.items.size(); i += 2) {
    const std::string_view name = root.items[i]->text;
    require(names.insert(name).second, where, ": tensor ", name, " occurs twice");
    tensors.push_back(resolve(*root.items[i + 1], name, storages, where));
    total += static_cast<std::uint64_t>(count_of(tensors.back().shape, where)) * element_bytes(tensors.back().dtype);
    copies += tensors.back().copy.size();
    require(total <= kMaximumGrowth * file_bytes && copies <= kMaximumCopies * file_bytes, where,
            ": its tensors claim far more bytes than the file has");
  }
  return tensors;
}

std::vector<TorchTensor> parse_zip(std::string_view bytes, const std::string& where) {
  constexpr std::string_view kPickleName = "/data.pkl";
  const auto entries = read_zip_archive(bytes, where);
  std::string stem;
  for (const auto& [name, data] : entries) {
    if (name.ends_with(kPickleName)) stem = name.substr(0, name.size() - kPickleName.size());
  }
  const auto pickle_entry = entries.find(stem + std::string(kPickleName));
  require(pickle_entry != entries.end(), where, ": has no data.pkl; not a file of torch.save");
  const auto byte_order = entries.find(stem + "/byteorder");
  require(byte_order == entries.end() || byte_order->second == "little", where, ": was written on a big-endian machine");
  const std::string prefix = stem + "/data/";
  StorageBytes storages;
  for (const auto& [name, data] : entries) {
    if (name.starts_with(prefix)) storages.emplace(name.substr(prefix.size()), data);
  }
  const Pickle pickle(pickle_entry->second, where);
  check_state_dictionary(pickle.root(), where);
  return tensors_of(pickle.root(), storages, bytes.size(), where);
}

struct StorageSize {
  std::uint64_t elements = 0;
  std::uint64_t bytes = 0;
};

/// What the state dictionary's tensors say of the storages, by their keys.
std::map<std::string, StorageSize> storage_sizes(const PickleObject& root, const std::string& where) {
  std::map<std::string, StorageSize> sizes;
  for (std::size_t i = 1; i < root.items.size(); i += 2) {
    const PickleObject& storage = *root.items[i]->items[0];
    const std::uint64_t bytes = element_bytes(storage.dtype);
    const auto elements = static_cast<std::uint64_t>(storage.integer);
    require(elements <= std::numeric_limits<std::int64_t>::max() / bytes, where, ": a storage claims ", elements,
            " elements");
    sizes.emplace(storage.text, StorageSize{elements, elements * bytes});
  }
  return sizes;
}

std::vector<TorchTensor> parse_legacy(std::string_view bytes, const std::string& where) {
  std::size_t at = 0;
  const auto next = [&] {
    Pickle pickle(bytes.substr(at), where);
    at += pickle.size();
    return pickle;
  };
  const Pickle magic = next();
  require(magic.root().kind == Kind::kLong && magic.root().text == kLegacyMagic, where, ": is not a file of torch.save");
  const Pickle protocol = next();
  require(protocol.root().kind == Kind::kInteger && protocol.root().integer == kLegacyProtocol, where,
          ": has an unknown version of torch.save's old format");
  const Pickle system = next();
  require(system.root().kind == Kind::kDictionary, where, ": lacks the description of the system it was written on");
  for (std::size_t i = 0; i < system.root().items.size(); i += 2) {
    const bool wrong = system.root().items[i]->text == "little_endian" && system.root().items[i + 1]->integer != 1;
    require(!wrong, where, ": was written on a big-endian machine");
  }
  const Pickle dictionary = next();
  check_state_dictionary(dictionary.root(), where);
  const Pickle keys = next();
  require(keys.root().kind == Kind::kList, where, ": lacks the list of its storages");

  const auto sizes = storage_sizes(dictionary.root(), where);
  StorageBytes storages;
  for (const PickleObject* key : keys.root().items) {
    const auto size = key->kind == Kind::kString ? sizes.find(std::string(key->text)) : sizes.end();
    require(size != sizes.end(), where, ": lists a storage that no tensor uses");
    std::uint64_t elements = 0;
    require(bytes.size() - at >= sizeof elements && bytes.size() - at - sizeof elements >= size->second.bytes, where,
            ": truncated within the tensors' data");
    std::memcpy(&elements, bytes.data() + at, sizeof elements);
    require(elements == size->second.elements, where, ": storage ", size->first, " has ", elements, " elements, not ",
            size->second.elements);
    at += sizeof elements;
    storages.emplace(size->first, bytes.substr(at, size->second.bytes));
    at += size->second.bytes;
  }
  return tensors_of(dictionary.root(), storages, bytes.size(), where);
}

/// The .bin files that `input` stands for.
std::vector<std::filesystem::path> files_of(const std::filesystem::path& input) {
  std::filesystem::path file = input;
  if (std::filesystem::is_directory(input)) {
    file = input / "pytorch_model.bin";
    if (!std::filesystem::exists(file)) file = input / "pytorch_model.bin.index.json";
    require(std::filesystem::exists(file), input.string(),
            ": holds neither pytorch_model.bin nor pytorch_model.bin.index.json");
  }
  if (file.extension() != ".json") return {file};
  const nlohmann::json index = read_json(file);
  require(index.is_object() && index.contains("weight_map") && index["weight_map"].is_object(), file.string(),
          ": needs an object weight_map");
  std::set<std::filesystem::path> files;
  for (const auto& [name, shard] : index["weight_map"].items()) {
    require(shard.is_string() && shard.get<std::string>().find('/') == std::string::npos &&
                shard.get<std::string>().find("..") == std::string::npos,
            file.string(), ": tensor ", name, ": the shard ", shard.dump(), " is not a plain file name");
    files.insert(file.parent_path() / shard.get<std::string>());
  }
  return {files.begin(), files.end()};
}

std::string modern_name(std::string name) {
  for (const auto& [old, now] : {std::pair(".gamma", ".weight"), std::pair(".beta", ".bias")}) {
    if (name.ends_with(old)) name.replace(name.size() - std::strlen(old), std::string::npos, now);
  }
  return name;
}

/// Whether the tensor is the masked-language head's decoder and the very bytes that the model ties it to.
bool is_tied_decoder(const TorchTensor& tensor, const std::vector<TorchTensor>& tensors) {
  for (const auto& [decoder, source] : {std::pair("lm_head.decoder.weight", "embeddings.word_embeddings.weight"),
                                        std::pair("lm_head.decoder.bias", "lm_head.bias")}) {
    if (tensor.name != decoder) continue;
    return std::any_of(tensors.begin(), tensors.end(), [&, name = source](const TorchTensor& other) {
      return other.name.ends_with(name) && other.data == tensor.data && other.dtype == tensor.dtype &&
             other.shape == tensor.shape;
    });
  }
  return false;
}

void copy_companions(const std::filesystem::path& from, const std::filesystem::path& to) {
  for (const char* name :
       {"config.json", "sentencepiece.bpe.model", "sentencepiece.model", "spiece.model", "tokenizer.json",
        "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "generation_config.json"}) {
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(from / name) || std::filesystem::equivalent(from, to, ignored)) continue;
    write_file_atomically(to / name, read_file(from / name));
  }
}

}  // namespace

std::vector<TorchTensor> parse_torch_checkpoint(std::string_view bytes, const std::string& where) {
  return is_zip_archive(bytes) ? parse_zip(bytes, where) : parse_legacy(bytes, where);
}

std::int64_t convert_torch_checkpoint(const std::filesystem::path& input, const std::filesystem::path& output) {
  std::vector<std::unique_ptr<TorchCheckpoint>> checkpoints;
  std::vector<TensorSource> sources;
  std::set<std::string> names;
  const std::vector<std::filesystem::path> files = files_of(input);
  for (const std::filesystem::path& file : files) {
    checkpoints.push_back(std::make_unique<TorchCheckpoint>(file));
    const std::vector<TorchTensor>& tensors = checkpoints.back()->tensors();
    for (const TorchTensor& tensor : tensors) {
      if (tensor.name.ends_with("position_ids") || is_tied_decoder(tensor, tensors)) continue;
      const std::string name = modern_name(tensor.name);
      require(names.insert(name).second, file.string(), ": tensor ", name, " occurs twice");
      require(name != "__metadata__", file.string(),
              ": a tensor is called __metadata__, which a safetensors file keeps for "
              "its notes; rename it");
      sources.push_back({name, tensor.dtype, tensor.shape, tensor.data});
    }
  }
  make_directory(output);
  write_safetensors(output / "model.safetensors", sources);
  copy_companions(files.front().has_parent_path() ? files.front().parent_path() : std::filesystem::path("."), output);
  return static_cast<std::int64_t>(sources.size());
}

}  // namespace koine
