// Task files: what [[task]] may say and what is refused, tasks so described against the rows of the table on real data, and
// the files of recipes/tasks/ on small files in the data sets' layouts.

#include "tasks/experiment/task_file.h"

#include <gtest/gtest.h>

#include "engine/files/text_file.h"
#include "stub_model.h"
#include "tasks/experiment/experiment.h"
#include "tasks/experiment/plan.h"

namespace koine {
namespace {

/// Adds the tasks of a text, as if it were "my.toml".
void add(const std::string& text) {
  TomlSection root = TomlSection::parse(text, "my.toml");
  add_tasks(root);
  root.finish();
}

void expect_message(const std::function<void()>& act, const std::vector<std::string>& parts) {
  try {
    act();
    ADD_FAILURE() << "accepted, without " << parts.front();
  } catch (const UserError& error) {
    const std::string message = error.what();
    for (const std::string& part : parts) EXPECT_NE(message.find(part), std::string::npos) << message << "\nlacks " << part;
  }
}

void expect_refused_task(const std::string& text, const std::vector<std::string>& parts) {
  expect_message([&] { add(text); }, parts);
}

/// Answers that depend on nothing but the example's number.
StubModel some_answers(const Dataset& dataset) {
  StubModel model;
  model.classes = dataset.classes;
  model.hidden = 8;
  model.logits = [classes = dataset.classes, head = dataset.head](const StubSequence& sequence, float* logits) {
    const bool per_token = head == HeadKind::kToken || head == HeadKind::kSpan;
    const std::size_t rows = per_token ? sequence.ids.size() : 1;
    for (std::size_t i = 0; i < rows * static_cast<std::size_t>(classes); ++i)
      logits[i] = static_cast<float>((sequence.number * 7 + i * 13) % 11);
  };
  model.vector = [](const StubSequence& sequence, float* vector) {
    for (std::size_t i = 0; i < 8; ++i) vector[i] = static_cast<float>(sequence.ids[i % sequence.ids.size()] % 97) - 48;
  };
  return model;
}

/// The same languages, and in each the same examples, figures and prediction file.
void expect_same(const Task& mine, const Task& built_in, const std::filesystem::path& data, const Tokenizer& tokenizer) {
  EXPECT_EQ(mine.head(), built_in.head());
  EXPECT_EQ(mine.metric(), built_in.metric());
  EXPECT_EQ(mine.max_seq_length(), built_in.max_seq_length());
  EXPECT_EQ(mine.splits(), built_in.splits());
  for (const std::string& split : built_in.splits()) {
    const std::vector<std::string> languages = built_in.available_languages(data, split);
    EXPECT_EQ(mine.available_languages(data, split), languages) << split;
    for (const std::string& language : languages) {
      const FeatureOptions options{.max_examples = 300};
      const auto one = mine.load(data, split, language, tokenizer, options);
      const auto other = built_in.load(data, split, language, tokenizer, options);
      ASSERT_EQ(one->dataset().examples.size(), other->dataset().examples.size()) << split << " " << language;
      EXPECT_EQ(one->dataset().classes, other->dataset().classes);
      EXPECT_EQ(one->dataset().group, other->dataset().group);
      EXPECT_EQ(one->left_out().count, other->left_out().count);
      for (std::size_t i = 0; i < one->dataset().examples.size(); ++i) {
        EXPECT_EQ(one->dataset().examples[i].ids, other->dataset().examples[i].ids) << split << " " << language << " " << i;
        EXPECT_EQ(one->dataset().examples[i].labels, other->dataset().examples[i].labels);
      }
      StubModel model = some_answers(one->dataset());
      const Evaluation result = one->evaluate(model, {});
      const Evaluation expected = other->evaluate(model, {});
      EXPECT_EQ(result.metrics, expected.metrics) << split << " " << language;
      EXPECT_EQ(result.prediction_content, expected.prediction_content) << split << " " << language;
      EXPECT_GT(result.examples, 0);
      if (!result.outcomes.metric.empty()) {
        EXPECT_NEAR(result.outcomes.figure(), result.value, 1e-4) << mine.name();
      }
    }
  }
}

/// The table's own simple tasks as a task file says them.
constexpr char kTableAsFile[] = R"(
[[task]]
name = "file_mnli"
family = "classification"
train = "mnli/multinli_1.0/multinli_1.0_train.jsonl"
dev = ["mnli/multinli_1.0/multinli_1.0_dev_matched.jsonl", "mnli/glue/MNLI/dev_matched.tsv"]
first = ["sentence1", "premise"]
second = ["sentence2", "hypothesis", "hypo"]
label = ["gold_label", "label"]
labels = ["contradiction", "entailment", "neutral"]
label_aliases = { contradictory = "contradiction" }
skipped_label = "-"

[[task]]
name = "file_xnli"
family = "classification"
train_task = "file_mnli"
dev = "xnli/XNLI-1.0/xnli.{split}.tsv"
test = "xnli/XNLI-1.0/xnli.{split}.tsv"
languages = ["en", "ar", "bg", "de", "el", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh"]
language_field = "language"
first = "sentence1"
second = "sentence2"
label = "gold_label"
labels = ["contradiction", "entailment", "neutral"]
per_device_train_batch_size = 4
gradient_accumulation_steps = 8
num_train_epochs = 2

[[task]]
name = "file_pawsx"
family = "classification"
train = ["pawsx/x-final/{language}/train.tsv", "pawsx/x-final/{language}/translated_train.tsv"]
dev = "pawsx/x-final/{language}/{split}_2k.tsv"
test = "pawsx/x-final/{language}/{split}_2k.tsv"
languages = ["en", "de", "es", "fr", "ja", "ko", "zh"]
first = "sentence1"
second = "sentence2"
labels = ["0", "1"]

[[task]]
name = "file_udpos"
family = "tagging"
train = "udpos/ud-treebanks-v2.5/UD_*/{language}_*-ud-{split}.conllu"
dev = "udpos/ud-treebanks-v2.5/UD_*/{language}_*-ud-{split}.conllu"
test = "udpos/ud-treebanks-v2.5/UD_*/{language}_*-ud-{split}.conllu"

[[task]]
name = "file_panx"
family = "tagging"
format = "wikiann"
train = "panx_dataset/{language}-{split}"
dev = "panx_dataset/{language}-{split}"
test = "panx_dataset/{language}-{split}"
labels = ["B-LOC", "B-ORG", "B-PER", "I-LOC", "I-ORG", "I-PER", "O"]

[[task]]
name = "file_commonsenseqa"
family = "choice"
train = "commonsenseqa/{split}_rand_split.jsonl"
dev = "commonsenseqa/{split}_rand_split.jsonl"
prompt = "question.stem"
choices = ["question.choices.0.text", "question.choices.1.text", "question.choices.2.text", "question.choices.3.text", "question.choices.4.text"]
label = "answerKey"
answers = ["A", "B", "C", "D", "E"]

[[task]]
name = "file_xquad"
family = "span"
train_task = "squad"
test = "xquad/xquad.{language}.json"
languages = ["en", "es", "de", "el", "ru", "tr", "ar", "vi", "th", "zh", "hi"]

[[task]]
name = "file_tatoeba"
family = "retrieval"
test = "tatoeba/v1/tatoeba.{language3}-eng.{language3}"
english = "tatoeba.{language3}-eng.eng"
)";

TEST(TaskFileRealData, TheTablesSimpleTasksStandInATaskFile) {
  if (real_data().empty()) GTEST_SKIP() << "KOINE_DATA is not set: no real data to read";
  const TemporaryFolder folder;
  for (const char* name : {"mnli", "xnli", "pawsx", "udpos", "commonsenseqa", "xquad", "squad"})
    std::filesystem::create_directory_symlink(real_data() / name, folder / name);
  std::filesystem::create_directory_symlink(real_data() / "panx_like", folder / "panx_dataset");
  for (const char* language : {"tel", "jav"}) {
    const std::string name = std::string("tatoeba/v1/tatoeba.") + language + "-eng.";
    for (const std::string& side : {std::string(language), std::string("eng")})
      write_text(folder / (name + side), read_file(real_data() / (name + side)));
  }
  add(kTableAsFile);
  for (const char* name : {"mnli", "xnli", "pawsx", "udpos", "panx", "commonsenseqa", "xquad", "tatoeba"}) {
    SCOPED_TRACE(name);
    expect_same(find_task(std::string("file_") + name), find_task(name), folder.path(), real_tokenizer());
  }
  EXPECT_EQ(find_task("file_xnli").languages(), find_task("xnli").languages());
  EXPECT_EQ(find_task("file_xnli").row().target->epochs, find_task("xnli").row().target->epochs);
}

class TaskFile : public testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) { write_text(folder_ / name, text); }
  std::unique_ptr<TaskData> load(const std::string& task, const std::string& split, const std::string& language) {
    return find_task(task).load(folder_.path(), split, language, small_tokenizer(), {});
  }
  TemporaryFolder folder_;
};

