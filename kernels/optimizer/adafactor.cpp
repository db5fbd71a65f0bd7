#include "kernels/optimizer/adafactor.h"

#include <cmath>

#include "kernels/optimizer/adafactor_tiles.h"

namespace koine {

void adafactor_reference(const Context&, const AdafactorArguments&, void*);
void adafactor_cpu(const Context&, const AdafactorArguments&, void*);
void adafactor_portable(const Context&, const AdafactorArguments&, void*);

namespace {

void validate(const AdafactorArguments& a) {
  const AdafactorSizes& s = a.sizes;
  check(s.tensors >= 0 && s.elements >= 0 && s.tiles >= 0 && (s.tensors > 0 || s.tiles == 0) && s.factors >= 0 &&
            s.tiles * kAdafactorTileRows * kAdafactorTileColumns >= s.elements && s.row_partials >= 0 &&
            s.column_partials >= 0,
        "adafactor: ", s.elements, " elements in ", s.tensors, " tensors of ", s.tiles, " tiles is not a shape");
  check(a.clip_threshold > 0, "adafactor: the threshold of clipping is ", a.clip_threshold, "; it must be above 0");
}
double flops(const AdafactorArguments& a) { return 20 * static_cast<double>(a.sizes.elements); }
double bytes(const AdafactorArguments& a) {
  return static_cast<double>(a.sizes.elements) * (24.0 + (a.zero_gradient ? 4 : 0) + (a.working == nullptr ? 0 : 2));
}

}  // namespace

AdafactorStep adafactor_step(std::int64_t step, double learning_rate, double decay) {
  check(step >= 1, "Adafactor counts its steps from 1, got ", step);
  AdafactorStep result;
  const double one_minus_rho = std::pow(static_cast<double>(step), -0.8);
  result.rho = static_cast<float>(1 - one_minus_rho);
  result.one_minus_rho = static_cast<float>(one_minus_rho);
  result.rate = static_cast<float>(learning_rate);
  result.decay = static_cast<float>(decay);
  return result;
}

AdafactorSizes number_tiles(std::vector<AdafactorTensor>& tensors) {
  AdafactorSizes sizes;
  for (AdafactorTensor& tensor : tensors) {
    tensor.first_tile = sizes.tiles;
    tensor.first_factor = sizes.factors;
    tensor.first_row_partial = sizes.row_partials;
    tensor.first_column_partial = sizes.column_partials;
    ++sizes.tensors;
    sizes.elements += tensor.count();
    sizes.tiles += adafactor_tiles_of(tensor);
    if (tensor.factored == 0) continue;
    sizes.factors += tensor.rows + tensor.width;
    sizes.row_partials += adafactor_column_tiles(tensor) * tensor.rows;
    sizes.column_partials += adafactor_row_tiles(tensor) * tensor.width;
  }
  return sizes;
}

template <>
const Operation<AdafactorArguments>& operation<AdafactorArguments>() {
  static const Operation<AdafactorArguments> table = {
      "adafactor",
      validate,
      flops,
      bytes,
      {{"portable", Device::kCuda, kFrom80, nullptr, adafactor_workspace, adafactor_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, nullptr, adafactor_workspace, adafactor_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, adafactor_reference}}};
  return table;
}

}  // namespace koine
