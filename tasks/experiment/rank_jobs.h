#pragma once

// Who leads and who follows, in a command carried out by several ranks. Rank 0 plans, evaluates and writes as one process
// does; the others train with it when it says so, and compute part of what it predicts (engine/training/shared_prediction.h).

#include <cstdint>
#include <filesystem>
#include <string>

#include "engine/ranks/communicator.h"

namespace koine {

/// What rank 0 lets the others do next.
struct RankJob {
  enum class Kind {
    kBegin,     ///< data and tokenizer are prepared: read them
    kTrain,     ///< train with all others
    kEvaluate,  ///< help_predicting() with a model
    kEnd,       ///< the command is over
  };
  Kind kind = Kind::kEnd;
  std::string precision;            ///< kBegin: "fp32" or "bf16", as rank 0 decided
  std::filesystem::path data;       ///< kBegin: folder of the data sets
  std::int64_t phase = 0;           ///< kTrain, kEvaluate: its number in the plan
  std::uint32_t seed = 0;           ///< kTrain: of the attempt
  std::filesystem::path directory;  ///< kTrain: of the attempt, for checkpoints
  std::filesystem::path start;      ///< kTrain, kEvaluate: the model's folder; empty: a fresh one
};

/// Whether there are several ranks. `communicator` may be null: one.
bool several_ranks(const Communicator* communicator);
/// Whether this is rank 0, or alone.
bool is_leader(const Communicator* communicator);

/// Rank 0's; nothing where there are no others.
void tell_job(Communicator* communicator, const RankJob& job);
/// What it told, to the others; waits for it.
RankJob next_job(Communicator& communicator);

}  // namespace koine
