#include "kernels/common/check.h"
#include "kernels/cuda/hopper/cluster.h"
#include "kernels/cuda/vector.h"
#include "tests/kernels/hopper_probe.h"

namespace koine::cuda {
namespace {

// --- one product ---

struct ProductMemory {
  alignas(1024) BFloat16 a[64 * ProductProbe::kMostDepth];
  alignas(1024) BFloat16 b[256 * ProductProbe::kMostDepth];
  MBarrier full;
};

struct ProductParams {
  TensorMap map_a;
  TensorMap map_b;
  ProductProbe probe;
};

/// An operand in shared memory: blocks of lines, as many elements wide as the swizzle is.
struct ProbeOperand {
  int rows;  // m or n
  int depth;
  bool rows_major;
  Swizzle swizzle;

  KOINE_HOST_DEVICE int width() const { return swizzle_bytes(swizzle) / 2; }
  KOINE_HOST_DEVICE int lines() const { return rows_major ? depth : rows; }
  KOINE_HOST_DEVICE int blocks() const { return ((rows_major ? rows : depth) + width() - 1) / width(); }
  KOINE_HOST_DEVICE int block_bytes() const { return lines() * swizzle_bytes(swizzle); }

  KOINE_DEVICE void load(BFloat16* to, const TensorMap& map, MBarrier& full) const {
    for (int i = 0; i < blocks(); ++i) tensor_load_2d(to + i * lines() * width(), map, i * width(), 0, full);
  }
  /// The operand of step `step` of 16 in depth.
  KOINE_DEVICE std::uint64_t descriptor(const BFloat16* tile, int step) const {
    if (swizzle == Swizzle::kNone) {
      // Core matrices of 8 lines are whole: the next along the lines is 128 bytes on, the next across a block.
      const std::uint64_t whole = rows_major ? matrix_descriptor(shared_address(tile), 128, block_bytes(), swizzle)
                                             : matrix_descriptor(shared_address(tile), block_bytes(), 128, swizzle);
      return advanced(whole, step * (rows_major ? 256 : 2 * block_bytes()));
    }
    if (rows_major) return advanced(mn_major_operand(tile, swizzle, block_bytes()), step * 16 * swizzle_bytes(swizzle));
    const int steps = width() / 16;  // of a line
    return advanced(k_major_operand(tile, swizzle), step / steps * block_bytes() + step % steps * 32);
  }
};

template <int kColumns, Major kMajorA, Major kMajorB, bool kRegisters>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kWarpgroupThreads, 1) product_probe_kernel(const KOINE_GRID_CONSTANT ProductParams p) {
  auto& s = shared_memory<ProductMemory>();
  const ProbeOperand a = {64, p.probe.depth, kMajorA == Major::kRows, p.probe.swizzle};
  const ProbeOperand b = {kColumns, p.probe.depth, kMajorB == Major::kRows, p.probe.swizzle};
  if (thread_index() == 0) {
    mbarrier_init(s.full, 1);
    fence_mbarrier_init();
  }
  sync_block();
  if (thread_index() == 0) {
    mbarrier_arrive_expect(s.full, (kRegisters ? 0 : a.blocks() * a.block_bytes()) + b.blocks() * b.block_bytes());
    if constexpr (!kRegisters) a.load(s.a, p.map_a, s.full);
    b.load(s.b, p.map_b, s.full);
  }
  mbarrier_wait(s.full, 0);
  Accumulator d[kColumns / 8];
  const int row = warp_index() * 16 + lane_index() / 4;
  const int column = 2 * (lane_index() % 4);
  for (int step = 0; step < p.probe.depth / 16; ++step) {
    // Before the fence: no branch may stand between it and the product.
    const std::uint64_t operand_b = b.descriptor(s.b, step);
    if constexpr (kRegisters) {
      FragmentA x;
      KOINE_UNROLL
      for (int i = 0; i < 4; ++i) {
        const BFloat16* from = p.probe.a + (row + i % 2 * 8) * p.probe.depth + 16 * step + column + i / 2 * 8;
        x.x[i] = static_cast<std::uint32_t>(from[0].bits) | static_cast<std::uint32_t>(from[1].bits) << 16;
      }
      warpgroup_fence(d, x);
      warpgroup_multiply<kColumns, kMajorB>(d, x, operand_b, step > 0);
      warpgroup_commit();
      warpgroup_wait<0>(d, x);
    } else {
      const std::uint64_t operand_a = a.descriptor(s.a, step);
      warpgroup_fence(d);
      warpgroup_multiply<kColumns, kMajorA, kMajorB>(d, operand_a, operand_b, step > 0);
      warpgroup_commit();
      warpgroup_wait<0>(d);
    }
  }
  KOINE_UNROLL
  for (int j = 0; j < kColumns / 8; ++j) {
    KOINE_UNROLL
    for (int i = 0; i < 4; ++i) {
      p.probe.d[(row + i / 2 * 8) * kColumns + 8 * j + column + i % 2] = d[j].x[i];
    }
  }
}

/// [lines, width] of which boxes one swizzle wide and all lines high are copied.
TensorLayout operand_layout(const BFloat16* data, int lines, int width, const ProbeOperand& operand) {
  return {.data = data,
          .type = DType::kBFloat16,
          .dimensions = 2,
          .extent = {width, lines},
          .stride_bytes = {2, 2 * width},
          .box = {operand.width(), operand.lines()},
          .swizzle = operand.swizzle};
}

template <int kColumns, Major kMajorA, Major kMajorB, bool kRegisters>
void start_product_probe(const ProductProbe& probe, void* stream) {
  const ProbeOperand a = {64, probe.depth, kMajorA == Major::kRows, probe.swizzle};
  const ProbeOperand b = {kColumns, probe.depth, kMajorB == Major::kRows, probe.swizzle};
  ProductParams params = {};
  params.probe = probe;
  params.map_a = make_tensor_map(operand_layout(probe.a, a.lines(), a.rows_major ? 64 : probe.depth, a));
  params.map_b = make_tensor_map(operand_layout(probe.b, b.lines(), b.rows_major ? kColumns : probe.depth, b));
  launch({.kernel = "product_probe",
          .shape = {64, kColumns, probe.depth},
          .grid = {1},
          .threads = kWarpgroupThreads,
          .shared_bytes = sizeof(ProductMemory),
          .stream = stream},
         product_probe_kernel<kColumns, kMajorA, kMajorB, kRegisters>, params);
}

template <int kColumns>
void start_product_probe(const ProductProbe& probe, void* stream) {
  constexpr Major kD = Major::kDepth;
  constexpr Major kR = Major::kRows;
  if (probe.a_in_registers) {
    return probe.rows_major_b ? start_product_probe<kColumns, kD, kR, true>(probe, stream)
                              : start_product_probe<kColumns, kD, kD, true>(probe, stream);
  }
  if (probe.rows_major_a) {
    return probe.rows_major_b ? start_product_probe<kColumns, kR, kR, false>(probe, stream)
                              : start_product_probe<kColumns, kR, kD, false>(probe, stream);
  }
  return probe.rows_major_b ? start_product_probe<kColumns, kD, kR, false>(probe, stream)
                            : start_product_probe<kColumns, kD, kD, false>(probe, stream);
}

// --- one box ---

struct BoxMemory {
  alignas(1024) unsigned char box[64 << 10];
  MBarrier full;
};
struct BoxParams {
  TensorMap from;
  TensorMap to;
  int at[3];
  int back[3];
  int dimensions;
  int bytes;
  unsigned char* raw;
};
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(64, 1) box_probe_kernel(const KOINE_GRID_CONSTANT BoxParams p) {
  auto& s = shared_memory<BoxMemory>();
  if (thread_index() == 0) {
    prefetch_tensor_map(p.from);
    mbarrier_init(s.full, 1);
    fence_mbarrier_init();
  }
  sync_block();
  if (thread_index() == 0) {
    mbarrier_arrive_expect(s.full, p.bytes);
    if (p.dimensions == 2) {
      tensor_load_2d(s.box, p.from, p.at[0], p.at[1], s.full);
    } else {
      tensor_load_3d(s.box, p.from, p.at[0], p.at[1], p.at[2], s.full);
    }
  }
  mbarrier_wait(s.full, 0);
  for (int i = thread_index(); i < p.bytes; i += block_threads()) p.raw[i] = s.box[i];
  sync_block();
  if (thread_index() == 0) {
    if (p.dimensions == 2) {
      tensor_store_2d(p.to, s.box, p.back[0], p.back[1]);
    } else {
      tensor_store_3d(p.to, s.box, p.back[0], p.back[1], p.back[2]);
    }
    bulk_commit();
    bulk_wait_read<0>();
  }
}

// --- how sums are cut ---

struct TruncationMemory {
  alignas(1024) BFloat16 x[64 * 16];
  alignas(1024) BFloat16 y[8 * 16];
};
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kWarpgroupThreads, 1) truncation_probe_kernel(TruncationProbe p) {
  auto& s = shared_memory<TruncationMemory>();
  const auto place = [](int i) { return swizzled(static_cast<std::uint32_t>(2 * i), Swizzle::k32Bytes) / 2; };
  for (int i = thread_index(); i < 64 * 16; i += block_threads()) s.x[place(i)] = p.x[i];
  for (int i = thread_index(); i < 8 * 16; i += block_threads()) s.y[place(i)] = p.y[i];
  fence_async_proxy();
  sync_block();
  const int row = warp_index() * 16 + lane_index() / 4;
  Accumulator d[1] = {{{p.c[row], 0, p.c[row + 8], 0}}};
  warpgroup_fence(d);
  warpgroup_multiply<8>(d, k_major_operand(s.x, Swizzle::k32Bytes), k_major_operand(s.y, Swizzle::k32Bytes), true);
  warpgroup_commit();
  warpgroup_wait<0>(d);
  if (lane_index() % 4 == 0) {
    p.to[row] = d[0].x[0];
    p.to[row + 8] = d[0].x[2];
  }
}

