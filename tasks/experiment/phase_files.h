#pragma once

// The files a phase reads, by name and hash, for its config.toml (phase.h).

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/files/hash_cache.h"
#include "tasks/experiment/phase.h"
#include "tasks/experiment/plan.h"

namespace koine {

/// What a model is read from: config.json, and model.safetensors or, where that is not there, the shards and their index.
/// Named "<folder>/<file>". The tokenizer has a fingerprint of its own (Tokenizer::fingerprint).
FileHashes model_files(const std::filesystem::path& directory, HashCache& hashes);

/// What training (with the dev sets in `source_language`) and evaluation read below the data folder, by the paths below it.
FileHashes data_files(const std::vector<TrainedTask>& tasks, const std::optional<PlannedEvaluation>& evaluation,
                      const std::filesystem::path& data, const std::string& source_language, HashCache& hashes);

}  // namespace koine
