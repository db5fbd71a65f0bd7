#pragma once

// What stands before an experiment's phases: its data, its tokenizer, the shape of its model.

#include <filesystem>

#include "engine/tokenizer/tokenizer.h"
#include "models/config.h"
#include "tasks/experiment/experiment.h"
#include "tasks/experiment/training_phase.h"

namespace koine {

/// Where the data are to be generated: makes them in `folder` (once) and points the experiment there. UserError where an
/// experiment has neither.
void prepare_data(Experiment& experiment, const std::filesystem::path& folder, const RunOptions& options);

/// The tokenizer of a pretrained directory, of a given file, or trained into `folder`/tokenizer (once).
Tokenizer experiment_tokenizer(const Experiment& experiment, const std::filesystem::path& folder, bool redo);

/// The same once it is there: what experiment_tokenizer has made or would read.
Tokenizer prepared_tokenizer(const Experiment& experiment, const std::filesystem::path& folder);

/// The configuration of the model an experiment trains, its vocabulary the tokenizer's where it is fresh. UserError where a
/// pretrained one and the tokenizer do not belong together.
ModelConfig experiment_model_config(const Experiment& experiment, const Tokenizer& tokenizer);

}  // namespace koine
