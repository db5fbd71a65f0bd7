#pragma once

// Steps and all-reduces of real ranks, timed: what a simulation is fitted to and held against.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/ranks/communicator.h"
#include "models/models.h"
#include "tasks/scaling/link_fit.h"
#include "tasks/scaling/step.h"

namespace koine {

struct MeasureSettings {
  ModelConfig config;
  HeadSpec head;
  std::int64_t length = 32;
  std::int64_t tokens = 256;         ///< of each rank in a step: weak scaling
  std::int64_t total_tokens = 1024;  ///< of all ranks: strong scaling
  std::int64_t repetitions = 9;
  std::int64_t bucket_elements = 1 << 18;
  bool ordered =
      false;  ///< gradients are added up in the fixed order of ordered_sum.h, a part for each rank; else by all_reduce
};

/// Medians over repetitions of what the slowest rank took.
struct MeasuredStep {
  std::int64_t tokens = 0;  ///< of each rank
  double compute = 0;       ///< seconds of forward, backward and update alone, with all ranks at work
  double seconds = 0;       ///< the same with gradients exchanged
};

struct RankMeasurement {
  std::int64_t ranks = 1;
  MeasuredStep weak;
  MeasuredStep strong;
  std::vector<MeasuredAllReduce> all_reduces;  ///< none of one rank
};

/// A model for measuring on processors: steps of milliseconds, gradients of some MB.
ModelConfig measured_model_config();

/// Collective. UserError where total_tokens are not whole sequences for each rank.
RankMeasurement measure_rank(const MeasureSettings& settings, const Execution& execution, Communicator& communicator);

nlohmann::json to_json(const RankMeasurement& measurement);
RankMeasurement measurement_from(const nlohmann::json& json);

/// A measurement beside what the simulation says of it.
struct PredictedStep {
  std::int64_t ranks = 1;
  bool strong = false;
  MeasuredStep measured;
  StepTime predicted;
  double efficiency = 1;  ///< measured: tokens a second and rank, against one rank
  double predicted_efficiency = 1;

  double error() const { return predicted.seconds / measured.seconds - 1; }
};

struct MeasuredScaling {
  std::vector<RankMeasurement> measurements;  ///< the first of one rank
  std::vector<LinkFit> fits;                  ///< of each; of one rank nothing
  std::vector<PredictedStep> steps;           ///< weak and strong, of each
};

/// Fits latency and rate to the all-reduces of each number of ranks (ranks of one machine share its memory and processors, so each number has its
/// own), and predicts every step from them and from what one rank computes in a step of as many tokens: a line through its two steps, times the
/// number of ranks for each `processors`, where there are more of them. Nothing of a step of several ranks goes into its prediction. The first
/// measurement is of one rank.
MeasuredScaling predict_measured(const MeasureSettings& settings, std::vector<RankMeasurement> measurements,
                                 std::int64_t threads, std::int64_t processors, double memory_rate);

}  // namespace koine
