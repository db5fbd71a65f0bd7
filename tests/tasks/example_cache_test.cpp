// Training sets kept between programs: the same as from the files, never another's, never a damaged one, bounded, shared.

#include "tasks/experiment/example_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include "engine/files/text_file.h"
#include "stub_model.h"
#include "tasks/experiment/phase_data.h"
#include "tasks/formats/choice_records.h"
#include "tasks/formats/labelled_texts.h"
#include "tasks/formats/plain_text.h"
#include "tasks/formats/squad.h"
#include "tasks/formats/word_columns.h"

namespace koine {
namespace {

namespace fs = std::filesystem;

/// A task that counts how often its files are read.
class CountedTask : public Task {
 public:
  explicit CountedTask(const TaskRow& row) : Task(row), own_(make_task(row)) {}
  mutable std::atomic<int> reads = 0;

  HeadKind head() const override { return own_->head(); }
  std::string metric() const override { return own_->metric(); }
  std::unique_ptr<TaskData> load(const fs::path& data, const std::string& split, const std::string& language,
                                 const Tokenizer& tokenizer, const FeatureOptions& options) const override {
    ++reads;
    return own_->load(data, split, language, tokenizer, options);
  }
  Evaluation score(const fs::path& predictions, const fs::path& gold, const std::string& language) const override {
    return own_->score(predictions, gold, language);
  }

 protected:
  std::set<std::string> languages_in(const FoundFile&) const override { return {}; }
  std::int64_t count_examples(const fs::path&, const std::string&, const std::string&) const override { return 0; }

 private:
  std::unique_ptr<Task> own_;
};

TaskRow pairs_row() {
  return {.name = "kept_pairs",
          .reader = read_labelled_texts,
          .labels = {"no", "yes"},
          .files = {{"train", "pairs-{language}.jsonl", FileLayout::kJsonLines}},
          .skipped_label = "-"};
}

class KeptExamplesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    write_text(data("pairs-en.jsonl"), R"({"sentence1": "the quick brown fox", "sentence2": "a dog", "label": "yes"}
{"sentence1": "two towns", "sentence2": "", "label": "-"}
{"sentence1": "his name?", "sentence2": "nobody knows", "label": "no"}
)");
    write_text(data("choice.jsonl"), R"({"p": "a fox", "a": "jumps", "b": "runs", "label": 1})");
    write_text(data("squad.json"), R"({"data": [{"paragraphs": [{"context": "the old dog jumps over the lazy fox", "qas": [
      {"id": "a", "question": "who is it that jumps", "answers": [{"text": "dog", "answer_start": 8}]},
      {"id": "b", "question": "what", "answers": [{"text": "lazy fox", "answer_start": 27}]}]}]}]})");
    write_text(data("words.tsv"), "the\tO\nfox\tB-X\n\ndog\tB-X\n");
    write_text(data("en.txt"), "the quick brown fox\n\na small river\n");
  }
  fs::path data(const std::string& name) const { return folder_ / ("data/" + name); }
  fs::path folder() const { return folder_ / "cache"; }
  std::vector<fs::path> entries() const {
    std::vector<fs::path> paths;
    std::error_code none;
    for (const auto& file : fs::directory_iterator(folder(), none)) paths.push_back(file.path());
    return paths;
  }
  ExampleCache cache(std::int64_t most_bytes = 1 << 20) {
    return ExampleCache(folder(), hashes_, [this](const std::string& text) { told_.push_back(text); }, {most_bytes, 0});
  }
  std::unique_ptr<TaskData> load(ExampleCache& cache, const Task& task, const FeatureOptions& options = {},
                                 const std::string& language = "en") {
    return cache.load(task, folder_ / "data", language, small_tokenizer(), options);
  }

  TemporaryFolder folder_;
  HashCache hashes_;
  std::vector<std::string> told_;
};

void expect_same_set(const TaskData& one, const TaskData& other) {
  EXPECT_EQ(one.dataset().name, other.dataset().name);
  EXPECT_EQ(one.dataset().head, other.dataset().head);
  EXPECT_EQ(one.dataset().classes, other.dataset().classes);
  EXPECT_EQ(one.dataset().group, other.dataset().group);
  ASSERT_EQ(one.dataset().examples.size(), other.dataset().examples.size());
  for (std::size_t i = 0; i < one.dataset().examples.size(); ++i) {
    const Example& example = one.dataset().examples[i];
    const Example& expected = other.dataset().examples[i];
    EXPECT_EQ(example.ids, expected.ids) << i;
    EXPECT_EQ(example.labels, expected.labels) << i;
    EXPECT_EQ(example.target_ids, expected.target_ids) << i;
    EXPECT_EQ(example.number, expected.number) << i;
  }
  EXPECT_EQ(one.left_out().count, other.left_out().count);
  EXPECT_EQ(one.left_out().total, other.left_out().total);
  EXPECT_EQ(one.left_out().what, other.left_out().what);
  EXPECT_EQ(one.truncation(), other.truncation());
}

