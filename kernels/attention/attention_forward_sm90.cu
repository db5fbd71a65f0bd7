// The forward of attention on 9.0: tensor copies into a ring, wgmma with the weights in registers (after FlashAttention-3,
// Shah et al., arXiv 2407.08608), over packed sequences of any lengths, with dropout.
//
// A block has up to 128 query rows: of a sequence longer than 64, two tiles of one head, which share its keys and values; of
// a shorter one, its only tile for two heads side by side, each with keys and values of its own (blocks of odd heads leave).
// The choice is the sequence's: what else is in the batch does not enter.
//
//   warps      role       registers   what                                                a tile of 64 keys, heads of 64
//   0-3        producer   24          one thread: waits for a stage that all have left,   16 KiB asked for
//                                     asks for 64 keys and values
//   4-7, 8-11  consumers  104 or 240  64 query rows each: scores [64, 64] by wgmma from   2 x 128 clocks of the tensor cores;
//                                     shared memory, their softmax in registers, rounded  32 scores a thread to raise, add and
//                                     to bf16 the left operand of the second wgmma        round, with dropout 4 calls of Philox
//
// While one consumer works out its softmax the tensor cores are the other's, or another block's: heads of 64 leave room for
// two blocks. A consumer holds 32 scores, 16 words of weights and 32, 40 or 64 sums; what dropout keeps is drawn before the
// scores are there. Shared memory: 64 query rows for each consumer and 4 stages of 64 keys and values: 80 KiB for heads of
// 64, 100 for 80, 160 for 128.
//
// Heads of 80 are a box of 64 columns and one of 16, never 96. Rows behind the sequence's end belong to the next one: keys
// there are masked, values are overwritten with zeros before they are multiplied, query rows are not stored; so whatever the
// next sequence holds stays there. Arithmetic, roundings and the order of sums are attention_forward.cu's: a row's bits
// depend on its own sequence only. FLOPs and traffic are attention_forward.cu's too, but that 128 query rows share a copy
// of keys and values.

#include "kernels/attention/attention_sm90.h"
#include "kernels/attention/attention_softmax.h"
#include "kernels/attention/attention_tile_sm90.h"

namespace koine {
namespace {

using namespace cuda;

constexpr int kConsumers = 2;
constexpr int kThreads = (1 + kConsumers) * kWarpgroupThreads;
constexpr int kStages = 4;
constexpr int kProducerRegisters = 24;

/// Blocks of a multiprocessor, and what its 65,536 registers leave to a consumer.
constexpr int blocks_at_once(int head_size) { return head_size == 64 ? 2 : 1; }
constexpr int consumer_registers(int head_size) { return head_size == 64 ? 104 : 240; }

struct ForwardSm90Params {
  OperandMaps query;
  OperandMaps key;
  OperandMaps value;
  AttentionParams attention;
};

template <int kHeadSize>
struct ForwardSm90Memory {
  static constexpr int kElements = HeadTile<kHeadSize>::kElements;
  alignas(1024) BFloat16 query[kConsumers][kElements];  // in the end this consumer's results
  alignas(1024) BFloat16 key[kStages][kElements];
  alignas(1024) BFloat16 value[kStages][kElements];
  MBarrier query_full[kConsumers];
  MBarrier key_full[kStages];
  MBarrier value_full[kStages];
  MBarrier empty[kStages];
};

/// What a block does: `loads` tiles of keys and values. Of a sequence of one tile load i is head `at.head + i`, and consumer
/// i's; of a longer one it is tile i, and all consumers'.
struct ForwardWork {
  AttentionPlace at;
  bool heads_side_by_side;
  int consumers;
  int loads;

