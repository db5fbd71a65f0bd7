#pragma once

// What `config.json` of a model says.

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "models/layers/norm.h"

namespace koine {

struct ModelFamily;
/// XLM-R: what a configuration that is not read from a file belongs to.
const ModelFamily& default_family();

/// What models of an encoder and a decoder have besides.
struct EncoderDecoderConfig {
  std::int64_t head_size = 0;          ///< "d_kv": any, not hidden_size / num_attention_heads alone
  std::int64_t decoder_layers = 0;     ///< "num_decoder_layers"
  std::int32_t relative_buckets = 32;  ///< "relative_attention_num_buckets"
  std::int32_t relative_max_distance = 128;
  bool bias_in_every_block = false;  ///< umT5: every block of a stack has a table of relative positions of its own
  std::int32_t decoder_start_token_id = 0;
  std::int32_t eos_token_id = 1;
};

/// The numbers of a transformer encoder under the names of config.json; the defaults are XLM-R base's.
struct ModelConfig {
  const ModelFamily* family = &default_family();
  NormPlacement norm = NormPlacement::kPost;
  std::int64_t vocab_size = 250002;
  std::int64_t hidden_size = 768;
  std::int64_t num_hidden_layers = 12;
  std::int64_t num_attention_heads = 12;
  std::int64_t intermediate_size = 3072;
  std::int64_t max_position_embeddings = 514;
  std::int64_t first_position = 2;  ///< row of the position embeddings that the first token of a sequence gets
  std::int64_t type_vocab_size = 1;
  double layer_norm_eps = 1e-5;
  double hidden_dropout_prob = 0.1;
  double attention_probs_dropout_prob = 0.1;
  double classifier_dropout = -1;  ///< below 0: as hidden_dropout_prob
  /// config.json's "classifier_pooler", a key of koine: XLM-R's classifier reads tanh(pooler(first token)), as jiant's does, not the
  /// first token itself, as transformers' RobertaClassificationHead does.
  bool classifier_pooler = false;
  double initializer_range = 0.02;
  std::int64_t pad_token_id = 1;
  /// False: a masked-language head has a decoder of its own, which koine does not run; a text-to-text head one that it does.
  bool tie_word_embeddings = true;
  EncoderDecoderConfig encoder_decoder;  ///< decoder_layers 0: an encoder alone
  nlohmann::json original;               ///< the file as read, so that saving changes only what must change

  std::int64_t head_size() const {
    return encoder_decoder.head_size > 0 ? encoder_decoder.head_size : hidden_size / num_attention_heads;
  }
  /// Tokens of the longest sequence: 512 for XLM-R.
  std::int64_t maximum_length() const { return max_position_embeddings - first_position; }
  double head_dropout() const { return classifier_dropout < 0 ? hidden_dropout_prob : classifier_dropout; }
};

/// Reads and checks the config.json of a model directory. UserError naming file and key: missing, of the wrong type, out of
/// range, a model_type of no family, numbers that do not fit each other.
ModelConfig read_model_config(const std::filesystem::path& directory);

/// Gives a config.json that names no transformers_version the one whose files ours are like: some versions take the tokenizer
/// beside a config without it for another model's, warn, and offer to change it.
void state_transformers_version(nlohmann::json& json);

/// A published shape by its size: XLM-R's "base", "large", "xl" and "xxl". UserError naming all for another name.
ModelConfig published_model_config(const std::string& size);

}  // namespace koine
