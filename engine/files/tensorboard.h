#pragma once

// Curves for TensorBoard: event files as its readers expect them, without its libraries.
//
// A file events.out.tfevents.<seconds>.<host>.<process> is a sequence of TFRecords: length (u64), masked CRC-32C of the
// length, the bytes, their masked CRC-32C; masked: ((crc >> 15) | (crc << 17)) + 0xa282ead8. Each record is an Event message
// of protocol buffers (tensorflow/core/util/event.proto): wall_time 1 (double), step 2 (int64), file_version 3 (the first
// record: "brain.Event:2") or summary 5 { value 1 { tag 1, simple_value 2 (float) } }.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace koine {

/// A TFRecord of `payload`.
std::string tensorboard_record(std::string_view payload);
/// The Event of one scalar; `wall_time` in seconds since 1970.
std::string tensorboard_scalar(std::string_view tag, float value, std::int64_t step, double wall_time);
/// The Event every file begins with.
std::string tensorboard_version(double wall_time);

class TensorBoardWriter {
 public:
  /// Makes `folder` and a new event file in it, so that a resumed run adds to the curves of the one before. UserError naming
  /// the file.
  explicit TensorBoardWriter(const std::filesystem::path& folder);
  ~TensorBoardWriter();
  TensorBoardWriter(const TensorBoardWriter&) = delete;
  TensorBoardWriter& operator=(const TensorBoardWriter&) = delete;

  /// In the file when it returns, so that a run that dies has its curves. UserError when the disk is full.
  void scalar(std::string_view tag, float value, std::int64_t step);
  const std::filesystem::path& path() const { return path_; }

 private:
  void append(const std::string& record);

  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace koine