std::vector<std::int32_t> pair(const std::string& first, const std::string& second, std::int64_t length) {
  return small_tokenizer().special().frame_pair(small_tokenizer().encode(first), small_tokenizer().encode(second), length);
}
std::vector<std::int32_t> single(const std::string& text, std::int64_t length) {
  return small_tokenizer().special().frame_single(small_tokenizer().encode(text), length);
}

TEST_F(TaskFile, ClassificationInEveryFormat) {
  add(R"(
[[task]]
name = "mood"
family = "classification"
train = ["mood/train.jsonl"]
dev = "mood/dev.csv"
test = "mood/{language}/test.tsv"
first = "text"
label = "mood"
labels = ["0", "1", "2"]
label_aliases = { good = "2" }
skipped_label = "?"
metric = "macro_f1"
max_seq_length = 12
languages = ["en", "fi"]
[[task]]
name = "bare"
family = "classification"
format = "tsv"
columns = ["id", "a", "b", "label"]
test = "bare-{language}.txt"
parallel = true
first = "a"
second = "b"
labels = ["no", "yes"]
[[task]]
name = "quoted"
family = "classification"
format = "tsv-quoted"
test = "quoted.tsv"
first = "text"
labels = ["no", "yes"]
)");
  EXPECT_TRUE(find_task("bare").row().parallel && !find_task("mood").row().parallel);
  write("mood/train.jsonl", "{\"text\": \"a dog\", \"mood\": 2}\n{\"text\": \"the fox\", \"mood\": \"0\"}\n");
  write("mood/dev.csv", "id,mood,text\n1,good,\"a dog, he said\"\n2,?,the fox\n3,1,\"two\ntowns\"\n");
  write("mood/fi/test.tsv", "text\tmood\na \"dog\"\t1\nthe fox\t2\n");
  write("bare-en.txt", "7\ta dog\tthe fox\tyes\n8\ttwo\ttowns\tno\n");
  write("quoted.tsv", "text\tlabel\n\"he said \"\"yes\"\"\"\tyes\n");
  const auto train = load("mood", "train", "en");
  EXPECT_EQ(train->dataset().examples[0].ids, single("a dog", 12));
  EXPECT_EQ(train->dataset().examples[0].labels, (std::vector<std::int32_t>{2}));
  EXPECT_EQ(train->dataset().examples[1].labels, (std::vector<std::int32_t>{0}));
  const auto dev = load("mood", "dev", "en");
  ASSERT_EQ(dev->dataset().examples.size(), 2u);
  EXPECT_EQ(dev->left_out().count, 1);
  EXPECT_EQ(dev->dataset().examples[0].ids, single("a dog, he said", 12));
  EXPECT_EQ(dev->dataset().examples[1].ids, single("two\ntowns", 12));
  EXPECT_EQ(find_task("mood").available_languages(folder_.path(), "test"), (std::vector<std::string>{"fi"}));
  const auto test = load("mood", "test", "fi");
  EXPECT_EQ(test->dataset().examples[0].ids, single("a \"dog\"", 12));
  StubModel model;
  model.classes = 3;
  model.logits = [](const StubSequence&, float* logits) { logits[2] = 1; };
  const Evaluation result = test->evaluate(model, {});
  // f1_score([1, 2], [2, 2], average="macro"): class 1 has 0, class 2 has 2/3.
  EXPECT_DOUBLE_EQ(result.value, 100.0 / 3);
  EXPECT_EQ(result.metric, "macro_f1");
  write("p/" + result.prediction_file, result.prediction_content);
  EXPECT_EQ(find_task("mood").score(folder_ / "p", folder_.path(), "fi").metrics, result.metrics);
  EXPECT_EQ(find_task("mood").score(folder_ / "p", folder_ / "mood/fi/test.tsv", "fi").metrics, result.metrics);
  EXPECT_EQ(load("bare", "test", "en")->dataset().examples[1].ids, pair("two", "towns", 256));
  EXPECT_EQ(load("bare", "test", "en")->dataset().examples[0].labels, (std::vector<std::int32_t>{1}));
  EXPECT_EQ(load("quoted", "test", "en")->dataset().examples[0].ids, single("he said \"yes\"", 256));
}

