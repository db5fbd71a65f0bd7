#pragma once

// What happens to the fp32 sums of a product, as kernels/gemm/gemm.h says, eight columns of a row at a time: 16-byte loads
// and stores where C, its rows, and the groups' ends allow them.

#include "kernels/cuda/dropout.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/numeric.h"
#include "kernels/cuda/vector.h"
#include "kernels/gemm/gemm.h"

namespace koine::cuda {

struct EpilogueParams {
  int rows = 0;
  int columns = 0;
  std::int64_t stride = 0;
  void* c = nullptr;
  bool float_output = true;
  bool vector = false;  ///< every row of C, pre_activation and residual begins on a multiple of 16 bytes
  bool accumulate = false;
  GemmEpilogue epilogue = GemmEpilogue::kNone;
  const float* bias = nullptr;
  void* pre_activation = nullptr;
  const void* residual = nullptr;
  DropoutParams dropout;
};

inline EpilogueParams epilogue_params(const GemmArguments& g) {
  const bool vector =
      all_aligned(16, g.c, g.pre_activation, g.residual, static_cast<std::uintptr_t>(g.ldc) * size_of(g.output_type));
  return {.rows = static_cast<int>(g.m),
          .columns = static_cast<int>(g.n),
          .stride = g.ldc,
          .c = g.c,
          .float_output = g.output_type == DType::kFloat32,
          .vector = vector,
          .accumulate = g.accumulate,
          .epilogue = g.epilogue,
          .bias = g.bias,
          .pre_activation = g.pre_activation,
          .residual = g.residual,
          .dropout = dropout_params(g.dropout)};
}

/// Eight elements of C's type, as they are kept until they are used.
KOINE_DEVICE void load_group(float (&to)[8], const EpilogueParams& p, const void* from, std::int64_t offset, int count) {
  if (p.float_output) {
    const float* at = static_cast<const float*>(from) + offset;
    if (p.vector && count >= 8) {
      load_floats(to, at);
    } else {
      KOINE_UNROLL
      for (int i = 0; i < 8; ++i) to[i] = i < count ? at[i] : 0.0f;
    }
  } else {
    const BFloat16* at = static_cast<const BFloat16*>(from) + offset;
    if (p.vector && count >= 8) {
      load_floats(to, at);
    } else {
      KOINE_UNROLL
      for (int i = 0; i < 8; ++i) to[i] = i < count ? to_float(at[i]) : 0.0f;
    }
  }
}

KOINE_DEVICE void store_group(void* to, const EpilogueParams& p, const float (&from)[8], std::int64_t offset, int count) {
  if (p.float_output) {
    float* at = static_cast<float*>(to) + offset;
    if (p.vector && count >= 8) {
      store_floats(at, from);
    } else {
      KOINE_UNROLL
      for (int i = 0; i < 8; ++i) {
        if (i < count) at[i] = from[i];
      }
    }
  } else {
    BFloat16* at = static_cast<BFloat16*>(to) + offset;
    if (p.vector && count >= 8) {
      Pack<std::uint32_t, 4> pack;
      KOINE_UNROLL
      for (int i = 0; i < 4; ++i) pack.values[i] = pack_bfloat16(from[2 * i], from[2 * i + 1]);
      store_pack<std::uint32_t, 4>(reinterpret_cast<std::uint32_t*>(at), pack);
    } else {
      KOINE_UNROLL
      for (int i = 0; i < 8; ++i) {
        if (i < count) at[i] = to_bfloat16(from[i]);
      }
    }
  }
}

KOINE_DEVICE float rounded_as(const EpilogueParams& p, float value) {
  return p.float_output ? value : rounded<BFloat16>(value);
}

/// The bias of eight columns; zeros without one.
KOINE_DEVICE void load_bias(float (&bias)[8], const EpilogueParams& p, int column) {
  KOINE_UNROLL
  for (int i = 0; i < 8; ++i) bias[i] = p.bias != nullptr && column + i < p.columns ? p.bias[column + i] : 0.0f;
}

/// The one operand an epilogue reads, but for a residual where C is added to as well.
KOINE_DEVICE const void* epilogue_operand(const EpilogueParams& p) {
  if (p.epilogue == GemmEpilogue::kGeluGradient) return p.pre_activation;
  if (p.residual != nullptr) return p.residual;
  return p.accumulate ? p.c : nullptr;
}

/// t = dropout(t rounded to C's type) + operand, with one rounding, as layernorm makes its sum. Draws that drop nothing are
/// as active as others.
KOINE_DEVICE void drop_group(const EpilogueParams& p, const PhiloxKey& key, int row, int column, const float (&operand)[8],
                             float (&t)[8]) {
  const std::uint32_t kept =
      kept_hidden(p.dropout, key, p.dropout.examples[row], static_cast<std::uint32_t>(p.dropout.positions[row]),
                  static_cast<std::uint32_t>(column) / 8);
  KOINE_UNROLL
  for (int i = 0; i < 8; ++i) {
    t[i] = fused(rounded_as(p, t[i]), (kept >> i & 1) != 0 ? p.dropout.scale : 0.0f, operand[i]);
  }
}

/// Finishes columns [column, column + 8) of a row of C, whose sums are t. `operand` holds epilogue_operand()'s elements,
/// zeros where there is none.
KOINE_DEVICE void finish_group(const EpilogueParams& p, const PhiloxKey& key, int row, int column, const float (&bias)[8],
                               const float (&operand)[8], float (&t)[8]) {
  const std::int64_t offset = row * p.stride + column;
  const int count = p.columns - column;
  KOINE_UNROLL
  for (int i = 0; i < 8; ++i) t[i] += bias[i];
  if (p.epilogue == GemmEpilogue::kGelu) {
    KOINE_UNROLL
    for (int i = 0; i < 8; ++i) t[i] = rounded_as(p, t[i]);
    if (p.pre_activation != nullptr) store_group(p.pre_activation, p, t, offset, count);
    KOINE_UNROLL
    for (int i = 0; i < 8; ++i) t[i] = gelu_erf(t[i]);
  } else if (p.epilogue == GemmEpilogue::kGeluGradient) {
    KOINE_UNROLL
    for (int i = 0; i < 8; ++i) t[i] *= gelu_erf_gradient(operand[i]);
  } else if (p.dropout.examples != nullptr) {
    drop_group(p, key, row, column, operand, t);
  } else {
    KOINE_UNROLL
    for (int i = 0; i < 8; ++i) t[i] += operand[i];
    if (p.accumulate && p.residual != nullptr) {
      float before[8];
      load_group(before, p, p.c, offset, count);
      KOINE_UNROLL
      for (int i = 0; i < 8; ++i) t[i] += before[i];
    }
  }
  store_group(p.c, p, t, offset, count);
}

/// Finishes kCount rows, `row_of(i)` and `sums_of(i, t)` giving them; what they read is on its way for all before the first
/// is written. Rows and columns outside of C are passed over.
template <int kCount, class RowOf, class SumsOf>
KOINE_DEVICE void finish_rows(const EpilogueParams& p, const PhiloxKey& key, int column, const float (&bias)[8],
                              const RowOf& row_of, const SumsOf& sums_of) {
  const void* from = epilogue_operand(p);
  float operand[kCount][8];
  KOINE_UNROLL
  for (int i = 0; i < kCount; ++i) {
    if (from != nullptr && row_of(i) < p.rows && column < p.columns) {
      load_group(operand[i], p, from, row_of(i) * p.stride + column, p.columns - column);
    } else {
      KOINE_UNROLL
      for (int j = 0; j < 8; ++j) operand[i][j] = 0;
    }
  }
  KOINE_UNROLL
  for (int i = 0; i < kCount; ++i) {
    float t[8];
    sums_of(i, t);
    if (row_of(i) < p.rows && column < p.columns) finish_group(p, key, row_of(i), column, bias, operand[i], t);
  }
}

}  // namespace koine::cuda
