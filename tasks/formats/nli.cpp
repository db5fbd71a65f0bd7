#include "tasks/formats/nli.h"

#include <functional>
#include <initializer_list>
#include <optional>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/formats/labels.h"

namespace koine {
namespace {

constexpr std::string_view kNoAgreement = "-";

/// A row, whatever the layout. `label` empty: the layout has none.
struct Row {
  std::string premise;
  std::string hypothesis;
  std::string label;
  std::string language;
  std::int64_t line = 0;
};
using UseRow = std::function<void(Row&& row)>;

std::string place(const std::filesystem::path& path, std::int64_t line) { return concatenate(path.string(), ":", line); }

/// Where the columns of a table with a header stand.
struct Columns {
  std::size_t count = 0;
  std::size_t premise = 0;
  std::size_t hypothesis = 0;
  std::size_t label = 0;
  std::optional<std::size_t> language;
};

std::optional<std::size_t> find_column(const std::vector<std::string_view>& header,
                                       std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) {
    for (std::size_t i = 0; i < header.size(); ++i) {
      if (header[i] == name) return i;
    }
  }
  return std::nullopt;
}

Columns read_header(const std::filesystem::path& path, std::string_view line) {
  const std::vector<std::string_view> header = split_tabs(line);
  const auto premise = find_column(header, {"sentence1", "premise"});
  const auto hypothesis = find_column(header, {"sentence2", "hypothesis", "hypo"});
  const auto label = find_column(header, {"gold_label", "label"});
  require(premise && hypothesis && label, place(path, 1),
          ": the first line must name the columns sentence1, sentence2 and gold_label (or premise, hypo and label) between "
          "tabs");
  return {header.size(), *premise, *hypothesis, *label, find_column(header, {"language"})};
}

void each_header_row(const std::filesystem::path& path, const UseRow& use) {
  std::optional<Columns> columns;
  for_each_line(path, [&](std::string_view text, std::int64_t line) {
    if (!columns) {
      columns = read_header(path, text);
      return;
    }
    if (text.empty()) return;
    const std::vector<std::string_view> fields = split_tabs(text);
    require(fields.size() == columns->count, place(path, line), ": ", fields.size(), " columns, the header has ",
            columns->count, "; mend or remove the row");
    Row row{std::string(fields[columns->premise]), std::string(fields[columns->hypothesis]),
            std::string(fields[columns->label]), columns->language ? std::string(fields[*columns->language]) : "", line};
    require(!row.label.empty(), place(path, line), ": the label is empty; known labels: ", join_names(nli_labels()));
    use(std::move(row));
  });
}

/// The text of one of `names`; empty where none is there and `required` is not set.
std::string text_of(const nlohmann::json& row, std::initializer_list<const char*> names, bool required,
                    const std::string& where) {
  for (const char* name : names) {
    const auto found = row.find(name);
    if (found == row.end()) continue;
    require(found->is_string(), where, ": \"", name, "\" must be a text");
    return found->get<std::string>();
  }
  require(!required, where, ": \"", *names.begin(), "\" is missing");
  return "";
}

void each_json_row(const std::filesystem::path& path, const UseRow& use) {
  for_each_line(path, [&](std::string_view text, std::int64_t line) {
    if (text.empty()) return;
    const std::string where = place(path, line);
    const nlohmann::json row = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    require(row.is_object(), where, ": not a JSON object; the file must have one on every line");
    use({text_of(row, {"sentence1", "premise"}, true, where), text_of(row, {"sentence2", "hypothesis"}, true, where),
         text_of(row, {"gold_label", "label"}, true, where), text_of(row, {"language"}, false, where), line});
  });
}

/// A field of Python's csv writer: in quotation marks, its own doubled, or as it is.
std::string unquote(std::string_view field) {
  const auto as_is = [&] { return std::string(field); };
  if (field.size() < 2 || field.front() != '"' || field.back() != '"') return as_is();
  std::string text;
  for (std::size_t i = 1; i + 1 < field.size(); ++i) {
    text += field[i];
    if (field[i] != '"') continue;
    if (i + 2 >= field.size() || field[i + 1] != '"') return as_is();  // a mark of the text itself: nothing was quoted
    ++i;
  }
  return text;
}

void each_xtreme_row(const std::filesystem::path& path, const UseRow& use) {
  std::size_t columns = 0;
  for_each_line(path, [&](std::string_view text, std::int64_t line) {
    if (text.empty()) return;
    const std::vector<std::string_view> fields = split_tabs(text);
    if (columns == 0) columns = fields.size();
    require(fields.size() == columns && (columns == 2 || columns == 3), place(path, line), ": ", fields.size(),
            " columns; every row must be premise, hypothesis, label (or none has a label)");
    Row row{unquote(fields[0]), unquote(fields[1]), columns == 3 ? unquote(fields[2]) : "", "", line};
    require(columns == 2 || !row.label.empty(), place(path, line),
            ": the label is empty; known labels: ", join_names(nli_labels()));
    use(std::move(row));
  });
}

void each_row(const FoundFile& file, const UseRow& use) {
  switch (file.layout) {
    case FileLayout::kJsonLines:
      return each_json_row(file.path, use);
    case FileLayout::kHeaderTsv:
      return each_header_row(file.path, use);
    case FileLayout::kXtreme:
      return each_xtreme_row(file.path, use);
    case FileLayout::kOfficial:
      break;
  }
  check(false, "no NLI file has this layout");
}

std::int32_t nli_label(std::string_view label, const std::string& where) {
  return label_number(label == "contradictory" ? "contradiction" : label, nli_labels(), where);
}

}  // namespace

const std::vector<std::string>& nli_labels() {
  static const std::vector<std::string> labels = {"contradiction", "entailment", "neutral"};
  return labels;
}

NliFile read_nli(const FoundFile& file, const std::string& language) {
  NliFile result;
  result.path = file.path;
  each_row(file, [&](Row&& row) {
    if (!row.language.empty() && row.language != language) return;
    if (row.label == kNoAgreement) {
      ++result.skipped;
      return;
    }
    NliExample example{std::move(row.premise), std::move(row.hypothesis), -1};
    if (row.label.empty()) {
      result.labelled = false;
    } else {
      example.label = nli_label(row.label, place(file.path, row.line));
    }
    result.examples.push_back(std::move(example));
  });
  require(!result.examples.empty(), file.path.string(), ": no examples in language ", language,
          "; is this the right file, and complete?");
  return result;
}

std::set<std::string> nli_languages(const FoundFile& file) {
  std::set<std::string> languages;
  if (file.layout == FileLayout::kXtreme) return languages;
  each_row(file, [&](Row&& row) {
    if (!row.language.empty()) languages.insert(std::move(row.language));
  });
  return languages;
}

std::vector<std::int32_t> read_nli_labels(const std::filesystem::path& path) {
  std::vector<std::int32_t> labels;
  for_each_line(path, [&](std::string_view text, std::int64_t line) {
    const std::size_t end = text.find_last_not_of(" \t");
    labels.push_back(nli_label(end == std::string_view::npos ? "" : text.substr(0, end + 1), place(path, line)));
  });
  return labels;
}

}  // namespace koine
