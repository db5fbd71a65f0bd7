#pragma once

// What `config.json` of an XLM-R checkpoint says.

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace koine {

/// Two families with one block: post-norm (XLM-R base, large: layernorm after each residual addition, and after the
/// embeddings) and pre-norm (XL, XXL: layernorm before, one more at the end, none after the embeddings).
enum class NormPlacement { kPost, kPre };

struct XlmrConfig {
  NormPlacement norm = NormPlacement::kPost;
  std::int64_t vocab_size = 250002;
  std::int64_t hidden_size = 768;
  std::int64_t num_hidden_layers = 12;
  std::int64_t num_attention_heads = 12;
  std::int64_t intermediate_size = 3072;
  std::int64_t max_position_embeddings = 514;
  std::int64_t type_vocab_size = 1;
  double layer_norm_eps = 1e-5;
  double hidden_dropout_prob = 0.1;
  double attention_probs_dropout_prob = 0.1;
  double classifier_dropout = -1;  ///< below 0: as hidden_dropout_prob
  double initializer_range = 0.02;
  std::int64_t pad_token_id = 1;
  nlohmann::json original;  ///< the file as read, so that saving changes only what must change

  std::int64_t head_size() const { return hidden_size / num_attention_heads; }
  /// Positions count from pad_token_id + 1, so this many tokens fit a sequence: 512 for XLM-R.
  std::int64_t maximum_length() const { return max_position_embeddings - pad_token_id - 1; }
  double head_dropout() const { return classifier_dropout < 0 ? hidden_dropout_prob : classifier_dropout; }
};

/// Reads and checks a config.json. UserError naming file and key: missing, of the wrong type, out of range, an activation
/// other than "gelu", hidden_size not divisible by num_attention_heads, a model_type that is neither xlm-roberta, roberta
/// nor xlm-roberta-xl. A file that declares xlm-roberta with an XL architecture or XL keys is corrected by load_model, which
/// sees the weights.
XlmrConfig read_xlmr_config(const std::filesystem::path& path);

/// "base", "large", "xl", "xxl": the published shapes (task-facts 5.1). UserError for another name.
XlmrConfig published_xlmr_config(const std::string& size);

}  // namespace koine
