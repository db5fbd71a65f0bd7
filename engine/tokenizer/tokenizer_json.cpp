#include "engine/tokenizer/tokenizer_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "engine/files/base64.h"
#include "engine/files/text_file.h"
#include "engine/tokenizer/model_file.h"
#include "engine/tokenizer/unigram.h"
#include "kernels/common/check.h"

namespace koine {
namespace {

using nlohmann::json;

constexpr const char* kRemedy = "; koine reads XLM-R's kind: give its SentencePiece model with --tokenizer";
constexpr const char* kMetaspace = "\u2581";
constexpr std::size_t kFirstTextPiece = 3;  // behind <unk> <s> </s>

struct SpecialName {
  std::int32_t id;
  const char* name;
};

/// Of a vocabulary of so many SentencePiece pieces; ids of -1 are left out.
std::vector<SpecialName> special_names(const SentencePieceNumbering& numbering, std::size_t pieces) {
  const SpecialTokens& special = numbering.special;
  std::vector<SpecialName> names = {
      {special.begin, "<s>"}, {special.pad, "<pad>"}, {special.end, "</s>"}, {special.unknown, "<unk>"}};
  if (numbering.mask_behind) names.push_back({static_cast<std::int32_t>(pieces) + numbering.shift, "<mask>"});
  std::erase_if(names, [](const SpecialName& token) { return token.id < 0; });
  return names;
}

/// The value of a key on the way down; null where there is none.
const json& at(const json& object, const char* key) {
  static const json kNone;
  if (!object.is_object()) return kNone;
  const auto found = object.find(key);
  return found == object.end() ? kNone : *found;
}

std::string text_at(const json& object, const char* key) {
  const json& value = at(object, key);
  return value.is_string() ? value.get<std::string>() : "";
}

/// A part by itself, or the parts of a "Sequence".
std::vector<const json*> parts_of(const json& part, const char* list) {
  std::vector<const json*> parts;
  if (part.is_null()) return parts;
  if (text_at(part, "type") != "Sequence") return {&part};
  for (const json& one : at(part, list)) parts.push_back(&one);
  return parts;
}

/// Whether a normalizer does nothing that SentencePiece does not do with the rules.
bool is_implied(const json& normalizer) {
  const std::string type = text_at(normalizer, "type");
  return type == "NFC" || type == "Strip" || (type == "Replace" && text_at(at(normalizer, "pattern"), "Regex") == " {2,}");
}

std::string rules_of(const json& root, const std::string& where) {
  std::optional<std::string> rules;
  for (const json* normalizer : parts_of(at(root, "normalizer"), "normalizers")) {
    if (is_implied(*normalizer)) continue;
    const std::string type = text_at(*normalizer, "type");
    require(type == "Precompiled" && !rules, where, ": its normalizer has ", type.empty() ? "a part without a type" : type,
            kRemedy);
    rules = from_base64(text_at(*normalizer, "precompiled_charsmap"));
    require(rules.has_value(), where, ": normalizer.precompiled_charsmap is not base64: the file is damaged");
  }
  require(rules.has_value(), where, ": its normalizer has no \"Precompiled\" rules of a SentencePiece model", kRemedy);
  return *rules;
}

void require_words_with_spaces(const json& root, const std::string& where) {
  bool metaspace = false;
  for (const json* part : parts_of(at(root, "pre_tokenizer"), "pretokenizers")) {
    const std::string type = text_at(*part, "type");
    if (type == "WhitespaceSplit") continue;
    const json& scheme = at(*part, "prepend_scheme");
    const bool in_front = scheme.is_null() ? at(*part, "add_prefix_space") != false : scheme == "always";
    require(type == "Metaspace" && in_front && text_at(*part, "replacement") == kMetaspace, where,
            ": its pre_tokenizer has ", type.empty() ? "a part without a type" : type,
            type == "Metaspace" ? " in another form" : "", kRemedy);
    metaspace = true;
  }
  require(metaspace, where, ": its pre_tokenizer has no \"Metaspace\"", kRemedy);
}

/// [ids] the vocabulary's pieces; their texts stay in `root`.
std::vector<ModelPiece> vocabulary_of(const json& root, const std::string& where) {
  const json& model = at(root, "model");
  const std::string type = text_at(model, "type");
  require(type == "Unigram", where, ": its model is of type \"", type, "\", not \"Unigram\"", kRemedy);
  require(at(model, "byte_fallback") != true, where, ": its model falls back to bytes", kRemedy);
  const json& vocabulary = at(model, "vocab");
  require(vocabulary.is_array(), where, ": model.vocab is missing");
  std::vector<ModelPiece> pieces;
  for (const json& entry : vocabulary) {
    require(entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_number(), where, ": model.vocab[",
            pieces.size(), "] is not a piece with its score");
    pieces.push_back({entry[0].get_ref<const std::string&>(), entry[1].get<float>(), ModelPiece::Type::kNormal});
  }
  return pieces;
}

void require_special_tokens(const json& root, const std::vector<ModelPiece>& vocabulary,
                            const std::vector<SpecialName>& names, const std::string& where) {
  for (const SpecialName& token : names) {
    const std::string_view there = vocabulary[static_cast<std::size_t>(token.id)].text;
    require(there == token.name, where, ": id ", token.id, " is \"", there, "\", where XLM-R's numbering has ", token.name,
            kRemedy);
  }
  for (const json& token : at(root, "added_tokens")) {
    const std::string content = text_at(token, "content");
    const bool known = std::any_of(names.begin(), names.end(),
                                   [&](const SpecialName& one) { return content == one.name && at(token, "id") == one.id; });
    require(known, where, ": added_tokens has \"", content, "\", which XLM-R's vocabulary has not, or not there", kRemedy);
  }
}

json template_part(const char* kind, const char* name) {
  return json::object({{kind, json::object({{"id", name}, {"type_id", 0}})}});
}
json special_part(const char* name) { return template_part("SpecialToken", name); }

json special_ids(const char* name, std::int32_t id) {
  return json::object({{"id", name}, {"ids", json::array({id})}, {"tokens", json::array({name})}});
}

/// <s> a </s>, <s> a </s></s> b </s>.
json template_of(const SpecialTokens& special) {
  json single = json::array();
  json known = json::object();
  if (special.begin >= 0) {
    single.push_back(special_part("<s>"));
    known["<s>"] = special_ids("<s>", special.begin);
  }
  known["</s>"] = special_ids("</s>", special.end);
  single.push_back(template_part("Sequence", "A"));
  json pair = single;
  single.push_back(special_part("</s>"));
  for (std::int32_t i = 0; i < special.ends_between; ++i) pair.push_back(special_part("</s>"));
  pair.push_back(template_part("Sequence", "B"));
  pair.push_back(special_part("</s>"));
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", known}};
}

json added_token(const SpecialName& token) {
  const bool takes_space_before = std::string_view(token.name) == "<mask>";  // as XLM-R's
  return {{"id", token.id},  {"content", token.name}, {"single_word", false}, {"lstrip", takes_space_before},
          {"rstrip", false}, {"normalized", false},   {"special", true}};
}

json vocabulary_json(const TokenizerModel& model, const SentencePieceNumbering& numbering,
                     const std::vector<SpecialName>& names) {
  const auto shift = static_cast<std::size_t>(numbering.shift);
  json vocabulary(model.pieces.size() + shift + (numbering.mask_behind ? 1 : 0), json::array({"", 0.0}));
  for (std::size_t piece = kFirstTextPiece; piece < model.pieces.size(); ++piece)
    vocabulary[piece + shift] = json::array({model.pieces[piece].text, model.pieces[piece].score});
  for (const SpecialName& token : names) vocabulary[static_cast<std::size_t>(token.id)] = json::array({token.name, 0.0});
  return vocabulary;
}

}  // namespace

std::string sentencepiece_of_tokenizer_json(std::string_view text, const SentencePieceNumbering& numbering,
                                            const std::string& where) {
  const json root = parse_json(text, where);
  require(root.is_object(), where, ": not a tokenizer.json: no JSON object");
  const std::vector<ModelPiece> vocabulary = vocabulary_of(root, where);
  const auto shift = static_cast<std::size_t>(numbering.shift);
  const std::size_t around = shift + (numbering.mask_behind ? 1 : 0);
  require(vocabulary.size() > kFirstTextPiece + around, where, ": model.vocab has ", vocabulary.size(), " pieces, no text");
  const std::size_t pieces = vocabulary.size() - around;
  const std::vector<SpecialName> names = special_names(numbering, pieces);
  require_special_tokens(root, vocabulary, names, where);
  require(at(at(root, "model"), "unk_id") == numbering.special.unknown, where, ": model.unk_id is not that of <unk>, ",
          numbering.special.unknown);
  const std::string rules = rules_of(root, where);
  require_words_with_spaces(root, where);
  TokenizerModel model;
  model.rules = rules;
  for (const char* name : {"<unk>", "<s>", "</s>"}) model.pieces.push_back({name, 0, ModelPiece::Type::kControl});
  for (std::size_t piece = kFirstTextPiece; piece < pieces; ++piece) model.pieces.push_back(vocabulary[piece + shift]);
  return write_tokenizer_model(model);
}

std::string tokenizer_json_of_sentencepiece(std::string_view bytes, const SentencePieceNumbering& numbering,
                                            const std::string& where) {
  const TokenizerModel model = parse_tokenizer_model(bytes, where);
  check(UnigramSegmenter::supports(model), "no unigram model as XLM-R's: ", where);
  const std::vector<SpecialName> names = special_names(numbering, model.pieces.size());
  const json spaces = {{"type", "Metaspace"}, {"replacement", kMetaspace}, {"prepend_scheme", "always"}, {"split", true}};
  json added = json::array();
  for (const SpecialName& token : names) added.push_back(added_token(token));
  nlohmann::ordered_json root;
  root["version"] = "1.0";
  root["truncation"] = nullptr;
  root["padding"] = nullptr;
  root["added_tokens"] = added;
  const json compose = json::object({{"type", "NFC"}});
  const json rules = {{"type", "Precompiled"}, {"precompiled_charsmap", base64(model.rules)}};
  root["normalizer"] = {{"type", "Sequence"}, {"normalizers", json::array({compose, rules})}};
  const json words = json::object({{"type", "WhitespaceSplit"}});
  root["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", json::array({words, spaces})}};
  root["post_processor"] = template_of(numbering.special);
  root["decoder"] = spaces;
  root["model"] = {{"type", "Unigram"},
                   {"unk_id", numbering.special.unknown},
                   {"vocab", vocabulary_json(model, numbering, names)},
                   {"byte_fallback", false}};
  return root.dump() + "\n";
}

}  // namespace koine
