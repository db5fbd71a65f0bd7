// CCG, WikiANN, BUCC, TyDiQA and SQuAD 2.0: the official layouts, what is said of broken files, and mutations of good ones.

#include <gtest/gtest.h>

#include <map>

#include "kernels/random/philox.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"
#include "stub_model.h"
#include "tasks/common/task.h"
#include "tasks/families/span_features.h"
#include "tasks/formats/bucc.h"
#include "tasks/formats/ccg.h"
#include "tasks/formats/labelled_texts.h"
#include "tasks/formats/lareqa.h"
#include "tasks/formats/squad.h"
#include "tasks/formats/tydiqa.h"
#include "tasks/formats/wikiann.h"
#include "tests/fuzz/task_formats_target.h"

namespace koine {
namespace {

class MoreFormats : public testing::Test {
 protected:
  std::filesystem::path write(const std::string& name, const std::string& text) {
    write_text(folder_ / name, text);
    return folder_ / name;
  }
  TemporaryFolder folder_;
};

constexpr const char* kDerivation =
    "(<T S[dcl] 0 2> (<L NP NNP NNP Tom NP>) (<T S[dcl]\\NP 0 1> (<L S[dcl]\\NP VBZ VBZ sleeps S[dcl]\\NP_1>) ) )";

TEST_F(MoreFormats, CcgDerivation) {
  const CcgSentence sentence = parse_ccg_derivation(kDerivation, "c");
  ASSERT_EQ(sentence.size(), 2u);
  EXPECT_EQ(sentence[0].form, "Tom");
  EXPECT_EQ(sentence[1].category, "S[dcl]\\NP");
  const auto refuse = [](const std::string& text, const std::vector<std::string>& parts) {
    expect_user_error([&] { parse_ccg_derivation(text, "c:2"); }, parts);
  };
  refuse(std::string(kDerivation).substr(0, 60), {"c:2"});
  refuse(std::string(kDerivation) + " )", {"c:2", "never opened"});
  refuse("(<T S 0 1> (<L NP NNP Tom NP>) )", {"c:2", "character 12", "five parts"});
  refuse("(<T S 0 1> Tom )", {"c:2", "character 12", "neither"});
  refuse("(<T S 0 1> )", {"no words"});
  refuse("(<T S 0 1> (<L N NN NN dog N>)", {"cut off"});
}

TEST_F(MoreFormats, CcgbankSplitsBySection) {
  const std::string text = "ID=wsj_0001.1 PARSER=GOLD NUMPARSE=1\n" + std::string(kDerivation) + "\n";
  std::string other = text;
  other.replace(other.find("(<L NP NNP"), 10, "(<L N/N NNP");
  write("AUTO/00/wsj_0001.auto", text);
  write("AUTO/20/wsj_2001.auto", other);
  ReadRequest request;
  request.labels = {"0", "1", "2"};
  request.split = "train";
  EXPECT_EQ(read_ccg({folder_ / "AUTO/00/wsj_0001.auto"}, request).sentences.size(), 1u);
  EXPECT_TRUE(read_ccg({folder_ / "AUTO/20/wsj_2001.auto"}, request).sentences.empty());
  request.split = "dev";
  const TaggedFile dev = read_ccg({folder_ / "AUTO/20/wsj_2001.auto"}, request);
  EXPECT_EQ(dev.sentences[0][0].tag, 2);  // NP and S[dcl]\NP came first, in section 00
  EXPECT_EQ(dev.sentences[0][1].tag, 1);
  request.labels.pop_back();
  expect_user_error([&] { read_ccg({folder_ / "AUTO/20/wsj_2001.auto"}, request); },
                    {"wsj_2001.auto:2", "N/N", "no more than 2"});
  expect_user_error([&] { read_ccgbank(write("x.auto", text + "ID=2\n")); }, {"x.auto", "no derivation"});
  expect_user_error([&] { read_ccgbank(write("x.auto", std::string(kDerivation))); }, {"x.auto:1", "ID="});
}

TEST_F(MoreFormats, CcgOfJiantsLayout) {
  write("tags_to_id.json", R"({"NP": 1, "S\\NP": 0})");
  ReadRequest request;
  request.labels = {"0", "1"};
  const TaggedFile file = read_ccg({write("ccg.train", "Tom sleeps\tNP S\\NP\n"), FileLayout::kXtreme}, request);
  EXPECT_EQ(file.sentences[0][0].tag, 1);
  EXPECT_EQ(file.sentences[0][1].form, "sleeps");
  const auto refuse = [&](const std::string& text, const std::vector<std::string>& parts) {
    expect_user_error([&] { read_ccg({write("ccg.dev", text), FileLayout::kXtreme}, request); }, parts);
  };
  refuse("Tom sleeps\tNP\n", {"ccg.dev:1", "2 words", "1 categories"});
  refuse("Tom\tNP\nTom NP\n", {"ccg.dev:2", "1 columns"});
  refuse("Tom\tNP\n\nTom\tN\n", {"ccg.dev:3", "category N", "tags_to_id.json"});
  write("tags_to_id.json", R"({"NP": 2})");
  refuse("Tom\tNP\n", {"tags_to_id.json", "\"NP\"", "0 to 1"});
}

TEST_F(MoreFormats, WikiAnn) {
  const std::vector<std::string> tags = {"B-LOC", "I-LOC", "O"};
  const TaggedFile file = parse_wikiann("en:New\tB-LOC\nen:York\tI-LOC\n\nen:at:home\tO\nen: \tO\n", "w", tags);
  ASSERT_EQ(file.sentences.size(), 2u);
  EXPECT_EQ(file.sentences[0][1].form, "York");
  EXPECT_EQ(file.sentences[1][0].form, "at:home");
  EXPECT_EQ(file.sentences[1][1].form, "");
  expect_user_error([&] { parse_wikiann("en:a\tO\nen:b\n", "w", tags); }, {"w:2", "1 columns"});
  expect_user_error([&] { parse_wikiann("en:a\tO\nb\tO\n", "w", tags); }, {"w:2", "colon"});
  expect_user_error([&] { parse_wikiann("en:a\tO\nen:b\tB-PER\n", "w", tags); }, {"w:2", "\"B-PER\"", "B-LOC, I-LOC, O"});
  expect_user_error([&] { parse_wikiann("\n\n", "w", tags); }, {"w", "no sentences"});
}

TEST_F(MoreFormats, Bucc) {
  const auto de = write("de-en.dev.de", "de-1\tHallo\nde-2\tTag\nde-3\tHallo\n");
  write("de-en.dev.en", "en-1\tday\nen-2\thello \n");
  EXPECT_FALSE(read_bucc({de}, {}).labelled);
  write("de-en.dev.gold", "de-2\ten-1\nde-1\ten-2\n");
  const BuccFile file = read_bucc({de}, {});
  EXPECT_TRUE(file.labelled);
  EXPECT_EQ(file.target.sentences[1], "hello");
  EXPECT_EQ(file.gold, (IdPairs{{"de-2", "en-1"}, {"de-1", "en-2"}}));
  const BuccSentences unique = unique_sentences(file.source);
  EXPECT_EQ(unique.lines, (std::vector<std::size_t>{2, 1}));  // "Hallo" by its last line
  EXPECT_EQ(unique.repeated, (std::vector<bool>{true, false}));
  ReadRequest first;
  first.max_examples = 1;
  EXPECT_EQ(read_bucc({de}, first).source.ids.size(), 1u);
  EXPECT_TRUE(read_bucc({de}, first).gold.empty());
  write("de-en.dev.gold", "de-2\ten-1\nde-1\ten-9\n");
  expect_user_error([&] { read_bucc({de}, {}); }, {"de-en.dev.gold:2", "de-en.dev.en", "en-9"});
  write("de-en.dev.gold", "de-2 en-1\n");
  expect_user_error([&] { read_bucc({de}, {}); }, {"de-en.dev.gold:1", "1 columns"});
  expect_user_error([&] { read_bucc_side(write("s", "a\tx\na\ty\n")); }, {"s:2", "twice"});
  expect_user_error([&] { read_bucc_side(write("s", "a\tx\nb y\n")); }, {"s:2", "no tab"});
  expect_user_error([&] { read_bucc_side(write("s", "a\t \n")); }, {"s:1", "empty"});
  expect_user_error([&] { read_bucc_side(write("s", "")); }, {"s", "no sentences"});
}

TEST_F(MoreFormats, TydiqaByTheIdsLanguage) {
  const auto path = write("t.json", R"({"data": [{"paragraphs": [
      {"context": "a b", "qas": [{"id": "finnish-1-0", "question": "?", "answers": [{"text": "b", "answer_start": 2}]}]},
      {"context": "c d", "qas": [{"id": "english-1-0", "question": "?", "answers": [{"text": "c", "answer_start": 0}]}]},
      {"context": "e f", "qas": [{"id": "finnish-2-0", "question": "?", "answers": [{"text": "f", "answer_start": 2}]}]}]}]})");
  ReadRequest request;
  request.language = "fi";
  const SquadFile file = read_tydiqa({path}, request);
  ASSERT_EQ(file.questions.size(), 2u);
  EXPECT_EQ(file.contexts, (std::vector<std::string>{"a b", "e f"}));
  EXPECT_EQ(file.questions[1].paragraph, 1u);
  EXPECT_EQ(languages_of_tydiqa({path}, request), (std::set<std::string>{"en", "fi"}));
  EXPECT_EQ(read_tydiqa({path, FileLayout::kXtreme}, request).questions.size(), 3u);
  request.language = "sw";
  EXPECT_TRUE(read_tydiqa({path}, request).questions.empty());
  // A gold file of several languages, given itself: the language's questions count, no others. One whose ids say nothing is
  // of one language.
  const auto predictions = write("answers.json", R"({"finnish-1-0": "b", "finnish-2-0": "x"})");
  const Evaluation finnish = find_task("tydiqa").score(predictions, path, "fi");
  EXPECT_EQ(finnish.examples, 2);
  EXPECT_EQ(finnish.unpredicted, 0);
  EXPECT_EQ(finnish.value, 50);
  expect_user_error([&] { find_task("tydiqa").score(predictions, path, "sw"); }, {"t.json", "no questions in language sw"});
  const auto silent = write("silent.json", R"({"data": [{"paragraphs": [{"context": "a b", "qas": [
      {"id": "1", "question": "?", "answers": [{"text": "b", "answer_start": 2}]}]}]}]})");
  EXPECT_TRUE(languages_of_tydiqa({silent}, request).empty());
  EXPECT_EQ(find_task("tydiqa").score(write("one.json", R"({"1": "b"})"), silent, "fi").value, 100);
  std::filesystem::create_directories(folder_ / "tydiqa");
  std::filesystem::copy_file(path, folder_ / "tydiqa/tydiqa-goldp-v1.1-train.json");
  EXPECT_EQ(find_task("tydiqa").available_languages(folder_.path(), "train"), (std::vector<std::string>{"en", "fi"}));
  for (const Task::FileStatus& line : find_task("tydiqa").check_files(folder_.path())) {
    if (line.split != "train") continue;
    EXPECT_EQ(line.problem.empty(), line.language == "en" || line.language == "fi") << line.language << line.problem;
  }
  const auto bad = write("b.json", R"({"data": [{"paragraphs": [
      {"context": "a b", "qas": [{"id": "5", "question": "?", "answers": [{"text": "b", "answer_start": 2}]}]}]}]})");
  expect_user_error([&] { read_tydiqa({bad}, request); }, {"b.json", "question 5", "finnish-"});
}

