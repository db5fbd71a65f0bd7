#include "bench/operations/measure.h"
#include "kernels/cast/cast_cases.h"

namespace koine::bench {
namespace {

/// The working copy of fp32 parameters.
const Measured cast_to_bfloat16([] {
  const std::int64_t count = plan().optimizer_elements;
  measure(concatenate("dense/any/", count), DType::kFloat32,
          [=] { return cases::cast_case(count, DType::kFloat32, DType::kBFloat16); });
});

}  // namespace
}  // namespace koine::bench
