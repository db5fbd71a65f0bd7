// The plan of an experiment: its phases one by one, that a run and an estimate walk the same list, and what each keeps
// apart.

#include "tasks/experiment/plan.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "engine/files/safetensors.h"
#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "models/models.h"
#include "stub_model.h"
#include "tasks/demo/demo.h"
#include "tasks/experiment/checks.h"
#include "tasks/experiment/estimate.h"
#include "tasks/experiment/phase_data.h"
#include "tasks/experiment/run_experiment.h"
#include "tasks/formats/squad.h"

namespace koine {
namespace {

namespace fs = std::filesystem;

/// Phases as text, one a line: folder, what it starts from, tasks, evaluation, what is missing.
std::string spell(const Plan& plan) {
  std::string text;
  for (const PlannedPhase& phase : plan.phases) {
    text += phase.folder.string() + " from " +
            (phase.start          ? plan.phases[*phase.start].folder.string()
             : phase.starts_fresh ? "random"
                                  : "directory");
    for (const TrainedTask& task : phase.tasks)
      text += concatenate(", ", task.task->name(), task.has_dev ? "+dev" : "", " of ", task.head.classes, " to ",
                          task.features.max_seq_length);
    if (phase.evaluation)
      text += concatenate("; ", phase.evaluation->task->name(), " in ", phase.evaluation->languages.size());
    text += (phase.missing.empty() ? "" : "; missing") + std::string("\n");
  }
  return text;
}

constexpr char kTiny[] = R"(
seeds = [1, 2]
[model]
hidden_size = 16
num_hidden_layers = 1
num_attention_heads = 2
intermediate_size = 32
max_position_embeddings = 66
[tokenizer]
pieces = 200
character_coverage = 1.0
[pretraining]
max_steps = 3
per_device_train_batch_size = 4
[[intermediate]]
name = "none"
[[intermediate]]
name = "both"
tasks = ["mnli", "mlm"]
max_steps = 3
per_device_train_batch_size = 4
gradient_accumulation_steps = 1
[[target]]
task = "xnli"
max_steps = 2
max_eval_examples = 6
per_device_train_batch_size = 4
gradient_accumulation_steps = 1
[[target]]
task = "tatoeba"
max_eval_examples = 4
)";

class PlanOfData : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    data_ = new TemporaryFolder;
    DemoSizes sizes;
    sizes.text_passages = 30;
    sizes.text_dev_passages = 6;
    sizes.nli_train = sizes.nli_dev = sizes.xnli_dev = sizes.xnli_test = 12;
    sizes.squad_train = sizes.squad_dev = sizes.xquad_test = 6;
    sizes.pos_train = sizes.pos_dev = sizes.pos_test = 6;
    sizes.tatoeba = 6;
    write_demo_data(data_->path(), 1, sizes);
  }
  static void TearDownTestSuite() { delete data_; }

  static Experiment read(const std::string& text) { return parse_experiment(text, "tiny.toml", data_->path()); }
  RunOptions options(const std::string& name) const {
    RunOptions options;
    options.output = output_ / name;
    return options;
  }

  static TemporaryFolder* data_;
  TemporaryFolder output_;
};
TemporaryFolder* PlanOfData::data_ = nullptr;

