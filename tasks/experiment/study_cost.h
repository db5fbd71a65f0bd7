#pragma once

// What a study costs at its full size, before its data and weights are at hand: examples from the data sets' official numbers, tokens
// of an example as measured on samples of them, FLOPs from the published shapes of the models.
//
// Not counted: searches of dev sets during training, early stops, reading and writing. A task whose size or length is not known is
// named, and the figures are without it.

#include <optional>
#include <string>
#include <vector>

#include "tasks/experiment/estimate.h"
#include "tasks/experiment/experiment.h"

namespace koine {

struct StudyCost {
  std::string model_size;
  std::string unknown_model;  ///< why nothing is known of this size; empty: its shape is known
  double parameters = 0;      ///< with a classification head
  double state_bytes = 0;     ///< weights, gradients and moments of mixed-precision training; activations come on top
  std::vector<PhaseEstimate> phases;  ///< as estimate_experiment's, each arm's training and each target's
  double flops = 0;                   ///< of all of them, with their runs
  double tokens = 0;
  std::vector<std::string> left_out;  ///< "evaluation of mewslix": what is not in the figures
  /// Hours of FLOPs at one a second, of runs as separate jobs: of each arm and seed first the intermediate training, then each of its
  /// targets with their evaluation.
  struct Chain {
    double intermediate = 0;
    std::vector<double> targets;
  };
  std::vector<Chain> chains;
};

/// One for each of experiment.study's sizes; UserError where the experiment has no [study] or names no size.
std::vector<StudyCost> study_costs(const Experiment& experiment);

/// Tokens of an example of a task's training set in English, and of its tests (mean over languages), both with special tokens, as
/// XLM-R's tokenizer makes them. Nothing where it was not measured.
std::optional<double> measured_tokens(const std::string& task, bool training);

/// Time until the last of a study's jobs is done on so many devices, each at `rate` FLOP/s, a job on one device: the next job that may begin, the
/// longest first, goes to the device that is free first. No time passes between jobs.
double schedule_seconds(const std::vector<StudyCost::Chain>& chains, std::int64_t devices, double rate);

}  // namespace koine
