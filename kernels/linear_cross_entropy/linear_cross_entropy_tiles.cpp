#include "kernels/linear_cross_entropy/linear_cross_entropy_tiles.h"

#include <algorithm>

#include "kernels/cast/cast.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/weight_gradients.h"

namespace koine {
namespace {

using Arguments = LinearCrossEntropyArguments;

std::int64_t round_up(std::int64_t count, std::int64_t step) { return (count + step - 1) / step * step; }

/// Rows [first, first + rows), classes [begin, begin + count).
struct Piece {
  std::int64_t first = 0;
  std::int64_t rows = 0;
  std::int64_t begin = 0;
  std::int64_t count = 0;
};

/// How the rows and classes of a call are cut, and where in the workspace everything lies.
class Schedule {
 public:
  Schedule(const Arguments& a, const LogitsTileSizes& sizes, void* workspace) : a_(a) {
    const std::int64_t all = round_up(a.classes, 8);  // rows begin on 32 bytes
    kept_ = sizes.kept_elements > 0 && a.d_hidden != nullptr;
    const std::int64_t suits = kept_ ? std::max<std::int64_t>(sizes.kept_elements / all, 64) : sizes.rows;
    rows_ = std::min(a.group_rows > 0 ? a.group_rows : suits, a.rows);
    classes_ = std::min(a.tile_classes > 0 ? a.tile_classes : sizes.classes, all);
    stride_ = kept_ ? all : classes_;
    auto* place = static_cast<std::byte*>(workspace);
    const auto take = [&](std::int64_t bytes) {
      std::byte* const taken = place + bytes_;
      bytes_ += static_cast<std::size_t>(round_up(bytes, StackMemory::kAlignment));
      return static_cast<void*>(taken);
    };
    running_ = static_cast<RunningSoftmax*>(take(rows_ * std::int64_t{sizeof(RunningSoftmax)}));
    logits_ = static_cast<float*>(take(rows_ * stride_ * std::int64_t{sizeof(float)}));
    if (a.d_hidden != nullptr && a.type != DType::kFloat32) {
      const auto size = static_cast<std::int64_t>(size_of(a.type));
      gradients_ = take(rows_ * classes_ * size);
      sums_ = static_cast<float*>(take(rows_ * a.in * std::int64_t{sizeof(float)}));
    }
    products_ = place + bytes_;
  }

  std::int64_t rows() const { return rows_; }
  std::int64_t classes() const { return classes_; }
  bool kept() const { return kept_; }
  /// Of everything but the products' own workspace, which begins behind it.
  std::size_t bytes() const { return bytes_; }
  void* products() const { return products_; }
  /// The first class of the last tile.
  std::int64_t last_tile() const { return (a_.classes - 1) / classes_ * classes_; }

  Piece piece(std::int64_t first, std::int64_t begin) const {
    return {first, std::min(rows_, a_.rows - first), begin, std::min(classes_, a_.classes - begin)};
  }

  LogitsTile tile(const Piece& p) const {
    LogitsTile tile;
    tile.type = a_.type;
    tile.rows = p.rows, tile.begin = p.begin, tile.count = p.count, tile.classes = a_.classes;
    tile.logits = logits_ + (kept_ ? p.begin : 0);
    tile.stride = stride_;
    tile.labels = a_.labels + p.first;
    tile.running = running_;
    tile.loss = a_.loss + p.first;
    tile.gradient_scale = a_.gradient_scale, tile.gradient_scale_from = a_.gradient_scale_from;
    tile.gradients = gradients_ == nullptr ? tile.logits : gradients_;
    tile.gradient_stride = gradients_ == nullptr ? stride_ : classes_;
    return tile;
  }

  GemmArguments logits(const Piece& p) const {
    GemmArguments g;
    g.m = p.rows, g.n = p.count, g.k = a_.in;
    g.input_type = a_.type;
    g.a = offset_by(a_.hidden, a_.type, p.first * a_.in), g.lda = a_.in;
    g.b = offset_by(a_.weight, a_.type, p.begin * a_.in), g.ldb = a_.in, g.transpose_b = true;
    const LogitsTile to = tile(p);
    g.c = to.logits, g.ldc = to.stride;
    g.output_type = DType::kFloat32;
    g.bias = a_.bias == nullptr ? nullptr : a_.bias + p.begin;
    return g;
  }

  /// The tile's share of d_hidden, in fp32, added to what the tiles behind it gave.
  GemmArguments hidden_gradient(const Piece& p) const {
    const LogitsTile from = tile(p);
    GemmArguments g;
    g.m = p.rows, g.n = a_.in, g.k = p.count;
    g.input_type = a_.type;
    g.a = from.gradients, g.lda = from.gradient_stride;
    g.b = offset_by(a_.weight, a_.type, p.begin * a_.in), g.ldb = a_.in;
    g.c = sums_ == nullptr ? offset_by(a_.d_hidden, a_.type, p.first * a_.in) : sums_;
    g.ldc = a_.in;
    g.output_type = DType::kFloat32;
    g.accumulate = p.begin != last_tile();
    return g;
  }

