#pragma once

// What the CUDA variants of attention have in common: arguments as kernels take them, the work list, and which kernels serve
// which shape.
//
// Grids come from shapes alone: a block for every head, every sequence and every tile a sequence of maximum_length would
// have. Blocks whose tile lies behind the end of their own sequence read two integers and leave; in a batch of mean length m
// about (maximum_length - m) / maximum_length of the blocks are of that kind, a few cycles each beside the tens of thousands
// of a block that works. In exchange no host reads a length, and recorded work serves every batch of its shape.

#include "kernels/attention/attention.h"
#include "kernels/cuda/dropout.h"
#include "kernels/cuda/launch.h"

namespace koine::cuda {

struct AttentionParams {
  const std::int32_t* cumulative_lengths;
  std::int64_t tokens;
  int tiles;  ///< of the longest sequence
  int heads;
  int head_size;
  std::int64_t qkv_stride;
  std::int64_t output_stride;
  float scale;
  bool vectors;  ///< rows may be moved 16 bytes at a time
  DropoutParams dropout;
  const void* query;
  const void* key;
  const void* value;
  void* output;        ///< forward only; backward reads row_statistics
  float* log_sum_exp;  ///< forward only
  const void* d_output;
  const float* row_statistics;  ///< [heads, tokens, 2]: log_sum_exp and D
  void* d_query;
  void* d_key;
  void* d_value;
};

/// A tile of rows of one head of one sequence: what a block works on.
struct AttentionPlace {
  int sequence;
  int head;
  int begin;           // first row of the tile
  int length;          // of the sequence
  std::int64_t first;  // token of the sequence
};

/// Of block (sequence * tiles + tile, head).
KOINE_DEVICE AttentionPlace attention_place(const AttentionParams& p, int tile_rows) {
  const auto index = static_cast<int>(block_index().x);
  AttentionPlace at;
  at.sequence = index / p.tiles;
  at.head = static_cast<int>(block_index().y);
  at.begin = index % p.tiles * tile_rows;
  const std::int32_t first = p.cumulative_lengths[at.sequence];
  at.first = first;
  at.length = p.cumulative_lengths[at.sequence + 1] - first;
  return at;
}

/// 2^x with a relative error below 2^-22, 0 below 2^-126. One instruction.
#if KOINE_ON_DEVICE
KOINE_DEVICE float exp2_fast(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}
#else
inline float exp2_fast(float x) { return std::exp2(x); }
#endif

inline constexpr float kLog2OfE = 1.4426950408889634f;
inline constexpr float kLogOf2 = 0.6931471805599453f;

inline AttentionParams attention_params(const AttentionShape& shape, std::int64_t tile_rows) {
  AttentionParams p = {};
  p.cumulative_lengths = shape.cumulative_lengths;
  p.tokens = shape.tokens;
  p.tiles = static_cast<int>(divide_up(shape.maximum_length, tile_rows));
  p.heads = static_cast<int>(shape.heads);
  p.head_size = static_cast<int>(shape.head_size);
  p.qkv_stride = shape.qkv_stride;
  p.output_stride = shape.output_stride;
  p.scale = shape.scale;
  p.dropout = dropout_params(shape.dropout);
  return p;
}

inline AttentionParams attention_params(const AttentionForwardArguments& a, std::int64_t tile_rows) {
  AttentionParams p = attention_params(a.shape, tile_rows);
  p.query = a.query;
  p.key = a.key;
  p.value = a.value;
  p.output = a.output;
  p.log_sum_exp = a.log_sum_exp;
  p.vectors = a.shape.head_size % 8 == 0 &&
              all_aligned(16, a.query, a.key, a.value, a.output, a.shape.qkv_stride * 2, a.shape.output_stride * 2);
  return p;
}

inline AttentionParams attention_params(const AttentionBackwardArguments& a, const float* row_statistics,
                                        std::int64_t tile_rows) {
  AttentionParams p = attention_params(a.shape, tile_rows);
  p.query = a.query;
  p.key = a.key;
  p.value = a.value;
  p.d_output = a.d_output;
  p.row_statistics = row_statistics;
  p.d_query = a.d_query;
  p.d_key = a.d_key;
  p.d_value = a.d_value;
  p.vectors = a.shape.head_size % 8 == 0 && all_aligned(16, a.query, a.key, a.value, a.d_output, a.d_query, a.d_key,
                                                        a.d_value, a.shape.qkv_stride * 2, a.shape.output_stride * 2);
  return p;
}

/// What the tensor-core kernels take: bf16, heads of 16 to 128 columns, scales that keep the order of the scores, and no
/// relative bias. The plain kernels take the rest.
inline bool attention_on_tensor_cores(const AttentionShape& shape) {
  return shape.type == DType::kBFloat16 && shape.head_size >= 16 && shape.head_size <= 128 && shape.scale > 0 &&
         shape.relative_bias == nullptr;
}

/// attention_plain.cu: any type, head size and scale, with or without a relative bias. `workspace`: row_statistics as in
/// AttentionParams, already filled in, and behind them room for attention_relative_bias_workspace().
void attention_forward_plain(const Context& context, const AttentionForwardArguments& a);
void attention_backward_plain(const Context& context, const AttentionBackwardArguments& a, float* workspace);

}  // namespace koine::cuda
