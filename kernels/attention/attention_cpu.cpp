// Attention on the CPU: one task per (sequence, head), the forward also per 256 query rows of long sequences.
//
// A task packs its head to contiguous fp32 (the rows of the fused query-key-value buffer lie thousands of bytes apart) with
// keys, and for the backward values, transposed, so that vector lanes run over key positions in q k^T and over the head's
// columns in p v. Query rows go block by block: scores [block rows, keys] with the products of block_product-inl.h, the
// row's softmax in one go, then the second product; under a causal mask only over the keys that some row of the block sees.
// Scratch of a task: 2 to 5 matrices [keys, head_size] and 1 or 2 of [block rows, keys].
//
// A relative bias is written out once, one number a head and distance, and added to whole rows of scores. For its gradient a
// task sums d(scores) by distance, then by bucket, and the sums of all tasks are added in the order of their sequences.
// Workspace for it: [heads, distances] and, for the gradient, [sequences, heads, buckets] and a row of distances a task.
//
// Rounding points in mixed precision: bf16 operands are widened when packed; scores, weights, dropout and all sums are fp32;
// output, d_query, d_key and d_value are rounded once, when stored. The query is multiplied by `scale` (in fp32) when
// packed.
//
// Deterministic: a task computes its rows from its own sequence alone, with sums in ascending order of position.

#include "kernels/attention/attention.h"

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/attention_cpu.cpp"
#include "kernels/common/vector_targets.h"
#include "kernels/common/vector-inl.h"
#include "kernels/random/dropout_mask-inl.h"
#include "kernels/attention/block_product-inl.h"
// clang-format on

#ifndef KOINE_KERNELS_ATTENTION_CPU_ONCE
#define KOINE_KERNELS_ATTENTION_CPU_ONCE
#include <algorithm>
#include <atomic>
#include <cmath>

#include "kernels/common/parallel.h"

namespace koine {
namespace {

// Lanes of the widest vectors, and the edge of a patch of dropout draws.
constexpr std::int64_t kPatch = 16;
// Query rows of one block of scores, and of one task of the forward.
constexpr std::int64_t kBlockRows = 64;
constexpr std::int64_t kTaskRows = 256;

constexpr std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Parts of `rows` rows: as few as hold at most `limit` each, about equal, whole patches.
constexpr std::int64_t part_count(std::int64_t rows, std::int64_t limit) { return (rows + limit - 1) / limit; }
constexpr std::int64_t part_rows(std::int64_t rows, std::int64_t limit) {
  return rows == 0 ? kPatch : round_up((rows + part_count(rows, limit) - 1) / part_count(rows, limit), kPatch);
}

// Row stride of a scratch matrix with lanes over `length` positions. The odd number of vectors keeps walks down a column
// from falling into a few sets of the cache.
constexpr std::int64_t position_stride(std::int64_t length) { return round_up(length, 2 * kPatch) + kPatch; }
constexpr std::int64_t head_stride(std::int64_t head_size) { return round_up(head_size, kPatch); }

// Scratch of one task, in floats; the same function sizes the workspace (from the longest sequence) and cuts it up.
class Carver {
 public:
  explicit Carver(float* start) : start_(start) {}
  float* take(std::int64_t rows, std::int64_t stride) {
    float* taken = start_ == nullptr ? nullptr : start_ + used_;
    used_ += round_up(rows * stride, kPatch);
    return taken;
  }
  std::int64_t used() const { return used_; }

 private:
  float* start_;
  std::int64_t used_ = 0;
};

// Distances between a key and a query's place: from 1 - (longest keys) to (longest queries) - 1.
std::int64_t distance_count(const AttentionShape& shape) {
  return shape.relative_bias.table == nullptr ? 0 : shape.queries.maximum_length + shape.keys.maximum_length;
}
bool wants_bias_gradient(const AttentionForwardArguments&) { return false; }
bool wants_bias_gradient(const AttentionBackwardArguments& a) { return a.d_relative_bias != nullptr; }

struct ForwardScratch {
  float *key_transposed, *value, *query, *scores, *output, *draws;

