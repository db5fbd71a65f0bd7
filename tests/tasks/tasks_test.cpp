// Whole tasks: from files to features to a model's outputs to scores and prediction files, with a stub model.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/files/text_file.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"
#include "stub_model.h"
#include "tasks/common/layers.h"
#include "tasks/common/prediction.h"
#include "tasks/common/task.h"
#include "tasks/families/tagging_features.h"
#include "tasks/families/vectors.h"
#include "tasks/formats/choices.h"
#include "tasks/formats/labelled_texts.h"
#include "tasks/formats/parallel_text.h"
#include "tasks/formats/squad.h"

namespace koine {
namespace {

/// A model that gives the right answers: the class in the sequence's or token's label.
StubModel right_answers(const Dataset& dataset) {
  StubModel model;
  model.classes = dataset.classes;
  model.logits = [&dataset, classes = dataset.classes](const StubSequence& sequence, float* logits) {
    const std::vector<std::int32_t>& labels = dataset.examples[sequence.number].labels;
    if (dataset.head == HeadKind::kSpan) {
      logits[2 * labels[0]] = 5;
      logits[2 * labels[1] + 1] = 5;
      return;
    }
    for (std::size_t i = 0; i < labels.size(); ++i) {
      if (labels[i] != kIgnoredLabel)
        logits[i * static_cast<std::size_t>(classes) + static_cast<std::size_t>(labels[i])] = 1;
    }
  };
  return model;
}

/// Evaluates with right answers, writes the prediction file, and scores that file against the data: both must give the same.
Evaluation evaluate_and_score(const Task& task, const std::filesystem::path& data, const std::string& split,
                              const std::string& language, const Tokenizer& tokenizer) {
  const auto loaded = task.load(data, split, language, tokenizer, {});
  StubModel model = right_answers(loaded->dataset());
  const Evaluation result = loaded->evaluate(model, {});
  expect_outcomes(result);
  if (split == task.splits().back()) {
    const TemporaryFolder folder;
    write_text(folder / result.prediction_file, result.prediction_content);
    const Evaluation scored = task.score(split == "test" ? folder.path() : folder / result.prediction_file, data, language);
    EXPECT_EQ(scored.metrics, result.metrics) << task.name() << " " << language;
    EXPECT_EQ(scored.examples, result.examples);
  }
  return result;
}

class Tasks : public testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) { write_text(folder_ / name, text); }
  std::unique_ptr<TaskData> load(const std::string& task, const std::string& split, const std::string& language,
                                 const FeatureOptions& options = {}) {
    return find_task(task).load(folder_.path(), split, language, small_tokenizer(), options);
  }
  TemporaryFolder folder_;
};

TEST(Registry, FindsTasksAndNamesTheNearest) {
  EXPECT_EQ(find_task("xnli").train_task(), "mnli");
  EXPECT_EQ(find_task("xquad").train_task(), "squad");
  EXPECT_EQ(find_task("tatoeba").train_task(), "");
  EXPECT_EQ(find_task("tatoeba").languages().size(), 36u);
  EXPECT_EQ(find_task("udpos").languages().size(), 33u);
  EXPECT_EQ(find_task("xnli").languages().size(), 15u);
  EXPECT_EQ(find_task("xquad").languages().size(), 11u);
  EXPECT_EQ(find_task("udpos").labels().size(), 17u);
  expect_user_error([] { find_task("xqad"); }, {"\"xqad\"", "did you mean \"xquad\""});
  std::set<std::string> names;
  for (const Task* task : all_tasks()) {
    EXPECT_TRUE(names.insert(task->name()).second) << "two rows named " << task->name();
    EXPECT_FALSE(task->splits().empty());
    const Task& trained = task->train_task().empty() ? *task : find_task(task->train_task());
    EXPECT_EQ(trained.head(), task->head());
  }
}

TEST_F(Tasks, XnliEndToEnd) {
  write("xnli/XNLI-1.0/xnli.test.tsv",
        "language\tgold_label\tsentence1\tsentence2\nfi\tneutral\ta dog\tthe fox\nen\tentailment\ttwo towns\ttowns\n"
        "fi\tcontradiction\tbox\tjugs\n");
  const Task& task = find_task("xnli");
  EXPECT_EQ(task.available_languages(folder_.path(), "test"), (std::vector<std::string>{"en", "fi"}));
  EXPECT_TRUE(task.available_languages(folder_.path(), "dev").empty());
  const auto data = load("xnli", "test", "fi");
  EXPECT_EQ(
      data->dataset().examples[0].ids,
      small_tokenizer().special().frame_pair(small_tokenizer().encode("a dog"), small_tokenizer().encode("the fox"), 256));
  StubModel model;
  model.classes = 3;
  model.logits = [](const StubSequence&, float* logits) { logits[0] = 1; };  // always contradiction
  const Evaluation result = data->evaluate(model, {});
  expect_outcomes(result);
  EXPECT_EQ(result.value, 50);
  EXPECT_EQ(result.prediction_file, "xnli/test-fi.tsv");
  EXPECT_EQ(result.prediction_content, "contradiction\ncontradiction\n");
  EXPECT_EQ(result.examples, 2);
  EXPECT_EQ(evaluate_and_score(task, folder_.path(), "test", "fi", small_tokenizer()).value, 100);
  expect_user_error([&] { load("xnli", "test", "sw"); }, {"xnli.test.tsv", "no examples in language sw"});
  expect_user_error([&] { load("xnli", "dev", "en"); }, {"xnli dev", "xnli/XNLI-1.0/xnli.dev.tsv", "xnli/dev-en.tsv"});
}

