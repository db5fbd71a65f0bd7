#pragma once

// AdamW's state in 8 bits (kernels/optimizer/adamw_8bit.h): of every large parameter that is no embedding two codes for each
// element, of the root of the second moment and of the first divided by it, and two fp32 scales for each 256; of the others
// fp32 moments, as small ones hardly count and a row of an embedding has few gradients.

#include <cstdint>
#include <vector>

#include "engine/optimizer/optimizer_state.h"
#include "engine/parameters/parameter_store.h"
#include "engine/parameters/parameter_table.h"
#include "kernels/common/buffer.h"
#include "kernels/optimizer/adamw_8bit.h"

namespace koine {

class CodedMoments : public OptimizerState {
 public:
  static constexpr std::int64_t kLeastCoded = 4096;  ///< elements; as of bitsandbytes

  static std::vector<ParameterStore::Footprint> footprint(const ParameterTable& table);

  /// Zeros, for all parameters of the table; it is to stay.
  CodedMoments(const ParameterTable& table, Device device);

  /// Every parameter, in the table's order: group 1 where its weights decay.
  const std::vector<CodedTensor>& list() const { return list_; }
  Buffer& first_codes() { return first_codes_; }
  Buffer& second_codes() { return second_codes_; }
  Buffer& first_scales() { return first_scales_; }
  Buffer& second_scales() { return second_scales_; }
  /// fp32, of what is not coded.
  const Buffer& first() const { return first_; }
  const Buffer& second() const { return second_; }

  /// Of what is coded "first_to_root_codes.<name>" and "second_root_codes.<name>" U8 of the parameter's shape, and
  /// "first_to_root_scales.<name>" and "second_root_scales.<name>" fp32 [blocks of 256]; of the others
  /// "first_moment.<name>" and "second_moment.<name>" fp32 of its shape.
  std::vector<TensorSource> tensors() const override;
  void read(const SafetensorsFile& file) override;

 private:
  /// A tensor of the state as checkpoints name it, and where its bytes are.
  struct Part {
    std::string name;
    const char* dtype;
    std::vector<std::int64_t> shape;
    Buffer CodedMoments::*buffer;
    std::size_t begin;
    std::size_t bytes;
  };
  std::vector<Part> parts() const;

  const ParameterTable& table_;
  std::vector<CodedTensor> list_;
  Buffer first_codes_;
  Buffer second_codes_;
  Buffer first_scales_;
  Buffer second_scales_;
  Buffer first_;
  Buffer second_;
};

}  // namespace koine
