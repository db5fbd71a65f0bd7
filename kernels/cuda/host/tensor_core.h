#pragma once

// How the host implementation adds products, for mma and wgmma alike.

#include <cstdint>

namespace koine::cuda::host {

/// Whether sums are cut as tensor cores cut them (set_truncating_sums()).
bool truncating_sums();

/// c + the sum of a[i * stride_a] * b[i * stride_b], i < 16, as a tensor core makes it: products and c, each exact, are
/// aligned to the largest and cut, added as integers, and the sum is cut to fp32. Where one of them is no finite number,
/// plainly.
float truncated_sum(float c, const float* a, int stride_a, const float* b, int stride_b);

}  // namespace koine::cuda::host
