#pragma once

// The memory of a model's parameters: flat buffers laid out by its ParameterTable, on the CPU or on a device.

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/parameters/parameter_table.h"
#include "engine/parameters/passing_gradients.h"
#include "engine/parameters/shards.h"
#include "kernels/common/buffer.h"
#include "kernels/common/registry.h"
#include "kernels/optimizer/master_weights.h"

namespace koine {

/// master      fp32 weights, what checkpoints hold and the optimizer updates
/// working     what products read: the master itself in fp32 mode, a bf16 copy in mixed mode (fp64 for gradient checks)
/// gradient    fp32; only where `training`. What an optimizer keeps besides is its own (engine/optimizer)
/// Mixed mode that is trained may do without fp32 masters (MasterKind: a remainder of 16 bits beside each working weight, or
/// nothing), and several ranks may share them out (Shards): each has the masters of its range, and all have working weights
/// and gradients of everything. What the model reads in fp32 (ParameterSpec::in_fp32) has fp32 weights on every rank even so,
/// apart from the others. In fp32 mode the masters are what products read, and all ranks have them. They may share out gradients
/// too: then backward writes them where they pass through (passing_gradients.h), and what is kept is the sum of a range.
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
  static std::vector<Footprint> footprint(const ParameterTable& table, DType compute_type, bool training,
                                          MasterKind master = MasterKind::kFloat32, int ranks = 1,
                                          bool shares_gradients = false);

  enum class Values { kMaster, kGradient };

  /// UserError where a master other than fp32 is asked for without mixed precision.
  ParameterStore(ParameterTable table, DType compute_type, bool training, Device device = Device::kCpu,
                 MasterKind master = MasterKind::kFloat32, const Shards* shards = nullptr);

  const ParameterTable& table() const { return table_; }
  DType compute_type() const { return compute_type_; }
  bool training() const { return !gradient_.empty(); }
  Device device() const { return device_; }

  MasterKind master_kind() const { return kind_; }
  /// Null where one rank has everything.
  const Shards* shards() const { return shards_.has_value() ? &*shards_ : nullptr; }
  /// The fp32 weights. Where there are no masters of fp32 of all, only of parameters that the model reads in fp32.
  float* master(int index);
  const float* master(int index) const { return const_cast<ParameterStore*>(this)->master(index); }
  /// Where a parameter's weights lie apart from the flat buffers, as MasterWeights::apart counts; -1: they do not.
  std::int64_t apart(int index) const { return apart_.empty() ? -1 : apart_[static_cast<std::size_t>(index)]; }
  /// What an update reads and writes beside `flat_master` and the working weights; without seed and step.
  MasterWeights masters() const;
  /// The fp32 masters, one behind the other as the table has them; of a shard as if those before it were there. Null where
  /// there are none.
  float* flat_master() const;
  /// Shared out: every rank gives the others the weights of its range, in the stream. Collective.
  void share_weights(void* stream);
  /// The same of a range of the elements, which begins and ends with parameters; what it takes is measured elsewhere.
  void share_range(const ElementRange& range, void* stream);
  /// On the CPU: seconds that took since the last call.
  double take_sharing_seconds() { return std::exchange(sharing_seconds_, 0.0); }
  /// Shared out: sets the gradients outside of this rank's range to zero, in the stream; of shared gradients those it keeps.
  void clear_other_gradients(void* stream);
  /// Shared out: the end of it. This rank has all masters for reading in host memory from now on, or none where `whole` is
  /// false. Collective.
  void end_sharing(bool whole);
  /// Where backward adds a parameter's gradient up. Null where not training.
  float* gradient(int index);
  /// The gradients that an update reads, of kept_gradients() alone, as if those before them were there: of all ranks and parts
  /// of a step when they have been exchanged. The same memory as gradient() where they are not shared.
  float* flat_gradient() const;
  bool shares_gradients() const { return shards_.has_value() && shards_->gradients; }
  /// Of gradients that are shared: where they pass through, what is kept, and which cells of the norm are this rank's.
  const PassingGradients& passing_gradients() const { return passing_; }
  const ElementRange& kept_gradients() const { return kept_; }
  const ElementRange& norm_range() const { return norm_range_; }
  /// Shared out: adds up numbers of all ranks, in the stream. Collective.
  void add_up(double* values, std::int64_t count, void* stream);
  const void* working(int index) const;
  /// The bf16 copy the optimizer keeps up to date, or null in every other mode.
  BFloat16* working_bfloat16(int index);

  /// Copies one parameter's values to or from host memory of count() elements, or a whole buffer's elements(). Wait for the
  /// device. Writing the master does not touch the working copies: refresh_working() afterwards. (Of kinds other than fp32 the
  /// working weights are half of the master, or all of it: they are written. Without a master to the nearest bf16.) Shared out,
  /// reading the master is collective, and a rank keeps of what is written its range, and all working weights.
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
  void share_gradients();
  ElementRange kept_part(int index) const;
  void clear_kept(std::int64_t begin, std::int64_t end, void* stream);
  std::size_t begin_of(Values values, int index) const;
  bool is_split(Values values, int index) const;
  bool lies_in_parts(Values values) const;
  ElementRange share() const;
  void gather(int index, std::size_t element_bytes, const Buffer& own, void* to) const;
  ElementRange apart_part(const ElementRange& range) const;
  void read_split(int index, float* to) const;
  void write_split(int index, const float* from);
  Buffer& buffer(Values values);
  const Buffer& buffer(Values values) const;

  ParameterTable table_;
  DType compute_type_;
  Device device_;
  MasterKind kind_;
  std::optional<Shards> shards_;
  std::vector<std::int64_t> apart_;  ///< of each parameter; empty where there is an fp32 master of everything here
  Buffer fp32_;                      ///< what lies apart
  Buffer master_;                    ///< of all elements, or of this rank's range
  Buffer remainder_;                 ///< the same
  bool sharing_ended_ = false;
  double sharing_seconds_ = 0;
  std::vector<float> whole_;  ///< masters behind that
  Buffer working_;
  Buffer gradient_;
  PassingGradients passing_;                  ///< where gradients are shared, and so are the next
  std::vector<std::int64_t> passing_places_;  ///< of each parameter, in gradient_
  ElementRange kept_ = {0, 0};
  ElementRange norm_range_ = {0, 0};
  Buffer kept_gradient_;  ///< of the elements kept_
};

}  // namespace koine
