// Tasks as texts: what examples become, how answers are read and scored. (That a model learns them: tests/tools/text_tasks_test.cpp.)

#include "tasks/text/text_form.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "stub_model.h"
#include "tasks/common/task.h"
#include "tasks/experiment/plan.h"
#include "tasks/families/text.h"
#include "tasks/scorers/span_f1.h"
#include "tasks/text/names.h"
#include "tasks/text/script.h"
#include "tasks/text/text_answers.h"

namespace koine {
namespace {

using Words = std::vector<std::string>;

/// Pieces for letters, bytes for the rest, ten sentinels.
const Tokenizer& t5_tokenizer() {
  static const Tokenizer tokenizer = [] {
    static const TemporaryFolder folder;
    std::string text;
    for (int i = 0; i < 40; ++i)
      text +=
          "the quick brown fox jumps over the lazy dog 0123456789 : ( ) $ _ . , -\nPACK MY BOX WITH FIVE DOZEN LIQUOR "
          "JUGS\n";
    write_text(folder / "text", text);
    Tokenizer::train({.inputs = {folder / "text"},
                      .pieces = 340,
                      .character_coverage = 1,
                      .numbering = kT5Numbering,
                      .byte_fallback = true,
                      .sentinels = 10},
                     folder / "spiece.model");
    return Tokenizer(folder.path(), kT5Numbering);
  }();
  return tokenizer;
}

class TextTasks : public testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) { write_text(folder_ / name, text); }
  std::unique_ptr<TaskData> load(const std::string& task, const std::string& split, const FeatureOptions& options = {},
                                 const std::string& language = "en") {
    return find_task(task).as_text().load(folder_.path(), split, language, t5_tokenizer(), options);
  }
  static std::string text_of(const std::vector<std::int32_t>& ids) { return t5_tokenizer().decode(ids); }
  static std::string source_of(const TaskData& data, std::size_t example) {
    return text_of(data.dataset().examples[example].ids);
  }
  static std::string target_of(const TaskData& data, std::size_t example) {
    return text_of(data.dataset().examples[example].labels);
  }
  /// What a model that writes `texts` reaches, and that its prediction file scores the same.
  Evaluation evaluate(const std::string& task, const TaskData& data, const Words& texts,
                      ChoiceSearch choices = ChoiceSearch::kGenerate) {
    StubModel model = writer(texts);
    EvaluationOptions options;
    options.choices = choices;
    const Evaluation result = data.evaluate(model, options);
    expect_outcomes(result);
    asked_ = model.asked_generation;
    write("predictions/" + result.prediction_file, result.prediction_content);
    scored_ = find_task(task).score(folder_ / ("predictions/" + result.prediction_file), folder_.path(), "en");
    return result;
  }
  static StubModel writer(const Words& texts) {
    StubModel model;
    model.answer = [texts](const StubSequence& sequence) { return answer_ids(texts[sequence.number], t5_tokenizer()); };
    return model;
  }

  TemporaryFolder folder_;
  GenerationSettings asked_;
  Evaluation scored_;
};

/// The examples of multilingual-t5's own preprocessors_test.py; inputs but for the blank at their end.
TEST(TextForms, AreMt5s) {
  const TextForm nli = text_form_of(find_task("xnli").row());
  EXPECT_EQ(nli.labelled_text("premise1", "hypothesis1"), "xnli: premise: premise1 hypothesis: hypothesis1");
  EXPECT_EQ(nli.words, (Words{"2", "0", "1"})) << "contradiction, entailment, neutral, as TFDS numbers them";
  for (const char* task : {"mnli", "snli", "anli", "anli+"}) {
    EXPECT_EQ(text_form_of(find_task(task).row()).input, nli.input);
    EXPECT_EQ(text_form_of(find_task(task).row()).words, nli.words);
  }
  EXPECT_EQ(
      question_text("Whose portrait by Fran\u00e7ois Clouet was included in the Jones bequest of 1882?", "Some context."),
      "question: Whose portrait by Fran\u00e7ois Clouet was included in the Jones bequest of 1882 ? context: Some context "
      ".");
  const Words words = {"rick", "and", "morty", "are", "cool", "."};
  EXPECT_EQ(names_text(names_of_tags(words, {"B-PER", "O", "B-PER", "O", "O", "O"})), "PER: rick $$ PER: morty");
  const TextForm paws = text_form_of(find_task("pawsx").row());
  EXPECT_EQ(paws.labelled_text("a {second}", "b"), "paws sentence1: a {second} sentence2: b");
  EXPECT_EQ(paws.words, (Words{"different_meaning", "paraphrase"}));
  EXPECT_EQ(text_form_of(find_task("qqp").row()).labelled_text("a", "b"), "qqp question1: a question2: b");
}

