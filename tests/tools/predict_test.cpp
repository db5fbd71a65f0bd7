// koine predict: answers to inputs without gold, from tiny models trained here.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>

#include "program.h"

namespace koine {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr char kTasks[] = R"(
[[task]]
name = "parts"
family = "tagging"
format = "conll"
train = "parts/train.conll"
test = "parts/test.conll"
labels = ["D", "N", "V"]
[[task]]
name = "plans"
family = "choice"
train = "plans/train.tsv"
test = "plans/test.tsv"
prompt = "ask"
choices = ["a", "b"]
[[task]]
name = "topics"
family = "classification"
train = "topics/train.tsv"
labels = ["water", "stone"]
)";

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::vector<json> records_of(const Outcome& outcome) {
  EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
  std::vector<json> records;
  for (const std::string& line : lines_of(outcome.output)) records.push_back(json::parse(line));
  return records;
}

double sum(const json& probabilities) {
  double total = 0;
  for (const json& one : probabilities) total += one.get<double>();
  return total;
}

class Predict : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new Folder;
    write_small_data(folder_->path() / "data");
    write_small_model(folder_->path() / "model", folder_->path() / "data");
    write_text(at("tasks.toml"), kTasks);
    const std::string tagged = "the D\nking N\nsees V\n\na D\nbird N\nsings V\nnever D\n\n";
    write_text(at("data/parts/train.conll"), tagged);
    write_text(at("data/parts/test.conll"), tagged);
    const std::string plans = "ask\ta\tb\tlabel\nthe king\tsees bread\twalks far\t0\nthe bird\tsleeps\tsings\t1\n";
    write_text(at("data/plans/train.tsv"), plans);
    write_text(at("data/plans/test.tsv"), plans);
    write_text(at("data/topics/train.tsv"), "text\tlabel\nthe river\twater\nold stone\tstone\n");
    for (const char* task : {"mnli", "squad", "parts", "plans", "topics"}) {
      std::vector<std::string> words = {
          "train",  "--task",          task,       "--task-file", at("tasks.toml"), "--model", at("model"),
          "--data", at("data"),        "--output", at(task),      "--max-steps",    "4",       "--max-seq-length",
          "40",     "--learning-rate", "0.01",     "--precision", "fp32",           "--quiet"};
      if (std::string(task) == "squad") words.insert(words.end(), {"--max-query-length", "12"});
      const Outcome trained = run_koine(words);
      ASSERT_EQ(trained.exit_code, 0) << trained.errors;
    }
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }
  static std::string at(const std::string& name) { return *folder_ / name; }
  /// With the model trained on `trained`, or with none of these where it is a path.
  static Outcome predict(const std::string& task, const std::string& trained, const std::string& input,
                         std::vector<std::string> more = {}, const std::string& standard_input = "") {
    const std::string model = fs::exists(at(trained + "/model")) ? at(trained + "/model") : at(trained);
    more.insert(more.begin(), {"predict", "--task", task, "--task-file", at("tasks.toml"), "--model", model, "--input",
                               input, "--precision", "fp32", "--quiet"});
    ProgramOptions options;
    options.input = standard_input;
    return run_koine(more, options);
  }
  /// The prediction file that an evaluation of the same model writes.
  static std::string evaluated(const std::string& task, const std::string& trained, const std::string& file) {
    const Outcome outcome =
        run_koine({"evaluate", "--task", task, "--task-file", at("tasks.toml"), "--model", at(trained + "/model"), "--data",
                   at("data"), "--output", at("figures-" + task), "--precision", "fp32", "--quiet"});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
    return read_text(at("figures-" + task + "/predictions/" + task + "/" + file));
  }

  static Folder* folder_;
};
Folder* Predict::folder_ = nullptr;

