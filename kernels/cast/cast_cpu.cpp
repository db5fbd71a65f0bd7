// A task is a range of elements; between equal types a plain copy.

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cast/cast_cpu.cpp"
#include "kernels/common/vector_targets.h"
#include "kernels/common/vector-inl.h"
// clang-format on

#include "kernels/cast/cast.h"
#include "kernels/common/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace koine {
namespace HWY_NAMESPACE {
namespace {

template <class From, class To>
void convert_range(const CastArguments& a, std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<float> d;
  const From* input = static_cast<const From*>(a.input) + begin;
  To* output = static_cast<To*>(a.output) + begin;
  for_lanes(d, end - begin,
            [&](std::int64_t i, auto lanes) KOINE_LANES { lanes.store(d, lanes.load(d, input + i), output + i); });
}

void convert(const CastArguments& a, std::int64_t begin, std::int64_t end) {
  a.input_type == DType::kFloat32 ? convert_range<float, BFloat16>(a, begin, end)
                                  : convert_range<BFloat16, float>(a, begin, end);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace koine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace koine {
namespace {
HWY_EXPORT(convert);
}  // namespace

void cast_cpu(const Context&, const CastArguments& a, void*) {
  parallel_ranges(a.count, 65536, [&](std::int64_t begin, std::int64_t end) {
    if (a.input_type != a.output_type) {
      HWY_DYNAMIC_DISPATCH(convert)(a, begin, end);
    } else {
      std::memcpy(offset_by(a.output, a.output_type, begin), offset_by(a.input, a.input_type, begin),
                  static_cast<std::size_t>(end - begin) * size_of(a.input_type));
    }
  });
}

}  // namespace koine
#endif