  KOINE_DEVICE AttentionPlace of_consumer(int consumer) const {
    AttentionPlace own = at;
    if (heads_side_by_side) {
      own.head += consumer;
    } else {
      own.begin += consumer * kHeadTileRows;
    }
    return own;
  }
};
/// No loads: there is nothing to do.
KOINE_DEVICE ForwardWork forward_work(const AttentionParams& p) {
  ForwardWork work = {attention_place<AttentionKind::kSelf>(p, kConsumers * kHeadTileRows), false, 0, 0};
  const int rows = work.at.queries - work.at.begin;
  if (rows <= 0) return work;
  work.heads_side_by_side = work.at.queries <= kHeadTileRows;
  if (work.heads_side_by_side) {
    if (work.at.head % 2 != 0) return work;
    work.consumers = work.at.head + 1 < p.heads ? 2 : 1;
    work.loads = work.consumers;
  } else {
    work.consumers = rows > kHeadTileRows ? 2 : 1;
    work.loads = (work.at.keys + kHeadTileRows - 1) / kHeadTileRows;
  }
  return work;
}

/// By one thread.
template <int kHeadSize>
KOINE_DEVICE void produce(ForwardSm90Memory<kHeadSize>& s, const ForwardSm90Params& p, const ForwardWork& work) {
  const auto first_row = static_cast<int>(work.at.first_query);
  for (int consumer = 0; consumer < work.consumers; ++consumer) {
    const AttentionPlace own = work.of_consumer(consumer);
    mbarrier_arrive_expect(s.query_full[consumer], HeadTile<kHeadSize>::kBytes);
    load_head_tile<kHeadSize>(s.query[consumer], p.query, own.head * kHeadSize, first_row + own.begin,
                              s.query_full[consumer]);
  }
  KOINE_ROLLED
  for (int load = 0; load < work.loads; ++load) {
    const int stage = load % kStages;
    const int column = (work.at.head + (work.heads_side_by_side ? load : 0)) * kHeadSize;
    const int row = first_row + (work.heads_side_by_side ? 0 : load * kHeadTileRows);
    mbarrier_wait(s.empty[stage], static_cast<std::uint32_t>(load / kStages + 1) % 2);
    mbarrier_arrive_expect(s.key_full[stage], HeadTile<kHeadSize>::kBytes);
    load_head_tile<kHeadSize>(s.key[stage], p.key, column, row, s.key_full[stage]);
    mbarrier_arrive_expect(s.value_full[stage], HeadTile<kHeadSize>::kBytes);
    load_head_tile<kHeadSize>(s.value[stage], p.value, column, row, s.value_full[stage]);
  }
}

/// Values behind the sequence's end, for all who read the stage, before they do.
template <int kHeadSize>
KOINE_DEVICE void clear_values_behind(BFloat16* tile, int rows, const ForwardWork& work, int consumer) {
  constexpr int kAll = 1 + kConsumers;  // named barrier: behind the consumers' own
  if (work.heads_side_by_side || consumer == 0) {
    clear_rows_behind<kHeadSize>(tile, rows);
    fence_async_proxy();
  }
  if (work.heads_side_by_side) {
    named_barrier_sync(1 + consumer, kWarpgroupThreads);
  } else {
    named_barrier_sync(kAll, work.consumers * kWarpgroupThreads);
  }
}

/// Where the consumer's rows lie is worked out again: kept through the loop it would take registers the products need.
template <int kHeadSize>
KOINE_DEVICE void store_results(ForwardSm90Memory<kHeadSize>& s, const AttentionParams& p, int consumer,
                                const RowState& state, const Accumulator (&output)[kHeadSize / 8]) {
  const AttentionPlace at = forward_work(p).of_consumer(consumer);
  const int warp_row = warpgroup_thread() / kWarpThreads * 16;
  const int first_row = at.begin + warp_row;
  float multiplier[2];
  KOINE_UNROLL
  for (int half = 0; half < 2; ++half) {
    const int row = first_row + lane_index() / 4 + 8 * half;
    const float sum = warp_sum<4>(state.sum[half]);
    multiplier[half] = p.dropout.scale / sum;
    if (lane_index() % 4 == 0 && row < at.queries) {
      p.log_sum_exp[(at.first_query + row) * p.heads + at.head] = fused(state.shift[half], kLogOf2, logf(sum));
    }
  }
  named_barrier_sync(1 + consumer, kWarpgroupThreads);  // all warps have multiplied the query rows
  auto& staged = *reinterpret_cast<AttentionTile<kHeadTileRows, kHeadSize>*>(s.query[consumer]);
  store_rows<kHeadSize>(
      output, multiplier, staged, warp_row,
      static_cast<BFloat16*>(p.output) + (at.first_query + first_row) * p.output_stride + at.head * kHeadSize,
      p.output_stride, at.queries - first_row, kHeadSize, true);
}

template <int kHeadSize, bool kDropout>
KOINE_DEVICE void consume(ForwardSm90Memory<kHeadSize>& s, const AttentionParams& p, const ForwardWork& work, int consumer) {
  const AttentionPlace at = work.of_consumer(consumer);
  const int row = at.begin + warpgroup_thread() / kWarpThreads * 16 + lane_index() / 4;  // and row + 8
  const float factor = p.scale * kLog2OfE;
  const AttentionDraws draws = attention_draws<kDropout>(p, at);
  RowState state = {{minus_infinity(), minus_infinity()}, {0, 0}};
  Accumulator output[kHeadSize / 8];
  clear(output);
  mbarrier_wait(s.query_full[consumer], 0);

  const int first = work.heads_side_by_side ? consumer : 0;
  const int end = work.heads_side_by_side ? consumer + 1 : work.loads;
  for (int load = first; load < end; ++load) {
    const int stage = load % kStages;
    const auto parity = static_cast<std::uint32_t>(load / kStages) % 2;
    const int begin = (load - first) * kHeadTileRows;
    const int keys = at.keys - begin;  // of this tile, and those behind
    std::uint32_t kept = 0;
    if constexpr (kDropout) kept = draws.template kept<kHeadTileRows / 8>(row, begin + lane_index() % 4 * 2, 0, 16);
    Accumulator scores[kHeadTileRows / 8];
    mbarrier_wait(s.key_full[stage], parity);
    warpgroup_multiply_along_columns<kHeadSize>(scores, s.query[consumer], s.key[stage]);
    warpgroup_wait<0>(scores);
    if (keys < kHeadTileRows) mask_scores(scores, keys, keys);
    softmax_step(scores, output, state, factor);
    if constexpr (kDropout) drop_weights(scores, kept);
    FragmentA weights[kHeadTileRows / 16];
    as_operands(weights, scores);
    mbarrier_wait(s.value_full[stage], parity);
    if (keys < kHeadTileRows) clear_values_behind<kHeadSize>(s.value[stage], keys, work, consumer);
    warpgroup_multiply_along_rows<kHeadSize>(output, weights, s.value[stage]);
    warpgroup_wait<0>(output, weights);
    if (warpgroup_thread() == 0) mbarrier_arrive(s.empty[stage]);
  }

  store_results<kHeadSize>(s, p, consumer, state, output);
}

/// Grid: (sequence * tiles of 128 rows + tile, head).
template <int kHeadSize, bool kDropout>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads, blocks_at_once(kHeadSize))
    attention_forward_sm90_kernel(const KOINE_GRID_CONSTANT ForwardSm90Params p) {
  const ForwardWork work = forward_work(p.attention);
  if (work.loads == 0) return;  // the whole block
  auto& s = shared_memory<ForwardSm90Memory<kHeadSize>>();
  if (thread_index() == 0) {
    for (int consumer = 0; consumer < kConsumers; ++consumer) mbarrier_init(s.query_full[consumer], 1);
    for (int stage = 0; stage < kStages; ++stage) {
      mbarrier_init(s.key_full[stage], 1);
      mbarrier_init(s.value_full[stage], 1);
      mbarrier_init(s.empty[stage], work.consumers);
    }
    fence_mbarrier_init();
  }
  sync_block();
  if (warpgroup_index() == 0) {
    warpgroup_decrease_registers<kProducerRegisters>();
    if (warp_index() == 0 && elect_lane()) produce(s, p, work);
    sync_warp();
  } else {
    warpgroup_increase_registers<consumer_registers(kHeadSize)>();
    const int consumer = warpgroup_index() - 1;
    if (consumer < work.consumers) consume<kHeadSize, kDropout>(s, p.attention, work, consumer);
  }
}

template <int kHeadSize>
void launch_forward(const Context& context, const AttentionForwardArguments& a) {
  const AttentionShape& shape = a.shape;
  const ForwardSm90Params p = {.query = operand_maps(a.query, shape, shape.queries.stride),
                               .key = operand_maps(a.key, shape, shape.keys.stride),
                               .value = operand_maps(a.value, shape, shape.keys.stride),
                               .attention = attention_params(a, kConsumers * kHeadTileRows)};
  launch({.kernel = "attention_forward_sm90",
          .shape = {shape.queries.tokens, shape.keys.tokens, shape.heads, shape.head_size},
          .grid = {grid_extent(shape.sequences * p.attention.query_tiles), grid_extent(shape.heads)},
          .threads = kThreads,
          .shared_bytes = sizeof(ForwardSm90Memory<kHeadSize>),
          .blocks_at_once = blocks_at_once(kHeadSize),
          .stream = context.stream},
         shape.dropout.active() ? attention_forward_sm90_kernel<kHeadSize, true>
                                : attention_forward_sm90_kernel<kHeadSize, false>,
         p);
}

}  // namespace

bool attention_forward_sm90_supports(const AttentionForwardArguments& a) {
  return attention_in_head_tiles(a.shape) && rows_in_vectors(a.shape, a.query, a.key, a.value, a.output);
}

void attention_forward_sm90(const Context& context, const AttentionForwardArguments& a, void* /*workspace*/) {
  if (a.shape.queries.tokens == 0) return;
  if (a.shape.head_size == 64) {
    launch_forward<64>(context, a);
  } else if (a.shape.head_size == 80) {
    launch_forward<80>(context, a);
  } else {
    launch_forward<128>(context, a);
  }
}

}  // namespace koine
