// The meaning of attention: every sum a plain loop in double. The backward works out the softmax again in double instead of
// reading log_sum_exp, so that fp32 statistics do not stand between it and a finite difference; `output` it reads as given.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "kernels/attention/attention.h"

namespace koine {
namespace {

// The bucket of a relative position, by the formula (relative_position.h).
std::int64_t bucket_of(const RelativeBias& bias, std::int64_t relative) {
  const std::int64_t size = bias.bidirectional ? bias.buckets / 2 : bias.buckets;
  const std::int64_t ahead = bias.bidirectional && relative > 0 ? size : 0;
  const std::int64_t distance = bias.bidirectional ? std::abs(relative) : std::max<std::int64_t>(-relative, 0);
  const std::int64_t exact = size / 2;
  if (distance < exact) return ahead + distance;
  const double steps = std::log(static_cast<double>(distance) / static_cast<double>(exact)) /
                       std::log(static_cast<double>(bias.max_distance) / static_cast<double>(exact)) *
                       static_cast<double>(size - exact);
  return ahead + std::min(size - 1, exact + static_cast<std::int64_t>(steps + 1e-9));
}

// One head of one sequence: where its elements lie.
struct Head {
  const AttentionShape& shape;
  std::int64_t sequence;
  std::int64_t head;
  std::int64_t first_query, first_key;  // tokens
  std::int64_t queries, keys;           // of the sequence

