#include "tasks/formats/choice_records.h"

#include "kernels/common/check.h"
#include "tasks/formats/labels.h"
#include "tasks/formats/records.h"

namespace koine {
namespace {

RecordShape shape_of(const ReadRequest& request) {
  RecordShape shape;
  shape.columns = request.columns;
  for (const std::string& name : request.choice.prompt) shape.fields.push_back({.names = {name}});
  for (const std::string& name : request.choice.choices) shape.fields.push_back({.names = {name}});
  shape.fields.push_back({.names = {request.choice.label}, .required = !request.inputs_only, .number = true});
  shape.fields.push_back({.names = request.fields.language, .required = false});
  return shape;
}

}  // namespace

ChoiceFile read_choice_records(const FoundFile& file, const ReadRequest& request) {
  ChoiceFile result;
  result.path = file.path;
  const std::size_t prompts = request.choice.prompt.size();
  const std::size_t choices = request.choice.choices.size();
  const auto use = [&](std::vector<std::string>&& parts, std::int64_t line) {
    const std::string& language = parts.back();
    if (!language.empty() && language != request.language) return;
    const std::string where = concatenate(file.path.string(), ":", line);
    ChoiceExample example;
    for (std::size_t i = 0; i < prompts; ++i) example.prompt += (i == 0 ? "" : " ") + parts[i];
    for (std::size_t i = prompts; i < prompts + choices; ++i) example.choices.push_back(std::move(parts[i]));
    const std::string& label = parts[prompts + choices];
    if (!label.empty() && !request.inputs_only) example.label = label_number(label, request.choice.answers, where);
    result.add(std::move(example), where);
  };
  for_each_record(file, shape_of(request), use, [] {});
  require(!result.examples.empty(), file.path.string(), ": no examples in language ", request.language,
          "; is this the right file, and complete?");
  return result;
}

std::set<std::string> languages_of_choice_records(const FoundFile& file, const ReadRequest& request) {
  std::set<std::string> languages;
  const auto use = [&](std::vector<std::string>&& parts, std::int64_t) {
    if (!parts.back().empty()) languages.insert(std::move(parts.back()));
  };
  for_each_record(file, shape_of(request), use, [] {});
  return languages;
}

}  // namespace koine
