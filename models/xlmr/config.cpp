#include "models/xlmr/config.h"

#include <nlohmann/json.hpp>

#include "kernels/common/check.h"

namespace koine {

void read_encoder(const ConfigReader& reader, ModelConfig& config, const EncoderDefaults& defaults) {
  const std::string activation = reader.text_or("hidden_act", "gelu");
  require(activation == "gelu", reader.file(), ": key \"hidden_act\" is \"", activation, "\"; ", "koine has \"gelu\"");
  const std::string positions = reader.text_or("position_embedding_type", "absolute");
  require(positions == "absolute", reader.file(), ": key \"position_embedding_type\" is \"", positions,
          "\"; koine has \"absolute\"");
  for (const char* key : {"is_decoder", "add_cross_attention"}) {
    require(!reader.flag_or(key, false), reader.file(), ": key \"", key,
            "\" is true: this is a decoder, and koine runs encoders");
  }
  config.tie_word_embeddings = reader.flag_or("tie_word_embeddings", true);
  config.vocab_size = reader.dimension("vocab_size");
  config.hidden_size = reader.dimension("hidden_size");
  config.num_hidden_layers = reader.dimension("num_hidden_layers", 1, ConfigReader::kMostLayers);
  config.num_attention_heads = reader.dimension("num_attention_heads", 1, ConfigReader::kMostHeads);
  config.intermediate_size = reader.dimension("intermediate_size");
  config.pad_token_id = reader.dimension_or("pad_token_id", defaults.pad_token_id, 0);
  config.max_position_embeddings = reader.dimension("max_position_embeddings");
  config.type_vocab_size = reader.dimension_or("type_vocab_size", defaults.type_vocab_size, 1);
  config.layer_norm_eps = reader.number_or("layer_norm_eps", defaults.layer_norm_eps, 0, 1);
  config.hidden_dropout_prob = reader.number_or("hidden_dropout_prob", 0.1, 0, ConfigReader::kDropoutBelow);
  config.attention_probs_dropout_prob =
      reader.number_or("attention_probs_dropout_prob", 0.1, 0, ConfigReader::kDropoutBelow);
  config.classifier_dropout = reader.number_or("classifier_dropout", -1, 0, ConfigReader::kDropoutBelow);
  config.initializer_range = reader.number_or("initializer_range", 0.02, 0, 10);
}

void write_encoder(const ModelConfig& config, nlohmann::json& json) {
  json["vocab_size"] = config.vocab_size;
  json["hidden_size"] = config.hidden_size;
  json["num_hidden_layers"] = config.num_hidden_layers;
  json["num_attention_heads"] = config.num_attention_heads;
  json["intermediate_size"] = config.intermediate_size;
  json["max_position_embeddings"] = config.max_position_embeddings;
  json["type_vocab_size"] = config.type_vocab_size;
  json["layer_norm_eps"] = config.layer_norm_eps;
  json["hidden_dropout_prob"] = config.hidden_dropout_prob;
  json["attention_probs_dropout_prob"] = config.attention_probs_dropout_prob;
  if (config.classifier_dropout >= 0) json["classifier_dropout"] = config.classifier_dropout;
  json["initializer_range"] = config.initializer_range;
  json["hidden_act"] = "gelu";
  json["pad_token_id"] = config.pad_token_id;
  json["tie_word_embeddings"] = true;
}

}  // namespace koine
