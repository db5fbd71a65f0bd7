#include "engine/parameters/host_copy.h"

#include <cstring>

#include "kernels/cuda/runtime.h"

namespace koine {

void copy_from_host(Device device, void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  if (device == Device::kCpu) {
    std::memcpy(to, from, bytes);
    return;
  }
  cuda::synchronize_device();
  cuda::copy_to_device(to, from, bytes, nullptr);
  cuda::synchronize(nullptr);
}

void copy_to_host(Device device, void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  if (device == Device::kCpu) {
    std::memcpy(to, from, bytes);
    return;
  }
  cuda::synchronize_device();
  cuda::copy_to_host(to, from, bytes, nullptr);
  cuda::synchronize(nullptr);
}

}  // namespace koine
