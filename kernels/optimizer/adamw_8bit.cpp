#include "kernels/optimizer/adamw_8bit.h"

#include <algorithm>
#include <cmath>

namespace koine {

void adamw_8bit_reference(const Context&, const AdamW8BitArguments&, void*);
void adamw_8bit_cpu(const Context&, const AdamW8BitArguments&, void*);
void adamw_8bit_portable(const Context&, const AdamW8BitArguments&, void*);

namespace {

void validate(const AdamW8BitArguments& a) {
  check(a.elements >= 0 && a.tensors >= 0 && a.pieces >= 0 && (a.tensors > 0 || a.pieces == 0) &&
            a.pieces * kCodedPiece >= a.elements,
        "adamw_8bit: ", a.elements, " elements in ", a.tensors, " tensors of ", a.pieces, " pieces is not a shape");
}
// AdamW's, and 16 comparisons for the codes.
double flops(const AdamW8BitArguments& a) { return 31 * static_cast<double>(a.elements); }
double bytes(const AdamW8BitArguments& a) {
  const double gradient = a.zero_gradient ? 4 : 0;
  const double weight = a.master.kind == MasterKind::kNone ? 4 : 8;
  const double working = a.master.kind != MasterKind::kFloat32 || a.working == nullptr ? 0 : 2;
  return static_cast<double>(a.elements) * (8.0625 + gradient + weight + working);
}

}  // namespace

// create_dynamic_map(signed, max_exponent_bits=7, total_bits=8) of both libraries: decade i of seven holds the middles of 2^i
// equal parts of 0.1 .. 1 (twice as many where no bit is spent on the sign).
std::array<float, 256> dynamic_map(bool with_signs) {
  std::array<float, 256> map = {};
  std::size_t count = 0;
  for (int decade = 0; decade < 7; ++decade) {
    const int parts = with_signs ? 1 << decade : 2 << decade;
    for (int part = 0; part < parts; ++part) {
      const double middle = 0.1 + 0.9 * (part + 0.5) / parts;
      const auto number = static_cast<float>(middle * std::pow(10.0, decade - 6));
      map[count++] = number;
      if (with_signs) map[count++] = -number;
    }
  }
  map[count++] = 0;
  map[count] = 1;
  std::sort(map.begin(), map.end());
  return map;
}

std::int64_t number_coded_pieces(std::vector<CodedTensor>& tensors) {
  std::int64_t pieces = 0;
  for (CodedTensor& tensor : tensors) {
    tensor.first_piece = pieces;
    pieces += pieces_of(tensor);
  }
  return pieces;
}

template <>
const Operation<AdamW8BitArguments>& operation<AdamW8BitArguments>() {
  static const Operation<AdamW8BitArguments> table = {
      "adamw_8bit",
      validate,
      flops,
      bytes,
      {{"portable", Device::kCuda, kFrom80, nullptr, nullptr, adamw_8bit_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, nullptr, nullptr, adamw_8bit_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, adamw_8bit_reference}}};
  return table;
}

}  // namespace koine
