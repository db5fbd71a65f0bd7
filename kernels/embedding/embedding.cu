// Embeddings on CUDA. Rows are moved 16 bytes a lane where every operand allows it, else element by element.
//
// Forward: a warp takes 4 tokens x 32 lanes' worth of columns (256, or 32 element by element), so that the reads of 4 word
// and 4 position rows are in flight together; the token-type columns are read once for the 4. Traffic: two table rows read
// and one row written a token. No shared memory.
//
// Backward: three sums over rows of d_output, in two launches. A TokenOrder's list of tokens is cut, group by group from
// each group's own start, into pieces of kPiece tokens. One warp sums one piece for one chunk of columns (32 lanes x 16
// bytes), the tokens in order, kAhead rows in flight.
//
//   embedding_pieces   - a warp for each group: one of at most kPiece tokens is added to its row of the table and done; of a
//                        longer one (a frequent word, a position, that many sequences share) this is the first piece, and
//                        its sum goes to the workspace
//                      - a warp for each kPiece places of the list: the piece of a long group, other than its first, that
//                        begins there. There is at most one: such pieces begin kPiece apart within a group, and the next
//                        group's second piece begins more than kPiece places behind this group's last.
//                      - a warp for each kPiece tokens of the batch, for the token-type row
//   embedding_long_rows  a block for each kPiece places of the list and chunk of columns: the long group that begins there,
//                        if one does (at most one, they are longer than kPiece). Warp w adds up pieces w, w + 8, ..., then
//                        the first warp adds the warps' sums in order, and the result to the row. The token-type row
//                        likewise.
//
// Which group a place of the list belongs to is found by a search 32 keys wide (three steps for 32,768 groups). All sums
// depend on the group's tokens alone; no atomics, and every row of a table has one writer. d_output is read three times, the
// second and third time mostly from L2 (25 MB for 16,384 tokens of 768 bf16); touched rows are read and written once.
// Workspace: 5 rows of fp32 for each kPiece tokens. Lengths of groups are on the device: grids come from shapes alone, and
// warps without work leave after reading two or three numbers.

#include "kernels/cuda/launch.h"
#include "kernels/cuda/vector.h"
#include "kernels/cuda/warp.h"
#include "kernels/embedding/embedding.h"