  std::int64_t query_index(std::int64_t row, std::int64_t column) const {
    return (first_query + row) * shape.queries.stride + head * shape.head_size + column;
  }
  std::int64_t key_index(std::int64_t row, std::int64_t column) const {
    return (first_key + row) * shape.keys.stride + head * shape.head_size + column;
  }
  std::int64_t output_index(std::int64_t row, std::int64_t column) const {
    return (first_query + row) * shape.output_stride + head * shape.head_size + column;
  }
  std::int64_t relative(std::int64_t i, std::int64_t j) const { return j - (i + keys - queries); }
  bool sees(std::int64_t i, std::int64_t j) const { return shape.mask == AttentionMask::kNone || relative(i, j) <= 0; }
  // Where the table of biases has what is added to score (i, j).
  std::int64_t bias_index(std::int64_t i, std::int64_t j) const {
    return bucket_of(shape.relative_bias, relative(i, j)) * shape.heads + head;
  }
  // What dropout multiplies weight (i, j) by.
  double mask(std::int64_t i, std::int64_t j) const {
    const Dropout& dropout = shape.dropout;
    if (!dropout.active()) return 1;
    const bool kept = keeps_attention(dropout, dropout.examples[sequence], static_cast<std::uint32_t>(head),
                                      static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(j));
    return kept ? 1 / (1 - dropout.threshold() / 65536.0) : 0;
  }
};

template <class Task>
void for_each_head(const AttentionShape& shape, const Task& task) {
  const std::int32_t* const queries = shape.queries.cumulative_lengths;
  const std::int32_t* const keys = shape.keys.cumulative_lengths;
  for (std::int64_t n = 0; n < shape.sequences; ++n) {
    for (std::int64_t head = 0; head < shape.heads; ++head) {
      task(Head{shape, n, head, queries[n], keys[n], queries[n + 1] - queries[n], keys[n + 1] - keys[n]});
    }
  }
}

// Row i of the softmax, before dropout, and its log sum exp.
double softmax_row(const Head& at, const void* query, const void* key, std::int64_t i, std::vector<double>& row) {
  const AttentionShape& shape = at.shape;
  row.assign(static_cast<std::size_t>(at.keys), -INFINITY);
  double maximum = -INFINITY;
  for (std::int64_t j = 0; j < at.keys; ++j) {
    if (!at.sees(i, j)) continue;
    double product = 0;
    for (std::int64_t c = 0; c < shape.head_size; ++c) {
      product += load_element(query, shape.type, at.query_index(i, c)) * load_element(key, shape.type, at.key_index(j, c));
    }
    row[j] = static_cast<double>(shape.scale) * product;
    if (shape.relative_bias.table != nullptr) row[j] += shape.relative_bias.table[at.bias_index(i, j)];
    maximum = std::fmax(maximum, row[j]);
  }
  if (maximum == -INFINITY) {  // it sees nothing
    row.assign(row.size(), 0);
    return maximum;
  }
  double sum = 0;
  for (double& weight : row) sum += weight = std::exp(weight - maximum);
  for (double& weight : row) weight /= sum;
  return maximum + std::log(sum);
}

void forward_head(const AttentionForwardArguments& arguments, const Head& at) {
  const AttentionShape& shape = arguments.shape;
  std::vector<double> weights;
  for (std::int64_t i = 0; i < at.queries; ++i) {
    const double log_sum_exp = softmax_row(at, arguments.query, arguments.key, i, weights);
    arguments.log_sum_exp[(at.first_query + i) * shape.heads + at.head] = static_cast<float>(log_sum_exp);
    for (std::int64_t j = 0; j < at.keys; ++j) weights[j] *= at.mask(i, j);
    for (std::int64_t c = 0; c < shape.head_size; ++c) {
      double sum = 0;
      for (std::int64_t j = 0; j < at.keys; ++j) {
        sum += weights[j] * load_element(arguments.value, shape.type, at.key_index(j, c));
      }
      store_element(arguments.output, shape.type, at.output_index(i, c), sum);
    }
  }
}

// `d_bias`: [buckets, heads], where wanted.
void backward_head(const AttentionBackwardArguments& arguments, const Head& at, std::vector<double>& d_bias) {
  const AttentionShape& shape = arguments.shape;
  std::vector<double> weights, d_query(at.queries * shape.head_size), d_key(at.keys * shape.head_size),
      d_value(at.keys * shape.head_size);
  const auto d_output = [&](std::int64_t i, std::int64_t c) {
    return load_element(arguments.d_output, shape.type, at.output_index(i, c));
  };
  for (std::int64_t i = 0; i < at.queries; ++i) {
    softmax_row(at, arguments.query, arguments.key, i, weights);
    double correction = 0;  // D_i
    for (std::int64_t c = 0; c < shape.head_size; ++c) {
      correction += d_output(i, c) * load_element(arguments.output, shape.type, at.output_index(i, c));
    }
    for (std::int64_t j = 0; j < at.keys; ++j) {
      if (!at.sees(i, j)) continue;
      const double mask = at.mask(i, j);
      double d_weight = 0;
      for (std::int64_t c = 0; c < shape.head_size; ++c) {
        d_weight += d_output(i, c) * load_element(arguments.value, shape.type, at.key_index(j, c));
        d_value[j * shape.head_size + c] += mask * weights[j] * d_output(i, c);
      }
      const double d_score = weights[j] * (mask * d_weight - correction);
      if (!d_bias.empty()) d_bias[at.bias_index(i, j)] += d_score;
      const double d_product = static_cast<double>(shape.scale) * d_score;
      for (std::int64_t c = 0; c < shape.head_size; ++c) {
        d_query[i * shape.head_size + c] += d_product * load_element(arguments.key, shape.type, at.key_index(j, c));
        d_key[j * shape.head_size + c] += d_product * load_element(arguments.query, shape.type, at.query_index(i, c));
      }
    }
  }
  for (std::int64_t c = 0; c < shape.head_size; ++c) {
    for (std::int64_t i = 0; i < at.queries; ++i) {
      store_element(arguments.d_query, shape.type, at.query_index(i, c), d_query[i * shape.head_size + c]);
    }
    for (std::int64_t j = 0; j < at.keys; ++j) {
      store_element(arguments.d_key, shape.type, at.key_index(j, c), d_key[j * shape.head_size + c]);
      store_element(arguments.d_value, shape.type, at.key_index(j, c), d_value[j * shape.head_size + c]);
    }
  }
}

}  // namespace

void attention_forward_reference(const Context&, const AttentionForwardArguments& arguments, void*) {
  for_each_head(arguments.shape, [&](const Head& at) { forward_head(arguments, at); });
}

void attention_backward_reference(const Context&, const AttentionBackwardArguments& arguments, void*) {
  const AttentionShape& shape = arguments.shape;
  std::vector<double> d_bias(arguments.d_relative_bias == nullptr ? 0 : shape.relative_bias.buckets * shape.heads);
  for_each_head(shape, [&](const Head& at) { backward_head(arguments, at, d_bias); });
  for (std::size_t r = 0; r < d_bias.size(); ++r) {
    arguments.d_relative_bias[r] = static_cast<float>(arguments.d_relative_bias[r] + d_bias[r]);
  }
}

}  // namespace koine
