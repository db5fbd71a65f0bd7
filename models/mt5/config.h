#pragma once

// The keys of config.json that T5's descendants share, under transformers' names.

#include "models/config.h"
#include "models/config_reader.h"

namespace koine {

/// What a model may read: its positions are relative and have no end, what memory there is does.
inline constexpr std::int64_t kLongestText = 16384;

/// Fills all but the bias in every block. UserError for a feed-forward other than "gated-gelu" (T5 1.0's is "relu"), where
/// decoder_start_token_id is missing, and, with `scales_when_tied`, for a head whose inputs would be scaled.
void read_encoder_decoder(const ConfigReader& reader, ModelConfig& config, bool scales_when_tied);
void write_encoder_decoder(const ModelConfig& config, nlohmann::json& json);

}  // namespace koine
