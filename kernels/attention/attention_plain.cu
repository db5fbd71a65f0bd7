// Attention without tensor cores: fp32, and bf16 with heads wider than 128 columns, a scale that is not positive, or a
// relative bias. For parity and debugging; every sum is an fp32 chain of fused multiply-adds.
//
// A block of eight warps has 32 rows of one head (queries, or keys where their gradients are wanted), a warp 4 of them, and
// walks over the sequence's other rows (keys, or queries) 32 at a time in ascending order. Lane l of a warp has the scores
// of its 4 rows with other row l; both sides pass through shared memory by 32 columns of the head. Weights then lie in
// shared memory and a lane has columns l, l + 32, l + 64, l + 96 of the results, whose right operands it reads from global
// memory, neighbouring lanes neighbouring columns. Heads wider than 128 columns are shared out to blocks by 128 columns,
// each of which works out the scores again: any head size, fixed registers.
//
// FLOPs of a block: forward 2 * 32 * length * (head size + 128), backward of queries 2 * 32 * length * (2 * head size +
// 128), of keys 2 * 32 * length * (2 * head size + 256). Shared memory 16.5 KiB. Deterministic: a row's sums depend on its
// own sequence only. Dropout draws eight numbers for each weight and uses one.
//
// The gradient of a relative bias. A block of 32 queries sums d(scores) along the diagonals of its tiles, one pass of 32
// conflict-free reads by one warp a tile, and leaves length + 31 partial sums, one for each distance its queries meet. A
// second kernel has a block of eight warps for 32 distances of a head, a lane a distance; warp w adds up the blocks of
// sequences w, w + 8, ... in ascending order, and the eight sums are added in that order. Workspace and traffic (written
// once, read once): 4 * heads * (tokens / 32 + sequences) * (maximum_length + 31) bytes at most. Deterministic: the order
// depends on lengths only.

#include "kernels/attention/attention_cuda.h"
#include "kernels/cuda/numeric.h"
#include "kernels/cuda/warp.h"

namespace koine {
namespace {

using namespace cuda;

constexpr int kRows = 32;  // of either side
constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarpThreads;
constexpr int kOwn = kRows / kWarps;             // rows of a warp
constexpr int kColumns = 4;                      // of a lane
constexpr int kChunk = kColumns * kWarpThreads;  // columns of a block's results
constexpr int kDepth = 32;                       // columns of the head brought to shared memory at a time

using Matrix = float[kRows][kDepth + 1];

struct PlainShared {
  Matrix own;
  Matrix other;
  Matrix weights;
  Matrix d_scores;
};

/// One head of one sequence of an operand.
template <class T>
struct PlainRows {
  T* data;
  std::int64_t stride;
  KOINE_DEVICE T& at(int row, int column) const { return data[row * stride + column]; }
};
template <class T, class Void>
KOINE_DEVICE PlainRows<T> plain_rows(const AttentionParams& p, const AttentionPlace& at, Void* operand,
                                     std::int64_t stride) {
  return {static_cast<T*>(operand) + at.first * stride + at.head * p.head_size, stride};
}

/// Rows begin .. begin+31, columns from .. from+31; zeros behind the sequence and the head.
template <class T>
KOINE_DEVICE void load_part(Matrix& to, const PlainRows<T>& rows, int begin, int length, int from, int columns) {
  for (int row = warp_index(); row < kRows; row += kWarps) {
    const int column = from + lane_index();
    const bool inside = begin + row < length && column < columns;
    to[row][lane_index()] = inside ? to_float(rows.at(begin + row, column)) : 0.0f;
  }
}

/// product[i] = row 4 * warp + i of `own` . row `lane` of `other`.
template <class T>
KOINE_DEVICE void multiply(float (&product)[kOwn], PlainShared& shared, const PlainRows<T>& own, int own_begin,
                           const PlainRows<T>& other, int other_begin, int length, int columns) {
  KOINE_UNROLL
  for (int i = 0; i < kOwn; ++i) product[i] = 0;
  for (int from = 0; from < columns; from += kDepth) {
    sync_block();  // the part before has been read
    load_part(shared.own, own, own_begin, length, from, columns);
    load_part(shared.other, other, other_begin, length, from, columns);
    sync_block();
    KOINE_UNROLL
    for (int c = 0; c < kDepth; ++c) {
      const float element = shared.other[lane_index()][c];
      KOINE_UNROLL
      for (int i = 0; i < kOwn; ++i) product[i] = fused(shared.own[warp_index() * kOwn + i][c], element, product[i]);
    }
  }
}

/// sum[i][j] += weights[4 * warp + i] . column (chunk + 32 j + lane) of rows begin .. begin + count - 1.
template <class T>
KOINE_DEVICE void add_rows(float (&sum)[kOwn][kColumns], const Matrix& weights, const PlainRows<T>& rows, int begin,
                           int count, int chunk, int columns) {
  for (int row = 0; row < count; ++row) {
    KOINE_UNROLL
    for (int j = 0; j < kColumns; ++j) {
      const int column = chunk + j * kWarpThreads + lane_index();
      const float element = column < columns ? to_float(rows.at(begin + row, column)) : 0.0f;
      KOINE_UNROLL
      for (int i = 0; i < kOwn; ++i) sum[i][j] = fused(weights[warp_index() * kOwn + i][row], element, sum[i][j]);
    }
  }
}

template <class T>
KOINE_DEVICE void store_sums(const PlainRows<T>& to, const float (&sum)[kOwn][kColumns], const float (&factor)[kOwn],
                             const AttentionPlace& at, int chunk, int columns) {
  KOINE_UNROLL
  for (int i = 0; i < kOwn; ++i) {
    const int row = at.begin + warp_index() * kOwn + i;
    KOINE_UNROLL
    for (int j = 0; j < kColumns; ++j) {
      const int column = chunk + j * kWarpThreads + lane_index();
      if (row < at.length && column < columns) {
        const float value = sum[i][j] * factor[i];
        if constexpr (sizeof(T) == 2) {
          to.at(row, column) = to_bfloat16(value);
        } else {
          to.at(row, column) = value;
        }
      }
    }
  }
}

/// What dropout multiplies weights by.
struct PlainMask {
  DropoutParams dropout;
  PhiloxKey key;
  std::uint32_t example;
  std::uint32_t head;