/// A task of a few rows in real languages, whose training sets and tests are there in four.
TEST(PlanOfGroups, FamiliesAndScriptsStandForTheirLanguages) {
  const TemporaryFolder data;
  for (const char* language : {"en", "fi", "hu", "ru"}) {
    for (const char* split : {"train", "test"})
      write_file_atomically(data.path() / concatenate(language, "-", split, ".tsv"),
                            "text\tlabel\na text\tno\nanother\tyes\n");
  }
  const auto plan_of = [&](const std::string& languages) {
    return make_plan(parse_experiment(concatenate(R"(
[[task]]
name = "grouped"
family = "classification"
format = "tsv"
train = "{language}-train.tsv"
test = "{language}-test.tsv"
languages = ["en"]
first = "text"
label = "label"
labels = ["no", "yes"]
[model]
hidden_size = 16
num_hidden_layers = 1
num_attention_heads = 2
intermediate_size = 32
[[intermediate]]
tasks = ["grouped"]
)",
                                                  languages, "[[target]]\ntask = \"grouped\"\n", languages),
                                      "tiny.toml", data.path()),
                     ModelConfig());
  };
  using Codes = std::vector<std::string>;
  const auto expect = [&](const std::string& languages, const Codes& expected) {
    const Plan plan = plan_of(languages);
    EXPECT_EQ(plan.phases[0].tasks.at(0).languages, expected) << plan.phases[0].missing;
    EXPECT_EQ(plan.phases[1].evaluation->languages, expected) << plan.phases[1].missing;
  };
  expect("languages = \"uralic\"\n", {"fi", "hu"});
  expect("languages = [\"ru\", \"Latin\"]\n", {"ru", "en", "fi", "hu"});
  expect("languages = \"fi\"\n", {"fi"});
  const auto expect_refused = [&](const std::string& languages, const char* part) {
    const std::string missing = plan_of(languages).phases[1].missing;
    EXPECT_NE(missing.find("tiny.toml: grouped.languages"), std::string::npos) << missing;
    EXPECT_NE(missing.find(part), std::string::npos) << missing;
  };
  expect_refused("languages = \"uralik\"\n", "did you mean \"uralic\"?");
  expect_refused("languages = \"dravidian\"\n", "none of the languages that are there is dravidian");
}

TEST_F(PlanOfData, ListsPhasesInTheOrderOfARun) {
  Experiment experiment = read(kTiny);
  ModelConfig config = experiment.model.config;
  config.vocab_size = 202;
  EXPECT_EQ(spell(make_plan(experiment, config)),
            "pretraining from random, mlm of 202 to 64\n"
            "target/none/xnli/seed-1 from pretraining, mnli+dev of 3 to 64; xnli in 6\n"
            "target/none/tatoeba/seed-1 from pretraining; tatoeba in 5\n"
            "target/none/xnli/seed-2 from pretraining, mnli+dev of 3 to 64; xnli in 6\n"
            "intermediate/both/seed-1 from pretraining, mnli+dev of 3 to 64, mlm of 202 to 64\n"
            "target/both/xnli/seed-1 from intermediate/both/seed-1, mnli+dev of 3 to 64; xnli in 6\n"
            "target/both/tatoeba/seed-1 from intermediate/both/seed-1; tatoeba in 5\n"
            "intermediate/both/seed-2 from pretraining, mnli+dev of 3 to 64, mlm of 202 to 64\n"
            "target/both/xnli/seed-2 from intermediate/both/seed-2, mnli+dev of 3 to 64; xnli in 6\n"
            "target/both/tatoeba/seed-2 from intermediate/both/seed-2; tatoeba in 5\n");
  // Without pretraining every seed has random parameters of its own, so retrieval differs by seed.
  experiment.pretraining.reset();
  experiment.intermediate.resize(1);
  EXPECT_EQ(spell(make_plan(experiment, config)),
            "target/none/xnli/seed-1 from random, mnli+dev of 3 to 64; xnli in 6\n"
            "target/none/tatoeba/seed-1 from random; tatoeba in 5\n"
            "target/none/xnli/seed-2 from random, mnli+dev of 3 to 64; xnli in 6\n"
            "target/none/tatoeba/seed-2 from random; tatoeba in 5\n");
  experiment.model.directory = "m";
  experiment.targets[0].languages = {"xx"};
  const Plan plan = make_plan(experiment, config);
  EXPECT_EQ(plan.phases[1].folder.string(), "target/none/tatoeba/seed-1");
  EXPECT_NE(plan.phases[0].missing.find("\"xx\""), std::string::npos) << plan.phases[0].missing;
  EXPECT_EQ(plan.phases.size(), 3u) << "one seed of retrieval";
}

