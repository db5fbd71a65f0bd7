#pragma once

// A command carried out by several ranks: --ranks N starts them on this machine, --ranks launcher is one of those that
// torchrun, mpirun, srun or somebody by hand has started (docs/ranks.md).

#include <functional>
#include <memory>
#include <string>

#include "engine/ranks/rank_group.h"
#include "tools/koine/commands.h"

namespace koine {

class RankSession {
 public:
  /// Meets the others where there are any; divides threads and devices, and silences all but rank 0, in `common`.
  explicit RankSession(CommonOptions& common);

  bool leads() const { return group_ == nullptr || group_->place().rank == 0; }
  /// Puts the communicator into an execution that is decided; null where this process is alone.
  void join(Execution& execution);
  /// The end of a command that went well: rank 0 tells the others, and all leave.
  void finish();
  void fail(const std::string& why) noexcept;

  /// Waits until rank 0 has prepared what the others read; false where there is nothing for them to do.
  bool wait_to_begin(RankJob& job);

 private:
  std::unique_ptr<RankGroup> group_;
  std::unique_ptr<Communicator> on_devices_;
};

/// "", or what is wrong with the value of --ranks.
std::string check_ranks(const std::string& text);

/// Carries `command` out as --ranks says; returns the exit code. Where this process starts the others, it only watches them: it
/// passes signals on, ends all when one has failed, and says which where rank 0 cannot.
int with_ranks(CommonOptions& common, const std::function<int(RankSession& ranks)>& command);

}  // namespace koine
