#include "tasks/files/task_files.h"

#include <algorithm>

#include "kernels/common/check.h"
#include "tasks/files/languages.h"

namespace koine {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSplit = "{split}";
constexpr std::string_view kLanguage = "{language}";
constexpr std::string_view kLanguage3 = "{language3}";
constexpr std::string_view kContext = "{context}";
constexpr std::string_view kQuestion = "{question}";

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

/// A language as the names of the candidate's files call it.
std::string code_of(const FileCandidate& candidate, std::string_view language) {
  for (const auto& [own, code] : candidate.codes) {
    if (own == language) return code;
  }
  return std::string(language);
}

/// What code_of calls so.
std::string language_of(const FileCandidate& candidate, const std::string& code) {
  for (const auto& [own, known] : candidate.codes) {
    if (known == code) return own;
  }
  return code;
}

bool is_code_character(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x80 && (std::isalnum(byte) != 0 || c == '_');
}

/// The placeholder of a language that the pattern begins with; empty where it begins with something else.
std::string_view placeholder_at(std::string_view pattern) {
  for (const std::string_view placeholder : {kLanguage3, kLanguage, kContext, kQuestion}) {
    if (pattern.starts_with(placeholder)) return placeholder;
  }
  return {};
}

/// Whether a name fits a pattern of one path component. `language` is the code bound so far, or empty: then the first
/// placeholder binds it, to as few characters as will do.
bool fits(std::string_view pattern, std::string_view name, std::string& language) {
  constexpr std::size_t kLongestCode = 12;
  if (pattern.empty()) return name.empty();
  if (pattern.front() == '*') {
    for (std::size_t length = 0; length <= name.size(); ++length) {
      if (fits(pattern.substr(1), name.substr(length), language)) return true;
    }
    return false;
  }
  const std::string_view placeholder = placeholder_at(pattern);
  if (placeholder.empty()) {
    return !name.empty() && name.front() == pattern.front() && fits(pattern.substr(1), name.substr(1), language);
  }
  const bool three = placeholder == kLanguage3;
  const std::string_view rest = pattern.substr(placeholder.size());
  const std::string before = language;
  if (!language.empty() && placeholder != kQuestion) {
    const std::string code = three ? three_letter_code(language) : language;
    return name.starts_with(code) && fits(rest, name.substr(code.size()), language);
  }
  for (std::size_t length = 1; length <= std::min(name.size(), kLongestCode) && is_code_character(name[length - 1]);
       ++length) {
    const std::string code(name.substr(0, length));
    language = three ? two_letter_code(code) : before.empty() || before == code ? code : before + "-" + code;
    if (fits(rest, name.substr(length), language)) return true;
  }
  language = before;
  return false;
}

/// A file that fits a pattern, and the language its path says.
struct Match {
  fs::path path;
  std::string language;
};

/// All files below `folder` that fit `pattern`; `language` as in fits().
void find_matches(const fs::path& folder, std::string_view pattern, const std::string& language,
                  std::vector<Match>& matches) {
  const std::size_t slash = pattern.find('/');
  const std::string_view component = pattern.substr(0, slash);
  const auto go_on = [&](const fs::path& path, const std::string& bound) {
    if (slash != std::string_view::npos) {
      find_matches(path, pattern.substr(slash + 1), bound, matches);
    } else if (is_file(path)) {
      matches.push_back({path, bound});
    }
  };
  if (component.find('*') == std::string_view::npos && !names_language(component))
    return go_on(folder / component, language);
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored)) {
    std::string bound = language;
    if (fits(component, entry.path().filename().string(), bound)) go_on(entry.path(), bound);
  }
}

}  // namespace

std::string fill_pattern(std::string_view pattern, std::string_view split, std::string_view language) {
  const std::size_t dash = language.find('-');
  std::string path = replace_all(std::string(pattern), kSplit, split);
  path = replace_all(path, kContext, language.substr(0, dash));
  path = replace_all(path, kQuestion, dash == std::string_view::npos ? language : language.substr(dash + 1));
  return replace_all(replace_all(path, kLanguage, language), kLanguage3, three_letter_code(language));
}

std::string fill_pattern(const FileCandidate& candidate, std::string_view split, std::string_view language) {
  return fill_pattern(candidate.pattern, split, code_of(candidate, language));
}

bool names_language(std::string_view pattern) {
  for (const std::string_view placeholder : {kLanguage, kLanguage3, kContext, kQuestion}) {
    if (pattern.find(placeholder) != std::string_view::npos) return true;
  }
  return false;
}

