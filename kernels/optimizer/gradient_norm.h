#pragma once

// The global norm of gradients and the factor that clips it, as torch.nn.utils.clip_grad_norm_ defines them:
//
//   norm = sqrt(sum of g^2);   factor = maximum / (norm + 1e-6) where that is below 1, else 1; maximum <= 0: 1
//
// gradient_norm goes over all tensors of a flat gradient buffer; clip_factor starts from a sum of squares that is there
// already. The squares are summed in double, in an order the shapes fix. `norm` and `factor` are single values in memory
// the variant writes: the update of a step reads the factor from there, and nobody has to wait for it.
//
// A norm that is not finite (in fp32) gives factor 0, which the updates of adamw.h take as "change nothing". No other norm
// does: a factor too small for fp32 becomes the smallest normal number.

#include <cstdint>

#include "kernels/common/registry.h"
#include "kernels/optimizer/segments.h"

namespace koine {

struct ClipFactorArguments {
  const double* sum_of_squares = nullptr;
  float maximum_norm = 0;
  float* norm = nullptr;
  float* factor = nullptr;
};

/// What of a norm is made. Its first sums are those of cells: rows on the CPU, blocks of threads on a device. Ranks that have
/// each a range of the gradients make the sums of the cells that lie in it, add up the lists, in which all others are zero, and
/// finish: the bits are those of one that has all.
enum class NormStage { kWhole, kCells, kFinish };

/// Tensors listed as segments and, apart from them, one table [rows, width] of which only listed rows may be non-zero. Its
/// rows are summed as sum_of_squares does: the sum over the listed rows has the bits of the sum over all.
struct GradientNormArguments {
  std::int64_t elements = 0;  ///< of all segments
  std::int64_t segments = 0;
  std::int64_t pieces = 0;                    ///< what number_pieces returned
  const FlatSegment* segment_list = nullptr;  ///< [segments], numbered, by ascending offset
  const float* gradient = nullptr;            ///< the flat buffer
  std::int64_t rows = 0;                      ///< of the table; 0: there is none
  std::int64_t width = 1;
  std::int64_t table_offset = 0;           ///< of its first element
  const std::int32_t* row_list = nullptr;  ///< [listed] ascending rows; null: all
  std::int64_t listed = 0;                 ///< how many; where listed_from is given: at most
  const std::int64_t* listed_from = nullptr;
  ElementRange range;  ///< of the flat buffer: of segments and table only what lies in it counts and is read
  NormStage stage = NormStage::kWhole;
  double* cells =
      nullptr;  ///< [norm_cells()]: kCells writes it, under a range that cuts no cell, and kFinish reads it alone
  float maximum_norm = 0;
  double* sum_of_squares = nullptr;  ///< the results, one value each; not of kCells
  float* norm = nullptr;
  float* factor = nullptr;
};

inline void clip_factor(const Context& context, const ClipFactorArguments& arguments) { run(context, arguments); }
/// How many cells there are of these arguments, whose table has no list of rows.
std::int64_t norm_cells(Device device, const GradientNormArguments& arguments);
/// Where in a tensor, a segment or the table, the first cell begins that begins at `element` or behind it; its end where none
/// does.
std::int64_t next_norm_cell(Device device, bool table, std::int64_t rows, std::int64_t width, std::int64_t element);

inline void gradient_norm(const Context& context, const GradientNormArguments& arguments) { run(context, arguments); }

}  // namespace koine
