// The backward of attention on 9.0: tensor copies into rings, wgmma with the transposed weights and d(scores) in registers
// (as FlashAttention-3's, Shah et al., arXiv 2407.08608), over packed sequences of any lengths, with dropout; one launch, no
// atomics.
//
// A block is persistent. What it walks over are passes: 128 keys of one head, a consumer's 64 and the other's, against all
// queries of their sequence in tiles of 64; of a sequence of at most 64 rows, two heads side by side, a consumer's each. So a
// sequence of up to 128 rows is one pass a head, five products, every operand read once: such batches wait for memory, which
// the producer keeps asking for the passes to come. Longer sequences take a pass for every 128 keys; d_query so far waits in
// the workspace, as fp32, in the registers' order, read and written by the same threads. Which way a sequence goes depends on
// its own length alone.
//
//   warps      role       registers  what                                              a tile of 64 queries, heads of 64
//   0-3        producer   24         one thread: waits for a stage that both have      24 KiB asked for (query, d_output,
//                                    left, asks for 64 queries; for a pass's keys      output), with the pass 32 of keys and
//                                    and values behind its first                       values
//   4-7, 8-11  consumers  240        S^T = K Q^T, dP^T = V dO^T, softmax, d(scores)    4 x 128 clocks of the tensor cores each;
//                                    to shared memory; dV += P^T dO, dK += dS^T Q      32 scores a thread to raise and to
//                                                                                      multiply, with dropout 4 calls of Philox
//              in turn               D of the tile's rows before it; dQ = dS K of all  256 clocks of the tensor cores; 64 rows
//                                    128 keys behind it                                of 8 lanes
// Heads of 80 and 128: bytes and clocks of the tensor cores as 80 and 128 are to 64.
//
// The consumers meet twice a tile: when D is there, and when d(scores) are. Which of them makes D and d_query changes with the
// tile: while one makes d_query, the other makes D of the next. A consumer holds 64 scores and d(weights), 32, 40 or 64 sums
// of d_key and as many of d_value; d_query's take the place of the scores. That is 192 of 240 registers for heads of 128:
// what else a thread needs is held in as few as possible, or made where it is needed. Heads of 64 have four stages and two
// of keys, 193 KiB; of 80 three and two, 207; of 128 two and one, 209: the next pass's keys come when this one has ended.
//
// Rows behind the sequence's end belong to the next one: queries, d_output and keys there are overwritten with zeros before
// they are multiplied, output is not looked at, values meet only d(scores) that are not stored; so whatever the next sequence
// holds stays there. Arithmetic, roundings and the order of sums are attention_backward.cu's: a row's bits depend on its own
// sequence only. Deterministic. FLOPs 10 * length^2 * head_size a head; traffic 16 * length * head_size bytes of sequences of
// up to 128 rows; with c passes, from the L2 cache, another 6 * (c - 1) * length * head_size of queries, and 8 of d_query.

#include <algorithm>

#include "kernels/attention/attention_backward.h"
#include "kernels/attention/attention_sm90.h"
#include "kernels/attention/attention_tile_sm90.h"

