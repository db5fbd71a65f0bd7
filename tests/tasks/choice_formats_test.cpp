// The readers of multiple-choice data sets: the official layouts, and what they say of broken files.

#include <gtest/gtest.h>

#include "stub_model.h"
#include "tasks/formats/commonsense_qa.h"
#include "tasks/formats/copa.h"
#include "tasks/formats/cosmos_qa.h"
#include "tasks/formats/csv.h"
#include "tasks/formats/hellaswag.h"
#include "tasks/formats/social_iqa.h"

namespace koine {
namespace {

using Read = ChoiceFile (*)(const FoundFile& file, const ReadRequest& request);

class ChoiceFormats : public testing::Test {
 protected:
  ChoiceFile read(Read reader, const std::string& text, FileLayout layout = FileLayout::kOfficial) {
    write_text(folder_ / "file", text);
    return reader({folder_ / "file", layout}, {});
  }
  /// The text with `from` replaced must be refused.
  void refuse(Read reader, std::string text, const std::string& from, const std::string& to,
              const std::vector<std::string>& parts, FileLayout layout = FileLayout::kOfficial) {
    const std::size_t at = text.rfind(from);
    ASSERT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    expect_user_error([&] { read(reader, text, layout); }, parts);
  }
  TemporaryFolder folder_;
};

TEST_F(ChoiceFormats, HellaSwag) {
  const std::string row =
      R"({"ind": 1, "ctx_a": "A man sits.", "ctx_b": "he", "ctx": "", "label": 2, "endings": ["a", "b", "c", "d"]})"
      "\n";
  const ChoiceFile file = read(read_hellaswag, row + row);
  ASSERT_EQ(file.examples.size(), 2u);
  EXPECT_EQ(file.examples[1].prompt, "A man sits.");
  EXPECT_EQ(file.examples[1].choices, (std::vector<std::string>{"he a", "he b", "he c", "he d"}));
  EXPECT_EQ(file.examples[1].label, 2);
  EXPECT_TRUE(file.labelled);
  std::string test = row;
  test.erase(test.find("\"label\": 2, "), 12);
  EXPECT_FALSE(read(read_hellaswag, test).labelled);
  refuse(read_hellaswag, row + row, "\"label\": 2, ", "", {"file:2", "no label"});
  refuse(read_hellaswag, row + row, "\"label\": 2", "\"label\": 4", {"file:2", "\"label\"", "0 to 3"});
  refuse(read_hellaswag, row + row, "\"label\": 2", "\"label\": \"2\"", {"file:2", "\"label\""});
  refuse(read_hellaswag, row + row, ", \"d\"", "", {"file:2", "\"endings\"", "4"});
  refuse(read_hellaswag, row + row, "\"d\"", "4", {"file:2", "\"endings\""});
  refuse(read_hellaswag, row + row, "\"ctx_b\"", "\"ctx_c\"", {"file:2", "\"ctx_b\" is missing"});
  refuse(read_hellaswag, row + row, "{", "[{", {"file:2", "JSON"});
  expect_user_error([&] { read(read_hellaswag, "\n"); }, {"file", "no examples"});
}

TEST_F(ChoiceFormats, CommonsenseQa) {
  const std::string row =
      R"({"answerKey": "C", "id": "x", "question": {"stem": "Where?", "choices": [{"label": "B", "text": "b"}, )"
      R"({"label": "A", "text": "a"}, {"label": "C", "text": "c"}, {"label": "D", "text": "d"}, {"label": "E", "text": "e"}]}})"
      "\n";
  const ChoiceFile file = read(read_commonsense_qa, row);
  EXPECT_EQ(file.examples[0].prompt, "Where?");
  EXPECT_EQ(file.examples[0].choices, (std::vector<std::string>{"a", "b", "c", "d", "e"}));
  EXPECT_EQ(file.examples[0].label, 2);
  refuse(read_commonsense_qa, row, "\"answerKey\": \"C\"", "\"answerKey\": \"F\"", {"file:1", "\"answerKey\"", "A to E"});
  refuse(read_commonsense_qa, row, "\"label\": \"E\"", "\"label\": \"A\"", {"file:1", "A stands twice"});
  refuse(read_commonsense_qa, row, ", {\"label\": \"E\", \"text\": \"e\"}", "", {"file:1", "\"choices\"", "5"});
  refuse(read_commonsense_qa, row, "\"stem\"", "\"stern\"", {"file:1", "\"stem\" is missing"});
}

TEST_F(ChoiceFormats, CosmosQa) {
  const std::string csv =
      "id,context,question,answer0,answer1,answer2,answer3,label\r\n"
      "1,\"He said \"\"no\"\", then\nleft .\",Why ?,a,\"b, c\",,d,1\r\n"
      "2,x,y,a,b,c,d,3";
  const ChoiceFile file = read(read_cosmos_qa, csv);
  ASSERT_EQ(file.examples.size(), 2u);
  EXPECT_EQ(file.examples[0].prompt, "He said \"no\", then\nleft . Why ?");
  EXPECT_EQ(file.examples[0].choices, (std::vector<std::string>{"a", "b, c", "", "d"}));
  EXPECT_EQ(file.examples[0].label, 1);
  EXPECT_EQ(file.examples[1].label, 3);
  const std::string json =
      R"({"id": "1", "context": "x", "question": "y", "answer0": "a", "answer1": "b", "answer2": "c", "answer3": "d"})";
  EXPECT_EQ(read(read_cosmos_qa, json, FileLayout::kJsonLines).examples[0].prompt, "x y");
  EXPECT_FALSE(read(read_cosmos_qa, json, FileLayout::kJsonLines).labelled);
  refuse(read_cosmos_qa, json, "answer3", "answer4", {"file:1", "\"answer3\" is missing"}, FileLayout::kJsonLines);
  refuse(read_cosmos_qa, csv, "d,3", "d,4", {"file:4", "label is \"4\"", "0 to 3"});
  refuse(read_cosmos_qa, csv, "d,3", "d", {"file:4", "7 fields", "8"});
  refuse(read_cosmos_qa, csv, "answer3,label", "answer3,gold", {"file:1", "\"label\" is missing"});
  refuse(read_cosmos_qa, csv, "y,a", "y,\"a", {"file:4", "never closed"});
  expect_user_error([&] { read(read_cosmos_qa, csv.substr(0, csv.find('\n'))); }, {"no examples"});
}

TEST_F(ChoiceFormats, CsvQuoting) {
  const auto records = [](const std::string& text) {
    std::vector<std::vector<std::string>> all;
    for_each_csv_record(text, "f", [&](const std::vector<std::string>& fields, std::int64_t) { all.push_back(fields); });
    return all;
  };
  using Records = std::vector<std::vector<std::string>>;
  EXPECT_EQ(records("\xEF\xBB\xBF"
                    "a,\"b\"\n\n,\n\"\"\"\"\r\n"),
            (Records{{"a", "b"}, {"", ""}, {"\""}}));
  EXPECT_EQ(records("a,b\rc\n"), (Records{{"a", "b\rc"}}));
  EXPECT_EQ(records("a,"), (Records{{"a", ""}}));
  EXPECT_TRUE(records("").empty());
  expect_user_error([&] { records("a\n\"b\"c\n"); }, {"f:2", "closing quotation mark"});
  expect_user_error([&] { records("a\nb\"c\n"); }, {"f:2", "inside a field"});
  expect_user_error([&] { records("a\n\n\"b\n\nc"); }, {"f:3", "never closed"});
  expect_user_error([&] { records("a\n\"\xFF\"\n"); }, {"f:2", "UTF-8"});
}

TEST_F(ChoiceFormats, SocialIqa) {
  const std::string bare =
      R"({"context": "Tracy left.", "question": "Why?", "answerA": "a", "answerB": "b", "answerC": "c"})"
      "\n";
  std::string row = bare;
  row.insert(row.size() - 2, R"(, "correct": "B")");
  const ChoiceFile file = read(read_social_iqa, row);
  EXPECT_EQ(file.examples[0].prompt, "Tracy left. Why?");
  EXPECT_EQ(file.examples[0].choices, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(file.examples[0].label, 1);
  EXPECT_FALSE(read(read_social_iqa, bare + bare).labelled);
  write_text(folder_ / "file-labels.lst", "3\n1\n");
  const ChoiceFile beside = read(read_social_iqa, bare + bare);
  EXPECT_TRUE(beside.labelled);
  EXPECT_EQ(beside.examples[0].label, 2);
  EXPECT_EQ(beside.examples[1].label, 0);
  expect_user_error([&] { read(read_social_iqa, bare); }, {"file-labels.lst", "2 labels", "1 examples"});
  write_text(folder_ / "file-labels.lst", "3\n4\n");
  expect_user_error([&] { read(read_social_iqa, bare + bare); }, {"file-labels.lst:2", "\"4\"", "1 to 3"});
  refuse(read_social_iqa, row, "\"B\"", "\"D\"", {"file:1", "\"D\"", "A to C"});
  refuse(read_social_iqa, row, "answerC", "answerD", {"file:1", "\"answerC\" is missing"});
}

TEST_F(ChoiceFormats, Copa) {
  const std::string row =
      R"({"premise": "My body cast a shadow.", "choice1": "Sun.", "choice2": "Grass.", "question": "cause", "label": 1, "idx": 0})"
      "\n";
  const ChoiceFile file = read(read_copa, row);
  EXPECT_EQ(file.examples[0].prompt, "My body cast a shadow. What was the cause?");
  EXPECT_EQ(file.examples[0].choices, (std::vector<std::string>{"Sun.", "Grass."}));
  EXPECT_EQ(file.examples[0].label, 1);
  refuse(read_copa, row, "cause", "because", {"file:1", "\"because\""});
  refuse(read_copa, row, "\"label\": 1", "\"label\": 2", {"file:1", "\"label\"", "0 to 1"});
  refuse(read_copa, row, "\"label\": 1", "\"label\": 1.0", {"file:1", "\"label\""});
  // XTREME-R blanks its test files by the label 0.
  std::string zero = row;
  zero.replace(zero.find("\"label\": 1"), 10, "\"label\": 0");
  std::string blanked;
  for (int i = 0; i < 20; ++i) blanked += zero;
  EXPECT_FALSE(read(read_copa, blanked).labelled);
  EXPECT_TRUE(read(read_copa, blanked + row).labelled);
}

TEST(RealChoices, EveryFileIsRead) {
  if (real_data().empty()) GTEST_SKIP() << "KOINE_DATA is not set: no real data to read";
  struct File {
    Read read;
    const char* path;
    std::size_t examples;
    bool labelled;
    FileLayout layout = FileLayout::kOfficial;
  };
  const File files[] = {
      {read_hellaswag, "hellaswag/hellaswag_train.jsonl", 250, true},
      {read_hellaswag, "hellaswag/hellaswag_val.jsonl", 100, true},
      {read_hellaswag, "format_fixtures/hellaswag/hellaswag_test.jsonl", 0, false},
      {read_commonsense_qa, "commonsenseqa/train_rand_split.jsonl", 800, true},
      {read_commonsense_qa, "commonsenseqa/dev_rand_split.jsonl", 200, true},
      {read_commonsense_qa, "commonsenseqa/test_rand_split_no_answers.jsonl", 50, false},
      {read_cosmos_qa, "cosmosqa/train.csv", 450, true},
      {read_cosmos_qa, "cosmosqa/valid.csv", 120, true},
      {read_cosmos_qa, "format_fixtures/cosmosqa/test.jsonl", 0, false, FileLayout::kJsonLines},
      {read_copa, "xcopa/COPA/train.jsonl", 400, true},
      {read_copa, "xcopa/COPA/val.jsonl", 100, true},
      {read_copa, "xcopa/data/et/test.et.jsonl", 120, true},
      {read_copa, "xcopa/data/ta/val.ta.jsonl", 100, true},
      {read_copa, "format_fixtures/COPA/test.jsonl", 0, false},
  };
  for (const File& file : files) {
    const ChoiceFile content = file.read({real_data() / file.path, file.layout}, {});
    EXPECT_FALSE(content.examples.empty()) << file.path;
    if (file.examples > 0) {
      EXPECT_EQ(content.examples.size(), file.examples) << file.path;
    }
    EXPECT_EQ(content.labelled, file.labelled) << file.path;
  }
}

}  // namespace
}  // namespace koine
