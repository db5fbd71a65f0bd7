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
#include "kernels/common/cases.h"
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

  /// Memory that nothing has written.
  void* unwritten(std::size_t bytes) { return machine_.allocate(bytes); }
  /// Uniform in [-1, 1).
  void* random(DType type, std::int64_t count);
  /// As a case describes it: `scale` times uniform numbers and `shift`, squared where wanted. Null: uniform.
  void* filled(DType type, std::int64_t count, const cases::Values::Random* described);
  /// Copies of a case's arrays; what is returned turns addresses in them into addresses in the copies, and leaves others.
  std::function<void*(void*)> uploaded(const std::vector<cases::Region>& arrays);
  /// Puts the copies' contents back where a launch may have written: before every launch, outside of the time.
  void restore() const;

 private:
  void* repeat(const void* pattern, std::size_t pattern_bytes, std::size_t bytes);

  struct Copy {
    cases::Region host;
    char* data;
    char* as_it_was;
  };
  Machine& machine_;
  std::vector<Copy> copies_;
};

/// FLOP/s of a product of three square matrices of `size` by the fastest variant there is, the vendor's included: median of
/// ten after two. Its name goes to `variant` where given.
double product_rate(Machine& machine, DType type, std::int64_t size, std::string* variant = nullptr);
/// How fast the machine is now: a product of three square matrices of `size` in fp32, always by the same variant, the first
/// that fits. What a turn is compared with that is taken before and behind it (bench/peers/turns.py).
class Probe {
 public:
  /// The machine is the probe's alone: its operands stay there.
  Probe(Machine& machine, std::int64_t size);
  /// FLOP/s of as many products as fit into `seconds`, one at least.
  double rate(double seconds);

 private:
  Machine& machine_;
  Operands operands_;
  double flops_ = 0;
  std::function<void()> product_;
};
/// Bytes read plus bytes written per second by a copy of `bytes`: median of ten after two.
double copy_rate(Machine& machine, std::size_t bytes);

}  // namespace koine::bench