TEST(TextForms, OfOtherTasksAreMadeOfTheirNames) {
  TaskRow row{.name = "topic", .reader = find_task("mnli").row().reader, .labels = {"sport", "art"}};
  row.fields = {.first = {"text"}, .second = {}, .label = {"label"}};
  EXPECT_EQ(text_form_of(row).labelled_text("a", ""), "topic text: a");
  EXPECT_EQ(text_form_of(row).words, row.labels);
  row.train_task = "mnli";
  row.labels = {"neutral", "entailment"};
  EXPECT_EQ(text_form_of(row).labelled_text("a", "b"), "xnli: premise: a hypothesis: b") << "as its head was trained";
  EXPECT_EQ(text_form_of(row).words, (Words{"1", "0"}));
  EXPECT_EQ(text_form_of(find_task("xcopa").row()).choice("It rained.", {"wet", "dry"}), "copa: It rained. (a) wet (b) dry");
}

TEST(TextForms, PunctuationIsPaddedAndBack) {
  EXPECT_EQ(pad_punctuation("1,5 (a_b)"), "1 , 5 ( a_b ) ");
  EXPECT_EQ(pad_punctuation("\u4e2d\u3002e\u0301"), "\u4e2d \u3002 e\u0301") << "accents stay where they are";
  EXPECT_EQ(unpadded("1 , 5 ( a", "of 1,5 (a_b) and 1,5"), "1,5 (a");
  EXPECT_EQ(unpadded("15", "of 1,5"), "15");
  EXPECT_EQ(unpadded("", "of"), "");
}

TEST(TextForms, ScriptsAreTold) {
  EXPECT_EQ(main_script("Moscow 1980"), "Latn");
  EXPECT_EQ(main_script("1980!"), "");
  EXPECT_EQ(main_script("\u041c\u043e\u0441\u043a\u0432\u0430 is"), "Cyrl");
  EXPECT_EQ(main_script("\u3072\u3089\u304c\u306a"), main_script("\u6771\u4eac")) << "kana and kanji";
  EXPECT_TRUE(in_other_script("Moscow", "\u041c\u043e\u0441\u043a\u0432\u0430 1980"));
  EXPECT_FALSE(in_other_script("DNA", "\u4e2d\u56fd\u7684 DNA")) << "copied";
  EXPECT_FALSE(in_other_script("1980", "\u041c\u043e\u0441\u043a\u0432\u0430"));
}

/// By multilingual-t5's span_f1, computed by hand: the second PER: a of an answer is one too many.
TEST(SpanF1OfNames, MatchesEachNameOnce) {
  const NamedSpan a{"PER", "a"};
  const NamedSpan b{"LOC", "b"};
  const SpanF1 score = span_f1({{a, b}, {b}}, {{a, a}, {}});
  EXPECT_DOUBLE_EQ(score.precision, 50);
  EXPECT_DOUBLE_EQ(score.recall, 100.0 / 3);
  EXPECT_DOUBLE_EQ(score.f1, 40);
  EXPECT_DOUBLE_EQ(span_f1({{b, a}}, {{a, b}}).f1, 100) << "in any order";
  EXPECT_DOUBLE_EQ(span_f1({{}}, {{}}).f1, 0);
}