  /// `keys`: of the sequence.
  static ForwardScratch carve(Carver& carver, const AttentionForwardArguments& arguments, std::int64_t keys) {
    const AttentionShape& shape = arguments.shape;
    const std::int64_t positions = position_stride(keys);
    const std::int64_t columns = head_stride(shape.head_size);
    ForwardScratch scratch;
    scratch.key_transposed = carver.take(shape.head_size, positions);
    scratch.value = carver.take(keys, columns);
    scratch.query = carver.take(kBlockRows, columns);
    scratch.scores = carver.take(kBlockRows, positions);
    scratch.output = carver.take(kBlockRows, columns);
    scratch.draws = shape.dropout.active() ? carver.take(kPatch, positions / 2) : nullptr;
    return scratch;
  }
};

struct BackwardScratch {
  float *key, *key_transposed, *value_transposed, *d_key, *d_value, *query, *d_output, *d_query, *weights, *d_scores, *draws;
  float* d_distances;  // of d(scores); null: not wanted

  static BackwardScratch carve(Carver& carver, const AttentionBackwardArguments& arguments, std::int64_t keys) {
    const AttentionShape& shape = arguments.shape;
    const std::int64_t positions = position_stride(keys);
    const std::int64_t columns = head_stride(shape.head_size);
    BackwardScratch scratch;
    scratch.key = carver.take(keys, columns);
    scratch.key_transposed = carver.take(shape.head_size, positions);
    scratch.value_transposed = carver.take(shape.head_size, positions);
    scratch.d_key = carver.take(keys, columns);
    scratch.d_value = carver.take(keys, columns);
    scratch.query = carver.take(kBlockRows, columns);
    scratch.d_output = carver.take(kBlockRows, columns);
    scratch.d_query = carver.take(kBlockRows, columns);
    scratch.weights = carver.take(kBlockRows, positions);
    scratch.d_scores = carver.take(kBlockRows, positions);
    scratch.draws = shape.dropout.active() ? carver.take(kPatch, positions / 2) : nullptr;
    scratch.d_distances = wants_bias_gradient(arguments) ? carver.take(1, distance_count(shape)) : nullptr;
    return scratch;
  }
};

// One task's part of the batch.
struct Part {
  std::int64_t sequence;
  std::int64_t head;
  std::int64_t first_query, first_key;  // tokens of the sequence
  std::int64_t queries, keys;           // of the sequence
  std::int64_t begin;                   // query rows of this task
  std::int64_t end;
  bool causal;
  const float* bias;  // of the head, at distance 0; null: none
  float* d_buckets;   // [buckets] of the sequence and head; null: not wanted

  // How many keys, from the first, the query in this row sees.
  std::int64_t visible(std::int64_t row) const {
    return causal ? std::clamp<std::int64_t>(row + 1 + keys - queries, 0, keys) : keys;
  }
  // How far ahead of the query in this row the first key is.
  std::int64_t first_distance(std::int64_t row) const { return queries - keys - row; }
};

}  // namespace
}  // namespace koine
#endif

