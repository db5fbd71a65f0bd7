// The steps of adafactor.cu, tile by tile: the sums of the squares of a tile's rows and columns (or V itself), R and C from
// them, the sum of x^2 of every tile, what each tensor is scaled by, the update. A task is a run of tiles or of factors, whose
// sums are in double with the vector's lanes in a fixed order; sums of tiles are added in their order.

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/optimizer/adafactor_cpu.cpp"
#include "kernels/common/vector_targets.h"
#include "kernels/common/vector-inl.h"
// clang-format on

#include <algorithm>
#include <cmath>

#include "kernels/common/parallel.h"
#include "kernels/optimizer/adafactor.h"
#include "kernels/optimizer/adafactor_tiles.h"

HWY_BEFORE_NAMESPACE();
namespace koine {
namespace HWY_NAMESPACE {
namespace {

using DoubleTag = hn::ScalableTag<double>;
using FloatTag = hn::Rebind<float, DoubleTag>;  // as many lanes

double total(hn::Vec<DoubleTag> sums) { return hn::GetLane(hn::SumOfLanes(DoubleTag(), sums)); }

/// sums + value^2, where value is outside of no row.
hn::Vec<DoubleTag> add_square(hn::Vec<DoubleTag> sums, hn::Vec<FloatTag> value) {
  const auto wide = hn::PromoteTo(DoubleTag(), value);
  return hn::MulAdd(wide, wide, sums);
}

/// g^2 + epsilon.
template <class D>
HWY_INLINE hn::Vec<D> square_of(D d, hn::Vec<D> gradient) {
  return hn::MulAdd(gradient, gradient, hn::Set(d, kAdafactorSquareEpsilon));
}

double sum_of_squares_of(const float* values, std::int64_t count) {
  auto sums = hn::Zero(DoubleTag());
  for_lanes(FloatTag(), count,
            [&](std::int64_t i, auto lanes) KOINE_LANES { sums = add_square(sums, lanes.load(FloatTag(), values + i)); });
  return total(sums);
}

/// What a tile adds to R and C.
void tile_sums(const AdafactorArguments& a, const AdafactorTensor& t, const AdafactorTile& tile,
               const AdafactorWorkspace& arrays) {
  const FloatTag d;
  const DoubleTag wide;
  const auto factor = hn::Set(d, a.gradient_factor == nullptr ? 1.0f : *a.gradient_factor);
  double* rows = arrays.row_partials + t.first_row_partial + tile.column_tile * t.rows + tile.first_row;
  double* columns = arrays.column_partials + t.first_column_partial + tile.row_tile * t.width + tile.first_column;
  std::fill(columns, columns + tile.columns, 0.0);
  for (int r = 0; r < tile.rows; ++r) {
    const float* gradient = a.gradient + t.offset + (tile.first_row + r) * t.width + tile.first_column;
    auto sums = hn::Zero(wide);
    std::int64_t i = 0;
    const auto step = static_cast<std::int64_t>(hn::Lanes(d));
    for (; i + step <= tile.columns; i += step) {
      const auto square = hn::PromoteTo(wide, square_of(d, hn::Mul(factor, hn::LoadU(d, gradient + i))));
      sums = hn::Add(sums, square);
      hn::StoreU(hn::Add(hn::LoadU(wide, columns + i), square), wide, columns + i);
    }
    double sum = total(sums);
    for (; i < tile.columns; ++i) {
      const float value = (a.gradient_factor == nullptr ? 1.0f : *a.gradient_factor) * gradient[i];
      const auto square = static_cast<double>(value * value + kAdafactorSquareEpsilon);
      sum += square;
      columns[i] += square;
    }
    rows[r] = sum;
  }
}

/// V behind the step, and the sum of x^2 of a tile.
double tile_moments(const AdafactorArguments& a, const AdafactorTensor& t, const AdafactorTile& tile) {
  const FloatTag d;
  const auto factor = hn::Set(d, a.gradient_factor == nullptr ? 1.0f : *a.gradient_factor);
  const AdafactorStep& step = a.steps[t.group];
  auto sums = hn::Zero(DoubleTag());
  for (int r = 0; r < tile.rows; ++r) {
    const std::int64_t begin = (tile.first_row + r) * t.width + tile.first_column;
    for_lanes(d, tile.columns, [&](std::int64_t i, auto lanes) KOINE_LANES {
      const auto gradient = hn::Mul(factor, lanes.load(d, a.gradient + t.offset + begin + i));
      float* moment = a.state + t.state + begin + i;
      const auto kept = hn::Mul(hn::Set(d, step.rho), lanes.load(d, moment));
      const auto v = hn::MulAdd(hn::Set(d, step.one_minus_rho), square_of(d, gradient), kept);
      lanes.store(d, v, moment);
      sums = add_square(sums, lanes.zero_outside(d, hn::Div(gradient, hn::Sqrt(v))));
    });
  }
  return total(sums);
}

/// Calls body(row, i, lanes, x) over a tile: x not clipped, `i` the element of the tensor.
template <class D, class Body>
HWY_INLINE void for_updates(D d, const AdafactorArguments& a, const AdafactorTensor& t, const AdafactorTile& tile,
                            float row_mean, const Body& body) {
  const auto factor = hn::Set(d, a.gradient_factor == nullptr ? 1.0f : *a.gradient_factor);
  const auto one = hn::Set(d, 1.0f);
  const float* state = a.state + t.state;
  for (int r = 0; r < tile.rows; ++r) {
    const std::int64_t row = tile.first_row + r;
    const std::int64_t begin = row * t.width + tile.first_column;
    const float of_row = t.factored != 0 ? 1 / std::sqrt(state[row] / row_mean) : 1.0f;
    for_lanes(d, tile.columns, [&](std::int64_t i, auto lanes) KOINE_LANES {
      const auto gradient = hn::Mul(factor, lanes.load(d, a.gradient + t.offset + begin + i));
      if (t.factored != 0) {
        const auto of_column = hn::Div(one, hn::Sqrt(lanes.load(d, state + t.rows + tile.first_column + i)));
        body(begin + i, lanes, hn::Mul(hn::Mul(gradient, hn::Set(d, of_row)), of_column));
      } else {
        body(begin + i, lanes, hn::Div(gradient, hn::Sqrt(lanes.load(d, state + begin + i))));
      }
    });
  }
}

void first_pass(const AdafactorArguments& a, const AdafactorWorkspace& arrays, std::int64_t begin, std::int64_t end) {
  for (std::int64_t number = begin; number < end; ++number) {
    const AdafactorTile tile = adafactor_tile(a.tensor_list, a.sizes.tensors, number);
    const AdafactorTensor& t = a.tensor_list[tile.tensor];
    double squares = 0;
    for (int r = 0; r < tile.rows && a.scale_parameter; ++r) {
      squares +=
          sum_of_squares_of(a.parameter + t.offset + (tile.first_row + r) * t.width + tile.first_column, tile.columns);
    }
    arrays.parameter_squares[number] = squares;
    if (t.factored != 0) {
      tile_sums(a, t, tile, arrays);
    } else {
      arrays.update_squares[number] = tile_moments(a, t, tile);
    }
  }
}

void update_squares(const AdafactorArguments& a, const AdafactorWorkspace& arrays, std::int64_t begin, std::int64_t end) {
  for (std::int64_t number = begin; number < end; ++number) {
    const AdafactorTile tile = adafactor_tile(a.tensor_list, a.sizes.tensors, number);
    const AdafactorTensor& t = a.tensor_list[tile.tensor];
    if (t.factored == 0) continue;
    auto sums = hn::Zero(DoubleTag());
    for_updates(FloatTag(), a, t, tile, arrays.row_means[tile.tensor], [&](std::int64_t, auto lanes, auto x) KOINE_LANES {
      sums = add_square(sums, lanes.zero_outside(FloatTag(), x));
    });
    arrays.update_squares[number] = total(sums);
  }
}

void last_pass(const AdafactorArguments& a, const AdafactorWorkspace& arrays, std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<float> d;
  for (std::int64_t number = begin; number < end; ++number) {
    const AdafactorTile tile = adafactor_tile(a.tensor_list, a.sizes.tensors, number);
    const AdafactorTensor& t = a.tensor_list[tile.tensor];
    const AdafactorScale scale = arrays.scales[tile.tensor];
    for_updates(d, a, t, tile, arrays.row_means[tile.tensor], [&](std::int64_t i, auto lanes, auto x) KOINE_LANES {
      const std::int64_t at = t.offset + i;
      const auto change = hn::Mul(hn::Set(d, scale.step), x);
      const auto parameter = hn::MulSub(lanes.load(d, a.parameter + at), hn::Set(d, scale.keep), change);
      lanes.store(d, parameter, a.parameter + at);
      if (a.working != nullptr) lanes.store(d, parameter, a.working + at);
      if (a.zero_gradient) lanes.store(d, hn::Zero(d), a.gradient + at);
    });
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace koine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace koine {
namespace {
HWY_EXPORT(first_pass);
HWY_EXPORT(update_squares);
HWY_EXPORT(last_pass);

/// R and C numbers begin .. end - 1 of all tensors.
void update_factors(const AdafactorArguments& a, const AdafactorWorkspace& arrays, std::int64_t begin, std::int64_t end) {
  for (std::int64_t number = begin; number < end; ++number) {
    const AdafactorTensor& t =
        a.tensor_list[adafactor_find(a.tensor_list, a.sizes.tensors, &AdafactorTensor::first_factor, number)];
    const std::int64_t inside = number - t.first_factor;
    const bool row = inside < t.rows;
    const double* partials = row ? arrays.row_partials + t.first_row_partial + inside
                                 : arrays.column_partials + t.first_column_partial + inside - t.rows;
    const std::int64_t stride = row ? t.rows : t.width;
    const std::int64_t terms = row ? adafactor_column_tiles(t) : adafactor_row_tiles(t);
    double sum = 0;
    for (std::int64_t i = 0; i < terms; ++i) sum += partials[i * stride];
    const AdafactorStep& step = a.steps[t.group];
    float& factor = a.state[t.state + inside];
    factor = step.rho * factor + step.one_minus_rho * static_cast<float>(sum / static_cast<double>(row ? t.width : t.rows));
  }
}

void row_mean_of(const AdafactorArguments& a, const AdafactorWorkspace& arrays, std::int64_t tensor) {
  const AdafactorTensor& t = a.tensor_list[tensor];
  double sum = 0;
  for (std::int64_t row = 0; row < t.rows && t.factored != 0; ++row) sum += static_cast<double>(a.state[t.state + row]);
  arrays.row_means[tensor] = static_cast<float>(sum / static_cast<double>(t.rows));
}

void scale_of(const AdafactorArguments& a, const AdafactorWorkspace& arrays, std::int64_t tensor) {
  const AdafactorTensor& t = a.tensor_list[tensor];
  double updates = 0;
  double parameters = 0;
  for (std::int64_t tile = t.first_tile; tile < t.first_tile + adafactor_tiles_of(t); ++tile) {
    updates += arrays.update_squares[tile];
    parameters += arrays.parameter_squares[tile];
  }
  const auto count = static_cast<double>(t.count());
  const AdafactorStep& step = a.steps[t.group];
  double rate = static_cast<double>(step.rate);
  if (a.scale_parameter) rate *= std::max(kAdafactorLeastScale, std::sqrt(parameters / count));
  const double clip = std::max(1.0, std::sqrt(updates / count) / static_cast<double>(a.clip_threshold));
  arrays.scales[tensor] = {static_cast<float>(1 - rate * static_cast<double>(step.decay)), static_cast<float>(rate / clip)};
}

}  // namespace

void adafactor_cpu(const Context&, const AdafactorArguments& a, void* workspace) {
  if (a.gradient_factor != nullptr && *a.gradient_factor == 0) return;
  constexpr std::int64_t kTiles = 4;  // of a task
  const AdafactorWorkspace arrays = adafactor_arrays(a.sizes, workspace);
  parallel_ranges(a.sizes.tiles, kTiles, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(first_pass)(a, arrays, begin, end);
  });
  parallel_ranges(a.sizes.factors, 1024,
                  [&](std::int64_t begin, std::int64_t end) { update_factors(a, arrays, begin, end); });
  parallel_for(a.sizes.tensors, [&](std::int64_t tensor) { row_mean_of(a, arrays, tensor); });
  parallel_ranges(a.sizes.tiles, kTiles, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(update_squares)(a, arrays, begin, end);
  });
  parallel_for(a.sizes.tensors, [&](std::int64_t tensor) { scale_of(a, arrays, tensor); });
  parallel_ranges(a.sizes.tiles, kTiles, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(last_pass)(a, arrays, begin, end);
  });
}

}  // namespace koine
#endif
