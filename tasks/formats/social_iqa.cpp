#include "tasks/formats/social_iqa.h"

#include <nlohmann/json.hpp>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/formats/json_fields.h"

namespace koine {
namespace {

constexpr const char* kSocialIqaAnswers[] = {"answerA", "answerB", "answerC"};

std::int32_t number_of(const std::string& text, char first, const std::string& where) {
  require(text.size() == 1 && text[0] >= first && text[0] < first + 3, where, ": the right answer is \"", text,
          "\", but must be one of ", std::string(1, first), " to ", std::string(1, static_cast<char>(first + 2)));
  return text[0] - first;
}

/// Gives the examples the numbers of the labels' file, where it is there.
void add_labels(ChoiceFile& file) {
  const std::filesystem::path path = file.path.parent_path() / (file.path.stem().string() + "-labels.lst");
  if (file.labelled || !std::filesystem::exists(path)) return;
  const std::vector<std::string> lines = read_lines(path);
  require(lines.size() == file.examples.size(), path.string(), ": ", lines.size(), " labels, but ", file.path.string(),
          " has ", file.examples.size(), " examples");
  for (std::size_t i = 0; i < lines.size(); ++i)
    file.examples[i].label = number_of(lines[i], '1', concatenate(path.string(), ":", i + 1));
  file.labelled = true;
}

}  // namespace

ChoiceFile read_social_iqa(const FoundFile& file, const ReadRequest&) {
  ChoiceFile result;
  result.path = file.path;
  for_each_json_line(file.path, [&](const nlohmann::json& row, std::int64_t line) {
    const std::string where = concatenate(file.path.string(), ":", line);
    ChoiceExample example{text_field(row, "context", where) + " " + text_field(row, "question", where), {}, -1};
    for (const char* answer : kSocialIqaAnswers) example.choices.push_back(text_field(row, answer, where));
    if (row.contains("correct")) example.label = number_of(text_field(row, "correct", where), 'A', where);
    result.add(std::move(example), where);
  });
  require(!result.examples.empty(), file.path.string(), ": no examples; is the file complete?");
  add_labels(result);
  return result;
}

}  // namespace koine
