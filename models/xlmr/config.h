#pragma once

// The keys of config.json that XLM-R and BERT-named encoders share.

#include "models/config.h"
#include "models/config_reader.h"

namespace koine {

/// What transformers takes where a key is missing.
struct EncoderDefaults {
  double layer_norm_eps = 1e-5;
  std::int64_t pad_token_id = 1;
  std::int64_t type_vocab_size = 1;
};

/// Fills all but norm and first_position. UserError for an activation other than "gelu", and for a decoder, whose attention
/// is causal.
void read_encoder(const ConfigReader& reader, ModelConfig& config, const EncoderDefaults& defaults);
void write_encoder(const ModelConfig& config, nlohmann::json& json);

}  // namespace koine