TEST_F(Tasks, NothingIsLearntFromFilesWithoutLabels) {
  write("xnli/train-en.tsv", "a dog\tthe fox\n");
  write("udpos/train-en.tsv", "dog\nfox\n");
  write("squad/train-v1.1.json", R"({"data": [{"paragraphs": [{"context": "x y", "qas": [
      {"id": "a", "question": "?", "answers": [{"text": "", "answer_start": 0}]}]}]}]})");
  expect_user_error([&] { load("mnli", "train", "en"); }, {"train-en.tsv", "no labels", "nothing can be learnt"});
  expect_user_error([&] { load("udpos", "train", "en"); }, {"train-en.tsv", "no labels", "nothing can be learnt"});
  expect_user_error([&] { load("squad", "train", "en"); }, {"train-v1.1.json", "nothing can be learnt"});
}

TEST_F(Tasks, WhatIsLeftOutIsCounted) {
  // A no-break space is no border of words, so the answer's words are not among the context's.
  write(
      "squad/train-v1.1.json",
      "{\"data\": [{\"paragraphs\": [{\"context\": \"The Tom 10\u00a0000 men\", \"qas\": ["
      "{\"id\": \"a\", \"question\": \"who\", \"answers\": [{\"text\": \"Tom\", \"answer_start\": 4}]},"
      "{\"id\": \"b\", \"question\": \"how many\", \"answers\": [{\"text\": \"10\u00a0000\", \"answer_start\": 8}]}]}]}]}");
  write("multinli_1.0/multinli_1.0_train.jsonl",
        "{\"gold_label\": \"-\", \"sentence1\": \"a\", \"sentence2\": \"b\"}\n"
        "{\"gold_label\": \"neutral\", \"sentence1\": \"a\", \"sentence2\": \"b\"}\n");
  write("udpos/ud-treebanks-v2.5/UD_English-A/en_a-ud-train.conllu",
        "1\t_\t_\tNOUN\t_\t_\t0\t_\t_\t_\n\n1\t_\t_\tNOUN\t_\t_\t0\t_\t_\t_\n\n");
  write("udpos/ud-treebanks-v2.5/UD_English-B/en_b-ud-train.conllu", "1\tfox\t_\tNOUN\t_\t_\t0\t_\t_\t_\n\n");
  const std::map<std::string, std::pair<std::int64_t, std::int64_t>> expected = {
      {"squad", {1, 2}}, {"mnli", {1, 2}}, {"udpos", {2, 3}}};
  for (const auto& [task, counts] : expected) {
    const auto data = load(task, "train", "en");
    EXPECT_EQ(data->dataset().examples.size(), 1u) << task;
    EXPECT_EQ(data->left_out().count, counts.first) << task;
    EXPECT_EQ(data->left_out().total, counts.second) << task;
    for (const Task::FileStatus& line : find_task(task).check_files(folder_.path()))
      EXPECT_TRUE(!line.present || line.problem.empty()) << line.problem;
  }
  std::filesystem::remove_all(folder_ / "udpos/ud-treebanks-v2.5/UD_English-B");
  expect_user_error([&] { load("udpos", "train", "en"); }, {"en_a-ud-train.conllu", "masked"});
}

TEST_F(Tasks, AnAnswerAtTheWrongPlaceStillScores) {
  write("xquad/xquad.fi.json", R"({"data": [{"paragraphs": [{"context": "the dog and the fox", "qas": [
      {"id": "a", "question": "who", "answers": [{"text": "dog", "answer_start": 3}]},
      {"id": "b", "question": "who", "answers": [{"text": "fox", "answer_start": 16}]}]}]}]})");
  const auto data = load("xquad", "test", "fi");
  EXPECT_EQ(data->dataset().examples.size(), 2u);
  StubModel model;
  model.classes = 2;
  model.logits = [&](const StubSequence& sequence, float* logits) {  // the last piece but </s>
    logits[2 * (sequence.ids.size() - 2)] = 5;
    logits[2 * (sequence.ids.size() - 2) + 1] = 5;
  };
  EXPECT_EQ(data->evaluate(model, {}).examples, 2);
  EXPECT_EQ(find_task("xquad").check_files(folder_.path()).size(), 12u);
  for (const Task::FileStatus& line : find_task("xquad").check_files(folder_.path()))
    EXPECT_TRUE(!line.present || line.problem.empty()) << line.problem;
}

TEST_F(Tasks, XtremeTestFilesHaveNoGold) {
  write("xnli/test-fi.tsv", "a dog\tthe fox\n");
  write("udpos/test-fi.tsv", "dog\nfox\n");
  write("tatoeba/fi-en.fi", "b\na\n");
  write("tatoeba/fi-en.en", "a\nb\n");
  write("xquad/xquad.fi.json", R"({"data": [{"paragraphs": [{"context": "x y", "qas": [
      {"id": "a", "question": "?", "answers": [{"text": "", "answer_start": 0}]}]}]}]})");
  StubModel model;
  for (const char* task : {"xnli", "udpos", "tatoeba", "xquad"}) {
    EXPECT_EQ(find_task(task).available_languages(folder_.path(), "test"), std::vector<std::string>{"fi"}) << task;
    expect_user_error([&] { load(task, "test", "fi")->evaluate(model, {}); }, {"fi", "scored"});
  }
  EXPECT_EQ(model.calls, 0);
}