HWY_BEFORE_NAMESPACE();
namespace koine {
namespace HWY_NAMESPACE {
namespace {

using Vector = hn::Vec<ProductTag>;
constexpr ProductTag d;

// to[r][c] = multiplier * from[r][c]; columns behind head_size are 0.
template <class T>
void pack(const T* from, std::int64_t from_stride, std::int64_t rows, std::int64_t columns, float multiplier,
          const Block& to) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const Vector factor = hn::Set(d, multiplier);
  for (std::int64_t r = 0; r < rows; ++r) {
    const T* source = from + r * from_stride;
    float* target = to.row(r);
    std::int64_t c = 0;
    for (; c + lanes <= columns; c += lanes) hn::Store(hn::Mul(factor, load_float(d, source + c)), d, target + c);
    if (c < columns) {
      const auto left = static_cast<std::size_t>(columns - c);
      hn::Store(hn::Mul(factor, load_partial(d, source + c, left)), d, target + c);
    }
  }
}

// to[c][r] = from[r][c], by 4 x 4 elements; columns of `to` behind `rows` are 0 up to whole vectors.
template <class T>
void pack_transposed(const T* from, std::int64_t from_stride, std::int64_t rows, std::int64_t columns, const Block& to) {
  const hn::FixedTag<float, 4> d4;
  const hn::FixedTag<double, 2> d2;
  const std::int64_t padded = round_up(rows, static_cast<std::int64_t>(hn::Lanes(d)));
  for (std::int64_t r = 0; r < padded; r += 4) {
    for (std::int64_t c = 0; c < columns; c += 4) {
      const std::int64_t wide = std::min<std::int64_t>(4, columns - c);
      const auto load = [&](std::int64_t row) HWY_ATTR {
        if (row >= rows) return hn::Zero(d4);
        const T* source = from + row * from_stride + c;
        return wide == 4 ? load_float(d4, source) : load_partial(d4, source, static_cast<std::size_t>(wide));
      };
      const auto row0 = load(r), row1 = load(r + 1), row2 = load(r + 2), row3 = load(r + 3);
      const auto low01 = hn::BitCast(d2, hn::InterleaveLower(d4, row0, row1));
      const auto low23 = hn::BitCast(d2, hn::InterleaveLower(d4, row2, row3));
      const auto high01 = hn::BitCast(d2, hn::InterleaveUpper(d4, row0, row1));
      const auto high23 = hn::BitCast(d2, hn::InterleaveUpper(d4, row2, row3));
      float* target = to.row(c) + r;
      hn::Store(hn::BitCast(d4, hn::InterleaveLower(d2, low01, low23)), d4, target);
      if (wide > 1) hn::Store(hn::BitCast(d4, hn::InterleaveUpper(d2, low01, low23)), d4, target + to.stride);
      if (wide > 2) hn::Store(hn::BitCast(d4, hn::InterleaveLower(d2, high01, high23)), d4, target + 2 * to.stride);
      if (wide > 3) hn::Store(hn::BitCast(d4, hn::InterleaveUpper(d2, high01, high23)), d4, target + 3 * to.stride);
    }
  }
}

// to[c] = multiplier * from[c], rounded to T.
template <class T>
void store_row(const float* from, std::int64_t columns, float multiplier, T* to) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const Vector factor = hn::Set(d, multiplier);
  std::int64_t c = 0;
  for (; c + lanes <= columns; c += lanes) store_float(d, hn::Mul(factor, hn::Load(d, from + c)), to + c);
  if (c < columns) store_partial(d, hn::Mul(factor, hn::Load(d, from + c)), to + c, static_cast<std::size_t>(columns - c));
}

// Of two packed rows, whose last vector is filled up with zeros.
float dot(const float* x, const float* y, std::int64_t columns) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  Vector sum = hn::Zero(d);
  for (std::int64_t c = 0; c < columns; c += lanes) sum = hn::MulAdd(hn::Load(d, x + c), hn::Load(d, y + c), sum);
  return sum_lanes(d, sum);
}

// The draws of the 16 query rows from `row`, or nothing.
void fill_draws(const AttentionShape& shape, const Part& part, std::int64_t row, float* draws) {
  if (!shape.dropout.active()) return;
  fill_attention_draws(shape.dropout, shape.dropout.examples[part.sequence], static_cast<std::uint32_t>(part.head), row,
                       kPatch, 0, part.keys, reinterpret_cast<std::uint16_t*>(draws), position_stride(part.keys));
}

// The row's draws within what fill_draws wrote.
const std::uint16_t* draws_of_row(const AttentionShape& shape, const Part& part, std::int64_t row, const float* draws) {
  if (!shape.dropout.active()) return nullptr;
  return reinterpret_cast<const std::uint16_t*>(draws) + row % kPatch * position_stride(part.keys);
}

// to[j] += from[j].
void add_row(const float* from, std::int64_t count, float* to) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t j = 0;
  for (; j + lanes <= count; j += lanes) hn::StoreU(hn::Add(hn::LoadU(d, to + j), hn::LoadU(d, from + j)), d, to + j);
  for (; j < count; ++j) to[j] += from[j];
}

float row_maximum(const float* scores, std::int64_t length) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const Vector lowest = hn::Set(d, -INFINITY);
  Vector maximum = lowest;
  std::int64_t j = 0;
  for (; j + lanes <= length; j += lanes) maximum = hn::Max(maximum, hn::Load(d, scores + j));
  const auto valid = hn::FirstN(d, static_cast<std::size_t>(length - j));
  if (j < length) maximum = hn::Max(maximum, hn::IfThenElse(valid, hn::Load(d, scores + j), lowest));
  return hn::GetLane(hn::MaxOfLanes(d, maximum));
}

