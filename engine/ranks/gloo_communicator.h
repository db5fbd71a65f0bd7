#pragma once

// Ranks on CPUs, through Gloo over TCP.
//
// all_reduce is Gloo's ring, in fp32 for bf16; reduce_scatter is an all-to-all and a local sum in rank order; the others are
// Gloo's. Every operation ends within place.timeout seconds, share() and barrier() when a rank is gone: then an Error names
// the operation, this rank, and the rank that is gone or late. The process has to ignore SIGPIPE, which a rank that is gone
// sends to who writes to it; the program does.

#include <memory>
#include <string>

#include "engine/ranks/communicator.h"
#include "engine/ranks/rank_place.h"
#include "engine/ranks/rank_store.h"
#include "engine/ranks/rank_watch.h"

namespace koine {

/// Whether this build has Gloo, and which ("0.5.0"); empty: none.
bool has_gloo();
std::string gloo_version();

/// Connects to all others of the run, who do the same. The store and the watch outlive it. UserError where this build has no Gloo.
std::unique_ptr<Communicator> make_gloo_communicator(const RankPlace& place, RankStore& store, RankWatch& watch);

}  // namespace koine