constexpr const char* kSquad2 = R"({"version": "v2.0", "data": [{"paragraphs": [{"context": "old dog", "qas": [
    {"id": "a", "question": "who", "is_impossible": false, "answers": [{"text": "dog", "answer_start": 4}]},
    {"id": "b", "question": "when", "is_impossible": true, "answers": [],
     "plausible_answers": [{"text": "old", "answer_start": 0}]}]}]}]})";

TEST_F(MoreFormats, Squad2HasQuestionsWithoutAnswers) {
  const SquadFile file = parse_squad(kSquad2, "s.json", {.places = true, .unanswerable = true});
  EXPECT_TRUE(file.labelled);
  EXPECT_EQ(file.questions[0].answers.size(), 1u);
  EXPECT_TRUE(file.questions[1].answers.empty());
  FeatureOptions options;
  options.max_seq_length = 64;
  const SpanFeatures features = make_span_features(file, small_tokenizer(), options, /*training=*/true);
  EXPECT_EQ(features.left_out, 0);
  ASSERT_EQ(features.examples.size(), 2u);
  EXPECT_NE(features.examples[0].labels, (std::vector<std::int32_t>{0, 0}));
  EXPECT_EQ(features.examples[1].labels, (std::vector<std::int32_t>{0, 0}));
  std::string text = kSquad2;
  text.replace(text.find("\"answers\": []"), 13, R"("answers": [{"text": "old", "answer_start": 0}])");
  expect_user_error([&] { parse_squad(text, "s.json", {.unanswerable = true}); }, {"question b", "is_impossible"});
  text = kSquad2;
  text.replace(text.find("true"), 4, "1");
  expect_user_error([&] { parse_squad(text, "s.json", {.unanswerable = true}); }, {"question b", "true or false"});
}

