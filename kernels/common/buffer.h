#pragma once

// Memory of the CPU or of a CUDA device, with a name for messages: one owner for both. What it does on a device is written
// above, over the device's runtime: kernels/cuda/buffer.cpp.

#include <cstddef>
#include <memory>
#include <string>

#include "kernels/common/types.h"

namespace koine {

/// Begins on a multiple of 256 bytes. On the CPU every page was touched once, so that later use costs no page fault. On
/// CUDA it lies on the device the calling thread works with (cuda::set_device), and is to be copied and filled by threads
/// that work with that one. Error where there is not so much memory.
class Buffer {
 public:
  Buffer() = default;
  /// What it holds at first is not to be read.
  Buffer(Device device, std::string name, std::size_t bytes);
  /// Holds zeros at first.
  static Buffer zeroed(Device device, std::string name, std::size_t bytes);
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;

  bool empty() const { return bytes_ == 0; }
  std::size_t bytes() const { return bytes_; }
  Device device() const { return device_; }
  int device_index() const { return device_index_; }
  const std::string& name() const { return name_; }
  void* data() const { return data_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

  // Done when they return. On a device they wait for all of its work before and for the copy itself: for the start and the
  // end of things, never in a step. `offset` is in bytes from the beginning.
  void write(const void* from, std::size_t bytes, std::size_t offset = 0);
  void read(void* to, std::size_t bytes, std::size_t offset = 0) const;
  /// The beginning of another buffer on the same device, `bytes` of it.
  void copy_from(const Buffer& other, std::size_t bytes);
  void fill_with_zero();

 private:
  std::byte* place(std::size_t offset, std::size_t bytes) const;

  Device device_ = Device::kCpu;
  int device_index_ = 0;
  std::string name_;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
  std::shared_ptr<void> on_device_;  ///< the owner of data_ there
};

}  // namespace koine
