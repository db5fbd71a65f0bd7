#pragma once

// A file that appears whole or not at all.
//
// Bytes go to a temporary file in the target's folder. commit() syncs it, renames it over the target and syncs the folder; a
// writer destroyed without commit() removes the temporary file, and an older file of that name is as it was. A target that
// exists and is not a regular file (a pipe, /dev/stdout) is written directly.
//
// A writer that was killed leaves its temporary file: ".NAME.PROCESS-N.tmp", locked (flock) for as long as the writer lives,
// so that a later program can tell what may go.

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

/// Whether a file or folder is called as temporary ones of this program are: ".NAME.PROCESS-N.tmp".
bool is_temporary_name(std::string_view name);

/// Removes what killed programs left under temporary names in `folder`, and, where `below`, in the folders in it. Files that
/// a living writer has open stay. What cannot be removed stays without a word.
void remove_leftovers(const std::filesystem::path& folder, bool below);

/// Removes a file, or a folder with all that is in it, so that under its name it is there whole or not at all: it gets a
/// temporary name first. Nothing where it is not there. UserError naming it where it cannot be removed.
void remove_at_once(const std::filesystem::path& path);

}  // namespace koine
