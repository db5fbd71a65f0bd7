#pragma once

#include <array>

#include "kernels/common/cases.h"
#include "kernels/optimizer/adafactor.h"

namespace koine::cases {

/// The tensors [rows, width, factored] one behind the other, `gap` elements between them, every second one in group 1. The
/// state is what some steps may have left.
inline Case<AdafactorArguments> adafactor_case(const std::vector<std::array<std::int64_t, 3>>& shapes, bool scale_parameter,
                                               bool working, std::int64_t gap = 0) {
  using Arguments = AdafactorArguments;
  std::vector<AdafactorTensor> tensors;
  std::int64_t count = 0;
  std::int64_t state = 0;
  std::string name;
  for (const auto& [rows, width, factored] : shapes) {
    AdafactorTensor tensor;
    tensor.offset = count, tensor.rows = rows, tensor.width = width, tensor.factored = factored, tensor.state = state;
    tensor.group = std::ssize(tensors) % 2;
    count += tensor.count() + gap, state += tensor.state_count();
    tensors.push_back(tensor);
    if (tensors.size() <= 4) name += concatenate(name.empty() ? "" : ", ", "[", rows, ", ", width, "]");
  }
  Case<Arguments> one(concatenate(name, tensors.size() > 4 ? " ..." : "", scale_parameter ? ", scaled" : ""));
  one.types = {DType::kFloat32};
  Arguments& a = one.arguments;
  a.sizes = number_tiles(tensors);
  a.tensor_list = one.keep(std::move(tensors));
  a.steps = one.keep(std::vector<AdafactorStep>{adafactor_step(7, 1e-3, 0), adafactor_step(7, 1e-3, 0.1)});
  a.scale_parameter = scale_parameter;
  one.in_out_fp32("parameter", random(count, 1, 0.02), &Arguments::parameter);
  one.in_out_fp32("gradient", random(count, 2), &Arguments::gradient);
  one.in_out_fp32("state", Values(state, {3, 0.1, 1.0, true}), &Arguments::state);
  if (working) one.fixed(one.output("working", count, &Arguments::working), DType::kBFloat16);
  return one;
}

}  // namespace koine::cases