TEST(SpanF1OfNames, NamesAreReadAndTagged) {
  const ReadNames read = read_names("PER: x y $$ nothing $$ LOC:z $$ DOG: w", {"LOC", "PER"});
  EXPECT_FALSE(read.readable);
  EXPECT_EQ(read.names, (std::vector<NamedSpan>{{"PER", "x y"}, {"LOC", "z"}}));
  EXPECT_TRUE(read_names("", {"PER"}).readable) << "no name";
  EXPECT_EQ(read_names("PER: x: y", {"PER"}).names, (std::vector<NamedSpan>{{"PER", "x: y"}})) << "a colon of its own";
  EXPECT_EQ(tags_of_names({"z", "x", "y", "z", "x"}, {{"PER", "xy"}, {"LOC", "z"}, {"LOC", "z"}, {"PER", "q"}}),
            (Words{"B-LOC", "B-PER", "I-PER", "B-LOC", "O"}));
  EXPECT_EQ(names_of_tags({"a", "b", "c"}, {"I-PER", "B-PER", "I-LOC"}).size(), 3u);
}

constexpr char kThreePairs[] =
    "language\tgold_label\tsentence1\tsentence2\nen\tneutral\ta dog\tthe fox\nen\tentailment\tx\ty\n"
    "en\tcontradiction\tz\tw\n";

TEST_F(TextTasks, LabelsAreWordsThatAreWritten) {
  write("xnli/XNLI-1.0/xnli.test.tsv", kThreePairs);
  const auto data = load("xnli", "test");
  EXPECT_EQ(data->dataset().head, HeadKind::kTextToText);
  EXPECT_EQ(source_of(*data, 0), "xnli: premise: a dog hypothesis: the fox");
  EXPECT_EQ(target_of(*data, 0), "1");
  EXPECT_EQ(data->dataset().examples[0].labels.back(), t5_tokenizer().special().end);
  EXPECT_EQ(data->dataset().examples[0].target_ids.front(), t5_tokenizer().special().pad);
  const Evaluation result = evaluate("xnli", *data, {"1", "entailment", " 0 "});
  EXPECT_NEAR(result.value, 100.0 / 3, 1e-9);
  EXPECT_EQ(result.unreadable, 1);
  EXPECT_EQ(result.prediction_content, "neutral\nunreadable\nentailment\n");
  EXPECT_EQ(scored_.metrics, result.metrics);
  EXPECT_TRUE(asked_.answers.empty());
  std::int64_t longest = 0;
  for (const char* word : {"0", "1", "2"}) longest = std::max(longest, std::ssize(answer_ids(word, t5_tokenizer())));
  EXPECT_EQ(asked_.maximum_length, longest) << "what is longer is none of them";
  evaluate("xnli", *data, {"1", "0", "2"}, ChoiceSearch::kConstrained);
  EXPECT_EQ(asked_.answers.size(), 3u);
  StubModel model = writer({"1", "no", "2"});
  const koine::Answers answers = data->answer(model, {});
  EXPECT_EQ(nlohmann::json::parse(answers.records[0]), (nlohmann::json{{"label", "neutral"}, {"text", "1"}}));
  EXPECT_EQ(nlohmann::json::parse(answers.records[1]), (nlohmann::json{{"label", nullptr}, {"text", "no"}}));
}

TEST_F(TextTasks, TheLikeliestWordIsTaken) {
  write("xnli/XNLI-1.0/xnli.test.tsv", kThreePairs);
  const auto data = load("xnli", "test");
  StubModel model;
  const std::vector<std::int32_t> entailment = answer_ids("0", t5_tokenizer());
  model.target_loss = [&](const StubSequence&, std::span<const std::int32_t> target) {
    return std::equal(target.begin(), target.end(), entailment.begin(), entailment.end()) ? 1.0 : 2.0;
  };
  EvaluationOptions options;
  options.choices = ChoiceSearch::kLikelihood;
  const Evaluation result = data->evaluate(model, options);
  expect_outcomes(result);
  EXPECT_EQ(result.prediction_content, "entailment\nentailment\nentailment\n");
  EXPECT_EQ(result.unreadable, 0);
  const nlohmann::json record = nlohmann::json::parse(data->answer(model, options).records[0]);
  EXPECT_NEAR(record["probabilities"]["entailment"].get<double>(), 1 / (1 + 2 * std::exp(-1)), 1e-6);
}