TEST_F(MoreFormats, QqpLeavesShortRowsOut) {
  ReadRequest request;
  request.labels = {"0", "1"};
  request.fields = {.first = {"question1"}, .second = {"question2"}, .label = {"is_duplicate"}, .short_rows = true};
  const std::string header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n";
  const FoundFile file{write("q.tsv", header + "1\t2\t3\ta\tb\t1\n4\t5\t6\tc\n7\t8\t9\te\tf\t0\n"), FileLayout::kTsv};
  const LabelledTexts texts = read_labelled_texts(file, request);
  EXPECT_EQ(texts.examples.size(), 2u);
  EXPECT_EQ(texts.skipped, 1);
  EXPECT_EQ(texts.examples[0].label, 1);
  request.fields.short_rows = false;
  expect_user_error([&] { read_labelled_texts(file, request); }, {"q.tsv:3", "4 columns", "6"});
}

TEST_F(MoreFormats, GlueSnliHasRowsLongerThanItsHeader) {
  ReadRequest request;
  request.labels = {"contradiction", "entailment", "neutral"};
  const LabelledTexts texts = read_labelled_texts({write("s.tsv",
                                                         "sentence1\tsentence2\tlabel1\tgold_label\na\tb\tneutral\tneutral\n"
                                                         "c\td\tneutral\tneutral\tentailment\tentailment\tentailment\n"),
                                                   FileLayout::kTsv},
                                                  request);
  EXPECT_EQ(texts.examples[0].label, 2);
  EXPECT_EQ(texts.examples[1].label, 1);
}

