#include "engine/files/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "kernels/common/check.h"

namespace koine {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{1} << 16;

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

/// A name no other writer of this or another process uses.
std::filesystem::path temporary_name(const std::filesystem::path& path) {
  static std::atomic<unsigned> counter{0};
  return folder_of(path) /
         concatenate(".", path.filename().string(), ".", static_cast<long>(getpid()), "-", counter.fetch_add(1), ".tmp");
}

/// Makes the rename itself survive a power failure. Some file systems cannot sync a folder; the file is in place all the
/// same.
void sync_folder(const std::filesystem::path& folder) {
  const int descriptor = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  fsync(descriptor);
  close(descriptor);
}

}  // namespace

AtomicFile::AtomicFile(const std::filesystem::path& path) : path_(path) {
  struct stat state;
  if (stat(path.c_str(), &state) == 0 && !S_ISREG(state.st_mode)) {
    if (S_ISDIR(state.st_mode)) fail_user(path.string(), ": cannot be written: it is a folder; name a file");
    descriptor_ = open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (descriptor_ < 0) fail("be opened for writing");
    return;
  }
  do {
    temporary_ = temporary_name(path);
    descriptor_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (descriptor_ < 0 && errno == EEXIST);
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