TEST_F(TextTasks, LikelihoodsAreTheirExamplesOwn) {
  // Neither the longest nor the shortest comes first, so that whatever they are sorted by moves one.
  write(
      "xnli/XNLI-1.0/xnli.test.tsv",
      "language\tgold_label\tsentence1\tsentence2\nen\tneutral\ta dog\tthe fox\nen\tneutral\tthe lazy dog\tthe quick brown "
      "fox\nen\tneutral\tx\ty\n");
  const auto data = load("xnli", "test");
  StubModel model;
  model.target_loss = [&](const StubSequence& sequence, std::span<const std::int32_t> target) {
    const std::vector<std::int32_t> likeliest = answer_ids(std::to_string(sequence.number), t5_tokenizer());
    return std::equal(target.begin(), target.end(), likeliest.begin(), likeliest.end()) ? 1.0 : 2.0;
  };
  EvaluationOptions options;
  options.choices = ChoiceSearch::kLikelihood;
  EXPECT_EQ(data->evaluate(model, options).prediction_content, "entailment\nneutral\ncontradiction\n");
}

TEST_F(TextTasks, AnswersInContextsAreRead) {
  write("squad/dev-v1.1.json", R"json({"data": [{"paragraphs": [{"context": "the fox (red) jumps", "qas": [
      {"id": "a", "question": "who?", "answers": [{"text": "fox (red)", "answer_start": 4}]},
      {"id": "b", "question": "what?", "answers": [{"text": "jumps", "answer_start": 14}]}]}]}]})json");
  const auto data = load("squad", "dev");
  EXPECT_EQ(source_of(*data, 0), "question: who ? context: the fox ( red ) jumps");
  EXPECT_EQ(target_of(*data, 0), "fox ( red )");
  const Evaluation result = evaluate("squad", *data, {"fox ( red )", ""});
  EXPECT_EQ(result.metrics.at("exact_match"), 50);
  EXPECT_EQ(result.unreadable, 1);
  EXPECT_EQ(result.other_script, 0);
  EXPECT_NE(result.prediction_content.find("\"a\": \"fox (red)\""), std::string::npos) << result.prediction_content;
  EXPECT_EQ(scored_.metrics, result.metrics);
  EXPECT_EQ(evaluate("squad", *data, {"\u043b\u0438\u0441\u0430", "jumps"}).other_script, 1);
  EXPECT_EQ(asked_.maximum_length, kAnswerLength);
  FeatureOptions cut;
  cut.max_target_length = 2;
  cut.max_seq_length = 12;
  const auto short_data = load("squad", "dev", cut);
  EXPECT_EQ(short_data->truncation().examples, 2);
  EXPECT_EQ(short_data->truncation().targets, 2);
  EXPECT_NE(describe(short_data->truncation()).find("; of 2 the answer too)"), std::string::npos);
  EXPECT_EQ(short_data->dataset().examples[0].labels.size(), 2u);
  EXPECT_EQ(short_data->dataset().examples[0].labels.back(), t5_tokenizer().special().end);
}

TEST(TextForms, WindowsOverlapByHalf) {
  const auto windows = [](std::int64_t pieces, std::int64_t room) {
    std::vector<std::pair<std::int64_t, std::int64_t>> result;
    for (const TextWindow& window : text_windows(pieces, room)) result.emplace_back(window.begin, window.length);
    return result;
  };
  using Windows = std::vector<std::pair<std::int64_t, std::int64_t>>;
  EXPECT_EQ(windows(10, 10), (Windows{{0, 10}}));
  EXPECT_EQ(windows(11, 10), (Windows{{0, 10}, {5, 6}}));
  EXPECT_EQ(windows(21, 10), (Windows{{0, 10}, {5, 10}, {10, 10}, {15, 6}}));
  EXPECT_EQ(windows(3, 1), (Windows{{0, 1}, {1, 1}, {2, 1}}));
}

