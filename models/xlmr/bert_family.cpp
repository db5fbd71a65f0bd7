// Encoders that call themselves BERT (Devlin et al., arXiv 1810.04805), multilingual BERT and multilingual E5 among them:
// XLM-R's function under other names, but that positions count from row 0 and that the classifier stands on the pooler.

#include <array>

#include "models/xlmr/config.h"
#include "models/xlmr/families.h"
#include "models/xlmr/parameters.h"
#include "models/xlmr/runner.h"

namespace koine {
namespace {

constexpr std::array<std::string_view, 1> kModelTypes = {"bert"};

constexpr std::array<ModelFamily::Alias, 2> kAliases = {
    {{"cls.predictions.bias", "cls.predictions.decoder.bias"},
     {"bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"}}};

constexpr std::array<std::string_view, 4> kRedundant = {"position_ids", "token_type_ids", "cls.predictions.decoder.weight",
                                                        "cls.predictions.decoder.bias"};

// transformers' BertForSequenceClassification reads the pooler's output, without a layer of its own before the last one.
constexpr std::array<HeadParts, 7> kHeads = {{
    {HeadKind::kMaskedLm, false, "cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm",
     "cls.predictions.bias", /*tied=*/true},
    {HeadKind::kSequence, true, "", "", "classifier"},
    {HeadKind::kSequencePooled, true, "", "", "classifier"},
    {HeadKind::kToken, false, "", "", "classifier"},
    {HeadKind::kSpan, false, "", "", "qa_outputs"},
    {HeadKind::kChoice, true, "", "", "classifier"},
    {HeadKind::kDualEncoder, true, "", "", "", false, "logit_scale"},  // XTREME-R's {XLMRoberta,Bert}ForRetrieval
}};

void read(const ConfigReader& reader, ModelConfig& config) {
  config.norm = NormPlacement::kPost;
  config.first_position = 0;
  read_encoder(reader, config, {.layer_norm_eps = 1e-12, .pad_token_id = 0, .type_vocab_size = 2});
}

void write(const ModelConfig& config, nlohmann::json& json) {
  json["model_type"] = "bert";
  write_encoder(config, json);
}

std::string_view class_prefix(const ModelConfig&) { return "Bert"; }

}  // namespace

const ModelFamily& bert_family() {
  static const ModelFamily kFamily = {.name = "BERT",
                                      .model_types = kModelTypes,
                                      .published = {},
                                      .numbering = kFairseqNumbering,  // multilingual E5's
                                      .read = read,
                                      .correct = nullptr,
                                      .write = write,
                                      .class_prefix = class_prefix,
                                      .prefix = "bert.",
                                      .aliases = kAliases,
                                      .redundant = kRedundant,
                                      .heads = kHeads,
                                      .parameters = encoder_parameter_table,
                                      .runner = make_encoder_runner,
                                      .forward_flops = encoder_forward_flops};
  return kFamily;
}

}  // namespace koine