// scores[j] -> exp(scores[j] - maximum), or 0 where dropped; returns the sum over all, dropped ones included.
template <bool kDropout>
float exponentiate_row(float* scores, std::int64_t length, float maximum, const std::uint16_t* draws,
                       std::uint32_t threshold) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const Vector shift = hn::Set(d, maximum);
  Vector sum = hn::Zero(d);
  for (std::int64_t j = 0; j < length; j += lanes) {
    Vector weight = exp(d, hn::Sub(hn::Load(d, scores + j), shift));
    if (j + lanes > length) weight = hn::IfThenElseZero(hn::FirstN(d, static_cast<std::size_t>(length - j)), weight);
    sum = hn::Add(sum, weight);
    if constexpr (kDropout) weight = hn::Mul(weight, keep_multiplier(d, draws + j, threshold, 1.0f));
    hn::Store(weight, d, scores + j);
  }
  return sum_lanes(d, sum);
}

template <class T>
void forward_block(const AttentionForwardArguments& arguments, const Part& part, const ForwardScratch& scratch,
                   std::int64_t begin, std::int64_t rows) {
  const AttentionShape& shape = arguments.shape;
  const std::int64_t positions = position_stride(part.keys);
  const std::int64_t columns = head_stride(shape.head_size);
  const std::int64_t head_column = part.head * shape.head_size;
  const std::int64_t first = part.first_query + begin;
  const std::int64_t keys = part.visible(begin + rows - 1);  // what the last row sees, and the others not more
  const Block query{scratch.query, columns}, scores{scratch.scores, positions}, output{scratch.output, columns};

  pack(static_cast<const T*>(arguments.query) + first * shape.queries.stride + head_column, shape.queries.stride, rows,
       shape.head_size, shape.scale, query);
  multiply<false>(rows, keys, shape.head_size, query, {scratch.key_transposed, positions}, scores, false);
  const bool dropout = shape.dropout.active();
  const std::uint32_t threshold = dropout ? shape.dropout.threshold() : 0;
  float sums[kBlockRows];
  for (std::int64_t r = 0; r < rows; ++r) {
    if (r % kPatch == 0) fill_draws(shape, part, begin + r, scratch.draws);
    const std::uint16_t* draws = draws_of_row(shape, part, begin + r, scratch.draws);
    const std::int64_t visible = part.visible(begin + r);
    float* const row = scores.row(r);
    if (part.bias != nullptr) add_row(part.bias + part.first_distance(begin + r), visible, row);
    const float maximum = row_maximum(row, visible);
    sums[r] = dropout ? exponentiate_row<true>(row, visible, maximum, draws, threshold)
                      : exponentiate_row<false>(row, visible, maximum, draws, threshold);
    std::fill(row + visible, row + keys, 0.0f);
    arguments.log_sum_exp[(first + r) * shape.heads + part.head] = maximum + std::log(sums[r]);
  }
  if (keys == 0) std::fill(output.data, output.row(rows), 0.0f);
  multiply<false>(rows, shape.head_size, keys, scores, {scratch.value, columns}, output, false);
  const float kept_scale = dropout ? shape.dropout.scale() : 1.0f;
  for (std::int64_t r = 0; r < rows; ++r) {
    store_row(output.row(r), shape.head_size, sums[r] == 0 ? 0.0f : kept_scale / sums[r],
              static_cast<T*>(arguments.output) + (first + r) * shape.output_stride + head_column);
  }
}

template <class T>
void forward_part(const AttentionForwardArguments& arguments, const Part& part, const ForwardScratch& scratch) {
  const AttentionShape& shape = arguments.shape;
  const std::int64_t offset = part.first_key * shape.keys.stride + part.head * shape.head_size;
  const std::int64_t keys = part.visible(part.end - 1);
  pack_transposed(static_cast<const T*>(arguments.key) + offset, shape.keys.stride, keys, shape.head_size,
                  {scratch.key_transposed, position_stride(part.keys)});
  pack(static_cast<const T*>(arguments.value) + offset, shape.keys.stride, keys, shape.head_size, 1.0f,
       {scratch.value, head_stride(shape.head_size)});
  const std::int64_t block = part_rows(part.end - part.begin, kBlockRows);
  for (std::int64_t begin = part.begin; begin < part.end; begin += block) {
    forward_block<T>(arguments, part, scratch, begin, std::min(block, part.end - begin));
  }
}