namespace koine {
namespace {

using namespace cuda;

// --- forward ------------------------------------------------------------------------------------------------------------

constexpr int kForwardThreads = 128;
constexpr int kTokensOfAWarp = 4;

template <class T>
struct ForwardParams {
  std::int64_t tokens;
  std::int64_t width;
  const std::int32_t* ids;
  const std::int32_t* position_ids;
  const T* word;
  const T* position;
  const T* token_type;
  T* output;
};

/// Behind the last token a warp reads that one again and writes nothing: reads that nothing is decided about are under way
/// together, behind branches they might wait for each other. So also below. Lane l of a warp takes columns (y * 32 + l) *
/// kElements of its tokens.
template <class T, int kElements>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kForwardThreads) embedding_forward_kernel(ForwardParams<T> p) {
  const std::int64_t warp = std::int64_t{block_index().x} * (kForwardThreads / kWarpThreads) + warp_index();
  const std::int64_t first = warp * kTokensOfAWarp;
  const std::int64_t column = (std::int64_t{block_index().y} * kWarpThreads + lane_index()) * kElements;
  if (column >= p.width) return;
  float word[kTokensOfAWarp][kElements];
  float position[kTokensOfAWarp][kElements];
  KOINE_UNROLL
  for (int t = 0; t < kTokensOfAWarp; ++t) {
    const std::int64_t token = first + t < p.tokens ? first + t : p.tokens - 1;
    load_floats(word[t], p.word + p.ids[token] * p.width + column);
    load_floats(position[t], p.position + p.position_ids[token] * p.width + column);
  }
  float token_type[kElements];
  load_floats(token_type, p.token_type + column);
  KOINE_UNROLL
  for (int t = 0; t < kTokensOfAWarp; ++t) {
    if (first + t >= p.tokens) continue;
    float sum[kElements];
    KOINE_UNROLL
    for (int i = 0; i < kElements; ++i) sum[i] = (word[t][i] + token_type[i]) + position[t][i];
    store_floats(p.output + (first + t) * p.width + column, sum);
  }
}

template <class T>
void launch_forward(const Context& context, const EmbeddingForwardArguments& a) {
  if (a.tokens == 0) return;
  const ForwardParams<T> params = {a.tokens,
                                   a.width,
                                   a.ids,
                                   a.position_ids,
                                   static_cast<const T*>(a.word),
                                   static_cast<const T*>(a.position),
                                   static_cast<const T*>(a.token_type),
                                   static_cast<T*>(a.output)};
  const auto start = [&](auto kernel, int elements) {
    const std::int64_t tokens_of_a_block = kTokensOfAWarp * kForwardThreads / kWarpThreads;
    launch({.kernel = "embedding_forward",
            .shape = {a.tokens, a.width},
            .grid = {grid_extent(divide_up(a.tokens, tokens_of_a_block)),
                     grid_extent(divide_up(a.width, std::int64_t{kWarpThreads} * elements))},
            .threads = kForwardThreads,
            .stream = context.stream},
           kernel, params);
  };
  if (all_aligned(16, a.word, a.position, a.token_type, a.output, a.width * static_cast<std::int64_t>(sizeof(T)))) {
    constexpr int kElements = 16 / static_cast<int>(sizeof(T));
    start(embedding_forward_kernel<T, kElements>, kElements);
  } else {
    start(embedding_forward_kernel<T, 1>, 1);
  }
}

// --- backward -----------------------------------------------------------------------------------------------------------

constexpr int kPiece = 64;  // tokens one warp adds up
constexpr int kAhead = 4;   // rows of d_output in flight: most groups have a token or two, and many warps do more for them
constexpr int kPiecesAhead = 8;
constexpr int kPieceThreads = 128;
constexpr int kLongRowThreads = 256;
constexpr int kLongRowWarps = kLongRowThreads / kWarpThreads;

/// One of the sums: rows of `table` by the groups of `order`. Row first_pieces + n of the workspace is for the first piece
/// of a long group, row later_pieces + n for another piece, that begins in places [n * kPiece, (n + 1) * kPiece) of the
/// list.
struct RowSums {
  TokenOrder order;
  float* table;
  std::int64_t first_pieces;
  std::int64_t later_pieces;
};

struct BackwardParams {
  std::int64_t tokens;
  std::int64_t width;
  std::int64_t workspace_width;  ///< floats from one row of the workspace to the next
  std::int64_t windows;          ///< number of kPiece places in a list
  const void* d_output;
  RowSums by_id;
  RowSums by_position;
  std::int64_t token_type_pieces;  ///< the first of their rows of the workspace
  float* d_token_type;
  float* workspace;

