// Attention without tensor cores: fp32, and bf16 with heads wider than 128 columns, a scale that is not positive, or a
// relative bias. For parity and debugging; every sum is an fp32 chain of fused multiply-adds.
//
// A block of eight warps has 32 rows of one head (queries, or keys where their gradients are wanted), a warp 4 of them, and
// walks over the sequence's other rows (keys, or queries) 32 at a time in ascending order, under a causal mask those that
// see each other. Lane l of a warp has the scores of its 4 rows with other row l; both sides pass through shared memory by
// 32 columns of the head. Weights then lie in shared memory and a lane has columns l, l + 32, l + 64, l + 96 of the results,
// whose right operands it reads from global memory, neighbouring lanes neighbouring columns. Heads wider than 128 columns
// are shared out to blocks by 128 columns, each of which works out the scores again: any head size, fixed registers.
//
// FLOPs of a block: forward 2 * 32 * keys * (head size + 128), backward of queries 2 * 32 * keys * (2 * head size + 128), of
// keys 2 * 32 * queries * (2 * head size + 256). Shared memory 16.5 KiB. Deterministic: a row's sums depend on its own
// sequence only. Dropout draws eight numbers for each weight and uses one.
//
// A relative bias is first written out, one number a head and distance r_ij (attention.h), which the blocks read.
//
// Its gradient. A block of 32 queries sums d(scores) along the diagonals of its tiles, one pass of 32 conflict-free reads by
// one warp a tile, and leaves keys + 31 partial sums, one for each distance its queries meet. A second kernel has a block of
// eight warps for 32 distances of a head, a lane a distance; warp w adds up the blocks of sequences w, w + 8, ... in
// ascending order, and the eight sums are added in that order. A third has a warp for a bucket of a head, whose lanes add up
// its distances. Workspace and traffic (written once, read once): 4 * heads * (query tokens / 32 + sequences) * (longest
// keys + 31) bytes at most. Deterministic: the order depends on lengths only.

