// Attention without tensor cores: fp32, and bf16 with heads wider than 128 columns or a scale that is not positive. For
// parity and debugging; every sum is an fp32 chain of fused multiply-adds.
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

template <class T>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads, 1) attention_forward_plain_kernel(AttentionParams p) {
  const AttentionPlace at = attention_place(p, kRows);
  if (at.begin >= at.length) return;  // the whole block
  auto& shared = shared_memory<PlainShared>();
  const auto query = plain_rows<const T>(p, at, p.query, p.qkv_stride);
  const auto key = plain_rows<const T>(p, at, p.key, p.qkv_stride);
  const auto value = plain_rows<const T>(p, at, p.value, p.qkv_stride);
  const PlainMask mask = plain_mask(p, at);
  const int chunk = static_cast<int>(block_index().z) * kChunk;
  const int own = at.begin + warp_index() * kOwn;

  float maximum[kOwn], sum[kOwn], output[kOwn][kColumns] = {};
  KOINE_UNROLL
  for (int i = 0; i < kOwn; ++i) maximum[i] = minus_infinity(), sum[i] = 0;
  for (int begin = 0; begin < at.length; begin += kRows) {
    float scores[kOwn];
    multiply(scores, shared, query, at.begin, key, begin, at.length, p.head_size);
    const int column = begin + lane_index();
    KOINE_UNROLL
    for (int i = 0; i < kOwn; ++i) {
      const float score = column < at.length ? scores[i] * p.scale : minus_infinity();
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

/// The gradient of 32 rows of query (kKeys false) or of key and value (true).
template <class T, bool kKeys>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads, 1) attention_backward_plain_kernel(AttentionParams p) {
  const AttentionPlace at = attention_place(p, kRows);
  if (at.begin >= at.length) return;  // the whole block
  auto& shared = shared_memory<PlainShared>();
  const auto query = plain_rows<const T>(p, at, p.query, p.qkv_stride);
  const auto key = plain_rows<const T>(p, at, p.key, p.qkv_stride);
  const auto value = plain_rows<const T>(p, at, p.value, p.qkv_stride);
  const auto d_output = plain_rows<const T>(p, at, p.d_output, p.output_stride);
  const PlainMask mask = plain_mask(p, at);
  const int chunk = static_cast<int>(block_index().z) * kChunk;

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
        weight = expf(fused(scores[i], p.scale, -statistics[0]));
        d_score = weight * fused(multiplier, d_weights[i], -statistics[1]);
      }
      shared.weights[own][lane_index()] = weight * multiplier;
      shared.d_scores[own][lane_index()] = d_score;
    }
    sync_warp();  // a warp reads only its own weights
    const int count = kRows < at.length - begin ? kRows : at.length - begin;
    add_rows(first_sum, shared.d_scores, kKeys ? query : key, begin, count, chunk, p.head_size);
    if (kKeys) add_rows(second_sum, shared.weights, d_output, begin, count, chunk, p.head_size);
    sync_warp();
  }
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
void backward_plain(const Context& context, const AttentionBackwardArguments& a, const float* row_statistics) {
  const AttentionParams p = attention_params(a, row_statistics, kRows);
  launch(plain_launch("attention_backward_plain", context, a.shape, p), attention_backward_plain_kernel<T, false>, p);
  launch(plain_launch("attention_backward_plain", context, a.shape, p), attention_backward_plain_kernel<T, true>, p);
}

}  // namespace

void cuda::attention_forward_plain(const Context& context, const AttentionForwardArguments& a) {
  const AttentionParams p = attention_params(a, kRows);
  const bool single = a.shape.type == DType::kFloat32;
  launch(plain_launch("attention_forward_plain", context, a.shape, p),
         single ? attention_forward_plain_kernel<float> : attention_forward_plain_kernel<BFloat16>, p);
}

void cuda::attention_backward_plain(const Context& context, const AttentionBackwardArguments& a,
                                    const float* row_statistics) {
  if (a.shape.type == DType::kFloat32) {
    backward_plain<float>(context, a, row_statistics);
  } else {
    backward_plain<BFloat16>(context, a, row_statistics);
  }
}

}  // namespace koine
