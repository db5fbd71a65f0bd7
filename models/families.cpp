#include "models/families.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "models/mt5/families.h"
#include "models/xlmr/families.h"

namespace koine {
namespace {

std::string all_model_types() {
  std::string text;
  for (const ModelFamily* family : model_families()) {
    for (const std::string_view type : family->model_types) text += concatenate(text.empty() ? "" : ", ", type);
  }
  return text;
}

/// Models of the Hugging Face hub that people still call by the names they had before hub names had an owner in front.
constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kFormerNames = {
    {{"xlm-roberta-base", "FacebookAI/xlm-roberta-base"},
     {"xlm-roberta-large", "FacebookAI/xlm-roberta-large"},
     {"bert-base-multilingual-cased", "google-bert/bert-base-multilingual-cased"},
     {"bert-base-multilingual-uncased", "google-bert/bert-base-multilingual-uncased"}}};

/// Whether it can be the hub's name of a model, "owner/name".
bool is_hub_name(const std::string& text) {
  constexpr std::string_view kCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
  const std::size_t slash = text.find('/');
  if (slash == std::string::npos) return false;
  const std::string parts[] = {text.substr(0, slash), text.substr(slash + 1)};
  return std::all_of(std::begin(parts), std::end(parts), [&](const std::string& part) {
    return !part.empty() && part.find_first_not_of(kCharacters) == std::string::npos && part.front() != '.';
  });
}

/// UserError for what is no folder with a config.json: what it is, and how to get one.
void require_model_directory(const std::filesystem::path& directory) {
  namespace fs = std::filesystem;
  const std::string text = directory.string();
  if (fs::exists(directory / "config.json")) return;
  if (fs::is_directory(directory)) {
    require(!fs::exists(directory / "model" / "config.json"), text, " holds no config.json: it is a run, and its model is ",
            (directory / "model").string());
    fail_user(text,
              " holds no config.json: no model as Hugging Face distributes them (config.json, model.safetensors and the "
              "tokenizer)");
  }
  require(!fs::exists(directory), text, " is a file; a model is the folder with its config.json, weights and tokenizer");
  const auto former = std::find_if(kFormerNames.begin(), kFormerNames.end(),
                                   [&](const auto& names) { return directory.filename().string() == names.first; });
  std::string hub = is_hub_name(text) ? text : "FacebookAI/xlm-roberta-base";
  std::string folder = hub.substr(hub.find('/') + 1);
  if (former != kFormerNames.end() && !is_hub_name(text)) {
    hub = former->second;
    folder = text;
  }
  fail_user("there is no folder ", text,
            ", and koine downloads nothing; a model is a folder with config.json, weights and "
            "tokenizer, as `hf download ",
            hub, " --local-dir ", folder, "` makes one of the Hugging Face hub's");
}

}  // namespace

std::span<const ModelFamily* const> model_families() {
  static const std::array<const ModelFamily*, 5> kFamilies = {&xlmr_family(), &bert_family(), &mt5_family(), &t5_family(),
                                                              &umt5_family()};
  return kFamilies;
}

const ModelFamily& default_family() { return *model_families().front(); }

const HeadParts& parts_of(const ModelConfig& config, HeadKind kind) {
  const ModelFamily& family = *config.family;
  if (kind == HeadKind::kSequence && config.classifier_pooler) kind = HeadKind::kSequencePooled;
  const auto row =
      std::find_if(family.heads.begin(), family.heads.end(), [kind](const HeadParts& parts) { return parts.kind == kind; });
  require(row != family.heads.end(), "a model of the family ", family.name, " has no ", facts_of(kind).name, " head");
  return *row;
}

ModelConfig read_model_config(const std::filesystem::path& directory) {
  require_model_directory(directory);
  const std::filesystem::path path = directory / "config.json";
  const std::string file = path.string();
  ModelConfig config;
  config.original = read_json(path);
  require(config.original.is_object(), file, ": a config.json is an object, this is ", config.original.type_name());
  const ConfigReader reader(config.original, file);
  const std::string type = reader.text_or("model_type", "");
  for (const ModelFamily* family : model_families()) {
    if (std::find(family->model_types.begin(), family->model_types.end(), type) == family->model_types.end()) continue;
    config.family = family;
    family->read(reader, config);
    require(config.encoder_decoder.head_size > 0 || config.hidden_size % config.num_attention_heads == 0, file,
            ": \"hidden_size\" ", config.hidden_size, " is not a multiple of \"num_attention_heads\" ",
            config.num_attention_heads);
    return config;
  }
  fail_user(file, ": key \"model_type\" is \"", type, "\"; koine reads ", all_model_types());
}

void state_transformers_version(nlohmann::json& json) {
  if (!json.contains("transformers_version")) json["transformers_version"] = "5.0.0";
}

ModelConfig published_model_config(const std::string& size) {
  std::string known;
  for (const ModelFamily* family : model_families()) {
    for (const PublishedShape& shape : family->published) {
      known += concatenate(known.empty() ? "" : ", ", shape.size);
      if (size != shape.size) continue;
      ModelConfig config;
      config.family = family;
      config.norm = shape.norm;
      config.num_hidden_layers = shape.layers;
      config.hidden_size = shape.hidden;
      config.num_attention_heads = shape.heads;
      config.intermediate_size = shape.intermediate;
      config.vocab_size = shape.vocabulary;
      if (family->complete_published != nullptr) family->complete_published(config);
      return config;
    }
  }
  fail_user("unknown model size \"", size, "\"; the published sizes are ", known);
}

}  // namespace koine
