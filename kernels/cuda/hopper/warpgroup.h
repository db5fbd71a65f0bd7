#pragma once

// Products of a warpgroup on tensor cores: wgmma.mma_async.m64nNk16 of bf16 with fp32 sums, and what belongs to it (PTX ISA,
// "Asynchronous warpgroup level matrix instructions"; compute capability 9.0a). A warpgroup is four warps, the first's
// number a multiple of four; all its threads take part in what is here.
//
//   warpgroup_fence(sums);                               // the registers are ready
//   for (...) warpgroup_multiply<128>(sums, a, b, true); // D[64, 128] += A[64, 16] B[16, 128]; returns at once
//   warpgroup_commit();                                  // these are a group
//   warpgroup_wait<0>(sums);                             // all but the youngest 0 groups are done
//
// Sums lie in registers as those of multiply_add() (matrix.h) do, side by side: warp w of the warpgroup has rows 16 w to
// 16 w + 15, d[j] columns 8 j to 8 j + 7. A comes from shared memory, or from registers as FragmentA of the warp's rows; B
// comes from shared memory.
//
// Between multiply and wait nobody touches the sums, writes the fragments or writes the operands in shared memory. Every
// fence and wait names all registers in use: that keeps the compiler from moving accesses across. A fence stands before the
// first product and wherever sums or fragments were touched since the last one.
//
// Operands in shared memory are described in 64 bits (matrix_descriptor()). Per step of 16 in depth, with rows the m of A or
// the n of B:
//   k_major_operand    lines of 64, 32 or 16 neighbours in depth, by the swizzle; line after line, 8 lines a period
//   mn_major_operand   lines of 64, 32 or 16 neighbours in m or n, one line for each of depth; blocks of such lines
// A tensor map's box of that width makes either. The next 16 in depth are at advanced(operand, 32) within a line and 16
// lines on, respectively.

#include "kernels/cuda/hopper/barrier.h"
#include "kernels/cuda/hopper/swizzle.h"
#include "kernels/cuda/matrix.h"
#include "kernels/cuda/platform.h"

