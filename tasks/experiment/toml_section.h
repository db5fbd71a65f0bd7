#pragma once

// One table of a TOML file, read strictly: every key that is asked for is a known key, and finish() refuses the others.
//
// All complaints are UserErrors of the form "file:line: key ...: what is wrong, and what would be right".

#include <toml++/toml.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace koine {

class TomlSection {
 public:
  /// The root of a file. `file` is what messages call it. UserError with the line of a syntax error.
  static TomlSection parse(std::string_view text, const std::string& file);

  bool has(const std::string& key);
  /// Whether the key is there and holds a text.
  bool is_text(const std::string& key);
  bool is_list(const std::string& key);
  /// Line of a key, or of the table where the key is absent.
  std::int64_t line(const std::string& key) const;
  /// "file:line" of a key.
  std::string place(const std::string& key) const;
  /// "file:line: key" for messages.
  std::string where(const std::string& key) const;

  /// Values, or `otherwise` where the key is absent; UserError for another type or outside [minimum, maximum].
  std::string text(const std::string& key, const std::string& otherwise);
  double number(const std::string& key, double otherwise, double minimum, double maximum);
  std::int64_t integer(const std::string& key, std::int64_t otherwise, std::int64_t minimum, std::int64_t maximum);
  bool flag(const std::string& key, bool otherwise);
  std::vector<std::string> texts(const std::string& key, const std::vector<std::string>& otherwise);
  /// A list of texts, or a single one.
  std::vector<std::string> one_or_more(const std::string& key, const std::vector<std::string>& otherwise);
  /// The members of a table of texts: { a = "x", b = "y" }.
  std::vector<std::pair<std::string, std::string>> pairs(const std::string& key);
  std::vector<double> numbers(const std::string& key, const std::vector<double>& otherwise, double minimum, double maximum);
  std::vector<std::int64_t> integers(const std::string& key, const std::vector<std::int64_t>& otherwise,
                                     std::int64_t minimum, std::int64_t maximum);
  /// One of `choices`.
  std::string choice(const std::string& key, const std::string& otherwise, const std::vector<std::string>& choices);

  /// UserError where the value of a key cannot name a folder.
  void require_folder_name(const std::string& key, const std::string& name) const;

  /// A table below this one, empty where it is absent.
  TomlSection table(const std::string& key);
  /// The elements of [[key]].
  std::vector<TomlSection> tables(const std::string& key);

  /// This table as TOML, an element of [[key]]: keys in order, comments dropped.
  std::string as_element_of(const std::string& key) const;

  /// UserError naming the first key nobody asked for, its line and the nearest known one.
  void finish() const;

 private:
  TomlSection(std::shared_ptr<const toml::table> root, const toml::table* table, std::string file, std::string name);
  const toml::node* find(const std::string& key);
  [[noreturn]] void wrong_type(const std::string& key, const char* wanted) const;

  std::shared_ptr<const toml::table> root_;
  const toml::table* table_;
  std::string file_;
  std::string name_;  ///< "intermediate[2]", empty for the root
  std::vector<std::string> known_;
};

}  // namespace koine
