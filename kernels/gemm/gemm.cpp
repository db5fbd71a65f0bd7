#include "kernels/gemm/gemm.h"

#include <algorithm>
#include <bit>
#include <string>

#include "kernels/gemm/gemm_packed.h"
#include "kernels/gemm/gemm_portable.h"
#include "kernels/gemm/gemm_sm90.h"

namespace koine {

void gemm_reference(const Context& context, const GemmArguments& arguments, void* workspace);

#if defined(KOINE_HAVE_CUDA)
bool gemm_vendor_supports(const GemmArguments& arguments);
std::size_t gemm_vendor_workspace(const GemmArguments& arguments);
void gemm_vendor(const Context& context, const GemmArguments& arguments, void* workspace);
#endif
#if defined(KOINE_HAVE_ONEDNN)
bool gemm_onednn_supports(const GemmArguments& arguments);
std::size_t gemm_onednn_workspace(const GemmArguments& arguments);
void gemm_onednn(const Context& context, const GemmArguments& arguments, void* workspace);
#endif

namespace {

// What the message of every failed check ends with.
std::string shape_of(const GemmArguments& g) {
  return concatenate("m ", g.m, ", n ", g.n, ", k ", g.k, ", lda ", g.lda, g.transpose_a ? " transposed" : "", ", ldb ",
                     g.ldb, g.transpose_b ? " transposed" : "", ", ldc ", g.ldc, ", ", name_of(g.input_type), " -> ",
                     name_of(g.output_type));
}

void check_types(const GemmArguments& g) {
  // fp64 inputs with an fp32 output are what a check by finite differences of a weight gradient needs.
  const bool fits = g.output_type == g.input_type || (g.input_type != DType::kFloat32 && g.output_type == DType::kFloat32);
  check(fits, "gemm: no product of these types: ", shape_of(g));
  check(!g.accumulate || g.output_type != DType::kBFloat16, "gemm: sums accumulate in fp32 only: ", shape_of(g));
}

void check_epilogue(const GemmArguments& g) {
  const bool plain = g.epilogue == GemmEpilogue::kNone;
  check(plain || !g.accumulate, "gemm: accumulate goes with no activation: ", shape_of(g));
  check(plain || g.residual == nullptr, "gemm: residual goes with no activation: ", shape_of(g));
  check(!plain || g.pre_activation == nullptr, "gemm: pre_activation is given and there is no activation: ", shape_of(g));
  check(g.epilogue != GemmEpilogue::kGeluGradient || g.pre_activation != nullptr || g.m == 0 || g.n == 0,
        "gemm: the GELU gradient needs pre_activation: ", shape_of(g));
  check(!g.dropout.active() || (plain && !g.accumulate),
        "gemm: dropout goes with no activation and no accumulate: ", shape_of(g));
  check(!g.dropout.active() || g.m == 0 || (g.dropout.examples != nullptr && g.dropout.positions != nullptr),
        "gemm: dropout needs the rows' examples and positions: ", shape_of(g));
}

void validate(const GemmArguments& g) {
  check(g.m >= 0 && g.n >= 0 && g.k >= 0, "gemm: negative size: ", shape_of(g));
  const bool empty = g.m == 0 || g.n == 0;
  check(g.lda >= (g.transpose_a ? g.m : g.k), "gemm: lda is shorter than a row of A: ", shape_of(g));
  check(g.ldb >= (g.transpose_b ? g.k : g.n), "gemm: ldb is shorter than a row of B: ", shape_of(g));
  check(g.ldc >= g.n, "gemm: ldc is shorter than a row of C: ", shape_of(g));
  check(empty || g.c != nullptr, "gemm: C is null: ", shape_of(g));
  check(empty || g.k == 0 || (g.a != nullptr && g.b != nullptr), "gemm: A or B is null: ", shape_of(g));
  check_types(g);
  check_epilogue(g);
}

double flops(const GemmArguments& g) {
  return 2.0 * static_cast<double>(g.m) * static_cast<double>(g.n) * static_cast<double>(g.k);
}

double bytes(const GemmArguments& g) {
  const auto m = static_cast<double>(g.m), n = static_cast<double>(g.n), k = static_cast<double>(g.k);
  const int outputs = 1 + (g.accumulate ? 1 : 0) + (g.pre_activation != nullptr ? 1 : 0) + (g.residual != nullptr ? 1 : 0);
  return (m * k + k * n) * static_cast<double>(size_of(g.input_type)) +
         outputs * m * n * static_cast<double>(size_of(g.output_type)) + (g.bias != nullptr ? n * sizeof(float) : 0.0);
}

/// What the speed of a product depends on: layouts, extents rounded up to powers of two (their logarithms), types, epilogue,
/// and what is read besides; each in so many bits of the key, the first in the highest.
enum KeyField { kTransposeA, kTransposeB, kM, kN, kK, kInput, kOutput, kEpilogue, kBias, kResidual, kDropout, kAccumulate };
constexpr std::array<int, 12> kKeyBits = {1, 1, 6, 6, 6, 2, 2, 2, 1, 1, 1, 1};

std::uint64_t tuning_key(const GemmArguments& g) {
  const auto logarithm = [](std::int64_t extent) {
    return std::uint64_t(std::countr_zero(std::bit_ceil(static_cast<std::uint64_t>(extent))));
  };
  const std::array<std::uint64_t, kKeyBits.size()> fields = {g.transpose_a,
                                                             g.transpose_b,
                                                             logarithm(g.m),
                                                             logarithm(g.n),
                                                             logarithm(g.k),
                                                             static_cast<std::uint64_t>(g.input_type),
                                                             static_cast<std::uint64_t>(g.output_type),
                                                             static_cast<std::uint64_t>(g.epilogue),
                                                             g.bias != nullptr,
                                                             g.residual != nullptr,
                                                             g.dropout.active(),
                                                             g.accumulate};
  std::uint64_t key = 0;
  for (std::size_t i = 0; i < fields.size(); ++i) key = key << kKeyBits[i] | fields[i];
  return key;
}

std::string tuning_text(std::uint64_t key) {
  std::array<std::uint64_t, kKeyBits.size()> fields = {};
  for (std::size_t i = fields.size(); i-- > 0; key >>= kKeyBits[i]) fields[i] = key & ((1u << kKeyBits[i]) - 1);
  const auto extent = [&](KeyField field) { return std::uint64_t{1} << fields[field]; };
  const auto type = [&](KeyField field) { return name_of(static_cast<DType>(fields[field])); };
  constexpr const char* kEpilogues[] = {"", " gelu", " gelu gradient", " ?"};
  return concatenate(fields[kTransposeA] != 0 ? "t" : "n", fields[kTransposeB] != 0 ? "t" : "n", " ", extent(kM), "x",
                     extent(kN), "x", extent(kK), " ", type(kInput), " to ", type(kOutput), kEpilogues[fields[kEpilogue]],
                     fields[kBias] != 0 ? " bias" : "", fields[kResidual] != 0 ? " residual" : "",
                     fields[kDropout] != 0 ? " dropout" : "", fields[kAccumulate] != 0 ? " accumulate" : "");
}

Operation<GemmArguments> make_operation() {
  Operation<GemmArguments> table;
  table.name = "gemm";
  table.validate = validate;
  table.flops = flops;
  table.bytes = bytes;
  table.tuning_key = tuning_key;
  table.tuning_text = tuning_text;
  table.variants.push_back(
      {"portable", Device::kCuda, kFrom80, gemm_portable_supports, gemm_portable_workspace, gemm_portable});
#if defined(KOINE_HAVE_SM90)
  // Behind the portable one until a device has measured it: the tuning table or KOINE_FORCE=gemm:sm90 picks it.
  table.variants.push_back({"sm90", Device::kCuda, kOnly90, gemm_sm90_supports, nullptr, gemm_sm90});
#endif
#if defined(KOINE_HAVE_CUDA)
  table.variants.push_back({"vendor", Device::kCuda, kFrom80, gemm_vendor_supports, gemm_vendor_workspace, gemm_vendor});
#endif
#if defined(KOINE_HAVE_ONEDNN)
  table.variants.push_back(
      {"onednn", Device::kCpu, kAnyArchitecture, gemm_onednn_supports, gemm_onednn_workspace, gemm_onednn});
#endif
  table.variants.push_back(
      {"packed", Device::kCpu, kAnyArchitecture, gemm_packed_supports, gemm_packed_workspace, gemm_packed});
  table.variants.push_back({kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, gemm_reference});
  return table;
}

}  // namespace

template <>
const Operation<GemmArguments>& operation<GemmArguments>() {
  static const Operation<GemmArguments> table = make_operation();
  return table;
}

}  // namespace koine