// weights: scores -> the weights after dropout; d_scores: d(weights after dropout) -> d(scores).
template <bool kDropout>
void backward_row(float* weights, float* d_scores, std::int64_t length, float log_sum_exp, float correction,
                  const std::uint16_t* draws, std::uint32_t threshold, float scale) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const Vector shift = hn::Set(d, log_sum_exp);
  const Vector minus_correction = hn::Set(d, -correction);
  for (std::int64_t j = 0; j < length; j += lanes) {
    const Vector weight = exp(d, hn::Sub(hn::Load(d, weights + j), shift));
    const Vector d_weight = hn::Load(d, d_scores + j);
    if constexpr (kDropout) {
      const Vector keep = keep_multiplier(d, draws + j, threshold, scale);
      hn::Store(hn::Mul(weight, keep), d, weights + j);
      hn::Store(hn::Mul(weight, hn::MulAdd(keep, d_weight, minus_correction)), d, d_scores + j);
    } else {
      hn::Store(weight, d, weights + j);
      hn::Store(hn::Mul(weight, hn::Add(d_weight, minus_correction)), d, d_scores + j);
    }
  }
}

// Turns scores and d(weights) of a block of query rows, over the first `keys` keys, into weights and d(scores).
template <class T>
void backward_softmax(const AttentionBackwardArguments& arguments, const Part& part, const BackwardScratch& scratch,
                      std::int64_t begin, std::int64_t rows, std::int64_t keys) {
  const AttentionShape& shape = arguments.shape;
  const std::int64_t columns = head_stride(shape.head_size);
  const std::int64_t positions = position_stride(part.keys);
  const std::int64_t first = part.first_query + begin;
  const bool dropout = shape.dropout.active();
  const std::uint32_t threshold = dropout ? shape.dropout.threshold() : 0;
  const float scale = dropout ? shape.dropout.scale() : 1.0f;
  // d_query is written later; until then its place holds the output.
  const Block output{scratch.d_query, columns};
  pack(static_cast<const T*>(arguments.output) + first * shape.output_stride + part.head * shape.head_size,
       shape.output_stride, rows, shape.head_size, 1.0f, output);
  for (std::int64_t r = 0; r < rows; ++r) {
    if (r % kPatch == 0) fill_draws(shape, part, begin + r, scratch.draws);
    const std::uint16_t* draws = draws_of_row(shape, part, begin + r, scratch.draws);
    const float correction = dot(scratch.d_output + r * columns, output.row(r), shape.head_size);
    const float log_sum_exp = arguments.log_sum_exp[(first + r) * shape.heads + part.head];
    const std::int64_t visible = part.visible(begin + r);
    const std::int64_t first_distance = part.first_distance(begin + r);
    float* weights = scratch.weights + r * positions;
    float* d_scores = scratch.d_scores + r * positions;
    if (part.bias != nullptr) add_row(part.bias + first_distance, visible, weights);
    if (dropout) {
      backward_row<true>(weights, d_scores, visible, log_sum_exp, correction, draws, threshold, scale);
    } else {
      backward_row<false>(weights, d_scores, visible, log_sum_exp, correction, draws, threshold, scale);
    }
    if (visible < keys) {
      std::fill(weights + visible, weights + keys, 0.0f);
      std::fill(d_scores + visible, d_scores + keys, 0.0f);
    }
    if (part.d_buckets != nullptr) add_row(d_scores, visible, scratch.d_distances + first_distance + part.keys - 1);
  }
}

