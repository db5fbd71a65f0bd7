#include <cmath>

#include "kernels/l2_normalise/l2_normalise.h"

namespace koine {
namespace {

template <class Arguments>
double input_at(const Arguments& a, std::int64_t row, std::int64_t column) {
  return load_element(a.input, a.type, row * a.stride + column);
}

template <class Arguments>
double length_of(const Arguments& a, std::int64_t row) {
  double squares = 0;
  for (std::int64_t c = 0; c < a.width; ++c) squares += input_at(a, row, c) * input_at(a, row, c);
  return std::sqrt(squares);
}

}  // namespace

void l2_normalise_forward_reference(const Context&, const L2NormaliseForwardArguments& a, void*) {
  const double scale = a.scale == nullptr ? 1.0 : *a.scale;
  for (std::int64_t row = 0; row < a.rows; ++row) {
    const double length = length_of(a, row);
    for (std::int64_t c = 0; c < a.width; ++c) {
      store_element(a.output, a.type, row * a.width + c, length == 0 ? 0 : scale * input_at(a, row, c) / length);
    }
  }
}

void l2_normalise_backward_reference(const Context&, const L2NormaliseBackwardArguments& a, void*) {
  const double scale = a.scale == nullptr ? 1.0 : *a.scale;
  double d_scale = 0;
  for (std::int64_t row = 0; row < a.rows; ++row) {
    const double length = length_of(a, row);
    const auto d_output = [&](std::int64_t c) { return load_element(a.d_output, a.type, row * a.width + c); };
    double dot = 0;
    for (std::int64_t c = 0; c < a.width; ++c) dot += length == 0 ? 0 : input_at(a, row, c) / length * d_output(c);
    for (std::int64_t c = 0; c < a.width; ++c) {
      const double gradient = length == 0 ? 0 : scale / length * (d_output(c) - input_at(a, row, c) / length * dot);
      store_element(a.d_input, a.type, row * a.stride + c, gradient);
    }
    d_scale += dot;
  }
  if (a.d_scale != nullptr) *a.d_scale = static_cast<float>(*a.d_scale + d_scale);
}

}  // namespace koine
