#pragma once

// XLM-R (Conneau et al., arXiv 1911.02116; Goyal et al., arXiv 2105.00572) with any of its heads, for training and
// prediction.

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "engine/execution/execution.h"
#include "engine/training/model.h"
#include "models/xlmr/config.h"

namespace koine {

struct ModelOptions {
  Execution execution;
  bool training = false;
  std::vector<HeadSpec> heads;      ///< none: encoder only
  std::uint32_t seed = 1;           ///< of fresh parameters
  std::vector<std::string> labels;  ///< id2label of a single classification head, for config.json
  /// On a device: record the work of a training batch that has a size seen before, and run the recording for the next ones.
  bool graphs = true;
};

/// A model with fresh parameters.
std::unique_ptr<Model> make_xlmr(const XlmrConfig& config, const ModelOptions& options);

/// What loading a checkpoint did, for the log.
struct LoadReport {
  std::vector<std::string> fresh;   ///< head parameters the checkpoint lacks, initialised from the seed
  std::vector<std::string> unused;  ///< tensors of the checkpoint this model has no place for
};

/// A model from a transformers directory (config.json, model.safetensors or shards). Encoder tensors must be there with the
/// right shapes (UserError naming tensor and file); heads that are missing, or of another size, are fresh. Accepts
/// checkpoints without the "roberta." prefix, with old gamma/beta names, and with position_ids buffers.
std::unique_ptr<Model> load_xlmr(const std::filesystem::path& directory, const ModelOptions& options,
                                 LoadReport* report = nullptr);

/// The parameter table such a model has, without its memory: for `koine estimate`.
ParameterTable xlmr_parameter_table(const XlmrConfig& config, const std::vector<HeadSpec>& heads);

/// Activation and scratch memory such a model would need for batches of up to `maximum_tokens`, by a dry run, without its
/// memory. For a device also where there is none.
MemoryPlan plan_xlmr_memory(const XlmrConfig& config, const ModelOptions& options, std::int64_t maximum_tokens);

/// FLOPs of a batch as Model::forward_flops counts them (performance.md 1.1).
double xlmr_forward_flops(const XlmrConfig& config, const HeadSpec& head, const std::vector<std::int64_t>& lengths,
                          std::int64_t counted_labels);

}  // namespace koine