// `sum`: whether d_key and d_value hold the sums of earlier blocks.
template <class T>
void backward_block(const AttentionBackwardArguments& arguments, const Part& part, const BackwardScratch& scratch,
                    std::int64_t begin, std::int64_t rows, bool sum) {
  const AttentionShape& shape = arguments.shape;
  const std::int64_t positions = position_stride(part.keys);
  const std::int64_t columns = head_stride(shape.head_size);
  const std::int64_t head_column = part.head * shape.head_size;
  const std::int64_t first = part.first_query + begin;
  const std::int64_t keys = part.visible(begin + rows - 1);
  const Block query{scratch.query, columns}, d_output{scratch.d_output, columns}, d_query{scratch.d_query, columns};
  const Block weights{scratch.weights, positions}, d_scores{scratch.d_scores, positions};

  pack(static_cast<const T*>(arguments.query) + first * shape.queries.stride + head_column, shape.queries.stride, rows,
       shape.head_size, shape.scale, query);
  pack(static_cast<const T*>(arguments.d_output) + first * shape.output_stride + head_column, shape.output_stride, rows,
       shape.head_size, 1.0f, d_output);
  multiply<false>(rows, keys, shape.head_size, query, {scratch.key_transposed, positions}, weights, false);
  multiply<false>(rows, keys, shape.head_size, d_output, {scratch.value_transposed, positions}, d_scores, false);
  backward_softmax<T>(arguments, part, scratch, begin, rows, keys);
  multiply<true>(keys, shape.head_size, rows, weights, d_output, {scratch.d_value, columns}, sum);
  multiply<true>(keys, shape.head_size, rows, d_scores, query, {scratch.d_key, columns}, sum);
  if (keys == 0) std::fill(d_query.data, d_query.row(rows), 0.0f);
  multiply<false>(rows, shape.head_size, keys, d_scores, {scratch.key, columns}, d_query, false);
  for (std::int64_t r = 0; r < rows; ++r) {
    store_row(d_query.row(r), shape.head_size, shape.scale,
              static_cast<T*>(arguments.d_query) + (first + r) * shape.queries.stride + head_column);
  }
}

template <class T>
void backward_part(const AttentionBackwardArguments& arguments, const Part& part, const BackwardScratch& scratch) {
  const AttentionShape& shape = arguments.shape;
  const std::int64_t positions = position_stride(part.keys);
  const std::int64_t columns = head_stride(shape.head_size);
  const std::int64_t offset = part.first_key * shape.keys.stride + part.head * shape.head_size;
  pack(static_cast<const T*>(arguments.key) + offset, shape.keys.stride, part.keys, shape.head_size, 1.0f,
       {scratch.key, columns});
  pack_transposed(scratch.key, columns, part.keys, shape.head_size, {scratch.key_transposed, positions});
  pack_transposed(static_cast<const T*>(arguments.value) + offset, shape.keys.stride, part.keys, shape.head_size,
                  {scratch.value_transposed, positions});
  // Where the first block may not reach all keys, the sums start from 0.
  const bool zero = part.queries == 0 || part.causal;
  if (zero) {
    std::fill_n(scratch.d_key, part.keys * columns, 0.0f);
    std::fill_n(scratch.d_value, part.keys * columns, 0.0f);
  }
  const std::int64_t distances = part.queries + part.keys - 1;
  if (part.d_buckets != nullptr) std::fill_n(scratch.d_distances, distances, 0.0f);
  const std::int64_t block = part_rows(part.queries, kBlockRows);
  for (std::int64_t begin = 0; begin < part.queries; begin += block) {
    backward_block<T>(arguments, part, scratch, begin, std::min(block, part.queries - begin), zero || begin > 0);
  }
  for (std::int64_t j = 0; j < part.keys; ++j) {
    const std::int64_t to = offset + j * shape.keys.stride;
    store_row(scratch.d_key + j * columns, shape.head_size, 1.0f, static_cast<T*>(arguments.d_key) + to);
    store_row(scratch.d_value + j * columns, shape.head_size, 1.0f, static_cast<T*>(arguments.d_value) + to);
  }
  if (part.d_buckets == nullptr) return;
  const RelativeBuckets bucket = relative_buckets(shape.relative_bias);
  for (std::int64_t k = 0; k < distances; ++k) {
    part.d_buckets[bucket(static_cast<int>(k - part.keys + 1))] += scratch.d_distances[k];
  }
}

void forward_part_any(const AttentionForwardArguments& arguments, const Part& part, float* scratch) {
  Carver carver(scratch);
  const ForwardScratch carved = ForwardScratch::carve(carver, arguments, part.keys);
  if (arguments.shape.type == DType::kBFloat16) {
    forward_part<BFloat16>(arguments, part, carved);
  } else {
    forward_part<float>(arguments, part, carved);
  }
}