TEST_F(TaskFile, TaggingColumnsAndLanguageCodes) {
  add(R"(
[[task]]
name = "names"
family = "tagging"
format = "conll"
train = "names/{language}.train"
test = "names/{language}.test"
languages = ["en", "sw"]
language_codes = { en = "eng", sw = "swa" }
labels = ["O", "B-PER", "I-PER"]
[[task]]
name = "second_column"
family = "tagging"
test = "pos.tsv"
tag_column = 2
labels = ["NOUN", "VERB"]
)");
  write("names/eng.train", "-DOCSTART- -X- O O\n\nthe DT I-NP O\nfox\tNN  B-NP B-PER\n\n\ndog NN O O\n");
  write("names/swa.test", "box B-PER\njugs I-PER\n");
  write("pos.tsv", "two words\tNOUN\tx\nruns\tVERB\ty\n");
  const auto train = load("names", "train", "en");
  ASSERT_EQ(train->dataset().examples.size(), 2u);
  EXPECT_EQ(find_task("names").available_languages(folder_.path(), "test"), (std::vector<std::string>{"sw"}));
  const auto test = load("names", "test", "sw");
  StubModel model;
  model.classes = 3;
  model.logits = [&](const StubSequence& sequence, float* logits) {
    for (std::size_t i = 0; i < sequence.labels.size(); ++i)
      if (sequence.labels[i] >= 0) logits[i * 3 + static_cast<std::size_t>(sequence.labels[i])] = 1;
  };
  const Evaluation result = test->evaluate(model, {});
  expect_outcomes(result);
  EXPECT_EQ(result.value, 100);
  EXPECT_EQ(result.prediction_file, "names/test-sw.tsv");
  EXPECT_EQ(result.prediction_content, "B-PER\nI-PER\n\n");
  write("names/test-sw.tsv", result.prediction_content);
  EXPECT_EQ(find_task("names").score(folder_ / "names/test-sw.tsv", folder_ / "names/swa.test", "sw").value, 100);
  std::vector<std::string> problems;
  for (const Task::FileStatus& line : find_task("names").check_files(folder_.path()))
    problems.push_back(line.split + " " + line.language + " " + line.problem + " " + std::to_string(line.examples));
  EXPECT_EQ(problems, (std::vector<std::string>{"train en  2", "train sw missing 0", "test en missing 0", "test sw  1"}));
  EXPECT_EQ(load("second_column", "test", "en")->dataset().examples.size(), 1u);
  for (const auto& [format, text] : std::map<std::string, std::string>{{"conll", "fox PERSON\nruns none\n"},
                                                                       {"xtreme", "fox\tPERSON\nruns\tnone\n"},
                                                                       {"wikiann", "en:fox\tPERSON\nen:runs\tnone\n"}}) {
    add("[[task]]\nname = \"alias_" + format + "\"\nfamily = \"tagging\"\nformat = \"" + format + "\"\ntest = \"" + format +
        ".txt\"\nlabels = [\"O\", \"B-PER\"]\nlabel_aliases = { none = \"O\", PERSON = \"B-PER\" }\n");
    write(format + ".txt", text);
    std::vector<std::int32_t> labels;  // of the words' first pieces
    const auto aliased = load("alias_" + format, "test", "en");
    for (const std::int32_t label : aliased->dataset().examples.at(0).labels) {
      if (label >= 0) labels.push_back(label);
    }
    EXPECT_EQ(labels, (std::vector<std::int32_t>{1, 0})) << format;
  }
  write("conll.txt", "fox ORG\n");
  expect_message([&] { load("alias_conll", "test", "en"); }, {"conll.txt:1", "unknown label \"ORG\"", "O, B-PER"});
  write("pos.tsv", "two words\tNOUN\tx\nruns\n");
  expect_message([&] { load("second_column", "test", "en"); }, {"pos.tsv:2", "one column"});
  write("pos.tsv", "runs\tADJ\tx\n");
  expect_message([&] { load("second_column", "test", "en"); }, {"pos.tsv:1", "\"ADJ\"", "NOUN, VERB"});
}

