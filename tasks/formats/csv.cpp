#include "tasks/formats/csv.h"

#include <algorithm>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"

namespace koine {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

/// Takes fields off the front of a text.
class CsvReader {
 public:
  CsvReader(std::string_view text, const std::string& name, char separator)
      : text_(text), name_(name), separator_(separator) {}

  bool at_end() const { return at_ == text_.size(); }
  std::int64_t line() const { return line_; }

  /// One record, its line break included.
  std::vector<std::string> record() {
    std::vector<std::string> fields;
    do {
      fields.push_back(next() == '"' ? quoted() : plain());
    } while (take(separator_));
    if (at_end()) return fields;
    take('\r');
    require(at_end() || take('\n'), place(), ": a closing quotation mark must be followed by a ",
            separator_ == ',' ? "comma" : "tab", " or the line's end");
    ++line_;
    return fields;
  }

 private:
  std::string place() const { return concatenate(name_, ":", line_); }
  char next() const { return at_end() ? '\n' : text_[at_]; }

  bool at_line_end() const {
    const std::string_view rest = text_.substr(at_);
    return rest.starts_with('\n') || rest.starts_with("\r\n") || rest == "\r";
  }

  bool take(char wanted) {
    if (at_end() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  std::string plain() {
    const std::size_t begin = at_;
    while (!at_end() && text_[at_] != separator_ && !at_line_end()) {
      require(text_[at_] != '"', place(), ": a quotation mark inside a field that does not begin with one");
      ++at_;
    }
    return std::string(text_.substr(begin, at_ - begin));
  }

  std::string quoted() {
    const std::int64_t opened = line_;
    std::string field;
    ++at_;
    for (;; ++at_) {
      require(!at_end(), name_, ":", opened, ": a quotation mark is never closed");
      if (text_[at_] == '\n') ++line_;
      if (text_[at_] == '"') {
        ++at_;
        if (next() != '"' || at_end()) return field;
      }
      field += text_[at_];
    }
  }

  std::string_view text_;
  const std::string& name_;
  char separator_;
  std::size_t at_ = 0;
  std::int64_t line_ = 1;
};

}  // namespace

void for_each_csv_record(std::string_view text, const std::string& name,
                         const std::function<void(const std::vector<std::string>& fields, std::int64_t line)>& use,
                         char separator) {
  if (const std::size_t bad = invalid_utf8(text); bad != std::string_view::npos) {
    const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(bad), '\n');
    fail_user(name, ":", line, ": not valid UTF-8; convert the file to UTF-8");
  }
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  CsvReader reader(text, name, separator);
  while (!reader.at_end()) {
    const std::int64_t line = reader.line();
    const std::vector<std::string> fields = reader.record();
    if (fields.size() > 1 || !fields.front().empty()) use(fields, line);
  }
}

}  // namespace koine
