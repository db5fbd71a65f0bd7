// cuBLASLt's products, to compare ours with: plain ones, and those with a bias, a residual or accumulation that it does in
// the same kernel. Its GELU is the tanh one, and it takes an fp32 bias with fp32 outputs only.
//
// cuBLASLt counts columns first, so it is asked for the transpose: C^T = op(B)^T op(A)^T, n x m.
//
// The algorithm is the first its heuristic names for the shape, the types and the alignments, found once per device. Parts
// of the depth are added in the workspace, never by atomic operations in C: repeated runs give the same bits. The number of
// parts may depend on m.

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

#include "kernels/gemm/gemm.h"

namespace koine {
namespace {

constexpr std::size_t kWorkspaceBytes = 32 << 20;

void check_status(cublasStatus_t status, const char* call) {
  check(status == CUBLAS_STATUS_SUCCESS, "gemm:vendor: ", call, " says ", cublasLtGetStatusString(status));
}

template <class T, cublasStatus_t (*kDestroy)(T)>
struct Destroy {
  void operator()(T object) const { kDestroy(object); }
};
template <class T, cublasStatus_t (*kDestroy)(T)>
using Owned = std::unique_ptr<std::remove_pointer_t<T>, Destroy<T, kDestroy>>;

using Description = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Layout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

cudaDataType_t type_of(DType type) { return type == DType::kFloat32 ? CUDA_R_32F : CUDA_R_16BF; }

Layout make_layout(DType type, std::int64_t rows, std::int64_t columns, std::int64_t stride) {
  cublasLtMatrixLayout_t layout = nullptr;
  check_status(cublasLtMatrixLayoutCreate(&layout, type_of(type), static_cast<std::uint64_t>(rows),
                                          static_cast<std::uint64_t>(columns), stride),
               "cublasLtMatrixLayoutCreate");
  return Layout(layout);
}

template <class Value>
void set(const Description& description, cublasLtMatmulDescAttributes_t attribute, const Value& value) {
  check_status(cublasLtMatmulDescSetAttribute(description.get(), attribute, &value, sizeof value),
               "cublasLtMatmulDescSetAttribute");
}
template <class Value>
void set(const Preference& preference, cublasLtMatmulPreferenceAttributes_t attribute, const Value& value) {
  check_status(cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof value),
               "cublasLtMatmulPreferenceSetAttribute");
}

/// What C is added to, with factor 1; null: nothing, factor 0.
const void* added_to(const GemmArguments& g) { return g.accumulate ? g.c : g.residual; }

/// A product in cuBLASLt's words; its A is our B.
struct Product {
  Description description;
  Layout a, b, c;

