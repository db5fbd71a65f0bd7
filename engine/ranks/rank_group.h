#pragma once

// A process as one rank of a run: it meets the others, is watched with them, and leaves with them.

#include <memory>
#include <string>

#include "engine/ranks/communicator.h"
#include "engine/ranks/rank_place.h"
#include "engine/ranks/rank_store.h"
#include "engine/ranks/rank_watch.h"

namespace koine {

class RankGroup {
 public:
  /// Waits until all ranks are there: Error naming those who are missing after place.meeting seconds. UserError where this build
  /// has no Gloo.
  explicit RankGroup(RankPlace place, RankWatch::End end = RankWatch::end_process);
  /// Without leave() before, the others learn that this rank is gone.
  ~RankGroup();
  RankGroup(const RankGroup&) = delete;
  RankGroup& operator=(const RankGroup&) = delete;

  const RankPlace& place() const { return place_; }
  /// Of the host's memory.
  Communicator& communicator() { return *communicator_; }
  /// Null where there are no others.
  RankWatch* watch() { return watch_.get(); }

  /// Tells the others why this rank ends. Throws nothing.
  void fail(const std::string& why) noexcept;
  /// At the end of a run that went well: waits for the others.
  void leave();

 private:
  void meet();
  void wait_for(const std::string& key, double deadline) const;
  std::string missing_ranks() const;
  void let_others_hear() const noexcept;

  RankPlace place_;
  std::unique_ptr<RankServer> server_;  ///< in rank 0, where there is no folder
  std::unique_ptr<RankStore> store_;
  std::unique_ptr<RankWatch> watch_;
  std::unique_ptr<Communicator> communicator_;
};

}  // namespace koine
