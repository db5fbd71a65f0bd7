#pragma once

// What a benchmark runs on, the memory of its operands, and the machine's own ceilings.

#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/common/buffer.h"
#include "kernels/common/registry.h"
#include "kernels/cuda/runtime.h"

namespace koine::bench {

double median(std::vector<double> values);

/// The CPU with all threads the process may use, or device 0 with a stream of its own.
class Machine {
 public:
  /// Throws Error where there is no device.
  explicit Machine(Device device);

  const Context& context() const { return context_; }
  bool on_device() const { return context_.device == Device::kCuda; }
  /// False where CUDA kernels run by the host implementation: what such a run takes says nothing of any device.
  bool measures() const { return !on_device() || !cuda::on_host(); }
  /// For results: the device's name and memory, or the number of threads.
  std::map<std::string, std::string> description() const;

  /// Makes `bytes` of memory on the machine, which nothing has written (on the CPU: zero).
  void* allocate(std::size_t bytes);
  /// Gives back all that allocate() made.
  void clear();
  void copy_to(void* machine, const void* host, std::size_t bytes);
  void fill_with_zero(void* machine, std::size_t bytes);
  void copy_within(void* to, const void* from, std::size_t bytes);
  void wait() const;

  /// Leaves nothing useful in the device's cache: reads four times as much as it holds. Reading and not writing, so that
  /// what is measured next need not wait for changed lines to be written back. Nothing on the CPU.
  void flush_cache();
  /// Seconds of `body`, which puts work into context().stream: by the stream's own events on a device, by the clock on the
  /// CPU.
  double seconds(const std::function<void()>& body);

 private:
  Context context_;
  std::unique_ptr<cuda::Stream> stream_;
  std::unique_ptr<cuda::Event> begin_;
  std::unique_ptr<cuda::Event> end_;
  std::vector<Buffer> blocks_;
  cuda::DeviceMemory flush_from_;
  cuda::DeviceMemory flush_to_;
};

/// The operands of one benchmark. Random numbers come from a pool of about four million, repeated; they go back with this.
class Operands {
 public:
  explicit Operands(Machine& machine) : machine_(machine) {}
  ~Operands() { machine_.clear(); }
  Operands(const Operands&) = delete;
  Operands& operator=(const Operands&) = delete;

  /// Uniform in [-1, 1).
  void* random(DType type, std::int64_t count);
  float* random_fp32(std::int64_t count) { return static_cast<float*>(random(DType::kFloat32, count)); }
  float* constant_fp32(std::int64_t count, float value);
  template <class T>
  T* upload(const std::vector<T>& values) {
    T* data = unwritten<T>(static_cast<std::int64_t>(values.size()));
    machine_.copy_to(data, values.data(), values.size() * sizeof(T));
    const auto* bytes = reinterpret_cast<const char*>(values.data());
    uploads_.push_back({data, std::vector<char>(bytes, bytes + values.size() * sizeof(T))});
    return data;
  }
  /// The same arguments with every pointer that upload() returned turned into one to a copy on the host: for what counts
  /// FLOPs from lengths.
  template <class Arguments>
  Arguments on_host(Arguments arguments) const {
    char bytes[sizeof(Arguments)];
    std::memcpy(bytes, static_cast<const void*>(&arguments), sizeof bytes);
    for (std::size_t at = 0; at + sizeof(void*) <= sizeof bytes; at += sizeof(void*)) {
      const void* word = nullptr;
      std::memcpy(&word, bytes + at, sizeof word);
      for (const Upload& upload : uploads_) {
        if (word == upload.machine) word = upload.host.data();
      }
      std::memcpy(bytes + at, &word, sizeof word);
    }
    std::memcpy(static_cast<void*>(&arguments), bytes, sizeof bytes);
    return arguments;
  }
  /// Random numbers in [0, bound).
  std::int32_t* random_ids(std::int64_t count, std::int64_t bound);
  template <class T>
  T* unwritten(std::int64_t count) {
    return static_cast<T*>(machine_.allocate(static_cast<std::size_t>(count) * sizeof(T)));
  }
  template <class T>
  T* zeros(std::int64_t count) {
    T* data = unwritten<T>(count);
    machine_.fill_with_zero(data, static_cast<std::size_t>(count) * sizeof(T));
    return data;
  }

  /// What has to be put right before every launch, outside of the time.
  std::function<void()> before_each;

 private:
  void* repeat(const void* pattern, std::size_t pattern_bytes, std::size_t bytes);

  struct Upload {
    const void* machine;
    std::vector<char> host;
  };
  Machine& machine_;
  std::vector<Upload> uploads_;
};

/// FLOP/s of a product of three square matrices of `size` by the fastest variant there is, the vendor's included: median of
/// ten after two. Its name goes to `variant` where given.
double product_rate(Machine& machine, DType type, std::int64_t size, std::string* variant = nullptr);
/// Bytes read plus bytes written per second by a copy of `bytes`: median of ten after two.
double copy_rate(Machine& machine, std::size_t bytes);

}  // namespace koine::bench
