#pragma once

// The files of a model's folder by which koine and transformers find its tokenizer.

#include <cstdint>
#include <filesystem>

#include "engine/tokenizer/tokenizer.h"

namespace koine {

/// Writes sentencepiece.bpe.model, and with it tokenizer.json and tokenizer_config.json, from which transformers' AutoTokenizer
/// makes the same ids and cuts at `maximum_length`. Those beside the tokenizer's own file (special_tokens_map.json too) are
/// taken over where their vocabulary is the same one; a model_max_length that is missing there, or more, becomes
/// `maximum_length`. A SentencePiece model of another kind than XLM-R's is written alone. UserError where a file cannot be
/// written.
void save_tokenizer(const Tokenizer& tokenizer, std::int64_t maximum_length, const std::filesystem::path& directory);

}  // namespace koine
