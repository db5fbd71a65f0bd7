#include "kernels/common/buffer.h"

#include <sys/mman.h>

#include <cstring>
#include <utility>

#include "kernels/common/check.h"
#include "kernels/common/parallel.h"
#include "kernels/cuda/runtime.h"

namespace koine {
namespace {

// Bytes one thread clears at a time.
constexpr std::int64_t kGrain = 1 << 18;

}  // namespace

Buffer::Buffer(Device device, std::string name, std::size_t bytes) : device_(device), name_(std::move(name)), bytes_(bytes) {
  if (bytes == 0) return;
  if (device == Device::kCuda) {
    device_index_ = cuda::current_device();
    const auto memory = std::make_shared<cuda::DeviceMemory>(name_, bytes);
    data_ = memory->data();
    on_device_ = memory;
    return;
  }
  void* block = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  check(block != MAP_FAILED, "cannot allocate ", bytes, " bytes for ", name_);
  data_ = block;
}

// New pages of the CPU hold zeros.
Buffer Buffer::zeroed(Device device, std::string name, std::size_t bytes) {
  Buffer result(device, std::move(name), bytes);
  if (device == Device::kCuda) result.fill_with_zero();
  return result;
}

Buffer::~Buffer() {
  if (device_ == Device::kCpu && data_ != nullptr) munmap(data_, bytes_);
}

Buffer::Buffer(Buffer&& other) noexcept { *this = std::move(other); }

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(device_index_, other.device_index_);
  std::swap(name_, other.name_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(on_device_, other.on_device_);
  return *this;
}

std::byte* Buffer::place(std::size_t offset, std::size_t bytes) const {
  check(offset <= bytes_ && bytes <= bytes_ - offset, "bytes ", offset, " to ", offset + bytes, " of ", name_,
        ", which has ", bytes_);
  check(device_ == Device::kCpu || cuda::current_device() == device_index_, "memory lies on the wrong CUDA device: ", name_,
        " on ", device_index_, ", and this thread works with another");
  return static_cast<std::byte*>(data_) + offset;
}

void Buffer::write(const void* from, std::size_t bytes, std::size_t offset) {
  if (bytes == 0) return;
  std::byte* to = place(offset, bytes);
  if (device_ == Device::kCpu) {
    std::memcpy(to, from, bytes);
    return;
  }
  cuda::synchronize_device();
  cuda::copy_to_device(to, from, bytes, nullptr);
  cuda::synchronize(nullptr);
}

void Buffer::read(void* to, std::size_t bytes, std::size_t offset) const {
  if (bytes == 0) return;
  const std::byte* from = place(offset, bytes);
  if (device_ == Device::kCpu) {
    std::memcpy(to, from, bytes);
    return;
  }
  cuda::synchronize_device();
  cuda::copy_to_host(to, from, bytes, nullptr);
  cuda::synchronize(nullptr);
}

void Buffer::copy_from(const Buffer& other, std::size_t bytes) {
  if (bytes == 0) return;
  check(device_ == other.device_ && device_index_ == other.device_index_, "on different devices: ", name_, " and ",
        other.name_);
  std::byte* to = place(0, bytes);
  const std::byte* from = other.place(0, bytes);
  if (device_ == Device::kCpu) {
    std::memcpy(to, from, bytes);
    return;
  }
  cuda::synchronize_device();
  cuda::copy_on_device(to, from, bytes, nullptr);
  cuda::synchronize(nullptr);
}

void Buffer::fill_with_zero() {
  if (empty()) return;
  std::byte* to = place(0, bytes_);
  if (device_ == Device::kCpu) {
    parallel_ranges(static_cast<std::int64_t>(bytes_), kGrain, [&](std::int64_t begin, std::int64_t end) {
      std::memset(to + begin, 0, static_cast<std::size_t>(end - begin));
    });
    return;
  }
  cuda::synchronize_device();
  cuda::fill_with_zero(to, bytes_, nullptr);
  cuda::synchronize(nullptr);
}

}  // namespace koine
