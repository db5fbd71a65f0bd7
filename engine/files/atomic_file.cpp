#include "engine/files/atomic_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <vector>

#include "kernels/common/check.h"

namespace koine {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{1} << 16;
constexpr std::string_view kTemporaryEnding = ".tmp";

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

/// A name no other writer of this or another process uses.
std::filesystem::path temporary_name(const std::filesystem::path& path) {
  static std::atomic<unsigned> counter{0};
  return folder_of(path) / concatenate(".", path.filename().string(), ".", static_cast<long>(getpid()), "-",
                                       counter.fetch_add(1), kTemporaryEnding);
}

/// Makes the rename itself survive a power failure. Some file systems cannot sync a folder; the file is in place all the
/// same.
void sync_folder(const std::filesystem::path& folder) {
  const int descriptor = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  fsync(descriptor);
  close(descriptor);
}

/// A new file, locked; -1 with errno where it cannot be made. Whoever cleans up (remove_leftovers) may have been between the
/// two: then the file has lost its name, and another is made.
int create_locked(const std::filesystem::path& path, std::filesystem::path& temporary) {
  while (true) {
    temporary = temporary_name(path);
    const int descriptor = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor < 0 && errno == EEXIST) continue;
    if (descriptor < 0) return -1;
    flock(descriptor, LOCK_EX);  // file systems without locks have no use for it either
    struct stat state;
    if (fstat(descriptor, &state) != 0 || state.st_nlink > 0) return descriptor;
    close(descriptor);
  }
}

/// Removes a temporary file unless its writer lives.
void remove_unlocked(const std::filesystem::path& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return;
  if (flock(descriptor, LOCK_EX | LOCK_NB) == 0) unlink(path.c_str());
  close(descriptor);
}

bool all_digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
}

}  // namespace

bool is_temporary_name(std::string_view name) {
  if (!name.starts_with('.') || !name.ends_with(kTemporaryEnding)) return false;
  name.remove_suffix(kTemporaryEnding.size());
  const std::size_t dash = name.rfind('-');
  const std::size_t dot = name.rfind('.');
  return dash != std::string_view::npos && dot > 0 && dot < dash && all_digits(name.substr(dash + 1)) &&
         all_digits(name.substr(dot + 1, dash - dot - 1));
}

void remove_leftovers(const std::filesystem::path& folder, bool below) {
  std::error_code ignored;
  std::vector<std::filesystem::directory_entry> entries;
  for (const std::filesystem::directory_entry& entry : std::filesystem::directory_iterator(folder, ignored)) {
    entries.push_back(entry);
  }
  for (const std::filesystem::directory_entry& entry : entries) {
    const bool is_folder = entry.symlink_status(ignored).type() == std::filesystem::file_type::directory;
    if (!is_temporary_name(entry.path().filename().string())) {
      if (is_folder && below) remove_leftovers(entry.path(), true);
    } else if (is_folder) {
      std::filesystem::remove_all(entry.path(), ignored);  // on its way out: nobody writes there
    } else {
      remove_unlocked(entry.path());
    }
  }
}

void remove_at_once(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::symlink_status(path, error).type() == std::filesystem::file_type::not_found) return;
  const std::filesystem::path doomed = temporary_name(path);
  std::filesystem::rename(path, doomed, error);
  if (!error) std::filesystem::remove_all(doomed, error);
  require(!error, path.string(), ": cannot be removed: ", error.message());
}

AtomicFile::AtomicFile(const std::filesystem::path& path) : path_(path) {
  struct stat state;
  if (stat(path.c_str(), &state) == 0 && !S_ISREG(state.st_mode)) {
    if (S_ISDIR(state.st_mode)) fail_user(path.string(), ": cannot be written: it is a folder; name a file");
    descriptor_ = open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (descriptor_ < 0) fail("be opened for writing");
    return;
  }
  descriptor_ = create_locked(path, temporary_);
  if (descriptor_ < 0) {
    temporary_.clear();
    fail("be created");
  }
}

AtomicFile::~AtomicFile() { abandon(); }

void AtomicFile::write(const void* data, std::size_t bytes) {
  check(descriptor_ >= 0, "a committed file is written to");
  if (bytes == 0) return;
  if (buffer_.size() + bytes <= kBufferBytes) {
    buffer_.append(static_cast<const char*>(data), bytes);
    return;
  }
  flush();
  if (bytes < kBufferBytes) {
    buffer_.append(static_cast<const char*>(data), bytes);
  } else {
    write_through(static_cast<const std::byte*>(data), bytes);
  }
}

void AtomicFile::flush() {
  write_through(reinterpret_cast<const std::byte*>(buffer_.data()), buffer_.size());
  buffer_.clear();
}

void AtomicFile::write_through(const std::byte* data, std::size_t bytes) {
  while (bytes > 0) {
    const ssize_t written = ::write(descriptor_, data, bytes);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("be written");
    data += written;
    bytes -= static_cast<std::size_t>(written);
  }
}

void AtomicFile::commit() {
  check(descriptor_ >= 0, "a file is committed twice");
  flush();
  const bool direct = temporary_.empty();
  if (!direct && fsync(descriptor_) != 0) fail("be synced to disk");
  const int descriptor = descriptor_;
  descriptor_ = -1;
  if (close(descriptor) != 0) fail("be closed");
  if (direct) return;
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) fail("be renamed into place");
  temporary_.clear();
  sync_folder(folder_of(path_));
}

void AtomicFile::abandon() {
  if (descriptor_ >= 0) close(descriptor_);
  descriptor_ = -1;
  if (!temporary_.empty()) unlink(temporary_.c_str());
  temporary_.clear();
}

void AtomicFile::fail(const char* action) {
  const int reason = errno;
  abandon();
  const char* advice = reason == ENOSPC || reason == EDQUOT ? "; free some space or choose another output" : "";
  fail_user(path_.string(), ": cannot ", action, ": ", std::strerror(reason), advice);
}

}  // namespace koine