TEST_F(Tasks, UdposSplitsLongSentencesAndJoinsThem) {
  std::string sentence;
  for (int i = 1; i <= 40; ++i) {
    sentence +=
        std::to_string(i) + "\t" + (i % 2 ? "dog" : "jumps") + "\t_\t" + (i % 3 ? "NOUN" : "VERB") + "\t_\t_\t0\t_\t_\t_\n";
  }
  write("ud-treebanks-v2.5/UD_Finnish-B/fi_b-ud-test.conllu", sentence + "\n");
  write("ud-treebanks-v2.5/UD_Finnish-A/fi_a-ud-test.conllu", "1\tfox\t_\tNOUN\t_\t_\t0\t_\t_\t_\n\n");
  FeatureOptions options;
  options.max_seq_length = 16;
  const auto data = load("udpos", "test", "fi", options);
  EXPECT_GT(data->dataset().examples.size(), 3u);
  for (const Example& example : data->dataset().examples) EXPECT_LE(example.ids.size(), 15u);  // three positions reserved
  StubModel model = right_answers(data->dataset());
  const Evaluation result = data->evaluate(model, {});
  expect_outcomes(result);
  EXPECT_EQ(result.value, 100);
  EXPECT_EQ(result.metrics.at("accuracy"), 100);
  EXPECT_EQ(result.examples, 2);
  EXPECT_EQ(result.prediction_content.substr(0, 16), "NOUN\n\nNOUN\nNOUN\n");  // treebank A first
  EXPECT_EQ(std::count(result.prediction_content.begin(), result.prediction_content.end(), '\n'), 43);
}

TEST(TaggingFeatures, FirstPieceIsLabelledAndNothingBecomesUnknown) {
  const Tokenizer& tokenizer = small_tokenizer();
  const std::vector<TaggedSentence> sentences = {{{"zyxwvuz", 3}, {"", 4}, {"dog", 5}}};
  const TaggingFeatures features = make_tagging_features(sentences, tokenizer, 256);
  ASSERT_EQ(features.examples.size(), 1u);
  const Example& example = features.examples[0];
  const std::vector<std::int32_t> first = tokenizer.encode("zyxwvuz");
  ASSERT_GT(first.size(), 1u);
  EXPECT_EQ(features.rows[0].positions[1], static_cast<std::int32_t>(first.size()) + 1);
  EXPECT_EQ(example.ids[first.size() + 1], small_tokenizer().special().unknown);
  EXPECT_EQ(example.labels[0], kIgnoredLabel);
  EXPECT_EQ(example.labels[1], 3);
  EXPECT_EQ(example.labels[2], kIgnoredLabel);
  EXPECT_EQ(example.labels[first.size() + 1], 4);
  EXPECT_EQ(example.ids.size(), example.labels.size());
  // A word of more pieces than a row holds.
  EXPECT_EQ(make_tagging_features({{{"zyxwvuz", 3}}}, tokenizer, 4).examples[0].ids,
            small_tokenizer().special().single({small_tokenizer().special().unknown}));
  expect_user_error([&] { make_tagging_features(sentences, tokenizer, 3); }, {"max_seq_length 3"});
}

TEST_F(Tasks, TatoebaFindsTheNearest) {
  write("tatoeba/v1/tatoeba.fin-eng.fin", "aa\nbb\ncc\n");
  write("tatoeba/v1/tatoeba.fin-eng.eng", "z\ny\nx\n");
  const auto data = load("tatoeba", "test", "fi");
  // Foreign 0 1 2 and, sorted, English x y z: their translations are 2 1 0. The vectors differ in length, not only in
  // direction.
  StubModel model;
  model.hidden = 2;
  model.vector = [](const StubSequence& sequence, float* vector) {
    const std::uint32_t meaning = sequence.number < 3 ? sequence.number : 5 - sequence.number;
    vector[0] = std::cos(static_cast<float>(meaning)) * static_cast<float>(1 + 5 * sequence.number);
    vector[1] = std::sin(static_cast<float>(meaning)) * static_cast<float>(1 + 5 * sequence.number);
  };
  const Evaluation result = data->evaluate(model, {});
  expect_outcomes(result);
  EXPECT_EQ(result.value, 100);
  EXPECT_EQ(result.prediction_content, "2\n1\n0\n");
  EXPECT_EQ(model.asked_layers, std::vector<std::int64_t>{7});  // 14 of 24, for 12 layers
  EXPECT_EQ(result.layer, 7);
  EvaluationOptions options;
  options.layers = {3};
  EXPECT_EQ(data->evaluate(model, options).layer, 3);
  EXPECT_EQ(model.asked_layers, options.layers);
  options.layers = {13};
  expect_user_error([&] { data->evaluate(model, options); }, {"layer 13"});
  write("predictions/tatoeba/test-fi.tsv", "2\n2\n0\n");
  EXPECT_NEAR(find_task("tatoeba").score(folder_ / "predictions", folder_.path(), "fi").value, 200.0 / 3,
              1e-9);  // one of three wrong
}