TEST_F(PlanOfData, RunAndEstimateWalkTheSamePlan) {
  const Experiment experiment = read(kTiny);
  const ExperimentEstimate estimate = estimate_experiment(experiment);
  RunOptions measured = options("run");
  measured.powercap = output_ / "powercap";
  write_text(measured.powercap / "intel-rapl:0/name", "package-0\n");
  for (const char* counter : {"energy_uj", "max_energy_range_uj"})
    write_text(measured.powercap / "intel-rapl:0" / counter, "1000000\n");
  const RunOutcome outcome = run_experiment(experiment, measured);
  ASSERT_FALSE(outcome.interrupted);
  EXPECT_EQ(spell(estimate.plan), spell(outcome.plan));
  for (const char* file : {"run/costs.json", "run/results.json"}) {
    for (const nlohmann::json& row : read_json(output_ / file))
      EXPECT_EQ(row.at("joules"), 0.0) << "a counter that stands still";
  }

  // Every training took the steps that were estimated for its label, and each label as many runs.
  std::map<std::string, std::int64_t> runs;
  std::size_t cost = 0;
  for (const PlannedPhase& phase : outcome.plan.phases) {
    if (phase.tasks.empty()) continue;
    ASSERT_LT(cost, outcome.costs.size());
    EXPECT_EQ(outcome.costs[cost].phase, phase.folder.string());
    for (const PhaseEstimate& estimated : estimate.phases) {
      if (estimated.label != phase.label) continue;
      ++runs[phase.label];
      EXPECT_EQ(outcome.costs[cost].steps, estimated.steps) << phase.label;
    }
    ++cost;
  }
  EXPECT_EQ(cost, outcome.costs.size());
  std::set<std::string> labels;
  for (const PhaseEstimate& estimated : estimate.phases) {
    EXPECT_EQ(estimated.missing, "") << estimated.label;
    labels.insert(estimated.label);
    if (estimated.training) {
      EXPECT_EQ(runs[estimated.label], estimated.runs) << estimated.label;
    }
    if (estimated.label == "evaluate tatoeba") {
      EXPECT_EQ(estimated.runs, 3);
    }
    if (estimated.label != "evaluate xnli") continue;
    double tokens = 0;  // of the languages of one evaluation
    for (const ResultRow& row : outcome.rows) {
      if (row.target == "xnli" && row.intermediate == "none" && row.seed == 1) tokens += static_cast<double>(row.tokens);
    }
    EXPECT_EQ(estimated.tokens, tokens);
  }
  EXPECT_EQ(labels,
            (std::set<std::string>{"pretraining", "intermediate both", "target xnli", "evaluate xnli", "evaluate tatoeba"}));
  EXPECT_EQ(memory_questions(estimate.plan, {}).size(), 3u);
}

/// The example files name what a run of theirs does.
void expect_plan_of_example(const std::string& file, const fs::path& data) {
  Experiment experiment = read_experiment(fs::path(KOINE_SOURCE_DIR) / "examples" / file);
  experiment.generated.reset();
  experiment.data = data;
  ModelConfig config = experiment.model.config;
  config.vocab_size = 1000;
  const Plan plan = make_plan(experiment, config);
  std::size_t trainings = experiment.pretraining.has_value() ? 1 : 0;
  for (const IntermediateSpec& arm : experiment.intermediate) trainings += arm.tasks.empty() ? 0 : experiment.seeds.size();
  for (const TargetSpec& target : experiment.targets)
    trainings += target.train_task.empty() ? 0 : experiment.seeds.size() * experiment.intermediate.size();
  std::size_t planned = 0;
  for (const PlannedPhase& phase : plan.phases) {
    EXPECT_EQ(phase.missing, "") << file << " " << phase.folder.string();
    planned += phase.tasks.empty() ? 0 : 1;
  }
  EXPECT_EQ(planned, trainings) << file << "\n" << spell(plan);
}

TEST_F(PlanOfData, OfTheExampleFiles) {
  for (const char* file : {"demo.toml", "demo-mt5.toml", "multi-task.toml"}) expect_plan_of_example(file, data_->path());
}

