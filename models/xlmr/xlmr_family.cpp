// XLM-R base and large (post-norm), XL and XXL (pre-norm), and RoBERTa's of the same layout.

#include <array>

#include "kernels/common/check.h"
#include "models/xlmr/config.h"
#include "models/xlmr/families.h"
#include "models/xlmr/parameters.h"
#include "models/xlmr/runner.h"

namespace koine {
namespace {

constexpr std::array<std::string_view, 3> kModelTypes = {"xlm-roberta", "xlm-roberta-xl", "roberta"};

// Hugging Face configurations of the four published checkpoints.
constexpr std::array<PublishedShape, 4> kPublished = {{{"base", NormPlacement::kPost, 12, 768, 12, 3072, 250002},
                                                       {"large", NormPlacement::kPost, 24, 1024, 16, 4096, 250002},
                                                       {"xl", NormPlacement::kPre, 36, 2560, 32, 10240, 250880},
                                                       {"xxl", NormPlacement::kPre, 48, 4096, 32, 16384, 250880}}};

// safetensors keeps one name of tensors that share memory, which may be the head's.
constexpr std::array<ModelFamily::Alias, 2> kAliases = {
    {{"lm_head.bias", "lm_head.decoder.bias"}, {"roberta.embeddings.word_embeddings.weight", "lm_head.decoder.weight"}}};

constexpr std::array<std::string_view, 4> kRedundant = {"position_ids", "token_type_ids", "lm_head.decoder.weight",
                                                        "lm_head.decoder.bias"};

// transformers' RobertaClassificationHead reads the raw first token; jiant's the pooler's output (ModelConfig::classifier_pooler).
constexpr std::array<HeadParts, 7> kHeads = {{
    {HeadKind::kMaskedLm, false, "lm_head.dense", "lm_head.layer_norm", "lm_head.bias", /*tied=*/true},
    {HeadKind::kSequence, false, "classifier.dense", "", "classifier.out_proj"},
    {HeadKind::kSequencePooled, true, "classifier.dense", "", "classifier.out_proj"},
    {HeadKind::kToken, false, "", "", "classifier"},
    {HeadKind::kSpan, false, "", "", "qa_outputs"},
    {HeadKind::kChoice, true, "", "", "classifier"},
    {HeadKind::kDualEncoder, true, "", "", "", false, "logit_scale"},  // XTREME-R's {XLMRoberta,Bert}ForRetrieval
}};

bool is_xl(const ModelConfig& config) { return config.norm == NormPlacement::kPre; }

void read(const ConfigReader& reader, ModelConfig& config) {
  const bool xl =
      reader.text_or("model_type", "") == "xlm-roberta-xl" || reader.first_architecture().starts_with("XLMRobertaXL");
  config.norm = xl ? NormPlacement::kPre : NormPlacement::kPost;
  read_encoder(reader, config, {.layer_norm_eps = xl ? 1e-5 : 1e-12, .pad_token_id = 1, .type_vocab_size = 1});
  config.classifier_pooler = reader.flag_or("classifier_pooler", false);
  config.first_position = config.pad_token_id + 1;
  require(config.max_position_embeddings > config.first_position, reader.file(),
          ": key \"max_position_embeddings\" must be ", "above ", config.first_position, ", it is ",
          config.max_position_embeddings);
}

/// An early XXL declares xlm-roberta.
void correct(const ModelWeights& weights, ModelConfig& config) {
  bool input_norm = false;
  bool output_norm = false;
  for (const std::string& name : weights.names()) {
    input_norm = input_norm || name.find(".attention.self_attn_layer_norm.") != std::string::npos;
    output_norm = output_norm || name.find(".attention.output.LayerNorm.") != std::string::npos;
  }
  if (input_norm != output_norm) config.norm = input_norm ? NormPlacement::kPre : NormPlacement::kPost;
}

void write(const ModelConfig& config, nlohmann::json& json) {
  json["model_type"] = is_xl(config) ? "xlm-roberta-xl" : "xlm-roberta";
  write_encoder(config, json);
  if (config.classifier_pooler) json["classifier_pooler"] = true;
  json["bos_token_id"] = 0;
  json["eos_token_id"] = 2;
}

std::string_view class_prefix(const ModelConfig& config) { return is_xl(config) ? "XLMRobertaXL" : "XLMRoberta"; }

}  // namespace

const ModelFamily& xlmr_family() {
  static const ModelFamily kFamily = {.name = "XLM-R",
                                      .model_types = kModelTypes,
                                      .published = kPublished,
                                      .numbering = kFairseqNumbering,
                                      .read = read,
                                      .correct = correct,
                                      .write = write,
                                      .class_prefix = class_prefix,
                                      .prefix = "roberta.",
                                      .aliases = kAliases,
                                      .redundant = kRedundant,
                                      .heads = kHeads,
                                      .parameters = encoder_parameter_table,
                                      .runner = make_encoder_runner,
                                      .forward_flops = encoder_forward_flops};
  return kFamily;
}

}  // namespace koine
