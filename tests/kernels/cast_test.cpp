#include "kernels/cast/cast_cases.h"
#include "tests/kernels/suite.h"

namespace koine::testing {
namespace {

// For every pair of types the variants take: the reference's bits.
TEST(Cast, VariantsAreExact) {
  for (const DType from : {DType::kFloat32, DType::kBFloat16}) {
    for (const DType to : {DType::kFloat32, DType::kBFloat16}) {
      for (const std::int64_t count : {0, 1, 7, 64, 768, 1000, 70000}) {
        Case<CastArguments> test_case = cast_case(count, from, to);
        test_case.operand("output").exact = true;
        check_variants(test_case);
      }
    }
  }
}

TEST(Cast, ReferenceKnowsDouble) {
  const double input[2] = {1.0 / 3, -2.5};
  float output[2];
  CastArguments arguments;
  arguments.count = 2;
  arguments.input_type = DType::kFloat64;
  arguments.output_type = DType::kFloat32;
  arguments.input = input;
  arguments.output = output;
  reference_variant<CastArguments>().launch(Context{}, arguments, nullptr);
  EXPECT_EQ(output[0], 1.0f / 3);
  EXPECT_EQ(output[1], -2.5f);
}

}  // namespace
}  // namespace koine::testing
