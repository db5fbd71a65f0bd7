#include "tasks/experiment/toml_section.h"

#include <algorithm>
#include <cctype>
#include <sstream>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"

namespace koine {

namespace {

std::string number_text(double value) {
  const std::string text = concatenate(value);
  return text;
}

constexpr std::size_t kMostKeyParts = 64;  // the library's tables are nested as deep, and its stack is used as deep

/// Where the string that begins at text[at] with one or three quotes ends: behind its closing quotes.
std::size_t end_of_string(std::string_view text, std::size_t at) {
  const char quote = text[at];
  const std::string_view three = quote == '"' ? "\"\"\"" : "'''";
  const bool long_string = text.substr(at).starts_with(three);
  const std::string_view closing = long_string ? three : three.substr(0, 1);
  for (at += closing.size(); at < text.size(); ++at) {
    if (quote == '"' && text[at] == '\\') {
      ++at;
    } else if (text.substr(at).starts_with(closing) || (!long_string && text[at] == '\n')) {
      return at + closing.size();
    }
  }
  return text.size();
}

/// UserError where a dotted key has more parts than anybody writes: the library would overflow the stack on it.
void check_key_parts(std::string_view text, const std::string& file) {
  std::size_t parts = 1;
  std::int64_t line = 1;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '"' || c == '\'') {
      const std::size_t end = end_of_string(text, at);
      line +=
          std::count(text.begin() + static_cast<std::ptrdiff_t>(at), text.begin() + static_cast<std::ptrdiff_t>(end), '\n');
      at = end - 1;
    } else if (c == '#') {
      at = std::min(text.find('\n', at), text.size()) - 1;
    } else if (c == '.') {
      require(++parts <= kMostKeyParts, file, ":", line, ": a key of more than ", kMostKeyParts, " parts");
    } else if (c != '_' && c != '-' && c != ' ' && c != '\t' && std::isalnum(static_cast<unsigned char>(c)) == 0) {
      line += c == '\n' ? 1 : 0;
      parts = 1;
    }
  }
}

}  // namespace

TomlSection::TomlSection(std::shared_ptr<const toml::table> root, const toml::table* table, std::string file,
                         std::string name)
    : root_(std::move(root)), table_(table), file_(std::move(file)), name_(std::move(name)) {}

TomlSection TomlSection::parse(std::string_view text, const std::string& file) {
  check_key_parts(text, file);
  try {
    auto root = std::make_shared<const toml::table>(toml::parse(text, file));
    const toml::table* table = root.get();
    return TomlSection(std::move(root), table, file, "");
  } catch (const toml::parse_error& error) {
    fail_user(file, ":", error.source().begin.line, ": not valid TOML: ", error.description());
  }
}

const toml::node* TomlSection::find(const std::string& key) {
  if (std::find(known_.begin(), known_.end(), key) == known_.end()) known_.push_back(key);
  return table_->get(key);
}

bool TomlSection::has(const std::string& key) { return find(key) != nullptr; }

bool TomlSection::is_text(const std::string& key) {
  const toml::node* node = find(key);
  return node != nullptr && node->is_string();
}

bool TomlSection::is_list(const std::string& key) {
  const toml::node* node = find(key);
  return node != nullptr && node->is_array();
}

std::int64_t TomlSection::line(const std::string& key) const {
  const toml::node* node = table_->get(key);
  return node != nullptr ? node->source().begin.line : table_->source().begin.line;
}

std::string TomlSection::place(const std::string& key) const {
  return concatenate(file_, ":", std::max<std::int64_t>(line(key), 1));
}

std::string TomlSection::where(const std::string& key) const {
  return concatenate(place(key), ": ", name_.empty() ? "" : name_ + ".", key);
}

void TomlSection::wrong_type(const std::string& key, const char* wanted) const {
  fail_user(where(key), " must be ", wanted);
}

std::string TomlSection::text(const std::string& key, const std::string& otherwise) {
  const toml::node* node = find(key);
  if (node == nullptr) return otherwise;
  if (!node->is_string()) wrong_type(key, "a text in quotes");
  return node->as_string()->get();
}

double TomlSection::number(const std::string& key, double otherwise, double minimum, double maximum) {
  const toml::node* node = find(key);
  if (node == nullptr) return otherwise;
  if (!node->is_floating_point() && !node->is_integer()) wrong_type(key, "a number");
  const double value =
      node->is_integer() ? static_cast<double>(node->as_integer()->get()) : node->as_floating_point()->get();
  require(value >= minimum && value <= maximum, where(key), " is ", number_text(value), "; it must lie between ",
          number_text(minimum), " and ", number_text(maximum));
  return value;
}

std::int64_t TomlSection::integer(const std::string& key, std::int64_t otherwise, std::int64_t minimum,
                                  std::int64_t maximum) {
  const toml::node* node = find(key);
  if (node == nullptr) return otherwise;
  if (!node->is_integer()) wrong_type(key, "a whole number");
  const std::int64_t value = node->as_integer()->get();
  require(value >= minimum && value <= maximum, where(key), " is ", value, "; it must lie between ", minimum, " and ",
          maximum);
  return value;
}

bool TomlSection::flag(const std::string& key, bool otherwise) {
  const toml::node* node = find(key);
  if (node == nullptr) return otherwise;
  if (!node->is_boolean()) wrong_type(key, "true or false");
  return node->as_boolean()->get();
}

