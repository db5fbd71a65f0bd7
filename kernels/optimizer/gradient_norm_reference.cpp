#include <cfloat>
#include <cmath>

#include "kernels/common/check.h"
#include "kernels/optimizer/gradient_norm.h"

namespace koine {
namespace {

double squares(const GradientNormArguments& a, std::int64_t first, std::int64_t count) {
  const ElementRange inside = intersection({first, first + count}, a.range);
  double sum = 0;
  for (std::int64_t i = inside.begin; i < inside.end; ++i) {
    sum += static_cast<double>(a.gradient[i]) * static_cast<double>(a.gradient[i]);
  }
  return sum;
}

}  // namespace

void clip_factor_reference(const Context&, const ClipFactorArguments& a, void*) {
  const double norm = std::sqrt(*a.sum_of_squares);
  const double maximum = static_cast<double>(a.maximum_norm);
  *a.norm = static_cast<float>(norm);
  *a.factor = 1;
  if (maximum > 0 && maximum / (norm + 1e-6) < 1) *a.factor = static_cast<float>(maximum / (norm + 1e-6));
  if (*a.factor < FLT_MIN) *a.factor = FLT_MIN;
  if (!std::isfinite(*a.norm)) *a.factor = 0;
}

void gradient_norm_reference(const Context& context, const GradientNormArguments& a, void*) {
  check(a.stage == NormStage::kWhole, "the reference of gradient_norm has no cells");
  double sum = 0;
  for (std::int64_t index = 0; index < a.segments; ++index) {
    sum += squares(a, a.segment_list[index].offset, a.segment_list[index].count());
  }
  const std::int64_t rows = a.row_list == nullptr ? a.rows : a.listed_from == nullptr ? a.listed : *a.listed_from;
  for (std::int64_t i = 0; i < rows; ++i) {
    const std::int64_t row = a.row_list == nullptr ? i : a.row_list[i];
    sum += squares(a, a.table_offset + row * a.width, a.width);
  }
  *a.sum_of_squares = sum;
  clip_factor_reference(context, {a.sum_of_squares, a.maximum_norm, a.norm, a.factor}, nullptr);
}

}  // namespace koine
