#pragma once

// Where a task's files may lie below the data folder: the patterns of its row, read by the functions here.
//
// A pattern may hold {split} ("train", "dev", "test"), {language}, the language's two-letter code, {language3}, its
// three-letter code (languages.h), {context} and {question}, the two of a language written "en-de" (both that of one written
// "en"), and *, any characters within one name. What is read for a split and a language is the
// first pattern of the row that files exist for: one file, or with a * all that match, in the order of their names, then of
// their folders.

#include <filesystem>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace koine {

/// How the rows of a file look; each format's reader says which of these it knows.
enum class FileLayout {
  kOfficial,   ///< the data set's own, where it has but one
  kJsonLines,  ///< one JSON object a line
  kTsv,        ///< columns between tabs
  kCsv,        ///< columns between commas, with quoting
  kQuotedTsv,  ///< columns between tabs, with the same quoting
  kBlanks,     ///< columns between blanks or tabs
  kXtreme,     ///< what XTREME's download scripts write
};

struct FileCandidate {
  std::string splits;  ///< that the pattern is for, between blanks: "dev test"
  std::string pattern;
  FileLayout layout = FileLayout::kOfficial;
  /// Languages that the names of its files call otherwise: {"en", "eng_Latn"}.
  std::vector<std::pair<std::string, std::string>> codes = {};
  std::string where = {};  ///< the line of a task file that gives it: "my.toml:7: task[1].test"; empty: the table of tasks
};

struct FoundFile {
  std::filesystem::path path;
  FileLayout layout = FileLayout::kOfficial;
};

/// `pattern` with everything in braces replaced.
std::string fill_pattern(std::string_view pattern, std::string_view split, std::string_view language);
/// The same of the candidate's pattern, a language called as its files are.
std::string fill_pattern(const FileCandidate& candidate, std::string_view split, std::string_view language);

/// Whether the pattern names a language, so that each has files of its own.
bool names_language(std::string_view pattern);

/// "train", "dev", "test": those that a candidate is for, in this order.
std::vector<std::string> splits_of(std::span<const FileCandidate> candidates);

/// Those candidates that are for the split.
std::vector<FileCandidate> candidates_of(std::span<const FileCandidate> candidates, std::string_view split);

/// What is read for a split and a language; empty where there is none.
std::vector<FoundFile> find_task_files(const std::filesystem::path& data, std::span<const FileCandidate> candidates,
                                       std::string_view split, std::string_view language);

/// The paths of a split and a language that the candidates name, for messages: "a/train.tsv, b/train.tsv".
std::string looked_for(std::span<const FileCandidate> candidates, std::string_view split, std::string_view language);

/// As find_task_files; where there is none, UserError naming the task and every path looked for.
std::vector<FoundFile> require_task_files(const std::string& task, const std::filesystem::path& data,
                                          std::span<const FileCandidate> candidates, const std::string& split,
                                          const std::string& language);

/// Languages for which a file of a pattern that names the language exists.
std::set<std::string> languages_with_files(const std::filesystem::path& data, std::span<const FileCandidate> candidates,
                                           std::string_view split);

/// Those of `present` in the order of `official`, the others behind, alphabetical.
std::vector<std::string> in_official_order(const std::set<std::string>& present, const std::vector<std::string>& official);

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