std::vector<std::string> TomlSection::texts(const std::string& key, const std::vector<std::string>& otherwise) {
  const toml::node* node = find(key);
  if (node == nullptr) return otherwise;
  if (!node->is_array()) wrong_type(key, "a list of texts");
  std::vector<std::string> result;
  for (const toml::node& element : *node->as_array()) {
    if (!element.is_string()) wrong_type(key, "a list of texts");
    result.push_back(element.as_string()->get());
  }
  return result;
}

std::vector<std::string> TomlSection::one_or_more(const std::string& key, const std::vector<std::string>& otherwise) {
  const toml::node* node = find(key);
  if (node != nullptr && node->is_string()) return {node->as_string()->get()};
  if (node != nullptr && !node->is_array()) wrong_type(key, "a text or a list of texts");
  return texts(key, otherwise);
}

std::vector<std::pair<std::string, std::string>> TomlSection::pairs(const std::string& key) {
  std::vector<std::pair<std::string, std::string>> result;
  const toml::node* node = find(key);
  if (node == nullptr) return result;
  if (!node->is_table()) wrong_type(key, "a table of texts: { a = \"x\", b = \"y\" }");
  for (const auto& [name, value] : *node->as_table()) {
    if (!value.is_string()) wrong_type(key, "a table of texts: { a = \"x\", b = \"y\" }");
    result.emplace_back(std::string_view{name}, value.as_string()->get());
  }
  return result;
}

std::vector<double> TomlSection::numbers(const std::string& key, const std::vector<double>& otherwise, double minimum,
                                         double maximum) {
  const toml::node* node = find(key);
  if (node == nullptr) return otherwise;
  if (!node->is_array()) wrong_type(key, "a list of numbers");
  std::vector<double> result;
  for (const toml::node& element : *node->as_array()) {
    const auto value = element.value<double>();
    if (!value.has_value() || element.is_boolean()) wrong_type(key, "a list of numbers");
    require(*value >= minimum && *value <= maximum, where(key), " holds ", number_text(*value), "; each must lie between ",
            number_text(minimum), " and ", number_text(maximum));
    result.push_back(*value);
  }
  return result;
}

std::vector<std::int64_t> TomlSection::integers(const std::string& key, const std::vector<std::int64_t>& otherwise,
                                                std::int64_t minimum, std::int64_t maximum) {
  const toml::node* node = find(key);
  if (node == nullptr) return otherwise;
  if (!node->is_array()) wrong_type(key, "a list of whole numbers");
  std::vector<std::int64_t> result;
  for (const toml::node& element : *node->as_array()) {
    if (!element.is_integer()) wrong_type(key, "a list of whole numbers");
    const std::int64_t value = element.as_integer()->get();
    require(value >= minimum && value <= maximum, where(key), " holds ", value, "; each must lie between ", minimum, " and ",
            maximum);
    result.push_back(value);
  }
  return result;
}

std::string TomlSection::choice(const std::string& key, const std::string& otherwise,
                                const std::vector<std::string>& choices) {
  const std::string value = text(key, otherwise);
  if (std::find(choices.begin(), choices.end(), value) != choices.end()) return value;
  std::string list;
  for (const std::string& choice : choices) list += (list.empty() ? "\"" : ", \"") + choice + "\"";
  fail_user(where(key), " is \"", value, "\"; it must be one of ", list);
}

void TomlSection::require_folder_name(const std::string& key, const std::string& name) const {
  const bool valid = !name.empty() && name.front() != '.' && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.' || c == '+';
  });
  require(valid, where(key), " is \"", name, "\"; it names a folder, so only letters, digits and - _ . + may stand in it");
}

TomlSection TomlSection::table(const std::string& key) {
  static const toml::table empty;
  const toml::node* node = find(key);
  if (node != nullptr && !node->is_table()) wrong_type(key, concatenate("a table: [", key, "]").c_str());
  return TomlSection(root_, node == nullptr ? &empty : node->as_table(), file_, name_.empty() ? key : name_ + "." + key);
}

std::vector<TomlSection> TomlSection::tables(const std::string& key) {
  std::vector<TomlSection> result;
  const toml::node* node = find(key);
  if (node == nullptr) return result;
  const std::string wanted = concatenate("a list of tables: [[", key, "]]");
  if (!node->is_array()) wrong_type(key, wanted.c_str());
  for (const toml::node& element : *node->as_array()) {
    if (!element.is_table()) wrong_type(key, wanted.c_str());
    result.push_back(TomlSection(root_, element.as_table(), file_, concatenate(key, "[", result.size() + 1, "]")));
  }
  return result;
}

std::string TomlSection::as_element_of(const std::string& key) const {
  std::ostringstream text;
  text << toml::table{{key, toml::array{*table_}}} << "\n";
  return text.str();
}

void TomlSection::finish() const {
  std::int64_t first_line = 0;
  std::string first;
  for (const auto& [key, node] : *table_) {
    const std::string name(std::string_view{key});
    if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
    const std::int64_t at = node.source().begin.line;
    if (first.empty() || at < first_line) {
      first = name;
      first_line = at;
    }
  }
  if (first.empty()) return;
  const std::string near = nearest_name(first, known_);
  std::string known;
  for (const std::string& key : known_) known += (known.empty() ? "" : ", ") + key;
  const std::string place = name_.empty() ? "here" : "in [" + name_ + "]";
  fail_user(file_, ":", first_line, ": unknown key \"", first, "\" ", place,
            near.empty() ? "; known are: " + known : "; did you mean \"" + near + "\"?");
}

}  // namespace koine
