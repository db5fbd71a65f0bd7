#include "tasks/formats/inputs.h"

#include <nlohmann/json.hpp>
#include <unordered_set>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/formats/json_fields.h"
#include "tasks/formats/records.h"

namespace koine {
namespace {

/// One text for each element of an array.
std::vector<std::string> texts_of(const nlohmann::json& row, const char* name, const std::string& where) {
  const nlohmann::json& array = json_field(row, name, where);
  require(array.is_array(), where, ": \"", name, "\" must be an array of texts");
  return texts_field(row, name, array.size(), where);
}

void require_rows(bool any, const FoundFile& file) { require(any, file.path.string(), ": no inputs"); }

/// What the names of a task's own files leave to be added.
void add_names(std::vector<std::string>& names, std::initializer_list<const char*> more) {
  names.insert(names.end(), more.begin(), more.end());
}

}  // namespace

LabelledTexts read_text_inputs(const FoundFile& file, const ReadRequest& request) {
  ReadRequest wanted = request;
  wanted.columns.clear();
  add_names(wanted.fields.first, {"first", "text"});
  if (!wanted.fields.second.empty()) add_names(wanted.fields.second, {"second"});
  return read_labelled_texts(file, wanted);
}

ChoiceFile read_choice_inputs(const FoundFile& file, std::int32_t choices) {
  ChoiceFile result;
  result.path = file.path;
  result.labelled = false;
  const auto add = [&](std::string prompt, std::vector<std::string> texts) {
    result.examples.push_back({std::move(prompt), std::move(texts), -1});
  };
  if (file.layout == FileLayout::kJsonLines) {
    for_each_json_line(file.path, [&](const nlohmann::json& row, std::int64_t line) {
      add(text_field(row, "prompt", place(file.path, line)), texts_of(row, "choices", place(file.path, line)));
    });
  } else {
    RecordShape shape{{{.names = {"prompt"}}}};
    for (std::int32_t i = 0; i < choices; ++i) shape.fields.push_back({.names = {concatenate("choice", i)}});
    const auto use = [&](std::vector<std::string>&& parts, std::int64_t) {
      std::string prompt = std::move(parts.front());
      parts.erase(parts.begin());
      add(std::move(prompt), std::move(parts));
    };
    for_each_record(file, shape, use, [] {});
  }
  require_rows(!result.examples.empty(), file);
  return result;
}

SquadFile read_question_inputs(const FoundFile& file) {
  SquadFile result;
  result.path = file.path;
  result.labelled = false;
  std::unordered_set<std::string> ids;
  const RecordShape shape{
      {{.names = {"id"}, .required = false, .number = true}, {.names = {"question"}}, {.names = {"context"}}}};
  const auto use = [&](std::vector<std::string>&& parts, std::int64_t line) {
    std::string& id = parts[0];
    if (id.empty()) id = std::to_string(result.questions.size() + 1);
    require(ids.insert(id).second, place(file.path, line), ": the id \"", id, "\" stands twice; ids must differ");
    const bool same_context = !result.contexts.empty() && result.contexts.back() == parts[2];
    if (!same_context) result.contexts.push_back(std::move(parts[2]));
    result.questions.push_back({std::move(id), std::move(parts[1]), result.contexts.size() - 1, {}});
  };
  for_each_record(file, shape, use, [] {});
  require_rows(!result.questions.empty(), file);
  return result;
}

TaggedFile read_word_inputs(const FoundFile& file) {
  TaggedFile result;
  result.path = file.path;
  result.labelled = false;
  TaggedSentence sentence;
  const auto finish = [&] {
    if (!sentence.empty()) result.sentences.push_back(std::move(sentence));
    sentence.clear();
  };
  if (file.layout == FileLayout::kJsonLines) {
    for_each_json_line(file.path, [&](const nlohmann::json& row, std::int64_t line) {
      for (std::string& word : texts_of(row, "words", place(file.path, line))) sentence.push_back({std::move(word), -1});
      require(!sentence.empty(), place(file.path, line), ": \"words\" is empty");
      finish();
    });
  } else {
    for_each_line(file.path, [&](std::string_view text, std::int64_t) {
      const std::string_view word = text.substr(0, text.find('\t'));
      if (word.find_first_not_of(' ') == std::string_view::npos) return finish();
      sentence.push_back({std::string(word), -1});
    });
    finish();
  }
  require_rows(!result.sentences.empty(), file);
  return result;
}

TextFile read_sentence_inputs(const FoundFile& file) {
  TextFile result;
  result.path = file.path;
  if (file.layout == FileLayout::kJsonLines) {
    for_each_json_line(file.path, [&](const nlohmann::json& row, std::int64_t line) {
      result.lines.push_back(text_field(row, "text", place(file.path, line)));
    });
  } else {
    for_each_line(file.path, [&](std::string_view text, std::int64_t) { result.lines.emplace_back(text); });
  }
  require_rows(!result.lines.empty(), file);
  return result;
}

}  // namespace koine