namespace koine::cuda {

inline constexpr int kWarpgroupThreads = 128;

KOINE_DEVICE int warpgroup_index() { return thread_index() / kWarpgroupThreads; }
KOINE_DEVICE int warpgroup_thread() { return thread_index() % kWarpgroupThreads; }

/// `address`: in the block's window of shared memory, a multiple of 16. Leading and stride byte offsets as the manual's
/// canonical layouts have them.
KOINE_HOST_DEVICE constexpr std::uint64_t matrix_descriptor(std::uint32_t address, int leading_bytes, int stride_bytes,
                                                            Swizzle swizzle) {
  return static_cast<std::uint64_t>((address & 0x3ffffu) >> 4) | static_cast<std::uint64_t>(leading_bytes >> 4) << 16 |
         static_cast<std::uint64_t>(stride_bytes >> 4) << 32 | swizzle_of_descriptor(swizzle) << 62;
}
/// A tile of lines along the depth.
KOINE_DEVICE std::uint64_t k_major_operand(const void* tile, Swizzle swizzle) {
  return matrix_descriptor(shared_address(tile), 16, 8 * swizzle_bytes(swizzle), swizzle);
}
/// Blocks of lines along m or n, `block_bytes` from one block to the next.
KOINE_DEVICE std::uint64_t mn_major_operand(const void* tile, Swizzle swizzle, int block_bytes) {
  return matrix_descriptor(shared_address(tile), block_bytes, 8 * swizzle_bytes(swizzle), swizzle);
}
/// The operand that begins `bytes` further, a multiple of 16.
KOINE_DEVICE std::uint64_t advanced(std::uint64_t operand, int bytes) {
  return operand + static_cast<std::uint64_t>(bytes >> 4);
}

/// How an operand in shared memory lies.
enum class Major { kDepth = 0, kRows = 1 };

#if KOINE_ON_DEVICE

namespace device {
KOINE_DEVICE void hold(Accumulator& d) {
  asm volatile("" : "+f"(d.x[0]), "+f"(d.x[1]), "+f"(d.x[2]), "+f"(d.x[3])::"memory");
}
KOINE_DEVICE void hold(FragmentA& a) { asm volatile("" : "+r"(a.x[0]), "+r"(a.x[1]), "+r"(a.x[2]), "+r"(a.x[3])::"memory"); }
template <class Register, int kCount>
KOINE_DEVICE void hold(Register (&registers)[kCount]) {
  KOINE_UNROLL
  for (int i = 0; i < kCount; ++i) hold(registers[i]);
}
}  // namespace device

template <class... Registers>
KOINE_DEVICE void warpgroup_fence(Registers&... registers) {
  (device::hold(registers), ...);
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
KOINE_DEVICE void warpgroup_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int kPending, class... Registers>
KOINE_DEVICE void warpgroup_wait(Registers&... registers) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
  (device::hold(registers), ...);
}

// The operands of the instruction for each width: numbers of the sums in its text, and the sums.
#define KOINE_SUMS_8 "%0, %1, %2, %3"
#define KOINE_SUMS_16 \
  KOINE_SUMS_8        \
  ", "                \
  "%4, %5, %6, %7"
#define KOINE_SUMS_24 \
  KOINE_SUMS_16       \
  ", "                \
  "%8, %9, %10, %11"
#define KOINE_SUMS_32 \
  KOINE_SUMS_24       \
  ", "                \
  "%12, %13, %14, %15"
#define KOINE_SUMS_40 \
  KOINE_SUMS_32       \
  ", "                \
  "%16, %17, %18, %19"
#define KOINE_SUMS_64 \
  KOINE_SUMS_40       \
  ", "                \
  "%20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define KOINE_SUMS_80 \
  KOINE_SUMS_64       \
  ", "                \
  "%32, %33, %34, %35, %36, %37, %38, %39"
#define KOINE_SUMS_96 \
  KOINE_SUMS_80       \
  ", "                \
  "%40, %41, %42, %43, %44, %45, %46, %47"
#define KOINE_SUMS_128 \
  KOINE_SUMS_96        \
  ", "                 \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define KOINE_SUMS_192                                                                                        \
  KOINE_SUMS_128                                                                                              \
  ", "                                                                                                        \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, " \
  "%85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define KOINE_SUMS_256                                                                                       \
  KOINE_SUMS_192                                                                                             \
  ", "                                                                                                       \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, %112, %113, " \
  "%114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define KOINE_PLACES(j) "+f"(d[j].x[0]), "+f"(d[j].x[1]), "+f"(d[j].x[2]), "+f"(d[j].x[3])
#define KOINE_PLACES_8 KOINE_PLACES(0)
#define KOINE_PLACES_16 KOINE_PLACES_8, KOINE_PLACES(1)
#define KOINE_PLACES_24 KOINE_PLACES_16, KOINE_PLACES(2)
#define KOINE_PLACES_32 KOINE_PLACES_24, KOINE_PLACES(3)
#define KOINE_PLACES_40 KOINE_PLACES_32, KOINE_PLACES(4)
#define KOINE_PLACES_64 KOINE_PLACES_40, KOINE_PLACES(5), KOINE_PLACES(6), KOINE_PLACES(7)
#define KOINE_PLACES_80 KOINE_PLACES_64, KOINE_PLACES(8), KOINE_PLACES(9)
#define KOINE_PLACES_96 KOINE_PLACES_80, KOINE_PLACES(10), KOINE_PLACES(11)
#define KOINE_PLACES_128 KOINE_PLACES_96, KOINE_PLACES(12), KOINE_PLACES(13), KOINE_PLACES(14), KOINE_PLACES(15)
#define KOINE_PLACES_192                                                                                      \
  KOINE_PLACES_128, KOINE_PLACES(16), KOINE_PLACES(17), KOINE_PLACES(18), KOINE_PLACES(19), KOINE_PLACES(20), \
      KOINE_PLACES(21), KOINE_PLACES(22), KOINE_PLACES(23)
#define KOINE_PLACES_256                                                                                      \
  KOINE_PLACES_192, KOINE_PLACES(24), KOINE_PLACES(25), KOINE_PLACES(26), KOINE_PLACES(27), KOINE_PLACES(28), \
      KOINE_PLACES(29), KOINE_PLACES(30), KOINE_PLACES(31)
// From shared memory: behind the sums come a, b and whether to add; from registers four words of A in the place of a.
#define KOINE_WGMMA_SHARED(columns, pa, pb, padd, pscale_a, pscale_b)                         \
  asm volatile(                                                                               \
      "{\n"                                                                                   \
      ".reg .pred add;\n"                                                                     \
      "setp.ne.b32 add, " padd                                                                \
      ", 0;\n"                                                                                \
      "wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32.bf16.bf16 {" KOINE_SUMS_##columns \
      "}, " pa ", " pb ", add, 1, 1, " pscale_a ", " pscale_b                                 \
      ";\n"                                                                                   \
      "}"                                                                                     \
      : KOINE_PLACES_##columns                                                                \
      : "l"(a), "l"(b), "r"(static_cast<int>(add)), "n"(static_cast<int>(kMajorA)), "n"(static_cast<int>(kMajorB)))
#define KOINE_WGMMA_REGISTERS(columns, p0, p1, p2, p3, pb, padd, ptranspose_b)                  \
  asm volatile(                                                                                 \
      "{\n"                                                                                     \
      ".reg .pred add;\n"                                                                       \
      "setp.ne.b32 add, " padd                                                                  \
      ", 0;\n"                                                                                  \
      "wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32.bf16.bf16 {" KOINE_SUMS_##columns   \
      "}, {" p0 ", " p1 ", " p2 ", " p3 "}, " pb ", add, 1, 1, " ptranspose_b                   \
      ";\n"                                                                                     \
      "}"                                                                                       \
      : KOINE_PLACES_##columns                                                                  \
      : "r"(a.x[0]), "r"(a.x[1]), "r"(a.x[2]), "r"(a.x[3]), "l"(b), "r"(static_cast<int>(add)), \
        "n"(static_cast<int>(kMajorB)))

/// d = a b, or d += a b where `add`: 64 rows, kColumns columns, 16 deep. `a` and `b` are descriptors.
template <int kColumns, Major kMajorA = Major::kDepth, Major kMajorB = Major::kDepth>
KOINE_DEVICE void warpgroup_multiply(Accumulator (&d)[kColumns / 8], std::uint64_t a, std::uint64_t b, bool add) {
  if constexpr (kColumns == 8) {
    KOINE_WGMMA_SHARED(8, "%4", "%5", "%6", "%7", "%8");
  } else if constexpr (kColumns == 16) {
    KOINE_WGMMA_SHARED(16, "%8", "%9", "%10", "%11", "%12");
  } else if constexpr (kColumns == 24) {
    KOINE_WGMMA_SHARED(24, "%12", "%13", "%14", "%15", "%16");
  } else if constexpr (kColumns == 32) {
    KOINE_WGMMA_SHARED(32, "%16", "%17", "%18", "%19", "%20");
  } else if constexpr (kColumns == 40) {
    KOINE_WGMMA_SHARED(40, "%20", "%21", "%22", "%23", "%24");
  } else if constexpr (kColumns == 64) {
    KOINE_WGMMA_SHARED(64, "%32", "%33", "%34", "%35", "%36");
  } else if constexpr (kColumns == 80) {
    KOINE_WGMMA_SHARED(80, "%40", "%41", "%42", "%43", "%44");
  } else if constexpr (kColumns == 96) {
    KOINE_WGMMA_SHARED(96, "%48", "%49", "%50", "%51", "%52");
  } else if constexpr (kColumns == 128) {
    KOINE_WGMMA_SHARED(128, "%64", "%65", "%66", "%67", "%68");
  } else if constexpr (kColumns == 192) {
    KOINE_WGMMA_SHARED(192, "%96", "%97", "%98", "%99", "%100");
  } else if constexpr (kColumns == 256) {
    KOINE_WGMMA_SHARED(256, "%128", "%129", "%130", "%131", "%132");
  } else {
    static_assert(kColumns == 0, "no such width");
  }
}
/// The same, `a` the warp's 16 rows in registers.
template <int kColumns, Major kMajorB = Major::kDepth>
KOINE_DEVICE void warpgroup_multiply(Accumulator (&d)[kColumns / 8], const FragmentA& a, std::uint64_t b, bool add) {
  if constexpr (kColumns == 8) {
    KOINE_WGMMA_REGISTERS(8, "%4", "%5", "%6", "%7", "%8", "%9", "%10");
  } else if constexpr (kColumns == 16) {
    KOINE_WGMMA_REGISTERS(16, "%8", "%9", "%10", "%11", "%12", "%13", "%14");
  } else if constexpr (kColumns == 24) {
    KOINE_WGMMA_REGISTERS(24, "%12", "%13", "%14", "%15", "%16", "%17", "%18");
  } else if constexpr (kColumns == 32) {
    KOINE_WGMMA_REGISTERS(32, "%16", "%17", "%18", "%19", "%20", "%21", "%22");
  } else if constexpr (kColumns == 40) {
    KOINE_WGMMA_REGISTERS(40, "%20", "%21", "%22", "%23", "%24", "%25", "%26");
  } else if constexpr (kColumns == 64) {
    KOINE_WGMMA_REGISTERS(64, "%32", "%33", "%34", "%35", "%36", "%37", "%38");
  } else if constexpr (kColumns == 80) {
    KOINE_WGMMA_REGISTERS(80, "%40", "%41", "%42", "%43", "%44", "%45", "%46");
  } else if constexpr (kColumns == 96) {
    KOINE_WGMMA_REGISTERS(96, "%48", "%49", "%50", "%51", "%52", "%53", "%54");
  } else if constexpr (kColumns == 128) {
    KOINE_WGMMA_REGISTERS(128, "%64", "%65", "%66", "%67", "%68", "%69", "%70");
  } else if constexpr (kColumns == 192) {
    KOINE_WGMMA_REGISTERS(192, "%96", "%97", "%98", "%99", "%100", "%101", "%102");
  } else if constexpr (kColumns == 256) {
    KOINE_WGMMA_REGISTERS(256, "%128", "%129", "%130", "%131", "%132", "%133", "%134");
  } else {
    static_assert(kColumns == 0, "no such width");
  }
}

#undef KOINE_SUMS_8
#undef KOINE_PLACES_8
#undef KOINE_SUMS_16
#undef KOINE_PLACES_16
#undef KOINE_SUMS_24
#undef KOINE_PLACES_24
#undef KOINE_SUMS_32
#undef KOINE_PLACES_32
#undef KOINE_SUMS_40
#undef KOINE_PLACES_40
#undef KOINE_SUMS_64
#undef KOINE_PLACES_64
#undef KOINE_SUMS_80
#undef KOINE_PLACES_80
#undef KOINE_SUMS_96
#undef KOINE_PLACES_96
#undef KOINE_SUMS_128
#undef KOINE_PLACES_128
#undef KOINE_SUMS_192
#undef KOINE_PLACES_192
#undef KOINE_SUMS_256
#undef KOINE_PLACES_256
#undef KOINE_PLACES
#undef KOINE_WGMMA_SHARED
#undef KOINE_WGMMA_REGISTERS

/// Registers of each thread of the warpgroup from here on, a multiple of 8 from 24 to 256. A block has as many as it was
/// launched with: increases wait until others have decreased. The kernel's launch bounds name threads and one block.
template <int kRegisters>
KOINE_DEVICE void warpgroup_decrease_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
KOINE_DEVICE void warpgroup_increase_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

/// True in one lane of the warp, always the same one, and not said which.
KOINE_DEVICE bool elect_lane() {
  std::uint32_t elected;
  asm volatile(
      "{\n"
      ".reg .pred mine;\n"
      "elect.sync _|mine, 0xffffffff;\n"
      "selp.u32 %0, 1, 0, mine;\n"
      "}"
      : "=r"(elected)::"memory");
  return elected != 0;
}

#else

namespace host {
struct RegisterRange {
  void* begin;
  std::size_t bytes;
};
inline RegisterRange range_of(Accumulator& d) { return {&d, sizeof d}; }
inline RegisterRange range_of(FragmentA& a) { return {&a, sizeof a}; }
template <class Register, std::size_t kCount>
RegisterRange range_of(Register (&registers)[kCount]) {
  return {registers, sizeof registers};
}
struct Product {
  int columns;
  bool rows_major_a;
  bool rows_major_b;
  bool add;
  float* d;
  std::uint64_t a;                 // where not from registers
  const std::uint32_t* registers;  // null: from shared memory
  std::uint64_t b;
};
void warpgroup_fence(const RegisterRange* registers, int count, Site site);
void warpgroup_multiply(const Product& product, Site site);
void warpgroup_commit(Site site);
void warpgroup_wait(int pending, const RegisterRange* registers, int count, Site site);
void set_warpgroup_registers(int registers, bool increase, Site site);
bool elect_lane(Site site);
}  // namespace host

template <class... Registers>
void warpgroup_fence(Registers&... registers) {
  const host::RegisterRange ranges[] = {host::range_of(registers)...};
  host::warpgroup_fence(ranges, sizeof...(registers), {__builtin_FILE(), __builtin_LINE()});
}
inline void warpgroup_commit(KOINE_SITE) { host::warpgroup_commit(site); }
template <int kPending, class... Registers>
void warpgroup_wait(Registers&... registers) {
  static_assert(kPending >= 0 && kPending <= 7);
  const host::RegisterRange ranges[] = {host::range_of(registers)...};
  host::warpgroup_wait(kPending, ranges, sizeof...(registers), {__builtin_FILE(), __builtin_LINE()});
}
template <int kColumns, Major kMajorA = Major::kDepth, Major kMajorB = Major::kDepth>
void warpgroup_multiply(Accumulator (&d)[kColumns / 8], std::uint64_t a, std::uint64_t b, bool add, KOINE_SITE) {
  host::warpgroup_multiply({kColumns, kMajorA == Major::kRows, kMajorB == Major::kRows, add, d[0].x, a, nullptr, b}, site);
}
template <int kColumns, Major kMajorB = Major::kDepth>
void warpgroup_multiply(Accumulator (&d)[kColumns / 8], const FragmentA& a, std::uint64_t b, bool add, KOINE_SITE) {
  host::warpgroup_multiply({kColumns, false, kMajorB == Major::kRows, add, d[0].x, 0, a.x, b}, site);
}
template <int kRegisters>
void warpgroup_decrease_registers(KOINE_SITE) {
  static_assert(kRegisters % 8 == 0 && kRegisters >= 24 && kRegisters <= 256);
  host::set_warpgroup_registers(kRegisters, false, site);
}
template <int kRegisters>
void warpgroup_increase_registers(KOINE_SITE) {
  static_assert(kRegisters % 8 == 0 && kRegisters >= 24 && kRegisters <= 256);
  host::set_warpgroup_registers(kRegisters, true, site);
}
inline bool elect_lane(KOINE_SITE) { return host::elect_lane(site); }

#endif

}  // namespace koine::cuda
