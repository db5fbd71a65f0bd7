#include "kernels/cast/cast.h"

namespace koine {

void cast_reference(const Context&, const CastArguments& a, void*) {
  for (std::int64_t i = 0; i < a.count; ++i)
    store_element(a.output, a.output_type, i, load_element(a.input, a.input_type, i));
}

}  // namespace koine
