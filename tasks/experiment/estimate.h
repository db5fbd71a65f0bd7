#pragma once

// What an experiment will cost, before it runs: tokens and FLOPs of every phase from the data themselves, and memory from
// dry runs.

#include <cstdint>
#include <string>
#include <vector>

#include "tasks/experiment/experiment.h"

namespace koine {

struct PhaseEstimate {
  std::string label;       ///< "pretraining", "intermediate mnli", "target xnli", "evaluate xnli"
  std::int64_t runs = 1;   ///< arms x seeds that repeat it
  std::int64_t steps = 0;  ///< optimizer steps of one run; 0: prediction only
  double tokens = 0;       ///< read by one run
  double flops = 0;     ///< of one run: 3 x forward for training (performance: forward and backward), forward for prediction
  std::string missing;  ///< why tokens and flops are unknown: the data that is not there; empty: known
};

/// Every phase of an experiment at its full length (no early stop). Data that is not there leaves a phase unknown and says
/// so. Data to be generated and a tokenizer to be trained are made in a temporary folder.
std::vector<PhaseEstimate> estimate_experiment(const Experiment& experiment);

/// The configuration of the model an experiment trains, its vocabulary from the tokenizer where it is fresh.
XlmrConfig experiment_model_config(const Experiment& experiment);

struct MemoryLine {
  std::string name;
  double bytes = 0;
};
/// Memory of training (or predicting with) such a model on batches of up to `tokens`: parameters by buffer, activations by
/// name (allocations of one name added up as far as they live at the same time is shown by the total), scratch. The last
/// line is the total.
std::vector<MemoryLine> estimate_memory(const XlmrConfig& config, const std::vector<HeadSpec>& heads, DType precision,
                                        bool training, std::int64_t tokens);

}  // namespace koine