TEST_F(Predict, LabelsAreThoseOfAnEvaluation) {
  const std::string file = at("data/XNLI-1.0/xnli.test.tsv");
  const std::string gold = evaluated("xnli", "mnli", "test-de.tsv");
  const Outcome submission = predict("xnli", "mnli", file, {"--language", "de", "--output-format", "submission"});
  EXPECT_EQ(submission.output, gold);

  // Without the labels, from standard input, as JSON lines and as a table.
  std::string objects;
  std::string table = "premise\thypothesis\n";
  for (const std::string& line : lines_of(read_text(file))) {
    if (!line.starts_with("de\t")) continue;
    const std::size_t second = line.rfind('\t');
    const std::size_t first = line.rfind('\t', second - 1) + 1;
    const std::string one = line.substr(first, second - first);
    const std::string other = line.substr(second + 1);
    objects += json({{"premise", one}, {"hypothesis", other}}).dump() + "\n";
    table += one + "\t" + other + "\n";
  }
  const std::vector<json> answers = records_of(predict("xnli", "mnli", "-", {}, objects));
  ASSERT_EQ(answers.size(), 9u);
  std::string labels;
  for (const json& answer : answers) {
    labels += answer["label"].get<std::string>() + "\n";
    EXPECT_NEAR(sum(answer["probabilities"]), 1, 3e-6) << "three roundings to 1e-6";
    for (const json& one : answer["probabilities"]) EXPECT_LE(one, answer["probabilities"][answer["label"]]);
  }
  EXPECT_EQ(labels, gold);
  write_text(at("unlabelled.tsv"), table);
  const Outcome written = predict("xnli", "mnli", at("unlabelled.tsv"), {"--output", at("answers.jsonl")});
  EXPECT_EQ(written.exit_code, 0) << written.errors;
  EXPECT_EQ(written.output, "");
  EXPECT_EQ(read_text(at("answers.jsonl")), predict("xnli", "mnli", "-", {}, objects).output);
  // XTREME's test files: two columns without a header.
  const std::string bare = table.substr(table.find('\n') + 1);
  EXPECT_EQ(predict("xnli", "mnli", "-", {"--input-format", "xtreme", "--output-format", "submission"}, bare).output, gold);
}

TEST_F(Predict, SingleTextsOfATaskFile) {
  const std::vector<json> answers = records_of(predict(
      "topics", "topics", "-", {}, "{\"text\": \"the river\", \"label\": \"unknown to it\"}\n{\"first\": \"old stone\"}\n"));
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_TRUE(answers[0]["probabilities"].contains("stone"));
}

TEST_F(Predict, SpansHaveTheirPlace) {
  const std::string context = "d\u00e9 old king sees a green bird";
  const std::string question = "who sees a bird";
  const std::string own =
      json({{"data", {{{"paragraphs", {{{"context", context}, {"qas", {{{"id", "7"}, {"question", question}}}}}}}}}}})
          .dump();
  write_text(at("questions.json"), own);
  const std::vector<json> answers = records_of(predict("xquad", "squad", at("questions.json")));
  ASSERT_EQ(answers.size(), 1u);
  const json& answer = answers.front();
  EXPECT_EQ(answer["id"], "7");
  const auto start = answer["start"].get<std::size_t>();
  const auto end = answer["end"].get<std::size_t>();
  // "é" is one character of two bytes, in front of whatever the answer is.
  const auto byte = [](std::size_t character) { return character < 2 ? character : character + 1; };
  EXPECT_EQ(context.substr(byte(start), byte(end) - byte(start)), answer["answer"]);
  EXPECT_GT(answer["probability"], 0);
  EXPECT_LE(answer["probability"], 1);

  const json object = {{"question", question}, {"context", context}};
  std::vector<json> others = records_of(predict("xquad", "squad", "-", {}, object.dump() + "\n" + object.dump() + "\n"));
  ASSERT_EQ(others.size(), 2u);
  EXPECT_EQ(others[1]["id"], "2");
  others[1]["id"] = "7";
  EXPECT_EQ(others[1], answer);
  const Outcome submission = predict("xquad", "squad", at("questions.json"), {"--output-format", "submission"});
  EXPECT_EQ(json::parse(submission.output), json({{"7", answer["answer"]}})) << submission.errors;
  expect_mistake(predict("xquad", "squad", "-", {},
                         R"({"id": "a", "question": "q", "context": "c"})"
                         "\n"
                         R"({"id": "a", "question": "q", "context": "c"})"
                         "\n"),
                 {":2", "\"a\"", "twice"});
}