TEST_F(PlanOfData, OfTheExampleFilesOnRealData) {
  if (real_data().empty()) GTEST_SKIP() << "KOINE_DATA does not say where the real data are";
  expect_plan_of_example("real-sample.toml", real_data());
}

TEST_F(PlanOfData, OfThePapersMiniature) {
  const char* study = std::getenv("KOINE_STUDY");
  if (study == nullptr) GTEST_SKIP() << "KOINE_STUDY does not say where the larger cuts of real data are";
  expect_plan_of_example("paper-miniature.toml", fs::path(study) / "data");
}

/// XTREME-R's XCOPA comes with an English test file whose labels are not there.
TEST_F(PlanOfData, FilesWithoutGoldAreNotEvaluated) {
  const TemporaryFolder copy;
  const std::string row = R"({"premise": "p", "choice1": "a", "choice2": "b", "question": "cause")";
  write_text(copy / "xcopa/train.en.jsonl", row + ", \"label\": 1}\n");
  write_text(copy / "xcopa/test.et.jsonl", row + ", \"label\": 1}\n");
  write_text(copy / "xcopa/test.en.jsonl", row + "}\n");
  const std::string model(kTiny, std::string(kTiny).find("[pretraining]"));
  const auto evaluation = [&](const std::string& languages) {
    const Plan plan = make_plan(
        parse_experiment(model + "[[target]]\ntask = \"xcopa\"\n" + languages, "tiny.toml", copy.path()), ModelConfig());
    return plan.phases.front();
  };
  const PlannedPhase all = evaluation("");
  EXPECT_EQ(all.missing, "");
  EXPECT_EQ(all.evaluation->languages, std::vector<std::string>{"et"});
  EXPECT_EQ(unlabelled_line(*all.evaluation), "xcopa test: not evaluated, for they have no gold labels: en");
  EXPECT_EQ(unlabelled_line(*evaluation("languages = [\"et\"]\n").evaluation), "");
  for (const char* part : {"tiny.toml: xcopa.languages", "\"en\"", "test.en.jsonl", "no gold"}) {
    const std::string named = evaluation("languages = [\"et\", \"en\"]\n").missing;
    EXPECT_NE(named.find(part), std::string::npos) << named;
  }
  fs::remove(copy / "xcopa/test.et.jsonl");
  EXPECT_NE(evaluation("").missing.find("no gold"), std::string::npos) << "nothing is left";
}

/// The best weights are those of the authors' metric, (exact match + F1) / 2, not of the figure that is reported.
TEST_F(PlanOfData, QuestionAnsweringIsSelectedByTheAuthorsMetric) {
  std::string text = kTiny;
  text.replace(
      text.find("[pretraining]"), std::string::npos,
      "[[target]]\ntask = \"xquad\"\nmax_steps = 40\nlearning_rate = 3e-3\nmax_seq_length = 60\nmax_eval_examples = 1\n");
  Experiment experiment = read(text);
  experiment.seeds = {1, 2, 3};
  experiment.save_models = true;
  run_experiment(experiment, options("run"));
  bool differs = false;
  for (const std::string seed : {"1", "2", "3"}) {
    const fs::path folder = output_ / "run/target/none/xquad" / ("seed-" + seed);
    const double selected = read_json(folder / "trained.json").at("best_metrics").at("squad");
    ModelOptions model_options;
    model_options.heads = {{"", HeadKind::kSpan, find_task("squad").classes(0)}};
    const std::unique_ptr<Model> model = load_model((folder / "model").string(), model_options);
    const Tokenizer tokenizer(folder / "model/sentencepiece.bpe.model");
    FeatureOptions features;
    features.max_seq_length = 60;
    const Evaluation dev = find_task("squad").load(data_->path(), "dev", "en", tokenizer, features)->evaluate(*model, {});
    EXPECT_DOUBLE_EQ(selected, (dev.metrics.at("exact_match") + dev.metrics.at("f1")) / 2);
    EXPECT_EQ(dev.value, dev.metrics.at("f1")) << "what is reported";
    differs = differs || dev.metrics.at("exact_match") != dev.metrics.at("f1");
  }
  EXPECT_TRUE(differs) << "one of three trainings must be able to tell them apart";
}

