// cuDNN's attention, to compare ours with: plain self-attention of packed batches in bf16 without dropout, head sizes that
// are multiples of 8 up to 128, all operands on multiples of 16 bytes; forward from capability 8.0 on, backward from 9.0.
// Never preferred to `portable` unless the tuning table says so.
//
// This file was compiled and linked, and cuDNN 9.19 made its plans for descriptions of an A100 and of an H200; none has ever
// run. Results, layouts in memory, recording and speed are unproved until the operation suite passes on a device.
//
// cuDNN recognises attention in a graph of matrix products, pointwise operations and reductions, if they are exactly those
// of its own frontend (NVIDIA/cudnn-frontend, node/scaled_dot_product_flash_attention.h); the graphs below are those. The
// single descriptors of attention (CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR and _BWD_) are not used: the frontend hands
// packed batches to the graphs, and knows no use of the one for backward.
//
// To cuDNN a packed tensor is [sequences, heads, maximum length, head size] with the strides of a token and a head, and a
// tensor of offsets at which each sequence starts (attention_vendor_offsets.cu writes those before each call). So operands
// stay where they are, thirds of a fused product included; and its statistics, [sequences, heads, maximum length, 1] with
// offsets, are our log_sum_exp [tokens, heads] with no conversion.
//
// Backward is what the frontend calls the deterministic algorithm: dQ is a product of dS, written once, and not a sum of
// atomic operations. For that cuDNN keeps dS of the whole batch in its workspace, 2 * sequences * heads * maximum_length^2
// bytes: 200 MB for 32 sequences of 512 and 12 heads. Its other algorithm, which needs next to nothing, is not offered; nor
// is backward on older devices, where it has no ordered one for packed batches.
//
// A plan is made at the first call for a shape (sequences, maximum length rounded up to 64, heads, head size, strides) and
// kept; cuDNN compiles kernels for it, with libnvrtc, and takes memory outside the workspace for them. Later calls make
// nothing and wait for nothing, so that they can be recorded; the first should not be a recorded one. A plan knows its
// workspace only when it is made, which takes a device; workspace_bytes() is a formula (Layout::plan_bytes), and each launch
// checks that it was enough.

#include <cuda_runtime_api.h>
#include <cudnn_graph.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/cuda/launch.h"

namespace koine {

// attention_vendor_offsets.cu
void attention_vendor_offsets(const Context& context, const AttentionShape& shape, std::int32_t* lengths,
                              std::int64_t* qkv_offsets, std::int64_t* output_offsets, std::int64_t* statistics_offsets);

namespace {

// --- cuDNN's calls --------------------------------------------------------------------------------------------------------

/// What a plan is made for.
struct Problem {
  bool backward = false;
  std::int64_t sequences = 0;
  std::int64_t length = 0;  ///< the longest, rounded up
  std::int64_t heads = 0;
  std::int64_t head_size = 0;
  std::int64_t qkv_stride = 0;
  std::int64_t output_stride = 0;
};

using Key = std::array<std::int64_t, 8>;
Key key_of(int device, const Problem& p) {
  return {device, p.backward ? 1 : 0, p.sequences, p.length, p.heads, p.head_size, p.qkv_stride, p.output_stride};
}

std::string describe(const Problem& problem) {
  return concatenate("attention_", problem.backward ? "backward" : "forward", ":vendor of ", problem.sequences,
                     " sequences of at most ", problem.length, ", ", problem.heads, " heads of ", problem.head_size,
                     ", strides ", problem.qkv_stride, " and ", problem.output_stride);
}

std::string last_error() {
  std::array<char, 4096> text = {};
  cudnnGetLastErrorString(text.data(), text.size());
  return text.data();
}

void check_status(cudnnStatus_t status, const char* call, const Problem& problem) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  throw Error(concatenate(describe(problem), ": ", call, " says ", cudnnGetErrorString(status), ": ", last_error()));
}

struct DestroyDescriptor {
  void operator()(cudnnBackendDescriptor_t descriptor) const { cudnnBackendDestroyDescriptor(descriptor); }
};
using Descriptor = std::unique_ptr<void, DestroyDescriptor>;
static_assert(std::is_same_v<cudnnBackendDescriptor_t, void*>);

/// A handle to what the graph or the plan owns.
using Reference = cudnnBackendDescriptor_t;

/// Makes descriptors and keeps them.
class Descriptors {
 public:
  explicit Descriptors(const Problem& problem) : problem_(problem) {}

