#pragma once

// The memory of a model's parameters: flat buffers laid out by its ParameterTable, on the CPU or on a device.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/parameters/parameter_table.h"
#include "kernels/common/registry.h"
#include "kernels/common/stack_memory.h"
#include "kernels/cuda/runtime.h"

namespace koine {

/// master      fp32 weights, what checkpoints hold and the optimizer updates
/// working     what products read: the master itself in fp32 mode, a bf16 copy in mixed mode (fp64 for gradient checks)
/// gradient, first_moment, second_moment   fp32; only where `training`
/// The buffers begin at zero, also between parameters, where nothing ever writes anything else: so a run of parameters may
/// be updated, copied or cast as one. On a device all pointers are the device's; read() and write() are the way to the
/// values from the host, on both.
class ParameterStore {
 public:
  /// Bytes the buffers take, by name: "master weights", "working weights", "gradients", "moments".
  struct Footprint {
    std::string name;
    std::size_t bytes;
  };
  static std::vector<Footprint> footprint(const ParameterTable& table, DType compute_type, bool training);

  enum class Buffer { kMaster, kGradient, kFirstMoment, kSecondMoment };

  ParameterStore(ParameterTable table, DType compute_type, bool training, Device device = Device::kCpu);

  const ParameterTable& table() const { return table_; }
  DType compute_type() const { return compute_type_; }
  bool training() const { return gradient_ != nullptr; }
  Device device() const { return device_; }

  float* master(int index) { return master_ + table_[index].offset; }
  const float* master(int index) const { return master_ + table_[index].offset; }
  float* gradient(int index) { return gradient_ == nullptr ? nullptr : gradient_ + table_[index].offset; }
  /// Null where not training.
  float* first_moment(int index) { return first_moment_ == nullptr ? nullptr : first_moment_ + table_[index].offset; }
  float* second_moment(int index) { return second_moment_ == nullptr ? nullptr : second_moment_ + table_[index].offset; }
  const void* working(int index) const;
  /// The bf16 copy the optimizer keeps up to date, or null in every other mode.
  BFloat16* working_bfloat16(int index);

  /// Copies one parameter's values to or from host memory of count() elements, or a whole buffer's elements(). Wait for the
  /// device. Writing the master does not touch the working copies: refresh_working() afterwards.
  void read(Buffer buffer, int index, float* values) const;
  void write(Buffer buffer, int index, const float* values);
  std::vector<float> read_all(Buffer buffer) const;
  void write_all(Buffer buffer, const std::vector<float>& values);

  /// Fills every parameter from (seed, its name) as its table row says, whatever else the table holds; `standard_deviation`
  /// for kNormal. Only heads where `heads_only`. The working copies are not touched: refresh_working() afterwards.
  void initialise(std::uint32_t seed, double standard_deviation, bool heads_only = false);
  /// The same for one parameter.
  void initialise_one(int index, std::uint32_t seed, double standard_deviation);
  /// Copies the master weights into the working copies.
  void refresh_working(const Context& context);
  /// Sets gradients and moments to zero.
  void reset_training_state();

 private:
  void* allocate(const char* name, DType type);
  float* flat(Buffer buffer) const;
  void copy_out(const float* from, float* to, std::int64_t count) const;
  void copy_in(const float* from, float* to, std::int64_t count);

  ParameterTable table_;
  DType compute_type_;
  Device device_;
  std::vector<std::unique_ptr<StackMemory>> blocks_;
  std::vector<cuda::DeviceMemory> device_blocks_;
  float* master_ = nullptr;
  float* gradient_ = nullptr;
  float* first_moment_ = nullptr;
  float* second_moment_ = nullptr;
  void* working_ = nullptr;
};

}  // namespace koine
