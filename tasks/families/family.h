#pragma once

// What all families share: reading through the row's reader, what is said of files without gold, the choice of a scorer.

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/common/prediction.h"
#include "tasks/common/task.h"

namespace koine {

/// What data sets made of an input file call their split.
inline constexpr const char* kInputs = "inputs";

/// The first `maximum` of `items`; 0: all.
template <class Item>
void keep_first(std::vector<Item>& items, std::int64_t maximum) {
  if (maximum > 0 && static_cast<std::size_t>(maximum) < items.size()) {
    items.erase(items.begin() + static_cast<std::ptrdiff_t>(maximum), items.end());
  }
}

/// So many of `items` at even distances, the first one among them: item floor(i * size / maximum) for every i; 0: all. What
/// stands one behind the other in `items` keeps its shares, but for rounding.
template <class Item>
void keep_evenly(std::vector<Item>& items, std::int64_t maximum) {
  const auto size = static_cast<std::int64_t>(items.size());
  if (maximum <= 0 || maximum >= size) return;
  for (std::int64_t i = 0; i < maximum; ++i) {
    const std::int64_t from = i * size / maximum;
    if (from != i) items[static_cast<std::size_t>(i)] = std::move(items[static_cast<std::size_t>(from)]);
  }
  items.erase(items.begin() + static_cast<std::ptrdiff_t>(maximum), items.end());
}

/// One row of a family's table of scorers: the name rows of tasks choose it by, the headline figure, and how.
template <class Function>
struct Scorer {
  std::string_view name;
  std::string_view metric;
  Function score;
};

/// The scorer a task's row names, or the family's first.
template <class Function>
const Scorer<Function>& scorer_of(std::span<const Scorer<Function>> scorers, const TaskRow& row) {
  if (row.scorer.empty()) return scorers.front();
  for (const Scorer<Function>& scorer : scorers) {
    if (scorer.name == row.scorer) return scorer;
  }
  std::string known;
  for (const Scorer<Function>& scorer : scorers) known += concatenate(known.empty() ? "" : ", ", scorer.name);
  fail_user("task ", row.name, ": its family has no scorer \"", row.scorer, "\"; it has ", known);
}

/// A task whose examples are read from `File`s, which have a `path`, are `labelled` or not, and may append() another one's
/// examples where a split may have several.
template <class File>
class FamilyTask : public Task {
 public:
  using Task::Task;

 protected:
  ReadRequest request(const std::string& split, const std::string& language, std::int64_t max_examples = 0) const {
    return {.language = language,
            .labels = row().labels,
            .fields = row().fields,
            .label_aliases = row().label_aliases,
            .skipped_label = row().skipped_label,
            .max_examples = max_examples,
            .split = split,
            .columns = row().columns,
            .choice = row().choice_fields,
            .tags = row().tag_columns,
            .english_file = row().english_file};
  }

  /// Files one behind the other.
  File read(const std::vector<FoundFile>& files, const std::string& split, const std::string& language,
            std::int64_t max_examples = 0) const {
    const auto& reader = std::get<FileReader<File>>(row().reader);
    const ReadRequest wanted = request(split, language, max_examples);
    File all = reader.read(files.front(), wanted);
    if constexpr (requires(File more) { all.append(std::move(more)); }) {
      for (std::size_t i = 1; i < files.size(); ++i) all.append(reader.read(files[i], wanted));
    } else {
      require(files.size() == 1, name(), ": ", files.size(), " files fit, beginning with ", files.front().path.string(),
              "; there must be one");
    }
    return all;
  }

  /// Inputs without gold: by the row's reader, or by the family's where the file is in a form of the family's.
  template <class ReadForm>
  File read_inputs(const InputFile& input, const std::string& language, const ReadForm& read_form) const {
    ReadRequest wanted = request(kInputs, language);
    wanted.inputs_only = true;
    if (input.layout) return read_form(FoundFile{input.path, *input.layout}, wanted);
    return std::get<FileReader<File>>(row().reader).read(own_file(input.path, language), wanted);
  }

  /// The split, from its first max_examples on (0: all of it); of a task made of parts, all of theirs one behind the other.
  File read_split(const std::filesystem::path& data, const std::string& split, const std::string& language,
                  std::int64_t max_examples = 0) const {
    if constexpr (requires(File all, File more) { all.append(std::move(more)); }) {
      if (!row().parts.empty()) {
        File all = part(0).read_split(data, split, language);
        for (std::size_t i = 1; i < row().parts.size(); ++i) all.append(part(i).read_split(data, split, language));
        return all;
      }
    }
    return read(require_files(data, split, language), split, language, max_examples);
  }

  /// Of what read_split gave so many examples (0: all): the first; of a task made of parts a share of every part.
  template <class Item>
  void keep_examples(std::vector<Item>& items, std::int64_t maximum) const {
    row().parts.empty() ? keep_first(items, maximum) : keep_evenly(items, maximum);
  }

  std::vector<FoundFile> require_files(const std::filesystem::path& data, const std::string& split,
                                       const std::string& language) const {
    return require_task_files(name(), data, files_in(language), split, language);
  }

  std::set<std::string> languages_in(const FoundFile& file) const override {
    const auto& reader = std::get<FileReader<File>>(row().reader);
    return reader.languages == nullptr ? std::set<std::string>() : reader.languages(file, request("", ""));
  }

  /// The split that a file of predictions is of: its name says it ("dev-en.tsv"); else the last one.
  std::string split_of(const std::filesystem::path& predictions) const {
    const std::vector<std::string> splits = this->splits();
    const std::string name = predictions.filename().string();
    const auto named =
        std::find_if(splits.begin(), splits.end(), [&](const std::string& split) { return name.starts_with(split + "-"); });
    return named == splits.end() ? splits.back() : *named;
  }

