// What is told beside figures: answers that are all one class, examples that were cut, data sets that are not whole.

#include "tasks/common/guards.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "tasks/common/prediction.h"
#include "tasks/common/task.h"
#include "tasks/families/span_features.h"
#include "tasks/families/tagging_features.h"
#include "tasks/files/official_counts.h"
#include "tasks/report/report.h"
#include "tests/tasks/stub_model.h"

namespace koine {
namespace {

TEST(Collapse, IsNearlyOneAnswerWhereTheGoldIsNot) {
  const ClassCounts balanced = {{"a", 334}, {"b", 333}, {"c", 333}};
  const std::optional<Collapse> found = find_collapse(balanced, {{"b", 990}, {"c", 10}});
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(*found, (Collapse{"b", 990, 333, 1000}));
  EXPECT_NE(describe(*found).find("990 of 1000 answers are \"b\", 333 of the gold labels"), std::string::npos);
  EXPECT_EQ(nlohmann::json(*found).get<Collapse>(), *found);
  EXPECT_FALSE(find_collapse(balanced, {{"b", 989}, {"c", 11}})) << "more than a hundredth are others";
  EXPECT_FALSE(find_collapse({{"a", 901}, {"b", 99}}, {{"a", 1000}})) << "the gold is nearly all that class";
  EXPECT_TRUE(find_collapse({{"a", 900}, {"b", 100}}, {{"a", 1000}}));
  EXPECT_TRUE(find_collapse({{"a", 1000}}, {{"b", 1000}})) << "one class, but another";
  EXPECT_FALSE(find_collapse({{"a", 10}, {"b", 9}}, {{"a", 19}})) << "too few to say";
  EXPECT_TRUE(find_collapse({{"a", 10}, {"b", 10}}, {{"a", 20}}));
  EXPECT_FALSE(find_collapse({}, {}));
}

/// XNLI's test in English with so many rows.
void write_xnli(const std::filesystem::path& data, int rows, const std::string& premise = "the fox") {
  const char* const labels[] = {"entailment", "neutral", "contradiction"};
  std::string text = "language\tgold_label\tsentence1\tsentence2\n";
  for (int i = 0; i < rows; ++i) text += "en\t" + std::string(labels[i % 3]) + "\t" + premise + "\tthe dog\n";
  write_text(data / "XNLI-1.0/xnli.test.tsv", text);
}

TEST(Collapse, AnEvaluationSaysIt) {
  const TemporaryFolder folder;
  write_xnli(folder / "", 30);
  const auto data = find_task("xnli").load(folder / "", "test", "en", small_tokenizer(), {});
  StubModel model;
  model.classes = 3;
  model.logits = [](const StubSequence&, float* logits) { logits[2] = 1; };
  const Evaluation constant = data->evaluate(model, {});
  ASSERT_TRUE(constant.collapse.has_value());
  EXPECT_EQ(*constant.collapse, (Collapse{"neutral", 30, 10, 30}));
  model.logits = [](const StubSequence& sequence, float* logits) { logits[sequence.number % 3] = 1; };
  EXPECT_FALSE(data->evaluate(model, {}).collapse.has_value());
}

TEST(NotFinite, LogitsAndVectorsAreNoFigures) {
  const TemporaryFolder folder;
  write_xnli(folder / "", 30);
  const auto data = find_task("xnli").load(folder / "", "test", "en", small_tokenizer(), {});
  StubModel model;
  model.classes = 3;
  model.hidden = 2;
  for (const float value : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    model.logits = [value](const StubSequence& sequence, float* logits) { logits[1] = sequence.number >= 28 ? value : 1; };
    expect_user_error([&] { data->evaluate(model, {}); }, {"xnli", "2 of 30 sequences", "not a number", "example 28"});
    model.vector = [value](const StubSequence& sequence, float* vector) { vector[1] = sequence.number == 7 ? value : 1; };
    EvaluationOptions options;
    options.layers = {3};
    expect_user_error([&] { encode_all(model, data->dataset(), options); }, {"1 of 30 sequences", "example 7"});
  }
}

TEST(Progress, OfAnEvaluationGoesFromNothingToAllTokens) {
  const TemporaryFolder folder;
  write_xnli(folder / "", 30);
  const auto data = find_task("xnli").load(folder / "", "test", "en", small_tokenizer(), {});
  StubModel model;
  model.classes = 3;
  model.logits = [](const StubSequence& sequence, float* logits) { logits[sequence.number % 3] = 1; };
  EvaluationOptions options;
  options.max_tokens_per_batch = 64;
  std::vector<std::int64_t> done;
  std::int64_t all = 0;
  options.progress = [&](std::int64_t tokens, std::int64_t total) {
    done.push_back(tokens);
    all = total;
  };
  const Evaluation evaluation = data->evaluate(model, options);
  ASSERT_GT(done.size(), 2u);
  EXPECT_EQ(done.front(), 0);
  EXPECT_TRUE(std::is_sorted(done.begin(), done.end()));
  EXPECT_EQ(done.back(), evaluation.tokens);
  EXPECT_EQ(all, evaluation.tokens);
}

TEST(Collapse, OfTagsIsCountedInWords) {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 12; ++i) text += "en:fox\tB-PER\nen:dog\tO\n\n";
  write_text(folder / "panx_dataset/en-test", text);
  const auto data = find_task("panx").load(folder / "", "test", "en", small_tokenizer(), {});
  StubModel model;
  model.classes = 7;
  model.logits = [](const StubSequence& sequence, float* logits) {
    for (std::size_t i = 0; i < sequence.ids.size(); ++i) logits[i * 7 + 6] = 1;
  };
  const Evaluation constant = data->evaluate(model, {});
  ASSERT_TRUE(constant.collapse.has_value());
  EXPECT_EQ(*constant.collapse, (Collapse{"O", 24, 12, 24}));
}

TEST(Truncation, IsCountedForEachExample) {
  const TemporaryFolder folder;
  write_xnli(folder / "", 3, "the quick brown fox");
  const Task& task = find_task("xnli");
  EXPECT_EQ(task.load(folder / "", "test", "en", small_tokenizer(), {})->truncation(), (Truncation{256, 3, 0, 0}));
  FeatureOptions options;
  options.max_seq_length = 8;
  const auto cut = task.load(folder / "", "test", "en", small_tokenizer(), options);
  const std::int64_t whole = std::ssize(small_tokenizer().encode("the quick brown fox")) +
                             std::ssize(small_tokenizer().encode("the dog")) + 4;  // <s> a </s></s> b </s>
  EXPECT_EQ(cut->truncation(), (Truncation{8, 3, 3, 3 * (whole - 8)}));
  EXPECT_EQ(nlohmann::json(cut->truncation()).get<Truncation>(), cut->truncation());
}

TEST(Truncation, OfAChoiceIsOneExampleHoweverManyOfItsChoicesAreCut) {
  const TemporaryFolder folder;
  write_text(
      folder / "COPA/train.jsonl",
      R"({"premise": "the dog", "choice1": "the quick brown fox", "choice2": "he said", "question": "cause", "label": 0})"
      "\n");
  FeatureOptions options;
  options.max_seq_length = 6;
  const auto data = find_task("copa").load(folder / "", "train", "en", small_tokenizer(), options);
  EXPECT_EQ(data->truncation().total, 1);
  EXPECT_EQ(data->truncation().examples, 1);
  EXPECT_EQ(data->dataset().examples.size(), 2u);
  EXPECT_GT(data->truncation().pieces, 0);
}

TEST(Truncation, OfQuestionsAndOfWordsLongerThanARow) {
  SquadFile file;
  file.contexts = {"the fox jumps"};
  file.questions.emplace_back();
  file.questions[0].question = "the quick brown fox";
  FeatureOptions options;
  options.max_seq_length = 64;
  options.max_query_length = 5;
  const std::int64_t pieces = std::ssize(small_tokenizer().encode(file.questions[0].question));
  ASSERT_GT(pieces, 5);
  EXPECT_EQ(make_span_features(file, small_tokenizer(), options, false).truncation, (Truncation{5, 1, 1, pieces - 5}));

  const std::string longest(30, '7');
  const std::int64_t word = std::ssize(small_tokenizer().encode(longest));
  const TaggingFeatures tagged = make_tagging_features({{{"fox", 0}}, {{longest, 0}, {"dog", 0}}}, small_tokenizer(), 12);
  EXPECT_EQ(tagged.truncation, (Truncation{12, 2, 1, word}));
}

TEST(OfficialCounts, AreThoseOfTheDataSets) {
  EXPECT_EQ(official_count("xnli", "test", "sw"), 5010);
  EXPECT_EQ(official_count("tatoeba", "test", "jv"), 205);
  EXPECT_EQ(official_count("tatoeba", "test", "fi"), 1000);
  EXPECT_EQ(official_count("mlm", "train", "en"), std::nullopt);
  EXPECT_EQ(official_count("panx", "test", "yo"), 100);
  EXPECT_EQ(official_count("panx", "test", "tl"), 1000);
  EXPECT_EQ(official_count("panx", "train", "et"), 15000);
  for (const std::string& language : find_task("panx").languages()) {
    for (const char* split : {"train", "dev", "test"})
      EXPECT_TRUE(official_count("panx", split, language).has_value()) << split << language;
  }
  EXPECT_EQ(official_count("panx", "test", "am"), std::nullopt) << "WikiANN has it, XTREME has not";
  EXPECT_EQ(official_count("siqa", "dev", "en"), 1954);
  // MLQA has the same questions either way, all of a language's in pairs with English, and no more in any other.
  const std::vector<std::string>& languages = find_task("mlqa").languages();
  for (const char* split : {"dev", "test"}) {
    for (const std::string& a : languages) {
      EXPECT_EQ(official_count("mlqa_pairs", split, a + "-" + a), official_count("mlqa", split, a)) << a;
      EXPECT_EQ(official_count("mlqa_pairs", split, "en-" + a), official_count("mlqa", split, a)) << a;
      for (const std::string& b : languages) {
        const std::int64_t one = official_count("mlqa_pairs", split, a + "-" + b).value();
        EXPECT_EQ(one, official_count("mlqa_pairs", split, b + "-" + a)) << a << b;
        EXPECT_LE(one, official_count("mlqa", split, a)) << a << b;
      }
    }
  }
  // ANLI+ is the sum of its parts, TyDiQA's languages make its published totals.
  for (const char* split : {"train", "dev"}) {
    std::int64_t sum = 0;
    for (const std::string& part : find_task("anli+").row().parts) sum += official_count(part, split, "en").value();
    EXPECT_EQ(official_count("anli+", split, "en"), sum);
  }
  std::int64_t train = 0;
  std::int64_t test = 0;
  for (const std::string& language : find_task("tydiqa").languages()) {
    train += official_count("tydiqa", "train", language).value();
    test += official_count("tydiqa", "test", language).value();
  }
  EXPECT_EQ(train, 49'881);
  EXPECT_EQ(test, 5'077);
}

TEST(WarningLines, SayOnceWhatEveryMetricsRowSays) {
  ResultRow row{.model = "m", .intermediate = "none", .target = "xnli", .language = "sw", .metric = "accuracy"};
  row.collapsed = Collapse{"neutral", 30, 10, 30};
  row.truncated = {128, 30, 2, 17};
  ResultRow other = row;
  other.metric = "f1";
  const std::vector<std::string> lines = warning_lines({row, other});
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_NE(lines[0].find("m, none, xnli, seed 0, sw: 30 of 30 answers are \"neutral\""), std::string::npos) << lines[0];
  EXPECT_EQ(lines[1], "xnli, sw: 2 of 30 examples cut to 128 tokens (17 pieces lost)");
  EXPECT_TRUE(warning_lines({ResultRow{}}).empty());
}

}  // namespace
}  // namespace koine
