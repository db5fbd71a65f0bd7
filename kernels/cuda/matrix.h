#pragma once

// Tensor-core products of bf16 matrices with fp32 sums: mma.sync.m16n8k16, and ldmatrix, which brings its operands from
// shared memory (PTX ISA, "Warp-level matrix instructions"; compute capability 8.0). All lanes of a warp take part.
//
// With g = lane / 4 and t = lane % 4, a lane holds
//   A [16, 16] row-major:  x[0] = (g, 2t..2t+1)  x[1] = (g+8, 2t..)  x[2] = (g, 2t+8..)  x[3] = (g+8, 2t+8..)
//   B [16, 8]:             x[0] = rows 2t, 2t+1 of column g          x[1] = rows 2t+8, 2t+9 of column g
//   C, D [16, 8]:          x[0], x[1] = (g, 2t), (g, 2t+1)           x[2], x[3] = (g+8, 2t), (g+8, 2t+1)
// two bf16 to a word, the first in the lower half.

#include "kernels/cuda/numeric.h"
#include "kernels/cuda/platform.h"

namespace koine::cuda {

struct FragmentA {
  std::uint32_t x[4];
};
struct FragmentB {
  std::uint32_t x[2];
};
struct Accumulator {
  float x[4];
};

#if KOINE_ON_DEVICE

/// Four 8x8 matrices of bf16. Lane l gives the address (16-byte aligned, shared memory) of row l % 8 of matrix l / 8, and
/// gets in x[i] elements 2t, 2t+1 of row g of matrix i.
KOINE_DEVICE void load_matrix_x4(std::uint32_t (&x)[4], const void* row) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
               : "r"(address)
               : "memory");
}
/// The same, each matrix transposed: x[i] holds elements g of rows 2t, 2t+1 of matrix i.
KOINE_DEVICE void load_matrix_x4_transposed(std::uint32_t (&x)[4], const void* row) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
               : "r"(address)
               : "memory");
}
/// d += a b.
KOINE_DEVICE void multiply_add(Accumulator& d, const FragmentA& a, const FragmentB& b) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d.x[0]), "+f"(d.x[1]), "+f"(d.x[2]), "+f"(d.x[3])
      : "r"(a.x[0]), "r"(a.x[1]), "r"(a.x[2]), "r"(a.x[3]), "r"(b.x[0]), "r"(b.x[1]));
}

#else

namespace host {
void load_matrix(std::uint32_t (&x)[4], const void* row, bool transposed, Site site);
void multiply_add(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Site site);
}  // namespace host

inline void load_matrix_x4(std::uint32_t (&x)[4], const void* row, KOINE_SITE) { host::load_matrix(x, row, false, site); }
inline void load_matrix_x4_transposed(std::uint32_t (&x)[4], const void* row, KOINE_SITE) {
  host::load_matrix(x, row, true, site);
}
inline void multiply_add(Accumulator& d, const FragmentA& a, const FragmentB& b, KOINE_SITE) {
  host::multiply_add(d.x, a.x, b.x, site);
}

#endif

}  // namespace koine::cuda
