// What training on several sets rests on: shares of the parts of a task, training sets in several languages, equal tokens,
// packed text.

#include <gtest/gtest.h>

#include "stub_model.h"
#include "tasks/common/task.h"
#include "tasks/experiment/equal_tokens.h"
#include "tasks/families/text.h"

namespace koine {
namespace {

using Ids = std::vector<std::int32_t>;

std::string nli_row(const std::string& text, const char* first, const char* second, const char* label) {
  return concatenate("{\"", label, "\": \"", text.back() == 'c' ? "c" : "neutral", "\", \"", first, "\": \"", text, "\", \"",
                     second, "\": \"fox\"}\n");
}

/// 6 examples of SNLI, 3 of MultiNLI, 2 + 1 of ANLI, each with its own premise.
void write_nli(const std::filesystem::path& folder, const std::string& split) {
  std::string snli;
  for (const char* text : {"a0", "a1", "a2", "a3", "a4", "a5"})
    snli += nli_row(text, "sentence1", "sentence2", "gold_label");
  std::string mnli;
  for (const char* text : {"b0", "b1", "b2"}) mnli += nli_row(text, "sentence1", "sentence2", "gold_label");
  write_text(folder / ("snli_1.0/snli_1.0_" + split + ".jsonl"), snli);
  write_text(folder / ("multinli_1.0/multinli_1.0_" + split + (split == "dev" ? "_matched.jsonl" : ".jsonl")), mnli);
  const auto anli = [](const char* text) { return nli_row(text, "context", "hypothesis", "label"); };
  write_text(folder / ("anli_v1.0/R1/" + split + ".jsonl"), anli("r0c") + anli("r1c"));
  write_text(folder / ("anli_v1.0/R2/" + split + ".jsonl"), anli("s0c"));
}

TEST(TaskOfParts, MaxExamplesAreAShareOfEveryPart) {
  const TemporaryFolder folder;
  for (const char* split : {"train", "dev"}) {
    write_nli(folder.path(), split);
    const auto premises = [&](std::int64_t maximum) {
      FeatureOptions options;
      options.max_examples = maximum;
      return find_task("anli+").load(folder.path(), split, "en", small_tokenizer(), options)->dataset().examples;
    };
    const auto expect = [&](std::int64_t maximum, const std::vector<const char*>& texts) {
      const std::vector<Example> examples = premises(maximum);
      ASSERT_EQ(examples.size(), texts.size());
      for (std::size_t i = 0; i < texts.size(); ++i) {
        EXPECT_EQ(examples[i].number, i);
        EXPECT_EQ(examples[i].ids, small_tokenizer().special().frame_pair(small_tokenizer().encode(texts[i]),
                                                                          small_tokenizer().encode("fox"), 256))
            << split << " " << texts[i];
      }
    };
    expect(4, {"a0", "a3", "b0", "r0c"});
    expect(6, {"a0", "a2", "a4", "b0", "b2", "r1c"});
    expect(1, {"a0"});
    expect(5, {"a0", "a2", "a4", "b1", "r0c"});  // floor(i * 12 / 5)
    EXPECT_EQ(premises(0).size(), 12u);
    EXPECT_EQ(premises(12).size(), 12u);
    EXPECT_EQ(premises(100).size(), 12u);
  }
}

/// `groups` examples of `group` sequences of `length` tokens; the first token says which example it is.
Dataset dataset_of(std::int64_t groups, std::size_t length, std::int32_t first_id, std::int32_t group = 1) {
  Dataset dataset;
  dataset.name = "set";
  dataset.group = group;
  for (std::int32_t i = 0; i < groups * group; ++i) {
    Example example;
    example.ids.assign(length, 0);
    example.ids[0] = first_id + i;
    dataset.examples.push_back(example);
  }
  return dataset;
}

Ids first_ids(const Dataset& dataset) {
  Ids ids;
  for (const Example& example : dataset.examples) ids.push_back(example.ids[0]);
  return ids;
}

TEST(EqualTokens, AreTakenFromTheLanguageThatHasFewest) {
  const Dataset de = dataset_of(5, 6, 100);
  const Dataset sw = dataset_of(5, 8, 200);
  // 6, 8 (the second set begins in its middle), 6: 20 tokens; the next would be sw's 8.
  for (const std::int64_t budget : {20, 27}) {
    const Dataset taken = take_equal_tokens({&de, &sw}, budget);
    EXPECT_EQ(first_ids(taken), (Ids{100, 202, 101})) << budget;
    EXPECT_EQ(tokens_of(taken), 20);
  }
  const Dataset more = take_equal_tokens({&de, &sw}, 28);
  EXPECT_EQ(first_ids(more), (Ids{100, 202, 101, 203}));
  for (std::uint32_t i = 0; i < 4; ++i) EXPECT_EQ(more.examples[i].number, i);
  EXPECT_TRUE(take_equal_tokens({&de, &sw}, 5).examples.empty());
  // All there is, the second set from its middle on and round to its front.
  EXPECT_EQ(first_ids(take_equal_tokens({&de, &sw}, 1000)), (Ids{100, 202, 101, 203, 102, 204, 103, 104, 200, 201}));
}

TEST(EqualTokens, FillTheBudgetButForLessThanAnExample) {
  Dataset sets[3] = {dataset_of(40, 3, 0), dataset_of(7, 11, 1000), dataset_of(40, 5, 2000)};
  for (std::size_t i = 0; i < sets[2].examples.size(); ++i) sets[2].examples[i].ids.resize(2 + i % 9);
  for (std::int64_t budget = 11; budget < 250; ++budget) {
    const std::int64_t tokens = tokens_of(take_equal_tokens({&sets[0], &sets[1], &sets[2]}, budget));
    EXPECT_LE(tokens, budget);
    EXPECT_GT(tokens, budget - 11) << "the longest example has 11";
  }
}

TEST(EqualTokens, KeepTheSequencesOfAnExampleTogether) {
  const Dataset choices = dataset_of(3, 4, 10, 2);
  const Dataset taken = take_equal_tokens({&choices}, 23);
  EXPECT_EQ(first_ids(taken), (Ids{10, 11, 12, 13}));
  EXPECT_EQ(taken.groups(), 2);
}

TEST(PackedText, FillsSequencesAndLeavesNothingOut) {
  const SpecialTokens& special = small_tokenizer().special();
  const std::int32_t s = special.begin;
  const std::int32_t e = special.end;
  using Lines = std::vector<Ids>;
  EXPECT_EQ(pack_lines({{10, 11}, {}, {12}, {13, 14, 15, 16, 17, 18, 19, 20}, {21}}, special, 7),
            (Lines{{s, 10, 11, e, 12, e}, {s, 13, 14, 15, 16, 17, e}, {s, 18, 19, 20, e, 21, e}}));
  EXPECT_TRUE(pack_lines({{}}, special, 7).empty());
  expect_user_error([&] { pack_lines({{1}}, special, 2); }, {"max_seq_length 2"});

  const TemporaryFolder folder;
  write_text(folder / "mlm/en.txt", "the fox\n\na dog jumps\nover the lazy dog in 1987\n");
  FeatureOptions options;
  options.max_seq_length = 8;
  options.pack_lines = true;
  const auto packed = find_task("mlm").load(folder.path(), "train", "en", small_tokenizer(), options);
  Ids text;
  for (const Example& example : packed->dataset().examples) {
    EXPECT_LE(example.ids.size(), 8u);
    for (const std::int32_t id : example.ids) {
      if (!special.is_special(id)) text.push_back(id);
    }
  }
  Ids expected;
  for (const char* line : {"the fox", "a dog jumps", "over the lazy dog in 1987"}) {
    for (const std::int32_t id : small_tokenizer().encode(line)) expected.push_back(id);
  }
  EXPECT_EQ(text, expected);
}

/// Of a task whose own files are in one language, others are found in files that say so, XNLI's and XTREME's translations.
TEST(Translations, AreTrainingSetsOfTheirLanguages) {
  const TemporaryFolder folder;
  const Task& mnli = find_task("mnli");
  const auto load = [&](const std::string& task, const std::string& language) {
    return find_task(task).load(folder.path(), "train", language, small_tokenizer(), {})->dataset().examples;
  };
  write_text(folder / "MNLI/train.tsv", "sentence1\tsentence2\tgold_label\na dog\tthe fox\tneutral\n");
  write_text(folder / "XNLI-MT-1.0/multinli/multinli.train.de.tsv",
             "premise\thypo\tlabel\nfox\tdog\tcontradictory\ndog\tfox\tentailment\n");
  write_text(folder / "xnli/translate-train/en-sw-translated.tsv", "a\tb\tfox\tdog\tcontradictory\n");
  EXPECT_EQ(mnli.available_languages(folder.path(), "train"), (std::vector<std::string>{"en", "de", "sw"}));
  EXPECT_EQ(load("mnli", "en").size(), 1u);
  EXPECT_EQ(load("mnli", "de").size(), 2u);
  ASSERT_EQ(load("mnli", "sw").size(), 1u);
  EXPECT_EQ(load("mnli", "sw")[0].ids, load("mnli", "de")[0].ids) << "not the English columns";
  EXPECT_EQ(load("mnli", "sw")[0].labels, Ids{0});
  expect_user_error([&] { load("mnli", "fr"); },
                    {"mnli train in language fr", "XNLI-MT-1.0/multinli/multinli.train.fr.tsv"});
  for (const Task::FileStatus& line : mnli.check_files(folder.path())) {
    EXPECT_EQ(line.problem, line.split == "train" ? "" : "missing") << line.path;
  }

  write_text(folder / "pawsx/translate-train/en-de-translated.tsv", "a\tb\tfox\tdog\t1\n");
  EXPECT_EQ(load("pawsx", "de")[0].labels, Ids{1});
  write_text(folder / "squad/translate-train/squad.translate.train.en-de.json",
             R"({"data": [{"paragraphs": [{"context": "the dog", "qas": [{"id": "1", "question": "fox?",
                "answers": [{"text": "dog", "answer_start": 4}]}]}]}]})");
  EXPECT_EQ(load("squad", "de").size(), 1u);
}

TEST(Translations, AsXnliDistributesThem) {
  if (real_data().empty()) GTEST_SKIP() << "KOINE_DATA names no folder of real data";
  for (const char* language : {"en", "de", "sw", "zh"}) {
    const auto data = find_task("mnli").load(real_data() / "format_fixtures/xnli", "train", language, small_tokenizer(), {});
    EXPECT_GE(data->dataset().groups(), 4) << language;
  }
}

}  // namespace
}  // namespace koine