TEST_F(TaskFile, ChoiceSpanAndRetrieval) {
  add(R"(
[[task]]
name = "reading"
family = "choice"
test = "reading.jsonl"
prompt = ["passage", "question"]
choices = ["answers.0", "answers.1"]
answers = ["1", "2"]
[[task]]
name = "answers"
family = "span"
metric = "squad2"
test = "answers-{language}.json"
[[task]]
name = "sentences"
family = "retrieval"
test = "flores/{language}.devtest"
english = "eng_Latn.devtest"
languages = ["fin_Latn"]
)");
  write("reading.jsonl", R"({"passage": "a dog", "question": "who", "answers": ["fox", "dog"], "label": 2})");
  const auto reading = load("reading", "test", "en");
  ASSERT_EQ(reading->dataset().examples.size(), 2u);
  EXPECT_EQ(reading->dataset().group, 2);
  EXPECT_EQ(reading->dataset().examples[1].ids, pair("a dog who", "dog", 256));
  EXPECT_EQ(reading->dataset().examples[0].labels, (std::vector<std::int32_t>{1}));
  add(R"(
[[task]]
name = "several"
family = "choice"
test = "several.csv"
languages = ["en", "sw"]
language_field = "tongue"
prompt = "p"
choices = ["a", "b"]
)");
  write("several.csv", "tongue,p,a,b,label\nsw,dog,x,y,0\nfi,fox,x,y,1\n");
  EXPECT_EQ(find_task("several").available_languages(folder_.path(), "test"), (std::vector<std::string>{"sw", "fi"}));
  EXPECT_EQ(load("several", "test", "fi")->dataset().examples[0].ids, pair("fox", "x", 256));
  write("reading.jsonl", R"({"passage": "a dog", "question": "who", "answers": ["fox"], "label": 2})");
  expect_message([&] { load("reading", "test", "en"); }, {"reading.jsonl:1", "\"answers.1\" is missing"});
  write("answers-fi.json", R"({"data": [{"paragraphs": [{"context": "the old dog", "qas": [
      {"id": "a", "question": "who", "answers": [{"text": "dog", "answer_start": 8}]},
      {"id": "b", "question": "where", "is_impossible": true, "answers": []}]}]}]})");
  EXPECT_EQ(load("answers", "test", "fi")->dataset().examples.size(), 2u);
  EXPECT_EQ(find_task("answers").max_seq_length(), 384);
  write("flores/fin_Latn.devtest", "box\njugs\n");
  write("flores/eng_Latn.devtest", "the dog\na fox\n");
  EXPECT_EQ(load("sentences", "test", "fin_Latn")->dataset().examples.size(), 4u);
  EXPECT_EQ(find_task("sentences").train_task(), "");
}