  /// One file of gold data of a task file's task, read as the row's files of its ending are.
  FoundFile gold_file(const std::filesystem::path& path, const std::string& split) const {
    const std::vector<FileCandidate> candidates = candidates_of(row().files, split);
    const auto same = std::find_if(candidates.begin(), candidates.end(), [&](const FileCandidate& candidate) {
      return std::filesystem::path(candidate.pattern).extension() == path.extension();
    });
    return {path, same == candidates.end() ? candidates.front().layout : same->layout};
  }
  /// A file written as one of the task's own: the one whose name it has, else the first of its ending, else the first.
  FoundFile own_file(const std::filesystem::path& path, const std::string& language) const {
    const std::vector<FileCandidate>& all = files();
    const std::vector<std::string> splits = this->splits();
    const auto same_name = [&](const FileCandidate& one) {
      return std::any_of(splits.begin(), splits.end(), [&](const std::string& split) {
        return std::filesystem::path(fill_pattern(one, split, language)).filename() == path.filename();
      });
    };
    const auto same_ending = [&](const FileCandidate& one) {
      return std::filesystem::path(one.pattern).extension() == path.extension();
    };
    auto candidate = std::find_if(all.begin(), all.end(), same_name);
    if (candidate == all.end()) candidate = std::find_if(all.begin(), all.end(), same_ending);
    if (candidate == all.end()) candidate = all.begin();
    return {path, candidate->layout};
  }
  bool of_task_file() const { return !row().definition.empty(); }

  /// What a file is told that has no gold. (Benchmarks blank that of the test files they hand out.)
  std::string without_gold(const std::filesystem::path& path, const std::string& language) const {
    const std::string split = splits().back();
    return concatenate(
        path.string(), ": has no gold labels, as benchmarks hand out their test files, so it cannot be scored; ",
        "give the data set's own files (", fill_pattern(candidates_of(this->files(), split).front(), split, language), ")");
  }
  void require_gold(const File& file, const std::string& language) const {
    if (!file.labelled) throw MissingGold(without_gold(file.path, language));
  }

  /// A training set without labels teaches nothing.
  void require_learnable(const File& file, const std::string& split) const {
    require(split != "train" || file.labelled, file.path.string(), ": has no labels, so nothing can be learnt from it");
  }

  /// "mnli train en"
  std::string dataset_name(const std::string& split, const std::string& language) const {
    return concatenate(name(), " ", split, " ", language);
  }
  Dataset empty_dataset(const std::string& split, const std::string& language) const {
    Dataset dataset;
    dataset.name = dataset_name(split, language);
    dataset.head = head();
    dataset.classes = classes(0);
    return dataset;
  }
  /// options.max_seq_length, or the task's own.
  std::int64_t length_of(const FeatureOptions& options) const {
    return options.max_seq_length > 0 ? options.max_seq_length : max_seq_length();
  }

 private:
  const FamilyTask& part(std::size_t number) const {
    const auto* task = dynamic_cast<const FamilyTask*>(&find_task(row().parts[number]));
    check(task != nullptr, "task ", name(), ": its part ", row().parts[number], " is of another family");
    return *task;
  }
};

/// Pieces that framing cut off a sequence that would have had `whole` ids.
inline std::int64_t pieces_lost(std::int64_t whole, const std::vector<std::int32_t>& framed) {
  return whole - static_cast<std::int64_t>(framed.size());
}

/// frame_single() and frame_pair(), counting what they cut.
class CountingFramer {
 public:
  CountingFramer(const Tokenizer& tokenizer, std::int64_t max_seq_length)
      : special_(tokenizer.special()), truncation_{.maximum_length = max_seq_length} {}

  std::vector<std::int32_t> single(std::vector<std::int32_t> a) {
    const std::int64_t whole = std::ssize(a) + special_.around_single();
    std::vector<std::int32_t> framed = special_.frame_single(std::move(a), truncation_.maximum_length);
    truncation_.add(pieces_lost(whole, framed));
    return framed;
  }
  std::vector<std::int32_t> pair(std::vector<std::int32_t> a, std::vector<std::int32_t> b) {
    const std::int64_t whole = std::ssize(a) + std::ssize(b) + special_.around_pair();
    std::vector<std::int32_t> framed = special_.frame_pair(std::move(a), std::move(b), truncation_.maximum_length);
    truncation_.add(pieces_lost(whole, framed));
    return framed;
  }
  const Truncation& truncation() const { return truncation_; }

 private:
  const SpecialTokens& special_;
  Truncation truncation_;
};

/// A data set with what its evaluation says and where it writes.
class FamilyData : public TaskData {
 public:
  struct Facts {
    Dataset dataset;
    std::string prediction_file;
    std::string without_gold;  ///< empty: it has gold
    LeftOut left_out = {};
    Truncation truncation = {};
  };
  explicit FamilyData(Facts facts) : facts_(std::move(facts)) {}

  const Dataset& dataset() const override { return facts_.dataset; }
  LeftOut left_out() const override { return facts_.left_out; }
  Truncation truncation() const override { return facts_.truncation; }

 protected:
  void require_gold() const { require(facts_.without_gold.empty(), facts_.without_gold); }
  /// `result` with the pass's counts, and the prediction file where it is wanted.
  template <class Content>
  Evaluation finish(Evaluation result, const PassCounts& counts, const EvaluationOptions& options,
                    const Content& content) const {
    result.tokens = counts.tokens;
    result.seconds = counts.seconds;
    if (options.want_predictions) {
      result.prediction_file = facts_.prediction_file;
      result.prediction_content = content();
    }
    return result;
  }

 private:
  Facts facts_;
};

}  // namespace koine
