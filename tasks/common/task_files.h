#pragma once

// Where a task's files may lie below the data folder: one table per task, read by the functions here.
//
// A path of the table may hold {lg}, the language's two-letter code, or {l3}, its three-letter code (languages.h). The first
// path of the table whose file exists is the one that is read; the data sets' own names go before XTREME's.

#include <filesystem>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tasks/common/task.h"

namespace koine {

/// How the rows of a file look; each format's reader says which of these it knows.
enum class FileLayout {
  kOfficial,   ///< the data set's own, where it has but one
  kJsonLines,  ///< one JSON object a line
  kHeaderTsv,  ///< columns between tabs, named by the first line
  kXtreme,     ///< what XTREME's download scripts write
};

struct FileCandidate {
  std::string_view split;
  std::string_view path;  ///< below the data folder
  FileLayout layout = FileLayout::kOfficial;
};

struct FoundFile {
  std::filesystem::path path;
  FileLayout layout = FileLayout::kOfficial;
};

/// `pattern` with {lg} and {l3} replaced.
std::string fill_pattern(std::string_view pattern, std::string_view language);

std::optional<FoundFile> find_task_file(const std::filesystem::path& data, std::span<const FileCandidate> candidates,
                                        std::string_view split, std::string_view language);

/// As find_task_file; where there is none, UserError naming the task and every path looked for.
FoundFile require_task_file(const std::string& task, const std::filesystem::path& data,
                            std::span<const FileCandidate> candidates, const std::string& split,
                            const std::string& language);

/// Languages for which a path of the table with {lg} or {l3} exists.
std::set<std::string> languages_with_files(const std::filesystem::path& data, std::span<const FileCandidate> candidates,
                                           std::string_view split);

/// Those of `present` in the order of `official`, the others behind, alphabetical.
std::vector<std::string> in_official_order(const std::set<std::string>& present, const std::vector<std::string>& official);

/// One status line: `count` reads the file and returns its examples; its UserError becomes the problem.
Task::FileStatus file_status(const std::string& split, const std::string& language, const std::optional<FoundFile>& file,
                             const std::string& missing, const std::function<std::int64_t(const FoundFile&)>& count);

/// The predictions (or labels) file of a task and language: `place` itself where it is a file, else
/// `place`/<task>/test-<lg>.<ending> (XTREME's layout) or `place`/test-<lg>.<ending>. Empty when there is none.
std::optional<std::filesystem::path> find_submission_file(const std::filesystem::path& place, const std::string& task,
                                                          const std::string& language, const std::string& ending);
/// As find_submission_file; UserError naming what was looked for.
std::filesystem::path require_submission_file(const std::filesystem::path& place, const std::string& task,
                                              const std::string& language, const std::string& ending);

/// "xnli/test-sw.tsv"
std::string submission_name(const std::string& task, const std::string& split, const std::string& language,
                            const std::string& ending);

}  // namespace koine
