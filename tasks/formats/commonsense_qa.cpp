#include "tasks/formats/commonsense_qa.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/formats/json_fields.h"

namespace koine {
namespace {

constexpr std::size_t kChoices = 5;

/// "A" -> 0.
std::size_t number_of_letter(const std::string& letter, const char* member, const std::string& where) {
  require(letter.size() == 1 && letter[0] >= 'A' && letter[0] < 'A' + static_cast<char>(kChoices), where, ": \"", member,
          "\" is \"", letter, "\", but must be one of A to E");
  return static_cast<std::size_t>(letter[0] - 'A');
}

std::vector<std::string> choices_of(const nlohmann::json& question, const std::string& where) {
  const nlohmann::json& choices = json_field(question, "choices", where);
  require(choices.is_array() && choices.size() == kChoices, where, ": \"choices\" must be an array of ", kChoices);
  std::vector<std::optional<std::string>> by_label(kChoices);
  for (const nlohmann::json& choice : choices) {
    const std::string& label = text_field(choice, "label", where);
    std::optional<std::string>& place = by_label[number_of_letter(label, "label", where)];
    require(!place.has_value(), where, ": the choice ", label, " stands twice");
    place = text_field(choice, "text", where);
  }
  std::vector<std::string> texts;
  for (std::optional<std::string>& text : by_label) texts.push_back(std::move(*text));
  return texts;
}

}  // namespace

ChoiceFile read_commonsense_qa(const FoundFile& file, const ReadRequest&) {
  ChoiceFile result;
  result.path = file.path;
  for_each_json_line(file.path, [&](const nlohmann::json& row, std::int64_t line) {
    const std::string where = concatenate(file.path.string(), ":", line);
    const nlohmann::json& question = json_field(row, "question", where);
    ChoiceExample example{text_field(question, "stem", where), choices_of(question, where), -1};
    if (row.contains("answerKey")) {
      example.label = static_cast<std::int32_t>(number_of_letter(text_field(row, "answerKey", where), "answerKey", where));
    }
    result.add(std::move(example), where);
  });
  require(!result.examples.empty(), file.path.string(), ": no examples; is the file complete?");
  return result;
}

}  // namespace koine
