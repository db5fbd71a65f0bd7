#pragma once

#include <array>

#include "kernels/common/cases.h"
#include "kernels/optimizer/adamw_8bit.h"

namespace koine::cases {

/// Tensors {elements, coded}, one behind the other, every second one in group 1. The codes are random, those of the second
/// moment above zero and not far from it, so that updates are of size 1.
inline Case<AdamW8BitArguments> adamw_8bit_case(const std::vector<std::array<std::int64_t, 2>>& tensors, bool working) {
  using Arguments = AdamW8BitArguments;
  std::vector<CodedTensor> list;
  std::int64_t count = 0;
  std::int64_t codes = 0;
  std::int64_t plain = 0;
  for (const auto& [elements, coded] : tensors) {
    CodedTensor tensor;
    tensor.offset = count, tensor.count = elements, tensor.coded = coded, tensor.group = std::ssize(list) % 2;
    tensor.state = coded != 0 ? codes : plain;
    count += elements;
    (coded != 0 ? codes : plain) += coded != 0 ? (elements + kCodedBlock - 1) / kCodedBlock * kCodedBlock : elements;
    list.push_back(tensor);
  }
  Case<Arguments> one(concatenate(tensors.size(), " tensors of ", count, " elements, ", codes, " codes"));
  one.types = {DType::kFloat32};
  Arguments& a = one.arguments;
  a.elements = count, a.tensors = std::ssize(list), a.pieces = number_coded_pieces(list);
  a.tensor_list = one.keep(std::move(list));
  a.steps =
      one.keep(std::vector<AdamWStep>{adamw_step(7, 1e-3, 0.9, 0.999, 1e-8, 0), adamw_step(7, 1e-3, 0.9, 0.999, 1e-8, 0.1)});
  TestRandom random_codes(5);
  std::vector<std::uint8_t> first(static_cast<std::size_t>(codes));
  std::vector<std::uint8_t> second(static_cast<std::size_t>(codes));
  for (std::uint8_t& code : first) code = static_cast<std::uint8_t>(random_codes.below(256));
  for (std::uint8_t& code : second) code = static_cast<std::uint8_t>(200 + random_codes.below(56));
  a.first_codes = one.keep(std::move(first)), a.second_codes = one.keep(std::move(second));
  const auto blocks = static_cast<std::size_t>(codes / kCodedBlock);
  a.first_scales = one.keep(std::vector<float>(blocks, 0.3f)), a.second_scales = one.keep(std::vector<float>(blocks, 0.1f));
  const auto map_of = [&](bool with_signs) {
    const std::array<float, 256> map = dynamic_map(with_signs);
    return one.keep(std::vector<float>(map.begin(), map.end()));
  };
  a.first_map = map_of(true), a.second_map = map_of(false);
  one.in_out_fp32("parameter", random(count, 1, 0.02), &Arguments::parameter);
  one.in_out_fp32("gradient", random(count, 2), &Arguments::gradient);
  one.in_out_fp32("first_moment", random(plain, 3, 0.1), &Arguments::first_moment);
  one.in_out_fp32("second_moment", random_squares(plain, 4, 0.1), &Arguments::second_moment);
  if (working) one.fixed(one.output("working", count, &Arguments::working), DType::kBFloat16);
  return one;
}

}  // namespace koine::cases
