// Forward: a task is a block of tokens. Backward: a task is a block of distinct ids (or positions) and a range of columns,
// so that a frequent id does not keep one thread busy alone; within it each row's tokens are added up in order, then added
// to the row. The token-type row is a column_sum.

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/embedding/embedding_cpu.cpp"
#include "kernels/common/vector_targets.h"
#include "kernels/common/vector-inl.h"
// clang-format on

#include <algorithm>

#include "kernels/common/parallel.h"
#include "kernels/embedding/embedding.h"
#include "kernels/reduce/reduce.h"

HWY_BEFORE_NAMESPACE();
namespace koine {
namespace HWY_NAMESPACE {
namespace {

template <class T>
void forward_tokens(const EmbeddingForwardArguments& a, std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<float> d;
  const T* token_type = static_cast<const T*>(a.token_type);
  for (std::int64_t token = begin; token < end; ++token) {
    const T* word = static_cast<const T*>(a.word) + a.ids[token] * a.width;
    const T* position = static_cast<const T*>(a.position) + a.position_ids[token] * a.width;
    T* output = static_cast<T*>(a.output) + token * a.width;
    for_lanes(d, a.width, [&](std::int64_t i, auto lanes) KOINE_LANES {
      const auto typed_word = hn::Add(lanes.load(d, word + i), lanes.load(d, token_type + i));
      lanes.store(d, hn::Add(typed_word, lanes.load(d, position + i)), output + i);
    });
  }
}

constexpr std::int64_t kColumns = 256;

// Adds to columns [column, column + count) of the rows of groups [begin, end); count <= kColumns.
template <class T>
void add_groups_of(const EmbeddingBackwardArguments& a, const TokenOrder& order, float* table, std::int64_t begin,
                   std::int64_t end, std::int64_t column, std::int64_t count) {
  const hn::ScalableTag<float> d;
  HWY_ALIGN float sum[kColumns];
  for (std::int64_t group = begin; group < end; ++group) {
    if (order.starts[group] == order.starts[group + 1]) continue;
    std::fill(sum, sum + count, 0.0f);
    for (std::int64_t i = order.starts[group]; i < order.starts[group + 1]; ++i) {
      const T* d_output = static_cast<const T*>(a.d_output) + order.tokens[i] * a.width + column;
      for_lanes(d, count, [&](std::int64_t c, auto lanes) KOINE_LANES {
        lanes.store(d, hn::Add(lanes.load(d, sum + c), lanes.load(d, d_output + c)), sum + c);
      });
    }
    float* row = table + order.keys[group] * a.width + column;
    for_lanes(d, count, [&](std::int64_t c, auto lanes) KOINE_LANES {
      lanes.store(d, hn::Add(lanes.load(d, row + c), lanes.load(d, sum + c)), row + c);
    });
  }
}

void forward(const EmbeddingForwardArguments& a, std::int64_t begin, std::int64_t end) {
  a.type == DType::kFloat32 ? forward_tokens<float>(a, begin, end) : forward_tokens<BFloat16>(a, begin, end);
}
void add_groups(const EmbeddingBackwardArguments& a, const TokenOrder& order, float* table, std::int64_t begin,
                std::int64_t end, std::int64_t column, std::int64_t count) {
  a.type == DType::kFloat32 ? add_groups_of<float>(a, order, table, begin, end, column, count)
                            : add_groups_of<BFloat16>(a, order, table, begin, end, column, count);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace koine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace koine {

std::size_t column_sum_cpu_workspace(const ColumnSumArguments&);
void column_sum_cpu(const Context&, const ColumnSumArguments&, void*);

namespace {

HWY_EXPORT(forward);
HWY_EXPORT(add_groups);

constexpr std::int64_t kColumnsOfATask = 256;  // at most kColumns above
constexpr std::int64_t kGroupsOfATask = 32;

void add_rows(const EmbeddingBackwardArguments& a, const TokenOrder& order, float* table) {
  const std::int64_t column_tasks = (a.width + kColumnsOfATask - 1) / kColumnsOfATask;
  const std::int64_t group_tasks = (order.groups + kGroupsOfATask - 1) / kGroupsOfATask;
  parallel_for(group_tasks * column_tasks, [&](std::int64_t task) {
    const std::int64_t begin = task / column_tasks * kGroupsOfATask;
    const std::int64_t end = std::min(begin + kGroupsOfATask, order.groups);
    const std::int64_t column = task % column_tasks * kColumnsOfATask;
    HWY_DYNAMIC_DISPATCH(add_groups)
    (a, order, table, begin, end, column, std::min(kColumnsOfATask, a.width - column));
  });
}

ColumnSumArguments token_type_sum(const EmbeddingBackwardArguments& a) {
  ColumnSumArguments sum;
  sum.type = a.type;
  sum.rows = a.tokens;
  sum.width = a.width;
  sum.stride = a.width;
  sum.input = a.d_output;
  sum.output = a.d_token_type;
  return sum;
}

}  // namespace

void embedding_forward_cpu(const Context&, const EmbeddingForwardArguments& a, void*) {
  for (std::int64_t token = 0; token < a.tokens; ++token) {
    check(a.ids[token] >= 0 && a.ids[token] < a.vocabulary, "embedding_forward: id ", a.ids[token], " of token ", token,
          " is not one of ", a.vocabulary, " words");
    check(a.position_ids[token] >= 0 && a.position_ids[token] < a.positions, "embedding_forward: position ",
          a.position_ids[token], " of token ", token, " is not one of ", a.positions, " positions");
  }
  parallel_ranges(a.tokens, rows_of_a_task(a.width), [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(forward)(a, begin, end);
  });
}

std::size_t embedding_backward_cpu_workspace(const EmbeddingBackwardArguments& a) {
  return column_sum_cpu_workspace(token_type_sum(a));
}

void embedding_backward_cpu(const Context& context, const EmbeddingBackwardArguments& a, void* workspace) {
  add_rows(a, a.by_id, a.d_word);
  add_rows(a, a.by_position, a.d_position);
  if (a.d_token_type != nullptr) column_sum_cpu(context, token_type_sum(a), workspace);
}

}  // namespace koine
#endif
