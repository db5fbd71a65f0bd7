#include "models/xlmr/config.h"

#include <array>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"

namespace koine {
namespace {

// The largest value a dimension may have: products of two stay far from overflow.
constexpr std::int64_t kLargestDimension = std::int64_t{1} << 24;

class ConfigReader {
 public:
  ConfigReader(const nlohmann::json& json, std::string file) : json_(json), file_(std::move(file)) {}

  std::int64_t dimension(const char* key, std::int64_t smallest = 1) const {
    require(json_.contains(key), file_, ": key \"", key, "\" is missing");
    const nlohmann::json& value = json_[key];
    require(value.is_number_integer(), file_, ": key \"", key, "\" must be a whole number, it is ", value.dump());
    const std::int64_t number = value.get<std::int64_t>();
    require(number >= smallest && number <= kLargestDimension, file_, ": key \"", key, "\" must be between ", smallest,
            " and ", kLargestDimension, ", it is ", number);
    return number;
  }
  std::int64_t dimension_or(const char* key, std::int64_t otherwise, std::int64_t smallest) const {
    return json_.contains(key) && !json_[key].is_null() ? dimension(key, smallest) : otherwise;
  }
  double number_or(const char* key, double otherwise, double smallest, double below) const {
    if (!json_.contains(key) || json_[key].is_null()) return otherwise;
    const nlohmann::json& value = json_[key];
    require(value.is_number(), file_, ": key \"", key, "\" must be a number, it is ", value.dump());
    const double number = value.get<double>();
    require(number >= smallest && number < below, file_, ": key \"", key, "\" must be at least ", smallest, " and below ",
            below, ", it is ", number);
    return number;
  }
  std::string text_or(const char* key, const std::string& otherwise) const {
    if (!json_.contains(key)) return otherwise;
    require(json_[key].is_string(), file_, ": key \"", key, "\" must be a string, it is ", json_[key].dump());
    return json_[key].get<std::string>();
  }
  std::string first_architecture() const {
    if (!json_.contains("architectures") || !json_["architectures"].is_array() || json_["architectures"].empty()) return "";
    const nlohmann::json& first = json_["architectures"][0];
    return first.is_string() ? first.get<std::string>() : "";
  }

 private:
  const nlohmann::json& json_;
  std::string file_;
};

}  // namespace

XlmrConfig read_xlmr_config(const std::filesystem::path& path) {
  const std::string file = path.string();
  XlmrConfig config;
  config.original = read_json(path);
  require(config.original.is_object(), file, ": a config.json is an object, this is ", config.original.type_name());
  const ConfigReader reader(config.original, file);

  const std::string type = reader.text_or("model_type", "");
  require(type == "xlm-roberta" || type == "roberta" || type == "xlm-roberta-xl", file, ": key \"model_type\" is \"", type,
          "\"; koine reads xlm-roberta, roberta and xlm-roberta-xl");
  const bool xl = type == "xlm-roberta-xl" || reader.first_architecture().starts_with("XLMRobertaXL");
  config.norm = xl ? NormPlacement::kPre : NormPlacement::kPost;
  const std::string activation = reader.text_or("hidden_act", "gelu");
  require(activation == "gelu", file, ": key \"hidden_act\" is \"", activation, "\"; XLM-R's is \"gelu\"");

  config.vocab_size = reader.dimension("vocab_size");
  config.hidden_size = reader.dimension("hidden_size");
  config.num_hidden_layers = reader.dimension("num_hidden_layers");
  config.num_attention_heads = reader.dimension("num_attention_heads");
  config.intermediate_size = reader.dimension("intermediate_size");
  config.pad_token_id = reader.dimension_or("pad_token_id", 1, 0);
  config.max_position_embeddings = reader.dimension("max_position_embeddings", config.pad_token_id + 2);
  config.type_vocab_size = reader.dimension_or("type_vocab_size", 1, 1);
  config.layer_norm_eps = reader.number_or("layer_norm_eps", 1e-5, 0, 1);
  config.hidden_dropout_prob = reader.number_or("hidden_dropout_prob", 0.1, 0, 1);
  config.attention_probs_dropout_prob = reader.number_or("attention_probs_dropout_prob", 0.1, 0, 1);
  config.classifier_dropout = reader.number_or("classifier_dropout", -1, 0, 1);
  config.initializer_range = reader.number_or("initializer_range", 0.02, 0, 10);
  require(config.hidden_size % config.num_attention_heads == 0, file, ": \"hidden_size\" ", config.hidden_size,
          " is not a multiple of \"num_attention_heads\" ", config.num_attention_heads);
  return config;
}

XlmrConfig published_xlmr_config(const std::string& size) {
  struct Shape {
    const char* name;
    NormPlacement norm;
    std::int64_t layers, hidden, heads, intermediate, vocabulary;
  };
  // Hugging Face configurations of the four published checkpoints.
  static constexpr std::array<Shape, 4> kShapes = {{{"base", NormPlacement::kPost, 12, 768, 12, 3072, 250002},
                                                    {"large", NormPlacement::kPost, 24, 1024, 16, 4096, 250002},
                                                    {"xl", NormPlacement::kPre, 36, 2560, 32, 10240, 250880},
                                                    {"xxl", NormPlacement::kPre, 48, 4096, 32, 16384, 250880}}};
  for (const Shape& shape : kShapes) {
    if (size != shape.name) continue;
    XlmrConfig config;
    config.norm = shape.norm;
    config.num_hidden_layers = shape.layers;
    config.hidden_size = shape.hidden;
    config.num_attention_heads = shape.heads;
    config.intermediate_size = shape.intermediate;
    config.vocab_size = shape.vocabulary;
    return config;
  }
  fail_user("unknown model size \"", size, "\"; the published XLM-R sizes are base, large, xl and xxl");
}

}  // namespace koine
