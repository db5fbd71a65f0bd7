#pragma once

// AdamW's state: the first and the second moment of every element of a range of a model's flat buffers. What of a checkpoint
// is the optimizer's, and what it adds to a plan of memory, is named here.

#include <string>
#include <vector>

#include "engine/optimizer/optimizer_state.h"
#include "engine/parameters/parameter_store.h"
#include "engine/parameters/parameter_table.h"
#include "kernels/common/buffer.h"
#include "kernels/optimizer/segments.h"

namespace koine {

class Moments : public OptimizerState {
 public:
  /// Bytes they take, by name.
  static std::vector<ParameterStore::Footprint> footprint(const ParameterTable& table, int ranks = 1);

  /// Zeros, for all elements of the table, or those of this rank's range; both are to stay.
  Moments(const ParameterTable& table, Device device, const Shards* shards = nullptr);

  /// The elements they belong to: as the arguments of the operations name it (adamw.h).
  const ElementRange& range() const { return range_; }
  DType type() const { return DType::kFloat32; }
  Buffer& first() { return first_; }
  Buffer& second() { return second_; }
  const Buffer& first() const { return first_; }
  const Buffer& second() const { return second_; }
  /// Those of a parameter and of what lies behind it, where all are here.
  void* first(int index) const { return first_.as<float>() + table_[index].offset; }
  void* second(int index) const { return second_.as<float>() + table_[index].offset; }

  /// Every parameter's, as "first_moment.<name>" and "second_moment.<name>" fp32 of the parameter's shape, in that order.
  /// Where ranks share them out, to read one is collective.
  std::vector<TensorSource> tensors() const override;
  void read(const SafetensorsFile& file) override;

 private:
  const ParameterTable& table_;
  const Shards* shards_;
  ElementRange range_;
  Buffer first_;
  Buffer second_;
};

}  // namespace koine
