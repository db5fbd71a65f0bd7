#pragma once

#include "kernels/cast/cast.h"
#include "kernels/common/cases.h"

namespace koine::cases {

/// One type to another: there is no type under test.
inline Case<CastArguments> cast_case(std::int64_t count, DType from, DType to) {
  Case<CastArguments> one(concatenate(count, " elements, ", name_of(from), " to ", name_of(to)));
  one.types = {DType::kFloat32};
  one.arguments.count = count, one.arguments.input_type = from, one.arguments.output_type = to;
  one.fixed(one.input("input", random(count, 3, 10), &CastArguments::input), from);
  one.fixed(one.output("output", count, &CastArguments::output), to);
  return one;
}

}  // namespace koine::cases
