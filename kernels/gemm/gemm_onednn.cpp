// The oneDNN variant: its matmul primitive multiplies one tile at a time, in the calling thread.
//
// oneDNN shares nothing among threads here, so results do not depend on their number. Panels come in the layout its fastest
// kernels want ("brg:", AVX-512 and up); where creating such a primitive fails, or gives another implementation, the variant
// supports nothing and the packed one takes over. A tile's rows are given to it in multiples of kRowUnit and depths come in
// multiples of kDepthUnit, so that batches of all sizes share few primitives.

#include <array>
#include <cstring>
#include <dnnl.hpp>
#include <string_view>
#include <unordered_map>

#include "kernels/gemm/gemm.h"
#include "kernels/gemm/gemm_blocked.h"

#if defined(KOINE_HAVE_OPENMP)
#include <omp.h>
#endif

namespace koine {
namespace {

using dnnl::memory;

constexpr std::int64_t kPanelColumns = 64;
constexpr std::int64_t kRowUnit = 16;
constexpr std::size_t kMostPrimitives = 2048;  // of one thread; reached, all are dropped

struct Key {
  std::int64_t rows, columns, depth;
  PanelType type;
  bool add;
  bool operator==(const Key&) const = default;
};

struct KeyHash {
  std::size_t operator()(const Key& key) const {
    std::uint64_t hash = key.add ? 1 : 0;
    for (const std::int64_t part : {key.rows, key.columns, key.depth, static_cast<std::int64_t>(key.type)}) {
      hash = (hash ^ static_cast<std::uint64_t>(part)) * 0x9e3779b97f4a7c15u;
      hash ^= hash >> 29;
    }
    return static_cast<std::size_t>(hash);
  }
};

struct Primitive {
  dnnl::matmul matmul;
  memory a, panels, sums;
  std::unordered_map<int, memory> arguments;
};

const dnnl::engine& cpu_engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

// The one place where oneDNN 2 and 3 differ.
dnnl::matmul::primitive_desc describe(const memory::desc& a, const memory::desc& panels, const memory::desc& sums,
                                      const dnnl::primitive_attr& attributes) {
#if DNNL_VERSION_MAJOR >= 3
  return {cpu_engine(), a, panels, sums, attributes};
#else
  return {dnnl::matmul::desc(a, panels, sums), attributes, cpu_engine()};
#endif
}

dnnl::matmul::primitive_desc describe(const Key& key) {
  const bool pairs = key.type == PanelType::kBFloat16Pairs;
  const auto type = pairs ? memory::data_type::bf16 : memory::data_type::f32;
  const memory::desc a({key.rows, key.depth}, type, memory::format_tag::ab);
  const memory::desc panels({key.depth, key.columns}, type,
                            pairs ? memory::format_tag::BA16a64b2a : memory::format_tag::BA16a64b);
  const memory::desc sums({key.rows, key.columns}, memory::data_type::f32, memory::format_tag::ab);
  dnnl::primitive_attr attributes;
  if (key.add) {
    dnnl::post_ops operations;
    operations.append_sum(1.0f);
    attributes.set_post_ops(operations);
  }
  return describe(a, panels, sums, attributes);
}

// A thread's primitives and the memory objects it points them with.
class ThreadPrimitives {
 public:
  ThreadPrimitives() : stream_(cpu_engine()) {
#if defined(KOINE_HAVE_OPENMP)
    omp_set_num_threads(1);
#endif
  }

  void execute(const Key& key, const void* a, const void* panels, float* sums) {
    Primitive& primitive = find(key);
    primitive.a.set_data_handle(const_cast<void*>(a));
    primitive.panels.set_data_handle(const_cast<void*>(panels));
    primitive.sums.set_data_handle(sums);
    primitive.matmul.execute(stream_, primitive.arguments);
  }

 private:
  Primitive& find(const Key& key) {
    const auto found = primitives_.find(key);
    if (found != primitives_.end()) return found->second;
    if (primitives_.size() >= kMostPrimitives) primitives_.clear();
    const auto description = describe(key);
    Primitive primitive{dnnl::matmul(description),
                        memory(description.src_desc(), cpu_engine(), nullptr),
                        memory(description.weights_desc(), cpu_engine(), nullptr),
                        memory(description.dst_desc(), cpu_engine(), nullptr),
                        {}};
    primitive.arguments = {
        {DNNL_ARG_SRC, primitive.a}, {DNNL_ARG_WEIGHTS, primitive.panels}, {DNNL_ARG_DST, primitive.sums}};
    return primitives_.emplace(key, std::move(primitive)).first->second;
  }

  dnnl::stream stream_;
  std::unordered_map<Key, Primitive, KeyHash> primitives_;
};

void multiply_rows(const TileProduct& product, PanelType type, std::int64_t first_row, std::int64_t rows) {
  thread_local ThreadPrimitives primitives;
  const char* a = static_cast<const char*>(product.a) + first_row * product.lda * static_cast<std::int64_t>(size_of(type));
  float* sums = product.sums + first_row * product.columns;
  primitives.execute({rows, product.columns, product.depth, type, product.add}, a, product.panels, sums);
}

// The rows beyond a multiple of kRowUnit: together with rows that are done already, whose sums come out the same, unless the
// sums are added to.
void multiply_last_rows(const TileProduct& product, PanelType type, std::int64_t done) {
  const std::int64_t rows = product.rows - done;
  if (done == 0 || product.add) {
    multiply_rows(product, type, done, rows);
  } else {
    multiply_rows(product, type, product.rows - kRowUnit, kRowUnit);
  }
}

template <PanelType kType>
void multiply(const TileProduct& product) {
  const std::int64_t done = product.rows / kRowUnit * kRowUnit;
  if (done > 0) multiply_rows(product, kType, 0, done);
  if (done < product.rows) multiply_last_rows(product, kType, done);
}

template <PanelType kType>
const TileEngine& tile_engine() {
  static const TileEngine engine = {kType, kPanelColumns, kDepthUnit, true, multiply<kType>};
  return engine;
}

const TileEngine& engine_for(const GemmArguments& arguments) {
  return arguments.input_type == DType::kFloat32 ? tile_engine<PanelType::kFloat32>()
                                                 : tile_engine<PanelType::kBFloat16Pairs>();
}

// Whether oneDNN has one of its fast kernels for such panels on this processor.
bool fast_on_this_processor(PanelType type) {
  try {
    const auto description = describe(Key{kRowUnit, kPanelColumns, kDepthUnit, type, true});
    return std::string_view(description.impl_info_str()).starts_with("brg");
  } catch (const dnnl::error&) {
    return false;
  }
}

}  // namespace

bool gemm_onednn_supports(const GemmArguments& arguments) {
  static const bool floats = fast_on_this_processor(PanelType::kFloat32);
  static const bool pairs = fast_on_this_processor(PanelType::kBFloat16Pairs);
  if (arguments.input_type == DType::kFloat64 || arguments.output_type == DType::kFloat64) return false;
  if (arguments.dropout.active()) return false;
  return arguments.input_type == DType::kFloat32 ? floats : pairs;
}

std::size_t gemm_onednn_workspace(const GemmArguments& arguments) {
  return blocked_workspace_bytes(engine_for(arguments), arguments);
}

void gemm_onednn(const Context&, const GemmArguments& arguments, void* workspace) {
  blocked_product(engine_for(arguments), arguments, workspace);
}

}  // namespace koine
