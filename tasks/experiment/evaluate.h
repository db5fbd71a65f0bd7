#pragma once

// Evaluating a model in several languages, one after the other.

#include <filesystem>
#include <nlohmann/json_fwd.hpp>

#include "engine/tokenizer/tokenizer.h"
#include "tasks/experiment/plan.h"
#include "tasks/experiment/training_phase.h"

namespace koine {

/// Evaluates a loaded model: predictions in XTREME's layout below `folder`/predictions, and `folder`/evaluations.json,
/// rewritten after each language. Languages that stand there already are not evaluated again. `evaluations`: by language,
/// {metric, value, metrics, examples, tokens, seconds, flops, joules (where they can be read, on the CPU)}, and where there is any {left_out, truncated,
/// collapsed}, and where the figure is formed of its examples' {outcomes: {file, metric, parallel, xxh3}}, a table below `folder`/outcomes
/// (common/example_outcomes.h); tasks of sentence vectors also {layer: of these figures, layers: [{layer, metrics}] where several were asked for}. False where
/// `options.stop` was set in between.
bool evaluate_languages(Model& model, const PlannedEvaluation& evaluation, const std::filesystem::path& data,
                        const Tokenizer& tokenizer, const std::filesystem::path& folder, const RunOptions& options,
                        nlohmann::json& evaluations);

}  // namespace koine
