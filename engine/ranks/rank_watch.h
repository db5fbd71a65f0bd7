#pragma once

// Whether all ranks of a run are still there. A thread of every rank gives a sign of life to the store, looks for those of the
// others (rank 0 at all, the others at rank 0), and for a cause of failure that somebody has told. When one is told, the rank
// has a moment to end by itself with what it noticed; then it is ended: it may be waiting for what never comes.

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/ranks/rank_place.h"
#include "engine/ranks/rank_store.h"

namespace koine {

/// Seconds between two looks.
double watch_interval(const RankPlace& place);

class RankWatch {
 public:
  /// Called with the cause, in the watching thread, where the rank did not end by itself.
  using End = std::function<void(const std::string& cause)>;
  /// The message on standard error, then _exit(1).
  static void end_process(const std::string& cause);

  /// `store` outlives it. A rank of whom nothing is heard for half of place.timeout is given up.
  RankWatch(RankStore& store, const RankPlace& place, End end = end_process);
  ~RankWatch();
  RankWatch(const RankWatch&) = delete;
  RankWatch& operator=(const RankWatch&) = delete;

  /// Tells the others, unless somebody has told before. Throws nothing.
  void fail(const std::string& cause) noexcept;
  /// The cause; waits for it as long as it may take until a silent rank is noticed. "" where there is none.
  std::string wait_for_cause();
  /// The same, without waiting.
  std::string cause() const;
  /// The rank begins its next operation, whose name stays: its sign of life says which it is at.
  void begin_operation(const char* name);
  /// Operations begun so far.
  std::int64_t operations() const { return operations_; }
  /// "rank 2 is late: it is at operation 17 (all_reduce), others are at 18 (all_gather)", by the last signs of life; "" where
  /// none is behind this rank.
  std::string late_ranks();
  /// This rank ends as it should: nobody has to look for it, nor it for others.
  void leave() noexcept;

 private:
  struct Sign {
    std::string last;
    double heard = 0;  ///< seconds
  };

  void watch();
  void look();
  void look_at(int rank);
  void set_cause(const std::string& cause);

  RankStore& store_;
  RankPlace place_;
  End end_;
  double silence_;
  double interval_;
  std::vector<Sign> signs_;
  std::uint64_t number_ = 0;
  std::atomic<std::int64_t> operations_ = 0;
  std::atomic<const char*> operation_ = "start";
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::string cause_;
  bool leaving_ = false;
  std::thread thread_;
};

}  // namespace koine