/// A stride decides how many windows a context has: an estimate must see it.
TEST_F(PlanOfData, EstimateHonoursWindowsOfQuestionAnswering) {
  std::string text = kTiny;
  text.replace(text.find("[[intermediate]]"), std::string::npos,
               "[[intermediate]]\nname = \"qa\"\ntasks = [\"squad\"]\nmax_steps = 1\nmax_seq_length = 40\n");
  const std::string target = "[[target]]\ntask = \"xquad\"\nmax_eval_examples = 3\nmax_seq_length = 40\n";
  const auto tokens = [&](const std::string& keys) {
    std::map<std::string, double> result;
    for (const PhaseEstimate& phase : estimate_experiment(read(text + keys + target + keys)).phases) {
      EXPECT_EQ(phase.missing, "");
      if (!phase.training) result[phase.label] = phase.tokens;
      if (phase.label == "target xquad") result[phase.label] = phase.flops;
    }
    return result;
  };
  const auto wide = tokens("doc_stride = 128\n");
  const auto narrow = tokens("doc_stride = 4\n");
  const auto short_questions = tokens("doc_stride = 128\nmax_query_length = 2\n");
  for (const char* label : {"evaluate xquad", "target xquad"}) {
    EXPECT_GT(narrow.at(label), wide.at(label)) << label;
    EXPECT_NE(short_questions.at(label), wide.at(label)) << label;
  }
}

/// Training sets of several languages that differ in their windows alone are two sets.
TEST_F(PlanOfData, MergedTrainingSetsAreKeptApart) {
  const TemporaryFolder folder;
  for (const char* language : {"en", "fi"}) {
    fs::create_directories(folder / "q");
    fs::copy_file(data_->path() / "squad/train-v1.1.json", folder / (std::string("q/") + language + ".json"));
  }
  const std::unique_ptr<Task> task = make_task(
      {.name = "questions", .reader = read_squad, .languages = {"en", "fi"}, .files = {{"train", "q/{language}.json"}}});
  PhaseData data(folder.path(), small_tokenizer());
  TrainedTask trained;
  trained.task = task.get();
  trained.languages = {"en", "fi"};
  trained.features.max_seq_length = 60;
  const Dataset& wide = data.training_set(trained);
  EXPECT_EQ(wide.name, "questions train en, fi");
  EXPECT_EQ(&data.training_set(trained), &wide) << "read once";
  const std::size_t one = data.load(*task, "train", "en", trained.features).dataset().examples.size();
  ASSERT_EQ(wide.examples.size(), 2 * one);
  for (std::uint32_t i = 0; i < wide.examples.size(); ++i) EXPECT_EQ(wide.examples[i].number, i);
  trained.features.doc_stride = 4;
  const Dataset& narrow = data.training_set(trained);
  EXPECT_GT(narrow.examples.size(), wide.examples.size());
  trained.features.max_query_length = 2;
  EXPECT_NE(&data.training_set(trained), &narrow);
}

/// A run that is continued behind its training reads no training set: the head's classes are the task's.
TEST_F(PlanOfData, EvaluationIsContinuedWithoutTrainingData) {
  std::string text = kTiny;
  text.replace(text.find("[[target]]\ntask = \"tatoeba\""), std::string::npos, "");
  const TemporaryFolder copy;
  fs::copy(data_->path(), copy.path(), fs::copy_options::recursive);
  Experiment experiment = parse_experiment(text, "tiny.toml", copy.path());
  experiment.seeds = {1};
  experiment.intermediate.resize(1);
  experiment.save_models = true;
  const RunOutcome whole = run_experiment(experiment, options("run"));
  const fs::path folder = output_ / "run/target/none/xnli/seed-1";
  fs::remove(folder / "done.json");
  fs::remove(folder / "evaluations.json");
  // Without [file_hashes], as earlier programs wrote it, so that nothing but reading the training set would notice.
  const std::string config = read_file(folder / "config.toml");
  ASSERT_NE(config.find("\n[file_hashes]\n"), std::string::npos);
  write_text(folder / "config.toml", config.substr(0, config.find("\n[file_hashes]\n")));
  write_text(copy / "mnli/multinli_1.0/multinli_1.0_train.jsonl", "broken\n");
  const RunOutcome continued = run_experiment(experiment, options("run"));
  ASSERT_EQ(continued.rows.size(), whole.rows.size());
  for (std::size_t i = 0; i < whole.rows.size(); ++i) EXPECT_EQ(continued.rows[i].value, whole.rows[i].value);
}