// One pass scores all layers asked for; the headline is the task's own where it is among them.
TEST_F(Tasks, TatoebaScoresLayersFromOnePass) {
  write("tatoeba/v1/tatoeba.fin-eng.fin", "aa\nbb\ncc\n");
  write("tatoeba/v1/tatoeba.fin-eng.eng", "x\ny\nz\n");
  const auto data = load("tatoeba", "test", "fi");
  StubModel model;
  model.hidden = 3;
  // From layer 7 on every sentence has its direction; in layer 2 English 1 and 2 go to foreign 1, and in layer 0 all to 0.
  model.vector = [](const StubSequence& sequence, float* vector) {
    const std::uint32_t meaning = sequence.number % 3;
    const bool english = sequence.number >= 3;
    const std::uint32_t known = sequence.layer >= 7 || !english ? meaning : sequence.layer == 2 ? std::min(meaning, 1u) : 0;
    vector[known] = 1;
  };
  EvaluationOptions options;
  options.layers = {12, 2, 0, 7};
  const Evaluation result = data->evaluate(model, options);
  expect_outcomes(result);
  EXPECT_EQ(model.calls, 1);
  EXPECT_EQ(result.layer, 7);
  EXPECT_EQ(result.value, 100);
  EXPECT_EQ(result.prediction_content, "0\n1\n2\n");
  EXPECT_EQ(result.layers.size(), 4u);
  EXPECT_DOUBLE_EQ(result.layers.at(2).at("accuracy"), 200.0 / 3);
  EXPECT_DOUBLE_EQ(result.layers.at(0).at("accuracy"), 100.0 / 3);
  // MTEB's direction: foreign 0 and 1 find their own; foreign 2 is near none, and takes the first, which is 0's.
  EXPECT_DOUBLE_EQ(result.layers.at(2).at("mteb_accuracy"), 200.0 / 3);
  EXPECT_DOUBLE_EQ(result.layers.at(2).at("mteb_f1"), (2.0 / 3 + 1) / 3 * 100);
  EXPECT_EQ(result.layers.at(7), result.metrics);
  options.layers = {2, 0};
  EXPECT_EQ(data->evaluate(model, options).layer, 2);
}

TEST_F(Tasks, MexaAlignsEveryLayerFromOnePass) {
  write("tatoeba/v1/tatoeba.fin-eng.fin", "aa\nbb\ncc\n");
  write("tatoeba/v1/tatoeba.fin-eng.eng", "z\ny\nx\n");
  const auto data = load("mexa", "test", "fi");
  StubModel model;
  model.hidden = 2;
  // In layer 4 sorted English 0 1 2 go with foreign 2 1 0; elsewhere all sentences are one.
  model.vector = [](const StubSequence& sequence, float* vector) {
    const std::uint32_t meaning = sequence.number < 3 ? sequence.number : 5 - sequence.number;
    vector[0] = sequence.layer == 4 ? std::cos(static_cast<float>(meaning)) : 1;
    vector[1] = sequence.layer == 4 ? std::sin(static_cast<float>(meaning)) : 0;
  };
  const Evaluation result = data->evaluate(model, {});
  EXPECT_EQ(model.calls, 1);
  EXPECT_EQ(model.asked_layers.size(), 13u);
  EXPECT_EQ(result.metric, "mexa_mean");
  EXPECT_DOUBLE_EQ(result.value, 100.0 / 13);
  EXPECT_EQ(result.metrics.at("mexa_max"), 100);
  EXPECT_EQ(result.layers.at(4).at("mexa"), 100);
  EXPECT_EQ(result.layers.at(5).at("mexa"), 0);
  EXPECT_EQ(result.examples, 3);
  EXPECT_TRUE(result.prediction_file.empty());
  EvaluationOptions options;
  options.layers = {4};
  EXPECT_EQ(data->evaluate(model, options).value, 100);
  EXPECT_EQ(find_task("mexa").pooling(), Pooling::kPositionWeightedMean);
  expect_user_error([&] { find_task("mexa").score(folder_.path(), folder_.path(), "fi"); }, {"mexa", "no predictions"});
  write("tatoeba/v1/tatoeba.fin-eng.fin", "aa\n");
  write("tatoeba/v1/tatoeba.fin-eng.eng", "z\n");
  expect_user_error([&] { load("mexa", "test", "fi"); }, {"tatoeba.fin-eng.fin", "at least two"});
}

TEST(Layers, AreReadAndResolved) {
  EXPECT_EQ(parse_layers("", "--layer"), LayerChoice{});
  EXPECT_EQ(parse_layers("7,12,0", "--layer").layers, (std::vector<std::int64_t>{7, 12, 0}));
  EXPECT_EQ(resolve_layers(parse_layers("all", ""), 2, ""), (std::vector<std::int64_t>{0, 1, 2}));
  for (const char* text : {"all", "", "7", "7,12"}) EXPECT_EQ(text_of(parse_layers(text, "")), text);
  for (const char* text : {"x", "7,", ",7", "-1", "7 12", "7;12", "All", "99999999999999999999"})
    expect_user_error([&] { parse_layers(text, "--layer"); }, {"--layer", text, "\"all\""});
  expect_user_error([&] { parse_layers("7,7", "--layer"); }, {"layer 7", "twice"});
  expect_user_error([&] { resolve_layers(parse_layers("0,3", ""), 2, "--layer 0,3"); }, {"--layer 0,3", "layer 3", "to 2"});
}

TEST(Retrieval, DefaultLayerScalesWithDepth) {
  EXPECT_EQ(default_retrieval_layer(24), 14);
  EXPECT_EQ(default_retrieval_layer(12), 7);
  EXPECT_EQ(default_retrieval_layer(36), 21);
  EXPECT_EQ(default_retrieval_layer(48), 28);
}

TEST_F(Tasks, MlmGivesLossAndPerplexity) {
  write("mlm/en.dev.txt", "the quick brown fox\n\nA small river runs between two old towns\n");
  const auto data = load("mlm", "dev", "en");
  EXPECT_EQ(data->dataset().examples.size(), 2u);
  EXPECT_TRUE(data->dataset().examples[0].labels.empty());
  StubModel model;
  const Evaluation result = data->evaluate(model, {});
  EXPECT_DOUBLE_EQ(result.value, -2);  // the stub's loss is 2 a masked token
  EXPECT_DOUBLE_EQ(result.metrics.at("pseudo_perplexity"), std::exp(2.0));
  write("mlm/en.dev.txt", "\n \n");
  expect_user_error([&] { load("mlm", "dev", "en"); }, {"en.dev.txt", "no text"});
}

