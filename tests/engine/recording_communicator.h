#pragma once

// Communicators for tests.

#include <cstring>
#include <string>
#include <vector>

#include "engine/ranks/communicator.h"
#include "kernels/cuda/runtime.h"

namespace koine {

/// One rank that keeps what every all_reduce found, at the time its stream came to it.
class RecordingCommunicator : public OneRank {
 public:
  struct Arrival {
    const void* place = nullptr;
    std::int64_t count = 0;
    DType type = DType::kFloat32;
    std::vector<std::byte> bytes;  ///< on the CPU
    cuda::PinnedMemory on_host;    ///< on a device, when the stream has run

    std::string found() const {
      if (!bytes.empty()) return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
      return {static_cast<const char*>(on_host.data()), on_host.bytes()};
    }
  };
  explicit RecordingCommunicator(Device device) : OneRank(device) {}

  std::vector<Arrival> arrivals;

  void all_reduce(DType type, void* values, std::int64_t count, void* stream) override {
    Arrival& arrival = arrivals.emplace_back();
    arrival.place = values, arrival.count = count, arrival.type = type;
    const std::size_t bytes = static_cast<std::size_t>(count) * size_of(type);
    if (device() == Device::kCpu) {
      arrival.bytes.resize(bytes);
      std::memcpy(arrival.bytes.data(), values, bytes);
    } else {
      arrival.on_host = cuda::PinnedMemory(bytes);
      cuda::copy_to_host(arrival.on_host.data(), values, bytes, stream);
    }
  }
};

}  // namespace koine
