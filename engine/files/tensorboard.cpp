#include "engine/files/tensorboard.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include "engine/files/crc32.h"
#include "engine/files/text_file.h"
#include "kernels/common/check.h"

namespace koine {
namespace {

enum WireType : std::uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

template <class Number>
std::string raw(Number value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes += static_cast<char>(value);
}

std::string field(std::uint32_t number, WireType type, std::string_view bytes) {
  std::string encoded = varint(number << 3 | type);
  if (type == kBytes) encoded += varint(bytes.size());
  return encoded.append(bytes);
}

std::uint32_t masked(std::uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8u; }

double now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

std::string host() {
  char name[256] = "";
  return gethostname(name, sizeof name - 1) == 0 && name[0] != '\0' ? name : "localhost";
}

}  // namespace

std::string tensorboard_record(std::string_view payload) {
  const std::string length = raw(static_cast<std::uint64_t>(payload.size()));
  return length + raw(masked(crc32c(length))) + std::string(payload) + raw(masked(crc32c(payload)));
}

std::string tensorboard_version(double wall_time) {
  return field(1, kFixed64, raw(wall_time)) + field(3, kBytes, "brain.Event:2");
}

std::string tensorboard_scalar(std::string_view tag, float value, std::int64_t step, double wall_time) {
  const std::string summary_value = field(1, kBytes, tag) + field(2, kFixed32, raw(value));
  return field(1, kFixed64, raw(wall_time)) + field(2, kVarint, varint(static_cast<std::uint64_t>(step))) +
         field(5, kBytes, field(1, kBytes, summary_value));
}

TensorBoardWriter::TensorBoardWriter(const std::filesystem::path& folder) {
  make_directory(folder);
  // TensorBoard reads the files of a folder in the order of their names: by time first.
  const auto started = static_cast<std::int64_t>(now());
  for (int attempt = 0; descriptor_ < 0; ++attempt) {
    path_ =
        folder / concatenate("events.out.tfevents.", started, ".", host(), ".", static_cast<long>(getpid()), ".", attempt);
    descriptor_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    require(descriptor_ >= 0 || errno == EEXIST, path_.string(), ": cannot be created: ", std::strerror(errno));
  }
  append(tensorboard_record(tensorboard_version(now())));
}

TensorBoardWriter::~TensorBoardWriter() { close(descriptor_); }

void TensorBoardWriter::scalar(std::string_view tag, float value, std::int64_t step) {
  append(tensorboard_record(tensorboard_scalar(tag, value, step, now())));
}

void TensorBoardWriter::append(const std::string& record) {
  // One write for a record: a reader that follows the file meets whole ones.
  const ssize_t written = write(descriptor_, record.data(), record.size());
  require(written == static_cast<ssize_t>(record.size()), path_.string(),
          ": cannot be written: ", written < 0 ? std::strerror(errno) : "the disk is full");
}

}  // namespace koine
