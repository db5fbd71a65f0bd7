#include "tasks/formats/squad.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_set>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"

namespace koine {
namespace {

using nlohmann::json;

const json& member(const json& object, const char* name, json::value_t type, const std::string& where) {
  require(object.is_object(), where, ": not a JSON object");
  const auto found = object.find(name);
  require(found != object.end(), where, ": \"", name, "\" is missing");
  const char* wanted = type == json::value_t::array ? "an array" : "a text";
  require(found->type() == type, where, ": \"", name, "\" must be ", wanted);
  return *found;
}

const std::string& text_member(const json& object, const char* name, const std::string& where) {
  return member(object, name, json::value_t::string, where).get_ref<const std::string&>();
}

std::optional<std::int64_t> answer_start(const json& answer) {
  const auto found = answer.find("answer_start");
  if (found == answer.end() || !found->is_number_integer() || *found < 0) return std::nullopt;
  return found->get<std::int64_t>();
}

/// The first bytes of a text, whole characters only, on one line: for messages.
std::string excerpt(std::string_view text, std::size_t bytes) {
  std::size_t end = std::min(bytes, text.size());
  while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0u) == 0x80u) ++end;
  std::string result(text.substr(0, end));
  std::replace_if(
      result.begin(), result.end(), [](unsigned char c) { return c < 0x20; }, ' ');
  return result;
}

/// The answer with its offset in bytes, where the context holds it there; by strict rules it must.
SquadAnswer located_answer(const json& answer, const std::string& context, const std::vector<std::int32_t>& offsets,
                           const std::string& where, bool strict) {
  const std::string& text = text_member(answer, "text", where);
  require(!text.empty(), where, ": the answer is empty, while other questions of the file have answers");
  const std::optional<std::int64_t> start = answer_start(answer);
  require(!strict || start, where, ": \"answer_start\" must be there and a whole number, 0 or more");
  const auto points = static_cast<std::int64_t>(offsets.size()) - 1;
  require(!strict || *start < points, where, ": answer_start ", start.value_or(0), " is beyond the context of ", points,
          " characters");
  if (!start || *start >= points) return {text, -1};
  const std::int32_t begin = offsets[static_cast<std::size_t>(*start)];
  const bool there = context.compare(static_cast<std::size_t>(begin), text.size(), text) == 0;
  require(!strict || there, where, ": at character ", *start, " the context has \"",
          excerpt(std::string_view(context).substr(static_cast<std::size_t>(begin)), std::min<std::size_t>(text.size(), 60)),
          "\", not the answer \"", excerpt(text, 60), "\"; answer_start counts Unicode characters from 0");
  return {text, there ? begin : -1};
}

/// Calls use(paragraph, qa, where) for every question, where = "file: question <id>".
void each_question(const json& root, const std::filesystem::path& path,
                   const std::function<void(const json& paragraph, const json& qa, const std::string& where)>& use) {
  const std::string file = path.string();
  std::unordered_set<std::string> ids;
  std::size_t article_number = 0;
  for (const json& article : member(root, "data", json::value_t::array, file)) {
    const std::string in_article = concatenate(file, ": data[", article_number++, "]");
    std::size_t paragraph_number = 0;
    for (const json& paragraph : member(article, "paragraphs", json::value_t::array, in_article)) {
      const std::string in_paragraph = concatenate(in_article, ".paragraphs[", paragraph_number++, "]");
      for (const json& qa : member(paragraph, "qas", json::value_t::array, in_paragraph)) {
        const std::string& id = text_member(qa, "id", in_paragraph);
        const std::string where = concatenate(file, ": question ", id);
        require(ids.insert(id).second, where, ": the id stands twice; ids must differ");
        use(paragraph, qa, where);
      }
    }
  }
  require(!ids.empty(), file, ": no questions; is the file complete?");
}

/// The question's answers; none where it is unanswerable, which only SQuAD 2.0 has.
const json& answers_of(const json& qa, const std::string& where, bool unanswerable) {
  const auto impossible = qa.find("is_impossible");
  require(impossible == qa.end() || impossible->is_boolean(), where, ": \"is_impossible\" must be true or false");
  const bool none = impossible != qa.end() && *impossible == true;
  require(unanswerable || !none, where,
          ": is_impossible is set: this is a file of SQuAD 2.0; use train-v1.1.json and dev-v1.1.json");
  const json& answers = member(qa, "answers", json::value_t::array, where);
  require(unanswerable || !answers.empty(), where, ": no answers; every question of SQuAD 1.1 has one");
  require(!none || answers.empty(), where, ": is_impossible is set, but there are answers");
  return answers;
}

bool blanked(const json& qa) {
  const auto answers = qa.find("answers");
  if (answers == qa.end() || !answers->is_array() || answers->empty()) return false;
  for (const json& answer : *answers) {
    if (!answer.is_object() || answer.value("text", json()) != "" || answer.value("answer_start", json()) != 0) return false;
  }
  return true;
}

bool all_blanked(const json& root, const std::filesystem::path& path) {
  bool all = true;
  each_question(root, path, [&](const json&, const json& qa, const std::string&) { all = all && blanked(qa); });
  return all;
}

}  // namespace

SquadFile parse_squad(std::string_view text, const std::filesystem::path& path, const SquadRules& rules) {
  const json root = parse_json(text, path.string());
  SquadFile file;
  file.path = path;
  file.labelled = rules.answers && !all_blanked(root, path);
  const json* current = nullptr;
  std::vector<std::int32_t> offsets;
  each_question(root, path, [&](const json& paragraph, const json& qa, const std::string& where) {
    if (&paragraph != current) {
      current = &paragraph;
      file.contexts.push_back(text_member(paragraph, "context", where));
      offsets = code_point_offsets(file.contexts.back());
    }
    SquadQuestion question{text_member(qa, "id", where), text_member(qa, "question", where), file.contexts.size() - 1, {}};
    const json none = json::array();
    for (const json& answer : rules.answers ? answers_of(qa, where, rules.unanswerable) : none) {
      if (!file.labelled) continue;
      question.answers.push_back(located_answer(answer, file.contexts.back(), offsets, where, rules.places));
    }
    file.questions.push_back(std::move(question));
  });
  return file;
}

SquadFile read_squad(const FoundFile& file, const ReadRequest& request) {
  return parse_squad(read_file(file.path), file.path, {request.split == "train", false, !request.inputs_only});
}

SquadFile read_squad2(const FoundFile& file, const ReadRequest& request) {
  return parse_squad(read_file(file.path), file.path, {request.split == "train", true, !request.inputs_only});
}

void SquadFile::append(SquadFile&& more) {
  if (labelled && !more.labelled) path = more.path;
  labelled = labelled && more.labelled;
  for (SquadQuestion& question : more.questions) question.paragraph += contexts.size();
  std::move(more.contexts.begin(), more.contexts.end(), std::back_inserter(contexts));
  std::move(more.questions.begin(), more.questions.end(), std::back_inserter(questions));
}

std::vector<SquadGold> read_squad_gold(const std::filesystem::path& path, bool unanswerable) {
  const json root = read_json(path);
  require(
      !all_blanked(root, path), path.string(),
      ": every answer is blank (text \"\", answer_start 0): the benchmark keeps its gold hidden; give the original file");
  std::vector<SquadGold> gold;
  each_question(root, path, [&](const json&, const json& qa, const std::string& where) {
    SquadGold entry{text_member(qa, "id", where), {}};
    for (const json& answer : answers_of(qa, where, unanswerable)) entry.texts.push_back(text_member(answer, "text", where));
    gold.push_back(std::move(entry));
  });
  return gold;
}

}  // namespace koine