// What a task file says of a training takes the place of the defaults, the keys of an arm or a target that of both.
TEST_F(TaskFile, NumbersOfATrainingAreDefaults) {
  add(R"(
[[task]]
name = "own_numbers"
family = "classification"
train = "x.tsv"
labels = ["a", "b"]
learning_rate = 3e-5
per_device_train_batch_size = 2
[[task]]
name = "no_numbers"
family = "classification"
train = "x.tsv"
labels = ["a", "b"]
)");
  const std::string model = "[model]\ndirectory = \"m\"\n";
  const Experiment read = parse_experiment(model + R"([[intermediate]]
tasks = ["own_numbers"]
[[intermediate]]
tasks = ["own_numbers", "mlm"]
[[intermediate]]
tasks = ["own_numbers", "squad"]
[[target]]
task = "own_numbers"
[[target]]
name = "again"
task = "own_numbers"
learning_rate = 7e-5
[[target]]
task = "no_numbers"
)",
                                           "dir/file.toml", "data");
  const TrainingSettings& alone = read.intermediate[0].settings;
  EXPECT_EQ(alone.learning_rate, 3e-5);
  EXPECT_EQ(alone.per_device_train_batch_size, 2);
  EXPECT_EQ(alone.gradient_accumulation_steps, 8);
  EXPECT_EQ(read.intermediate[1].settings.learning_rate, 5e-6) << "where MLM is mixed in";
  EXPECT_EQ(read.intermediate[1].settings.per_device_train_batch_size, 2);
  EXPECT_EQ(read.intermediate[2].settings.learning_rate, TrainingSettings().learning_rate) << "several tasks";
  EXPECT_EQ(read.targets[0].settings.learning_rate, 3e-5);
  EXPECT_EQ(read.targets[1].settings.learning_rate, 7e-5);
  EXPECT_EQ(read.targets[1].settings.per_device_train_batch_size, 2);
  EXPECT_EQ(read.targets[2].settings.learning_rate, TrainingSettings().learning_rate);
  std::map<std::string, std::string> from;
  for (const NumberOrigin& number : number_origins(read)) from[number.training + " " + number.key] = number.origin;
  EXPECT_EQ(from.at("target own_numbers learning_rate"), "my.toml:7");
  EXPECT_EQ(from.at("target own_numbers per_device_train_batch_size"), "my.toml:8");
  EXPECT_EQ(from.at("target own_numbers num_train_epochs"), "default");
  EXPECT_EQ(from.at("target again learning_rate"), "dir/file.toml:14");
  EXPECT_EQ(from.at("target no_numbers learning_rate"), "default");
  EXPECT_EQ(from.at("intermediate own_numbers learning_rate"), "my.toml:7");
  EXPECT_EQ(from.at("intermediate own_numbers+mlm learning_rate"), "default");
}