TEST_F(Predict, TagsAreThoseOfAnEvaluation) {
  const std::string gold = evaluated("parts", "parts", "test-en.tsv");
  EXPECT_EQ(predict("parts", "parts", at("data/parts/test.conll"), {"--output-format", "submission"}).output, gold);
  write_text(at("words.conll"), "the\nking\nsees\n\na\nbird\nsings\nnever\n");
  EXPECT_EQ(predict("parts", "parts", at("words.conll"), {"--output-format", "submission"}).output, gold);
  EXPECT_EQ(predict("parts", "parts", "-", {"--input-format", "tsv", "--output-format", "submission"},
                    read_text(at("words.conll")))
                .output,
            gold);
  const std::vector<json> answers = records_of(
      predict("parts", "parts", "-", {},
              "{\"words\": [\"the\", \"king\", \"sees\"]}\n{\"words\": [\"a\", \"bird\", \"sings\", \"never\"]}\n"));
  ASSERT_EQ(answers.size(), 2u);
  std::string tags;
  for (const json& answer : answers) {
    EXPECT_EQ(answer["words"].size(), answer["tags"].size());
    EXPECT_EQ(answer["words"].size(), answer["probabilities"].size());
    for (const json& tag : answer["tags"]) tags += tag.get<std::string>() + "\n";
    tags += "\n";
  }
  EXPECT_EQ(tags, gold);
}

TEST_F(Predict, ChoicesAreThoseOfAnEvaluation) {
  const std::string gold = evaluated("plans", "plans", "test-en.tsv");
  EXPECT_EQ(predict("plans", "plans", at("data/plans/test.tsv"), {"--output-format", "submission"}).output, gold);
  const std::vector<json> answers =
      records_of(predict("plans", "plans", "-", {},
                         "{\"prompt\": \"the king\", \"choices\": [\"sees bread\", \"walks far\"]}\n"
                         "{\"prompt\": \"the bird\", \"choices\": [\"sleeps\", \"sings\"]}\n"));
  std::string choices;
  for (const json& answer : answers) {
    choices += std::to_string(answer["choice"].get<int>()) + "\n";
    EXPECT_NEAR(sum(answer["probabilities"]), 1, 2e-6) << "two roundings to 1e-6";
  }
  EXPECT_EQ(choices, gold);
  const Outcome table = predict("plans", "plans", "-", {"--input-format", "csv", "--output-format", "submission"},
                                "prompt,choice0,choice1\nthe king,sees bread,walks far\nthe bird,sleeps,sings\n");
  EXPECT_EQ(table.output, gold) << table.errors;
  expect_mistake(predict("plans", "plans", "-", {}, "{\"prompt\": \"x\", \"choices\": [\"a\"]}\n"),
                 {"/dev/stdin", "example 1", "1 choices", "plans has 2"});
}

TEST_F(Predict, VectorsAreThoseOfEncode) {
  const std::string file = at("data/tatoeba/v1/tatoeba.deu-eng.deu");
  const Outcome encoded = run_koine({"encode", "--model", at("model"), "--input", file, "--output", at("v.npy"), "--layer",
                                     "1", "--precision", "fp32", "--quiet"});
  ASSERT_EQ(encoded.exit_code, 0) << encoded.errors;
  const std::string npy = read_text(at("v.npy"));
  std::vector<float> expected(12 * 16);
  std::memcpy(expected.data(), npy.data() + npy.size() - expected.size() * sizeof(float), expected.size() * sizeof(float));
  const std::vector<json> answers = records_of(predict("tatoeba", "model", file));
  ASSERT_EQ(answers.size(), 12u);
  std::string objects;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const auto vector = answers[i]["vector"].get<std::vector<float>>();
    EXPECT_TRUE(std::equal(vector.begin(), vector.end(), expected.begin() + static_cast<std::ptrdiff_t>(i * 16))) << i;
    objects += json({{"text", lines_of(read_text(file))[i]}}).dump() + "\n";
  }
  EXPECT_EQ(predict("tatoeba", "model", "-", {}, objects).output, predict("tatoeba", "model", file).output);
  expect_mistake(predict("tatoeba", "model", file, {"--output-format", "submission"}), {"submission", "koine evaluate"});
  ProgramOptions piped;
  piped.input = read_text(file);
  const Outcome from_pipe = run_koine({"encode", "--model", at("model"), "--input", "-", "--output", at("p.npy"), "--layer",
                                       "1", "--precision", "fp32", "--quiet"},
                                      piped);
  EXPECT_EQ(from_pipe.exit_code, 0) << from_pipe.errors;
  EXPECT_EQ(read_text(at("p.npy")), npy);
}

