#pragma once

// What this machine is and how fast it multiplies: for `koine doctor`, `--precision auto` and the times of `koine estimate`.

#include <cstdint>
#include <string>
#include <vector>

#include "engine/execution/execution.h"

namespace koine {

/// FLOP/s of the product [m, k] x [n, k]^T as a linear layer's forward does it: the best of several runs, about a fifth of a
/// second.
double measure_product_rate(DType type, const ForcedVariants& forced, std::int64_t m = 1024, std::int64_t n = 3072,
                            std::int64_t k = 768);

/// The same on the CUDA device the calling thread works with, there with m = n = k = 8192 as its peak is usually given.
double measure_device_product_rate(DType type, const ForcedVariants& forced);

/// Bytes per second read and written together by a copy of 256 MiB on all threads.
double measure_copy_rate();
/// The same of 2 GiB on the CUDA device the calling thread works with.
double measure_device_copy_rate();

/// Rates by which `auto` was decided.
struct PrecisionChoice {
  DType precision = DType::kFloat32;
  double float32_rate = 0;
  double bfloat16_rate = 0;
};
PrecisionChoice choose_precision(const ForcedVariants& forced);

std::string cpu_name();
/// Names of the vector instruction sets that matter to koine's kernels and oneDNN's: "avx2", "avx512f", "avx512_bf16",
/// "amx_bf16" ...
std::vector<std::string> cpu_features();
std::int64_t memory_bytes();
std::int64_t available_memory_bytes();

}  // namespace koine