  const Problem& problem() const { return problem_; }

  Reference create(cudnnBackendDescriptorType_t type) {
    cudnnBackendDescriptor_t made = nullptr;
    check_status(cudnnBackendCreateDescriptor(type, &made), "cudnnBackendCreateDescriptor", problem_);
    kept_.emplace_back(made);
    return made;
  }
  template <class Value>
  void set(Reference descriptor, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
           const std::vector<Value>& values) const {
    static_assert(!std::is_same_v<Value, bool>);
    check_status(cudnnBackendSetAttribute(descriptor, name, type, static_cast<std::int64_t>(values.size()), values.data()),
                 concatenate("cudnnBackendSetAttribute of ", static_cast<int>(name)).c_str(), problem_);
  }
  template <class Value>
  void set_one(Reference descriptor, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
               const Value& value) const {
    check_status(cudnnBackendSetAttribute(descriptor, name, type, 1, &value),
                 concatenate("cudnnBackendSetAttribute of ", static_cast<int>(name)).c_str(), problem_);
  }
  void set_descriptor(Reference descriptor, cudnnBackendAttributeName_t name, Reference value) const {
    set_one(descriptor, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, value);
  }
  void finalize(Reference descriptor, const char* what) const {
    check_status(cudnnBackendFinalize(descriptor), concatenate("cudnnBackendFinalize of ", what).c_str(), problem_);
  }

 private:
  Problem problem_;
  std::vector<Descriptor> kept_;
};

// --- tensors and operations -----------------------------------------------------------------------------------------------

/// What the tensors are called when pointers are given to a plan.
enum Name : std::int64_t {
  kQuery = 1,
  kKey,
  kValue,
  kOutput,
  kStatistics,
  kDOutput,
  kDQuery,
  kDKey,
  kDValue,
  kCorrection,  // D_i of attention.h
  kScale,
  kMinusInfinity,
  kOne,
  kQueryLengths,
  kKeyLengths,
  kQueryOffsets,
  kKeyOffsets,
  kValueOffsets,
  kOutputOffsets,
  kStatisticsOffsets,
  kFirstVirtual = 100
};

using Four = std::array<std::int64_t, 4>;

struct Tensor {
  Reference descriptor = nullptr;
  Four extents = {};
  Four strides = {};
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
};

/// How many rows, columns and terms of the sum count in each sequence; empty: all.
struct Counts {
  Tensor rows = {}, columns = {}, terms = {};
};

/// A graph of operations over tensors of four dimensions.
class Graph {
 public:
  explicit Graph(Descriptors& made) : made_(made) {}

  /// A tensor in memory; `offsets`: [sequences + 1] where its sequences start, or none.
  Tensor in_memory(Name name, cudnnDataType_t type, const Four& extents, const Four& strides, const Tensor& offsets = {}) {
    return make(name, type, extents, strides, false, false, offsets.descriptor);
  }
  /// A number given from the host's memory.
  Tensor number(Name name) { return make(name, CUDNN_DATA_FLOAT, {1, 1, 1, 1}, {1, 1, 1, 1}, false, true, nullptr); }
  /// A tensor of which only the plan knows.
  Tensor inside(const Four& extents, const Four& strides, cudnnDataType_t type = CUDNN_DATA_FLOAT,
                const Tensor& offsets = {}) {
    return make(next_virtual_++, type, extents, strides, true, false, offsets.descriptor);
  }