  KOINE_DEVICE float* workspace_row(std::int64_t row) const { return workspace + row * workspace_width; }
};

/// The last group that begins at or before `place`; there is one, and `place` lies in the list. Every lane gets it.
KOINE_DEVICE std::int64_t group_of(const TokenOrder& order, std::int64_t place) {
  std::int64_t low = 0;  // begins at or before `place`
  std::int64_t high = order.groups;
  while (high - low > 1) {
    const std::int64_t step = (high - low + kWarpThreads - 1) / kWarpThreads;
    const std::int64_t probe = low + lane_index() * step;
    const bool before = probe < high && order.starts[probe] <= place;
    low += (count_bits(ballot(before)) - 1) * step;
    high = low + step < high ? low + step : high;
  }
  return low;
}

/// sum[i] = d_output of tokens[0] + d_output of tokens[1] ... at this lane's columns. `tokens` null: the tokens from `begin`
/// on, one after the other; else those at list[begin] ... Every lane comes here, `inside` or not.
template <class T, int kElements>
KOINE_DEVICE void sum_piece(float (&sum)[kElements], const BackwardParams& p, const std::int32_t* list, std::int64_t begin,
                            int count, std::int64_t column, bool inside) {
  const T* const d_output = static_cast<const T*>(p.d_output) + (inside ? column : 0);
  KOINE_UNROLL
  for (int i = 0; i < kElements; ++i) sum[i] = 0;
  for (int block = 0; block < count; block += kWarpThreads) {
    const int in_block = count - block < kWarpThreads ? count - block : kWarpThreads;
    const std::int64_t place = begin + block + lane_index();
    int token = 0;
    if (lane_index() < in_block) token = list == nullptr ? static_cast<int>(place) : list[place];
    for (int t = 0; t < in_block; t += kAhead) {
      float rows[kAhead][kElements];
      KOINE_UNROLL
      for (int j = 0; j < kAhead; ++j) {
        const std::int64_t row = shuffle(token, t + j < in_block ? t + j : in_block - 1);
        load_floats(rows[j], d_output + row * p.width);
      }
      KOINE_UNROLL
      for (int j = 0; j < kAhead; ++j) {
        KOINE_UNROLL
        for (int i = 0; i < kElements; ++i) sum[i] += t + j < in_block ? rows[j][i] : 0.0f;
      }
    }
  }
}

/// Group `group`: added to its row, or if it is long its first piece to the workspace. An empty group: nothing.
template <class T, int kElements>
KOINE_DEVICE void sum_group(const BackwardParams& p, const RowSums& sums, std::int64_t group, std::int64_t column,
                            bool inside) {
  const std::int64_t begin = sums.order.starts[group];
  const std::int64_t length = sums.order.starts[group + 1] - begin;
  if (length == 0) return;
  const bool whole = length <= kPiece;
  float* const to = whole ? sums.table + sums.order.keys[group] * p.width + column
                          : p.workspace_row(sums.first_pieces + begin / kPiece) + column;
  float row[kElements];
  KOINE_UNROLL
  for (int i = 0; i < kElements; ++i) row[i] = 0;
  if (inside && whole) load_floats(row, to);
  float sum[kElements];
  sum_piece<T>(sum, p, sums.order.tokens, begin, static_cast<int>(whole ? length : kPiece), column, inside);
  KOINE_UNROLL
  for (int i = 0; i < kElements; ++i) sum[i] = whole ? row[i] + sum[i] : sum[i];
  if (inside) store_floats(to, sum);
}

/// The later piece of a long group that begins in places [window * kPiece, (window + 1) * kPiece) of the list, if one does.
template <class T, int kElements>
KOINE_DEVICE void sum_later_piece(const BackwardParams& p, const RowSums& sums, std::int64_t window, std::int64_t column,
                                  bool inside) {
  const std::int64_t place = window * kPiece;
  if (place >= sums.order.starts[sums.order.groups]) return;
  const std::int64_t group = group_of(sums.order, place);
  const std::int64_t group_begin = sums.order.starts[group];
  const std::int64_t group_end = sums.order.starts[group + 1];
  const std::int64_t begin = group_begin + divide_up(place - group_begin, kPiece) * kPiece;
  if (begin == group_begin || begin >= group_end) return;  // the group begins here: its first piece; or it ends before
  float sum[kElements];
  const std::int64_t count = group_end - begin < kPiece ? group_end - begin : kPiece;
  sum_piece<T>(sum, p, sums.order.tokens, begin, static_cast<int>(count), column, inside);
  if (inside) store_floats(p.workspace_row(sums.later_pieces + window) + column, sum);
}

/// Warps of the grid in order: the pieces of the token-type row and the later pieces, which are the longest, then the
/// groups.
template <class T, int kElements>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kPieceThreads, 7) embedding_pieces_kernel(BackwardParams p) {
  std::int64_t item = std::int64_t{block_index().x} * (kPieceThreads / kWarpThreads) + warp_index();
  const std::int64_t column = (std::int64_t{block_index().y} * kWarpThreads + lane_index()) * kElements;
  const bool inside = column < p.width;
  if (item < p.windows) {
    float sum[kElements];
    const std::int64_t begin = item * kPiece;
    const std::int64_t count = p.tokens - begin < kPiece ? p.tokens - begin : kPiece;
    sum_piece<T>(sum, p, nullptr, begin, static_cast<int>(count), column, inside);
    if (inside) store_floats(p.workspace_row(p.token_type_pieces + item) + column, sum);
    return;
  }
  item -= p.windows;
  if (item < 2 * p.windows) {
    const bool id = item < p.windows;
    const RowSums& sums = id ? p.by_id : p.by_position;
    if (sums.order.groups > 0) sum_later_piece<T, kElements>(p, sums, id ? item : item - p.windows, column, inside);
    return;
  }
  item -= 2 * p.windows;
  if (item < p.by_id.order.groups + p.by_position.order.groups) {
    const bool id = item < p.by_id.order.groups;
    sum_group<T, kElements>(p, id ? p.by_id : p.by_position, id ? item : item - p.by_id.order.groups, column, inside);
  }
}