TEST_F(Predict, AWholeSplitIsAnsweredWithoutGoldInTheSubmissionLayout) {
  const auto split = [&](const std::string& data, std::vector<std::string> more) {
    more.insert(more.begin(), {"predict", "--task", "xnli", "--model", at("mnli/model"), "--data", data, "--precision",
                               "fp32", "--quiet"});
    return run_koine(more);
  };
  const Outcome evaluated = run_koine({"evaluate", "--task", "xnli", "--model", at("mnli/model"), "--data", at("data"),
                                       "--output", at("split-figures"), "--precision", "fp32", "--quiet"});
  ASSERT_EQ(evaluated.exit_code, 0) << evaluated.errors;
  // The same rows as XTREME hands them out: two columns, no label.
  for (const char* language : {"en", "de"}) {
    std::string blanked;
    for (const std::string& line : lines_of(read_text(at("data/XNLI-1.0/xnli.test.tsv")))) {
      if (line.starts_with(language)) blanked += line.substr(line.find('\t', line.find('\t') + 1) + 1) + "\n";
    }
    write_text(at("blanked/xnli/test-" + std::string(language) + ".tsv"), blanked);
  }
  for (const std::string& data : {at("data"), at("blanked")}) {
    const std::string output = data + "-answers";
    const Outcome predicted = split(data, {"--output", output});
    ASSERT_EQ(predicted.exit_code, 0) << predicted.errors;
    for (const char* file : {"/xnli/test-en.tsv", "/xnli/test-de.tsv"})
      EXPECT_EQ(read_text(output + file), read_text(at("split-figures/predictions") + file)) << file;
  }
  expect_mistake(split(at("data"), {}), {"--output", "folder"});
  expect_mistake(split(at("data"), {"--output", at("x"), "--language", "en"}),
                 {"--language belongs to --input", "--languages"});
  expect_mistake(split(at("data"), {"--output", at("x"), "--languages", "sw"}), {"\"sw\""});
  expect_mistake(split(at("data"), {"--output", at("x"), "--input", "-"}), {"one of --input", "--data"});
  expect_mistake(
      run_koine({"predict", "--task", "tatoeba", "--model", at("model"), "--data", at("data"), "--output", at("x")}),
      {"tatoeba", "koine evaluate"});
}

TEST_F(Predict, MistakesAreNamed) {
  const std::string file = at("data/XNLI-1.0/xnli.test.tsv");
  expect_mistake(predict("mlm", "model", file), {"--task mlm", "no answers"});
  expect_mistake(predict("xnli", "mnli", at("absent.tsv")), {"--input", "no file", "absent.tsv"});
  expect_mistake(predict("xnli", "mnli", "-", {}, "{\"premise\": \"x\"}\n"), {"/dev/stdin:1", "sentence2", "missing"});
  expect_mistake(predict("xnli", "mnli", "-", {}, "{\"premise\": \"x\"\n"), {"/dev/stdin:1", "JSON"});
  expect_mistake(predict("parts", "parts", "-", {}, "{\"words\": [1]}\n"), {"/dev/stdin:1", "\"words\"", "texts"});
  expect_mistake(predict("xnli", "mnli", file, {"--layer", "1"}), {"--layer", "xnli"});
  expect_mistake(predict("xnli", "mnli", file, {"--pooling", "cls"}), {"--pooling", "xnli"});
  expect_mistake(predict("xnli", "model", file), {"no trained head", "koine train"});
  expect_mistake(predict("xquad", "squad", "-", {"--labels", "a,b"}, R"({"question": "who", "context": "the king"})"),
                 {"--labels", "xquad"});
}