// XTREME-R's retrieval: Tatoeba behind SQuAD by hidden states, LAReQA by the dual encoder that was trained for it, and by hidden
// states where its training is taken away.
TEST_F(PlanOfData, EncodersAreTrainedForRetrieval) {
  const TemporaryFolder copy;
  fs::copy(data_->path(), copy.path(), fs::copy_options::recursive);
  for (const char* language : {"en", "fi"}) {
    write_text(copy / concatenate("lareqa/xquad-r/", language, ".json"),
               R"({"data": [{"paragraphs": [{"context": "One. Two.", "sentence_breaks": [[0, 4], [5, 9]], "qas": [
                   {"id": "q", "question": "Which?", "answers": [{"text": "Two", "answer_start": 5}]}]}]}]})");
  }
  const std::string model(kTiny, std::string_view(kTiny).find("[pretraining]"));
  const std::string settings = "max_steps = 2\nper_device_train_batch_size = 2\ngradient_accumulation_steps = 2\n";
  const auto experiment_of = [&](const std::string& targets) {
    Experiment experiment = parse_experiment(model + targets, "tiny.toml", copy.path());
    experiment.seeds = {1};
    experiment.save_models = true;
    return experiment;
  };
  const Experiment experiment = experiment_of("[[target]]\ntask = \"tatoeba\"\ntrain_task = \"squad\"\n" + settings +
                                              "[[target]]\ntask = \"lareqa\"\n" + settings);
  const Experiment untrained = experiment_of("[[target]]\ntask = \"lareqa\"\ntrain_task = \"\"\n");
  const RunOutcome outcome = run_experiment(experiment, options("run"));
  EXPECT_EQ(spell(outcome.plan),
            "target/none/tatoeba/seed-1 from random, squad+dev of 2 to 64; tatoeba in 5\n"
            "target/none/lareqa/seed-1 from random, squad_sentences+dev of 1 to 64; lareqa in 1\n");
  ASSERT_EQ(outcome.costs.size(), 2u);
  EXPECT_EQ(outcome.costs[1].steps, 2);
  std::map<std::string, ResultRow> rows;
  for (const ResultRow& row : outcome.rows) rows[row.target + " " + row.metric] = row;
  EXPECT_TRUE(rows.at("tatoeba accuracy").layer.has_value()) << "hidden states, under a head for questions";
  EXPECT_FALSE(rows.at("lareqa map@20").layer.has_value()) << "the head's own vectors";
  EXPECT_EQ(rows.at("lareqa map@20").examples, 2);
  EXPECT_TRUE(rows.contains("lareqa map@20_fi"));
  EXPECT_TRUE(SafetensorsFile(output_ / "run/target/none/lareqa/seed-1/model/model.safetensors").contains("logit_scale"));
  for (const ResultRow& row : run_experiment(untrained, options("untrained")).rows) EXPECT_TRUE(row.layer.has_value());
}

