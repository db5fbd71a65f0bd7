#include "tasks/formats/cosmos_qa.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/formats/csv.h"
#include "tasks/formats/json_fields.h"

namespace koine {
namespace {

constexpr std::array<const char*, 4> kAnswers = {"answer0", "answer1", "answer2", "answer3"};

/// Where the fields of a record stand.
class Columns {
 public:
  Columns(const std::vector<std::string>& header, const std::string& where) : count_(header.size()) {
    for (const char* name : {"context", "question", kAnswers[0], kAnswers[1], kAnswers[2], kAnswers[3], "label"}) {
      const auto found = std::find(header.begin(), header.end(), name);
      require(found != header.end(), where, ": the first line must name the columns; \"", name, "\" is missing");
      places_.push_back(static_cast<std::size_t>(found - header.begin()));
    }
  }

  ChoiceExample example(const std::vector<std::string>& fields, const std::string& where) const {
    require(fields.size() == count_, where, ": ", fields.size(), " fields, the header has ", count_,
            "; mend or remove the record");
    ChoiceExample example;
    example.prompt = fields[places_[0]] + " " + fields[places_[1]];
    for (std::size_t i = 0; i < kAnswers.size(); ++i) example.choices.push_back(fields[places_[2 + i]]);
    const std::string& label = fields[places_.back()];
    require(label.size() == 1 && label[0] >= '0' && label[0] <= '3', where, ": the label is \"", label,
            "\", but must be one of 0 to 3");
    example.label = label[0] - '0';
    return example;
  }

 private:
  std::size_t count_;
  std::vector<std::size_t> places_;
};

ChoiceFile read_json_lines(const std::filesystem::path& path) {
  ChoiceFile result;
  result.path = path;
  for_each_json_line(path, [&](const nlohmann::json& row, std::int64_t line) {
    const std::string where = concatenate(path.string(), ":", line);
    ChoiceExample example{text_field(row, "context", where) + " " + text_field(row, "question", where), {}, -1};
    for (const char* answer : kAnswers) example.choices.push_back(text_field(row, answer, where));
    if (row.contains("label")) example.label = number_field(row, "label", 4, where);
    result.add(std::move(example), where);
  });
  return result;
}

}  // namespace

ChoiceFile parse_cosmos_qa(std::string_view text, const std::filesystem::path& path) {
  ChoiceFile result;
  result.path = path;
  const std::string name = path.string();
  std::vector<Columns> columns;
  for_each_csv_record(text, name, [&](const std::vector<std::string>& fields, std::int64_t line) {
    const std::string where = concatenate(name, ":", line);
    if (columns.empty()) {
      columns.emplace_back(fields, where);
    } else {
      result.add(columns.front().example(fields, where), where);
    }
  });
  return result;
}

ChoiceFile read_cosmos_qa(const FoundFile& file, const ReadRequest&) {
  ChoiceFile result =
      file.layout == FileLayout::kJsonLines ? read_json_lines(file.path) : parse_cosmos_qa(read_file(file.path), file.path);
  require(!result.examples.empty(), file.path.string(), ": no examples; is the file complete?");
  return result;
}

}  // namespace koine