namespace koine {
namespace {

using namespace cuda;

constexpr int kConsumers = 2;
constexpr int kThreads = (1 + kConsumers) * kWarpgroupThreads;
constexpr int kPassKeys = kConsumers * kHeadTileRows;
constexpr int kProducerRegisters = 24;
constexpr int kConsumerRegisters = 240;
constexpr int kMeeting = 1;  // named barrier of all consumers

/// Tiles of queries, and passes' keys, that are there or on their way.
constexpr int query_stages(int head_size) { return head_size == 64 ? 4 : head_size == 80 ? 3 : 2; }
constexpr int key_stages(int head_size) { return head_size <= 80 ? 2 : 1; }

struct BackwardSm90Params {
  OperandMaps query;
  OperandMaps key;
  OperandMaps value;
  OperandMaps output;
  OperandMaps d_output;
  AttentionParams attention;
  const float* log_sum_exp;
  float* partial;  ///< [blocks, query tiles, d_query of a thread in fours, threads of a warpgroup]; none: one pass each
  int works;       ///< sequences, each with every pair of heads
};

template <int kHeadSize>
struct BackwardSm90Memory {
  static constexpr int kElements = HeadTile<kHeadSize>::kElements;
  static constexpr int kQueryStages = query_stages(kHeadSize);
  static constexpr int kKeyStages = key_stages(kHeadSize);
  alignas(1024) BFloat16 query[kQueryStages][kElements];
  alignas(1024) BFloat16 d_output[kQueryStages][kElements];
  alignas(1024) BFloat16 output[kQueryStages][kElements];
  alignas(1024) BFloat16 key[kKeyStages][kConsumers][kElements];
  alignas(1024) BFloat16 value[kKeyStages][kConsumers][kElements];
  alignas(1024) AttentionTile<kHeadTileRows, kHeadTileRows> d_scores[kConsumers];  // [keys, queries]
  AttentionTile<kHeadTileRows, kHeadSize> staged[kConsumers];                      // results on their way out
  Pack<float, 2> statistics[kConsumers][kHeadTileRows];  // of the tile's queries: log_sum_exp and D
  MBarrier query_full[kQueryStages];
  MBarrier query_empty[kQueryStages];
  MBarrier key_full[kKeyStages];
  MBarrier key_empty[kKeyStages];
};

/// A place in a ring and the parity of its round, in one register.
template <int kStages>
struct Ring {
  int place = 0;  // of two rounds

  KOINE_DEVICE int stage() const { return place < kStages ? place : place - kStages; }
  KOINE_DEVICE std::uint32_t parity() const { return place < kStages ? 0 : 1; }
  KOINE_DEVICE void advance() { place = place + 1 < 2 * kStages ? place + 1 : 0; }
};

/// The block's passes, one after the other. With heads side by side consumer i has head `head + i`; else both have `head`,
/// consumer i the keys from `first_key + 64 i` on. As little as can be is held: the products need the registers.
struct PassWalk {
  int work;
  int head = 0;
  int first_key = 0;
  int length = 0;
  int first_token = 0;

  KOINE_DEVICE PassWalk() : work(static_cast<int>(block_index().x) - static_cast<int>(grid_size().x)) {}

  KOINE_DEVICE bool heads_side_by_side() const { return length <= kHeadTileRows; }
  /// Whether `head` is the first of a pair of heads.
  KOINE_DEVICE bool has_other_head(const BackwardSm90Params& p) const {
    return head % 2 == 0 && head + 1 < p.attention.heads;
  }
  /// Consumers that have keys.
  KOINE_DEVICE int parts(const BackwardSm90Params& p) const {
    const bool two = heads_side_by_side() ? has_other_head(p) : length - first_key > kHeadTileRows;
    return two ? 2 : 1;
  }
  KOINE_DEVICE int sequence(const BackwardSm90Params& p) const { return work / pairs_of(p); }
  KOINE_DEVICE int head_of(int consumer) const { return heads_side_by_side() ? head + consumer : head; }
  KOINE_DEVICE int key_of(int consumer) const { return heads_side_by_side() ? 0 : first_key + consumer * kHeadTileRows; }
  KOINE_DEVICE int query_tiles() const { return (length + kHeadTileRows - 1) / kHeadTileRows; }
  /// Tiles of queries that the consumers work on at once.
  KOINE_DEVICE int loads_a_round(const BackwardSm90Params& p) const { return heads_side_by_side() ? parts(p) : 1; }
  KOINE_DEVICE bool is_last_of_head() const { return first_key + kPassKeys >= length; }

  KOINE_DEVICE bool next(const BackwardSm90Params& p) {
    first_key += kPassKeys;
    if (first_key < length) return true;
    first_key = 0;
    if (!heads_side_by_side() && has_other_head(p)) {
      ++head;
      return true;
    }
    do {
      work += static_cast<int>(grid_size().x);
      if (work >= p.works) return false;
      first_token = p.attention.query_lengths[sequence(p)];
      length = p.attention.query_lengths[sequence(p) + 1] - first_token;
    } while (length == 0);
    head = work % pairs_of(p) * 2;
    return true;
  }