/// A context of `words` words, in which "fox" comes last.
std::string long_context(int words) {
  std::string text;
  for (int i = 1; i < words; ++i) text += i % 2 == 0 ? "dog " : "box ";
  return text + "fox";
}

TEST_F(TextTasks, LongContextsAreReadInWindows) {
  const auto answers = [](int start) { return concatenate(R"("answers": [{"text": "fox", "answer_start": )", start, "}]"); };
  const auto file = [&](const std::string& version) {
    return R"({"data": [{"paragraphs": [{"context": ")" + long_context(40) + R"(", "qas": [
        {"id": "a", "question": "who?", )" +
           version + answers(156) + R"(}]}, {"context": "fox", "qas": [
        {"id": "b", "question": "who?", )" +
           version + answers(0) + R"(}]}]}]})";
  };
  write("squad/dev-v1.1.json", file(""));
  write("squad/train-v1.1.json", file(""));
  write("squad/dev-v2.0.json", file(R"("is_impossible": false, )"));
  FeatureOptions options;
  options.max_seq_length = std::ssize(answer_ids(question_text("who?", long_context(20)), t5_tokenizer()));
  const auto data = load("squad", "dev", options);
  const std::size_t windows = data->dataset().examples.size() - 1;
  ASSERT_GE(windows, 3u);
  EXPECT_EQ(data->truncation().examples, 0);
  EXPECT_EQ(data->truncation().total, 2);
  EXPECT_EQ(std::ssize(data->dataset().examples[0].ids), options.max_seq_length);
  for (std::size_t i = 0; i < windows; ++i) {
    EXPECT_TRUE(source_of(*data, i).starts_with("question: who ? context:")) << source_of(*data, i);
    EXPECT_EQ(source_of(*data, i).ends_with("fox"), i + 1 == windows) << i;
  }
  EXPECT_EQ(source_of(*data, windows), "question: who ? context: fox") << "short ones are as they were";
  EXPECT_EQ(load("squad", "train", options)->dataset().examples.size(), 2u) << "training reads what fits";

  const auto answers_of = [&](const std::string& task, const std::vector<std::pair<std::string, double>>& first,
                              const std::string& last) {
    const auto of_task = load(task, "dev", options);
    StubModel model;
    const auto written = [&, windows](const StubSequence& sequence) {
      if (sequence.number == windows) return std::pair<std::string, double>{"fox", -9};
      return sequence.number < first.size() ? first[sequence.number] : std::pair<std::string, double>{last, -5};
    };
    model.answer = [written](const StubSequence& sequence) { return answer_ids(written(sequence).first, t5_tokenizer()); };
    model.answer_score = [written](const StubSequence& sequence) { return written(sequence).second; };
    const Evaluation result = of_task->evaluate(model, {});
    EXPECT_EQ(result.examples, 2);
    const nlohmann::json predictions = nlohmann::json::parse(result.prediction_content);
    EXPECT_EQ(predictions["b"], "fox");
    EXPECT_EQ(of_task->answer(model, {}).records.size(), 2u);
    return predictions["a"].get<std::string>();
  };
  EXPECT_EQ(answers_of("squad", {{"dog", -0.5}, {"box", -0.25}}, "fox"), "box") << "the likeliest";
  EXPECT_EQ(answers_of("squad", {{"dog", -0.5}, {"box", -0.5}}, "fox"), "dog") << "of equals the first";
  EXPECT_EQ(answers_of("squad", {{"", -0.1}, {"", -0.1}}, "fox"), "fox") << "an empty text is no answer";
  EXPECT_EQ(answers_of("squad2", {{"unanswerable", -0.1}, {"fox", -3}}, "unanswerable"), "fox");
  EXPECT_EQ(answers_of("squad2", {}, "unanswerable"), "") << "all windows refuse";
  EXPECT_EQ(answers_of("squad", {{"unanswerable", -0.1}}, "fox"), "unanswerable") << "in SQuAD 1.1 a text as any other";
}

