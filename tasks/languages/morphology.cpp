#include "tasks/languages/morphology.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/scorers/python_text.h"

namespace koine {
namespace {

using nlohmann::json;

struct TreebankWord {
  std::string_view form;  ///< as it is written
  std::int64_t features = 0;
};

/// A row's word; nothing for comments, ranges, empty nodes, punctuation and symbols.
std::optional<TreebankWord> word_of(std::string_view row, const std::string& where) {
  constexpr std::size_t kTreebankColumns = 10;
  if (row.empty() || row.front() == '#') return std::nullopt;
  const std::vector<std::string_view> columns = split_tabs(row);
  require(columns.size() == kTreebankColumns, where, ": ", columns.size(), " columns; a row of CoNLL-U has 10");
  const std::string_view id = columns[0];
  require(!id.empty() && id.find_first_not_of("0123456789.-") == std::string_view::npos, where, ": \"", id,
          "\" is no id of a word");
  const bool whole = id.find_first_not_of("0123456789") == std::string_view::npos;
  if (!whole || columns[3] == "PUNCT" || columns[3] == "SYM" || columns[1] == "_") return std::nullopt;
  TreebankWord word{.form = columns[1], .features = 0};
  if (columns[5] != "_") word.features = 1 + std::count(columns[5].begin(), columns[5].end(), '|');
  return word;
}

class MorphologyCounts {
 public:
  MorphologyCounts(const Tokenizer* tokenizer, std::int64_t type_words) : tokenizer_(tokenizer), type_words_(type_words) {}

  void add(const TreebankWord& word) {
    ++words_;
    features_ += word.features;
    if (words_ <= type_words_) types_.insert(encode_utf8(python_lower(decode_utf8(word.form))));
    if (tokenizer_ != nullptr) pieces_ += std::ssize(tokenizer_->encode(word.form));
  }
  std::int64_t words() const { return words_; }

  Morphology result(const std::string& language) const {
    const auto words = static_cast<double>(words_);
    Morphology morphology{.language = language, .words = words_, .counted = std::min(words_, type_words_)};
    morphology.features_per_word = static_cast<double>(features_) / words;
    morphology.types_per_token = static_cast<double>(types_.size()) / static_cast<double>(morphology.counted);
    if (tokenizer_ != nullptr) morphology.pieces_per_word = static_cast<double>(pieces_) / words;
    return morphology;
  }

 private:
  const Tokenizer* tokenizer_;
  std::int64_t type_words_;
  std::int64_t words_ = 0;
  std::int64_t features_ = 0;
  std::int64_t pieces_ = 0;
  std::set<std::string> types_;
};

double number_in(const json& record, const char* key, const std::string& where) {
  require(record.is_object() && record.contains(key) && record.at(key).is_number(), where, ": key \"", key,
          "\" is missing or no number; `koine data morphology` writes such files");
  return record.at(key).get<double>();
}

}  // namespace

Morphology measure_morphology(const std::string& language, const std::vector<std::filesystem::path>& files,
                              const Tokenizer* tokenizer, std::int64_t type_words, std::int64_t most) {
  check(type_words > 0, "types are counted among at least one word");
  MorphologyCounts counts(tokenizer, type_words);
  std::string names;
  for (const std::filesystem::path& file : files) {
    names += (names.empty() ? "" : ", ") + file.string();
    for_each_line(file, [&](std::string_view row, std::int64_t line) {
      if (most > 0 && counts.words() >= most) return;
      if (const auto word = word_of(row, concatenate(file.string(), ":", line))) counts.add(*word);
    });
  }
  require(counts.words() > 0, "language ", language, ": there is no word in ", names.empty() ? "no file" : names);
  return counts.result(language);
}

void write_morphology(const std::filesystem::path& file, const std::vector<Morphology>& all) {
  json object = json::object();
  for (const Morphology& one : all) {
    json& record = object[one.language];
    record = {{"words", one.words},
              {"counted", one.counted},
              {"features_per_word", one.features_per_word},
              {"types_per_token", one.types_per_token}};
    if (one.pieces_per_word.has_value()) record["pieces_per_word"] = *one.pieces_per_word;
  }
  write_file_atomically(file, object.dump(1) + "\n");
}

std::map<std::string, Morphology> read_morphology(const std::filesystem::path& file) {
  const json object = read_json(file);
  require(object.is_object(), file.string(), " is no JSON object of languages; `koine data morphology` writes such files");
  std::map<std::string, Morphology> all;
  for (const auto& [language, record] : object.items()) {
    const std::string where = concatenate(file.string(), ": language \"", language, "\"");
    Morphology& one = all[language];
    one.language = language;
    one.words = static_cast<std::int64_t>(number_in(record, "words", where));
    one.counted = static_cast<std::int64_t>(number_in(record, "counted", where));
    one.features_per_word = number_in(record, "features_per_word", where);
    one.types_per_token = number_in(record, "types_per_token", where);
    if (record.contains("pieces_per_word")) one.pieces_per_word = number_in(record, "pieces_per_word", where);
  }
  return all;
}

}  // namespace koine
