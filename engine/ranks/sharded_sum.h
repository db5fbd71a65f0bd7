#pragma once

// The sum in a fixed order (ordered_sum.h) where ranks share out gradients (passing_gradients.h): the same tree over the same
// parts, and so the same bits, without a whole gradient on any rank.
//
// Parts are dealt out in turns: of n ranks, rank r has parts r, n + r, 2 n + r ... In a round each has one of them, tells its
// gradients bucket by bucket as backward completes them, and forgets them. Every rank gets the parts' gradients of its share of
// the bucket (all_to_all), adds them up along the tree with what waits of the rounds before, and keeps what waits on. Behind
// the last round there is one sum, which all_gather brings to the ranks whose range it is in.
//
// Bytes: of a round half of an all_reduce's, and that once more behind the last. Memory: a share (1 / n of the gradients) for
// each sum that waits between rounds, at most log2(parts), none where there is one round; and two pieces of kExchangeElements.

#include <cstdint>
#include <span>
#include <vector>

#include "engine/parameters/parameter_store.h"
#include "engine/ranks/communicator.h"
#include "engine/ranks/flat_sums.h"
#include "engine/ranks/ordered_sum.h"
#include "engine/ranks/touched_rows.h"
#include "kernels/common/buffer.h"

namespace koine {

/// The parts of a rank in the order of rounds. UserError where there are more ranks than parts.
std::vector<std::int64_t> parts_in_turns(std::int64_t parts, int ranks, int rank);
std::int64_t rounds_of(std::int64_t parts, int ranks);

class ShardedSum {
 public:
  /// Both outlive it. UserError where there are more ranks than parts.
  ShardedSum(ParameterStore& store, Communicator& communicator, std::int64_t parts,
             std::int64_t exchange_elements = kExchangeElements);

  /// Bytes that it takes, by name. UserError where there are more ranks than parts.
  static std::vector<ParameterStore::Footprint> footprint(const ParameterTable& table, int ranks, std::int64_t parts,
                                                          std::int64_t exchange_elements = kExchangeElements);

  /// Every run of the store's passing_gradients() once a round, in order: what passes through is told and is zero then. In the
  /// last round the kept gradients become the sum of all parts there. A rank without a part in the last round takes part.
  /// `touched` as of OrderedSum::sum, the same in all rounds.
  void take(const PassingRun& run, const TouchedRows* touched, void* stream);

 private:
  void exchange(const FlatSpan& span, const PassingRun& run, const TouchedRows* touched, void* stream);
  void keep(const FlatSpan& span, const TouchedRows* touched, void* stream);
  void keep_rows(const FlatSpan& span, std::span<const std::int32_t> rows, const float* from, void* stream);
  void keep_range(const ElementRange& range, const float* from, void* stream);

  ParameterStore& store_;
  Communicator& communicator_;
  std::int64_t parts_;
  std::int64_t rounds_;
  std::int64_t piece_;           ///< elements exchanged at a time, a multiple of the ranks
  std::int64_t round_ = 0;       ///< the one that goes on
  std::int64_t place_ = 0;       ///< of the next piece's share, in `waiting_`
  std::vector<Buffer> waiting_;  ///< a share of sums that wait between rounds, in the tree's order
  Buffer sent_;                  ///< [ranks, piece / ranks]
  Buffer received_;              ///< the same
  FlatSums sums_of_values_;
};

}  // namespace koine