/// What a block of the second launch puts together: row `first` of the workspace for piece 0, row later + n for piece n.
struct LongRow {
  std::int64_t pieces = 0;  ///< 0: nothing to do
  std::int64_t first = 0;
  std::int64_t later = 0;
  float* row = nullptr;
};

/// The long group that begins in `window`, if one does. It covers the window's end.
KOINE_DEVICE LongRow long_row_of(const RowSums& sums, std::int64_t window, std::int64_t width) {
  const std::int64_t end = (window + 1) * kPiece;
  if (sums.order.groups == 0 || end >= sums.order.starts[sums.order.groups]) return {};
  const std::int64_t group = group_of(sums.order, end);
  const std::int64_t begin = sums.order.starts[group];
  const std::int64_t length = sums.order.starts[group + 1] - begin;
  if (begin < window * kPiece || begin >= end || length <= kPiece) return {};
  return {divide_up(length, kPiece), sums.first_pieces + window, sums.later_pieces + window,
          sums.table + sums.order.keys[group] * width};
}

/// Blocks x: the token-type row, then the windows of the two orders. kElements columns a lane, kLongRowWarps warps.
template <int kElements>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kLongRowThreads) embedding_long_rows_kernel(BackwardParams p) {
  struct Shared {
    float sums[kLongRowWarps][kElements][kWarpThreads];
  };
  auto& shared = shared_memory<Shared>();
  const std::int64_t column = (std::int64_t{block_index().y} * kWarpThreads + lane_index()) * kElements;
  const bool inside = column < p.width;
  LongRow todo;
  if (block_index().x == 0) {
    if (p.d_token_type != nullptr) todo = {p.windows, p.token_type_pieces, p.token_type_pieces, p.d_token_type};
  } else {
    const std::int64_t item = std::int64_t{block_index().x} - 1;
    const bool id = item < p.windows;
    todo = long_row_of(id ? p.by_id : p.by_position, id ? item : item - p.windows, p.width);
  }
  if (todo.pieces == 0) return;  // the same for the whole block
  float sum[kElements] = {};
  for (std::int64_t first = warp_index(); first < todo.pieces; first += std::int64_t{kPiecesAhead} * kLongRowWarps) {
    float rows[kPiecesAhead][kElements];
    KOINE_UNROLL
    for (int j = 0; j < kPiecesAhead; ++j) {
      const std::int64_t piece = first + j * kLongRowWarps;
      const std::int64_t last = todo.pieces - 1;
      const std::int64_t row = piece == 0 ? todo.first : todo.later + (piece < last ? piece : last);
      load_floats(rows[j], p.workspace_row(row) + (inside ? column : 0));
    }
    KOINE_UNROLL
    for (int j = 0; j < kPiecesAhead; ++j) {
      KOINE_UNROLL
      for (int i = 0; i < kElements; ++i) sum[i] += first + j * kLongRowWarps < todo.pieces ? rows[j][i] : 0.0f;
    }
  }
  KOINE_UNROLL
  for (int i = 0; i < kElements; ++i) shared.sums[warp_index()][i][lane_index()] = sum[i];
  sync_block();
  if (warp_index() != 0 || !inside) return;
  float row[kElements];
  load_floats(row, todo.row + column);
  KOINE_UNROLL
  for (int i = 0; i < kElements; ++i) {
    float total = shared.sums[0][i][lane_index()];
    for (int warp = 1; warp < kLongRowWarps; ++warp) total += shared.sums[warp][i][lane_index()];
    row[i] += total;
  }
  store_floats(todo.row + column, row);
}