TEST_F(TextTasks, QuestionsMayHaveNoAnswer) {
  write("squad/dev-v2.0.json", R"({"data": [{"paragraphs": [{"context": "the fox jumps", "qas": [
      {"id": "a", "question": "who?", "is_impossible": false, "answers": [{"text": "fox", "answer_start": 4}]},
      {"id": "b", "question": "why?", "is_impossible": true, "answers": []}]}]}]})");
  const auto data = load("squad2", "dev");
  EXPECT_EQ(target_of(*data, 1), "unanswerable");
  const Evaluation right = evaluate("squad2", *data, {"fox", "unanswerable"});
  EXPECT_EQ(right.value, 100);
  EXPECT_EQ(scored_.metrics, right.metrics);
  const Evaluation wrong = evaluate("squad2", *data, {"unanswerable", ""});
  EXPECT_EQ(wrong.value, 0) << "what is not readable is no refusal";
  EXPECT_EQ(wrong.unreadable, 1);
}

TEST_F(TextTasks, ChoicesAreWrittenOrCompared) {
  write("COPA/val.jsonl",
        "{\"premise\": \"the fox jumps.\", \"choice1\": \"a dog\", \"choice2\": \"a  box\", \"question\": \"effect\", "
        "\"label\": 1}\n"
        "{\"premise\": \"p\", \"choice1\": \"q\", \"choice2\": \"r\", \"question\": \"cause\", \"label\": 0}\n");
  const auto data = load("copa", "dev");
  EXPECT_EQ(data->dataset().groups(), 2);
  EXPECT_EQ(source_of(*data, 0), "copa: the fox jumps. What was the effect? (a) a dog (b) a box");
  EXPECT_EQ(target_of(*data, 0), "a box");
  const Evaluation result = evaluate("copa", *data, {"a box", "the"});
  EXPECT_EQ(result.value, 50);
  EXPECT_EQ(result.unreadable, 1);
  EXPECT_EQ(result.prediction_content, "1\nunreadable\n");
  EXPECT_EQ(scored_.metrics, result.metrics);
  StubModel model;
  model.target_loss = [&](const StubSequence&, std::span<const std::int32_t> target) {
    const std::string text = text_of({target.begin(), target.end()});
    return text == "a dog" || text == "q" ? 1.0 : 2.0;
  };
  EvaluationOptions options;
  options.choices = ChoiceSearch::kLikelihood;
  EXPECT_EQ(data->evaluate(model, options).prediction_content, "0\n0\n");
  EXPECT_EQ(model.compared, (std::vector<std::size_t>{2, 2})) << "every source was read once";
  EXPECT_EQ(evaluate("copa", *data, {"a box", "q"}, ChoiceSearch::kConstrained).prediction_content, "1\n0\n");
  ASSERT_EQ(asked_.own_answers.size(), 2u);
  EXPECT_TRUE(asked_.answers.empty());
  // Examples come sorted by length, and each has its own.
  const auto longer = static_cast<std::size_t>(asked_.own_answers[0][0] == answer_ids("a dog", t5_tokenizer()) ? 0 : 1);
  for (const auto& [example, texts] :
       {std::pair<std::size_t, Words>{longer, {"a dog", "a box"}}, {1 - longer, {"q", "r"}}}) {
    for (std::size_t i = 0; i < 2; ++i) EXPECT_EQ(asked_.own_answers[example][i], answer_ids(texts[i], t5_tokenizer()));
  }
  EXPECT_EQ(find_task("copa").as_text().chance(), 50);
}

TEST_F(TextTasks, NamesAreAList) {
  write("panx/dev-en.tsv", "fox\tB-PER\nBOX\tI-PER\nover\tO\ndog\tB-LOC\n\nthe\tO\n");
  const auto data = load("panx", "dev");
  EXPECT_EQ(source_of(*data, 0), "tag: fox BOX over dog");
  EXPECT_EQ(target_of(*data, 0), "PER: fox BOX $$ LOC: dog");
  EXPECT_EQ(data->dataset().examples[1].labels, std::vector<std::int32_t>{t5_tokenizer().special().end}) << "no name";
  StubModel model = writer({"LOC: dog $$ PER: fox BOX", ""});
  const Evaluation right = data->evaluate(model, {});
  expect_outcomes(right);
  EXPECT_EQ(right.metrics.at("f1"), 100);
  EXPECT_EQ(right.metrics.at("tag_f1"), 100);
  EXPECT_EQ(right.prediction_content, "B-PER\nI-PER\nO\nB-LOC\n\nO\n\n");
  model = writer({"PER: fox", "the"});
  const Evaluation wrong = data->evaluate(model, {});
  EXPECT_EQ(wrong.metrics.at("f1"), 0);
  EXPECT_EQ(wrong.unreadable, 1);
  EXPECT_EQ(find_task("panx").as_text().metric(), "f1");
}

