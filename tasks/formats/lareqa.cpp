#include "tasks/formats/lareqa.h"

#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/formats/json_fields.h"

namespace koine {
namespace {

using nlohmann::json;

const json& array_field(const json& object, const char* name, const std::string& where) {
  const json& value = json_field(object, name, where);
  require(value.is_array(), where, ": \"", name, "\" must be an array");
  return value;
}

/// A paragraph's sentences, [start, end) in code points.
std::vector<std::pair<std::int64_t, std::int64_t>> breaks_of(const json& paragraph, std::int64_t characters,
                                                             const std::string& where) {
  std::vector<std::pair<std::int64_t, std::int64_t>> breaks;
  for (const json& pair : array_field(paragraph, "sentence_breaks", where)) {
    const bool sound = pair.is_array() && pair.size() == 2 && pair[0].is_number_integer() && pair[1].is_number_integer();
    require(sound && pair[0] >= 0 && pair[0] < pair[1] && pair[1] <= characters, where,
            ": \"sentence_breaks\" must hold pairs [start, end] within the context's ", characters, " characters, not ",
            pair.dump());
    breaks.emplace_back(pair[0].get<std::int64_t>(), pair[1].get<std::int64_t>());
  }
  return breaks;
}

/// Adds a paragraph that is number `number` of its file.
void add_paragraph(const json& paragraph, std::int64_t number, const std::string& language, const std::string& where,
                   CandidatePool& pool) {
  const std::string& context = text_field(paragraph, "context", where);
  const std::vector<std::int32_t> offsets = code_point_offsets(context);
  const auto breaks = breaks_of(paragraph, static_cast<std::int64_t>(offsets.size()) - 1, where);
  std::vector<std::string> sentences;
  for (std::size_t i = 0; i < breaks.size(); ++i) {
    const auto begin = static_cast<std::size_t>(offsets[static_cast<std::size_t>(breaks[i].first)]);
    const auto end = static_cast<std::size_t>(offsets[static_cast<std::size_t>(breaks[i].second)]);
    sentences.push_back(context.substr(begin, end - begin));
  }
  const auto id_of = [&](std::size_t sentence) { return concatenate(language, "_", number, "_", sentence); };
  bool asked = false;
  for (const json& qa : array_field(paragraph, "qas", where)) {
    const std::string& id = text_field(qa, "id", where);
    const std::string question = concatenate(pool.path.string(), ": question ", id);
    const json& answers = array_field(qa, "answers", question);
    require(answers.size() == 1, question, ": ", answers.size(), " answers; every question of XQuAD-R has one");
    const std::int32_t start = number_field(answers[0], "answer_start", static_cast<std::int32_t>(offsets.size()), question);
    std::size_t holder = 0;
    while (holder < breaks.size() && (start < breaks[holder].first || start >= breaks[holder].second)) ++holder;
    if (holder == breaks.size()) {
      ++pool.left_out;
      continue;
    }
    asked = true;
    pool.queries.push_back({id, language, text_field(qa, "question", question)});
    for (std::size_t i = 0; i < sentences.size(); ++i) {
      if (sentences[i] == sentences[holder]) pool.targets[id].insert(id_of(i));
    }
  }
  if (!asked) return;
  for (std::size_t i = 0; i < sentences.size(); ++i)
    pool.candidates.push_back({id_of(i), sentence_in_context(sentences[i], context)});
}

}  // namespace

void CandidatePool::append(CandidatePool&& more) {
  std::move(more.candidates.begin(), more.candidates.end(), std::back_inserter(candidates));
  std::move(more.queries.begin(), more.queries.end(), std::back_inserter(queries));
  for (auto& [id, ids] : more.targets) targets[id].merge(ids);
  left_out += more.left_out;
  if (labelled && !more.labelled) path = more.path;
  labelled = labelled && more.labelled;
}

std::string sentence_in_context(std::string_view sentence, std::string_view context) {
  std::string text = concatenate(sentence, context);
  std::erase(text, '\n');
  return text;
}

CandidatePool read_lareqa(const FoundFile& file, const ReadRequest&) {
  CandidatePool pool;
  pool.path = file.path;
  const std::string name = file.path.string();
  const json root = read_json(file.path);
  const std::string language = file.path.stem().string();
  std::int64_t number = 0;
  for (const json& article : array_field(root, "data", name)) {
    for (const json& paragraph : array_field(article, "paragraphs", name)) {
      ++number;
      add_paragraph(paragraph, number, language, concatenate(name, ": paragraph ", number), pool);
    }
  }
  require(!pool.queries.empty(), name, ": no questions; is the file complete?");
  return pool;
}

}  // namespace koine