  void matmul(const Tensor& a, const Tensor& b, const Tensor& c, const Counts& counts) {
    const Reference product = made_.create(CUDNN_BACKEND_MATMUL_DESCRIPTOR);
    made_.set_one(product, CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
    made_.finalize(product, "a matmul");
    const Reference operation = made_.create(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
    made_.set_descriptor(operation, CUDNN_ATTR_OPERATION_MATMUL_ADESC, a.descriptor);
    made_.set_descriptor(operation, CUDNN_ATTR_OPERATION_MATMUL_BDESC, b.descriptor);
    made_.set_descriptor(operation, CUDNN_ATTR_OPERATION_MATMUL_CDESC, c.descriptor);
    made_.set_descriptor(operation, CUDNN_ATTR_OPERATION_MATMUL_DESC, product);
    set_if(operation, CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC, counts.rows);
    set_if(operation, CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC, counts.columns);
    set_if(operation, CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC, counts.terms);
    add(operation, "the operation of a matmul");
  }

  /// y = mode(x, b, t); b and t where the mode has them.
  void pointwise_into(const Tensor& y, cudnnPointwiseMode_t mode, const Tensor& x, const Tensor& b = {},
                      const Tensor& t = {}, std::int64_t axis = -1) {
    const cudnnDataType_t computed = y.type == CUDNN_DATA_BFLOAT16 ? CUDNN_DATA_FLOAT : y.type;
    const Reference function = made_.create(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    made_.set_one(function, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, mode);
    made_.set_one(function, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, computed);
    if (axis >= 0) made_.set_one(function, CUDNN_ATTR_POINTWISE_AXIS, CUDNN_TYPE_INT64, axis);
    made_.finalize(function, "a pointwise function");
    const Reference operation = made_.create(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    made_.set_descriptor(operation, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, function);
    made_.set_descriptor(operation, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x.descriptor);
    made_.set_descriptor(operation, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y.descriptor);
    set_if(operation, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
    set_if(operation, CUDNN_ATTR_OPERATION_POINTWISE_TDESC, t);
    add(operation, "a pointwise operation");
  }
  /// The same into a tensor inside the plan, with the extents of x.
  Tensor pointwise(cudnnPointwiseMode_t mode, const Tensor& x, const Tensor& b = {}, const Tensor& t = {}) {
    const Tensor y = inside(x.extents, x.strides);
    pointwise_into(y, mode, x, b, t);
    return y;
  }

  void reduce(cudnnReduceTensorOp_t mode, const Tensor& y, const Tensor& x) {
    const Reference function = made_.create(CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
    made_.set_one(function, CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
    made_.set_one(function, CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, mode);
    made_.finalize(function, "a reduction");
    const Reference operation = made_.create(CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
    made_.set_descriptor(operation, CUDNN_ATTR_OPERATION_REDUCTION_DESC, function);
    made_.set_descriptor(operation, CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x.descriptor);
    made_.set_descriptor(operation, CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y.descriptor);
    add(operation, "the operation of a reduction");
  }

  /// y is another view of x.
  void reshape(const Tensor& y, const Tensor& x) {
    const Reference operation = made_.create(CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
    made_.set_descriptor(operation, CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x.descriptor);
    made_.set_descriptor(operation, CUDNN_ATTR_OPERATION_RESHAPE_YDESC, y.descriptor);
    add(operation, "a reshape");
  }

  Reference finalize(cudnnHandle_t handle) {
    const Reference graph = made_.create(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    made_.set(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, operations_);
    made_.set_one(graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, handle);
    made_.finalize(graph, "the graph");
    return graph;
  }

 private:
  Tensor make(std::int64_t name, cudnnDataType_t type, const Four& extents, const Four& strides, bool is_virtual,
              bool by_value, Reference offsets) {
    constexpr std::int64_t kAlignment = 16;
    const Reference tensor = made_.create(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    made_.set_one(tensor, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, type);
    made_.set(tensor, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, std::vector(extents.begin(), extents.end()));
    made_.set(tensor, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, std::vector(strides.begin(), strides.end()));
    made_.set_one(tensor, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, name);
    made_.set_one(tensor, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, kAlignment);
    if (is_virtual) made_.set_one(tensor, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, is_virtual);
    if (by_value) made_.set_one(tensor, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, by_value);
    if (offsets != nullptr) made_.set_descriptor(tensor, CUDNN_ATTR_TENSOR_RAGGED_OFFSET_DESC, offsets);
    made_.finalize(tensor, "a tensor");
    return {tensor, extents, strides, type};
  }
  void set_if(Reference operation, cudnnBackendAttributeName_t name, const Tensor& tensor) const {
    if (tensor.descriptor != nullptr) made_.set_descriptor(operation, name, tensor.descriptor);
  }
  void add(Reference operation, const char* what) {
    made_.finalize(operation, what);
    operations_.push_back(operation);
  }

  Descriptors& made_;
  std::vector<Reference> operations_;
  std::int64_t next_virtual_ = kFirstVirtual;
};

// --- the two graphs -------------------------------------------------------------------------------------------------------

Four transposed(const Four& four) { return {four[0], four[1], four[3], four[2]}; }

/// What both graphs have in common: operands, and scores with what lies behind a sequence's end at minus infinity.
class Attention {
 public:
  Attention(Graph& graph, const Problem& p)
      : graph_(graph),
        rows_{p.sequences, p.heads, p.length, p.head_size},
        qkv_strides_{p.length * p.qkv_stride, p.head_size, p.qkv_stride, 1},
        output_strides_{p.length * p.output_stride, p.head_size, p.output_stride, 1},
        scores_{p.sequences, p.heads, p.length, p.length},
        score_strides_{p.heads * p.length * p.length, p.length * p.length, p.length, 1},
        row_statistics_{p.sequences, p.heads, p.length, 1},
        dense_statistics_strides_{p.heads * p.length, p.length, 1, 1},
        packed_statistics_strides_{p.length * p.heads, 1, p.heads, 1} {
    query_lengths_ = lengths(kQueryLengths);
    key_lengths_ = lengths(kKeyLengths);
    query_offsets_ = offsets(kQueryOffsets);
    key_offsets_ = offsets(kKeyOffsets);
    value_offsets_ = offsets(kValueOffsets);
    output_offsets_ = offsets(kOutputOffsets);
    statistics_offsets_ = offsets(kStatisticsOffsets);
    scale_ = graph.number(kScale);
  }

  void build_forward() {
    const Tensor query = qkv(kQuery, query_offsets_);
    const Tensor value = qkv(kValue, value_offsets_);
    const Tensor output = graph_.in_memory(kOutput, kElement, rows_, output_strides_, output_offsets_);
    const Tensor score = masked_scores(query, transposed_qkv(kKey, key_offsets_));

    const Tensor maximum = row_statistics();
    graph_.reduce(CUDNN_REDUCE_TENSOR_MAX, maximum, score);
    const Tensor weight = graph_.pointwise(CUDNN_POINTWISE_EXP, graph_.pointwise(CUDNN_POINTWISE_SUB, score, maximum));
    const Tensor sum = row_statistics();
    graph_.reduce(CUDNN_REDUCE_TENSOR_ADD, sum, weight);
    const Tensor log_of_sum = graph_.pointwise(CUDNN_POINTWISE_LOG, sum);
    graph_.pointwise_into(packed_statistics(kStatistics), CUDNN_POINTWISE_ADD, maximum, log_of_sum);
    const Tensor probability = graph_.inside(scores_, score_strides_, kElement);
    graph_.pointwise_into(probability, CUDNN_POINTWISE_DIV, weight, sum);
    graph_.matmul(probability, value, output, {.rows = query_lengths_, .terms = key_lengths_});
  }

  void build_backward() {
    const Tensor query = qkv(kQuery, query_offsets_);
    const Tensor key = transposed_qkv(kKey, key_offsets_);
    const Tensor value = transposed_qkv(kValue, value_offsets_);
    const Tensor output = graph_.in_memory(kOutput, kElement, rows_, output_strides_, output_offsets_);
    const Tensor d_output = graph_.in_memory(kDOutput, kElement, rows_, output_strides_, output_offsets_);
    const Tensor correction = make_correction(output, d_output);

    const Tensor shifted = graph_.pointwise(CUDNN_POINTWISE_SUB, masked_scores(query, key), packed_statistics(kStatistics));
    const Tensor probability = graph_.pointwise(CUDNN_POINTWISE_EXP, shifted);
    graph_.matmul(transpose_scores(probability), d_output, qkv(kDValue, value_offsets_),
                  {.rows = key_lengths_, .terms = query_lengths_});

    const Tensor d_probability = graph_.inside(scores_, score_strides_);
    graph_.matmul(d_output, value, d_probability, {.rows = query_lengths_, .columns = key_lengths_});
    const Tensor centred = graph_.pointwise(CUDNN_POINTWISE_SUB, d_probability, correction);
    const Tensor d_score = graph_.pointwise(CUDNN_POINTWISE_MUL, centred, probability);
    const Tensor scaled = graph_.pointwise(CUDNN_POINTWISE_MUL, d_score, scale_);
    graph_.matmul(transpose_scores(scaled), query, qkv(kDKey, key_offsets_),
                  {.rows = key_lengths_, .terms = query_lengths_});

    const Tensor key_rows = graph_.inside(rows_, qkv_strides_, kElement, key_offsets_);
    graph_.reshape(key_rows, key);
    graph_.matmul(scaled, key_rows, qkv(kDQuery, query_offsets_), {.rows = query_lengths_, .terms = key_lengths_});
  }

 private:
  static constexpr cudnnDataType_t kElement = CUDNN_DATA_BFLOAT16;

  Tensor lengths(Name name) { return graph_.in_memory(name, CUDNN_DATA_INT32, {rows_[0], 1, 1, 1}, {1, 1, 1, 1}); }
  Tensor offsets(Name name) { return graph_.in_memory(name, CUDNN_DATA_INT64, {rows_[0] + 1, 1, 1, 1}, {1, 1, 1, 1}); }
  Tensor qkv(Name name, const Tensor& offsets) { return graph_.in_memory(name, kElement, rows_, qkv_strides_, offsets); }
  Tensor transposed_qkv(Name name, const Tensor& offsets) {
    return graph_.in_memory(name, kElement, transposed(rows_), transposed(qkv_strides_), offsets);
  }
  Tensor row_statistics() { return graph_.inside(row_statistics_, dense_statistics_strides_); }
  Tensor packed_statistics(Name name) {
    return graph_.in_memory(name, CUDNN_DATA_FLOAT, row_statistics_, packed_statistics_strides_, statistics_offsets_);
  }
  Tensor transpose_scores(const Tensor& score) {
    const Tensor turned = graph_.inside(transposed(scores_), transposed(score_strides_), kElement);
    graph_.reshape(turned, score);
    return turned;
  }

  Tensor masked_scores(const Tensor& query, const Tensor& key) {
    const Tensor product = graph_.inside(scores_, score_strides_);
    graph_.matmul(query, key, product, {.rows = query_lengths_, .columns = key_lengths_});
    const Tensor score = graph_.pointwise(CUDNN_POINTWISE_MUL, product, scale_);
    const Tensor row = index_of(score, 2);
    const Tensor column = index_of(score, 3);
    const Tensor row_counts = both(CUDNN_POINTWISE_CMP_LT, row, query_lengths_);
    const Tensor column_counts = both(CUDNN_POINTWISE_CMP_LT, column, key_lengths_);
    const Tensor counts = both(CUDNN_POINTWISE_LOGICAL_AND, row_counts, column_counts);
    return graph_.pointwise(CUDNN_POINTWISE_BINARY_SELECT, score, graph_.number(kMinusInfinity), counts);
  }
  Tensor index_of(const Tensor& score, std::int64_t axis) {
    const Tensor index = graph_.inside(scores_, score_strides_, CUDNN_DATA_INT32);
    graph_.pointwise_into(index, CUDNN_POINTWISE_GEN_INDEX, score, {}, {}, axis);
    return index;
  }
  Tensor both(cudnnPointwiseMode_t mode, const Tensor& left, const Tensor& right) {
    const Tensor holds = graph_.inside(scores_, score_strides_, CUDNN_DATA_BOOLEAN);
    graph_.pointwise_into(holds, mode, left, right);
    return holds;
  }

  /// D_i, which the graph's parts hand to each other in memory.
  Tensor make_correction(const Tensor& output, const Tensor& d_output) {
    const std::int64_t heads = rows_[1], length = rows_[2], head_size = rows_[3];
    const Tensor product = graph_.inside(rows_, {heads * length * head_size, length * head_size, heads * head_size, 1});
    graph_.pointwise_into(product, CUDNN_POINTWISE_MUL, d_output, output);
    const Tensor sum = row_statistics();
    graph_.reduce(CUDNN_REDUCE_TENSOR_ADD, sum, product);
    // cuDNN's own frontend packs it only for such heads.
    const Tensor correction =
        head_size % 16 == 0 ? packed_statistics(kCorrection)
                            : graph_.in_memory(kCorrection, CUDNN_DATA_FLOAT, row_statistics_, dense_statistics_strides_);
    graph_.pointwise_into(correction, CUDNN_POINTWISE_MUL, sum, graph_.number(kOne));
    return correction;
  }

  Graph& graph_;
  Four rows_, qkv_strides_, output_strides_;
  Four scores_, score_strides_;
  Four row_statistics_, dense_statistics_strides_, packed_statistics_strides_;
  Tensor query_lengths_, key_lengths_;
  Tensor query_offsets_, key_offsets_, value_offsets_, output_offsets_, statistics_offsets_;
  Tensor scale_;
};

// --- plans ----------------------------------------------------------------------------------------------------------------

struct Plan {
  std::unique_ptr<Descriptors> made;
  Reference descriptor = nullptr;
  std::size_t workspace_bytes = 0;
};

/// Configurations of engines for the graph, the one thought fastest first.
std::vector<Reference> configurations(Descriptors& made, Reference graph) {
  const Reference heuristic = made.create(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  made.set_descriptor(heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
  made.set_one(heuristic, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, CUDNN_HEUR_MODE_A);
  made.finalize(heuristic, "the heuristic");
  std::int64_t count = 0;
  check_status(
      cudnnBackendGetAttribute(heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count, nullptr),
      "counting engines", made.problem());
  std::vector<Reference> found;
  for (std::int64_t i = 0; i < count; ++i) found.push_back(made.create(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR));
  check_status(cudnnBackendGetAttribute(heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, count,
                                        &count, found.data()),
               "listing engines", made.problem());
  found.resize(static_cast<std::size_t>(count));
  if (found.empty()) throw Error(concatenate(describe(made.problem()), ": cuDNN has no engine for it: ", last_error()));
  return found;
}

Plan make_plan(cudnnHandle_t handle, const Problem& problem) {
  auto made = std::make_unique<Descriptors>(problem);
  Graph graph(*made);
  Attention attention(graph, problem);
  problem.backward ? attention.build_backward() : attention.build_forward();
  std::string refusal;
  for (const Reference configuration : configurations(*made, graph.finalize(handle))) {
    const Reference plan = made->create(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    made->set_descriptor(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration);
    const cudnnStatus_t status = cudnnBackendFinalize(plan);  // a configuration may turn out to be one the device cannot run
    if (status != CUDNN_STATUS_SUCCESS) {
      refusal = concatenate(cudnnGetErrorString(status), ": ", last_error());
      continue;
    }
    std::int64_t bytes = 0;
    std::int64_t count = 0;
    check_status(
        cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &count, &bytes),
        "the size of the workspace", problem);
    return {std::move(made), plan, static_cast<std::size_t>(std::max(bytes, std::int64_t{0}))};
  }
  throw Error(concatenate(describe(problem), ": cuDNN can make no plan: ", refusal));
}

/// What a name stands for in one call: memory of the device, or a number of the host.
using Binding = std::pair<Name, const void*>;

/// Handles by device and plans by problem, for all threads. They live as long as the process: the driver may be gone when
/// static objects are destroyed.
class Library {
 public:
  static Library& instance() {
    static Library* const library = new Library;
    return *library;
  }

  void run(const Context& context, const Problem& problem, const std::vector<Binding>& bindings, void* workspace,
           std::size_t workspace_bytes) {
    int device = 0;
    check(cudaGetDevice(&device) == cudaSuccess, "attention:vendor: no CUDA device");
    const std::lock_guard lock(mutex_);  // a handle is for one thread at a time
    const cudnnHandle_t handle = handle_of(device, problem);
    const Plan& plan = plan_of(device, handle, problem);
    if (plan.workspace_bytes > workspace_bytes) {
      throw Error(concatenate(describe(problem), ": cuDNN wants a workspace of ", plan.workspace_bytes,
                              " bytes, planned were ", workspace_bytes));
    }
    Descriptors made(problem);
    const Reference pack = made.create(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    std::vector<std::int64_t> names;
    std::vector<void*> pointers;
    for (const auto& [name, pointer] : bindings) {
      names.push_back(name);
      pointers.push_back(const_cast<void*>(pointer));
    }
    made.set(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, pointers);
    made.set(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, names);
    made.set_one(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, workspace);
    made.finalize(pack, "the pointers");
    check_status(cudnnSetStream(handle, static_cast<cudaStream_t>(context.stream)), "cudnnSetStream", problem);
    check_status(cudnnBackendExecute(handle, plan.descriptor, pack), "cudnnBackendExecute", problem);
  }

 private:
  /// What making a handle or a plan does is no part of a recording that may be under way in this thread.
  class Unrecorded {
   public:
    Unrecorded() { cudaThreadExchangeStreamCaptureMode(&mode_); }
    ~Unrecorded() { cudaThreadExchangeStreamCaptureMode(&mode_); }
    Unrecorded(const Unrecorded&) = delete;
    Unrecorded& operator=(const Unrecorded&) = delete;

   private:
    cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
  };

  cudnnHandle_t handle_of(int device, const Problem& problem) {
    cudnnHandle_t& handle = handles_[device];
    if (handle == nullptr) {
      const Unrecorded unrecorded;
      check_status(cudnnCreate(&handle), "cudnnCreate", problem);
    }
    return handle;
  }
  const Plan& plan_of(int device, cudnnHandle_t handle, const Problem& problem) {
    const Key key = key_of(device, problem);
    const auto found = plans_.find(key);
    if (found != plans_.end()) return found->second;
    const Unrecorded unrecorded;
    return plans_.emplace(key, make_plan(handle, problem)).first->second;
  }

  std::mutex mutex_;
  std::map<int, cudnnHandle_t> handles_;
  std::map<Key, Plan> plans_;
};

// --- memory and calls -----------------------------------------------------------------------------------------------------

Problem problem_of(const AttentionShape& shape, bool backward) {
  constexpr std::int64_t kLengthStep = 64;
  return {backward,           shape.sequences, cuda::divide_up(shape.queries.maximum_length, kLengthStep) * kLengthStep,
          shape.heads,        shape.head_size, shape.queries.stride,
          shape.output_stride};
}

std::size_t rounded(std::int64_t bytes) { return static_cast<std::size_t>(cuda::divide_up(bytes, 256) * 256); }

/// Where the parts of the workspace begin, in bytes.
struct Layout {
  std::size_t lengths = 0;
  std::size_t qkv_offsets, output_offsets, statistics_offsets;
  std::size_t correction;
  std::size_t plan;
  std::size_t end;

  Layout(const AttentionShape& shape, bool backward) {
    const Problem p = problem_of(shape, backward);
    const std::size_t offsets = rounded((p.sequences + 1) * 8);
    qkv_offsets = lengths + rounded(p.sequences * 4);
    output_offsets = qkv_offsets + offsets;
    statistics_offsets = output_offsets + offsets;
    correction = statistics_offsets + offsets;
    const std::int64_t rows = p.head_size % 16 == 0 ? shape.queries.tokens : p.sequences * p.length;
    plan = correction + (backward ? rounded(rows * p.heads * 4) : 0);
    end = plan + plan_bytes(p);
  }

  /// What cuDNN 9.19 wants, or a little more: descriptions of each sequence's tensors, and in backward dS in bf16 with its
  /// columns rounded up to 128.
  static std::size_t plan_bytes(const Problem& p) {
    const std::int64_t columns = cuda::divide_up(p.length, 128) * 128;
    const std::int64_t d_scores = p.backward ? p.sequences * p.heads * columns * columns * 2 : 0;
    return rounded(d_scores + p.sequences * 1024 + (64 << 10));
  }
};

bool supports(const AttentionShape& shape) {
  return is_plain_self_attention(shape) && shape.queries.stride == shape.keys.stride && shape.type == DType::kBFloat16 &&
         !shape.dropout.active() && shape.head_size % 8 == 0 && shape.head_size <= 128 && shape.queries.stride % 8 == 0 &&
         shape.output_stride % 8 == 0;
}

template <class Arguments>
void run_plan(const Context& context, const Arguments& a, bool backward, std::vector<Binding> bindings, void* workspace) {
  const AttentionShape& shape = a.shape;
  const Layout layout(shape, backward);
  char* const base = static_cast<char*>(workspace);
  auto* const lengths = reinterpret_cast<std::int32_t*>(base + layout.lengths);
  const auto offsets_at = [&](std::size_t place) { return reinterpret_cast<std::int64_t*>(base + place); };
  std::int64_t* const qkv_offsets = offsets_at(layout.qkv_offsets);
  std::int64_t* const output_offsets = offsets_at(layout.output_offsets);
  std::int64_t* const statistics_offsets = offsets_at(layout.statistics_offsets);
  attention_vendor_offsets(context, shape, lengths, qkv_offsets, output_offsets, statistics_offsets);
  const float minus_infinity = -std::numeric_limits<float>::infinity();
  const float one = 1;
  bindings.insert(bindings.end(), {{kQuery, a.query},
                                   {kKey, a.key},
                                   {kValue, a.value},
                                   {kOutput, a.output},
                                   {kStatistics, a.log_sum_exp},
                                   {kScale, &shape.scale},
                                   {kMinusInfinity, &minus_infinity},
                                   {kQueryLengths, lengths},
                                   {kKeyLengths, lengths},
                                   {kQueryOffsets, qkv_offsets},
                                   {kKeyOffsets, qkv_offsets},
                                   {kValueOffsets, qkv_offsets},
                                   {kOutputOffsets, output_offsets},
                                   {kStatisticsOffsets, statistics_offsets}});
  if (backward) bindings.insert(bindings.end(), {{kOne, &one}, {kCorrection, base + layout.correction}});
  Library::instance().run(context, problem_of(shape, backward), bindings, base + layout.plan, layout.end - layout.plan);
}

}  // namespace

bool attention_forward_vendor_supports(const AttentionForwardArguments& a) {
  return supports(a.shape) && cuda::all_aligned(16, a.query, a.key, a.value, a.output, a.log_sum_exp);
}

bool attention_backward_vendor_supports(const AttentionBackwardArguments& a) {
  return supports(a.shape) &&
         cuda::all_aligned(16, a.query, a.key, a.value, a.output, a.log_sum_exp, a.d_output, a.d_query, a.d_key, a.d_value);
}

std::size_t attention_forward_vendor_workspace(const AttentionShape& shape) {
  return shape.queries.tokens == 0 ? 0 : Layout(shape, false).end;
}
std::size_t attention_backward_vendor_workspace(const AttentionShape& shape) {
  return shape.queries.tokens == 0 ? 0 : Layout(shape, true).end;
}

void attention_forward_vendor(const Context& context, const AttentionForwardArguments& a, void* workspace) {
  if (a.shape.queries.tokens == 0) return;
  run_plan(context, a, false, {}, workspace);
}

void attention_backward_vendor(const Context& context, const AttentionBackwardArguments& a, void* workspace) {
  if (a.shape.queries.tokens == 0) return;
  run_plan(context, a, true, {{kDOutput, a.d_output}, {kDQuery, a.d_query}, {kDKey, a.d_key}, {kDValue, a.d_value}},
           workspace);
}

}  // namespace koine
