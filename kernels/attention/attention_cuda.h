#pragma once

// What the CUDA variants of attention have in common: arguments as kernels take them, the work list, and which kernels serve
// which shape.
//
// Grids come from shapes alone: a block for every head, every sequence and every tile a sequence of maximum_length would
// have, of queries or of keys. Blocks whose tile lies behind the end of their own sequence read two integers and leave; in a
// batch of mean length m about (maximum_length - m) / maximum_length of the blocks are of that kind, a few cycles each
// beside the tens of thousands of a block that works. In exchange no host reads a length, and recorded work serves every
// batch of its shape.

#include "kernels/attention/attention.h"
#include "kernels/cuda/dropout.h"
#include "kernels/cuda/launch.h"

namespace koine::cuda {

struct AttentionParams {
  const std::int32_t* query_lengths;  ///< cumulative, as key_lengths
  const std::int32_t* key_lengths;
  std::int64_t query_tokens;
  int query_tiles;  ///< of the longest sequence
  int key_tiles;
  int heads;
  int head_size;
  std::int64_t query_stride;
  std::int64_t key_stride;  ///< of values too
  std::int64_t output_stride;
  bool causal;
  /// Sequences of at most so many rows on either side are another launch's.
  int shorter_rows;
  float scale;
  bool vectors;  ///< rows may be moved 16 bytes at a time
  DropoutParams dropout;
  const void* query;
  const void* key;
  const void* value;
  void* output;        ///< forward only; backward reads row_statistics
  float* log_sum_exp;  ///< forward only
  const void* d_output;
  const float* row_statistics;  ///< [heads, query_tokens, 2]: log_sum_exp and D
  void* d_query;
  void* d_key;
  void* d_value;
};

/// A tile of rows of one head of one sequence: what a block works on.
struct AttentionPlace {
  int sequence;
  int head;
  int begin;    // first row of the tile, a query or a key
  int queries;  // of the sequence
  int keys;
  std::int64_t first_query;  // token of the sequence
  std::int64_t first_key;
};

/// Which batches a kernel is compiled for. Self-attention without a mask has one list of rows with one stride, whose numbers
/// are then held once: some kernels have not a register to spare.
enum class AttentionKind { kSelf, kAny };

/// Of block (sequence * tiles + tile, head), with tiles of queries or of keys.
template <AttentionKind kKind, bool kKeys = false>
KOINE_DEVICE AttentionPlace attention_place(const AttentionParams& p, int tile_rows) {
  const auto index = static_cast<int>(block_index().x);
  const int tiles = kKeys ? p.key_tiles : p.query_tiles;
  AttentionPlace at;
  at.sequence = index / tiles;
  at.head = static_cast<int>(block_index().y);
  at.begin = index % tiles * tile_rows;
  const std::int32_t first_query = p.query_lengths[at.sequence];
  at.first_query = first_query;
  at.queries = p.query_lengths[at.sequence + 1] - first_query;
  if constexpr (kKind == AttentionKind::kSelf) {
    at.first_key = at.first_query;
    at.keys = at.queries;
  } else {
    const std::int32_t first_key = p.key_lengths[at.sequence];
    at.first_key = first_key;
    at.keys = p.key_lengths[at.sequence + 1] - first_key;
  }
  return at;
}
/// Whether neither side has more rows.
KOINE_DEVICE bool fits_into(const AttentionPlace& at, int rows) { return at.queries <= rows && at.keys <= rows; }
template <AttentionKind kKind>
KOINE_DEVICE std::int64_t key_stride(const AttentionParams& p) {
  return kKind == AttentionKind::kSelf ? p.query_stride : p.key_stride;
}

/// How many keys, from the first, a query sees.
template <AttentionKind kKind>
KOINE_DEVICE int visible_keys(const AttentionParams& p, const AttentionPlace& at, int query) {
  if (kKind == AttentionKind::kSelf || !p.causal) return at.keys;
  const int visible = query + 1 + at.keys - at.queries;
  return visible < 0 ? 0 : visible < at.keys ? visible : at.keys;
}
/// The first query that sees a key, rounded down to a multiple of `rows`.
template <AttentionKind kKind>
KOINE_DEVICE int first_seeing(const AttentionParams& p, const AttentionPlace& at, int key, int rows) {
  if constexpr (kKind == AttentionKind::kSelf) return 0;
  const int query = key + at.queries - at.keys;
  return p.causal && query > 0 ? query / rows * rows : 0;
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
  p.query_lengths = shape.queries.cumulative_lengths;
  p.key_lengths = shape.keys.cumulative_lengths;
  p.query_tokens = shape.queries.tokens;
  p.query_tiles = static_cast<int>(divide_up(shape.queries.maximum_length, tile_rows));
  p.key_tiles = static_cast<int>(divide_up(shape.keys.maximum_length, tile_rows));
  p.heads = static_cast<int>(shape.heads);
  p.head_size = static_cast<int>(shape.head_size);
  p.query_stride = shape.queries.stride;
  p.key_stride = shape.keys.stride;
  p.output_stride = shape.output_stride;
  p.causal = shape.mask == AttentionMask::kCausal;
  p.scale = shape.scale;
  p.dropout = dropout_params(shape.dropout);
  return p;
}

/// Whether rows of bf16 may be moved 16 bytes at a time.
template <class... Pointers>
bool rows_in_vectors(const AttentionShape& shape, Pointers... operands) {
  return shape.head_size % 8 == 0 &&
         all_aligned(16, operands..., shape.queries.stride * 2, shape.keys.stride * 2, shape.output_stride * 2);
}

inline AttentionParams attention_params(const AttentionForwardArguments& a, std::int64_t tile_rows) {
  AttentionParams p = attention_params(a.shape, tile_rows);
  p.query = a.query;
  p.key = a.key;
  p.value = a.value;
  p.output = a.output;
  p.log_sum_exp = a.log_sum_exp;
  p.vectors = rows_in_vectors(a.shape, a.query, a.key, a.value, a.output);
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
  p.vectors = rows_in_vectors(a.shape, a.query, a.key, a.value, a.d_output, a.d_query, a.d_key, a.d_value);
  return p;
}

inline AttentionKind kind_of(const AttentionShape& shape) {
  const bool self = is_plain_self_attention(shape) && shape.queries.stride == shape.keys.stride;
  return self ? AttentionKind::kSelf : AttentionKind::kAny;
}

/// What the tensor-core kernels take: bf16, heads of 16 to 128 columns (to 96 where it is not plain self-attention), scales
/// that keep the order of the scores, and no relative bias. The plain kernels take the rest.
inline bool attention_on_tensor_cores(const AttentionShape& shape) {
  return shape.type == DType::kBFloat16 && shape.head_size >= 16 &&
         shape.head_size <= (kind_of(shape) == AttentionKind::kSelf ? 128 : 96) && shape.scale > 0 &&
         shape.relative_bias.table == nullptr;
}

/// attention_plain.cu: any type, head size and scale, with or without a relative bias. `workspace`: of
/// attention_bias_workspace() bytes; row_statistics as in AttentionParams, already filled in.
void attention_forward_plain(const Context& context, const AttentionForwardArguments& a, float* workspace);
void attention_backward_plain(const Context& context, const AttentionBackwardArguments& a, const float* row_statistics,
                              float* workspace);
std::size_t attention_bias_workspace(const AttentionForwardArguments& a);
std::size_t attention_bias_workspace(const AttentionBackwardArguments& a);

}  // namespace koine::cuda
