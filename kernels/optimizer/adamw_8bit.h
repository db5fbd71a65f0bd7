#pragma once

// AdamW whose moments are kept in 8 bits: blocks of 256 elements with an fp32 scale each, in the codes that bitsandbytes and
// torchao keep them in (Dettmers, Lewis, Shleifer, Zettlemoyer, arXiv 2110.02861), but not the moments themselves.
//
// A number x of a block is kept as the nearest of 256 numbers times the block's scale, the largest |x|; of two as near the
// lower. The 256 are the dynamic maps of those libraries: in each of seven decades as many as bits are left, -0.993 to 1 and 0
// to 1 (dynamic_map). Kept are
//   r = sqrt(v), and never as zero where v is above: of v itself all below 1.6e-7 of the block's largest would become 0, and an
//       update m / sqrt(v) then has no bound (Li, Chen, Zhu, arXiv 2309.01507: the zero-point problem);
//   m / r, with r as it is kept: of size 1 whatever the gradients' sizes in the block are, so that what the codes lose of it is
//       small against the update, where of m itself they may double what is far below the block's largest.
// So r is kept at 1 / 1.87 of itself at least, and an update grows by little more than that.
//
// Step t: m and v from what was kept, then exactly adamw.h; the parameter moves by the new m and v before these are rounded to
// be kept. Tensors that are not coded have fp32 moments, and AdamW's bits. A gradient factor of exactly 0 changes nothing.
// Weights may be kept otherwise than in fp32 (master_weights.h).
// Gradients are set to zero after use where zero_gradient; working = bf16(parameter) where a copy is given. Elementwise but for
// the maxima of blocks: the same bits on any number of threads.
//
// The list, the maps, `steps` and the factor lie in memory that the variant reads (on CUDA: device memory). Bytes: per coded
// element 16.06 (the codes and scales of both moments read and written, the parameter too, the gradient read), 4 more to
// clear the gradient, 2 more with working; with remainders 16.06 in all, without a master 12.06.

#include <array>
#include <cstdint>
#include <vector>

#include "kernels/common/registry.h"
#include "kernels/optimizer/adamw.h"

namespace koine {

inline constexpr std::int64_t kCodedBlock = 256;
inline constexpr std::int64_t kCodedPiece = 8192;  ///< elements one block of threads handles: whole coded blocks

/// The numbers that a code stands for, ascending: with signs for the first moment, without for the root of the second.
std::array<float, 256> dynamic_map(bool with_signs);

struct CodedTensor {
  std::int64_t offset = 0;  ///< of its first element in parameter, gradient and working
  std::int64_t count = 0;
  std::int64_t coded = 0;        ///< 1: its moments are codes; 0: fp32
  std::int64_t state = 0;        ///< of its first code, a multiple of 256; or of its first fp32 moment
  std::int64_t group = 0;        ///< which of the steps is applied
  std::int64_t first_piece = 0;  ///< set by number_coded_pieces
  std::int64_t apart = -1;       ///< where its weights begin in MasterWeights::apart; -1: they are not there
};

KOINE_HOST_DEVICE std::int64_t pieces_of(const CodedTensor& tensor) {
  return (tensor.count + kCodedPiece - 1) / kCodedPiece;
}

/// Numbers the pieces of a list, in order, and returns how many they are.
std::int64_t number_coded_pieces(std::vector<CodedTensor>& tensors);

struct AdamW8BitArguments {
  std::int64_t elements = 0;  ///< of all tensors
  std::int64_t tensors = 0;
  std::int64_t pieces = 0;                   ///< what number_coded_pieces returned
  const CodedTensor* tensor_list = nullptr;  ///< [tensors], numbered; they do not overlap
  float* parameter = nullptr;                ///< the flat buffers, which the offsets count from
  float* gradient = nullptr;
  std::uint8_t* first_codes = nullptr;   ///< of m / r of coded tensors, a multiple of 256 for each
  std::uint8_t* second_codes = nullptr;  ///< of r
  float* first_scales = nullptr;         ///< one for each 256 codes
  float* second_scales = nullptr;
  float* first_moment = nullptr;  ///< of the other tensors
  float* second_moment = nullptr;
  const float* first_map = nullptr;  ///< [256] dynamic_map(true)
  const float* second_map = nullptr;
  BFloat16* working = nullptr;
  MasterWeights master;                    ///< of any kind but kFloat32, `parameter` is not read
  const AdamWStep* steps = nullptr;        ///< [groups] the scalars of this step
  const float* gradient_factor = nullptr;  ///< one value; null: 1
  bool zero_gradient = true;
};

inline void adamw_8bit(const Context& context, const AdamW8BitArguments& arguments) { run(context, arguments); }

}  // namespace koine
