#pragma once

// XLM-R's weights in and out of a transformers directory.

#include <filesystem>
#include <string>
#include <vector>

#include "engine/files/safetensors.h"
#include "models/xlmr/parameters.h"
#include "models/xlmr/xlmr.h"

namespace koine {

/// The family the tensors themselves show: a config.json may declare the wrong one (an early XXL did).
NormPlacement norm_placement_of(const ModelWeights& weights, NormPlacement declared);

/// Fills the master weights. Encoder parameters must be there; heads that are missing or of another shape keep what they
/// have and are reported. UserError naming tensor and file otherwise.
LoadReport read_weights(const ModelWeights& weights, const std::filesystem::path& directory, ParameterStore& store);

/// Writes config.json and model.safetensors so that transformers loads them with no missing and no unexpected key: with one
/// head under that head's class, without a head as XLMRobertaModel, with several with the masked language model's, where
/// there is one, else the first.
void write_model(const std::filesystem::path& directory, const XlmrConfig& config, const std::vector<HeadSpec>& heads,
                 const std::vector<std::string>& labels, ParameterStore& store);

}  // namespace koine