constexpr const char* kLareqa = R"({"data": [{"paragraphs": [
    {"context": "Né à Paris. He left. He left.", "sentence_breaks": [[0, 11], [12, 20], [21, 29]], "qas": [
      {"id": "q1", "question": "Where?", "answers": [{"text": "Paris", "answer_start": 5}]},
      {"id": "q2", "question": "What?", "answers": [{"text": "left", "answer_start": 24}]},
      {"id": "q3", "question": "Gap?", "answers": [{"text": " ", "answer_start": 11}]}]},
    {"context": "Unasked.", "sentence_breaks": [[0, 8]], "qas": []}]}]})";

TEST_F(MoreFormats, LareqaFindsTheAnswersSentence) {
  CandidatePool pool = read_lareqa({write("en.json", kLareqa)}, {});
  ASSERT_EQ(pool.queries.size(), 2u);
  EXPECT_EQ(pool.left_out, 1);
  ASSERT_EQ(pool.candidates.size(), 3u);  // none of the paragraph nobody asks about
  EXPECT_EQ(pool.candidates[0].text, "Né à Paris.Né à Paris. He left. He left.");
  EXPECT_EQ(pool.targets["q1"], (std::set<std::string>{"en_1_0"}));
  EXPECT_EQ(pool.targets["q2"], (std::set<std::string>{"en_1_1", "en_1_2"}));  // the same text twice
  pool.append(read_lareqa({write("fi.json", kLareqa)}, {}));
  EXPECT_EQ(pool.targets["q1"], (std::set<std::string>{"en_1_0", "fi_1_0"}));
  EXPECT_EQ(pool.candidates[4].text, pool.candidates[1].text);
  EXPECT_EQ(pool.queries[2].language, "fi");
  const auto refuse = [&](const std::string& from, const std::string& to, const std::vector<std::string>& parts) {
    std::string text = kLareqa;
    text.replace(text.find(from), from.size(), to);
    expect_user_error([&] { read_lareqa({write("de.json", text)}, {}); }, parts);
  };
  refuse("[21, 29]", "[21, 30]", {"de.json", "paragraph 1", "29 characters", "[21,30]"});
  refuse("\"sentence_breaks\"", "\"breaks\"", {"de.json", "paragraph 1", "\"sentence_breaks\" is missing"});
  refuse("\"answer_start\": 5", "\"answer_start\": 50", {"de.json", "question q1", "answer_start"});
  refuse("[{\"text\": \"Paris\", \"answer_start\": 5}]", "[]", {"de.json", "question q1", "0 answers"});
}