TEST_F(KeptExamplesTest, AreThoseOfTheFilesForEveryFamily) {
  const TaskRow rows[] = {
      pairs_row(),
      {.name = "kept_choice",
       .reader = read_choice_records,
       .choices = 2,
       .files = {{"train", "choice.jsonl", FileLayout::kJsonLines}},
       .choice_fields = {{"p"}, {"a", "b"}, "label", {"0", "1"}}},
      {.name = "kept_span", .reader = read_squad, .files = {{"train", "squad.json"}}},
      {.name = "kept_tags",
       .reader = read_word_columns,
       .labels = {"O", "B-X"},
       .files = {{"train", "words.tsv", FileLayout::kTsv}}},
      {.name = "kept_text", .reader = read_plain_lines, .files = {{"train", "{language}.txt"}}},
  };
  for (const TaskRow& row : rows) {
    const CountedTask task(row);
    // Questions of two pieces, so that something is cut.
    const FeatureOptions options{.max_seq_length = 14, .doc_stride = 3, .max_query_length = 2};
    ExampleCache first = cache();
    const auto made = load(first, task, options);
    EXPECT_EQ(task.reads, 1) << row.name;
    ExampleCache second = cache();
    const auto kept = load(second, task, options);
    EXPECT_EQ(task.reads, 1) << row.name;
    expect_same_set(*kept, *made);
    EXPECT_GT(made->dataset().examples.size(), 0u);
    StubModel model;
    EXPECT_THROW(kept->evaluate(model, {}), Error);
  }
  EXPECT_TRUE(told_.empty()) << told_.front();
}

TEST_F(KeptExamplesTest, WhateverDecidesThemIsInTheirName) {
  const CountedTask task(pairs_row());
  ExampleCache kept = cache();
  int reads = 0;
  const auto expect_read = [&](const char* why, const std::function<void()>& act) {
    act();
    EXPECT_EQ(task.reads, ++reads) << why;
    act();
    EXPECT_EQ(task.reads, reads) << why << ", again";
  };
  expect_read("first", [&] { load(kept, task); });
  expect_read("length", [&] { load(kept, task, {.max_seq_length = 9}); });
  expect_read("stride", [&] { load(kept, task, {.doc_stride = 9}); });
  expect_read("question", [&] { load(kept, task, {.max_query_length = 9}); });
  expect_read("examples", [&] { load(kept, task, {.max_examples = 1}); });
  expect_read("packed", [&] { load(kept, task, {.pack_lines = true}); });
  expect_read("density", [&] { load(kept, task, {.noise_density = 0.3}); });
  expect_read("target", [&] { load(kept, task, {.max_target_length = 9}); });
  fs::copy_file(data("pairs-en.jsonl"), data("pairs-de.jsonl"));
  expect_read("language", [&] { EXPECT_EQ(load(kept, task, {}, "de")->dataset().name, "kept_pairs train de"); });
  write_text(data("pairs-en.jsonl"), R"({"sentence1": "the", "sentence2": "a dog", "label": "no"})");
  HashCache fresh;
  ExampleCache changed(folder(), fresh, {}, {1 << 20, 0});
  expect_read("file", [&] { EXPECT_EQ(load(changed, task)->dataset().examples.at(0).labels.at(0), 0); });
  // The same pieces, numbered as mT5 numbers them, are another tokenizer: the shift alone differs here.
  SentencePieceNumbering numbering = kFairseqNumbering;
  numbering.shift = 2;
  const Tokenizer shifted(small_tokenizer().file(), numbering);
  expect_read("numbering", [&] { kept.load(task, folder_ / "data", "en", shifted, {}); });

  TaskRow other = pairs_row();
  other.definition = "another [[task]]";
  const CountedTask defined(other);
  load(kept, defined);
  EXPECT_EQ(defined.reads, 1) << "of another description";
  write_text(data("own/pairs-en.jsonl"), read_file(data("pairs-en.jsonl")));
  other = pairs_row();
  other.files = {{"train", "own/pairs-en.jsonl", FileLayout::kJsonLines}};
  const CountedTask elsewhere(other);
  load(kept, elsewhere);
  EXPECT_EQ(elsewhere.reads, 1) << "of a file with another name";
}

TEST_F(KeptExamplesTest, DamagedOnesAreToldAndMadeAgain) {
  const CountedTask task(pairs_row());
  ExampleCache kept = cache();
  const auto expected = load(kept, task);
  ASSERT_EQ(entries().size(), 1u);
  const fs::path entry = entries().front();
  const std::string good = read_file(entry);
  const CountedTask other([] {
    TaskRow row = pairs_row();
    row.name = "kept_others";
    return row;
  }());
  load(kept, other);
  const std::vector<fs::path> both = entries();
  const std::string of_other = read_file(both[0] == entry ? both[1] : both[0]);
  std::vector<std::string> damaged = {"",         "x",     good.substr(0, good.size() / 2), good.substr(0, good.size() - 1),
                                      good + "x", of_other};
  for (std::size_t at : {std::size_t{0}, std::size_t{9}, good.size() / 2, good.size() - 20, good.size() - 1}) {
    damaged.push_back(good);
    damaged.back()[at] = static_cast<char>(damaged.back()[at] ^ 1);
  }
  for (const std::string& bytes : damaged) {
    write_text(entry, bytes);
    told_.clear();
    const int reads = task.reads;
    expect_same_set(*load(kept, task), *expected);
    EXPECT_EQ(task.reads, reads + 1);
    ASSERT_EQ(told_.size(), 1u);
    EXPECT_NE(told_.front().find(entry.string() + " is not used but made again"), std::string::npos) << told_.front();
    EXPECT_EQ(read_file(entry), good);
  }
}

