#include "bench/operations/measure.h"
#include "kernels/topk/topk_cases.h"

namespace koine::bench {
namespace {

/// Sentences of one language sought among those of another.
const Measured top_k([] {
  const ModelShape& model = plan().models.front();
  const std::int64_t queries = plan().tiny ? 8 : 1000;
  const std::int64_t candidates = plan().tiny ? 50 : plan().device == Device::kCpu ? 4000 : 100000;
  const std::int64_t width = model.hidden;
  measure(concatenate("k_4/", model.name, "/", queries, "x", candidates), DType::kFloat32, [=] {
    return cases::top_k_case(queries, candidates, width, 4, cases::random(queries * width, 1),
                             cases::random(candidates * width, 2));
  });
});

/// Mining: both languages' sentences sought among the other's.
const Measured top_k_two_way([] {
  const ModelShape& model = plan().models.front();
  const std::int64_t rows = plan().tiny ? 50 : plan().device == Device::kCpu ? 4096 : 100000;
  measure(concatenate("k_4/", model.name, "/", rows, "x", rows), DType::kFloat32, [=] {
    return cases::top_k_two_way_case(rows, rows, model.hidden, 4, 4, cases::random(rows * model.hidden, 1),
                                     cases::random(rows * model.hidden, 2));
  });
});

}  // namespace
}  // namespace koine::bench
