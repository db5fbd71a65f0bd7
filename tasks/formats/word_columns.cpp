#include "tasks/formats/word_columns.h"

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/formats/labels.h"

namespace koine {
namespace {

constexpr std::string_view kBetweenDocuments = "-DOCSTART-";

std::vector<std::string_view> split_columns(std::string_view line) {
  std::vector<std::string_view> columns;
  for (std::size_t begin = line.find_first_not_of(" \t"); begin != std::string_view::npos;) {
    const std::size_t end = std::min(line.find_first_of(" \t", begin), line.size());
    columns.push_back(line.substr(begin, end - begin));
    begin = line.find_first_not_of(" \t", end);
  }
  return columns;
}

/// The column of a number from 1; 0: the last one.
std::string_view column(const std::vector<std::string_view>& columns, std::int64_t number, const std::string& where) {
  require(number <= std::ssize(columns), where, ": ", columns.size(), " columns; column ", number, " is missing");
  return number == 0 ? columns.back() : columns[static_cast<std::size_t>(number - 1)];
}

}  // namespace

TaggedFile read_word_columns(const FoundFile& file, const ReadRequest& request) {
  if (file.layout == FileLayout::kXtreme) return read_xtreme_tags(file.path, request);
  TaggedFile result;
  result.path = file.path;
  result.labelled = !request.inputs_only;
  TaggedSentence sentence;
  const auto finish = [&] {
    if (!sentence.empty()) result.sentences.push_back(std::move(sentence));
    sentence.clear();
  };
  for_each_line(file.path, [&](std::string_view text, std::int64_t line) {
    if (text.find_first_not_of(" \t") == std::string_view::npos || text.starts_with(kBetweenDocuments)) return finish();
    const std::string where = concatenate(file.path.string(), ":", line);
    const std::vector<std::string_view> columns = file.layout == FileLayout::kTsv ? split_tabs(text) : split_columns(text);
    if (request.inputs_only) {
      sentence.push_back({std::string(column(columns, request.tags.word, where)), -1});
      return;
    }
    require(columns.size() >= 2, where, ": one column; a row is a word and its tag");
    const std::string_view tag = column(columns, request.tags.tag, where);
    sentence.push_back({std::string(column(columns, request.tags.word, where)), label_number(tag, request, where)});
  });
  finish();
  require(!result.sentences.empty(), file.path.string(), ": no sentences; is the file complete?");
  return result;
}

}  // namespace koine
