#include "tasks/formats/records.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/formats/csv.h"
#include "tasks/formats/labels.h"

namespace koine {
namespace {

using Names = std::vector<std::string>;

/// "a, b and c" of the fields that must be there.
std::string spell_required(const std::vector<RecordField>& fields) {
  Names required;
  for (const RecordField& field : fields) {
    if (field.required) required.push_back(spell_names(field.names));
  }
  const std::string last = required.back();
  required.pop_back();
  return required.empty() ? last : join_names(required) + " and " + last;
}

/// Finds the parts of a table's rows.
class Table {
 public:
  Table(const FoundFile& file, const RecordShape& shape, const UseRecord& use, const std::function<void()>& skip)
      : file_(file), shape_(shape), use_(use), skip_(skip) {
    if (!shape.columns.empty()) find_columns({shape.columns.begin(), shape.columns.end()}, 1);
  }

  void add(const std::vector<std::string_view>& values, std::int64_t line) {
    if (count_ == 0) return find_columns(values, line);
    if (shape_.short_rows && values.size() < count_) return skip_();
    const bool longer = values.size() > count_ && last_is_last_;
    require(values.size() == count_ || longer, place(file_.path, line), ": ", values.size(),
            shape_.columns.empty() ? " columns, the header has " : " columns, the task has ", count_,
            "; mend or remove the row");
    std::vector<std::string> parts;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      if (!columns_[i]) {
        parts.emplace_back();
      } else {
        parts.emplace_back(longer && shape_.fields[i].last ? values.back() : values[*columns_[i]]);
      }
    }
    use_(std::move(parts), line);
  }

 private:
  void find_columns(const std::vector<std::string_view>& header, std::int64_t line) {
    count_ = header.size();
    for (const RecordField& field : shape_.fields) {
      columns_.push_back(find_column(header, field.names));
      require(columns_.back() || !field.required, place(file_.path, line), ": the first line must name the columns ",
              spell_required(shape_.fields), file_.layout == FileLayout::kCsv ? " between commas" : " between tabs",
              "; there is no ", spell_names(field.names));
      last_is_last_ = last_is_last_ || (field.last && columns_.back() && *columns_.back() + 1 == count_);
    }
  }

  static std::optional<std::size_t> find_column(const std::vector<std::string_view>& header, const Names& names) {
    for (const std::string& name : names) {
      const auto found = std::find(header.begin(), header.end(), name);
      if (found != header.end()) return static_cast<std::size_t>(found - header.begin());
    }
    return std::nullopt;
  }

  const FoundFile& file_;
  const RecordShape& shape_;
  const UseRecord& use_;
  const std::function<void()>& skip_;
  std::size_t count_ = 0;                            ///< columns; 0: not known yet
  std::vector<std::optional<std::size_t>> columns_;  ///< [fields]
  bool last_is_last_ = false;  ///< a row may be longer: its last column is that of a field which says so
};

/// The member of an array at "0", "1" ...; null where there is none.
const nlohmann::json* element(const nlohmann::json& array, std::string_view number) {
  std::size_t index = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), index);
  const bool there = error == std::errc() && end == number.data() + number.size() && index < array.size();
  return there ? &array[index] : nullptr;
}

/// What a name stands for: the member that is called so, else what its parts between dots lead to; null where there is
/// nothing.
const nlohmann::json* find_member(const nlohmann::json& row, std::string_view name) {
  if (row.is_object()) {
    if (const auto found = row.find(name); found != row.end()) return &*found;
  }
  const std::size_t dot = name.find('.');
  const std::string_view first = name.substr(0, dot);
  const nlohmann::json* next = nullptr;
  if (row.is_array()) {
    next = element(row, first);
  } else if (dot != std::string_view::npos && row.is_object()) {
    const auto found = row.find(first);
    if (found != row.end()) next = &*found;
  }
  return next == nullptr || dot == std::string_view::npos ? next : find_member(*next, name.substr(dot + 1));
}

std::string part_of(const nlohmann::json& row, const RecordField& field, const std::string& where) {
  for (const std::string& name : field.names) {
    const nlohmann::json* found = find_member(row, name);
    if (found == nullptr) continue;
    if (field.number && found->is_number_integer()) return found->dump();
    require(found->is_string(), where, ": \"", name, "\" must be a text", field.number ? " or a whole number" : "");
    return found->get<std::string>();
  }
  require(!field.required, where, ": \"", field.names.empty() ? "" : field.names.front(), "\" is missing");
  return "";
}

}  // namespace

std::string spell_names(const std::vector<std::string>& names) {
  if (names.empty()) return "";
  return names.size() == 1 ? names.front()
                           : concatenate(names.front(), " (or ", join_names({names.begin() + 1, names.end()}), ")");
}

void for_each_record(const FoundFile& file, const RecordShape& shape, const UseRecord& use,
                     const std::function<void()>& skip) {
  if (file.layout == FileLayout::kJsonLines) {
    return for_each_json_line(file.path, [&](const nlohmann::json& row, std::int64_t line) {
      std::vector<std::string> parts;
      for (const RecordField& field : shape.fields) parts.push_back(part_of(row, field, place(file.path, line)));
      use(std::move(parts), line);
    });
  }
  Table table(file, shape, use, skip);
  if (file.layout == FileLayout::kCsv || file.layout == FileLayout::kQuotedTsv) {
    return for_each_csv_record(
        read_file(file.path), file.path.string(),
        [&](const std::vector<std::string>& fields, std::int64_t line) {
          table.add({fields.begin(), fields.end()}, line);
        },
        file.layout == FileLayout::kCsv ? ',' : '\t');
  }
  check(file.layout == FileLayout::kTsv, "files of this layout have no records: ", file.path.string());
  for_each_line(file.path, [&](std::string_view text, std::int64_t line) {
    if (!text.empty()) table.add(split_tabs(text), line);
  });
}

}  // namespace koine