  KOINE_DEVICE float operator()(int query, int key_row) const {
    if (dropout.threshold == 0) return 1;
    const int row = query / 16 * 16 + query % 8;
    const int column = key_row / 16 * 16 + key_row % 8 / 2 * 2;
    const std::uint32_t kept =
        kept_attention(dropout, key, example, head, static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(column));
    const int bit = query / 8 % 2 * 4 + key_row / 8 % 2 * 2 + key_row % 2;
    return (kept >> bit & 1) != 0 ? dropout.scale : 0.0f;
  }
};
KOINE_DEVICE PlainMask plain_mask(const AttentionParams& p, const AttentionPlace& at) {
  PlainMask mask = {p.dropout, {0, 0}, 0, static_cast<std::uint32_t>(at.head)};
  if (p.dropout.threshold != 0) {
    mask.key = dropout_key(p.dropout);
    mask.example = p.dropout.examples[at.sequence];
  }
  return mask;
}

/// A relative bias and where partial sums of its gradient go.
struct PlainBiasParams {
  const float* values;  // [heads, 2 * maximum_length - 1]; null: none
  float* parts;         // [tiles of the batch, heads, maximum_length + kRows - 1]; null: not wanted
  std::int64_t maximum_length;
};

/// The bias of one head.
struct PlainBias {
  const float* same_position;  // null: none
  /// Of rows there are: of others it would lie outside.
  KOINE_DEVICE float operator()(int query, int key_row) const {
    return same_position == nullptr ? 0.0f : same_position[key_row - query];
  }
};
KOINE_DEVICE PlainBias plain_bias(const PlainBiasParams& bias, int head) {
  if (bias.values == nullptr) return {nullptr};
  return {bias.values + head * (2 * bias.maximum_length - 1) + bias.maximum_length - 1};
}

/// The partial sums of query tile `tile` of a sequence, of one head. Sequence n's tiles begin at first token / kRows + n:
/// no sequence before it ends behind that. Sum w is of keys j and queries i with j - i = w - (kRows - 1) - kRows * tile.
KOINE_DEVICE float* diagonal_sums(float* parts, std::int64_t maximum_length, std::int64_t first, int sequence, int tile,
                                  int head, int heads) {
  return parts + ((first / kRows + sequence + tile) * heads + head) * (maximum_length + kRows - 1);
}

/// By one warp: adds up a tile of d(scores), [queries, keys from `begin`], along its diagonals. Lane l meets the two
/// diagonals that make up one round the tile, those l - 31 and l + 1 keys behind the queries. The next tile adds to the
/// latter: returned, `carried` in the call for it. The former is then complete and stored.
KOINE_DEVICE float add_diagonals(float* sums, const Matrix& d_scores, int begin, float carried) {
  const int lane = lane_index();
  float behind = 0;
  KOINE_UNROLL
  for (int row = 0; row < kRows; ++row) {
    const int column = row + lane + 1;
    const float d_score = d_scores[row][column % kRows];
    if (column < kRows) {
      behind += d_score;
    } else {
      carried += d_score;
    }
  }
  sums[begin + lane] = carried;
  return behind;
}

template <class T>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads, 1)
    attention_forward_plain_kernel(AttentionParams p, PlainBiasParams bias_params) {
  const AttentionPlace at = attention_place(p, kRows);
  if (at.begin >= at.length) return;  // the whole block
  auto& shared = shared_memory<PlainShared>();
  const auto query = plain_rows<const T>(p, at, p.query, p.qkv_stride);
  const auto key = plain_rows<const T>(p, at, p.key, p.qkv_stride);
  const auto value = plain_rows<const T>(p, at, p.value, p.qkv_stride);
  const PlainMask mask = plain_mask(p, at);
  const int chunk = static_cast<int>(block_index().z) * kChunk;
  const int own = at.begin + warp_index() * kOwn;
  const PlainBias bias = plain_bias(bias_params, at.head);

  float maximum[kOwn], sum[kOwn], output[kOwn][kColumns] = {};
  KOINE_UNROLL
  for (int i = 0; i < kOwn; ++i) maximum[i] = minus_infinity(), sum[i] = 0;
  for (int begin = 0; begin < at.length; begin += kRows) {
    float scores[kOwn];
    multiply(scores, shared, query, at.begin, key, begin, at.length, p.head_size);
    const int column = begin + lane_index();
    KOINE_UNROLL
    for (int i = 0; i < kOwn; ++i) {
      const float added = own + i < at.length && column < at.length ? bias(own + i, column) : 0.0f;
      const float score = column < at.length ? fused(scores[i], p.scale, added) : minus_infinity();
      const float largest = fmaxf(maximum[i], warp_max(score));
      const float correction = expf(maximum[i] - largest);
      const float weight = expf(score - largest);
      maximum[i] = largest;
      sum[i] = fused(sum[i], correction, warp_sum(weight));
      shared.weights[warp_index() * kOwn + i][lane_index()] = weight * mask(own + i, column);
      KOINE_UNROLL
      for (int j = 0; j < kColumns; ++j) output[i][j] *= correction;
    }
    sync_warp();  // a warp reads only its own weights
    add_rows(output, shared.weights, value, begin, kRows < at.length - begin ? kRows : at.length - begin, chunk,
             p.head_size);
    sync_warp();
  }
  float factor[kOwn];
  KOINE_UNROLL
  for (int i = 0; i < kOwn; ++i) {
    factor[i] = 1.0f / sum[i];
    if (chunk == 0 && lane_index() == 0 && own + i < at.length) {
      p.log_sum_exp[(at.first + own + i) * p.heads + at.head] = maximum[i] + logf(sum[i]);
    }
  }
  store_sums(plain_rows<T>(p, at, p.output, p.output_stride), output, factor, at, chunk, p.head_size);
}

/// log_sum_exp and D of a query row, from [heads, tokens, 2].
KOINE_DEVICE const float* statistics_of(const AttentionParams& p, const AttentionPlace& at, int query) {
  return p.row_statistics + 2 * (at.head * p.tokens + at.first + query);
}

/// The gradient of 32 rows of query (kKeys false; and where wanted its part of the bias's) or of key and value (true).
template <class T, bool kKeys>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads, 1)
    attention_backward_plain_kernel(AttentionParams p, PlainBiasParams bias_params) {
  const AttentionPlace at = attention_place(p, kRows);
  if (at.begin >= at.length) return;  // the whole block
  auto& shared = shared_memory<PlainShared>();
  const auto query = plain_rows<const T>(p, at, p.query, p.qkv_stride);
  const auto key = plain_rows<const T>(p, at, p.key, p.qkv_stride);
  const auto value = plain_rows<const T>(p, at, p.value, p.qkv_stride);
  const auto d_output = plain_rows<const T>(p, at, p.d_output, p.output_stride);
  const PlainMask mask = plain_mask(p, at);
  const int chunk = static_cast<int>(block_index().z) * kChunk;

  const PlainBias bias = plain_bias(bias_params, at.head);
  const bool sums_diagonals = !kKeys && bias_params.parts != nullptr && chunk == 0;
  float* const diagonals = sums_diagonals ? diagonal_sums(bias_params.parts, bias_params.maximum_length, at.first,
                                                          at.sequence, at.begin / kRows, at.head, p.heads)
                                          : nullptr;
  float carried = 0;

  float first_sum[kOwn][kColumns] = {};   // of d_query or d_key
  float second_sum[kOwn][kColumns] = {};  // of d_value
  for (int begin = 0; begin < at.length; begin += kRows) {
    float scores[kOwn], d_weights[kOwn];
    multiply(scores, shared, kKeys ? key : query, at.begin, kKeys ? query : key, begin, at.length, p.head_size);
    multiply(d_weights, shared, kKeys ? value : d_output, at.begin, kKeys ? d_output : value, begin, at.length, p.head_size);
    const int other_row = begin + lane_index();
    KOINE_UNROLL
    for (int i = 0; i < kOwn; ++i) {
      const int own = warp_index() * kOwn + i;
      const int query_row = kKeys ? other_row : at.begin + own;
      const int key_row = kKeys ? at.begin + own : other_row;
      float weight = 0, d_score = 0, multiplier = 0;
      if (query_row < at.length && key_row < at.length) {
        const float* statistics = statistics_of(p, at, query_row);
        multiplier = mask(query_row, key_row);
        weight = expf(fused(scores[i], p.scale, bias(query_row, key_row) - statistics[0]));
        d_score = weight * fused(multiplier, d_weights[i], -statistics[1]);
      }
      shared.weights[own][lane_index()] = weight * multiplier;
      shared.d_scores[own][lane_index()] = d_score;
    }
    if (sums_diagonals) {
      sync_block();
      if (warp_index() == 0) carried = add_diagonals(diagonals, shared.d_scores, begin, carried);
    } else {
      sync_warp();  // a warp reads only its own weights
    }
    const int count = kRows < at.length - begin ? kRows : at.length - begin;
    add_rows(first_sum, shared.d_scores, kKeys ? query : key, begin, count, chunk, p.head_size);
    if (kKeys) add_rows(second_sum, shared.weights, d_output, begin, count, chunk, p.head_size);
    sync_warp();
  }
  const int behind = (at.length + kRows - 1) / kRows * kRows + lane_index();
  if (sums_diagonals && warp_index() == 0 && behind < at.length + kRows - 1) diagonals[behind] = carried;
  float factor[kOwn];
  KOINE_UNROLL
  for (int i = 0; i < kOwn; ++i) factor[i] = p.scale;
  store_sums(plain_rows<T>(p, at, kKeys ? p.d_key : p.d_query, p.qkv_stride), first_sum, factor, at, chunk, p.head_size);
  if (kKeys) {
    KOINE_UNROLL
    for (int i = 0; i < kOwn; ++i) factor[i] = 1;
    store_sums(plain_rows<T>(p, at, p.d_value, p.qkv_stride), second_sum, factor, at, chunk, p.head_size);
  }
}