const std::string kGood =
    "[[task]]\nname = \"refused\"\nfamily = \"classification\"\ntest = \"x.tsv\"\nlabels = [\"a\", \"b\"]\n";

TEST_F(TaskFile, WhatIsWrongIsNamed) {
  expect_refused_task("[[task]]\nname = \"x\"\n", {"my.toml:1: task[1].family is missing", "classification, tagging"});
  expect_refused_task("[[task]]\nname = \"x\"\nfamily = \"tager\"\n",
                      {"my.toml:3: task[1].family is \"tager\"", "\"tagging\""});
  expect_refused_task(kGood + "frist = \"text\"\n", {"my.toml:6: unknown key \"frist\" in [task[1]]", "\"first\""});
  expect_refused_task(kGood + "word_column = 1\n", {"my.toml:6: unknown key \"word_column\""});  // tagging's
  expect_refused_task("[[task]]\nfamily = \"span\"\ntest = \"x.json\"\n", {"my.toml:1: task[1].name is missing"});
  expect_refused_task("[[task]]\nname = \"a/b\"\nfamily = \"span\"\ntest = \"x.json\"\n",
                      {"my.toml:2: task[1].name", "names a folder"});
  expect_refused_task("[[task]]\nname = \"xnli\"\nfamily = \"span\"\ntest = \"x.json\"\n",
                      {"my.toml:2: task[1].name", "\"xnli\" is the name of a built-in task"});
  expect_refused_task(kGood + kGood, {"my.toml:7: task[2].name", "two [[task]] are called \"refused\""});
  expect_refused_task("[[task]]\nname = \"x\"\nfamily = \"span\"\n", {"task[1].test is missing", "train, dev and test"});
  expect_refused_task("[[task]]\nname = \"x\"\nfamily = \"span\"\ntest = \"/x.json\"\n",
                      {"my.toml:4: task[1].test", "below the data folder"});
  expect_refused_task("[[task]]\nname = \"x\"\nfamily = \"tagging\"\ntest = \"x.txt\"\nlabels = [\"a\", \"b\"]\n",
                      {"my.toml:4: task[1].test", "\"x.txt\" does not say", "conll, tsv"});
  expect_refused_task(kGood + "format = \"conll\"\n", {"my.toml:6: task[1].format is \"conll\"", "\"tsv\", \"tsv-quoted\""});
  expect_refused_task(kGood + "metric = \"f2\"\n",
                      {"my.toml:6: task[1].metric", "\"f2\"", "accuracy, accuracy_and_f1, macro_f1"});
  expect_refused_task(kGood + "label_aliases = { x = \"c\" }\n",
                      {"my.toml:6: task[1].label_aliases", "unknown label \"c\"", "a, b"});
  expect_refused_task(
      "[[task]]\nname = \"x\"\nfamily = \"tagging\"\ntest = \"x.tsv\"\nlabels = [\"a\", \"b\"]\n"
      "label_aliases = { x = \"c\" }\n",
      {"my.toml:6: task[1].label_aliases", "unknown label \"c\"", "a, b"});
  expect_refused_task("[[task]]\nname = \"x\"\nfamily = \"tagging\"\ntest = \"x.conllu\"\nlabel_aliases = { x = \"X\" }\n",
                      {"my.toml:5: unknown key \"label_aliases\""});
  expect_refused_task(kGood + "per_device_train_batch_size = 0\n",
                      {"my.toml:6: task[1].per_device_train_batch_size is 0", "between 1 and"});
  expect_refused_task(kGood + "learning_rate = 0.0\n", {"my.toml:6: task[1].learning_rate is 0"});
  expect_refused_task(kGood + "learning_rate = -1e-5\n", {"my.toml:6: task[1].learning_rate is -1e-05", "between 0 and"});
  expect_refused_task(kGood + "num_train_epochs = -1\n", {"my.toml:6: task[1].num_train_epochs is -1"});
  expect_refused_task(kGood + "columns = [\"u\", \"v\"]\n", {"task[1].first is none of columns: u, v"});
  expect_refused_task(kGood + "language_field = \"l\"\n", {"my.toml:6: task[1].language_field", "languages names one"});
  expect_refused_task("[[task]]\nname = \"x\"\nfamily = \"tagging\"\ntrain = \"x.conllu\"\ntest = \"x.tsv\"\n",
                      {"my.toml:5: task[1].test", "written alike"});
  expect_refused_task(kGood + "language_codes = { fi = \"fin\" }\n",
                      {"my.toml:6: task[1].language_codes", "\"fi\" is none of languages"});
  expect_refused_task("[[task]]\nname = \"x\"\nfamily = \"classification\"\ntest = \"x.tsv\"\nlabels = [\"a\"]\n",
                      {"my.toml:5: task[1].labels", "two labels or more"});
  expect_refused_task("[[task]]\nname = \"x\"\nfamily = \"classification\"\ntest = \"x.tsv\"\nlabels = [\"a\", \"a\"]\n",
                      {"my.toml:5: task[1].labels: \"a\" stands twice"});
  expect_refused_task(
      "[[task]]\nname = \"x\"\nfamily = \"choice\"\ntest = \"x.tsv\"\nprompt = \"p\"\nchoices = [\"a\", \"b\"]\nanswers = "
      "[\"A\"]\n",
      {"my.toml:7: task[1].answers has 1 members for 2 choices"});
  const std::string trained =
      "[[task]]\nname = \"refused_1\"\nfamily = \"classification\"\ntest = \"x.tsv\"\nlabels = [\"a\", \"b\"]\ntrain_task "
      "= ";
  expect_refused_task(trained + "\"mnlli\"\n", {"my.toml:6: task[1].train_task", "unknown task \"mnlli\"", "\"mnli\""});
  std::string other = trained;
  expect_refused_task(other.replace(other.find("refused_1"), 9, "refused_2") + "\"mnli\"\n",
                      {"my.toml:6: task[1].train_task", "are a, b, those of mnli contradiction"});
  other = trained;
  expect_refused_task(other.replace(other.find("refused_1"), 9, "refused_3") + "\"squad\"\n",
                      {"my.toml:6: task[1].train_task: squad is of another family"});
  expect_message([&] { add_task_file(folder_ / "none.toml"); }, {"none.toml"});
  write("empty.toml", "x = 1\n");
  expect_message([&] { add_task_file(folder_ / "empty.toml"); }, {"empty.toml: no [[task]]"});
}