TEST_F(MoreFormats, LareqaIsRankedOverAllLanguages) {
  write("xquad-r/en.json", kLareqa);
  write("xquad-r/fi.json", kLareqa);
  const Task& task = find_task("lareqa");
  EXPECT_EQ(task.available_languages(folder_.path(), "test"), std::vector<std::string>{"mul"});
  const auto data = task.load(folder_.path(), "test", "mul", small_tokenizer(), {});
  ASSERT_EQ(data->dataset().examples.size(), 4u + 6u);
  StubModel model;
  model.hidden = 2;
  // q1 and the sentences in Paris point one way, q2 the other way but for the Finnish one.
  model.vector = [](const StubSequence& sequence, float* vector) {
    const bool paris =
        sequence.number == 0 || sequence.number == 2 || sequence.number == 3 || sequence.number == 4 || sequence.number == 7;
    vector[0] = paris ? 1.0f : 0.0f;
    vector[1] = paris ? 0.0f : 1.0f;
  };
  const Evaluation result = data->evaluate(model, {});
  expect_outcomes(result);
  // Finnish q2 finds its four targets behind the two others: (1/3 + 2/4 + 3/5 + 4/6) / 4.
  const double last = (1.0 / 3 + 2.0 / 4 + 3.0 / 5 + 4.0 / 6) / 4;
  EXPECT_DOUBLE_EQ(result.value, (3 + last) / 4 * 100);
  EXPECT_DOUBLE_EQ(result.metrics.at("map@20_en"), 100);
  EXPECT_DOUBLE_EQ(result.metrics.at("map@20_fi"), (1 + last) / 2 * 100);
  write_text(folder_ / "p/lareqa/test-mul.json", result.prediction_content);
  EXPECT_EQ(task.score(folder_ / "p", folder_.path(), "mul").metrics, result.metrics);
  EXPECT_EQ(data->left_out().count, 2);
}

TEST_F(MoreFormats, BuccTakesItsThresholdFromTheDevSplit) {
  for (const char* split : {"dev", "test"}) {
    write(concatenate("bucc2018/de-en.", split, ".de"), "de-1\teins\nde-2\tzwei\nde-3\tdrei\n");
    write(concatenate("bucc2018/de-en.", split, ".en"), "en-1\tone\nen-2\ttwo\nen-3\tnine\n");
    write(concatenate("bucc2018/de-en.", split, ".gold"), "de-1\ten-1\nde-2\ten-2\n");
  }
  const auto data = find_task("bucc2018").load(folder_.path(), "test", "de", small_tokenizer(), {});
  ASSERT_EQ(data->dataset().examples.size(), 12u);
  StubModel model;
  model.hidden = 3;
  model.vector = [](const StubSequence& sequence, float* vector) {
    vector[sequence.number % 3] = 1;
    if (sequence.number % 6 == 5) vector[1] = 1;  // "nine" is half "zwei"
  };
  const Evaluation result = data->evaluate(model, {});
  EXPECT_DOUBLE_EQ(result.metrics.at("recall"), 100);
  EXPECT_DOUBLE_EQ(result.metrics.at("mteb_f1"), 100);  // each of the two gold sources is nearest to its own target
  EXPECT_EQ(result.layer, 7);
  EXPECT_EQ(result.examples, 2);
  write_text(folder_ / "p/bucc2018/test-de.tsv", result.prediction_content);
  const Evaluation scored = find_task("bucc2018").score(folder_ / "p", folder_.path(), "de");
  EXPECT_EQ(scored.value, result.value);
  std::filesystem::remove(folder_ / "bucc2018/de-en.dev.gold");
  expect_user_error([&] { find_task("bucc2018").load(folder_.path(), "test", "de", small_tokenizer(), {}); },
                    {"de-en.dev.de", "no gold"});
}

TEST_F(MoreFormats, Squad2SaysWhereThereIsNoAnswer) {
  write("dev-v2.0.json", kSquad2);
  const auto data = find_task("squad2").load(folder_.path(), "dev", "en", small_tokenizer(), {});
  StubModel model;
  model.classes = 2;
  model.logits = [](const StubSequence& sequence, float* logits) {
    const std::size_t last = sequence.ids.size() - 2;  // the context's last piece
    logits[2 * last] = logits[2 * last + 1] = 3;
    logits[0] = logits[1] = sequence.number == 1 ? 4.0f : 1.0f;
  };
  const Evaluation result = data->evaluate(model, {});
  expect_outcomes(result);
  EXPECT_EQ(result.metrics.at("unanswerable_accuracy"), 100);
  EXPECT_EQ(result.metrics.at("best_f1_threshold"), result.metrics.at("answerable_f1") > 0 ? -4 : 0);
  // The authors choose by both at their best thresholds: a model that always answers, wrongly, would do better to refuse.
  model.logits = [](const StubSequence& sequence, float* logits) {
    logits[2 * (sequence.ids.size() - 2)] = logits[2 * (sequence.ids.size() - 2) + 1] = 3;
  };
  const Evaluation answered = data->evaluate(model, {});
  EXPECT_EQ(answered.value, 0);
  EXPECT_EQ(answered.selection, 50);
  const std::filesystem::path predictions = folder_ / "p/dev-en.json";
  write_text(predictions, result.prediction_content);
  EXPECT_EQ(find_task("squad2").score(predictions, folder_.path(), "en").metrics.at("f1"), result.metrics.at("f1"));
  write_text(predictions, R"({"a": "dog"})");
  expect_user_error([&] { find_task("squad2").score(predictions, folder_.path(), "en"); }, {"dev-en.json", "question b"});
}

