#include "tasks/formats/labelled_texts.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <optional>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/formats/labels.h"
#include "tasks/formats/records.h"

namespace koine {
namespace {

/// A row, whatever the layout.
struct Row {
  std::string first;
  std::string second;
  std::optional<std::string> label;  ///< none: the layout has none
  std::string language;
  std::int64_t line = 0;
};
using UseRow = std::function<void(Row&& row)>;

void each_record_row(const FoundFile& file, const ReadRequest& request, const UseRow& use,
                     const std::function<void()>& skip) {
  const TextFields& fields = request.fields;
  const RecordShape shape{{{.names = fields.first},
                           {.names = fields.second, .required = !fields.second.empty()},
                           {.names = fields.label, .required = !request.inputs_only, .number = true, .last = true},
                           {.names = fields.language, .required = false}},
                          request.columns,
                          fields.short_rows};
  for_each_record(
      file, shape,
      [&](std::vector<std::string>&& parts, std::int64_t line) {
        use({std::move(parts[0]), std::move(parts[1]), std::move(parts[2]), std::move(parts[3]), line});
      },
      skip);
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
void each_row(const FoundFile& file, const ReadRequest& request, const UseRow& use, const std::function<void()>& skip) {
  if (file.layout == FileLayout::kXtreme) return each_xtreme_row(file.path, request.fields, use);
  each_record_row(file, request, use, skip);
}

std::int32_t number_of_label(std::string_view label, const ReadRequest& request, const std::string& where) {
  require(!label.empty(), where, ": the label is empty; known labels: ", join_names(request.labels));
  return label_number(label, request, where);
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
    if (request.inputs_only) row.label.reset();
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
  each_row(file, request, use, [&] { ++result.skipped; });
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
  each_row(file, request, use, [] {});
  return languages;
}

FileLayout layout_of_labelled_texts(const std::filesystem::path& path, const TextFields& fields) {
  if (path.extension() == ".jsonl") return FileLayout::kJsonLines;
  const std::vector<std::string> lines = read_lines(path);
  const std::vector<std::string_view> columns = lines.empty() ? std::vector<std::string_view>() : split_tabs(lines.front());
  const bool header = std::any_of(fields.label.begin(), fields.label.end(), [&](const std::string& name) {
    return std::find(columns.begin(), columns.end(), name) != columns.end();
  });
  return header ? FileLayout::kTsv : FileLayout::kXtreme;
}

std::vector<std::int32_t> read_label_lines(const std::filesystem::path& path, const ReadRequest& request) {
  std::vector<std::int32_t> labels;
  for_each_line(path, [&](std::string_view text, std::int64_t line) {
    const std::size_t end = text.find_last_not_of(" \t");
    const std::string_view label = end == std::string_view::npos ? "" : text.substr(0, end + 1);
    labels.push_back(label == "unreadable" ? -1 : number_of_label(label, request, place(path, line)));
  });
  return labels;
}

}  // namespace koine