struct BiasSumParams {
  const std::int32_t* cumulative_lengths;
  int sequences;
  int heads;
  int maximum_length;
  float* parts;     // as in PlainBiasParams
  float* gradient;  // [heads, 2 * maximum_length - 1]
};

struct BiasSumShared {
  float sums[kWarps][kWarpThreads];
};

KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads) attention_bias_sum_kernel(BiasSumParams p) {
  auto& shared = shared_memory<BiasSumShared>();
  const int head = static_cast<int>(block_index().y);
  const int place = static_cast<int>(block_index().x) * kWarpThreads + lane_index();
  const int distance = place - (p.maximum_length - 1);
  float sum = 0;
  for (int sequence = warp_index(); sequence < p.sequences; sequence += kWarps) {
    const int first = p.cumulative_lengths[sequence];
    const int length = p.cumulative_lengths[sequence + 1] - first;
    // Tiles with a query that far from a key: kRows * (tile + 1) > -distance and kRows * tile < length - distance.
    const int reach = distance > 0 ? length - distance : length;
    for (int tile = distance < 0 ? -distance / kRows : 0; tile * kRows < reach; ++tile) {
      const float* sums = diagonal_sums(p.parts, p.maximum_length, first, sequence, tile, head, p.heads);
      sum += sums[distance + kRows - 1 + kRows * tile];
    }
  }
  shared.sums[warp_index()][lane_index()] = sum;
  sync_block();
  if (warp_index() != 0 || place >= 2 * p.maximum_length - 1) return;  // no barrier follows
  float total = shared.sums[0][lane_index()];
  for (int warp = 1; warp < kWarps; ++warp) total += shared.sums[warp][lane_index()];
  p.gradient[head * (2 * static_cast<std::int64_t>(p.maximum_length) - 1) + place] += total;
}