TEST_F(TaskFile, WhatIsWrongInItsDataIsNamed) {
  add("[[task]]\nname = \"data_wrong\"\nfamily = \"classification\"\ntest = \"w/{language}.tsv\"\nlabels = [\"a\", "
      "\"b\"]\n");
  const Task& task = find_task("data_wrong");
  expect_message([&] { resolve_languages(task, {}, folder_.path(), "test", "languages"); },
                 {"my.toml:4: task[1].test: no file fits \"w/{language}.tsv\" below " + folder_.path().string()});
  expect_message([&] { load("data_wrong", "test", "fi"); }, {"my.toml:4: task[1].test", "w/fi.tsv"});
  write("w/fi.tsv", "text\tlabel\nx\ta\ny\tc\n");
  expect_message([&] { load("data_wrong", "test", "fi"); }, {"w/fi.tsv:3: unknown label \"c\"", "a, b"});
  write("w/fi.tsv", "sentence\tlabel\nx\ta\n");
  expect_message([&] { load("data_wrong", "test", "fi"); },
                 {"w/fi.tsv:1", "text and label between tabs", "there is no text"});
  write("w/fi.tsv", "text\tlabel\nx\n");
  expect_message([&] { load("data_wrong", "test", "fi"); }, {"w/fi.tsv:2: 1 columns, the header has 2"});
}

TEST_F(TaskFile, StandsInAnExperiment) {
  write("own.toml", "[[task]]\nname = \"own_a\"\nfamily = \"span\"\ntrain = \"a.json\"\ntest = \"{language}.json\"\n");
  const std::string text = R"(
task_files = ["own.toml"]
[model]
directory = "m"
[[intermediate]]
tasks = ["own_b"]
[[target]]
task = "own_a"
[[target]]
task = "own_b"
[[task]]
name = "own_b"
family = "classification"
train = "b.tsv"
test = "b-{language}.tsv"
labels = ["x", "y"]   # a comment
num_train_epochs = 7
)";
  const Experiment experiment = parse_experiment(text, folder_ / "file.toml", "data");
  EXPECT_EQ(experiment.targets[0].train_task, "own_a");
  EXPECT_EQ(experiment.targets[1].settings.num_train_epochs, 7);
  EXPECT_EQ(experiment.intermediate[0].settings.num_train_epochs, 7);
  // Written out, it says its tasks itself and reads back to the same.
  const std::string written = experiment_toml(experiment);
  EXPECT_NE(written.find("name = 'own_a'"), std::string::npos) << written;
  EXPECT_EQ(experiment_toml(parse_experiment(written, folder_ / "config.toml", "data")), written);
  // The same name for something else is another task.
  expect_refused_task("[[task]]\nname = \"own_b\"\nfamily = \"span\"\ntest = \"x.json\"\n",
                      {"another task is called \"own_b\""});
}

