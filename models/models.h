#pragma once

// Models of every family (families.h) with any of their heads, for training and prediction.

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/execution/execution.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/training/model.h"
#include "models/config.h"

namespace koine {

struct ModelOptions {
  Execution execution;
  bool training = false;
  std::vector<HeadSpec> heads;               ///< none: encoder only
  std::uint32_t seed = 1;                    ///< of fresh parameters
  MasterKind master = MasterKind::kFloat32;  ///< training in mixed precision: what is kept of a weight beside its bf16
  /// Training: keep of each block its output alone, and run its forward again in backward: the same bits in less memory.
  bool recompute = false;
  bool shared = false;              ///< training: the execution's ranks share out the masters,
  bool shared_gradients = false;    ///< and the gradients too
  std::vector<std::string> labels;  ///< id2label of a single classification head, for config.json
  /// On a device: record the work of a training batch that has a size seen before, and run the recording for the next ones.
  bool graphs = true;
};

/// A model with fresh parameters.
std::unique_ptr<Model> make_model(const ModelConfig& config, const ModelOptions& options);

/// What loading a checkpoint did, for the log.
struct LoadReport {
  std::vector<std::string> fresh;   ///< head parameters the checkpoint lacks, initialised from the seed
  std::vector<std::string> unused;  ///< tensors of the checkpoint this model has no place for
  std::vector<std::string> notes;   ///< where config.json and the tensors disagree: the tensors count
};

/// A model from a transformers directory (config.json, model.safetensors or shards). Encoder tensors must be there with the
/// right shapes and finite values (UserError naming tensor and file); heads that are missing, or of another size, are fresh. Accepts
/// checkpoints without the prefix of their family ("roberta."), with old gamma/beta names, and with position_ids buffers.
std::unique_ptr<Model> load_model(const std::filesystem::path& directory, const ModelOptions& options,
                                  LoadReport* report = nullptr);

/// Brings the classes of a model's only head into the order of `labels`: they are called as `told` has it (--labels), or where
/// that is empty as the id2label of its config.json does. Names are compared without regard to case. UserError naming `where`
/// and what is missing where a label is not among them, and where nothing says what the classes are: without id2label, or with
/// transformers' placeholders LABEL_0 ... No labels: nothing is ordered.
void order_classes(Model& model, const ModelConfig& config, const std::vector<std::string>& labels,
                   const std::vector<std::string>& told, const std::string& where);

/// "XLM-R": the family of a configuration, for people.
std::string_view family_name(const ModelConfig& config);

/// The tokenizer at `path`, a model's directory or a SentencePiece file, numbered as the model's family has it.
Tokenizer load_tokenizer(const ModelConfig& config, const std::filesystem::path& path);

/// Gives a directory whose config.json is that of a family here what transformers from version 5 on looks for and it lacks: a
/// transformers_version, tokenizer.json, tokenizer_config.json. Of other directories nothing is changed.
void complete_model_directory(const std::filesystem::path& directory);

/// The parameter table such a model has, without its memory: for `koine estimate`.
ParameterTable model_parameter_table(const ModelConfig& config, const std::vector<HeadSpec>& heads);

/// Activation and scratch memory such a model would need for batches of up to `maximum_tokens`, by a dry run, without its
/// memory. For a device also where there is none.
MemoryPlan plan_model_memory(const ModelConfig& config, const ModelOptions& options, std::int64_t maximum_tokens);

/// FLOPs of a batch as Model::forward_flops counts them: two for each multiplication and addition of the products and of
/// attention, nothing else. Without a head (null) those of the encoder; with a text-to-text head those of targets that share
/// its counted labels evenly.
double model_forward_flops(const ModelConfig& config, const HeadSpec* head, const std::vector<std::int64_t>& lengths,
                           std::int64_t counted_labels);

}  // namespace koine