  WeightGradientsArguments weight_gradient(const Piece& p) const {
    const LogitsTile from = tile(p);
    WeightGradientsArguments w;
    w.type = a_.type;
    w.entries[w.count++] = {.out = p.count,
                            .in = a_.in,
                            .rows = p.rows,
                            .x = offset_by(a_.hidden, a_.type, p.first * a_.in),
                            .ldx = a_.in,
                            .dy = from.gradients,
                            .lddy = from.gradient_stride,
                            .d_weight = a_.d_weight + p.begin * a_.in,
                            .d_bias = a_.d_bias == nullptr ? nullptr : a_.d_bias + p.begin};
    return w;
  }

  CastArguments round_sums(const Piece& p) const {
    return {p.rows * a_.in, DType::kFloat32, a_.type, sums_, offset_by(a_.d_hidden, a_.type, p.first * a_.in)};
  }

 private:
  const Arguments& a_;
  bool kept_ = false;
  std::int64_t rows_ = 0;
  std::int64_t classes_ = 0;
  std::int64_t stride_ = 0;
  std::size_t bytes_ = 0;
  RunningSoftmax* running_ = nullptr;
  float* logits_ = nullptr;
  void* gradients_ = nullptr;  ///< null: in the logits' place
  float* sums_ = nullptr;      ///< of d_hidden in fp32; null: d_hidden itself
  void* products_ = nullptr;
};

/// Of whichever variant a context may pick on the device.
template <class Product>
std::size_t most_workspace(Device device, const Product& product) {
  std::size_t most = 0;
  for (const Variant<Product>& variant : operation<Product>().variants) {
    if (variant.device != device || variant.workspace_bytes == nullptr) continue;
    if (variant.supports == nullptr || variant.supports(product)) most = std::max(most, variant.workspace_bytes(product));
  }
  return most;
}

template <class Product>
void start(const Context& context, const Product& product, void* workspace) {
  choose_variant(context, product).launch(context, product, workspace);
}

void run_group(const Context& context, const Arguments& a, const Schedule& schedule, const LogitsTileKernels& kernels,
               std::int64_t first) {
  void* const workspace = schedule.products();
  for (std::int64_t begin = 0; begin < a.classes; begin += schedule.classes()) {
    const Piece piece = schedule.piece(first, begin);
    start(context, schedule.logits(piece), workspace);
    kernels.statistics(context, schedule.tile(piece));
  }
  if (a.d_hidden == nullptr) return;
  for (std::int64_t begin = schedule.last_tile(); begin >= 0; begin -= schedule.classes()) {
    const Piece piece = schedule.piece(first, begin);
    // The last tile's logits are still there.
    if (!schedule.kept() && begin != schedule.last_tile()) start(context, schedule.logits(piece), workspace);
    kernels.gradients(context, schedule.tile(piece));
    start(context, schedule.hidden_gradient(piece), workspace);
    start(context, schedule.weight_gradient(piece), workspace);
  }
  if (a.type != DType::kFloat32) start(context, schedule.round_sums(schedule.piece(first, 0)), workspace);
}

}  // namespace

std::size_t logits_tiles_workspace(Device device, const Arguments& a, const LogitsTileSizes& sizes) {
  if (a.rows == 0) return 0;
  const Schedule schedule(a, sizes, reinterpret_cast<void*>(StackMemory::kAlignment));
  std::size_t products = 0;
  // Whole and last groups and tiles; a product of less may want more.
  for (const std::int64_t first : {std::int64_t{0}, (a.rows - 1) / schedule.rows() * schedule.rows()}) {
    for (const std::int64_t begin : {std::int64_t{0}, schedule.last_tile()}) {
      const Piece piece = schedule.piece(first, begin);
      products = std::max(products, most_workspace(device, schedule.logits(piece)));
      if (a.d_hidden == nullptr) continue;
      products = std::max(products, most_workspace(device, schedule.hidden_gradient(piece)));
      products = std::max(products, most_workspace(device, schedule.weight_gradient(piece)));
      products = std::max(products, most_workspace(device, schedule.round_sums(piece)));
    }
  }
  return schedule.bytes() + products;
}

void run_logits_tiles(const Context& context, const Arguments& a, const LogitsTileSizes& sizes,
                      const LogitsTileKernels& kernels, void* workspace) {
  if (a.rows == 0) return;
  const Schedule schedule(a, sizes, workspace);
  for (std::int64_t first = 0; first < a.rows; first += schedule.rows()) run_group(context, a, schedule, kernels, first);
}

}  // namespace koine
