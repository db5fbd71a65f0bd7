#include "tasks/formats/labelled_texts.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/formats/labels.h"

namespace koine {
namespace {

using Names = std::vector<std::string>;

/// A row, whatever the layout.
struct Row {
  std::string first;
  std::string second;
  std::optional<std::string> label;  ///< none: the layout has none
  std::string language;
  std::int64_t line = 0;
};
using UseRow = std::function<void(Row&& row)>;

std::string place(const std::filesystem::path& path, std::int64_t line) { return concatenate(path.string(), ":", line); }

std::optional<std::size_t> find_column(const std::vector<std::string_view>& header, const Names& names) {
  for (const std::string& name : names) {
    const auto found = std::find(header.begin(), header.end(), name);
    if (found != header.end()) return static_cast<std::size_t>(found - header.begin());
  }
  return std::nullopt;
}

/// Where the columns of a table with a header stand.
struct Columns {
  std::size_t count = 0;
  std::size_t first = 0;
  std::optional<std::size_t> second;
  std::size_t label = 0;
  std::optional<std::size_t> language;
};

/// "sentence1 (or premise)"
std::string spell(const Names& names) {
  return names.size() == 1 ? names.front()
                           : concatenate(names.front(), " (or ", join_names({names.begin() + 1, names.end()}), ")");
}

Columns read_header(const std::filesystem::path& path, std::string_view line, const TextFields& fields) {
  const std::vector<std::string_view> header = split_tabs(line);
  const auto first = find_column(header, fields.first);
  const auto second = find_column(header, fields.second);
  const auto label = find_column(header, fields.label);
  const bool pairs = !fields.second.empty();
  require(first && (second || !pairs) && label, place(path, 1), ": the first line must name the columns ",
          spell(fields.first), pairs ? ", " + spell(fields.second) : "", " and ", spell(fields.label), " between tabs");
  return {header.size(), *first, second, *label, find_column(header, fields.language)};
}

void each_header_row(const std::filesystem::path& path, const TextFields& fields, const UseRow& use,
                     const std::function<void()>& skip) {
  std::optional<Columns> columns;
  for_each_line(path, [&](std::string_view text, std::int64_t line) {
    if (!columns) {
      columns = read_header(path, text, fields);
      return;
    }
    if (text.empty()) return;
    const std::vector<std::string_view> values = split_tabs(text);
    if (fields.short_rows && values.size() < columns->count) {
      skip();
      return;
    }
    // GLUE's SNLI has as many annotators' labels as a pair got, under a header for one; the gold label stays the last.
    const bool longer = values.size() > columns->count && columns->label + 1 == columns->count;
    require(values.size() == columns->count || longer, place(path, line), ": ", values.size(), " columns, the header has ",
            columns->count, "; mend or remove the row");
    const auto value = [&](const std::optional<std::size_t>& column) {
      return column ? std::string(values[*column]) : std::string();
    };
    use({value(columns->first), value(columns->second), longer ? std::string(values.back()) : value(columns->label),
         value(columns->language), line});
  });
}

/// The text of one of `names`; empty where none is there and `required` is not set.
std::string text_of(const nlohmann::json& row, const Names& names, bool required, const std::string& where) {
  for (const std::string& name : names) {
    const auto found = row.find(name);
    if (found == row.end()) continue;
    require(found->is_string(), where, ": \"", name, "\" must be a text");
    return found->get<std::string>();
  }
  require(!required, where, ": \"", names.empty() ? "" : names.front(), "\" is missing");
  return "";
}

void each_json_row(const std::filesystem::path& path, const TextFields& fields, const UseRow& use) {
  for_each_json_line(path, [&](const nlohmann::json& row, std::int64_t line) {
    const std::string where = place(path, line);
    use({text_of(row, fields.first, true, where), text_of(row, fields.second, !fields.second.empty(), where),
         text_of(row, fields.label, true, where), text_of(row, fields.language, false, where), line});
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

void each_xtreme_row(const std::filesystem::path& path, const TextFields& fields, const UseRow& use) {
  const std::size_t texts = fields.second.empty() ? 1 : 2;
  std::size_t columns = 0;
  for_each_line(path, [&](std::string_view text, std::int64_t line) {
    if (text.empty()) return;
    const std::vector<std::string_view> values = split_tabs(text);
    if (columns == 0) columns = values.size();
    const bool translated = texts == 2 && columns == 5;  // the original pair stands before its translation
    require(values.size() == columns && (columns == texts || columns == texts + 1 || translated), place(path, line), ": ",
            values.size(), " columns; every row must be ", texts == 1 ? "text, label" : "first text, second text, label",
            " (or none has a label)");
    const std::size_t first = translated ? texts : 0;
    Row row{unquote(values[first]), texts == 2 ? unquote(values[first + 1]) : "", std::nullopt, "", line};
    if (columns > texts) row.label = unquote(values.back());
    use(std::move(row));
  });
}

/// `skip` is called for a row that is left out.
void each_row(const FoundFile& file, const TextFields& fields, const UseRow& use, const std::function<void()>& skip) {
  switch (file.layout) {
    case FileLayout::kJsonLines:
      return each_json_row(file.path, fields, use);
    case FileLayout::kHeaderTsv:
      return each_header_row(file.path, fields, use, skip);
    case FileLayout::kXtreme:
      return each_xtreme_row(file.path, fields, use);
    case FileLayout::kOfficial:
      break;
  }
  check(false, "no file of labelled texts has this layout");
}

std::int32_t number_of_label(std::string_view label, const ReadRequest& request, const std::string& where) {
  require(!label.empty(), where, ": the label is empty; known labels: ", join_names(request.labels));
  for (const auto& [alias, meant] : request.label_aliases) {
    if (label == alias) return label_number(meant, request.labels, where);
  }
  return label_number(label, request.labels, where);
}

}  // namespace

void LabelledTexts::append(LabelledTexts&& more) {
  if (labelled && !more.labelled) path = more.path;
  labelled = labelled && more.labelled;
  skipped += more.skipped;
  std::move(more.examples.begin(), more.examples.end(), std::back_inserter(examples));
}

LabelledTexts read_labelled_texts(const FoundFile& file, const ReadRequest& request) {
  LabelledTexts result;
  result.path = file.path;
  const auto use = [&](Row&& row) {
    if (!row.language.empty() && row.language != request.language) return;
    if (row.label && !request.skipped_label.empty() && *row.label == request.skipped_label) {
      ++result.skipped;
      return;
    }
    LabelledText example{std::move(row.first), std::move(row.second), -1};
    if (row.label) {
      example.label = number_of_label(*row.label, request, place(file.path, row.line));
    } else {
      result.labelled = false;
    }
    result.examples.push_back(std::move(example));
  };
  each_row(file, request.fields, use, [&] { ++result.skipped; });
  require(!result.examples.empty(), file.path.string(), ": no examples in language ", request.language,
          "; is this the right file, and complete?");
  return result;
}

std::set<std::string> languages_of_labelled_texts(const FoundFile& file, const ReadRequest& request) {
  std::set<std::string> languages;
  if (file.layout == FileLayout::kXtreme) return languages;
  const auto use = [&](Row&& row) {
    if (!row.language.empty()) languages.insert(std::move(row.language));
  };
  each_row(file, request.fields, use, [] {});
  return languages;
}

FileLayout layout_of_labelled_texts(const std::filesystem::path& path, const TextFields& fields) {
  if (path.extension() == ".jsonl") return FileLayout::kJsonLines;
  const std::vector<std::string> lines = read_lines(path);
  const bool header = !lines.empty() && find_column(split_tabs(lines.front()), fields.label).has_value();
  return header ? FileLayout::kHeaderTsv : FileLayout::kXtreme;
}

std::vector<std::int32_t> read_label_lines(const std::filesystem::path& path, const ReadRequest& request) {
  std::vector<std::int32_t> labels;
  for_each_line(path, [&](std::string_view text, std::int64_t line) {
    const std::size_t end = text.find_last_not_of(" \t");
    labels.push_back(
        number_of_label(end == std::string_view::npos ? "" : text.substr(0, end + 1), request, place(path, line)));
  });
  return labels;
}

}  // namespace koine
