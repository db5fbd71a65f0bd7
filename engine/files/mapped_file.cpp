#include "engine/files/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "kernels/common/check.h"

namespace koine {

MappedFile::MappedFile(const std::filesystem::path& path) {
  // Opening a pipe that nobody writes to would wait for ever.
  const int descriptor = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  require(descriptor >= 0, path.string(), ": cannot be read: ", std::strerror(errno));
  struct stat state;
  const bool regular = fstat(descriptor, &state) == 0 && S_ISREG(state.st_mode);
  if (regular && state.st_size > 0) {
    size_ = static_cast<std::size_t>(state.st_size);
    void* mapping = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
    begin_ = mapping == MAP_FAILED ? nullptr : static_cast<const char*>(mapping);
  }
  const int reason = errno;
  close(descriptor);
  require(regular, path.string(), ": is not a regular file");
  require(size_ == 0 || begin_ != nullptr, path.string(), ": cannot be mapped into memory: ", std::strerror(reason));
}

MappedFile::~MappedFile() {
  if (begin_ != nullptr) munmap(const_cast<char*>(begin_), size_);
}

}  // namespace koine
