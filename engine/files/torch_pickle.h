#pragma once

// PyTorch's `pytorch_model.bin`, without Python: a state dictionary of tensors in either container torch.save has written.
//
//   zip (torch 1.6 and later)  <stem>/data.pkl, the pickle; <stem>/data/<key>, the bytes of each storage
//   legacy                     five pickles (magic number, 1001, system, the dictionary, the storages' keys), then for each
//                              key the number of its elements (int64) and their bytes
//
// Files are not trusted: see pickle.h; every size, offset and stride is checked against the storage before it is used.
// Anything wrong is a UserError naming the file and the tensor.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/files/mapped_file.h"

namespace koine {

struct TorchTensor {
  std::string name;
  std::string dtype;  ///< as safetensors spells it
  std::vector<std::int64_t> shape;
  const std::byte* data = nullptr;  ///< row-major; points into the file or into `copy`
  std::vector<std::byte> copy;      ///< used when the file's strides are not row-major
};

/// The tensors of a whole file in memory, in the file's order; `bytes` must outlive them.
std::vector<TorchTensor> parse_torch_checkpoint(std::string_view bytes, const std::string& where);

class TorchCheckpoint {
 public:
  explicit TorchCheckpoint(const std::filesystem::path& path)
      : file_(path), tensors_(parse_torch_checkpoint(file_.bytes(), path.string())) {}
  const std::vector<TorchTensor>& tensors() const { return tensors_; }

 private:
  MappedFile file_;
  std::vector<TorchTensor> tensors_;
};

/// Writes `output`/model.safetensors with the tensors of `input`: a .bin file, an index file (pytorch_model.bin.index.json),
/// or a directory that holds pytorch_model.bin or the index; and copies config.json and the tokenizer's files that lie
/// beside it. Every name is written, also of tensors that share bytes, except what a loader makes itself: position_ids, and
/// lm_head.decoder.weight and .bias where they are the bytes of the word embeddings and of lm_head.bias (tied). The names
/// gamma and beta of old checkpoints become weight and bias. Returns the tensors written.
std::int64_t convert_torch_checkpoint(const std::filesystem::path& input, const std::filesystem::path& output);

}  // namespace koine
