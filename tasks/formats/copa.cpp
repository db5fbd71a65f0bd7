#include "tasks/formats/copa.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/formats/json_fields.h"

namespace koine {
namespace {

/// Whether every label of many is 0, which is what XTREME-R makes of the test files it hands out.
bool blanked(const std::vector<ChoiceExample>& examples) {
  constexpr std::size_t kMany = 20;
  return examples.size() >= kMany &&
         std::all_of(examples.begin(), examples.end(), [](const ChoiceExample& example) { return example.label == 0; });
}

}  // namespace

ChoiceFile read_copa(const FoundFile& file, const ReadRequest&) {
  ChoiceFile result;
  result.path = file.path;
  for_each_json_line(file.path, [&](const nlohmann::json& row, std::int64_t line) {
    const std::string where = concatenate(file.path.string(), ":", line);
    const std::string& question = text_field(row, "question", where);
    require(question == "cause" || question == "effect", where, ": \"question\" is \"", question,
            "\", but must be cause or effect");
    ChoiceExample example{concatenate(text_field(row, "premise", where), " What was the ", question, "?"),
                          {text_field(row, "choice1", where), text_field(row, "choice2", where)},
                          -1};
    if (row.contains("label")) example.label = number_field(row, "label", 2, where);
    result.add(std::move(example), where);
  });
  require(!result.examples.empty(), file.path.string(), ": no examples; is the file complete?");
  if (blanked(result.examples)) {
    result.labelled = false;
    for (ChoiceExample& example : result.examples) example.label = -1;
  }
  return result;
}

}  // namespace koine
