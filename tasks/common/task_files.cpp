#include "tasks/common/task_files.h"

#include <algorithm>

#include "kernels/common/check.h"
#include "tasks/common/languages.h"

namespace koine {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kTwo = "{lg}";
constexpr std::string_view kThree = "{l3}";

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

bool plausible_code(std::string_view code) {
  return !code.empty() && code.size() <= 12 && std::all_of(code.begin(), code.end(), [](unsigned char c) {
    return c < 0x80 && (std::isalnum(c) != 0 || c == '_');
  });
}

/// Adds the languages for which one pattern's file exists. The first placeholder stands in a file's name or a folder's name;
/// the rest of the pattern is then checked with the language filled in.
void add_languages(const fs::path& data, std::string_view pattern, std::set<std::string>& languages) {
  const std::size_t at = std::min(pattern.find(kTwo), pattern.find(kThree));
  if (at == std::string_view::npos) return;
  const bool three = pattern.substr(at).starts_with(kThree);
  const std::size_t component = pattern.rfind('/', at) == std::string_view::npos ? 0 : pattern.rfind('/', at) + 1;
  const std::string_view prefix = pattern.substr(component, at - component);
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(data / pattern.substr(0, component), ignored)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(prefix)) continue;
    // What follows the code is not a letter in any pattern, so the code ends where letters end.
    std::size_t end = prefix.size();
    while (end < name.size() && (std::isalnum(static_cast<unsigned char>(name[end])) != 0 || name[end] == '_')) ++end;
    const std::string code = name.substr(prefix.size(), end - prefix.size());
    if (!plausible_code(code)) continue;
    const std::string language = three ? two_letter_code(code) : code;
    if (is_file(data / fill_pattern(pattern, language))) languages.insert(language);
  }
}

}  // namespace

std::string fill_pattern(std::string_view pattern, std::string_view language) {
  return replace_all(replace_all(std::string(pattern), kTwo, language), kThree, three_letter_code(language));
}

std::optional<FoundFile> find_task_file(const fs::path& data, std::span<const FileCandidate> candidates,
                                        std::string_view split, std::string_view language) {
  for (const FileCandidate& candidate : candidates) {
    if (candidate.split != split) continue;
    const fs::path path = data / fill_pattern(candidate.path, language);
    if (is_file(path)) return FoundFile{path, candidate.layout};
  }
  return std::nullopt;
}

FoundFile require_task_file(const std::string& task, const fs::path& data, std::span<const FileCandidate> candidates,
                            const std::string& split, const std::string& language) {
  if (const std::optional<FoundFile> found = find_task_file(data, candidates, split, language)) return *found;
  std::string looked;
  for (const FileCandidate& candidate : candidates) {
    if (candidate.split != split) continue;
    looked += concatenate(looked.empty() ? "" : ", ", fill_pattern(candidate.path, language));
  }
  require(!looked.empty(), task, " has no split \"", split, "\"");
  fail_user("no file for ", task, " ", split, " in language ", language, " below ", data.string(), "; looked for ", looked);
}

std::set<std::string> languages_with_files(const fs::path& data, std::span<const FileCandidate> candidates,
                                           std::string_view split) {
  std::set<std::string> languages;
  for (const FileCandidate& candidate : candidates) {
    if (candidate.split == split) add_languages(data, candidate.path, languages);
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

Task::FileStatus file_status(const std::string& split, const std::string& language, const std::optional<FoundFile>& file,
                             const std::string& missing, const std::function<std::int64_t(const FoundFile&)>& count) {
  Task::FileStatus status;
  status.split = split;
  status.language = language;
  status.present = file.has_value();
  status.path = file.has_value() ? file->path.string() : missing;
  if (!status.present) {
    status.problem = "missing";
    return status;
  }
  try {
    status.examples = count(*file);
  } catch (const UserError& error) {
    status.problem = error.what();
  }
  return status;
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