// --- a ring of two blocks ---

constexpr int kRingRows = 32;
constexpr int kRingStages = 3;
constexpr int kRingBytes = kRingRows * 64 * 2;
constexpr int kRingConsumerWarps = 2;

struct RingMemory {
  alignas(1024) BFloat16 box[kRingStages][kRingRows * 64];
  MBarrier full[kRingStages];
  MBarrier empty[kRingStages];
};
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(96, 1)
    ring_probe_kernel(const KOINE_GRID_CONSTANT TensorMap map, std::int64_t rows, BFloat16* to) {
  auto& s = shared_memory<RingMemory>();
  const unsigned rank = cluster_rank();
  if (thread_index() == 0) {
    for (int stage = 0; stage < kRingStages; ++stage) {
      mbarrier_init(s.full[stage], 1);
      mbarrier_init(s.empty[stage], 2 * kRingConsumerWarps);  // those of both blocks
    }
    fence_mbarrier_init();
  }
  sync_cluster();
  const int boxes = static_cast<int>((rows + kRingRows - 1) / kRingRows);
  if (warp_index() == 0) {
    if (elect_lane()) {
      for (int i = 0; i < boxes; ++i) {
        const int stage = i % kRingStages;
        mbarrier_wait(s.empty[stage], i / kRingStages % 2 == 0 ? 1 : 0);
        mbarrier_arrive_expect(s.full[stage], kRingBytes);
        const int half = static_cast<int>(rank) * kRingRows / 2;
        tensor_load_2d_multicast(s.box[stage] + half * 64, map, 0, i * kRingRows + half, s.full[stage], 3);
      }
    }
  } else {
    for (int i = 0; i < boxes; ++i) {
      const int stage = i % kRingStages;
      mbarrier_wait(s.full[stage], i / kRingStages % 2);
      for (int place = thread_index() - kWarpThreads; place < kRingRows * 8; place += kRingConsumerWarps * kWarpThreads) {
        const std::int64_t row = std::int64_t{i} * kRingRows + place / 8;
        const std::uint32_t from = swizzled(static_cast<std::uint32_t>(16 * place), Swizzle::k128Bytes) / 2;
        if (row < rows) {
          store_pack<BFloat16, 8>(to + (rank * rows + row) * 64 + place % 8 * 8,
                                  load_pack<BFloat16, 8>(s.box[stage] + from));
        }
      }
      sync_warp();
      if (lane_index() < 2) mbarrier_arrive_at(s.empty[stage], static_cast<unsigned>(lane_index()));
    }
  }
  sync_warp();
  sync_cluster();
}

}  // namespace