  explicit Product(const GemmArguments& g)
      : a(g.transpose_b ? make_layout(g.input_type, g.k, g.n, g.ldb) : make_layout(g.input_type, g.n, g.k, g.ldb)),
        b(g.transpose_a ? make_layout(g.input_type, g.m, g.k, g.lda) : make_layout(g.input_type, g.k, g.m, g.lda)),
        c(make_layout(g.output_type, g.n, g.m, g.ldc)) {
    cublasLtMatmulDesc_t made = nullptr;
    check_status(cublasLtMatmulDescCreate(&made, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
    description.reset(made);
    set(description, CUBLASLT_MATMUL_DESC_TRANSA, g.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(description, CUBLASLT_MATMUL_DESC_TRANSB, g.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (g.bias == nullptr) return;
    set(description, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(description, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, CUDA_R_32F);
    set(description, CUBLASLT_MATMUL_DESC_BIAS_POINTER, g.bias);
  }
};

/// The largest power of two up to 256 that divides an address.
std::uint32_t alignment_of(const void* address) {
  const auto number = reinterpret_cast<std::uintptr_t>(address) | 256u;
  return static_cast<std::uint32_t>(number & -number);
}

struct Alignments {
  std::uint32_t a, b, c, d;
};
Alignments alignments_of(const GemmArguments& g) {
  const void* const added = added_to(g);
  return {alignment_of(g.b), alignment_of(g.a), alignment_of(added == nullptr ? g.c : added), alignment_of(g.c)};
}

cublasLtMatmulAlgo_t find_algorithm(cublasLtHandle_t handle, const GemmArguments& g, const Product& product) {
  cublasLtMatmulPreference_t made = nullptr;
  check_status(cublasLtMatmulPreferenceCreate(&made), "cublasLtMatmulPreferenceCreate");
  const Preference preference(made);
  const Alignments alignments = alignments_of(g);
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{kWorkspaceBytes});
  set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignments.a);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignments.b);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignments.c);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignments.d);
  cublasLtMatmulHeuristicResult_t result = {};
  int found = 0;
  check_status(cublasLtMatmulAlgoGetHeuristic(handle, product.description.get(), product.a.get(), product.b.get(),
                                              product.c.get(), product.c.get(), preference.get(), 1, &result, &found),
               "cublasLtMatmulAlgoGetHeuristic");
  check(found > 0 && result.state == CUBLAS_STATUS_SUCCESS, "gemm:vendor: cuBLASLt has no algorithm for m ", g.m, ", n ",
        g.n, ", k ", g.k, ", ", name_of(g.input_type), " -> ", name_of(g.output_type));
  return result.algo;
}

using Key = std::array<std::int64_t, 14>;
Key key_of(int device, const GemmArguments& g) {
  const Alignments alignments = alignments_of(g);
  const int flags = (g.transpose_a ? 1 : 0) | (g.transpose_b ? 2 : 0) | (g.bias != nullptr ? 4 : 0) |
                    (g.accumulate ? 8 : 0) | (g.residual != nullptr ? 16 : 0);
  return {device,
          g.m,
          g.n,
          g.k,
          g.lda,
          g.ldb,
          g.ldc,
          static_cast<int>(g.input_type),
          static_cast<int>(g.output_type),
          flags,
          alignments.a,
          alignments.b,
          alignments.c,
          alignments.d};
}

/// Handles by device and algorithms by product, for all threads. They live as long as the process: the driver may be gone
/// when static objects are destroyed.
class Library {
 public:
  static Library& instance() {
    static Library* const library = new Library;
    return *library;
  }
  cublasLtHandle_t handle(int device) {
    const std::lock_guard lock(mutex_);
    cublasLtHandle_t& handle = handles_[device];
    if (handle == nullptr) create(handle);
    return handle;
  }
  cublasLtMatmulAlgo_t algorithm(int device, cublasLtHandle_t handle, const GemmArguments& g, const Product& product) {
    const Key key = key_of(device, g);
    const std::lock_guard lock(mutex_);
    const auto found = algorithms_.find(key);
    if (found != algorithms_.end()) return found->second;
    return algorithms_.emplace(key, find_algorithm(handle, g, product)).first->second;
  }

 private:
  // What making a handle does is no part of a recording that may be under way in this thread.
  static void create(cublasLtHandle_t& handle) {
    cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    cudaThreadExchangeStreamCaptureMode(&mode);
    const cublasStatus_t status = cublasLtCreate(&handle);
    cudaThreadExchangeStreamCaptureMode(&mode);
    check_status(status, "cublasLtCreate");
  }
  std::mutex mutex_;
  std::map<int, cublasLtHandle_t> handles_;
  std::map<Key, cublasLtMatmulAlgo_t> algorithms_;
};

}  // namespace

bool gemm_vendor_supports(const GemmArguments& g) {
  const bool types = g.input_type != DType::kFloat64 && g.output_type != DType::kFloat64;
  const bool plain = g.epilogue == GemmEpilogue::kNone && !g.dropout.active() && !(g.accumulate && g.residual != nullptr);
  return types && plain && g.k > 0 && (g.bias == nullptr || g.output_type == DType::kFloat32);
}

std::size_t gemm_vendor_workspace(const GemmArguments&) { return kWorkspaceBytes; }

void gemm_vendor(const Context& context, const GemmArguments& g, void* workspace) {
  if (g.m == 0 || g.n == 0) return;
  int device = 0;
  check(cudaGetDevice(&device) == cudaSuccess, "gemm:vendor: no CUDA device");
  const cublasLtHandle_t handle = Library::instance().handle(device);
  const Product product(g);
  const cublasLtMatmulAlgo_t algorithm = Library::instance().algorithm(device, handle, g, product);
  const void* const added = added_to(g);
  const float one = 1;
  const float factor = added == nullptr ? 0.0f : 1.0f;
  check_status(cublasLtMatmul(handle, product.description.get(), &one, g.b, product.a.get(), g.a, product.b.get(), &factor,
                              added == nullptr ? g.c : added, product.c.get(), g.c, product.c.get(), &algorithm, workspace,
                              kWorkspaceBytes, static_cast<cudaStream_t>(context.stream)),
               "cublasLtMatmul");
}

}  // namespace koine
