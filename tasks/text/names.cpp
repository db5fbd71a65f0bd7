#include "tasks/text/names.h"

#include <algorithm>

#include "tasks/text/text_form.h"

namespace koine {
namespace {

constexpr std::string_view kBetween = "$$";

/// A text without white space.
std::string packed(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c != ' ') result.push_back(c);
  }
  return result;
}

/// The last of the words from `first` on that are a name together; -1: they are not.
std::int64_t last_word_of(const std::vector<std::string>& words, std::size_t first, const std::string& name) {
  std::string together;
  for (std::size_t i = first; i < words.size() && together.size() < name.size(); ++i) {
    together += packed(words[i]);
    if (together == name) return static_cast<std::int64_t>(i);
  }
  return -1;
}

}  // namespace

bool are_name_tags(const std::vector<std::string>& labels) {
  const bool begins =
      std::any_of(labels.begin(), labels.end(), [](const std::string& tag) { return tag.starts_with("B-"); });
  return begins && std::all_of(labels.begin(), labels.end(), [](const std::string& tag) {
           return tag == "O" || tag.starts_with("B-") || tag.starts_with("I-");
         });
}

std::vector<NamedSpan> names_of_tags(const std::vector<std::string>& words, const std::vector<std::string>& tags) {
  std::vector<NamedSpan> names;
  std::string open;  // the type of the name that the word before is of
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string type = tags[i] == "O" ? "" : tags[i].substr(2);
    if (!type.empty() && (tags[i].starts_with("B-") || type != open)) {
      names.push_back({type, words[i]});
    } else if (!type.empty()) {
      names.back().text += " " + words[i];
    }
    open = type;
  }
  return names;
}

std::string names_text(const std::vector<NamedSpan>& names) {
  std::string text;
  for (const NamedSpan& name : names) text += (text.empty() ? "" : " $$ ") + name.type + ": " + name.text;
  return text;
}

ReadNames read_names(std::string_view text, const std::vector<std::string>& types) {
  ReadNames result;
  while (!trimmed(text).empty()) {
    const std::size_t end = text.find(kBetween);
    const std::string part = trimmed(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + kBetween.size());
    const std::size_t colon = part.find(':');
    NamedSpan name{trimmed(part.substr(0, colon)), colon == std::string::npos ? "" : trimmed(part.substr(colon + 1))};
    if (name.text.empty() || std::find(types.begin(), types.end(), name.type) == types.end()) {
      result.readable = false;
    } else {
      result.names.push_back(std::move(name));
    }
  }
  return result;
}

std::vector<std::string> tags_of_names(const std::vector<std::string>& words, const std::vector<NamedSpan>& names) {
  std::vector<std::string> tags(words.size(), "O");
  for (const NamedSpan& name : names) {
    const std::string wanted = packed(name.text);
    for (std::size_t first = 0; first < words.size(); ++first) {
      const std::int64_t last = last_word_of(words, first, wanted);
      const auto taken = [&](std::size_t i) { return tags[i] != "O"; };
      bool free = last >= 0;
      for (auto i = first; free && i <= static_cast<std::size_t>(last); ++i) free = !taken(i);
      if (!free) continue;
      for (auto i = first; i <= static_cast<std::size_t>(last); ++i) tags[i] = (i == first ? "B-" : "I-") + name.type;
      break;
    }
  }
  return tags;
}

std::vector<std::string> name_types(const std::vector<std::string>& labels) {
  std::vector<std::string> types;
  for (const std::string& label : labels) {
    if (label == "O" || std::find(types.begin(), types.end(), label.substr(2)) != types.end()) continue;
    types.push_back(label.substr(2));
  }
  return types;
}

}  // namespace koine
