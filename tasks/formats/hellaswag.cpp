#include "tasks/formats/hellaswag.h"

#include <nlohmann/json.hpp>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/formats/json_fields.h"

namespace koine {

ChoiceFile read_hellaswag(const FoundFile& file, const ReadRequest&) {
  ChoiceFile result;
  result.path = file.path;
  for_each_json_line(file.path, [&](const nlohmann::json& row, std::int64_t line) {
    const std::string where = concatenate(file.path.string(), ":", line);
    ChoiceExample example;
    example.prompt = text_field(row, "ctx_a", where);
    for (const std::string& ending : texts_field(row, "endings", 4, where))
      example.choices.push_back(text_field(row, "ctx_b", where) + " " + ending);
    if (row.contains("label")) example.label = number_field(row, "label", 4, where);
    result.add(std::move(example), where);
  });
  require(!result.examples.empty(), file.path.string(), ": no examples; is the file complete?");
  return result;
}

}  // namespace koine
