#pragma once

#include "kernels/gemm/gemm.h"
#include "kernels/random/dropout_cases.h"

namespace koine::cases {

struct GemmShape {
  std::int64_t m, n, k;
  std::int64_t gap = 0;  ///< elements between the rows of every matrix
};

enum class Transposes { kNeither, kB, kA, kBoth };

struct GemmExtras {
  bool bias = false;
  GemmEpilogue epilogue = GemmEpilogue::kNone;
  bool keep_pre_activation = false;
  bool residual = false;
  bool accumulate = false;  ///< C is fp32 then
  float dropout_rate = 0;
  std::int64_t length = 7;  ///< rows of an example, for dropout
};

inline std::string name_of(const GemmShape& shape, Transposes transposes, const GemmExtras& extras) {
  constexpr const char* kTransposes[] = {"nn", "nt", "tn", "tt"};
  constexpr const char* kEpilogues[] = {"", " gelu", " gelu_gradient"};
  return concatenate(kTransposes[static_cast<int>(transposes)], " ", shape.m, "x", shape.n, "x", shape.k,
                     shape.gap > 0 ? concatenate(" gap ", shape.gap) : "", kEpilogues[static_cast<int>(extras.epilogue)],
                     extras.bias ? " bias" : "", extras.keep_pre_activation ? " kept" : "",
                     extras.residual ? " residual" : "", extras.accumulate ? " accumulate" : "",
                     extras.dropout_rate > 0 ? " dropout" : "");
}

inline Case<GemmArguments> gemm_case(const GemmShape& shape, Transposes transposes, const GemmExtras& extras) {
  Case<GemmArguments> one(name_of(shape, transposes, extras));
  GemmArguments& g = one.arguments;
  g.m = shape.m, g.n = shape.n, g.k = shape.k;
  g.transpose_a = transposes == Transposes::kA || transposes == Transposes::kBoth;
  g.transpose_b = transposes == Transposes::kB || transposes == Transposes::kBoth;
  g.lda = (g.transpose_a ? g.m : g.k) + shape.gap;
  g.ldb = (g.transpose_b ? g.k : g.n) + shape.gap;
  g.ldc = g.n + shape.gap;
  g.accumulate = extras.accumulate, g.epilogue = extras.epilogue;
  one.set_type = [accumulate = extras.accumulate](GemmArguments& to, DType type) {
    to.input_type = type;
    to.output_type = accumulate ? DType::kFloat32 : type;
  };
  one.input("a", random((g.transpose_a ? g.k : g.m) * g.lda, 1), &GemmArguments::a);
  one.input("b", random((g.transpose_b ? g.n : g.k) * g.ldb, 2), &GemmArguments::b);
  const std::int64_t count = g.m * g.ldc;
  if (extras.accumulate) {
    one.in_out_fp32("c", random(count, 3), &GemmArguments::c);
  } else if (shape.gap > 0) {  // what stands between the rows must still be there afterwards
    one.in_out("c", random(count, 3), &GemmArguments::c);
  } else {
    one.output("c", count, &GemmArguments::c);
  }
  if (extras.bias) one.input_fp32("bias", random(g.n, 4), &GemmArguments::bias);
  if (extras.epilogue == GemmEpilogue::kGeluGradient) {
    one.input("pre_activation", random(count, 5), &GemmArguments::pre_activation);
  } else if (extras.keep_pre_activation) {
    one.in_out("pre_activation", random(count, 5), &GemmArguments::pre_activation);
  }
  if (extras.residual) one.input("residual", random(count, 6), &GemmArguments::residual);
  g.dropout = row_dropout(one, g.m, extras.dropout_rate, extras.length);
  return one;
}

}  // namespace koine::cases