/// The keys of a run's arm: mnli in languages of which two are translations, beside packed text, both NLI tasks under one head.
constexpr char kArms[] = R"(
[[intermediate]]
name = "english"
tasks = ["mnli"]
num_train_epochs = 2
per_device_train_batch_size = 4
gradient_accumulation_steps = 1
[[intermediate]]
name = "translated"
tasks = ["mnli"]
languages = ["en", "de", "sw"]
equal_tokens = true
num_train_epochs = 2
per_device_train_batch_size = 4
gradient_accumulation_steps = 1
[[intermediate]]
name = "several"
tasks = ["mnli", "snli", "mlm"]
task_languages = {mnli = ["en", "de"], mlm = ["en"]}
heads = {mnli = "nli", snli = "nli"}
mlm_packed = true
sampler = "time_dependent"
weight_functions = ["1", "1", "t/5"]
max_steps = 6
per_device_train_batch_size = 4
gradient_accumulation_steps = 1
[[target]]
task = "tatoeba"
max_eval_examples = 4
)";

TEST_F(PlanOfData, SeveralTasksAndLanguagesAreTrainedAndRecorded) {
  const TemporaryFolder copy;
  fs::copy(data_->path(), copy.path(), fs::copy_options::recursive);
  std::string longer = "premise\thypo\tlabel\n";
  for (int i = 0; i < 12; ++i) longer += "fox fox fox fox fox fox fox\tdog dog dog dog\tneutral\n";
  for (const char* language : {"de", "sw"})
    write_text(copy / (std::string("XNLI-MT-1.0/multinli/multinli.train.") + language + ".tsv"), longer);
  write_text(copy / "SNLI/train.tsv", "sentence1\tsentence2\tgold_label\nfox\tdog\tneutral\ndog\tdog\tentailment\n");
  std::string text = kTiny;
  text.replace(text.find("[pretraining]"), std::string::npos, kArms);
  Experiment experiment = parse_experiment(text, "tiny.toml", copy.path());
  experiment.seeds = {1};
  const std::vector<PhaseEstimate> estimates = estimate_experiment(experiment).phases;
  RunOptions run = options("run");
  std::string messages;
  run.message = [&](const std::string& message) { messages += message + "\n"; };
  run.powercap = "/nowhere";
  const RunOutcome outcome = run_experiment(experiment, run);
  const auto record = [&](const std::string& arm) {
    return read_json(output_ / "run/intermediate" / arm / "seed-1/done.json").at("training").at("tasks");
  };

  // As many tokens as the English set, but for less than the longest example.
  const nlohmann::json english = record("english").at("mnli");
  const nlohmann::json translated = record("translated").at("mnli");
  EXPECT_FALSE(english.contains("source_tokens"));
  EXPECT_EQ(translated.at("source_tokens"), english.at("tokens"));
  const std::int64_t less = english.at("tokens").get<std::int64_t>() - translated.at("tokens").get<std::int64_t>();
  EXPECT_GE(less, 0);
  EXPECT_LT(less, 64);
  EXPECT_NE(translated.at("examples"), english.at("examples"));
  const std::int64_t passes = 2;
  for (const nlohmann::json& one : {english, translated}) {
    // Two passes, and the examples that fill each one's last step.
    const std::int64_t beyond = one.at("trained_tokens").get<std::int64_t>() - passes * one.at("tokens").get<std::int64_t>();
    EXPECT_GE(beyond, 0);
    EXPECT_LE(beyond, passes * 3 * 64);
  }

  const nlohmann::json several = record("several");
  EXPECT_EQ(several.at("mnli").at("examples"), 24) << "12 in each of two languages";
  EXPECT_EQ(several.at("mnli").at("probability"), (nlohmann::json{0.5, 1.0 / 3}));
  EXPECT_EQ(several.at("mlm").at("probability"), (nlohmann::json{0.0, 1.0 / 3}));
  std::int64_t steps = 0;
  std::int64_t tokens = 0;
  for (const nlohmann::json& one : several) {
    steps += one.at("steps").get<std::int64_t>();
    tokens += one.at("trained_tokens").get<std::int64_t>();
  }
  EXPECT_EQ(steps, 6);
  for (const PhaseCost& cost : outcome.costs) {
    if (cost.phase != "intermediate/several/seed-1") continue;
    EXPECT_EQ(cost.tokens, tokens);
    EXPECT_EQ(cost.tasks.size(), 3u);
  }
  EXPECT_EQ(read_json(output_ / "run/costs.json").at(2).at("tasks"), several);
  EXPECT_TRUE(read_json(output_ / "run/costs.json").at(2).at("joules").is_null());
  EXPECT_NE(messages.find("energy is not measured: /nowhere: there is no counter"), std::string::npos) << messages;
  EXPECT_EQ(messages.find("energy is"), messages.rfind("energy is")) << "told once: " << messages;
  const std::string probabilities = "mnli 50.00 % to 33.33 %, snli 50.00 % to 33.33 %, mlm 0.00 % to 33.33 %";
  EXPECT_NE(messages.find("tasks: " + probabilities), std::string::npos) << messages;
  for (const PhaseEstimate& estimate : estimates) {
    EXPECT_EQ(estimate.missing, "");
    EXPECT_EQ(estimate.tasks, estimate.label == "intermediate several" ? probabilities : "");
  }
  std::vector<std::string> heads;
  const std::vector<MemoryQuestion> questions = memory_questions(outcome.plan, {});
  for (const HeadSpec& head : questions.back().heads) heads.push_back(head.name);
  EXPECT_EQ(heads, (std::vector<std::string>{"nli", "mlm"}));

  // The same phase again, and with a file less.
  EXPECT_FALSE(run_experiment(experiment, run).interrupted);
  fs::remove(copy / "XNLI-MT-1.0/multinli/multinli.train.sw.tsv");
  expect_user_error([&] { run_experiment(experiment, options("other")); },
                    {"mnli", "\"sw\"", "XNLI-MT-1.0/multinli/multinli.train.sw.tsv"});
}

