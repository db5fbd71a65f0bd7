#pragma once

// The safetensors format (huggingface/safetensors, README "Format"), read strictly and written as transformers expects it.
//
//   8 bytes little-endian N; N bytes of JSON header; the tensors' bytes. Entries: dtype, shape, data_offsets [begin, end)
//   from the end of the header; "__metadata__" maps strings to strings.
// Refused, by UserError naming file and tensor: a truncated file, N beyond 100,000,000 or the file, a header that is not an
// object or repeats a key, an unknown dtype, sizes that overflow or disagree with shape and dtype, tensors that overlap,
// leave a hole or do not end with the file.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/files/mapped_file.h"

namespace koine {

struct TensorEntry {
  std::string dtype;  ///< "F32", "BF16", "F16", "F64", "I64", "I32", ...
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;  ///< bytes from the start of the data
  std::uint64_t end = 0;

  std::int64_t count() const;
};

/// Bits of one element of a dtype of the format, 0 for a name the format does not know.
int safetensors_bits(std::string_view dtype);

/// A header that has passed every check.
struct SafetensorsHeader {
  std::map<std::string, TensorEntry> tensors;
  std::map<std::string, std::string> metadata;
  std::uint64_t data_begin = 0;  ///< where the tensors' bytes begin in the file
};

/// Reads the header of a whole file in memory; `where` names it in messages.
SafetensorsHeader parse_safetensors_header(std::string_view file, const std::string& where);

/// One open file, memory-mapped. What bytes() points to need not be aligned.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::map<std::string, TensorEntry>& tensors() const { return header_.tensors; }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }
  const std::filesystem::path& path() const { return path_; }
  bool contains(const std::string& name) const { return header_.tensors.count(name) != 0; }

  /// UserError naming file and tensor where it is missing.
  const TensorEntry& entry(const std::string& name) const;
  const std::byte* bytes(const std::string& name) const;
  /// A floating tensor (F32, F16, BF16, F64) converted to fp32 into `output` [count].
  void read_float(const std::string& name, float* output) const;
  std::vector<float> read_float(const std::string& name) const;
  /// An integer tensor (I32, I64, I16, I8, U8, BOOL) as 64-bit.
  std::vector<std::int64_t> read_integer(const std::string& name) const;

 private:
  std::filesystem::path path_;
  MappedFile mapping_;
  SafetensorsHeader header_;
};

/// A tensor to be written: fp32 memory somebody else owns (or raw bytes of another dtype).
struct TensorSource {
  std::string name;
  std::string dtype = "F32";
  std::vector<std::int64_t> shape;
  const void* data = nullptr;
  /// Where the values are not in host memory: puts them into the memory it is given, of the tensor's size; `data` is null.
  std::function<void(void*)> read = {};
};

/// Writes atomically (temporary name beside it, synced, renamed). Tensors are ordered by name, the header padded to a
/// multiple of 8. A full disk leaves the old file as it was: UserError.
void write_safetensors(const std::filesystem::path& path, const std::vector<TensorSource>& tensors,
                       const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

/// The weights of a model directory: model.safetensors, or the shards that model.safetensors.index.json names. A shard name
/// with a
/// '/' or "..", a shard that lacks a tensor the index gives it, or a tensor in no shard is a UserError.
class ModelWeights {
 public:
  explicit ModelWeights(const std::filesystem::path& directory);
  std::vector<std::string> names() const;
  bool contains(const std::string& name) const;
  const TensorEntry& entry(const std::string& name) const;
  void read_float(const std::string& name, float* output) const;
  /// The file a tensor is in, for messages.
  const std::filesystem::path& file_of(const std::string& name) const;

 private:
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, const SafetensorsFile*> where_;
  std::filesystem::path directory_;
};

}  // namespace koine