TEST_F(TextTasks, OtherTagsAreASequence) {
  write("udpos/dev-en.tsv", "the\tDET\nfox\tNOUN\n\njumps\tVERB\n");
  const auto data = load("udpos", "dev");
  EXPECT_EQ(source_of(*data, 0), "udpos: the fox");
  EXPECT_EQ(target_of(*data, 0), "DET NOUN");
  StubModel model = writer({"DET NOUN", "NOUN NOUN"});
  const Evaluation result = data->evaluate(model, {});
  expect_outcomes(result);
  EXPECT_EQ(result.unreadable, 1) << "two tags for a word";
  EXPECT_EQ(result.prediction_content, "DET\nNOUN\n\nO\n\n");
  EXPECT_NEAR(result.metrics.at("accuracy"), 200.0 / 3, 1e-9);
}

TEST_F(TextTasks, TextHasSpansTakenOut) {
  write("mlm/en.dev.txt", "the quick brown fox jumps over the lazy dog\n\nPACK MY BOX\n");
  FeatureOptions features;
  features.max_seq_length = 20;
  const auto data = load("mlm", "dev", features);
  EXPECT_EQ(data->dataset().head, HeadKind::kTextToText);
  ASSERT_EQ(data->dataset().groups(), 2) << "no line of nothing";
  const SpanCorruption settings = span_corruption_of(t5_tokenizer(), 0.15, 1);
  ASSERT_EQ(settings.sentinels.size(), 10u);
  EXPECT_EQ(t5_tokenizer().piece(settings.sentinels[1]), "<extra_id_1>");
  EXPECT_EQ(text_of(text_before(data->dataset().examples[1], settings)), "PACK MY BOX");
  EXPECT_LE(data->dataset().examples[0].ids.size(), 20u);
  StubModel model;  // 2 for every counted label
  EXPECT_EQ(data->evaluate(model, {}).value, -2);
  expect_user_error([&] { find_task("mlm").as_text().load(folder_.path(), "dev", "en", small_tokenizer(), features); },
                    {"<extra_id_0>", "span corruption"});
}

TEST_F(TextTasks, EmptyTargetsAreNamed) {
  Dataset dataset;
  dataset.name = "own train en";
  TextExamples examples(dataset, t5_tokenizer(), 32, 8);
  examples.add("a", "", /*may_be_empty=*/true);
  expect_user_error([&] { examples.add("a", " "); }, {"own train en", "example 1", "empty target"});
}

TEST(TextForms, AreOfModelsWithADecoder) {
  ModelConfig config;
  EXPECT_EQ(&task_for(config, find_task("xnli")), &find_task("xnli"));
  config.encoder_decoder.decoder_layers = 2;
  config.pad_token_id = 0;
  EXPECT_EQ(&task_for(config, find_task("xnli")), &find_task("xnli").as_text());
  EXPECT_EQ(&task_for(config, find_task("tatoeba")), &find_task("tatoeba")) << "by the encoder";
  config.pad_token_id = 3;
  expect_user_error([&] { task_for(config, find_task("xnli")); }, {"decoder_start_token_id", "3"});
  for (const Task* task : all_tasks()) {
    const Task& form = task->as_text();
    EXPECT_EQ(form.name(), task->name());
    EXPECT_EQ(form.chance(), task->chance());
    if (!task->train_task().empty()) EXPECT_EQ(find_task(task->train_task()).as_text().head(), form.head()) << task->name();
  }
}

}  // namespace
}  // namespace koine
