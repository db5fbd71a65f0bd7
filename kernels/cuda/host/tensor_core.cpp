#include "kernels/cuda/host/tensor_core.h"

#include <atomic>
#include <cmath>

#include "kernels/cuda/host/execution.h"

namespace koine::cuda::host {
namespace {

constexpr int kTerms = 16;
// Bits kept below the leading one of the largest term: those of fp32 and one more (section "truncation" of docs/hopper.md).
constexpr int kKeptBits = 24;

std::atomic<bool> truncating{false};

/// `value` cut towards zero to a float.
float cut_to_float(double value) {
  const auto near = static_cast<float>(value);
  return std::fabs(static_cast<double>(near)) > std::fabs(value) ? std::nextafter(near, 0.0f) : near;
}

}  // namespace

bool truncating_sums() { return truncating; }
void set_truncating_sums(bool on) { truncating = on; }

float truncated_sum(float c, const float* a, int stride_a, const float* b, int stride_b) {
  double terms[kTerms + 1];
  int largest = -2000;
  bool finite = true;
  for (int i = 0; i <= kTerms; ++i) {
    terms[i] =
        i == kTerms ? static_cast<double>(c) : static_cast<double>(a[i * stride_a]) * static_cast<double>(b[i * stride_b]);
    finite = finite && std::isfinite(terms[i]);
    if (terms[i] != 0) largest = std::max(largest, std::ilogb(terms[i]));
  }
  if (!finite) {
    double sum = terms[kTerms];
    for (int i = 0; i < kTerms; ++i) sum += terms[i];
    return static_cast<float>(sum);
  }
  if (largest == -2000) return 0.0f;
  const double unit = std::ldexp(1.0, largest - kKeptBits);
  double sum = 0;  // of 17 whole numbers below 2^26: exact
  for (const double term : terms) sum += std::trunc(term / unit);
  return cut_to_float(sum * unit);
}

}  // namespace koine::cuda::host