void launch_bias_sum(const Context& context, const AttentionBackwardArguments& a, float* parts) {
  const AttentionShape& shape = a.shape;
  launch({.kernel = "attention_bias_sum",
          .shape = {shape.tokens, shape.sequences, shape.heads, shape.maximum_length},
          .grid = {grid_extent(divide_up(2 * shape.maximum_length - 1, kWarpThreads)), grid_extent(shape.heads)},
          .threads = kThreads,
          .shared_bytes = sizeof(BiasSumShared),
          .stream = context.stream},
         attention_bias_sum_kernel,
         BiasSumParams{shape.cumulative_lengths, static_cast<int>(shape.sequences), static_cast<int>(shape.heads),
                       static_cast<int>(shape.maximum_length), parts, a.d_relative_bias});
}

Launch plain_launch(const char* kernel, const Context& context, const AttentionShape& shape, const AttentionParams& p) {
  return {.kernel = kernel,
          .shape = {shape.tokens, shape.sequences, shape.heads, shape.head_size},
          .grid = {grid_extent(shape.sequences * p.tiles), grid_extent(shape.heads),
                   grid_extent(divide_up(shape.head_size, kChunk))},
          .threads = kThreads,
          .shared_bytes = sizeof(PlainShared),
          .stream = context.stream};
}