/// Small files as the data sets' own repositories lay them out.
TEST_F(TaskFile, TheFilesOfRecipesReadTheirLayouts) {
  for (const char* name : {"sib200", "taxi1500", "belebele", "masakhaner", "americasnli", "afrixnli"})
    add_task_file(std::filesystem::path(KOINE_SOURCE_DIR) / "recipes/tasks" / (std::string(name) + ".toml"));
  const std::string sib = "sib-200/data/annotated/";
  write(sib + "eng_Latn/train.tsv",
        "index_id\tcategory\ttext\n3\tscience/technology\tthe fox\n9\ttravel\t\"\"\"two\"\" towns\"\n");
  write(sib + "fin_Latn/test.tsv", "index_id\tcategory\ttext\n5\tgeography\tbox\n");
  EXPECT_EQ(load("sib200", "train", "en")->dataset().examples[1].ids, single("\"two\" towns", 164));
  EXPECT_EQ(find_task("sib200").available_languages(folder_.path(), "test"), (std::vector<std::string>{"fin_Latn"}));
  EXPECT_EQ(load("sib200", "test", "fin_Latn")->dataset().examples[0].labels, (std::vector<std::int32_t>{6}));
  write("taxi1500/860_eng_train.tsv", "55002024\tRecommendation\tthe \"fox\n");
  write("taxi1500/zga_test.tsv", "60003012\tSin\tbox\n");
  EXPECT_EQ(load("taxi1500", "train", "en")->dataset().examples[0].ids, single("the \"fox", 100));
  EXPECT_EQ(load("taxi1500", "test", "zga")->dataset().examples[0].labels, (std::vector<std::int32_t>{4}));
  write(
      "Belebele/fin_Latn.jsonl",
      R"({"link": "l", "question_number": 1, "flores_passage": "a dog", "question": "who", "mc_answer1": "a", "mc_answer2": "b", )"
      R"("mc_answer3": "c", "mc_answer4": "d", "correct_answer_num": "4", "dialect": "fin_Latn", "ds": "2023-05-03"})"
      "\n");
  write("belebele_training_set.tsv",
        "\tdataset\tsplit\tpassage_id\tquestion_id\tpassage\tquestion\tanswer1\tanswer2\tanswer3\tanswer4\tcorrect_answer\t"
        "correct_answer_num\n0\tsciQ\ttrain\t1\t2\t\"a\nfox\"\twho\ta\tb\tc\td\tb\t2\n");
  EXPECT_EQ(load("belebele", "test", "fin_Latn")->dataset().examples[0].labels, (std::vector<std::int32_t>{3}));
  EXPECT_EQ(load("belebele", "test", "fin_Latn")->dataset().examples[3].ids, pair("a dog who", "d", 512));
  EXPECT_EQ(load("belebele_training_set", "train", "en")->dataset().examples[0].ids, pair("a\nfox who", "a", 512));
  write("masakhane-ner/MasakhaNER2.0/data/hau/train.txt", "box B-DATE\njugs I-DATE\n\nfox B-PER\n");
  EXPECT_EQ(load("masakhaner", "train", "hau")->dataset().examples.size(), 2u);
  write("americasnli/data/anli_final/test/aym.tsv",
        "id\tlanguage\tpremise\thypothesis\tlabel\n14243\taym\tbox\tjugs\tcontradiction\n");
  EXPECT_EQ(load("americasnli", "test", "aym")->dataset().examples[0].ids, pair("box", "jugs", 256));
  EXPECT_EQ(find_task("americasnli").train_task(), "mnli");
  write("afrixnli/data/eng/test.tsv", "premise\thypothesis\tlabel\nbox\t\"two \"\"towns\"\"\"\t0\n");
  EXPECT_EQ(load("afrixnli", "test", "en")->dataset().examples[0].ids, pair("box", "two \"towns\"", 256));
  EXPECT_EQ(load("afrixnli", "test", "en")->dataset().examples[0].labels, (std::vector<std::int32_t>{1}));
}

}  // namespace
}  // namespace koine
