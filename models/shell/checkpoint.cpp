#include "models/shell/checkpoint.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/files/text_file.h"
#include "engine/parameters/finite.h"
#include "kernels/common/check.h"

namespace koine {
namespace {

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const std::size_t at = text.rfind(from);
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

/// The names a parameter goes by: its own, without the model's prefix, with TensorFlow's gamma and beta for layernorms, and
/// what its family knows besides.
std::vector<std::string> known_names(const ModelFamily& family, const std::string& name) {
  std::vector<std::string> names = {name};
  for (const ModelFamily::Alias& alias : family.aliases) {
    if (name == alias.name) names.emplace_back(alias.other);
  }
  if (name.find("LayerNorm.") != std::string::npos || name.find("layer_norm.") != std::string::npos) {
    names.push_back(name.ends_with(".weight") ? replaced(name, ".weight", ".gamma") : replaced(name, ".bias", ".beta"));
  }
  for (std::size_t i = 0, count = names.size(); i < count; ++i) {
    if (names[i].starts_with(family.prefix)) names.push_back(names[i].substr(family.prefix.size()));
  }
  return names;
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

/// Tensors that stand for something else in the file: buffers of old versions, copies of tied weights.
bool is_redundant(const ModelFamily& family, const std::string& name) {
  return std::any_of(family.redundant.begin(), family.redundant.end(),
                     [&](const std::string_view end) { return name.ends_with(end); });
}

std::string architecture_of(const ModelConfig& config, const std::vector<HeadSpec>& heads) {
  const std::string_view suffix = heads.empty() ? "Model" : functions_of(heads[0].kind).class_suffix;
  return concatenate(config.family->class_prefix(config), suffix);
}

/// The head a transformers class can hold: the only one, or of several the masked language model's, or else the first.
std::vector<HeadSpec> saved_heads(const std::vector<HeadSpec>& heads) {
  if (heads.size() <= 1) return heads;
  const auto masked_lm =
      std::find_if(heads.begin(), heads.end(), [](const HeadSpec& head) { return head.kind == HeadKind::kMaskedLm; });
  return {masked_lm == heads.end() ? heads.front() : *masked_lm};
}

/// What transformers calls a parameter of a model with these heads: without the name of the head, and of a bare encoder
/// without the model's prefix.
std::string saved_name(const ModelFamily& family, const std::string& name, const std::vector<HeadSpec>& heads) {
  if (heads.empty()) return name.starts_with(family.prefix) ? name.substr(family.prefix.size()) : name;
  const std::string head = "heads." + heads[0].name + ".";
  return name.starts_with(head) ? name.substr(head.size()) : name;
}

nlohmann::json config_json(const ModelConfig& config, const std::vector<HeadSpec>& heads,
                           const std::vector<std::string>& labels) {
  nlohmann::json json = config.original.is_object() ? config.original : nlohmann::json::object();
  json["architectures"] = {architecture_of(config, heads)};
  config.family->write(config, json);
  json["dtype"] = "float32";
  json.erase("torch_dtype");
  state_transformers_version(json);
  json.erase("id2label");
  json.erase("label2id");
  json.erase("num_labels");
  const bool classifies = heads.size() == 1 && facts_of(heads[0].kind).classes_from == ClassesFrom::kLabels;
  if (!classifies) return json;
  for (std::int32_t label = 0; label < heads[0].classes; ++label) {
    const bool named = static_cast<std::size_t>(label) < labels.size();
    const std::string text = named ? labels[static_cast<std::size_t>(label)] : concatenate("LABEL_", label);
    json["id2label"][std::to_string(label)] = text;
    json["label2id"][text] = label;
  }
  return json;
}

}  // namespace

LoadReport read_weights(const ModelWeights& weights, const std::filesystem::path& directory, const ModelFamily& family,
                        ParameterStore& store) {
  LoadReport report;
  std::set<std::string> used;
  for (int index = 0; index < store.table().size(); ++index) {
    const ParameterSpec& spec = store.table()[index];
    const std::vector<std::string> names = known_names(family, spec.name);
    const auto found =
        std::find_if(names.begin(), names.end(), [&](const std::string& name) { return weights.contains(name); });
    if (found == names.end()) {
      require(spec.head, directory.string(), ": tensor \"", spec.name, "\" is missing: this is not a whole ", family.name,
              " encoder, or config.json describes another model");
      report.fresh.push_back(spec.name);
      continue;
    }
    const TensorEntry& entry = weights.entry(*found);
    if (entry.shape != spec.shape) {
      require(spec.head, weights.file_of(*found).string(), ": tensor \"", *found, "\" has shape ", shape_text(entry.shape),
              ", config.json asks for ", shape_text(spec.shape));
      report.fresh.push_back(spec.name);
      continue;
    }
    std::vector<float> values(static_cast<std::size_t>(spec.count()));
    weights.read_float(*found, values.data());
    const std::int64_t broken = count_not_finite(values);
    require(broken == 0, weights.file_of(*found).string(), ": tensor \"", *found, "\": ", broken, " of ", values.size(),
            " values are infinite or not a number; this model is damaged, or its training diverged");
    store.write(ParameterStore::Values::kMaster, index, values.data());
    used.insert(*found);
  }
  for (const std::string& name : weights.names()) {
    if (used.count(name) == 0 && !is_redundant(family, name)) report.unused.push_back(name);
  }
  return report;
}

void write_model(const std::filesystem::path& directory, const ModelConfig& config, const std::vector<HeadSpec>& heads,
                 const std::vector<std::string>& labels, ParameterStore& store) {
  const std::vector<HeadSpec> kept = saved_heads(heads);
  const ParameterTable wanted = config.family->parameters(config, kept);
  std::vector<TensorSource> tensors;
  for (const ParameterSpec& spec : wanted.specs()) {
    const int index = store.table().find(spec.name);
    if (index < 0) continue;  // A pooler that no head of this model reads.
    TensorSource source;
    source.name = saved_name(*config.family, spec.name, kept);
    source.shape = spec.shape;
    source.read = [&store, index](void* to) { store.read(ParameterStore::Values::kMaster, index, static_cast<float*>(to)); };
    tensors.push_back(std::move(source));
  }
  make_directory(directory);
  write_safetensors(directory / "model.safetensors", tensors);
  write_file_atomically(directory / "config.json", config_json(config, kept, labels).dump(2) + "\n");
}

}  // namespace koine