TEST_F(Tasks, PawsxInBothLayouts) {
  const std::string header = "id\tsentence1\tsentence2\tlabel\n";
  write("pawsx/x-final/en/train.tsv", header + "1\tthe \"quick\" fox\tthe fox\t0\n2\ttwo towns\ttwo old towns\t1\n");
  write("pawsx/x-final/de/translated_train.tsv", header + "1\tder fox\tfox\t1\n");
  write("pawsx/x-final/de/dev_2k.tsv", header + "4\ta dog\tdog\t1\n6\tbox\tjugs\t0\n");
  write("pawsx/x-final/ja/test_2k.tsv", header + "10\tNS\t\t0\n12\tbox\tbox\t1\n");
  write("pawsx/test-fr.tsv", "\"the \"\"quick\"\" fox\"\tthe fox\n");
  write("pawsx/dev-fr.tsv", "\"the \"\"quick\"\" fox\"\tthe fox\t0\n");
  const Task& task = find_task("pawsx");
  EXPECT_EQ(task.train_task(), "pawsx");
  EXPECT_EQ(task.available_languages(folder_.path(), "train"), (std::vector<std::string>{"en", "de"}));
  EXPECT_EQ(task.available_languages(folder_.path(), "dev"), (std::vector<std::string>{"de", "fr"}));
  EXPECT_EQ(task.available_languages(folder_.path(), "test"), (std::vector<std::string>{"fr", "ja"}));
  const auto train = load("pawsx", "train", "en");
  EXPECT_EQ(train->dataset().classes, 2);
  ASSERT_EQ(train->dataset().examples.size(), 2u);
  const auto pair = small_tokenizer().special().frame_pair(small_tokenizer().encode("the \"quick\" fox"),
                                                           small_tokenizer().encode("the fox"), 256);
  EXPECT_EQ(train->dataset().examples[0].ids, pair);
  EXPECT_EQ(train->dataset().examples[0].labels, std::vector<std::int32_t>{0});
  EXPECT_EQ(load("pawsx", "dev", "fr")->dataset().examples[0].ids, pair) << "XTREME's quotation marks are undone";
  EXPECT_EQ(load("pawsx", "test", "ja")->dataset().examples.size(), 2u) << "an empty sentence is an example as well";
  const Evaluation result = evaluate_and_score(task, folder_.path(), "test", "ja", small_tokenizer());
  EXPECT_EQ(result.value, 100);
  EXPECT_EQ(result.prediction_file, "pawsx/test-ja.tsv");
  EXPECT_EQ(result.prediction_content, "0\n1\n");
  StubModel model;
  expect_user_error([&] { load("pawsx", "test", "fr")->evaluate(model, {}); }, {"test-fr.tsv", "x-final/fr/test_2k.tsv"});
  write("pawsx/x-final/de/dev_2k.tsv", header + "4\ta dog\tdog\t2\n");
  expect_user_error([&] { load("pawsx", "dev", "de"); }, {"dev_2k.tsv:2", "\"2\"", "0, 1"});
}

/// A reader for the test: "right|prompt|choice|choice ..." a line, "?" where the right choice is not known.
ChoiceFile read_test_choices(const FoundFile& file, const ReadRequest&) {
  ChoiceFile result;
  result.path = file.path;
  for (const std::string& line : read_lines(file.path)) {
    ChoiceExample example;
    std::vector<std::string> parts(1);
    for (const char c : line) {
      if (c == '|') {
        parts.emplace_back();
      } else {
        parts.back() += c;
      }
    }
    if (parts[0] == "?") {
      result.labelled = false;
    } else {
      example.label = std::stoi(parts[0]);
    }
    example.prompt = parts[1];
    example.choices.assign(parts.begin() + 2, parts.end());
    result.examples.push_back(example);
  }
  return result;
}

TaskRow choice_row() {
  return {.name = "guess",
          .reader = read_test_choices,
          .choices = 3,
          .languages = {"en", "fi"},
          .max_seq_length = 32,
          .files = {{"train test", "guess/{language}.{split}"}}};
}

TEST_F(Tasks, ChoiceEndToEnd) {
  const std::unique_ptr<Task> task = make_task(choice_row());
  EXPECT_EQ(task->head(), HeadKind::kChoice);
  EXPECT_EQ(task->classes(1000), 1);
  EXPECT_EQ(task->metric(), "accuracy");
  EXPECT_EQ(task->train_task(), "guess");
  EXPECT_NEAR(task->chance(), 100.0 / 3, 1e-12);
  write("guess/fi.test", "2|the fox|a dog|towns|box\n0|two old|river|jugs|really\n1|quick|he said|lazy|brown\n");
  EXPECT_EQ(task->available_languages(folder_.path(), "test"), std::vector<std::string>{"fi"});
  const auto data = task->load(folder_.path(), "test", "fi", small_tokenizer(), {});
  const Dataset& dataset = data->dataset();
  EXPECT_EQ(dataset.head, HeadKind::kChoice);
  EXPECT_EQ(dataset.group, 3);
  EXPECT_EQ(dataset.classes, 1);
  EXPECT_EQ(dataset.groups(), 3);
  ASSERT_EQ(dataset.examples.size(), 9u);
  for (std::uint32_t i = 0; i < 9; ++i) EXPECT_EQ(dataset.examples[i].number, i);
  EXPECT_EQ(dataset.examples[4].ids, small_tokenizer().special().frame_pair(small_tokenizer().encode("two old"),
                                                                            small_tokenizer().encode("jugs"), 32));
  EXPECT_EQ(dataset.examples[0].labels, std::vector<std::int32_t>{2});
  EXPECT_TRUE(dataset.examples[1].labels.empty());
  EXPECT_EQ(dataset.examples[3].labels, std::vector<std::int32_t>{0});

  StubModel model;
  model.classes = 1;
  model.logits = [](const StubSequence& sequence, float* logits) {  // the second, the second, the last
    constexpr float kScores[] = {-1, 2, 1, 0, 3, 1, 0, 0, 1};
    *logits = kScores[sequence.number];
  };
  const Evaluation result = data->evaluate(model, {});
  expect_outcomes(result);
  EXPECT_EQ(result.value, 0);
  EXPECT_EQ(result.examples, 3);
  EXPECT_EQ(result.prediction_content, "1\n1\n2\n");
  model.logits = [&](const StubSequence& sequence, float* logits) {
    const std::uint32_t first = sequence.number / 3 * 3;
    *logits = sequence.number == first + static_cast<std::uint32_t>(dataset.examples[first].labels[0]) ? 1.0f : 0.5f;
  };
  EvaluationOptions small;
  small.max_tokens_per_batch = 1;  // one example a batch: its three sequences stay together
  const Evaluation right = data->evaluate(model, small);
  EXPECT_EQ(right.value, 100);
  write(right.prediction_file, right.prediction_content);
  EXPECT_EQ(task->score(folder_.path(), folder_.path(), "fi").metrics, right.metrics);
  write("gold/test-fi.tsv", "2\n0\n0\n");
  EXPECT_NEAR(task->score(folder_.path(), folder_ / "gold", "fi").value, 200.0 / 3, 1e-9);

  FeatureOptions first;
  first.max_examples = 2;
  EXPECT_EQ(task->load(folder_.path(), "test", "fi", small_tokenizer(), first)->dataset().groups(), 2);
}

