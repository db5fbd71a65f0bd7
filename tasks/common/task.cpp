#include "tasks/common/task.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "engine/batch/heads.h"
#include "kernels/common/check.h"
#include "tasks/files/languages.h"

namespace koine {

namespace {

/// Where the readers look for more beside a file: the English side (parallel_text.h), gold (bucc.h), labels (social_iqa.cpp,
/// ccg.h).
std::vector<std::filesystem::path> files_beside(const TaskRow& row, const FoundFile& file, const std::string& split,
                                                const std::string& language) {
  const std::filesystem::path folder = file.path.parent_path();
  std::vector<std::filesystem::path> paths = {folder / (file.path.stem().string() + "-labels.lst"),
                                              folder / "tags_to_id.json"};
  if (!row.english_file.empty()) {
    paths.push_back(folder / fill_pattern(row.english_file, split, language));
  } else if (std::holds_alternative<FileReader<ParallelText>>(row.reader) ||
             std::holds_alternative<FileReader<BuccFile>>(row.reader)) {
    for (const char* ending : {".eng", ".en", ".gold"})
      paths.push_back(std::filesystem::path(file.path).replace_extension(ending));
  }
  return paths;
}

/// UserError where what a file calls its languages cannot be their codes ("sw", "zh-Hant"): a column taken for another.
void require_codes(const std::set<std::string>& languages, const std::filesystem::path& file) {
  constexpr std::size_t kLongestCode = 24;
  for (const std::string& language : languages) {
    const bool code = language.size() <= kLongestCode && std::all_of(language.begin(), language.end(), [](unsigned char c) {
                        return std::isalnum(c) != 0 || c == '-' || c == '_';
                      });
    require(code, file.string(), ": \"", language.substr(0, 60),
            "\" stands where the code of a language is due; are its columns in another order?");
  }
}

}  // namespace

Answers TaskData::answer(Model&, const EvaluationOptions&) const {
  fail_user(dataset().name, ": nothing is predicted here");
}

std::unique_ptr<TaskData> Task::load_inputs(const InputFile&, const std::string&, const Tokenizer&,
                                            const FeatureOptions&) const {
  fail_user("task ", name(), " has no answers to give to inputs: it is scored as a whole");
}

const std::vector<FileCandidate>& Task::files() const {
  return row_.parts.empty() ? row_.files : find_task(row_.parts.front()).files();
}

std::vector<FileCandidate> Task::files_in(const std::string& language) const {
  std::vector<FileCandidate> candidates = files();
  if (row_.languages.size() == 1 && language != row_.languages.front()) {
    std::erase_if(candidates, [](const FileCandidate& candidate) { return !names_language(candidate.pattern); });
  }
  return candidates;
}

std::vector<std::string> Task::splits() const {
  std::vector<std::string> splits = splits_of(files());
  for (const std::string& part : row_.parts) {
    const std::vector<std::string> there = find_task(part).splits();
    std::erase_if(splits,
                  [&](const std::string& split) { return std::find(there.begin(), there.end(), split) == there.end(); });
  }
  return splits;
}

std::string Task::train_task() const {
  if (!row_.train_task.empty()) return row_.train_task;
  return candidates_of(files(), "train").empty() ? "" : row_.name;
}

std::int32_t Task::classes(std::int64_t vocabulary) const {
  return facts_of(head()).classes(std::ssize(row_.labels), vocabulary);
}

bool Task::is_official(const std::string& language) const {
  const std::size_t dash = language.find('-');
  if (dash != std::string::npos) return is_official(language.substr(0, dash)) && is_official(language.substr(dash + 1));
  return is_private_code(language) ||
         std::find(row_.languages.begin(), row_.languages.end(), language) != row_.languages.end();
}

bool Task::is_text_form() const { return facts_of(head()).of_target; }

bool Task::is_language_modelling() const { return std::holds_alternative<FileReader<TextFile>>(row_.reader); }

double Task::chance() const {
  if (row_.choices > 0) return 100.0 / static_cast<double>(row_.choices);
  const bool classifies = std::holds_alternative<FileReader<LabelledTexts>>(row_.reader);
  return classifies && !row_.labels.empty() ? 100.0 / static_cast<double>(row_.labels.size()) : 0;
}

std::vector<std::string> Task::available_languages(const std::filesystem::path& data, const std::string& split) const {
  for (const std::string& part : row_.parts) {
    if (find_task(part).available_languages(data, split).empty()) return {};
  }
  std::set<std::string> languages = languages_with_files(data, files(), split);
  for (const FileCandidate& candidate : candidates_of(files(), split)) {
    if (names_language(candidate.pattern)) continue;
    const std::vector<FoundFile> files = find_task_files(data, {&candidate, 1}, split, "");
    if (files.empty()) continue;
    // A task of one language need not say so in its files.
    std::set<std::string> inside;
    if (row_.languages.size() > 1) {
      for (const FoundFile& file : files) {
        std::set<std::string> languages_of_file = languages_in(file);
        require_codes(languages_of_file, file.path);
        inside.merge(languages_of_file);
      }
    }
    if (inside.empty()) inside.insert(row_.languages.front());
    languages.merge(inside);
    break;
  }
  return in_official_order(languages, row_.languages);
}

std::vector<std::filesystem::path> Task::data_files(const std::filesystem::path& data, const std::string& split,
                                                    const std::string& language) const {
  std::vector<std::filesystem::path> paths;
  for (const std::string& part : row_.parts) {
    for (std::filesystem::path& path : find_task(part).data_files(data, split, language)) paths.push_back(std::move(path));
  }
  if (!row_.parts.empty()) return paths;
  for (const FoundFile& file : find_task_files(data, files_in(language), split, language)) {
    paths.push_back(file.path);
    for (const std::filesystem::path& beside : files_beside(row_, file, split, language)) {
      if (std::filesystem::is_regular_file(beside)) paths.push_back(beside);
    }
  }
  return paths;
}

std::string Task::missing_gold(const std::filesystem::path& data, const std::string& split,
                               const std::string& language) const {
  try {
    count_examples(data, split, language);
  } catch (const MissingGold& error) {
    return error.what();
  }
  return "";
}

LeftOut Task::count_left_out(const std::filesystem::path&, const std::string&, const std::string&) const { return {}; }

std::string Task::without_files(const std::filesystem::path& data, const std::string& split) const {
  const std::vector<FileCandidate> candidates = candidates_of(files(), split);
  if (!candidates.empty() && !candidates.front().where.empty()) {
    return concatenate(candidates.front().where, ": no file fits \"", candidates.front().pattern, "\" below ",
                       data.string());
  }
  return concatenate("no ", split, " files of task ", name(), " below ", data.string(),
                     "; `koine data check` shows what is there");
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
  const std::vector<FoundFile> found = find_task_files(data, files_in(language), split, language);
  FileStatus status;
  status.split = split;
  status.language = language;
  status.present = !found.empty();
  if (!status.present) {
    status.path = fill_pattern(candidates_of(files(), split).front(), split, language);
    status.problem = "missing";
    return status;
  }
  status.path = found.front().path.string();
  if (found.size() > 1) status.path += concatenate(" and ", found.size() - 1, " more");
  try {
    status.examples = count_examples(data, split, language);
    status.left_out = count_left_out(data, split, language);
  } catch (const UserError& error) {
    status.problem = error.what();
  }
  return status;
}

}  // namespace koine
