#include "kernels/dropout/dropout.h"

namespace koine {

void dropout_reference(const Context&, const DropoutArguments& a, void*) {
  for (std::int64_t row = 0; row < a.rows; ++row) {
    for (std::int64_t c = 0; c < a.width; ++c) {
      const std::int64_t index = row * a.width + c;
      double value = load_element(a.input, a.type, index);
      if (a.dropout.active()) {
        const bool kept = keeps_hidden(a.dropout, a.dropout.examples[row],
                                       static_cast<std::uint32_t>(a.dropout.positions[row]), static_cast<std::uint32_t>(c));
        value = kept ? value * static_cast<double>(a.dropout.scale()) : 0;
      }
      if (a.residual != nullptr) value += load_element(a.residual, a.type, index);
      store_element(a.output, a.type, index, value);
    }
  }
}

}  // namespace koine
