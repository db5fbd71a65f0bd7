#include "models/mt5/config.h"

#include <nlohmann/json.hpp>

#include "kernels/attention/relative_position.h"
#include "kernels/common/check.h"

namespace koine {

void read_encoder_decoder(const ConfigReader& reader, ModelConfig& config, bool scales_when_tied) {
  const std::string feed_forward = reader.text_or("feed_forward_proj", "gated-gelu");
  require(feed_forward == "gated-gelu", reader.file(), ": key \"feed_forward_proj\" is \"", feed_forward,
          "\"; koine has \"gated-gelu\", as mT5, umT5 and T5 1.1 have it");
  require(reader.flag_or("is_encoder_decoder", true), reader.file(),
          ": key \"is_encoder_decoder\" is false; koine runs these models whole");
  config.norm = NormPlacement::kPre;
  config.tie_word_embeddings = reader.flag_or("tie_word_embeddings", true);
  require(
      !scales_when_tied || !reader.flag_or("scale_decoder_outputs", config.tie_word_embeddings), reader.file(),
      ": key \"tie_word_embeddings\" is true or missing, so that the head's inputs would be scaled by 1 / sqrt(d_model), ",
      "as T5 1.0 has it; koine has T5 1.1's, whose config.json says false, or \"scale_decoder_outputs\" false");
  config.vocab_size = reader.dimension("vocab_size");
  config.hidden_size = reader.dimension("d_model");
  config.num_hidden_layers = reader.dimension("num_layers", 1, ConfigReader::kMostLayers);
  config.num_attention_heads = reader.dimension("num_heads", 1, ConfigReader::kMostHeads);
  config.intermediate_size = reader.dimension("d_ff");
  config.pad_token_id = reader.dimension_or("pad_token_id", 0, 0);
  config.max_position_embeddings = kLongestText;
  config.first_position = 0;
  config.layer_norm_eps = reader.number_or("layer_norm_epsilon", 1e-6, 0, 1);
  config.hidden_dropout_prob = reader.number_or("dropout_rate", 0.1, 0, ConfigReader::kDropoutBelow);
  config.attention_probs_dropout_prob = config.hidden_dropout_prob;
  EncoderDecoderConfig& more = config.encoder_decoder;
  more.head_size = reader.dimension("d_kv");
  more.decoder_layers = reader.dimension_or("num_decoder_layers", config.num_hidden_layers, 1, ConfigReader::kMostLayers);
  more.relative_buckets = static_cast<std::int32_t>(reader.dimension_or("relative_attention_num_buckets", 32, 4));
  more.relative_max_distance = static_cast<std::int32_t>(reader.dimension_or("relative_attention_max_distance", 128, 1));
  require(more.relative_buckets % 2 == 0 && more.relative_buckets <= kMostRelativeBuckets, reader.file(),
          ": key \"relative_attention_num_buckets\" is ", more.relative_buckets, ", not an even number from 4 to ",
          kMostRelativeBuckets);
  require(more.relative_max_distance > more.relative_buckets / 2, reader.file(),
          ": key \"relative_attention_max_distance\" is ", more.relative_max_distance, ", not above half of the ",
          more.relative_buckets, " buckets");
  more.decoder_start_token_id = static_cast<std::int32_t>(reader.dimension("decoder_start_token_id", 0));
  more.eos_token_id = static_cast<std::int32_t>(reader.dimension_or("eos_token_id", 1, 0));
}

void write_encoder_decoder(const ModelConfig& config, nlohmann::json& json) {
  const EncoderDecoderConfig& more = config.encoder_decoder;
  json["vocab_size"] = config.vocab_size;
  json["d_model"] = config.hidden_size;
  json["d_kv"] = config.head_size();
  json["d_ff"] = config.intermediate_size;
  json["num_layers"] = config.num_hidden_layers;
  json["num_decoder_layers"] = more.decoder_layers;
  json["num_heads"] = config.num_attention_heads;
  json["relative_attention_num_buckets"] = more.relative_buckets;
  json["relative_attention_max_distance"] = more.relative_max_distance;
  json["dropout_rate"] = config.hidden_dropout_prob;
  json["layer_norm_epsilon"] = config.layer_norm_eps;
  json["feed_forward_proj"] = "gated-gelu";
  json["is_encoder_decoder"] = true;
  json["tie_word_embeddings"] = config.tie_word_embeddings;
  json["pad_token_id"] = config.pad_token_id;
  json["eos_token_id"] = more.eos_token_id;
  json["decoder_start_token_id"] = more.decoder_start_token_id;
}

}  // namespace koine