TEST_F(Tasks, BrokenChoicesAreRefused) {
  const std::unique_ptr<Task> task = make_task(choice_row());
  const auto load = [&] { task->load(folder_.path(), "test", "en", small_tokenizer(), {}); };
  write("guess/en.test", "2|p|a|b|c\n1|p|a|b\n");
  expect_user_error(load, {"en.test", "example 2 has 2 choices", "guess has 3"});
  write("guess/en.test", "3|p|a|b|c\n");
  expect_user_error(load, {"en.test", "example 1", "number 3"});
  write("guess/en.test", "");
  expect_user_error(load, {"en.test", "no examples"});
  write("guess/en.test", "?|p|a|b|c\n");
  StubModel model;
  expect_user_error([&] { task->load(folder_.path(), "test", "en", small_tokenizer(), {})->evaluate(model, {}); },
                    {"en.test", "cannot be scored"});
  write("guess/en.test", "0|p|a|b|c\n");
  write("p/test-en.tsv", "3\n");
  expect_user_error([&] { task->score(folder_ / "p", folder_.path(), "en"); }, {"test-en.tsv:1", "choice 3"});
  TaskRow row = choice_row();
  row.choices = 0;
  EXPECT_THROW(make_task(row), Error);
}

/// The choices of a training step go through the engine's batches as one example.
TEST_F(Tasks, ChoicesArePackedTogether) {
  const std::unique_ptr<Task> task = make_task(choice_row());
  write("guess/en.train", "2|the fox|a dog|towns|box\n0|two old|river|jugs|really\n");
  const auto data = task->load(folder_.path(), "train", "en", small_tokenizer(), {});
  const std::vector<std::int64_t> groups = {1, 0};
  const PackedBatch batch = pack_groups(data->dataset(), groups);
  EXPECT_EQ(batch.group, 3);
  EXPECT_EQ(batch.source.sequences, 6);
  EXPECT_EQ(batch.labels, (std::vector<std::int32_t>{0, 2}));
  EXPECT_EQ(batch.counted_labels, 2);
  EXPECT_EQ(batch.source.sequence_examples, (std::vector<std::uint32_t>{3, 4, 5, 0, 1, 2}));
}

TEST_F(Tasks, SingleTextsAreFramedAlone) {
  TaskRow row = {.name = "mood",
                 .reader = FileReader(read_labelled_texts, languages_of_labelled_texts),
                 .labels = {"sad", "merry"},
                 .files = {{"train", "mood/{split}.jsonl", FileLayout::kJsonLines}, {"test", "mood/{split}.tsv"}}};
  row.fields.first = {"text"};
  row.fields.second = {};
  row.fields.label = {"mood"};
  row.label_aliases = {{"glad", "merry"}};
  row.files.back().layout = FileLayout::kXtreme;
  const std::unique_ptr<Task> task = make_task(row);
  write("mood/train.jsonl", R"({"text": "the fox", "mood": "glad"})"
                            "\n"
                            R"({"text": "a dog", "mood": "sad"})"
                            "\n");
  const auto data = task->load(folder_.path(), "train", "en", small_tokenizer(), {});
  EXPECT_EQ(data->dataset().classes, 2);
  EXPECT_EQ(data->dataset().examples[0].ids,
            small_tokenizer().special().frame_single(small_tokenizer().encode("the fox"), 256));
  EXPECT_EQ(data->dataset().examples[0].labels, std::vector<std::int32_t>{1});
  EXPECT_EQ(data->dataset().examples[1].labels, std::vector<std::int32_t>{0});
  write("mood/test.tsv", "two towns\tmerry\n");
  EXPECT_EQ(evaluate_and_score(*task, folder_.path(), "test", "en", small_tokenizer()).value, 100);
  write("mood/test.tsv", "two\ttowns\tmerry\n");
  expect_user_error([&] { task->load(folder_.path(), "test", "en", small_tokenizer(), {}); }, {"test.tsv:1", "text, label"});
}