#include <algorithm>

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
/// Of query, output, d_output or d_query; of key, value or their gradients.
template <class T, class Void>
KOINE_DEVICE PlainRows<T> query_rows(const AttentionParams& p, const AttentionPlace& at, Void* operand,
                                     std::int64_t stride) {
  return {static_cast<T*>(operand) + at.first_query * stride + at.head * p.head_size, stride};
}
template <class T, class Void>
KOINE_DEVICE PlainRows<T> key_rows(const AttentionParams& p, const AttentionPlace& at, Void* operand) {
  return {static_cast<T*>(operand) + at.first_key * p.key_stride + at.head * p.head_size, p.key_stride};
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
                           int own_length, const PlainRows<T>& other, int other_begin, int other_length, int columns) {
  KOINE_UNROLL
  for (int i = 0; i < kOwn; ++i) product[i] = 0;
  for (int from = 0; from < columns; from += kDepth) {
    sync_block();  // the part before has been read
    load_part(shared.own, own, own_begin, own_length, from, columns);
    load_part(shared.other, other, other_begin, other_length, from, columns);
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
                             int begin, int length, int chunk, int columns) {
  KOINE_UNROLL
  for (int i = 0; i < kOwn; ++i) {
    const int row = begin + warp_index() * kOwn + i;
    KOINE_UNROLL
    for (int j = 0; j < kColumns; ++j) {
      const int column = chunk + j * kWarpThreads + lane_index();
      if (row < length && column < columns) {
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

/// A relative bias written out, and where partial sums of its gradient go. Place k of a head is of distance k + 1 -
/// maximum_keys.
struct PlainBiasParams {
  const float* values;  // [heads, places]; null: none
  float* parts;         // [tiles of queries of the batch, heads, maximum_keys + kRows - 1]; null: not wanted
  std::int64_t maximum_keys;
  std::int64_t places;  // maximum_keys + the most queries of a sequence - 1
};

/// The bias of one head of a sequence.
struct PlainBias {
  const float* first;  // of query 0 and key 0; null: none
  /// Of rows there are: of others it would lie outside.
  KOINE_DEVICE float operator()(int query, int key_row) const { return first == nullptr ? 0.0f : first[key_row - query]; }
};
KOINE_DEVICE PlainBias plain_bias(const PlainBiasParams& bias, const AttentionPlace& at) {
  if (bias.values == nullptr) return {nullptr};
  return {bias.values + at.head * bias.places + bias.maximum_keys - 1 + at.queries - at.keys};
}

/// The partial sums of query tile `tile` of a sequence, of one head. Sequence n's tiles begin at first query / kRows + n: no
/// sequence before it ends behind that. Sum w is of keys j and queries i with j - i = w - (kRows - 1) - kRows * tile.
KOINE_DEVICE float* diagonal_sums(float* parts, std::int64_t maximum_keys, std::int64_t first_query, int sequence, int tile,
                                  int head, int heads) {
  return parts + ((first_query / kRows + sequence + tile) * heads + head) * (maximum_keys + kRows - 1);
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
  const AttentionPlace at = attention_place<AttentionKind::kAny>(p, kRows);
  if (at.begin >= at.queries) return;  // the whole block
  auto& shared = shared_memory<PlainShared>();
  const auto query = query_rows<const T>(p, at, p.query, p.query_stride);
  const auto key = key_rows<const T>(p, at, p.key);
  const auto value = key_rows<const T>(p, at, p.value);
  const PlainMask mask = plain_mask(p, at);
  const int chunk = static_cast<int>(block_index().z) * kChunk;
  const int own = at.begin + warp_index() * kOwn;
  const PlainBias bias = plain_bias(bias_params, at);
  const int end = visible_keys<AttentionKind::kAny>(p, at, at.begin + kRows - 1);

  float maximum[kOwn], sum[kOwn], output[kOwn][kColumns] = {};
  KOINE_UNROLL
  for (int i = 0; i < kOwn; ++i) maximum[i] = minus_infinity(), sum[i] = 0;
  for (int begin = 0; begin < end; begin += kRows) {
    float scores[kOwn];
    multiply(scores, shared, query, at.begin, at.queries, key, begin, at.keys, p.head_size);
    const int column = begin + lane_index();
    KOINE_UNROLL
    for (int i = 0; i < kOwn; ++i) {
      const bool sees = column < visible_keys<AttentionKind::kAny>(p, at, own + i);
      const float added = own + i < at.queries && sees ? bias(own + i, column) : 0.0f;
      const float score = sees ? fused(scores[i], p.scale, added) : minus_infinity();
      const float largest = fmaxf(maximum[i], warp_max(score));
      const float shift = largest == minus_infinity() ? 0.0f : largest;  // nothing was seen yet
      const float correction = expf(maximum[i] - shift);
      const float weight = expf(score - shift);
      maximum[i] = largest;
      sum[i] = fused(sum[i], correction, warp_sum(weight));
      shared.weights[warp_index() * kOwn + i][lane_index()] = weight * mask(own + i, column);
      KOINE_UNROLL
      for (int j = 0; j < kColumns; ++j) output[i][j] *= correction;
    }
    sync_warp();  // a warp reads only its own weights
    add_rows(output, shared.weights, value, begin, kRows < end - begin ? kRows : end - begin, chunk, p.head_size);
    sync_warp();
  }
  float factor[kOwn];
  KOINE_UNROLL
  for (int i = 0; i < kOwn; ++i) {
    factor[i] = sum[i] == 0 ? 0.0f : 1.0f / sum[i];
    if (chunk == 0 && lane_index() == 0 && own + i < at.queries) {
      p.log_sum_exp[(at.first_query + own + i) * p.heads + at.head] = maximum[i] + logf(sum[i]);
    }
  }
  store_sums(query_rows<T>(p, at, p.output, p.output_stride), output, factor, at.begin, at.queries, chunk, p.head_size);
}

/// log_sum_exp and D of a query row, from [heads, query tokens, 2].
KOINE_DEVICE const float* statistics_of(const AttentionParams& p, const AttentionPlace& at, int query) {
  return p.row_statistics + 2 * (at.head * p.query_tokens + at.first_query + query);
}

/// The gradient of 32 rows of query (kKeys false; and where wanted its part of the bias's) or of key and value (true).
template <class T, bool kKeys>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads, 1)
    attention_backward_plain_kernel(AttentionParams p, PlainBiasParams bias_params) {
  const AttentionPlace at = attention_place<AttentionKind::kAny, kKeys>(p, kRows);
  const int own_length = kKeys ? at.keys : at.queries;
  if (at.begin >= own_length) return;  // the whole block
  auto& shared = shared_memory<PlainShared>();
  const auto query = query_rows<const T>(p, at, p.query, p.query_stride);
  const auto key = key_rows<const T>(p, at, p.key);
  const auto value = key_rows<const T>(p, at, p.value);
  const auto d_output = query_rows<const T>(p, at, p.d_output, p.output_stride);
  const PlainMask mask = plain_mask(p, at);
  const int chunk = static_cast<int>(block_index().z) * kChunk;

  // The rows of the other side that a row of this block sees or is seen by.
  const int start = kKeys ? first_seeing<AttentionKind::kAny>(p, at, at.begin, kRows) : 0;
  const int other_length = kKeys ? at.queries : at.keys;
  const int end = kKeys ? at.queries : visible_keys<AttentionKind::kAny>(p, at, at.begin + kRows - 1);

  const PlainBias bias = plain_bias(bias_params, at);
  const bool sums_diagonals = !kKeys && bias_params.parts != nullptr && chunk == 0;
  float* const diagonals = sums_diagonals ? diagonal_sums(bias_params.parts, bias_params.maximum_keys, at.first_query,
                                                          at.sequence, at.begin / kRows, at.head, p.heads)
                                          : nullptr;
  float carried = 0;

  float first_sum[kOwn][kColumns] = {};   // of d_query or d_key
  float second_sum[kOwn][kColumns] = {};  // of d_value
  for (int begin = start; begin < end; begin += kRows) {
    float scores[kOwn], d_weights[kOwn];
    multiply(scores, shared, kKeys ? key : query, at.begin, own_length, kKeys ? query : key, begin, other_length,
             p.head_size);
    multiply(d_weights, shared, kKeys ? value : d_output, at.begin, own_length, kKeys ? d_output : value, begin,
             other_length, p.head_size);
    const int other_row = begin + lane_index();
    KOINE_UNROLL
    for (int i = 0; i < kOwn; ++i) {
      const int own = warp_index() * kOwn + i;
      const int query_row = kKeys ? other_row : at.begin + own;
      const int key_row = kKeys ? at.begin + own : other_row;
      float weight = 0, d_score = 0, multiplier = 0;
      if (query_row < at.queries && key_row < visible_keys<AttentionKind::kAny>(p, at, query_row)) {
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
    const int count = kRows < end - begin ? kRows : end - begin;
    add_rows(first_sum, shared.d_scores, kKeys ? query : key, begin, count, chunk, p.head_size);
    if (kKeys) add_rows(second_sum, shared.weights, d_output, begin, count, chunk, p.head_size);
    sync_warp();
  }
  const int behind = (end + kRows - 1) / kRows * kRows + lane_index();
  if (sums_diagonals && warp_index() == 0 && behind < end + kRows - 1) diagonals[behind] = carried;
  float factor[kOwn];
  KOINE_UNROLL
  for (int i = 0; i < kOwn; ++i) factor[i] = p.scale;
  if constexpr (kKeys) {
    store_sums(key_rows<T>(p, at, p.d_key), first_sum, factor, at.begin, at.keys, chunk, p.head_size);
    KOINE_UNROLL
    for (int i = 0; i < kOwn; ++i) factor[i] = 1;
    store_sums(key_rows<T>(p, at, p.d_value), second_sum, factor, at.begin, at.keys, chunk, p.head_size);
  } else {
    store_sums(query_rows<T>(p, at, p.d_query, p.query_stride), first_sum, factor, at.begin, at.queries, chunk, p.head_size);
  }
}

// --- the relative bias

struct BiasParams {
  RelativeBuckets bucket;
  const float* table;  // [buckets, heads]
  int buckets;
  int heads;
  int maximum_keys;
  int places;
};

BiasParams bias_params(const AttentionShape& shape) {
  const RelativeBias& bias = shape.relative_bias;
  const auto places = shape.keys.maximum_length + shape.queries.maximum_length - 1;
  return {relative_buckets(bias),
          bias.table,
          bias.buckets,
          static_cast<int>(shape.heads),
          static_cast<int>(shape.keys.maximum_length),
          static_cast<int>(std::max<std::int64_t>(places, 0))};
}

/// A thread writes out one place of one head: [heads, places].
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads) attention_bias_kernel(BiasParams p, float* values) {
  const int place = static_cast<int>(block_index().x) * kThreads + thread_index();
  const int head = static_cast<int>(block_index().y);
  if (place >= p.places) return;
  values[std::int64_t{head} * p.places + place] = p.table[p.bucket(place + 1 - p.maximum_keys) * p.heads + head];
}

struct BiasSumParams {
  const std::int32_t* query_lengths;  // cumulative
  const std::int32_t* key_lengths;
  int sequences;
  int heads;
  int maximum_keys;
  int places;
  bool causal;
  float* parts;  // as in PlainBiasParams
  float* sums;   // [heads, places] of d(scores) by distance
};

struct BiasSumShared {
  float sums[kWarps][kWarpThreads];
};

KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads) attention_bias_sum_kernel(BiasSumParams p) {
  auto& shared = shared_memory<BiasSumShared>();
  const int head = static_cast<int>(block_index().y);
  const int place = static_cast<int>(block_index().x) * kWarpThreads + lane_index();
  const int relative = place + 1 - p.maximum_keys;
  float sum = 0;
  for (int sequence = warp_index(); sequence < p.sequences; sequence += kWarps) {
    const int first = p.query_lengths[sequence];
    const int queries = p.query_lengths[sequence + 1] - first;
    const int keys = p.key_lengths[sequence + 1] - p.key_lengths[sequence];
    // Tiles with a query that far from a key: kRows * (tile + 1) > -distance and kRows * tile < min(queries, keys -
    // distance) where distance = key - query. Nobody sees a key ahead under a causal mask, and no sum of those need be
    // there.
    const int distance = relative + keys - queries;
    int reach = keys - distance < queries ? keys - distance : queries;
    if (p.causal && relative > 0) reach = 0;
    for (int tile = distance < 0 ? -distance / kRows : 0; tile * kRows < reach; ++tile) {
      const float* sums = diagonal_sums(p.parts, p.maximum_keys, first, sequence, tile, head, p.heads);
      sum += sums[distance + kRows - 1 + kRows * tile];
    }
  }
  shared.sums[warp_index()][lane_index()] = sum;
  sync_block();
  if (warp_index() != 0 || place >= p.places) return;  // no barrier follows
  float total = shared.sums[0][lane_index()];
  for (int warp = 1; warp < kWarps; ++warp) total += shared.sums[warp][lane_index()];
  p.sums[std::int64_t{head} * p.places + place] = total;
}

/// A warp has one bucket of one head: lane l its distances at places l, l + 32, ...
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads) attention_bucket_sum_kernel(BiasParams p, const float* sums, float* gradient) {
  const int bucket = static_cast<int>(block_index().x) * kWarps + warp_index();
  const int head = static_cast<int>(block_index().y);
  if (bucket >= p.buckets) return;  // the whole warp; no barrier follows
  float sum = 0;
  for (int place = lane_index(); place < p.places; place += kWarpThreads) {
    if (p.bucket(place + 1 - p.maximum_keys) == bucket) sum += sums[std::int64_t{head} * p.places + place];
  }
  sum = warp_sum(sum);
  if (lane_index() == 0) gradient[bucket * p.heads + head] += sum;
}

void launch_bias(const Context& context, const AttentionShape& shape, float* values) {
  const BiasParams p = bias_params(shape);
  if (p.places == 0) return;
  launch({.kernel = "attention_bias",
          .shape = {p.places, shape.heads},
          .grid = {grid_extent(divide_up(p.places, kThreads)), grid_extent(shape.heads)},
          .threads = kThreads,
          .stream = context.stream},
         attention_bias_kernel, p, values);
}

void launch_bias_sum(const Context& context, const AttentionBackwardArguments& a, float* parts, float* sums) {
  const AttentionShape& shape = a.shape;
  const BiasParams p = bias_params(shape);
  if (p.places == 0) return;
  launch({.kernel = "attention_bias_sum",
          .shape = {shape.queries.tokens, shape.sequences, shape.heads, p.places},
          .grid = {grid_extent(divide_up(p.places, kWarpThreads)), grid_extent(shape.heads)},
          .threads = kThreads,
          .shared_bytes = sizeof(BiasSumShared),
          .stream = context.stream},
         attention_bias_sum_kernel,
         BiasSumParams{shape.queries.cumulative_lengths, shape.keys.cumulative_lengths, static_cast<int>(shape.sequences),
                       p.heads, p.maximum_keys, p.places, shape.mask == AttentionMask::kCausal, parts, sums});
  launch({.kernel = "attention_bucket_sum",
          .shape = {p.buckets, shape.heads, p.places},
          .grid = {grid_extent(divide_up(p.buckets, kWarps)), grid_extent(shape.heads)},
          .threads = kThreads,
          .stream = context.stream},
         attention_bucket_sum_kernel, p, sums, a.d_relative_bias);
}

/// Floats of a bias written out, and of the partial sums of its gradient.
std::int64_t value_count(const AttentionShape& shape) {
  return shape.relative_bias.table == nullptr ? 0 : shape.heads * bias_params(shape).places;
}
std::int64_t part_count(const AttentionShape& shape) {
  const std::int64_t tiles = shape.queries.tokens / kRows + shape.sequences;
  return tiles * shape.heads * (shape.keys.maximum_length + kRows - 1);
}

Launch plain_launch(const char* kernel, const Context& context, const AttentionShape& shape, int tiles) {
  return {.kernel = kernel,
          .shape = {shape.queries.tokens, shape.keys.tokens, shape.heads, shape.head_size},
          .grid = {grid_extent(shape.sequences * tiles), grid_extent(shape.heads),
                   grid_extent(divide_up(shape.head_size, kChunk))},
          .threads = kThreads,
          .shared_bytes = sizeof(PlainShared),
          .stream = context.stream};
}

template <class T>
void backward_plain(const Context& context, const AttentionBackwardArguments& a, const float* row_statistics,
                    float* workspace) {
  const AttentionShape& shape = a.shape;
  const AttentionParams p = attention_params(a, row_statistics, kRows);
  PlainBiasParams bias = {};
  float* const parts = a.d_relative_bias == nullptr ? nullptr : workspace + 2 * value_count(shape);
  if (shape.relative_bias.table != nullptr) {
    launch_bias(context, shape, workspace);
    bias = {workspace, parts, shape.keys.maximum_length, bias_params(shape).places};
  }
  if (shape.queries.tokens > 0) {
    launch(plain_launch("attention_backward_plain", context, shape, p.query_tiles),
           attention_backward_plain_kernel<T, false>, p, bias);
    if (parts != nullptr) launch_bias_sum(context, a, parts, workspace + value_count(shape));
  }
  if (shape.keys.tokens > 0) {
    launch(plain_launch("attention_backward_plain", context, shape, p.key_tiles), attention_backward_plain_kernel<T, true>,
           p, bias);
  }
}

}  // namespace

void cuda::attention_forward_plain(const Context& context, const AttentionForwardArguments& a, float* workspace) {
  const AttentionParams p = attention_params(a, kRows);
  const bool single = a.shape.type == DType::kFloat32;
  PlainBiasParams bias = {};
  if (a.shape.relative_bias.table != nullptr) {
    launch_bias(context, a.shape, workspace);
    bias = {workspace, nullptr, a.shape.keys.maximum_length, bias_params(a.shape).places};
  }
  launch(plain_launch("attention_forward_plain", context, a.shape, p.query_tiles),
         single ? attention_forward_plain_kernel<float> : attention_forward_plain_kernel<BFloat16>, p, bias);
}

void cuda::attention_backward_plain(const Context& context, const AttentionBackwardArguments& a, const float* row_statistics,
                                    float* workspace) {
  if (a.shape.type == DType::kFloat32) {
    backward_plain<float>(context, a, row_statistics, workspace);
  } else {
    backward_plain<BFloat16>(context, a, row_statistics, workspace);
  }
}

std::size_t cuda::attention_bias_workspace(const AttentionForwardArguments& a) {
  return static_cast<std::size_t>(value_count(a.shape)) * sizeof(float);
}

std::size_t cuda::attention_bias_workspace(const AttentionBackwardArguments& a) {
  const std::int64_t gradient = a.d_relative_bias == nullptr ? 0 : value_count(a.shape) + part_count(a.shape);
  return static_cast<std::size_t>(value_count(a.shape) + gradient) * sizeof(float);
}

}  // namespace koine