TEST_F(MoreFormats, AnswersThatAreMissingAreCounted) {
  write("gold/xquad/test-en.json",
        R"({"data": [{"paragraphs": [{"context": "a quick dog", "qas": [)"
        R"({"id": "1", "question": "q", "answers": [{"text": "dog", "answer_start": 8}]},)"
        R"({"id": "2", "question": "q", "answers": [{"text": "quick", "answer_start": 2}]}]}]}]})");
  write("p/xquad/test-en.json", R"({"1": "dog"})");
  const Evaluation result = find_task("xquad").score(folder_ / "p", folder_ / "gold", "en");
  EXPECT_EQ(result.examples, 2);
  EXPECT_EQ(result.unpredicted, 1);
  EXPECT_EQ(result.value, 50);
}

/// One example, in the place and shape the data set's own archive has it.
TEST_F(MoreFormats, RowsFindTheDataSetsOwnFiles) {
  const std::string choice4 = R"({"ctx_a": "a dog", "ctx_b": "it", "endings": ["runs", "is red", "two", "he"], "label": 1})";
  const std::string squad = R"({"data": [{"paragraphs": [{"context": "the dog", "qas": [
      {"id": "a", "question": "who", "answers": [{"text": "dog", "answer_start": 4}]}]}]}]})";
  struct Row {
    const char* task;
    const char* split;
    const char* language;
    const char* path;
    std::string content;
    std::vector<std::int32_t> labels;  ///< of the first sequence
  };
  const std::vector<Row> rows = {
      {"snli",
       "train",
       "en",
       "snli_1.0/snli_1.0_train.jsonl",
       R"({"gold_label": "neutral", "sentence1": "a", "sentence2": "b"})",
       {2}},
      {"anli", "test", "en", "anli_v1.0/R2/test.jsonl", R"({"context": "a", "hypothesis": "b", "label": "c"})", {0}},
      {"qqp", "dev", "en", "QQP/dev.tsv", "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n1\t2\t3\ta\tb\t1\n", {1}},
      {"hellaswag", "dev", "en", "hellaswag/data/hellaswag_val.jsonl", choice4, {1}},
      {"cosmosqa",
       "dev",
       "en",
       "cosmosqa/data/valid.csv",
       "id,context,question,answer0,answer1,answer2,answer3,label\n1,a,b,c,d,e,f,2\n",
       {2}},
      {"commonsenseqa",
       "train",
       "en",
       "train_rand_split.jsonl",
       R"({"answerKey": "E", "question": {"stem": "a", "choices": [{"label": "A", "text": "a"}, {"label": "B", "text": "b"}, )"
       R"({"label": "C", "text": "c"}, {"label": "D", "text": "d"}, {"label": "E", "text": "e"}]}})",
       {4}},
      {"siqa",
       "train",
       "en",
       "siqa/socialIQa_v1.4_trn.jsonl",
       R"({"context": "a", "question": "b", "answerA": "c", "answerB": "d", "answerC": "e", "correct": "C"})",
       {2}},
      {"ccg", "train", "en", "ccg/data/AUTO/07/wsj_0701.auto", "ID=wsj_0701.1\n" + std::string(kDerivation) + "\n", {}},
      {"mlqa_pairs", "dev", "en-de", "MLQA_V1/dev/dev-context-en-question-de.json", squad, {}},
      {"mlqa", "dev", "de", "MLQA_V1/dev/dev-context-de-question-de.json", squad, {}},
      {"panx", "dev", "sw", "wikiann/sw/dev", "sw:dog\tB-LOC\n\n", {}},
      {"xcopa",
       "dev",
       "et",
       "xcopa/data/et/val.et.jsonl",
       R"({"premise": "a", "choice1": "b", "choice2": "c", "question": "effect", "label": 1})",
       {1}},
      {"pawsx", "test", "ko", "x-final/ko/test_2k.tsv", "id\tsentence1\tsentence2\tlabel\n1\ta\tb\t1\n", {1}},
  };
  for (const Row& row : rows) {
    write(row.path, row.content);
    const Task& task = find_task(row.task);
    EXPECT_EQ(task.available_languages(folder_.path(), row.split), std::vector<std::string>{row.language}) << row.task;
    const auto data = task.load(folder_.path(), row.split, row.language, small_tokenizer(), {});
    ASSERT_EQ(data->dataset().groups(), 1) << row.task;
    if (!row.labels.empty()) {
      EXPECT_EQ(data->dataset().examples[0].labels, row.labels) << row.task;
    }
    for (const Task::FileStatus& line : task.check_files(folder_.path())) {
      if (line.present && line.split == row.split) {
        EXPECT_EQ(line.problem, "") << row.task;
      }
    }
    std::filesystem::remove(folder_ / row.path);
  }
}

