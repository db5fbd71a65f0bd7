#pragma once

// The way back of ldmatrix (matrix.h): fragments of a warp to rows of shared memory (PTX ISA, stmatrix; compute capability
// 9.0).

#include "kernels/cuda/hopper/barrier.h"
#include "kernels/cuda/platform.h"

namespace koine::cuda {

#if KOINE_ON_DEVICE

/// Four 8x8 matrices of bf16: with g = lane / 4 and t = lane % 4, x[i] is elements 2t, 2t+1 of row g of matrix i, and lane l
/// gives the address (16-byte aligned) of row l % 8 of matrix l / 8.
KOINE_DEVICE void store_matrix_x4(void* row, const std::uint32_t (&x)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(row)), "r"(x[0]),
               "r"(x[1]), "r"(x[2]), "r"(x[3])
               : "memory");
}
/// The same, each matrix transposed: x[i] is elements g of rows 2t, 2t+1.
KOINE_DEVICE void store_matrix_x4_transposed(void* row, const std::uint32_t (&x)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(row)),
               "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3])
               : "memory");
}

#else

namespace host {
void store_matrix(void* row, const std::uint32_t (&x)[4], bool transposed, Site site);
}
inline void store_matrix_x4(void* row, const std::uint32_t (&x)[4], KOINE_SITE) { host::store_matrix(row, x, false, site); }
inline void store_matrix_x4_transposed(void* row, const std::uint32_t (&x)[4], KOINE_SITE) {
  host::store_matrix(row, x, true, site);
}

#endif

}  // namespace koine::cuda