TEST_F(KeptExamplesTest, AreBoundedAndTheOnesUsedLongestAgoGo) {
  const CountedTask task(pairs_row());
  ExampleCache kept = cache();
  load(kept, task, {.max_seq_length = 220});
  const auto bytes = static_cast<std::int64_t>(fs::file_size(entries().front()));
  load(kept, task, {.max_seq_length = 221});
  load(kept, task, {.max_seq_length = 222});
  const auto now = fs::file_time_type::clock::now();
  for (const fs::path& path : entries()) fs::last_write_time(path, now - std::chrono::hours(1));
  load(kept, task, {.max_seq_length = 220});  // used again
  EXPECT_EQ(task.reads, 3);
  write_text(folder() / "hands off.txt", std::string(4000, 'x'));
  ExampleCache small = cache(2 * bytes);
  load(small, task, {.max_seq_length = 223});
  EXPECT_EQ(entries().size(), 3u) << "two of them, and a file that is not the cache's";
  load(kept, task, {.max_seq_length = 220});
  EXPECT_EQ(task.reads, 4) << "it stayed";
  ExampleCache smallest = cache(bytes - 1);
  load(smallest, task, {.max_seq_length = 224});
  EXPECT_EQ(entries().size(), 3u) << "nothing goes for what would not fit alone";
  EXPECT_TRUE(told_.empty());
}

TEST_F(KeptExamplesTest, WithoutAFolderOrForLittleDataFilesAreRead) {
  const CountedTask task(pairs_row());
  ExampleCache none({}, hashes_, {}, {1 << 20, 0});
  ExampleCache large(folder(), hashes_, {});
  for (int i = 1; i <= 2; ++i) {
    load(none, task);
    load(large, task);
    EXPECT_EQ(task.reads, 2 * i);
  }
  EXPECT_FALSE(fs::exists(folder()));
  write_text(folder(), "a file");
  ExampleCache blocked = cache();
  load(blocked, task);
  load(blocked, task, {.max_seq_length = 9});
  EXPECT_EQ(task.reads, 6);
  ASSERT_EQ(told_.size(), 1u) << "once";
  EXPECT_NE(told_.front().find("nothing can be kept"), std::string::npos) << told_.front();
  write_text(data("pairs-en.jsonl"), "{\"sentence1\": \"x\"}\n");
  expect_user_error([&] { load(blocked, task); }, {"pairs-en.jsonl:1"});
}

// Four at once in one folder that holds two entries of the six they want: each has the examples it asked for.
TEST_F(KeptExamplesTest, AreSharedByWritersAtOnce) {
  const CountedTask task(pairs_row());
  ExampleCache kept = cache();
  load(kept, task);
  const auto bytes = static_cast<std::int64_t>(fs::file_size(entries().front()));
  std::atomic<int> wrong = 0;
  std::mutex mutex;
  const auto work = [&](int number) {
    HashCache hashes;
    const auto tell = [&](const std::string& text) {
      const std::lock_guard<std::mutex> lock(mutex);
      told_.push_back(text);
    };
    ExampleCache own(folder(), hashes, tell, {2 * bytes + 64, 0});
    for (int i = 0; i < 30; ++i) {
      const std::int64_t length = 8 + (i + number) % 6;
      const auto set = own.load(task, folder_ / "data", "en", small_tokenizer(), {.max_seq_length = length});
      if (set->truncation().maximum_length != length || set->dataset().examples.size() != 2) ++wrong;
    }
  };
  std::vector<std::thread> workers;
  for (int i = 0; i < 4; ++i) workers.emplace_back(work, i);
  for (std::thread& worker : workers) worker.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_TRUE(told_.empty()) << told_.front();
  for (const fs::path& path : entries()) EXPECT_EQ(path.extension(), ".examples") << path;
}

TEST_F(KeptExamplesTest, ArePhasesTrainingSets) {
  const CountedTask task(pairs_row());
  TrainedTask trained;
  trained.task = &task;
  trained.languages = {"en"};
  for (int i = 0; i < 2; ++i) {
    ExampleCache kept = cache();
    PhaseData phase(folder_ / "data", small_tokenizer(), &kept);
    EXPECT_EQ(phase.training_set(trained).examples.size(), 2u);
    EXPECT_EQ(phase.left_out(trained).count, 1);
  }
  EXPECT_EQ(task.reads, 1);
}

}  // namespace
}  // namespace koine
