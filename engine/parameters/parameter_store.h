#pragma once

// The memory of a model's parameters: flat buffers laid out by its ParameterTable, on the CPU or on a device.

#include <cstdint>
#include <string>
#include <vector>

#include "engine/parameters/parameter_table.h"
#include "kernels/common/buffer.h"
#include "kernels/common/registry.h"

namespace koine {

/// master      fp32 weights, what checkpoints hold and the optimizer updates
/// working     what products read: the master itself in fp32 mode, a bf16 copy in mixed mode (fp64 for gradient checks)
/// gradient    fp32; only where `training`. What an optimizer keeps besides is its own (engine/optimizer)
/// The buffers begin at zero, also between parameters, where nothing ever writes anything else: so a run of parameters may
/// be updated, copied or cast as one. On a device all pointers are the device's; read() and write() are the way to the
/// values from the host, on both.
class ParameterStore {
 public:
  /// Bytes the buffers take, by name: "master weights", "working weights", "gradients".
  struct Footprint {
    std::string name;
    std::size_t bytes;
  };
  static std::vector<Footprint> footprint(const ParameterTable& table, DType compute_type, bool training);

  enum class Values { kMaster, kGradient };

  ParameterStore(ParameterTable table, DType compute_type, bool training, Device device = Device::kCpu);

  const ParameterTable& table() const { return table_; }
  DType compute_type() const { return compute_type_; }
  bool training() const { return !gradient_.empty(); }
  Device device() const { return device_; }

  float* master(int index) { return at(master_, index); }
  const float* master(int index) const { return at(master_, index); }
  /// Null where not training.
  float* gradient(int index) { return at(gradient_, index); }
  const void* working(int index) const;
  /// The bf16 copy the optimizer keeps up to date, or null in every other mode.
  BFloat16* working_bfloat16(int index);

  /// Copies one parameter's values to or from host memory of count() elements, or a whole buffer's elements(). Wait for the
  /// device. Writing the master does not touch the working copies: refresh_working() afterwards.
  void read(Values values, int index, float* to) const;
  void write(Values values, int index, const float* from);
  std::vector<float> read_all(Values values) const;
  void write_all(Values values, const std::vector<float>& from);

  /// Fills every parameter from (seed, its name) as its table row says, whatever else the table holds; `standard_deviation`
  /// for kNormal. Only heads where `heads_only`. The working copies are not touched: refresh_working() afterwards.
  void initialise(std::uint32_t seed, double standard_deviation, bool heads_only = false);
  /// The same for one parameter.
  void initialise_one(int index, std::uint32_t seed, double standard_deviation);
  /// Copies the master weights into the working copies.
  void refresh_working(const Context& context);
  /// Sets gradients to zero.
  void reset_gradients();

 private:
  float* at(const Buffer& values, int index) const;
  Buffer& buffer(Values values);
  const Buffer& buffer(Values values) const;

  ParameterTable table_;
  DType compute_type_;
  Device device_;
  Buffer master_;
  Buffer working_;
  Buffer gradient_;
};

}  // namespace koine
