// A library for LD_PRELOAD that ends a program by SIGKILL at a chosen one of its changes to files: what it wrote before is
// there, what comes after is not.
//
//   CRASH_DIR    only changes below this folder count
//   CRASH_AT     the number of the change (from 1) before which the program is killed; 0 or absent: none
//   CRASH_LOG    a file that gets a line "number operation path" for every change
//
// Counted are the calls of making, writing, syncing, renaming and removing that the program makes itself. (What the C library
// writes for fopen is not among them: metrics.jsonl, which the program mends by itself.)

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <string>

namespace {

std::atomic<long> changes{0};

template <class Function>
Function real(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

bool counts(const char* path) {
  const char* folder = getenv("CRASH_DIR");
  return folder != nullptr && strncmp(path, folder, strlen(folder)) == 0;
}

void before_change(const char* operation, const std::string& path) {
  if (!counts(path.c_str())) return;
  const long number = ++changes;
  if (const char* log = getenv("CRASH_LOG")) {
    static auto* const real_open = real<int (*)(const char*, int, ...)>("open");
    static auto* const real_write = real<ssize_t (*)(int, const void*, size_t)>("write");
    const int file = real_open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    const std::string line = std::to_string(number) + " " + operation + " " + path + "\n";
    if (file >= 0) (void)!real_write(file, line.data(), line.size());
    close(file);
  }
  const char* at = getenv("CRASH_AT");
  if (at == nullptr || atol(at) != number) return;
  kill(getpid(), SIGKILL);
  pause();
}

std::string path_of(int descriptor) {
  char link[64];
  char path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  const ssize_t size = readlink(link, path, sizeof path);
  return std::string(path, size > 0 ? static_cast<std::size_t>(size) : 0);
}

std::string path_in(int folder, const char* name) {
  return name[0] == '/' || folder == AT_FDCWD ? name : path_of(folder) + "/" + name;
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  static auto* const next = real<int (*)(const char*, int, ...)>("open");
  mode_t mode = 0;
  if ((flags & O_CREAT) != 0) {
    va_list arguments;
    va_start(arguments, flags);
    mode = va_arg(arguments, mode_t);
    va_end(arguments);
    before_change("make", path);
  }
  return next(path, flags, mode);
}

ssize_t write(int descriptor, const void* bytes, size_t size) {
  static auto* const next = real<ssize_t (*)(int, const void*, size_t)>("write");
  before_change("write", path_of(descriptor));
  return next(descriptor, bytes, size);
}

ssize_t pwrite(int descriptor, const void* bytes, size_t size, off_t offset) {
  static auto* const next = real<ssize_t (*)(int, const void*, size_t, off_t)>("pwrite");
  before_change("write", path_of(descriptor));
  return next(descriptor, bytes, size, offset);
}

int fsync(int descriptor) {
  static auto* const next = real<int (*)(int)>("fsync");
  before_change("sync", path_of(descriptor));
  return next(descriptor);
}

int rename(const char* from, const char* to) noexcept {
  static auto* const next = real<int (*)(const char*, const char*)>("rename");
  before_change("rename", to);
  return next(from, to);
}

int unlink(const char* path) noexcept {
  static auto* const next = real<int (*)(const char*)>("unlink");
  before_change("remove", path);
  return next(path);
}

int unlinkat(int folder, const char* name, int flags) noexcept {
  static auto* const next = real<int (*)(int, const char*, int)>("unlinkat");
  before_change("remove", path_in(folder, name));
  return next(folder, name, flags);
}

int remove(const char* path) noexcept {
  static auto* const next = real<int (*)(const char*)>("remove");
  before_change("remove", path);
  return next(path);
}

int mkdir(const char* path, mode_t mode) noexcept {
  static auto* const next = real<int (*)(const char*, mode_t)>("mkdir");
  before_change("make", path);
  return next(path, mode);
}

}  // extern "C"
