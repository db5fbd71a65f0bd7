// Strict JSON: parse_json and for_each_json_line of text_file.h.

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"

namespace koine {
namespace {

using nlohmann::json;

/// Deeper nesting than any file of this field has; bounds what recursive users of the value (dump, comparison) need of the
/// stack.
constexpr std::size_t kMaximumDepth = 128;

/// Where the parser has read to. Its iterators are copied; all copies report here.
struct Progress {
  const char* begin = nullptr;
  const char* at = nullptr;
};

/// An input iterator over bytes that reports how far it went.
class TrackedByte {
 public:
  using difference_type = std::ptrdiff_t;
  using value_type = char;
  using pointer = const char*;
  using reference = const char&;
  using iterator_category = std::input_iterator_tag;

  TrackedByte(const char* at, Progress* progress) : at_(at), progress_(progress) {}
  reference operator*() const { return *at_; }
  TrackedByte& operator++() {
    progress_->at = ++at_;
    return *this;
  }
  TrackedByte operator++(int) {
    TrackedByte before = *this;
    ++*this;
    return before;
  }
  bool operator==(const TrackedByte& other) const { return at_ == other.at_; }
  bool operator!=(const TrackedByte& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  Progress* progress_;
};

/// UserError at the last byte of what was read.
[[noreturn]] void fail_at(std::string_view read, const std::string& where, std::int64_t first_line,
                          const std::string& what) {
  const auto line = first_line + std::count(read.begin(), read.end(), '\n');
  const std::size_t line_start = read.rfind('\n') + 1;  // npos + 1 is 0
  fail_user(where, ":", line, ":", std::max<std::size_t>(1, read.size() - line_start), ": ", what);
}

/// Builds the value from the parser's events and refuses what a lenient reader lets pass: a repeated key (which one counts
/// is anybody's guess), bottomless nesting.
class StrictBuilder : public nlohmann::json_sax<json> {
 public:
  StrictBuilder(const std::string& where, std::int64_t first_line, const Progress& progress)
      : where_(where), first_line_(first_line), progress_(progress) {}

  json take() { return std::move(root_); }

  bool null() override { return place(nullptr); }
  bool boolean(bool value) override { return place(value); }
  bool number_integer(number_integer_t value) override { return place(value); }
  bool number_unsigned(number_unsigned_t value) override { return place(value); }
  bool number_float(number_float_t value, const string_t&) override { return place(value); }
  bool string(string_t& value) override { return place(std::move(value)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(json::object()); }
  bool start_array(std::size_t) override { return open(json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    const auto [entry, added] = open_.back()->get_ref<json::object_t&>().emplace(name, nullptr);
    if (!added) fail(concatenate("the key \"", name, "\" stands twice in one object"));
    next_ = &entry->second;
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& error) override {
    // "[json.exception.parse_error.101] parse error at line 2, column 7: syntax error ...": the place is said in front.
    std::string_view text = error.what();
    if (const std::size_t end = text.find("] "); end != std::string_view::npos) text.remove_prefix(end + 2);
    if (text.starts_with("parse error at line")) text.remove_prefix(std::min(text.size(), text.find(": ") + 2));
    fail(concatenate("not valid JSON: ", text));
  }

 private:
  json* place(json value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    if (open_.back()->is_array()) {
      open_.back()->push_back(std::move(value));
      return &open_.back()->back();
    }
    *next_ = std::move(value);
    return next_;
  }

  bool open(json empty) {
    if (open_.size() >= kMaximumDepth) fail(concatenate("nested more than ", kMaximumDepth, " deep"));
    open_.push_back(place(std::move(empty)));
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  [[noreturn]] void fail(const std::string& what) const {
    fail_at({progress_.begin, static_cast<std::size_t>(progress_.at - progress_.begin)}, where_, first_line_, what);
  }

  const std::string& where_;
  std::int64_t first_line_;
  const Progress& progress_;
  json root_;
  std::vector<json*> open_;  // arrays and objects not yet closed; a parent does not grow while its child is open
  json* next_ = nullptr;     // the member a key was read for
};

}  // namespace

nlohmann::json parse_json(std::string_view text, const std::string& where, std::int64_t first_line) {
  require(text.find_first_not_of(" \t\r\n") != std::string_view::npos, where, ": empty; a JSON value is needed");
  // The parser takes a NUL for the end of its input, and would not see what follows.
  if (const std::size_t nul = text.find('\0'); nul != std::string_view::npos) {
    fail_at(text.substr(0, nul + 1), where, first_line, "not valid JSON: a NUL byte; is the file damaged?");
  }
  Progress progress{text.data(), text.data()};
  StrictBuilder builder(where, first_line, progress);
  json::sax_parse(TrackedByte(text.data(), &progress), TrackedByte(text.data() + text.size(), &progress), &builder);
  return builder.take();
}

void for_each_json_line(const std::filesystem::path& path,
                        const std::function<void(const nlohmann::json& row, std::int64_t line)>& use) {
  for_each_line(path, [&](std::string_view text, std::int64_t line) {
    if (text.empty()) return;
    const json row = parse_json(text, path.string(), line);
    require(row.is_object(), path.string(), ":", line, ": not a JSON object; the file must have one on every line");
    use(row, line);
  });
}

}  // namespace koine
