#include "kernels/embedding/embedding.h"

namespace koine {

void embedding_forward_reference(const Context&, const EmbeddingForwardArguments&, void*);
void embedding_forward_cpu(const Context&, const EmbeddingForwardArguments&, void*);
void embedding_forward_portable(const Context&, const EmbeddingForwardArguments&, void*);
void embedding_backward_reference(const Context&, const EmbeddingBackwardArguments&, void*);
void embedding_backward_cpu(const Context&, const EmbeddingBackwardArguments&, void*);
std::size_t embedding_backward_cpu_workspace(const EmbeddingBackwardArguments&);
void embedding_backward_portable(const Context&, const EmbeddingBackwardArguments&, void*);
std::size_t embedding_backward_portable_workspace(const EmbeddingBackwardArguments&);

namespace {

void validate_forward(const EmbeddingForwardArguments& a) {
  check(a.tokens >= 0 && a.width > 0 && a.vocabulary > 0 && a.positions > 0, "embedding_forward: [tokens ", a.tokens,
        ", width ", a.width, "] out of ", a.vocabulary, " words and ", a.positions, " positions is not a shape");
}
void validate_backward(const EmbeddingBackwardArguments& a) {
  check(a.tokens >= 0 && a.width > 0, "embedding_backward: [tokens ", a.tokens, ", width ", a.width, "] is not a shape");
  check(a.d_position != nullptr || a.by_position.groups == 0 || a.tokens == 0,
        "embedding_backward: positions without a table for their gradient");
  check(a.by_id.groups <= a.tokens && a.by_position.groups <= a.tokens, "embedding_backward: ", a.tokens,
        " tokens cannot have ", a.by_id.groups, " ids and ", a.by_position.groups, " positions");
}

template <class Arguments>
double elements(const Arguments& a) {
  return static_cast<double>(a.tokens) * static_cast<double>(a.width);
}

double forward_flops(const EmbeddingForwardArguments& a) { return 2 * elements(a); }
double forward_bytes(const EmbeddingForwardArguments& a) {
  return 2 * elements(a) * static_cast<double>(size_of(a.type)) + 8.0 * static_cast<double>(a.tokens);
}
double backward_flops(const EmbeddingBackwardArguments& a) { return 3 * elements(a); }
double backward_bytes(const EmbeddingBackwardArguments& a) {
  const double touched_rows = static_cast<double>(a.by_id.groups + a.by_position.groups + 1);
  return elements(a) * static_cast<double>(size_of(a.type)) + touched_rows * static_cast<double>(a.width) * 8 +
         8.0 * static_cast<double>(a.tokens);
}

template <class Arguments>
bool not_double(const Arguments& a) {
  return a.type != DType::kFloat64;
}

}  // namespace

template <>
const Operation<EmbeddingForwardArguments>& operation<EmbeddingForwardArguments>() {
  using Arguments = EmbeddingForwardArguments;
  static const Operation<Arguments> table = {
      "embedding_forward",
      validate_forward,
      forward_flops,
      forward_bytes,
      {{"portable", Device::kCuda, kFrom80, not_double<Arguments>, nullptr, embedding_forward_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, not_double<Arguments>, nullptr, embedding_forward_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, embedding_forward_reference}}};
  return table;
}

template <>
const Operation<EmbeddingBackwardArguments>& operation<EmbeddingBackwardArguments>() {
  using Arguments = EmbeddingBackwardArguments;
  static const Operation<Arguments> table = {
      "embedding_backward",
      validate_backward,
      backward_flops,
      backward_bytes,
      {{"portable", Device::kCuda, kFrom80, not_double<Arguments>, embedding_backward_portable_workspace,
        embedding_backward_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, not_double<Arguments>, embedding_backward_cpu_workspace,
        embedding_backward_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, embedding_backward_reference}}};
  return table;
}

}  // namespace koine
