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

  static std::vector<ParameterStore::Footprint> footprint(const ParameterTable& table, int ranks = 1);

  /// Zeros, for all parameters of the table, or what of them is in this rank's range; both are to stay.
  CodedMoments(const ParameterTable& table, Device device, const Shards* shards = nullptr);

  /// Every parameter, in the table's order: group 1 where its weights decay. Of a shard what of it is there, perhaps nothing.
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
  /// "first_moment.<name>" and "second_moment.<name>" fp32 of its shape. Where ranks share them out, to read one is collective.
  std::vector<TensorSource> tensors() const override;
  void read(const SafetensorsFile& file) override;

 private:
  /// A tensor of the state as checkpoints name it, one number of it for each `elements` of the parameter, and where the
  /// bytes of this rank's numbers are.
  struct Part {
    std::string name;
    const char* dtype;
    std::vector<std::int64_t> shape;
    Buffer CodedMoments::*buffer;
    std::size_t begin;
    std::size_t number_bytes;
    std::int64_t elements;
    int parameter;
  };
  /// Bytes of a part that the elements of a range have: where they begin in it, and how many.
  struct Bytes {
    std::size_t begin = 0;
    std::size_t count = 0;
  };
  Bytes bytes_of(const Part& part, const ElementRange& range) const;
  std::vector<Part> parts() const;
  void read_part(const Part& part, std::byte* to) const;

  const ParameterTable& table_;
  const Shards* shards_;
  std::vector<CodedTensor> list_;
  Buffer first_codes_;
  Buffer second_codes_;
  Buffer first_scales_;
  Buffer second_scales_;
  Buffer first_;
  Buffer second_;
};

}  // namespace koine
