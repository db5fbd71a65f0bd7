#include "kernels/gather/gather.h"

namespace koine {

void gather_rows_reference(const Context&, const GatherRowsArguments& a, void*) {
  for (std::int64_t i = 0; i < a.count; ++i) {
    for (std::int64_t c = 0; c < a.width; ++c) {
      const double value = load_element(a.input, a.type, a.indices[i] * a.width + c);
      store_element(a.output, a.type, i * a.width + c, value);
    }
  }
}

void scatter_rows_reference(const Context&, const ScatterRowsArguments& a, void*) {
  for (std::int64_t i = 0; !a.keep_others && i < a.rows * a.width; ++i) store_element(a.output, a.type, i, 0);
  for (std::int64_t i = 0; i < a.count; ++i) {
    for (std::int64_t c = 0; c < a.width; ++c) {
      const double value = load_element(a.input, a.type, i * a.width + c);
      store_element(a.output, a.type, a.indices[i] * a.width + c, value);
    }
  }
}

}  // namespace koine
