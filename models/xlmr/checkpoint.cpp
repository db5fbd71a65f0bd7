#include "models/xlmr/checkpoint.h"

#include <algorithm>
#include <set>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"

namespace koine {
namespace {

constexpr std::string_view kPrefix = "roberta.";

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const std::size_t at = text.rfind(from);
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

/// The names a parameter goes by: its own, without the model's prefix, with TensorFlow's gamma and beta for layernorms, and
/// a decoder's bias for the masked language model's.
std::vector<std::string> known_names(const std::string& name) {
  std::vector<std::string> names = {name};
  if (name == "lm_head.bias") names.push_back("lm_head.decoder.bias");
  if (name.find("LayerNorm.") != std::string::npos || name.find("layer_norm.") != std::string::npos) {
    names.push_back(name.ends_with(".weight") ? replaced(name, ".weight", ".gamma") : replaced(name, ".bias", ".beta"));
  }
  for (std::size_t i = 0, count = names.size(); i < count; ++i) {
    if (names[i].starts_with(kPrefix)) names.push_back(names[i].substr(kPrefix.size()));
  }
  return names;
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

/// Tensors that stand for something else in the file: buffers of old versions, and the decoder that is the word embeddings.
bool is_redundant(const std::string& name) {
  return name.ends_with("position_ids") || name.ends_with("token_type_ids") || name == "lm_head.decoder.weight" ||
         name == "lm_head.decoder.bias";
}

std::string architecture_of(NormPlacement norm, const std::vector<HeadSpec>& heads) {
  const std::string family = norm == NormPlacement::kPost ? "XLMRoberta" : "XLMRobertaXL";
  if (heads.empty()) return family + "Model";
  switch (heads[0].kind) {
    case HeadKind::kMaskedLm:
      return family + "ForMaskedLM";
    case HeadKind::kSequence:
    case HeadKind::kSequencePooled:
      return family + "ForSequenceClassification";
    case HeadKind::kToken:
      return family + "ForTokenClassification";
    case HeadKind::kSpan:
      return family + "ForQuestionAnswering";
    case HeadKind::kChoice:
      return family + "ForMultipleChoice";
  }
  return family + "Model";
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
std::string saved_name(const std::string& name, const std::vector<HeadSpec>& heads) {
  if (heads.empty()) return name.starts_with(kPrefix) ? name.substr(kPrefix.size()) : name;
  const std::string head = "heads." + heads[0].name + ".";
  return name.starts_with(head) ? name.substr(head.size()) : name;
}

nlohmann::json config_json(const XlmrConfig& config, const std::vector<HeadSpec>& heads,
                           const std::vector<std::string>& labels) {
  nlohmann::json json = config.original.is_object() ? config.original : nlohmann::json::object();
  json["architectures"] = {architecture_of(config.norm, heads)};
  json["model_type"] = config.norm == NormPlacement::kPost ? "xlm-roberta" : "xlm-roberta-xl";
  json["vocab_size"] = config.vocab_size;
  json["hidden_size"] = config.hidden_size;
  json["num_hidden_layers"] = config.num_hidden_layers;
  json["num_attention_heads"] = config.num_attention_heads;
  json["intermediate_size"] = config.intermediate_size;
  json["max_position_embeddings"] = config.max_position_embeddings;
  json["type_vocab_size"] = config.type_vocab_size;
  json["layer_norm_eps"] = config.layer_norm_eps;
  json["hidden_dropout_prob"] = config.hidden_dropout_prob;
  json["attention_probs_dropout_prob"] = config.attention_probs_dropout_prob;
  if (config.classifier_dropout >= 0) json["classifier_dropout"] = config.classifier_dropout;
  json["initializer_range"] = config.initializer_range;
  json["hidden_act"] = "gelu";
  json["bos_token_id"] = 0;
  json["pad_token_id"] = config.pad_token_id;
  json["eos_token_id"] = 2;
  json["tie_word_embeddings"] = true;
  json["dtype"] = "float32";
  json.erase("torch_dtype");
  json.erase("id2label");
  json.erase("label2id");
  json.erase("num_labels");
  const bool classifies =
      heads.size() == 1 && (heads[0].kind == HeadKind::kSequence || heads[0].kind == HeadKind::kSequencePooled ||
                            heads[0].kind == HeadKind::kToken);
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

NormPlacement norm_placement_of(const ModelWeights& weights, NormPlacement declared) {
  bool input_norm = false;
  bool output_norm = false;
  for (const std::string& name : weights.names()) {
    input_norm = input_norm || name.find(".attention.self_attn_layer_norm.") != std::string::npos;
    output_norm = output_norm || name.find(".attention.output.LayerNorm.") != std::string::npos;
  }
  if (input_norm == output_norm) return declared;
  return input_norm ? NormPlacement::kPre : NormPlacement::kPost;
}

LoadReport read_weights(const ModelWeights& weights, const std::filesystem::path& directory, ParameterStore& store) {
  LoadReport report;
  std::set<std::string> used;
  for (int index = 0; index < store.table().size(); ++index) {
    const ParameterSpec& spec = store.table()[index];
    const std::vector<std::string> names = known_names(spec.name);
    const auto found =
        std::find_if(names.begin(), names.end(), [&](const std::string& name) { return weights.contains(name); });
    if (found == names.end()) {
      require(spec.head, directory.string(), ": tensor \"", spec.name,
              "\" is missing: this is not a whole XLM-R encoder, or config.json describes another model");
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
    store.write(ParameterStore::Values::kMaster, index, values.data());
    used.insert(*found);
  }
  for (const std::string& name : weights.names()) {
    if (used.count(name) == 0 && !is_redundant(name)) report.unused.push_back(name);
  }
  return report;
}

void write_model(const std::filesystem::path& directory, const XlmrConfig& config, const std::vector<HeadSpec>& heads,
                 const std::vector<std::string>& labels, ParameterStore& store) {
  const std::vector<HeadSpec> kept = saved_heads(heads);
  const ParameterTable wanted = xlmr_parameters(config, kept).table;
  std::vector<TensorSource> tensors;
  for (const ParameterSpec& spec : wanted.specs()) {
    const int index = store.table().find(spec.name);
    if (index < 0) continue;  // A pooler that no head of this model reads.
    TensorSource source;
    source.name = saved_name(spec.name, kept);
    source.shape = spec.shape;
    source.read = [&store, index](void* to) { store.read(ParameterStore::Values::kMaster, index, static_cast<float*>(to)); };
    tensors.push_back(std::move(source));
  }
  make_directory(directory);
  write_safetensors(directory / "model.safetensors", tensors);
  write_file_atomically(directory / "config.json", config_json(config, kept, labels).dump(2) + "\n");
}

}  // namespace koine
