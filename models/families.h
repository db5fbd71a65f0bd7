#pragma once

// The families of models: one row says everything that koine has to know of one. Adding a model is a folder with its runner
// and its row, and a line in families.cpp (docs/adding-a-model.md).

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/files/safetensors.h"
#include "engine/parameters/parameter_table.h"
#include "engine/tokenizer/special_tokens.h"
#include "models/config.h"
#include "models/config_reader.h"
#include "models/heads/head.h"
#include "models/runner.h"

namespace koine {

/// A published size; what it leaves out is ModelConfig's default.
struct PublishedShape {
  std::string_view size;
  NormPlacement norm = NormPlacement::kPost;
  std::int64_t layers = 0;
  std::int64_t hidden = 0;
  std::int64_t heads = 0;
  std::int64_t intermediate = 0;
  std::int64_t vocabulary = 0;
};

struct ModelFamily {
  std::string_view name;                          ///< for people
  std::span<const std::string_view> model_types;  ///< how config.json spells it
  std::span<const PublishedShape> published;
  /// How a SentencePiece model in its directories is numbered, and what stands around texts. The directory decides which
  /// kind of tokenizer it is.
  SentencePieceNumbering numbering = kFairseqNumbering;

  /// Fills the numbers of a config.json whose model_type is one of these.
  void (*read)(const ConfigReader& reader, ModelConfig& config) = nullptr;
  /// Corrects what the tensors of a checkpoint know better than its config.json; null: nothing.
  void (*correct)(const ModelWeights& weights, ModelConfig& config) = nullptr;
  /// Writes the numbers, and the model_type, into the config.json of a model that is saved.
  void (*write)(const ModelConfig& config, nlohmann::json& json) = nullptr;
  /// What transformers' class names begin with: "XLMRoberta".
  std::string_view (*class_prefix)(const ModelConfig& config) = nullptr;

  /// What the names of the encoder's tensors begin with, but in a file that holds no head ("roberta.").
  std::string_view prefix;
  /// Another name that files have for a tensor.
  struct Alias {
    std::string_view name;
    std::string_view other;
  };
  std::span<const Alias> aliases;
  /// Ends of the names of tensors that say nothing new: buffers, copies of tied weights.
  std::span<const std::string_view> redundant;
  std::span<const HeadParts> heads;  ///< one for each kind of head it can have

  /// Every parameter, named as transformers names it.
  ParameterTable (*parameters)(const ModelConfig& config, const std::vector<HeadSpec>& heads) = nullptr;
  /// What runs it, on the parameters of that table. The addresses are read during the call only.
  std::unique_ptr<ModelRunner> (*runner)(const ModelConfig& config, DType type, const std::vector<HeadSpec>& heads,
                                         const ParameterAddresses& addresses) = nullptr;
  /// Forward FLOPs of the model without a head, two for each multiplication and addition; of its decoder where `targets` has
  /// the lengths of what that reads.
  double (*forward_flops)(const ModelConfig& config, const std::vector<std::int64_t>& lengths,
                          const std::vector<std::int64_t>& targets) = nullptr;
  /// Numbers of a published shape that PublishedShape leaves out; null: none.
  void (*complete_published)(ModelConfig& config) = nullptr;
};

/// All of them; the first is default_family().
std::span<const ModelFamily* const> model_families();

/// The parts of a head of a model. UserError where its family has no such head.
const HeadParts& parts_of(const ModelConfig& config, HeadKind kind);

}  // namespace koine
