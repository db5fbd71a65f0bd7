#pragma once

// Training sets as examples, kept between programs, so that the same files are read and tokenized once.
//
// An entry is FOLDER/<XXH3 of its key>.examples. The key is all that decides the examples: the XXH3 of every data file that is
// read, and its name; the tokenizer; the task, with what a task file says of it; split, language, lengths; and the XXH3 of
// this program's own file, so that a program never takes what another version of its readers made. In an entry stand the key,
// the examples, and behind them the XXH3 of all that: one that is damaged, or another's, is told, made again and never used.
//
// Entries appear whole or not at all (engine/files/atomic_file.h), so several processes may share a folder. Those that were
// used longest ago go where all together would be more than `most_bytes`.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "engine/files/hash_cache.h"
#include "engine/tokenizer/tokenizer.h"
#include "tasks/common/task.h"

namespace koine {

struct ExampleCacheLimits {
  std::int64_t most_bytes = std::int64_t{8} << 30;
  std::int64_t least_data = std::int64_t{1} << 20;  ///< bytes of data files; smaller sets are read each time
};

/// Everything of the options that decides examples, for the keys they are kept under.
std::string features_key(const FeatureOptions& options);

class ExampleCache {
 public:
  using Limits = ExampleCacheLimits;
  /// `folder` is made when something is first kept there; empty: nothing is kept. `hashes` of data files, which must outlive
  /// it, as must what `message` refers to.
  ExampleCache(std::filesystem::path folder, HashCache& hashes, std::function<void(const std::string& text)> message,
               Limits limits = {});

  /// A task's training set in a language: dataset(), left_out() and truncation() as Task::load gives them, but there is
  /// nothing to evaluate. UserErrors of the data as there. A folder that cannot be written or read is told once, and the
  /// files are read.
  std::unique_ptr<TaskData> load(const Task& task, const std::filesystem::path& data, const std::string& language,
                                 const Tokenizer& tokenizer, const FeatureOptions& options);

 private:
  std::string key_of(const Task& task, const std::filesystem::path& data, const std::string& language,
                     const Tokenizer& tokenizer, const FeatureOptions& options);
  std::unique_ptr<TaskData> read(const std::filesystem::path& path, const std::string& key);
  void keep(const std::filesystem::path& path, const std::string& key, const TaskData& set);
  void make_room(std::int64_t bytes) const;
  void tell_once(const std::string& text);

  std::filesystem::path folder_;
  HashCache& hashes_;
  std::function<void(const std::string&)> message_;
  Limits limits_;
  bool told_ = false;
};

}  // namespace koine
