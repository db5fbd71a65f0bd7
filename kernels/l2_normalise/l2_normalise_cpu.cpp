// A task is one row, its sums in double in the order of its columns: a batch has but a vector for each sequence, next to
// nothing beside the encoder that made them. The rows' shares of d_scale are added in order.

#include <cmath>

#include "kernels/common/parallel.h"
#include "kernels/l2_normalise/l2_normalise.h"

namespace koine {
namespace {

template <class T>
double reciprocal_length(const T* row, std::int64_t width) {
  double squares = 0;
  for (std::int64_t c = 0; c < width; ++c) squares += static_cast<double>(to_float(row[c])) * to_float(row[c]);
  return squares > 0 ? 1 / std::sqrt(squares) : 0;
}

double scale_of(const float* scale) { return scale == nullptr ? 1.0 : *scale; }

template <class T>
void forward_row(const L2NormaliseForwardArguments& a, std::int64_t row) {
  const T* input = static_cast<const T*>(a.input) + row * a.stride;
  const double factor = scale_of(a.scale) * reciprocal_length(input, a.width);
  for (std::int64_t c = 0; c < a.width; ++c) store_element(a.output, a.type, row * a.width + c, factor * to_float(input[c]));
}

/// Returns u . d_output.
template <class T>
double backward_row(const L2NormaliseBackwardArguments& a, std::int64_t row) {
  const T* input = static_cast<const T*>(a.input) + row * a.stride;
  const T* d_output = static_cast<const T*>(a.d_output) + row * a.width;
  const double reciprocal = reciprocal_length(input, a.width);
  double dot = 0;
  for (std::int64_t c = 0; c < a.width; ++c) dot += static_cast<double>(to_float(input[c])) * to_float(d_output[c]);
  dot *= reciprocal;
  const double factor = scale_of(a.scale) * reciprocal;
  for (std::int64_t c = 0; c < a.width; ++c) {
    const double gradient = factor * (to_float(d_output[c]) - to_float(input[c]) * reciprocal * dot);
    store_element(a.d_input, a.type, row * a.stride + c, gradient);
  }
  return dot;
}

}  // namespace

void l2_normalise_forward_cpu(const Context&, const L2NormaliseForwardArguments& a, void*) {
  parallel_for(a.rows, [&](std::int64_t row) {
    a.type == DType::kFloat32 ? forward_row<float>(a, row) : forward_row<BFloat16>(a, row);
  });
}

std::size_t l2_normalise_backward_cpu_workspace(const L2NormaliseBackwardArguments& a) {
  return static_cast<std::size_t>(a.rows) * sizeof(double);
}

void l2_normalise_backward_cpu(const Context&, const L2NormaliseBackwardArguments& a, void* workspace) {
  auto* dots = static_cast<double*>(workspace);
  parallel_for(a.rows, [&](std::int64_t row) {
    dots[row] = a.type == DType::kFloat32 ? backward_row<float>(a, row) : backward_row<BFloat16>(a, row);
  });
  if (a.d_scale == nullptr) return;
  double sum = 0;
  for (std::int64_t row = 0; row < a.rows; ++row) sum += dots[row];
  *a.d_scale = static_cast<float>(*a.d_scale + sum);
}

}  // namespace koine