/// What is too long loses its beginning, the longer of the two first.
TEST_F(MoreFormats, ChoicesKeepTheirEnds) {
  write("COPA/val.jsonl",
        R"({"premise": "the quick brown fox jumps over the lazy dog", "choice1": "a small river", "choice2": "PACK", )"
        R"("question": "cause", "label": 0})"
        "\n");
  FeatureOptions options;
  options.max_seq_length = 14;
  const auto data = find_task("copa").load(folder_.path(), "dev", "en", small_tokenizer(), options);
  ASSERT_EQ(data->dataset().group, 2);
  const std::vector<std::int32_t> prompt =
      small_tokenizer().encode("the quick brown fox jumps over the lazy dog What was the cause?");
  const std::vector<std::int32_t>& ids = data->dataset().examples[0].ids;
  ASSERT_EQ(ids.size(), 14u);
  const auto end = std::find(ids.begin() + 1, ids.end(), small_tokenizer().special().end);
  const std::vector<std::int32_t> kept(ids.begin() + 1, end);
  EXPECT_TRUE(std::equal(kept.rbegin(), kept.rend(), prompt.rbegin()));
  EXPECT_EQ(kept.size(), 5u);  // of ten, both being longer than five
}

/// Mutates `seed` many times; some results should be accepted, not all.
void survive(bool (*target)(std::string_view), const std::string& seed, const std::string& alphabet) {
  EXPECT_TRUE(target(seed)) << "the seed is refused";
  int accepted = 0;
  constexpr int kCount = 10'000;
  for (std::uint32_t number = 0; number < kCount; ++number) {
    std::string text = seed;
    for (std::uint32_t change = 0; change < 2; ++change) {
      const auto draw = philox({change, number, 0, 0}, {12, 8});
      const std::size_t at = draw[0] % text.size();
      switch (draw[1] % 4) {
        case 0:
          text[at] = alphabet[draw[2] % alphabet.size()];
          break;
        case 1:
          text.erase(at, draw[2] % 12);
          break;
        case 2:
          text.insert(at, text.substr(draw[2] % text.size(), draw[3] % 30));
          break;
        default:
          text[at] = static_cast<char>(draw[2]);
          break;
      }
      if (text.empty()) text = "\n";
    }
    const std::vector<char> exact(text.begin(), text.end());  // so that the address sanitizer sees every byte read beyond it
    accepted += target({exact.data(), exact.size()}) ? 1 : 0;
  }
  EXPECT_GT(accepted, 0);
  EXPECT_LT(accepted, kCount);
}

TEST_F(MoreFormats, ParsersSurviveMutations) {
  survive(fuzz::ccg_derivation, kDerivation, "(<>) TL\\/[]");
  survive(fuzz::wikiann, "en:New\tB-LOC\nen:York\tI-LOC\n\nen:a:b\tO\n", "\t\n:-O\xC3");
  survive(
      fuzz::cosmos_qa,
      "id,context,question,answer0,answer1,answer2,answer3,label\r\n1,\"a \"\"b\"\",\nc\",q,w,x,y,z,3\r\n2,a,b,c,d,e,f,0\n",
      "\",\r\n0123");
  survive(fuzz::squad2, kSquad2, "\"{}[]:,0129");
}

// --- files -------------------------------------------------------------------------------------------------------------

TEST_F(MoreFormats, LanguagesOfContextAndQuestionInPatterns) {
  const std::vector<FileCandidate> files = {{"test", "m/{split}-context-{context}-question-{question}.json"}};
  for (const char* name : {"en-question-en", "en-question-de", "de-question-en"})
    write(concatenate("m/test-context-", name, ".json"), "{}");
  EXPECT_EQ(languages_with_files(folder_.path(), files, "test"), (std::set<std::string>{"de-en", "en", "en-de"}));
  const auto found = find_task_files(folder_.path(), files, "test", "en-de");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].path.filename(), "test-context-en-question-de.json");
  EXPECT_EQ(find_task_files(folder_.path(), files, "test", "en")[0].path.filename(), "test-context-en-question-en.json");
}