TEST(TaskFiles, PatternsFindLanguagesAndFiles) {
  const TemporaryFolder folder;
  for (const char* name :
       {"ud/UD_Finnish-TDT/fi_tdt-ud-dev.conllu", "ud/UD_Finnish-FTB/fi_ftb-ud-dev.conllu",
        "ud/UD_English-EWT/en_ewt-ud-dev.conllu", "ud/other/de_x-ud-dev.conllu", "x/train-sw.tsv", "x/dev-sw.tsv",
        "t/tatoeba.fin-eng.fin", "t/tatoeba.deu-eng.eng", "m/dev-context-de-question-de", "m/dev-context-de-question-es"}) {
    write_text(folder / name, "");
  }
  const std::vector<FileCandidate> treebanks = {{"dev", "ud/UD_*/{language}_*-ud-{split}.conllu"},
                                                {"train dev", "x/{split}-{language}.tsv"}};
  EXPECT_EQ(splits_of(treebanks), (std::vector<std::string>{"train", "dev"}));
  EXPECT_EQ(languages_with_files(folder.path(), treebanks, "dev"), (std::set<std::string>{"en", "fi", "sw"}));
  const std::vector<FoundFile> files = find_task_files(folder.path(), treebanks, "dev", "fi");
  ASSERT_EQ(files.size(), 2u);
  EXPECT_EQ(files[0].path.filename().string(), "fi_ftb-ud-dev.conllu");
  EXPECT_EQ(files[1].path.filename().string(), "fi_tdt-ud-dev.conllu");
  EXPECT_EQ(find_task_files(folder.path(), treebanks, "train", "sw").front().path.filename().string(), "train-sw.tsv");
  EXPECT_TRUE(find_task_files(folder.path(), treebanks, "train", "fi").empty());
  EXPECT_TRUE(find_task_files(folder.path(), treebanks, "test", "fi").empty());
  const std::vector<FileCandidate> tatoeba = {{"test", "t/tatoeba.{language3}-eng.{language3}"}};
  EXPECT_EQ(languages_with_files(folder.path(), tatoeba, "test"), std::set<std::string>{"fi"}) << "both places agree";
  const std::vector<FileCandidate> mlqa = {{"dev", "m/{split}-context-{language}-question-{language}"}};
  EXPECT_EQ(languages_with_files(folder.path(), mlqa, "dev"), std::set<std::string>{"de"});
}

TEST_F(Tasks, StopLongSequencesAndFirstExamples) {
  write("XNLI-1.0/xnli.dev.tsv",
        "language\tgold_label\tsentence1\tsentence2\nen\tneutral\ta dog\tthe fox\nen\tneutral\tdog\tfox\n");
  FeatureOptions features;
  features.max_examples = 1;
  const auto data = load("xnli", "dev", "en", features);
  EXPECT_EQ(data->dataset().examples.size(), 1u);
  StubModel model = right_answers(data->dataset());
  EvaluationOptions options;
  std::atomic<bool> stop = true;
  options.stop = &stop;
  EXPECT_THROW(data->evaluate(model, options), Interrupted);
  model.longest = 4;
  expect_user_error([&] { data->evaluate(model, {}); }, {"xnli dev en", "at most 4", "max_seq_length"});
}

TEST_F(Tasks, CheckFilesTellsWhatIsWrong) {
  write("xquad/xquad.en.json", "{\"data\": []}");
  write("xquad/xquad.de.json", R"({"data": [{"paragraphs": [{"context": "x y", "qas": [
      {"id": "a", "question": "?", "answers": [{"text": "y", "answer_start": 2}]}]}]}]})");
  std::map<std::string, Task::FileStatus> lines;
  for (const Task::FileStatus& line : find_task("xquad").check_files(folder_.path())) lines[line.language] = line;
  EXPECT_EQ(lines.size(), 11u);
  EXPECT_EQ(lines["de"].examples, 1);
  EXPECT_EQ(lines["de"].problem, "");
  EXPECT_NE(lines["en"].problem.find("no questions"), std::string::npos);
  EXPECT_FALSE(lines["zh"].present);
  EXPECT_EQ(lines["zh"].path, "xquad/xquad.zh.json");
}

TEST_F(Tasks, ScoreRefusesWhatDoesNotFit) {
  write("XNLI-1.0/xnli.test.tsv", "language\tgold_label\tsentence1\tsentence2\nen\tneutral\ta\tb\nen\tneutral\tc\td\n");
  const Task& task = find_task("xnli");
  write("p/xnli/test-en.tsv", "neutral\n");
  expect_user_error([&] { task.score(folder_ / "p", folder_.path(), "en"); },
                    {"test-en.tsv", "1 predictions", "2 examples"});
  write("p/xnli/test-en.tsv", "neutral\nyes\n");
  expect_user_error([&] { task.score(folder_ / "p", folder_.path(), "en"); }, {"test-en.tsv:2", "\"yes\""});
  expect_user_error([&] { task.score(folder_ / "p", folder_.path(), "fi"); }, {"xnli/test-fi.tsv"});
}

