#pragma once

// A transformers directory of a tiny mT5: two blocks, a tokenizer with bytes and sentinels, trained on a text.

#include <filesystem>
#include <string>

#include "engine/tokenizer/tokenizer_files.h"
#include "models/families.h"
#include "models/models.h"
#include "models/mt5/families.h"
#include "program.h"

namespace koine {

/// `rows` of the embedding table: more than pieces, as mT5's has.
inline void write_small_mt5(const std::filesystem::path& model, const std::string& text, std::int64_t rows,
                            std::int32_t pieces = 290, double initializer_range = 0.5) {
  const Folder folder;
  write_text(folder.path() / "text", text);
  Tokenizer::train({.inputs = {folder.path() / "text"},
                    .pieces = pieces,
                    .character_coverage = 1,
                    .numbering = kT5Numbering,
                    .byte_fallback = true,
                    .sentinels = 2},
                   folder.path() / "spiece.model");
  ModelConfig config;
  config.family = &mt5_family();
  config.norm = NormPlacement::kPre;
  config.vocab_size = rows;
  config.hidden_size = 16;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 2;
  config.intermediate_size = 24;
  config.pad_token_id = 0;
  config.initializer_range = initializer_range;
  config.tie_word_embeddings = false;
  config.encoder_decoder = {.head_size = 8, .decoder_layers = 2};
  ModelOptions options;
  options.heads = {{"", HeadKind::kTextToText, static_cast<std::int32_t>(rows)}};
  make_model(config, options)->save(model.string());
  save_tokenizer(Tokenizer(folder.path(), kT5Numbering), 512, model);
}

}  // namespace koine