 private:
  KOINE_DEVICE static int pairs_of(const BackwardSm90Params& p) { return (p.attention.heads + 1) / 2; }
};

/// By one thread. A pass's first queries are asked for before its keys: those of wide heads have one stage, which is free
/// when the pass before has ended.
template <int kHeadSize>
KOINE_DEVICE void produce(BackwardSm90Memory<kHeadSize>& s, const BackwardSm90Params& p) {
  using Memory = BackwardSm90Memory<kHeadSize>;
  constexpr int kBytes = HeadTile<kHeadSize>::kBytes;
  Ring<Memory::kQueryStages> queries;
  Ring<Memory::kKeyStages> keys;
  PassWalk pass;
  KOINE_ROLLED
  while (pass.next(p)) {
    const int loads = pass.heads_side_by_side() ? pass.parts(p) : pass.query_tiles();
    KOINE_ROLLED
    for (int load = 0; load < loads; ++load) {
      const int column = pass.head_of(load) * kHeadSize;
      const int row = pass.first_token + (pass.heads_side_by_side() ? 0 : load * kHeadTileRows);
      const int stage = queries.stage();
      MBarrier& full = s.query_full[stage];
      mbarrier_wait(s.query_empty[stage], queries.parity() ^ 1);
      mbarrier_arrive_expect(full, 3 * kBytes);
      load_head_tile<kHeadSize>(s.query[stage], p.query, column, row, full);
      load_head_tile<kHeadSize>(s.d_output[stage], p.d_output, column, row, full);
      load_head_tile<kHeadSize>(s.output[stage], p.output, column, row, full);
      queries.advance();
      if (load > 0) continue;
      const int key_stage = keys.stage();
      MBarrier& keys_full = s.key_full[key_stage];
      mbarrier_wait(s.key_empty[key_stage], keys.parity() ^ 1);
      mbarrier_arrive_expect(keys_full, 2 * kBytes * pass.parts(p));
      KOINE_ROLLED
      for (int part = 0; part < pass.parts(p); ++part) {
        const int key_column = pass.head_of(part) * kHeadSize;
        const int key_row = pass.first_token + pass.key_of(part);
        load_head_tile<kHeadSize>(s.key[key_stage][part], p.key, key_column, key_row, keys_full);
        load_head_tile<kHeadSize>(s.value[key_stage][part], p.value, key_column, key_row, keys_full);
      }
      keys.advance();
    }
  }
}

/// The same number, unknown to the compiler: what is made of it is made here, and not before the loop and then held, in
/// registers the products need.
KOINE_DEVICE int made_here(int number) {
#if KOINE_ON_DEVICE
  asm volatile("" : "+r"(number));
#endif
  return number;
}

/// log_sum_exp and D of a tile's rows, the first of them token `token`; infinity and 0, with which weights are 0, for those
/// from `rows` on. By the threads of a warpgroup. Loops are rolled: the sums of d_key and d_value are held meanwhile.
template <int kHeadSize>
KOINE_DEVICE void find_statistics(Pack<float, 2> (&to)[kHeadTileRows], const BFloat16* output, const BFloat16* d_output,
                                  const BackwardSm90Params& p, int token, int head, int rows) {
  using Tile = HeadTile<kHeadSize>;
  static_assert(kRowLanes == 8);  // the chunks of a row of a box
  constexpr int kStep = kWarpgroupThreads / kRowLanes;
  const int thread = made_here(warpgroup_thread());
  const int lane = thread % kRowLanes;
  float log_sum_exp = -minus_infinity();  // of row `thread`: asked for first, needed last
  if (thread < rows && thread < kHeadTileRows) {
    log_sum_exp = p.log_sum_exp[(std::int64_t{token} + thread) * p.attention.heads + head];
  }
  KOINE_ROLLED
  for (int row = thread / kRowLanes; row < kHeadTileRows; row += kStep) {
    float sum = 0;
    const auto add = [&](int place) { sum = add_products<8>(sum, output + place, d_output + place); };
    if (row < rows) {
      KOINE_ROLLED
      for (int box = 0; box < Tile::kWideBoxes; ++box) add(box * Tile::kWideBox + Tile::place(row, lane));
      if constexpr (Tile::kHasRest) {
        if (lane < 2) add(Tile::place(row, 8 * Tile::kWideBoxes + lane));
      }
    }
    sum = warp_sum<kRowLanes>(sum);
    if (lane == 0) to[row].values[1] = sum;
  }
  if (thread < kHeadTileRows) to[thread].values[0] = log_sum_exp;
}

/// What a consumer of a pass has.
struct ConsumerPart {
  int consumer;
  int head;
  int keys;  // of its 64, those that exist; none: it has no part in the products
};

/// d(scores) of the consumer's keys and 64 queries to shared memory; what they add to d_key and d_value.
template <int kHeadSize, bool kDropout>
KOINE_DEVICE void multiply_tile(BackwardSm90Memory<kHeadSize>& s, const AttentionParams& p, const ConsumerPart& part,
                                int key_stage, int query_stage, const Pack<float, 2>* statistics,
                                const std::uint32_t (&kept)[2], Accumulator (&d_key)[kHeadSize / 8],
                                Accumulator (&d_value)[kHeadSize / 8]) {
  const int warp_row = made_here(warpgroup_thread() / kWarpThreads * 16);
  const BFloat16* const query = s.query[query_stage];
  const BFloat16* const d_output = s.d_output[query_stage];
  Accumulator weights[kHeadTileRows / 8], d_scores[kHeadTileRows / 8];
  warpgroup_multiply_along_columns<kHeadSize>(weights, s.key[key_stage][part.consumer], query);
  warpgroup_multiply_along_columns<kHeadSize>(d_scores, s.value[key_stage][part.consumer], d_output);
  warpgroup_wait<0>(weights, d_scores);
  // In parts: the statistics of all 64 queries at once would take registers that are not there.
  constexpr int kParts = kHeadSize <= 80 ? 2 : 4;
  constexpr int kTiles = kHeadTileRows / 8 / kParts;
  KOINE_UNROLL
  for (int i = 0; i < kParts; ++i) {
    const std::uint32_t part_kept[2] = {kept[0] >> (4 * kTiles * i), kept[1] >> (4 * kTiles * i)};
    auto& part_d_scores = part_of<kTiles>(d_scores, i * kTiles);
    backward_softmax_transposed<kDropout>(part_of<kTiles>(weights, i * kTiles), part_d_scores, statistics + 8 * i * kTiles,
                                          p, part_kept);
    keep_d_scores(s.d_scores[part.consumer], part_d_scores, warp_row, 8 * i * kTiles, part.keys - warp_row);
  }
  fence_async_proxy();
  FragmentA weight_operands[kHeadTileRows / 16], d_score_operands[kHeadTileRows / 16];
  as_operands(weight_operands, weights);
  as_operands(d_score_operands, d_scores);
  warpgroup_multiply_along_rows<kHeadSize>(d_value, weight_operands, d_output);
  warpgroup_multiply_along_rows<kHeadSize>(d_key, d_score_operands, query);
  warpgroup_wait<0>(d_value, d_key, weight_operands, d_score_operands);
}

/// Rounds 64 rows of results, by way of the warp's own rows of the consumer's staging, and stores the `rows` of them that
/// exist, 16 bytes a lane. As store_rows(), with a rolled loop: other sums are held meanwhile.
template <int kHeadSize>
KOINE_DEVICE void store_tile(BackwardSm90Memory<kHeadSize>& s, int consumer, const Accumulator (&result)[kHeadSize / 8],
                             float factor, void* to, std::int64_t stride, std::int64_t first_row, int head, int rows) {
  const int thread = made_here(warpgroup_thread());
  const int lane = thread % kWarpThreads;
  const int warp_row = thread / kWarpThreads * 16;
  constexpr int kChunks = kHeadSize / 8;
  auto& staged = s.staged[consumer];
  sync_warp();
  KOINE_UNROLL
  for (int n = 0; n < kChunks; ++n) {
    KOINE_UNROLL
    for (int half = 0; half < 2; ++half) {
      const std::uint32_t pair = pack_bfloat16(result[n].x[2 * half] * factor, result[n].x[2 * half + 1] * factor);
      store_pack(staged.chunk(warp_row + lane / 4 + 8 * half, n) + 2 * (lane % 4),
                 __builtin_bit_cast(Pack<BFloat16, 2>, pair));
    }
  }
  sync_warp();
  BFloat16* const first = static_cast<BFloat16*>(to) + first_row * stride + head * kHeadSize;
  KOINE_ROLLED
  for (int index = lane; index < 16 * kChunks; index += kWarpThreads) {
    const int row = warp_row + index / kChunks;
    if (row >= rows) continue;
    store_pack(first + row * stride + index % kChunks * 8, load_pack<BFloat16, 8>(staged.chunk(row, index % kChunks)));
  }
}

/// Four of the sums of d_query that wait for the next pass, in this thread's place; the next four are 4 * 128 further.
template <int kHeadSize>
KOINE_DEVICE float* partial_sums(const BackwardSm90Params& p, int tile) {
  const std::int64_t tiles = std::int64_t{block_index().x} * p.attention.query_tiles + tile;
  return p.partial + (tiles * (kHeadSize / 8) * kWarpgroupThreads + made_here(warpgroup_thread())) * 4;
}

/// d_query of a tile of queries: what the keys of this pass add to it.
template <int kHeadSize>
KOINE_DEVICE void multiply_queries(BackwardSm90Memory<kHeadSize>& s, const BackwardSm90Params& p, const PassWalk& pass,
                                   int consumer, int key_stage, int tile) {
  constexpr int kSums = kHeadSize / 8;
  const int begin = tile * kHeadTileRows;
  const int first = pass.heads_side_by_side() ? consumer : 0;
  const int end = pass.heads_side_by_side() ? consumer + 1 : pass.parts(p);
  Accumulator d_query[kSums];
  clear(d_query);
  if (pass.first_key > 0) {
    const float* const partial = partial_sums<kHeadSize>(p, tile);
    KOINE_UNROLL
    for (int j = 0; j < kSums; ++j) {
      const auto before = load_pack<float, 4>(partial + j * kWarpgroupThreads * 4);
      KOINE_UNROLL
      for (int i = 0; i < 4; ++i) d_query[j].x[i] = before.values[i];
    }
  }
  KOINE_ROLLED
  for (int part = first; part < end; ++part) {
    warpgroup_multiply_along_rows<kHeadSize>(d_query, s.d_scores[part].elements, s.key[key_stage][part]);
    warpgroup_wait<0>(d_query);
  }
  if (pass.is_last_of_head()) {
    store_tile(s, consumer, d_query, p.attention.scale, p.attention.d_query, p.attention.query_stride,
               std::int64_t{pass.first_token} + begin, pass.head_of(consumer), pass.length - begin);
    return;
  }
  float* const partial = partial_sums<kHeadSize>(p, tile);
  KOINE_UNROLL
  for (int j = 0; j < kSums; ++j) {
    const float* const x = d_query[j].x;
    store_pack<float, 4>(partial + j * kWarpgroupThreads * 4, {{x[0], x[1], x[2], x[3]}});
  }
}

template <int kHeadSize, bool kDropout>
KOINE_DEVICE void consume(BackwardSm90Memory<kHeadSize>& s, const BackwardSm90Params& p, int consumer) {
  using Memory = BackwardSm90Memory<kHeadSize>;
  constexpr int kAll = kConsumers * kWarpgroupThreads;
  Ring<Memory::kQueryStages> queries;
  Ring<Memory::kKeyStages> keys;
  PassWalk pass;
  while (pass.next(p)) {
    const bool side_by_side = pass.heads_side_by_side();
    ConsumerPart part = {consumer, pass.head_of(consumer), 0};
    if (consumer < pass.parts(p)) part.keys = pass.length - pass.key_of(consumer);
    AttentionPlace at = {};
    at.sequence = pass.sequence(p);
    at.head = part.head;
    Accumulator d_key[kHeadSize / 8], d_value[kHeadSize / 8];
    clear(d_key);
    clear(d_value);
    mbarrier_wait(s.key_full[keys.stage()], keys.parity());
    if (part.keys > 0 && part.keys < kHeadTileRows) {
      clear_rows_behind<kHeadSize>(s.key[keys.stage()][consumer], part.keys);
      fence_async_proxy();
    }
    for (int begin = 0; begin < pass.length; begin += kHeadTileRows) {  // once where heads are side by side
      const bool in_turn = side_by_side ? part.keys > 0 : begin / kHeadTileRows % kConsumers == consumer;
      std::uint32_t kept[2] = {};
      if constexpr (kDropout) {  // the key is read again: kept, it would take registers the products need
        const int first_key = pass.key_of(made_here(consumer));
        const int warp_row = made_here(warpgroup_thread()) / kWarpThreads * 16;
        kept_transposed<kHeadTileRows / 8>(kept, attention_draws<true>(p.attention, at), begin, first_key + warp_row,
                                           made_here(lane_index()));
      }
      Ring<Memory::kQueryStages> mine = queries;  // this consumer's
      mbarrier_wait(s.query_full[queries.stage()], queries.parity());
      if (pass.loads_a_round(p) == 2) {
        Ring<Memory::kQueryStages> second = queries;
        second.advance();
        mbarrier_wait(s.query_full[second.stage()], second.parity());
        if (consumer == 1) mine = second;
      }
      const int stage = mine.stage();
      auto& statistics = s.statistics[side_by_side ? consumer : 0];
      if (in_turn) {
        const int rows = pass.length - begin;
        find_statistics<kHeadSize>(statistics, s.output[stage], s.d_output[stage], p, pass.first_token + begin, part.head,
                                   rows);
        if (rows < kHeadTileRows) {
          clear_rows_behind<kHeadSize>(s.query[stage], rows);
          clear_rows_behind<kHeadSize>(s.d_output[stage], rows);
          fence_async_proxy();
        }
      }
      named_barrier_sync(kMeeting, kAll);  // D is there, what lies behind the sequence is not
      if (part.keys > 0) {
        multiply_tile<kHeadSize, kDropout>(s, p.attention, part, keys.stage(), stage, statistics, kept, d_key, d_value);
      }
      named_barrier_sync(kMeeting, kAll);  // d(scores) are there, queries have been read
      for (int load = 0; load < pass.loads_a_round(p); ++load) {
        if (warpgroup_thread() == 0) mbarrier_arrive(s.query_empty[queries.stage()]);
        queries.advance();
      }
      if (in_turn) multiply_queries(s, p, pass, consumer, keys.stage(), begin / kHeadTileRows);
    }
    // d(scores) of this pass's last tile may still be read by the other consumer: the next ones come after a meeting.
    if (warpgroup_thread() == 0) mbarrier_arrive(s.key_empty[keys.stage()]);
    keys.advance();
    if (part.keys > 0) {
      const std::int64_t row = std::int64_t{pass.first_token} + pass.key_of(made_here(consumer));
      store_tile(s, consumer, d_key, p.attention.scale, p.attention.d_key, p.attention.query_stride, row, part.head,
                 part.keys);
      store_tile(s, consumer, d_value, p.attention.dropout.scale, p.attention.d_value, p.attention.query_stride, row,
                 part.head, part.keys);
    }
  }
}

/// Grid: as many blocks as run at once; each has the sequences and pairs of heads from its own number on.
template <int kHeadSize, bool kDropout>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads, 1)
    attention_backward_sm90_kernel(const KOINE_GRID_CONSTANT BackwardSm90Params p) {
  using Memory = BackwardSm90Memory<kHeadSize>;
  static_assert(sizeof(Memory) <= 232448);
  auto& s = shared_memory<Memory>();
  if (thread_index() == 0) {
    for (int stage = 0; stage < Memory::kQueryStages; ++stage) {
      mbarrier_init(s.query_full[stage], 1);
      mbarrier_init(s.query_empty[stage], kConsumers);
    }
    for (int stage = 0; stage < Memory::kKeyStages; ++stage) {
      mbarrier_init(s.key_full[stage], 1);
      mbarrier_init(s.key_empty[stage], kConsumers);
    }
    fence_mbarrier_init();
  }
  sync_block();
  if (warpgroup_index() == 0) {
    warpgroup_decrease_registers<kProducerRegisters>();
    if (warp_index() == 0 && elect_lane()) produce(s, p);
    sync_warp();
  } else {
    warpgroup_increase_registers<kConsumerRegisters>();
    consume<kHeadSize, kDropout>(s, p, warpgroup_index() - 1);
  }
}

std::int64_t works_of(const AttentionShape& shape) { return shape.sequences * divide_up(shape.heads, 2); }

template <int kHeadSize>
void launch_backward(const Context& context, const AttentionBackwardArguments& a, void* workspace, std::int64_t blocks) {
  const AttentionShape& shape = a.shape;
  const BackwardSm90Params p = {.query = operand_maps(a.query, shape, shape.queries.stride),
                                .key = operand_maps(a.key, shape, shape.keys.stride),
                                .value = operand_maps(a.value, shape, shape.keys.stride),
                                .output = operand_maps(a.output, shape, shape.output_stride),
                                .d_output = operand_maps(a.d_output, shape, shape.output_stride),
                                .attention = attention_params(a, nullptr, kHeadTileRows),
                                .log_sum_exp = a.log_sum_exp,
                                .partial = static_cast<float*>(workspace),
                                .works = static_cast<int>(works_of(shape))};
  launch({.kernel = "attention_backward_sm90",
          .shape = {shape.queries.tokens, shape.keys.tokens, shape.heads, shape.head_size},
          .grid = {grid_extent(std::min(works_of(shape), blocks))},
          .threads = kThreads,
          .shared_bytes = sizeof(BackwardSm90Memory<kHeadSize>),
          .stream = context.stream},
         shape.dropout.active() ? attention_backward_sm90_kernel<kHeadSize, true>
                                : attention_backward_sm90_kernel<kHeadSize, false>,
         p);
}

}  // namespace

