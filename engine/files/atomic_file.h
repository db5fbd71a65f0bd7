#pragma once

// A file that appears whole or not at all.
//
// Bytes go to a temporary file in the target's folder. commit() syncs it, renames it over the target and syncs the folder; a
// writer destroyed without commit() removes the temporary file, and an older file of that name is as it was. A target that
// exists and is not a regular file (a pipe, /dev/stdout) is written directly.

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

namespace koine {

class AtomicFile {
 public:
  /// UserError naming the target when its folder cannot be written.
  explicit AtomicFile(const std::filesystem::path& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// UserError naming the target and the reason (a full disk, a file size limit).
  void write(const void* data, std::size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  void commit();

 private:
  void flush();
  void write_through(const std::byte* data, std::size_t bytes);
  void abandon();
  [[noreturn]] void fail(const char* action);

  std::filesystem::path path_;
  std::filesystem::path temporary_;  ///< empty: the target itself is open
  std::string buffer_;
  int descriptor_ = -1;
};

}  // namespace koine
