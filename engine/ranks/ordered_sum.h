#pragma once

// A sum of gradients in a fixed order, whatever the number of ranks.
//
// A step's examples are cut into `parts`, a power of two, in a way that knows nothing of ranks. The gradient of each part is
// made alone, from zero. The parts are the leaves of a binary tree, and gradients are added up along it, in fp32:
//
//     ((p0 + p1) + (p2 + p3)) + ((p4 + p5) + (p6 + p7))
//
// Rank r of n has parts r * parts / n up to (r + 1) * parts / n, adds up what of the tree lies within them, and sends the
// sums on: all_to_all, so that every rank has everybody's sums of its share of the elements; what is left of the tree there,
// on every rank for its share; all_gather. So one rank, two, three or eight give the same bits. As many bytes travel as in an
// all_reduce where n is a power of two; else a rank has more than one sum to send. Idea: Megatron-LM's and llmq's all-to-all
// reduction, whose leaves are ranks.
//
// Of a table of which the step's batches have read few rows (touched_rows.h), ranks exchange these rows alone where that is
// fewer bytes (spans_to_exchange()). The order of sums is that of the elements, so the bits are the same.
//
// Memory: a gradient more for each sum that waits for its sibling, at most log2(parts / n) + 1 (none where every rank has one
// part), and two pieces of kExchangeElements.

#include <cstdint>
#include <span>
#include <vector>

#include "engine/parameters/parameter_store.h"
#include "engine/ranks/communicator.h"
#include "engine/ranks/flat_sums.h"
#include "engine/ranks/touched_rows.h"
#include "kernels/common/buffer.h"

namespace koine {

/// Neighbouring parts first .. last - 1.
struct PartRange {
  std::int64_t first = 0;
  std::int64_t last = 0;

  std::int64_t count() const { return last - first; }
  bool operator==(const PartRange&) const = default;
};

/// The parts of a rank. UserError where there are more ranks than parts.
PartRange parts_of_rank(std::int64_t parts, int ranks, int rank);

/// Whether two ranges, one behind the other, are the halves of one place in the tree.
bool are_siblings(const PartRange& left, const PartRange& right);

/// The sums that parts [first, last) leave, in order: the largest places of the tree that lie within.
std::vector<PartRange> sums_of(const PartRange& parts);

class OrderedSum {
 public:
  /// Both outlive it. UserError where there are more ranks than parts.
  OrderedSum(ParameterStore& store, Communicator& communicator, std::int64_t parts,
             std::int64_t exchange_elements = kExchangeElements);

  /// Bytes that it takes, by name, of the rank that needs most. UserError where there are more ranks than parts.
  static std::vector<ParameterStore::Footprint> footprint(const ParameterTable& table, int ranks, std::int64_t parts,
                                                          std::int64_t exchange_elements = kExchangeElements);

  const PartRange& own() const { return own_; }

  /// Behind every part but the rank's last, in order: the store's gradients are added to what waits, and are zero.
  void keep_part(const Context& context);
  /// Behind the last part, for every range of elements once: there the store's gradients become the sum over all parts.
  /// `touched`: rows of a table that lies in one of the ranges, outside of which its gradient is zero on all ranks; null: all
  /// are exchanged.
  void sum(std::int64_t begin, std::int64_t end, const TouchedRows* touched, void* stream);

 private:
  struct Waiting {
    PartRange parts;
    Buffer sum;
  };

  void exchange(const FlatSpan& span, void* stream);

  ParameterStore& store_;
  Communicator& communicator_;
  PartRange own_;
  std::int64_t next_ = 0;           ///< the part that the store's gradients are of
  std::vector<PartRange> waiting_;  ///< sums that lie in the first of buffers_
  std::vector<Buffer> buffers_;
  std::vector<std::vector<PartRange>> sums_;  ///< of every rank
  std::int64_t slots_ = 1;                    ///< sums of the rank that has most of them
  std::int64_t piece_ = 0;                    ///< elements exchanged at a time, a multiple of the ranks
  Buffer sent_;                               ///< [ranks, slots, piece / ranks]
  Buffer received_;                           ///< the same
  FlatSums sums_of_values_;
};

}  // namespace koine
