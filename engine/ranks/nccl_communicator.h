#pragma once

// Ranks on GPUs, a device each, through NCCL.
//
// Nothing of NCCL blocks: the communicator is made with blocking = 0, and whatever is in progress is asked for until it is done,
// somebody is gone (RankWatch), or place.timeout seconds are over. Before every operation NCCL is asked for what went wrong since. An
// error aborts the communicator, so that kernels which wait for a rank that is gone end, and names operation, rank and NCCL's words.
// A rank that is gone while the host waits for a stream is RankWatch's to notice, which ends the process.
//
// all_to_all is sends and receives in a group. bf16 is widened to fp32 for sums. Numbers and texts of the host go through `host`, a
// communicator of the same ranks' host memory.

#include <memory>

#include "engine/ranks/communicator.h"
#include "engine/ranks/nccl_api.h"
#include "engine/ranks/rank_watch.h"

namespace koine {

/// Of the device the calling thread works with. `host`, `api` and `watch` (null: there is none) outlive it. `timeout` in seconds.
std::unique_ptr<Communicator> make_nccl_communicator(Communicator& host, const nccl::Api& api, RankWatch* watch,
                                                     double timeout);

}  // namespace koine
