#include "bench/operations/ceilings.h"

#include "bench/operations/measure.h"

namespace koine::bench {

const Ceiling& product_ceiling(DType type) {
  const auto measure = [](DType measured) {
    Ceiling ceiling;
    // fp32 products are slower by an order: half the size says as much.
    const std::int64_t size = plan().product_size / (measured == DType::kFloat32 && machine().on_device() ? 2 : 1);
    ceiling.rate = product_rate(machine(), measured, size, &ceiling.variant);
    return ceiling;
  };
  static const Ceiling fp32 = measure(DType::kFloat32);
  static const Ceiling bf16 = measure(DType::kBFloat16);
  return type == DType::kBFloat16 ? bf16 : fp32;
}

double copy_ceiling() {
  static const double rate = copy_rate(machine(), plan().copy_bytes);
  return rate;
}

}  // namespace koine::bench