bool attention_backward_sm90_supports(const AttentionBackwardArguments& a) {
  return attention_in_head_tiles(a.shape) && works_of(a.shape) < std::numeric_limits<std::int32_t>::max() / 2 &&
         rows_in_vectors(a.shape, a.query, a.key, a.value, a.output, a.d_output, a.d_query, a.d_key, a.d_value);
}

std::size_t attention_backward_sm90_workspace(const AttentionBackwardArguments& a) {
  const AttentionShape& shape = a.shape;
  if (shape.queries.maximum_length <= kPassKeys) return 0;
  const std::int64_t rows = divide_up(shape.queries.maximum_length, kHeadTileRows) * kHeadTileRows;
  const std::int64_t blocks = std::min<std::int64_t>(works_of(shape), kAttentionSm90Blocks);
  return static_cast<std::size_t>(blocks * rows * shape.head_size) * sizeof(float);
}

void launch_attention_backward_sm90(const Context& context, const AttentionBackwardArguments& a, void* workspace,
                                    std::int64_t blocks) {
  if (a.shape.queries.tokens == 0) return;
  if (a.shape.head_size == 64) {
    launch_backward<64>(context, a, workspace, blocks);
  } else if (a.shape.head_size == 80) {
    launch_backward<80>(context, a, workspace, blocks);
  } else {
    launch_backward<128>(context, a, workspace, blocks);
  }
}

void attention_backward_sm90(const Context& context, const AttentionBackwardArguments& a, void* workspace) {
  launch_attention_backward_sm90(context, a, workspace, kAttentionSm90Blocks);
}

}  // namespace koine