TEST_F(MoreFormats, RowsOfSocialIqaAndCcg) {
  write("siqa/socialiqa-train-dev/dev.jsonl",
        R"({"context": "a", "question": "b", "answerA": "c", "answerB": "d", "answerC": "e", "correct": "C"})"
        "\n");
  const auto choices = find_task("siqa").load(folder_.path(), "dev", "en", small_tokenizer(), {});
  ASSERT_EQ(choices->dataset().groups(), 1);
  EXPECT_EQ(choices->dataset().examples[0].labels[0], 2);
  write("ccg/tags_to_id.json", R"({"NP": 3, "S\\NP": 5})");
  write("ccg/ccg.dev", "Tom sleeps\tNP S\\NP\n");
  const auto tags = find_task("ccg").load(folder_.path(), "dev", "en", small_tokenizer(), {});
  ASSERT_EQ(tags->dataset().examples.size(), 1u);
  std::vector<std::int32_t> counted;
  for (const std::int32_t label : tags->dataset().examples[0].labels) {
    if (label != kIgnoredLabel) counted.push_back(label);
  }
  EXPECT_EQ(counted, (std::vector<std::int32_t>{3, 5}));
}

TEST_F(MoreFormats, PartsAreReadTogether) {
  write("snli_1.0/snli_1.0_dev.jsonl", R"({"gold_label": "neutral", "sentence1": "a", "sentence2": "b"})"
                                       "\n");
  const Task& task = find_task("anli+");
  EXPECT_EQ(task.splits(), (std::vector<std::string>{"train", "dev"}));
  EXPECT_TRUE(task.available_languages(folder_.path(), "dev").empty());
  write("multinli_1.0/multinli_1.0_dev_matched.jsonl",
        R"({"gold_label": "-", "sentence1": "a", "sentence2": "b"})"
        "\n"
        R"({"gold_label": "contradiction", "sentence1": "c", "sentence2": "d"})"
        "\n");
  for (const char* round : {"R1", "R2", "R3"})
    write(concatenate("anli_v1.0/", round, "/dev.jsonl"), R"({"context": "e", "hypothesis": "f", "label": "e"})"
                                                          "\n");
  EXPECT_EQ(task.available_languages(folder_.path(), "dev"), std::vector<std::string>{"en"});
  const auto data = task.load(folder_.path(), "dev", "en", small_tokenizer(), {});
  std::vector<std::int32_t> labels;
  for (const Example& example : data->dataset().examples) labels.push_back(example.labels[0]);
  EXPECT_EQ(labels, (std::vector<std::int32_t>{2, 0, 1, 1, 1}));
  EXPECT_EQ(data->left_out().count, 1);
  std::map<std::string, Task::FileStatus> status;
  for (const Task::FileStatus& line : task.check_files(folder_.path())) status[line.split] = line;
  EXPECT_EQ(status["dev"].examples, 5);
  EXPECT_FALSE(status["train"].present);
}

TEST_F(MoreFormats, TasksWithoutRealDataLoadFromTheirOwnPlaces) {
  write("siqa/socialIQa_v1.4_dev.jsonl",
        R"({"context": "a", "question": "b", "answerA": "c", "answerB": "d", "answerC": "e", "correct": "B"})"
        "\n");
  const auto choice = find_task("siqa").load(folder_.path(), "dev", "en", small_tokenizer(), {});
  EXPECT_EQ(choice->dataset().group, 3);
  EXPECT_EQ(choice->dataset().examples.size(), 3u);
  EXPECT_EQ(choice->dataset().examples[0].labels, std::vector<std::int32_t>{1});

  const std::string id = "ID=wsj_0001.1 PARSER=GOLD NUMPARSE=1\n";
  write("ccg/ccgbank_1_1/data/AUTO/00/wsj_0001.auto", id + kDerivation + "\n");
  write("ccg/ccgbank_1_1/data/AUTO/19/wsj_1900.auto", id + kDerivation + "\n");
  const auto tags = find_task("ccg").load(folder_.path(), "dev", "en", small_tokenizer(), {});
  ASSERT_EQ(tags->dataset().examples.size(), 1u);
  std::vector<std::int32_t> counted;
  for (const std::int32_t label : tags->dataset().examples[0].labels) {
    if (label != kIgnoredLabel) counted.push_back(label);
  }
  EXPECT_EQ(counted, (std::vector<std::int32_t>{0, 1}));
}

}  // namespace
}  // namespace koine