constexpr std::size_t kWorkspaceRows = 5;  // for each window

std::int64_t workspace_width(const EmbeddingBackwardArguments& a) { return divide_up(a.width, 4) * 4; }

BackwardParams backward_params(const EmbeddingBackwardArguments& a, void* workspace) {
  const std::int64_t windows = divide_up(a.tokens, kPiece);
  return {a.tokens,
          a.width,
          workspace_width(a),
          windows,
          a.d_output,
          {a.by_id, a.d_word, 0, windows},
          {a.by_position, a.d_position, 2 * windows, 3 * windows},
          4 * windows,
          a.d_token_type,
          static_cast<float*>(workspace)};
}

template <class T>
void launch_backward(const Context& context, const EmbeddingBackwardArguments& a, void* workspace) {
  if (a.tokens == 0) return;
  const BackwardParams params = backward_params(a, workspace);
  const auto start = [&](const char* name, auto kernel, std::int64_t blocks, int threads, int elements,
                         std::size_t shared_bytes) {
    launch({.kernel = name,
            .shape = {a.tokens, a.width},
            .grid = {grid_extent(blocks), grid_extent(divide_up(a.width, std::int64_t{kWarpThreads} * elements))},
            .threads = threads,
            .shared_bytes = shared_bytes,
            .stream = context.stream},
           kernel, params);
  };
  const std::int64_t items = 3 * params.windows + a.by_id.groups + a.by_position.groups;
  const std::int64_t piece_blocks = divide_up(items, kPieceThreads / kWarpThreads);
  const std::int64_t long_row_blocks = 1 + 2 * params.windows;
  constexpr int kElements = 16 / static_cast<int>(sizeof(T));
  constexpr std::size_t kSums = kLongRowThreads * sizeof(float);
  const std::int64_t row_bytes = a.width * static_cast<std::int64_t>(sizeof(T));
  if (all_aligned(16, a.d_output, a.d_word, a.d_position, a.d_token_type, row_bytes)) {
    start("embedding_pieces", embedding_pieces_kernel<T, kElements>, piece_blocks, kPieceThreads, kElements, 0);
    start("embedding_long_rows", embedding_long_rows_kernel<4>, long_row_blocks, kLongRowThreads, 4, 4 * kSums);
  } else {
    start("embedding_pieces", embedding_pieces_kernel<T, 1>, piece_blocks, kPieceThreads, 1, 0);
    start("embedding_long_rows", embedding_long_rows_kernel<1>, long_row_blocks, kLongRowThreads, 1, kSums);
  }
}

}  // namespace

void embedding_forward_portable(const Context& context, const EmbeddingForwardArguments& a, void*) {
  a.type == DType::kFloat32 ? launch_forward<float>(context, a) : launch_forward<BFloat16>(context, a);
}

std::size_t embedding_backward_portable_workspace(const EmbeddingBackwardArguments& a) {
  return kWorkspaceRows * static_cast<std::size_t>(divide_up(a.tokens, kPiece) * workspace_width(a)) * sizeof(float);
}

void embedding_backward_portable(const Context& context, const EmbeddingBackwardArguments& a, void* workspace) {
  a.type == DType::kFloat32 ? launch_backward<float>(context, a, workspace)
                            : launch_backward<BFloat16>(context, a, workspace);
}

}  // namespace koine
