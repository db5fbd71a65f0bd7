#include "tasks/common/task.h"

#include <algorithm>

#include "engine/batch/heads.h"
#include "kernels/common/check.h"

namespace koine {

std::string Task::train_task() const {
  if (!row_.train_task.empty()) return row_.train_task;
  return candidates_of(row_.files, "train").empty() ? "" : row_.name;
}

std::int32_t Task::classes(std::int64_t vocabulary) const {
  return facts_of(head()).classes(std::ssize(row_.labels), vocabulary);
}

double Task::chance() const {
  if (head() == HeadKind::kChoice) return 100.0 / static_cast<double>(row_.choices);
  const bool classifies = facts_of(head()).labels == LabelPlace::kSequence;
  return classifies && !row_.labels.empty() ? 100.0 / static_cast<double>(row_.labels.size()) : 0;
}

std::vector<std::string> Task::available_languages(const std::filesystem::path& data, const std::string& split) const {
  std::set<std::string> languages = languages_with_files(data, row_.files, split);
  for (const FileCandidate& candidate : candidates_of(row_.files, split)) {
    if (names_language(candidate.pattern)) continue;
    const std::vector<FoundFile> files = find_task_files(data, {&candidate, 1}, split, "");
    if (files.empty()) continue;
    // A task of one language need not say so in its files.
    std::set<std::string> inside;
    if (row_.languages.size() > 1) inside = languages_in(files.front());
    if (inside.empty()) inside.insert(row_.languages.front());
    languages.merge(inside);
    break;
  }
  return in_official_order(languages, row_.languages);
}

std::vector<Task::FileStatus> Task::check_files(const std::filesystem::path& data) const {
  std::vector<FileStatus> lines;
  for (const std::string& split : splits()) {
    const std::vector<std::string> there = available_languages(data, split);
    std::set<std::string> languages(there.begin(), there.end());
    languages.insert(row_.languages.begin(), row_.languages.end());
    for (const std::string& language : in_official_order(languages, row_.languages)) {
      lines.push_back(check_language(data, split, language));
    }
  }
  return lines;
}

Task::FileStatus Task::check_language(const std::filesystem::path& data, const std::string& split,
                                      const std::string& language) const {
  const std::vector<FoundFile> files = find_task_files(data, row_.files, split, language);
  FileStatus status;
  status.split = split;
  status.language = language;
  status.present = !files.empty();
  if (!status.present) {
    status.path = fill_pattern(candidates_of(row_.files, split).front().pattern, split, language);
    status.problem = "missing";
    return status;
  }
  status.path = files.front().path.string();
  if (files.size() > 1) status.path += concatenate(" and ", files.size() - 1, " more");
  try {
    status.examples = count_examples(files, language);
  } catch (const UserError& error) {
    status.problem = error.what();
  }
  return status;
}

}  // namespace koine
