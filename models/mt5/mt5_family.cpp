// mT5, and those of the same function: T5 1.1 and umT5.

#include <array>

#include "models/families.h"
#include "models/mt5/config.h"
#include "models/mt5/families.h"
#include "models/mt5/parameters.h"
#include "models/mt5/runner.h"

namespace koine {
namespace {

constexpr std::array<std::string_view, 1> kMt5Types = {"mt5"};
constexpr std::array<std::string_view, 1> kT5Types = {"t5"};
constexpr std::array<std::string_view, 1> kUmt5Types = {"umt5"};

// Hugging Face configurations of the published checkpoints.
constexpr std::array<PublishedShape, 5> kMt5Published = {{{"mt5-small", NormPlacement::kPre, 8, 512, 6, 1024, 250112},
                                                          {"mt5-base", NormPlacement::kPre, 12, 768, 12, 2048, 250112},
                                                          {"mt5-large", NormPlacement::kPre, 24, 1024, 16, 2816, 250112},
                                                          {"mt5-xl", NormPlacement::kPre, 24, 2048, 32, 5120, 250112},
                                                          {"mt5-xxl", NormPlacement::kPre, 24, 4096, 64, 10240, 250112}}};

// safetensors keeps one name of tensors that share memory.
constexpr std::array<ModelFamily::Alias, 3> kMt5Aliases = {{{"shared.weight", "encoder.embed_tokens.weight"},
                                                            {"shared.weight", "decoder.embed_tokens.weight"},
                                                            {"shared.weight", "lm_head.weight"}}};

// Some published files have a bias of cross-attention, which nothing reads (transformers ignores it, too).
constexpr std::array<std::string_view, 4> kMt5Redundant = {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight",
                                                           "EncDecAttention.relative_attention_bias.weight",
                                                           "lm_head.weight"};

constexpr std::array<HeadParts, 1> kMt5Heads = {{{HeadKind::kTextToText, false, "", "", "lm_head"}}};

void read_mt5(const ConfigReader& reader, ModelConfig& config) { read_encoder_decoder(reader, config, false); }
void read_t5(const ConfigReader& reader, ModelConfig& config) { read_encoder_decoder(reader, config, true); }
void read_umt5(const ConfigReader& reader, ModelConfig& config) {
  read_encoder_decoder(reader, config, true);
  config.encoder_decoder.bias_in_every_block = true;
}

void write_mt5(const ModelConfig& config, nlohmann::json& json) {
  json["model_type"] = "mt5";
  write_encoder_decoder(config, json);
}
void write_t5(const ModelConfig& config, nlohmann::json& json) {
  json["model_type"] = "t5";
  json["scale_decoder_outputs"] = false;
  write_encoder_decoder(config, json);
}
void write_umt5(const ModelConfig& config, nlohmann::json& json) {
  json["model_type"] = "umt5";
  json["scale_decoder_outputs"] = false;
  write_encoder_decoder(config, json);
}

/// A head of its own is there or is not, whatever config.json says: transformers writes "tie_word_embeddings" true for models
/// whose file has both. Files of an encoder and a decoder without a head say nothing.
void correct_head(const ModelWeights& weights, ModelConfig& config) {
  const bool words = weights.contains("shared.weight") || weights.contains("encoder.embed_tokens.weight");
  const bool head = weights.contains("lm_head.weight");
  if (words) config.tie_word_embeddings = !head;
}

std::string_view mt5_prefix(const ModelConfig&) { return "MT5"; }
std::string_view t5_prefix(const ModelConfig&) { return "T5"; }
std::string_view umt5_prefix(const ModelConfig&) { return "UMT5"; }

void complete_mt5(ModelConfig& config) {
  config.max_position_embeddings = kLongestText;
  config.first_position = 0;
  config.layer_norm_eps = 1e-6;
  config.pad_token_id = 0;
  config.tie_word_embeddings = false;
  config.encoder_decoder.head_size = 64;
  config.encoder_decoder.decoder_layers = config.num_hidden_layers;
}

/// What is each one's own; the rest they have in common.
struct Descendant {
  std::string_view name;
  std::span<const std::string_view> model_types;
  std::span<const PublishedShape> published;
  decltype(ModelFamily::read) read;
  decltype(ModelFamily::write) write;
  decltype(ModelFamily::class_prefix) class_prefix;
};

ModelFamily family_of(const Descendant& own) {
  return {.name = own.name,
          .model_types = own.model_types,
          .published = own.published,
          .numbering = kT5Numbering,
          .read = own.read,
          .correct = correct_head,
          .write = own.write,
          .class_prefix = own.class_prefix,
          .prefix = "",
          .aliases = kMt5Aliases,
          .redundant = kMt5Redundant,
          .heads = kMt5Heads,
          .parameters = encoder_decoder_parameter_table,
          .runner = make_encoder_decoder_runner,
          .forward_flops = encoder_decoder_forward_flops,
          .complete_published = complete_mt5};
}

}  // namespace

const ModelFamily& mt5_family() {
  static const ModelFamily kFamily = family_of({"mT5", kMt5Types, kMt5Published, read_mt5, write_mt5, mt5_prefix});
  return kFamily;
}

const ModelFamily& t5_family() {
  static const ModelFamily kFamily = family_of({"T5", kT5Types, {}, read_t5, write_t5, t5_prefix});
  return kFamily;
}

const ModelFamily& umt5_family() {
  static const ModelFamily kFamily = family_of({"umT5", kUmt5Types, {}, read_umt5, write_umt5, umt5_prefix});
  return kFamily;
}

}  // namespace koine