/// Every language and split of the real samples: read, converted, answered rightly, scored twice.
TEST(RealData, RightAnswersScoreOneHundred) {
  if (real_data().empty()) GTEST_SKIP() << "KOINE_DATA is not set: no real data to read";
  const std::map<std::string, std::map<std::string, std::size_t>> expected = {
      {"mnli", {{"train", 1}, {"dev", 1}}},  {"xnli", {{"dev", 3}, {"test", 5}}},
      {"squad", {{"train", 1}, {"dev", 1}}}, {"xquad", {{"test", 6}}},
      {"pawsx", {{"dev", 3}, {"test", 3}}},  {"udpos", {{"train", 1}, {"dev", 1}, {"test", 9}}}};
  for (const auto& [name, splits] : expected) {
    const Task& task = find_task(name);
    for (const auto& [split, languages] : splits) {
      const std::vector<std::string> available = task.available_languages(real_data(), split);
      EXPECT_EQ(available.size(), languages) << name << " " << split;
      for (const std::string& language : available) {
        const Evaluation result = evaluate_and_score(task, real_data(), split, language, real_tokenizer());
        // Question answering: the labels are whole words where no span of pieces equals the answer's, and a Chinese "word"
        // is a clause.
        if (task.head() == HeadKind::kSpan) {
          EXPECT_GT(result.value, language == "zh" ? 25 : 90) << name << " " << split << " " << language;
        } else {
          EXPECT_EQ(result.value, 100) << name << " " << split << " " << language;
        }
      }
    }
  }
}

/// The gold answers themselves, as predictions.
TEST(RealData, GoldAnswersScoreOneHundred) {
  if (real_data().empty()) GTEST_SKIP() << "KOINE_DATA is not set: no real data to read";
  for (const std::string language : {"en", "de", "es", "ar", "zh", "hi"}) {
    nlohmann::json answers;
    for (const SquadGold& gold :
         read_squad_gold(real_data() / ("xquad/xquad." + language + ".json"), /*unanswerable=*/false))
      answers[gold.id] = gold.texts[0];
    const TemporaryFolder folder;
    write_text(folder / ("xquad/test-" + language + ".json"), answers.dump());
    const Evaluation result = find_task("xquad").score(folder.path(), real_data(), language);
    EXPECT_EQ(result.metrics.at("exact_match"), 100) << language;
    EXPECT_DOUBLE_EQ(result.metrics.at("f1"), 100) << language;  // sums of fractions
  }
}

TEST(RealData, TatoebaOfAllLanguages) {
  if (real_data().empty()) GTEST_SKIP() << "KOINE_DATA is not set: no real data to read";
  const Task& task = find_task("tatoeba");
  const std::vector<std::string> languages = task.available_languages(real_data(), "test");
  EXPECT_EQ(languages, task.languages());
  std::int64_t problems = 0;
  for (const Task::FileStatus& line : task.check_files(real_data())) {
    EXPECT_EQ(line.problem, "") << line.path;
    problems += line.examples;
  }
  EXPECT_EQ(problems, 28 * 1000 + 205 + 746 + 575 + 687 + 390 + 307 + 234 + 548);  // LASER's files: all but eight have 1000
  for (const std::string language : {"jv", "te"}) {
    const auto data = task.load(real_data(), "test", language, real_tokenizer(), {});
    const std::size_t pairs = data->dataset().examples.size() / 2;
    const ParallelText text =
        read_parallel_text({real_data() / (std::string("tatoeba/v1/tatoeba.") +
                                           (std::string(language) == "jv" ? "jav-eng.jav" : "tel-eng.tel"))},
                           {});
    StubModel model;
    model.hidden = 16;
    model.vector = [&](const StubSequence& sequence, float* vector) {
      const auto meaning =
          sequence.number < pairs ? sequence.number : static_cast<std::uint32_t>(text.translations[sequence.number - pairs]);
      for (int bit = 0; bit < 16; ++bit) vector[bit] = (meaning >> bit & 1u) != 0 ? 1.0f : -1.0f;
    };
    EXPECT_EQ(data->evaluate(model, {}).value, 100) << language;
  }
}

/// The benchmark's own mock submission, with the figures of its evaluate_test.py. KOINE_XTREME: a checkout of
/// google-research/xtreme (Apache-2.0), whose files are not ours to keep here.
TEST(Xtreme, MockSubmissionHasTheOfficialScores) {
  const char* checkout = std::getenv("KOINE_XTREME");
  if (checkout == nullptr) GTEST_SKIP() << "KOINE_XTREME is not set: no checkout of google-research/xtreme to score";
  const std::filesystem::path mock = std::filesystem::path(checkout) / "mock_test_data";
  const std::map<std::string, std::map<std::string, double>> expected = {
      {"xnli", {{"accuracy", 30.666666666666668}}},
      {"pawsx", {{"accuracy", 51.42857142857143}}},
      {"udpos", {{"f1", 70.21746048354693}, {"precision", 71.02232625883823}, {"recall", 69.54982073976082}}},
      {"tatoeba", {{"accuracy", 53.611111111111114}}},
      {"pawsx", {{"accuracy", 51.42857142857143}}},
      {"panx", {{"f1", 57.50793650793652}, {"precision", 54.729166666666664}, {"recall", 62.750000000000014}}},
      {"bucc2018", {{"f1", 55.0}}},
      {"mewslix", {{"map@20", 14.39025156130419}}},
      {"xquad", {{"exact_match", 77.27272727272727}, {"f1", 79.9586776859504}}},
      {"mlqa", {{"exact_match", 57.142857142857146}, {"f1", 81.76870748299321}}},
      {"tydiqa", {{"exact_match", 88.88888888888889}, {"f1", 97.22222222222223}}}};
  for (const auto& [name, metrics] : expected) {
    const Task& task = find_task(name);
    for (const auto& [metric, value] : metrics) {
      double sum = 0;
      for (const std::string& language : task.languages()) {
        sum += task.score(mock / "predictions", mock / "labels", language).metrics.at(metric);
      }
      // Summed in our order of languages, not theirs: the last digits may differ.
      EXPECT_NEAR(sum / static_cast<double>(task.languages().size()), value, 1e-12) << name << " " << metric;
      std::printf("%s %s %.17g\n", name.c_str(), metric.c_str(), sum / static_cast<double>(task.languages().size()));
    }
  }
}

}  // namespace
}  // namespace koine
