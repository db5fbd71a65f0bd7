#include "models/families.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
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

}  // namespace

std::span<const ModelFamily* const> model_families() {
  static const std::array<const ModelFamily*, 2> kFamilies = {&xlmr_family(), &bert_family()};
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
    require(config.hidden_size % config.num_attention_heads == 0, file, ": \"hidden_size\" ", config.hidden_size,
            " is not a multiple of \"num_attention_heads\" ", config.num_attention_heads);
    return config;
  }
  fail_user(file, ": key \"model_type\" is \"", type, "\"; koine reads ", all_model_types());
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
      return config;
    }
  }
  fail_user("unknown model size \"", size, "\"; the published sizes are ", known);
}

}  // namespace koine