TEST_F(Predict, PlaceholdersOfACheckpointAreRefusedWithoutLabels) {
  fs::create_directories(at("foreign"));
  fs::copy(at("mnli/model"), at("foreign"), fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  json config = json::parse(read_text(at("foreign/config.json")));
  const auto name = [&](const char* id) { return config["id2label"][id].get<std::string>(); };
  const std::string order = name("0") + "," + name("1") + "," + name("2");
  const auto rename = [&](const json& names) {
    config["id2label"] = names;
    write_text(at("foreign/config.json"), config.dump());
  };
  const std::string file = at("data/XNLI-1.0/xnli.test.tsv");
  const std::vector<std::string> submission = {"--output-format", "submission"};
  const std::string expected = predict("xnli", "mnli", file, submission).output;
  rename({{"0", "LABEL_0"}, {"1", "LABEL_1"}, {"2", "LABEL_2"}});
  for (const char* command : {"predict", "evaluate"}) {
    std::vector<std::string> arguments = {command, "--task", "xnli", "--model", at("foreign"), "--quiet"};
    if (std::string(command) == "predict") {
      arguments.insert(arguments.end(), {"--input", file});
    } else {
      arguments.insert(arguments.end(), {"--data", at("data"), "--output", at("foreign-figures")});
    }
    expect_mistake(run_koine(arguments), {"config.json", "LABEL_0", "--labels "});
    arguments.insert(arguments.end(), {"--labels", "contradiction,entailment,neutral"});
    EXPECT_EQ(run_koine(arguments).exit_code, 0);
  }
  EXPECT_EQ(predict("xnli", "foreign", file, {"--labels", order, "--output-format", "submission"}).output, expected);
}

TEST_F(Predict, AModelThatIsNotThereIsAnsweredWithTheDownload) {
  const auto tokenize = [](const std::string& model) { return run_koine({"tokenize", "--model", model}); };
  const auto encode = [](const std::string& model) {
    return run_koine({"encode", "--model", model, "--input", "-", "--output", "x.npy"});
  };
  expect_mistake(encode("xlm-roberta-base"),
                 {"no folder xlm-roberta-base", "hf download FacebookAI/xlm-roberta-base --local-dir xlm-roberta-base"});
  expect_mistake(encode("intfloat/multilingual-e5-small"),
                 {"hf download intfloat/multilingual-e5-small --local-dir multilingual-e5-small"});
  expect_mistake(encode(at("absent")), {"no folder " + at("absent"), "hf download FacebookAI/xlm-roberta-base"});
  expect_mistake(encode(at("mnli")), {"it is a run", at("mnli/model")});
  expect_mistake(encode(at("data")), {at("data"), "holds no config.json"});
  expect_mistake(encode(at("tasks.toml")), {"is a file"});
  expect_mistake(tokenize("xlm-roberta-large"), {"hf download FacebookAI/xlm-roberta-large"});
}

TEST_F(Predict, HabitsAreUnderstoodOrAnswered) {
  const auto evaluate = [](std::vector<std::string> more, const std::string& output) {
    more.insert(more.begin(), {"evaluate", "--model", at("mnli/model"), "--data", at("data"), "--output", at(output)});
    return run_koine(more);
  };
  const Outcome dev = evaluate({"--task", "MNLI"}, "habit-dev");
  EXPECT_EQ(dev.exit_code, 0) << dev.errors;
  EXPECT_NE(dev.errors.find("dev set is evaluated"), std::string::npos) << dev.errors;
  EXPECT_NE(dev.output.find("12"), std::string::npos) << "12 examples are the dev set's: " << dev.output;
  const Outcome test = evaluate({"--task", "XNLI", "--languages", "de, en"}, "habit-test");
  EXPECT_EQ(test.exit_code, 0) << test.errors;
  expect_mistake(evaluate({"--task", "xnli", "--layer", "3"}, "x"), {"--layer", "xnli", "sentence vectors"});
  expect_mistake(evaluate({"--task", "xnli", "--doc-stride", "64"}, "x"), {"--doc-stride", "question answering"});
  const std::pair<const char*, const char*> kNames[] = {{"--lr", "--learning-rate"},
                                                        {"--epochs", "--num-train-epochs"},
                                                        {"--batch-size", "--per-device-train-batch-size"},
                                                        {"--bf16", "--precision bf16"}};
  for (const auto& [habit, name] : kNames) expect_mistake(run_koine({"train", habit, "1"}), {habit, name});
  EXPECT_EQ(run_koine({"encode", "--lr", "1"}).errors.find("--learning-rate"), std::string::npos)
      << "only where the command has it";
}

/// A directory as transformers 5 saves it: no SentencePiece file.
TEST_F(Predict, ADirectoryWithATokenizerJsonAloneIsRead) {
  fs::create_directories(at("json-only"));
  fs::copy(at("mnli/model"), at("json-only"), fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  fs::remove(at("json-only/sentencepiece.bpe.model"));
  const std::string file = at("data/XNLI-1.0/xnli.test.tsv");
  const Outcome expected = predict("xnli", "mnli", file);
  EXPECT_EQ(expected.exit_code, 0) << expected.errors;
  EXPECT_EQ(predict("xnli", "json-only", file).output, expected.output);
  fs::remove(at("json-only/tokenizer.json"));
  expect_mistake(predict("xnli", "json-only", file), {"tokenizer.json", "--tokenizer"});
}

}  // namespace
}  // namespace koine
