#pragma once

// What most tasks share: everything of Task that is a fact (name, labels, languages, where files lie) comes from a
// description, so that a task's own code is reading, converting, scoring.

#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tasks/common/task.h"
#include "tasks/common/task_files.h"

namespace koine {

struct TaskDescription {
  std::string name;
  HeadKind head = HeadKind::kSequence;
  std::vector<std::string> labels;
  std::int64_t max_seq_length = 0;
  std::string metric;
  std::string train_task;
  std::vector<std::string> languages;  ///< official, English first
  std::vector<std::string> splits;
  std::span<const FileCandidate> files;
};

class DescribedTask : public Task {
 public:
  explicit DescribedTask(TaskDescription description) : description_(std::move(description)) {}

  const std::string& name() const override { return description_.name; }
  HeadKind head() const override { return description_.head; }
  std::vector<std::string> labels() const override { return description_.labels; }
  std::int64_t default_max_seq_length() const override { return description_.max_seq_length; }
  std::string metric() const override { return description_.metric; }
  std::string train_task() const override { return description_.train_task; }
  std::vector<std::string> languages() const override { return description_.languages; }
  std::vector<std::string> splits() const override { return description_.splits; }

  /// Languages whose {lg} or {l3} files exist, and the language of a task that has but one where any file exists; overridden
  /// where a file holds several languages.
  std::vector<std::string> available_languages(const std::filesystem::path& data, const std::string& split) const override;
  /// One line per split and language that is official or there.
  std::vector<FileStatus> check_files(const std::filesystem::path& data) const override;

 protected:
  const TaskDescription& description() const { return description_; }
  /// The split's first file there is, and UserError where there is none.
  FoundFile require_file(const std::filesystem::path& data, const std::string& split, const std::string& language) const;
  /// Reads a file for check_files: number of examples; UserError with what is wrong, missing gold included.
  virtual std::int64_t count_examples(const FoundFile& file, const std::string& language) const = 0;
  /// One language's line of check_files.
  virtual FileStatus check_language(const std::filesystem::path& data, const std::string& split,
                                    const std::string& language) const;

  /// "mnli train en"
  std::string dataset_name(const std::string& split, const std::string& language) const;
  /// options.max_seq_length, or the task's own.
  std::int64_t max_seq_length(const FeatureOptions& options) const;

 private:
  TaskDescription description_;
};

/// The first `maximum` of `items`; 0: all.
template <class Item>
void keep_first(std::vector<Item>& items, std::int64_t maximum) {
  if (maximum > 0 && static_cast<std::size_t>(maximum) < items.size()) {
    items.erase(items.begin() + static_cast<std::ptrdiff_t>(maximum), items.end());
  }
}

}  // namespace koine