template <class T>
void backward_plain(const Context& context, const AttentionBackwardArguments& a, float* workspace) {
  const AttentionShape& shape = a.shape;
  const AttentionParams p = attention_params(a, workspace, kRows);
  float* const parts = a.d_relative_bias == nullptr ? nullptr : workspace + 2 * shape.heads * shape.tokens;
  const PlainBiasParams bias = {shape.relative_bias, parts, shape.maximum_length};
  const Launch start = plain_launch("attention_backward_plain", context, shape, p);
  launch(start, attention_backward_plain_kernel<T, false>, p, bias);
  if (parts != nullptr) launch_bias_sum(context, a, parts);
  launch(start, attention_backward_plain_kernel<T, true>, p, bias);
}

}  // namespace

void cuda::attention_forward_plain(const Context& context, const AttentionForwardArguments& a) {
  const AttentionParams p = attention_params(a, kRows);
  const bool single = a.shape.type == DType::kFloat32;
  launch(plain_launch("attention_forward_plain", context, a.shape, p),
         single ? attention_forward_plain_kernel<float> : attention_forward_plain_kernel<BFloat16>, p,
         PlainBiasParams{a.shape.relative_bias, nullptr, a.shape.maximum_length});
}

void cuda::attention_backward_plain(const Context& context, const AttentionBackwardArguments& a, float* workspace) {
  if (a.shape.type == DType::kFloat32) {
    backward_plain<float>(context, a, workspace);
  } else {
    backward_plain<BFloat16>(context, a, workspace);
  }
}

std::size_t attention_relative_bias_workspace(const AttentionBackwardArguments& a) {
  if (a.d_relative_bias == nullptr) return 0;
  const std::int64_t tiles = a.shape.tokens / kRows + a.shape.sequences;
  return static_cast<std::size_t>(tiles * a.shape.heads * (a.shape.maximum_length + kRows - 1)) * sizeof(float);
}

}  // namespace koine