void backward_part_any(const AttentionBackwardArguments& arguments, const Part& part, float* scratch) {
  Carver carver(scratch);
  const BackwardScratch carved = BackwardScratch::carve(carver, arguments, part.keys);
  if (arguments.shape.type == DType::kBFloat16) {
    backward_part<BFloat16>(arguments, part, carved);
  } else {
    backward_part<float>(arguments, part, carved);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace koine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace koine {
namespace {

HWY_EXPORT(forward_part_any);
HWY_EXPORT(backward_part_any);

// Floats of a slice of the workspace: what any task needs.
template <class Scratch, class Arguments>
std::int64_t slice_floats(const Arguments& arguments) {
  Carver carver(nullptr);
  Scratch::carve(carver, arguments, arguments.shape.keys.maximum_length);
  return carver.used();
}

// Tasks of a batch: for each sequence, each head, each part of at most `task_rows` query rows of the longest sequence. There
// is one for sequences without queries too, whose keys have gradients.
std::int64_t parts_of(const AttentionShape& shape, std::int64_t task_rows) {
  return std::max<std::int64_t>(1, part_count(shape.queries.maximum_length, task_rows));
}
std::int64_t task_count(const AttentionShape& shape, std::int64_t task_rows) {
  return shape.sequences * shape.heads * parts_of(shape, task_rows);
}

// A thread works with one slice of the workspace at a time; more slices than tasks are of no use.
std::int64_t slice_count(const AttentionShape& shape, std::int64_t task_rows) {
  return std::min<std::int64_t>(thread_count(), task_count(shape, task_rows));
}

// In front of the slices: the bias of every head and distance, and sums of its gradient by sequence, head and bucket.
template <class Arguments>
std::int64_t bias_floats(const Arguments& arguments) {
  return round_up(arguments.shape.heads * distance_count(arguments.shape), kPatch);
}
template <class Arguments>
std::int64_t bias_gradient_floats(const Arguments& arguments) {
  const AttentionShape& shape = arguments.shape;
  return wants_bias_gradient(arguments) ? round_up(shape.sequences * shape.heads * shape.relative_bias.buckets, kPatch) : 0;
}

template <class Scratch, class Arguments>
std::size_t workspace_for(const Arguments& arguments, std::int64_t task_rows) {
  const std::int64_t slices = slice_count(arguments.shape, task_rows) * slice_floats<Scratch>(arguments);
  return static_cast<std::size_t>(slices + bias_floats(arguments) + bias_gradient_floats(arguments)) * sizeof(float);
}

void check_lengths(const char* name, const AttentionSide& side, std::int64_t sequences) {
  const std::int32_t* cumulative = side.cumulative_lengths;
  check(cumulative != nullptr, "attention over ", side.tokens, " tokens of ", name, " without cumulative_lengths");
  check(cumulative[0] == 0 && cumulative[sequences] == side.tokens, "attention: cumulative_lengths of ", name, " run from ",
        cumulative[0], " to ", cumulative[sequences], ", the batch has ", side.tokens, " tokens");
  for (std::int64_t n = 0; n < sequences; ++n) {
    const std::int64_t length = std::int64_t{cumulative[n + 1]} - cumulative[n];
    check(length >= 0 && length <= side.maximum_length, "attention: sequence ", n, " of ", name, " has length ", length,
          ", maximum_length is ", side.maximum_length);
  }
}

void check_batch(const AttentionShape& shape) {
  check_lengths("queries", shape.queries, shape.sequences);
  check_lengths("keys", shape.keys, shape.sequences);
  check(!shape.dropout.active() || shape.dropout.examples != nullptr, "attention dropout over ", shape.sequences,
        " sequences without examples");
}

// Task number `index`; without queries where its sequence has no such rows.
Part part_of(const AttentionShape& shape, std::int64_t index, std::int64_t task_rows) {
  const std::int64_t parts = parts_of(shape, task_rows);
  Part part = {};
  part.sequence = index / (parts * shape.heads);
  part.head = index / parts % shape.heads;
  const std::int32_t* const queries = shape.queries.cumulative_lengths + part.sequence;
  const std::int32_t* const keys = shape.keys.cumulative_lengths + part.sequence;
  part.first_query = queries[0];
  part.first_key = keys[0];
  part.queries = queries[1] - queries[0];
  part.keys = keys[1] - keys[0];
  const std::int64_t rows = part_rows(part.queries, task_rows);
  part.begin = std::min(part.queries, index % parts * rows);
  part.end = std::min(part.queries, part.begin + rows);
  part.causal = shape.mask == AttentionMask::kCausal;
  return part;
}

// The bias of distances 1 - (longest keys), ... of every head: [heads, distances].
void write_bias(const AttentionShape& shape, float* to) {
  const RelativeBuckets bucket = relative_buckets(shape.relative_bias);
  const std::int64_t distances = distance_count(shape);
  for (std::int64_t k = 0; k < distances; ++k) {
    const float* row = shape.relative_bias.table + bucket(static_cast<int>(k - shape.keys.maximum_length + 1)) * shape.heads;
    for (std::int64_t head = 0; head < shape.heads; ++head) to[head * distances + k] = row[head];
  }
}

void add_bias_gradient(const AttentionForwardArguments&, const float*) {}
void add_bias_gradient(const AttentionBackwardArguments& a, const float* sums) {
  const std::int64_t heads = a.shape.heads;
  const std::int64_t buckets = a.shape.relative_bias.buckets;
  for (std::int64_t bucket = 0; bucket < buckets; ++bucket) {
    for (std::int64_t head = 0; head < heads; ++head) {
      float sum = 0;
      for (std::int64_t n = 0; n < a.shape.sequences; ++n) sum += sums[(n * heads + head) * buckets + bucket];
      a.d_relative_bias[bucket * heads + head] += sum;
    }
  }
}

// Runs every task; one without queries only where keys have gradients. A slice of the workspace is one task of the pool,
// which takes part after part from a common counter: no two threads hold a slice, however many threads there are.
template <class Scratch, class Arguments, class PartFunction>
void run_parts(const Arguments& arguments, std::int64_t task_rows, bool writes_keys, PartFunction function,
               void* workspace) {
  const AttentionShape& shape = arguments.shape;
  if (shape.queries.tokens == 0 && (shape.keys.tokens == 0 || !writes_keys)) return;
  check_batch(shape);
  float* const biases = static_cast<float*>(workspace);
  float* const d_biases = biases + bias_floats(arguments);
  float* const slices = d_biases + bias_gradient_floats(arguments);
  const bool has_bias = shape.relative_bias.table != nullptr;
  const bool has_gradient = wants_bias_gradient(arguments);
  if (has_bias) write_bias(shape, biases);
  if (has_gradient) std::fill(d_biases, slices, 0.0f);
  const std::int64_t tasks = task_count(shape, task_rows);
  const std::int64_t floats = slice_floats<Scratch>(arguments);
  std::atomic<std::int64_t> next{0};
  parallel_for(slice_count(shape, task_rows), [&](std::int64_t slice) {
    float* scratch = slices + slice * floats;
    for (std::int64_t index; (index = next.fetch_add(1, std::memory_order_relaxed)) < tasks;) {
      Part part = part_of(shape, index, task_rows);
      if (part.begin == part.end && !(writes_keys && part.keys > 0)) continue;
      if (has_bias) part.bias = biases + part.head * distance_count(shape) + shape.keys.maximum_length - 1;
      if (has_gradient) {
        part.d_buckets = d_biases + (part.sequence * shape.heads + part.head) * shape.relative_bias.buckets;
      }
      function(arguments, part, scratch);
    }
  });
  if (has_gradient) add_bias_gradient(arguments, d_biases);
}

// The backward sums over all query rows of a head in one task.
constexpr std::int64_t kWholeSequence = INT64_MAX / 2;

}  // namespace

bool attention_cpu_supports(const AttentionShape& shape) { return shape.type != DType::kFloat64; }

std::size_t attention_forward_cpu_workspace(const AttentionForwardArguments& a) {
  return workspace_for<ForwardScratch>(a, kTaskRows);
}

std::size_t attention_backward_cpu_workspace(const AttentionBackwardArguments& a) {
  return workspace_for<BackwardScratch>(a, kWholeSequence);
}

void attention_forward_cpu(const Context&, const AttentionForwardArguments& arguments, void* workspace) {
  run_parts<ForwardScratch>(arguments, kTaskRows, false, HWY_DYNAMIC_DISPATCH(forward_part_any), workspace);
}

void attention_backward_cpu(const Context&, const AttentionBackwardArguments& arguments, void* workspace) {
  run_parts<BackwardScratch>(arguments, kWholeSequence, true, HWY_DYNAMIC_DISPATCH(backward_part_any), workspace);
}

}  // namespace koine
#endif
