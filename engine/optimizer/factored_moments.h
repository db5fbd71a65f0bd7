#pragma once

// Adafactor's state: of a factored matrix the decayed means of squared gradients of its rows and of its columns, of any other
// parameter those of every element; one behind the other in one buffer.

#include <vector>

#include "engine/optimizer/optimizer_state.h"
#include "engine/parameters/parameter_store.h"
#include "engine/parameters/parameter_table.h"
#include "engine/settings/settings.h"
#include "kernels/common/buffer.h"
#include "kernels/optimizer/adafactor.h"

namespace koine {

class FactoredMoments : public OptimizerState {
 public:
  static std::vector<ParameterStore::Footprint> footprint(OptimizerKind kind, const ParameterTable& table);

  /// Zeros, for all parameters of the table; it is to stay.
  FactoredMoments(OptimizerKind kind, const ParameterTable& table, Device device);

  /// Every parameter, in the table's order: decay group 1 where its weights decay.
  const std::vector<AdafactorTensor>& list() const { return list_; }
  float* values() const { return values_.as<float>(); }

  /// "row_second_moment.<name>" [rows] and "column_second_moment.<name>" [columns] of what is factored, "second_moment.<name>"
  /// of the parameter's shape of what is not; fp32.
  std::vector<TensorSource> tensors() const override;
  void read(const SafetensorsFile& file) override;

 private:
  /// A tensor of the state as checkpoints name it.
  struct Part {
    std::string name;
    std::vector<std::int64_t> shape;
    std::int64_t begin = 0;
    std::int64_t count = 0;
  };
  std::vector<Part> parts() const;

  const ParameterTable& table_;
  std::vector<AdafactorTensor> list_;
  Buffer values_;
};

}  // namespace koine