void launch_product_probe(const ProductProbe& probe, void* stream) {
  switch (probe.columns) {
    case 8:
      return start_product_probe<8>(probe, stream);
    case 16:
      return start_product_probe<16>(probe, stream);
    case 24:
      return start_product_probe<24>(probe, stream);
    case 32:
      return start_product_probe<32>(probe, stream);
    case 40:
      return start_product_probe<40>(probe, stream);
    case 64:
      return start_product_probe<64>(probe, stream);
    case 80:
      return start_product_probe<80>(probe, stream);
    case 96:
      return start_product_probe<96>(probe, stream);
    case 128:
      return start_product_probe<128>(probe, stream);
    case 192:
      return start_product_probe<192>(probe, stream);
    case 256:
      return start_product_probe<256>(probe, stream);
    default:
      check(false, "product probe: no such width: ", probe.columns);
  }
}

void launch_box_probe(const TensorLayout& from, const TensorLayout& to, const int (&at)[3], const int (&back)[3], void* raw,
                      void* stream) {
  BoxParams params = {.from = make_tensor_map(from),
                      .to = make_tensor_map(to),
                      .at = {at[0], at[1], at[2]},
                      .back = {back[0], back[1], back[2]},
                      .dimensions = from.dimensions,
                      .bytes = box_bytes(from),
                      .raw = static_cast<unsigned char*>(raw)};
  launch({.kernel = "box_probe",
          .shape = {params.bytes},
          .grid = {1},
          .threads = 64,
          .shared_bytes = sizeof(BoxMemory),
          .stream = stream},
         box_probe_kernel, params);
}

void launch_truncation_probe(const TruncationProbe& probe, void* stream) {
  launch({.kernel = "truncation_probe",
          .grid = {1},
          .threads = kWarpgroupThreads,
          .shared_bytes = sizeof(TruncationMemory),
          .stream = stream},
         truncation_probe_kernel, probe);
}

void launch_ring_probe(const BFloat16* from, std::int64_t rows, BFloat16* to, void* stream) {
  const TensorMap map = make_tensor_map({.data = from,
                                         .type = DType::kBFloat16,
                                         .dimensions = 2,
                                         .extent = {64, rows},
                                         .stride_bytes = {2, 128},
                                         .box = {64, kRingRows / 2},
                                         .swizzle = Swizzle::k128Bytes});
  launch({.kernel = "ring_probe",
          .shape = {rows},
          .grid = {2},
          .cluster = {2},
          .threads = 96,
          .shared_bytes = sizeof(RingMemory),
          .stream = stream},
         ring_probe_kernel, map, rows, to);
}

}  // namespace koine::cuda
