#include "tasks/common/described_task.h"

#include <algorithm>

#include "kernels/common/check.h"

namespace koine {

std::vector<std::string> DescribedTask::available_languages(const std::filesystem::path& data,
                                                            const std::string& split) const {
  std::set<std::string> languages = languages_with_files(data, description_.files, split);
  // A task of one language need not say so in its files' names.
  if (description_.languages.size() == 1 &&
      find_task_file(data, description_.files, split, description_.languages.front())) {
    languages.insert(description_.languages.front());
  }
  return in_official_order(languages, description_.languages);
}

std::vector<Task::FileStatus> DescribedTask::check_files(const std::filesystem::path& data) const {
  std::vector<FileStatus> lines;
  for (const std::string& split : description_.splits) {
    std::vector<std::string> languages = available_languages(data, split);
    for (const std::string& official : description_.languages) {
      if (std::find(languages.begin(), languages.end(), official) == languages.end()) languages.push_back(official);
    }
    for (const std::string& language : in_official_order({languages.begin(), languages.end()}, description_.languages)) {
      lines.push_back(check_language(data, split, language));
    }
  }
  return lines;
}

Task::FileStatus DescribedTask::check_language(const std::filesystem::path& data, const std::string& split,
                                               const std::string& language) const {
  const auto first = std::find_if(description_.files.begin(), description_.files.end(),
                                  [&](const FileCandidate& candidate) { return candidate.split == split; });
  check(first != description_.files.end(), "task ", description_.name, " has no files for its split ", split);
  return file_status(split, language, find_task_file(data, description_.files, split, language),
                     fill_pattern(first->path, language),
                     [&](const FoundFile& file) { return count_examples(file, language); });
}

FoundFile DescribedTask::require_file(const std::filesystem::path& data, const std::string& split,
                                      const std::string& language) const {
  return require_task_file(description_.name, data, description_.files, split, language);
}

std::string DescribedTask::dataset_name(const std::string& split, const std::string& language) const {
  return concatenate(description_.name, " ", split, " ", language);
}

std::int64_t DescribedTask::max_seq_length(const FeatureOptions& options) const {
  return options.max_seq_length > 0 ? options.max_seq_length : description_.max_seq_length;
}

}  // namespace koine
