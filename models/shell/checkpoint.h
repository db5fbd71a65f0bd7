#pragma once

// A model's weights in and out of a transformers directory.

#include <filesystem>
#include <string>
#include <vector>

#include "engine/files/safetensors.h"
#include "models/families.h"
#include "models/models.h"

namespace koine {

/// Fills the master weights. Encoder parameters must be there; heads that are missing or of another shape keep what they
/// have and are reported. UserError naming tensor and file otherwise.
LoadReport read_weights(const ModelWeights& weights, const std::filesystem::path& directory, const ModelFamily& family,
                        ParameterStore& store);

/// Writes config.json and model.safetensors so that transformers loads them with no missing and no unexpected key: with one
/// head under that head's class, without a head as the bare model, with several with the masked language model's, where
/// there is one, else the first.
void write_model(const std::filesystem::path& directory, const ModelConfig& config, const std::vector<HeadSpec>& heads,
                 const std::vector<std::string>& labels, ParameterStore& store);

}  // namespace koine