TEST_F(PlanOfData, TheDiskHoldsModelsThatStayAndTheLargestTraining) {
  Experiment experiment = read(kTiny);
  ModelConfig config = experiment.model.config;
  config.vocab_size = 202;
  const Plan plan = make_plan(experiment, config);
  const auto model = [&](std::size_t phase) {
    std::vector<HeadSpec> heads;
    for (const TrainedTask& task : plan.phases[phase].tasks) heads.push_back(task.head);
    return 4.0 * static_cast<double>(model_parameter_table(config, heads).elements());
  };
  ASSERT_EQ(plan.phases[1].label, "target xnli");
  ASSERT_TRUE(plan.phases[1].settings.load_best_model_at_end && plan.phases[1].settings.eval_steps > 0);
  ASSERT_EQ(plan.phases[4].label, "intermediate both");
  // A checkpoint is weights and two moments, and the best weights of a training with a dev set. One is kept while the next
  // is written. A target's model goes when it has been evaluated.
  EXPECT_EQ(disk_bytes(plan, {0}), model(0) + 2 * 3 * model(0));
  EXPECT_EQ(disk_bytes(plan, {1}), 2 * 4 * model(1) + model(1));
  EXPECT_EQ(disk_bytes(plan, {2}), 0) << "nothing is trained for tatoeba";
  EXPECT_EQ(disk_bytes(plan, {0, 1, 4}), model(0) + model(4) + std::max(2 * 4 * model(4), 2 * 4 * model(1) + model(1)));
  experiment.save_models = true;
  EXPECT_EQ(disk_bytes(make_plan(experiment, config), {1, 3}), 2 * model(1) + 2 * 4 * model(1));
}

TEST_F(PlanOfData, WhatIsMissingIsSaidBeforeThePhases) {
  std::string text = kTiny;
  text += "languages = [\"xx\"]\n";  // of tatoeba
  expect_user_error([&] { run_experiment(read(text), options("run")); }, {"tiny.toml: tatoeba.languages", "\"xx\""});
  EXPECT_FALSE(fs::exists(output_ / "run/pretraining"));
  for (const PhaseEstimate& phase : estimate_experiment(read(text)).phases)
    EXPECT_EQ(phase.missing.empty(), phase.label != "evaluate tatoeba") << phase.label;
}

}  // namespace
}  // namespace koine