std::vector<FileCandidate> candidates_of(std::span<const FileCandidate> candidates, std::string_view split) {
  std::vector<FileCandidate> result;
  const std::string wanted = concatenate(" ", split, " ");
  for (const FileCandidate& candidate : candidates) {
    if (concatenate(" ", candidate.splits, " ").find(wanted) != std::string::npos) result.push_back(candidate);
  }
  return result;
}

std::vector<std::string> splits_of(std::span<const FileCandidate> candidates) {
  std::vector<std::string> splits;
  for (const char* split : {"train", "dev", "test"}) {
    if (!candidates_of(candidates, split).empty()) splits.emplace_back(split);
  }
  return splits;
}

std::vector<FoundFile> find_task_files(const fs::path& data, std::span<const FileCandidate> candidates,
                                       std::string_view split, std::string_view language) {
  for (const FileCandidate& candidate : candidates_of(candidates, split)) {
    std::vector<Match> matches;
    find_matches(data, fill_pattern(candidate, split, language), code_of(candidate, language), matches);
    if (matches.empty()) continue;
    std::sort(matches.begin(), matches.end(), [](const Match& a, const Match& b) {
      return std::pair(a.path.filename(), a.path) < std::pair(b.path.filename(), b.path);
    });
    std::vector<FoundFile> files;
    for (const Match& match : matches) files.push_back({match.path, candidate.layout});
    return files;
  }
  return {};
}

std::string looked_for(std::span<const FileCandidate> candidates, std::string_view split, std::string_view language) {
  std::string paths;
  for (const FileCandidate& candidate : candidates_of(candidates, split)) {
    paths += concatenate(paths.empty() ? "" : ", ", fill_pattern(candidate, split, language));
  }
  return paths;
}

std::vector<FoundFile> require_task_files(const std::string& task, const fs::path& data,
                                          std::span<const FileCandidate> candidates, const std::string& split,
                                          const std::string& language) {
  std::vector<FoundFile> found = find_task_files(data, candidates, split, language);
  if (!found.empty()) return found;
  const std::string looked = looked_for(candidates, split, language);
  require(!looked.empty(), task, " has no split \"", split, "\"", " in language ", language);
  std::string where;
  for (const FileCandidate& candidate : candidates_of(candidates, split)) {
    if (where.empty() && !candidate.where.empty()) where = candidate.where + ": ";
  }
  fail_user(where, "no file for ", task, " ", split, " in language ", language, " below ", data.string(), "; looked for ",
            looked);
}

std::set<std::string> languages_with_files(const fs::path& data, std::span<const FileCandidate> candidates,
                                           std::string_view split) {
  std::set<std::string> languages;
  for (const FileCandidate& candidate : candidates_of(candidates, split)) {
    if (!names_language(candidate.pattern)) continue;
    std::vector<Match> matches;
    find_matches(data, replace_all(candidate.pattern, kSplit, split), "", matches);
    for (const Match& match : matches) languages.insert(language_of(candidate, match.language));
  }
  return languages;
}

std::vector<std::string> in_official_order(const std::set<std::string>& present, const std::vector<std::string>& official) {
  std::vector<std::string> ordered;
  for (const std::string& language : official) {
    if (present.contains(language)) ordered.push_back(language);
  }
  for (const std::string& language : present) {
    if (std::find(official.begin(), official.end(), language) == official.end()) ordered.push_back(language);
  }
  return ordered;
}

std::optional<fs::path> find_submission_file(const fs::path& place, const std::string& task, const std::string& language,
                                             const std::string& ending) {
  if (is_file(place)) return place;
  const std::string name = concatenate("test-", language, ".", ending);
  for (const fs::path& path : {place / task / name, place / name}) {
    if (is_file(path)) return path;
  }
  return std::nullopt;
}

fs::path require_submission_file(const fs::path& place, const std::string& task, const std::string& language,
                                 const std::string& ending) {
  if (const std::optional<fs::path> found = find_submission_file(place, task, language, ending)) return *found;
  fail_user("no predictions of ", task, " in language ", language, " at ", place.string(), "; looked for ",
            submission_name(task, "test", language, ending), " and test-", language, ".", ending);
}

std::string submission_name(const std::string& task, const std::string& split, const std::string& language,
                            const std::string& ending) {
  return concatenate(task, "/", split, "-", language, ".", ending);
}

}  // namespace koine
