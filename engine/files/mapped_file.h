#pragma once

// A file's bytes without copying them: mapped into memory, read-only, for as long as the object lives.

#include <cstddef>
#include <filesystem>
#include <string_view>

namespace koine {

class MappedFile {
 public:
  /// UserError naming the file when it cannot be read. An empty file has no bytes and is no error.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::string_view bytes() const { return {begin_, size_}; }

 private:
  const char* begin_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace koine
