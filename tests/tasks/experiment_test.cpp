// Experiment files: what is read from TOML, what is refused and how, the recipes behind the defaults, the sampler's weights.

#include "tasks/experiment/experiment.h"

#include <gtest/gtest.h>

#include <set>
#include <sstream>
#include <utility>
#include <vector>

#include "engine/files/text_file.h"
#include "engine/optimizer/optimizer.h"
#include "engine/settings/setting_keys.h"
#include "kernels/common/check.h"
#include "kernels/cuda/runtime.h"
#include "models/models.h"
#include "stub_model.h"
#include "tasks/experiment/estimate.h"
#include "tasks/experiment/recipe_file.h"
#include "tasks/experiment/recipes.h"
#include "tasks/experiment/run_experiment.h"
#include "tasks/experiment/toml_section.h"
#include "tasks/experiment/toml_settings.h"

namespace koine {
namespace {

constexpr char kModel[] = "[model]\ndirectory = \"m\"\n";
constexpr char kTarget[] = "[[target]]\ntask = \"xnli\"\n";

Experiment parse(const std::string& text) { return parse_experiment(text, "dir/file.toml", "data"); }

/// Reading `text` is refused with a message that holds all of `parts`.
void expect_refused(const std::string& text, const std::vector<std::string>& parts) {
  try {
    parse(text);
    ADD_FAILURE() << "accepted:\n" << text;
  } catch (const UserError& error) {
    const std::string message = error.what();
    for (const std::string& part : parts) EXPECT_NE(message.find(part), std::string::npos) << message << "\nlacks " << part;
  }
}

TEST(ExperimentFile, UnknownKeysAreRefusedWithLineAndNearestName) {
  expect_refused(std::string("sedes = [1]\n") + kModel + kTarget, {"file.toml:1: unknown key \"sedes\"", "\"seeds\""});
  expect_refused(std::string(kModel) + "nmae = \"x\"\n" + kTarget,
                 {"file.toml:3: unknown key \"nmae\" in [model]", "\"name\""});
  expect_refused(std::string(kModel) +
                     "[[intermediate]]\ntasks = [\"mnli\"]\n[[intermediate]]\nname = \"b\"\nsmapler = \"uniform\"\n" +
                     kTarget,
                 {"file.toml:7: unknown key \"smapler\" in [intermediate[2]]", "\"sampler\""});
  expect_refused(std::string(kModel) + kTarget + "learning_rat = 1e-5\n",
                 {"file.toml:5:", "[target[1]]", "\"learning_rate\""});
  expect_refused(std::string(kModel) + kTarget + "zzzzzzzzzzz = 1\n", {"file.toml:5:", "known are", "max_eval_examples"});
}

TEST(ExperimentFile, WrongTypesAreRefused) {
  expect_refused(std::string("name = 3\n") + kModel + kTarget, {"file.toml:1: name", "a text in quotes"});
  expect_refused(std::string("seeds = [1, \"2\"]\n") + kModel + kTarget, {"file.toml:1: seeds", "a list of whole numbers"});
  expect_refused(std::string("save_models = 1\n") + kModel + kTarget, {"file.toml:1: save_models", "true or false"});
  expect_refused(std::string(kModel) + kTarget + "max_steps = 1.5\n",
                 {"file.toml:5: target[1].max_steps", "a whole number"});
  expect_refused(std::string(kModel) + kTarget + "languages = 3\n",
                 {"file.toml:5: target[1].languages", "a text or a list of texts"});
  expect_refused("model = \"m\"\n", {"file.toml:1: model", "a table: [model]"});
  expect_refused(std::string(kModel) + "[target]\ntask = \"xnli\"\n", {"target", "a list of tables: [[target]]"});
  expect_refused("name = \n", {"file.toml:1"});
}

TEST(ExperimentFile, ValuesOutOfRangeAreRefused) {
  expect_refused(std::string("seeds = [-1]\n") + kModel + kTarget,
                 {"file.toml:1: seeds holds -1", "between 0 and 4294967295"});
  expect_refused(std::string("seeds = []\n") + kModel + kTarget, {"file.toml:1: seeds is empty"});
  expect_refused(std::string("seeds = [1, 1]\n") + kModel + kTarget, {"two seeds are called \"1\""});
  expect_refused(std::string("precision = \"fp16\"\n") + kModel + kTarget,
                 {"file.toml:1: precision is \"fp16\"", "\"bf16\""});
  expect_refused(std::string(kModel) + kTarget + "warmup_ratio = 1.5\n",
                 {"file.toml:5: target[1].warmup_ratio is 1.5", "between 0 and 1"});
  expect_refused(std::string(kModel) + "[[intermediate]]\ntasks = [\"mnli\"]\ntemperature = 0\n" + kTarget,
                 {"file.toml:5: intermediate[1].temperature is 0"});
}

TEST(ExperimentFile, PartsThatDoNotFitTogetherAreRefused) {
  expect_refused(kModel, {"no [[target]]"});
  expect_refused(std::string(kModel) + "[[target]]\ntask = \"xnly\"\n", {"file.toml:4", "xnly", "\"xnli\""});
  expect_refused(std::string(kModel) + kTarget + kTarget, {"two [[target]] entries are called \"xnli\""});
  expect_refused(std::string(kModel) + "[[intermediate]]\n[[intermediate]]\n" + kTarget,
                 {"two [[intermediate]] arms", "\"none\""});
  expect_refused(std::string(kModel) + "hidden_size = 8\n" + kTarget, {"file.toml:3: model.hidden_size", "config.json"});
  expect_refused(
      std::string("[model]\nhidden_size = 10\nnum_hidden_layers = 1\nnum_attention_heads = 4\nintermediate_size = 8\n") +
          kTarget,
      {"file.toml:2: model.hidden_size (10) must be a multiple of num_attention_heads (4)"});
  expect_refused(std::string(kModel) + "[tokenizer]\npath = \"t\"\n" + kTarget, {"file.toml:4", "own tokenizer"});
  expect_refused(std::string(kModel) + "[[intermediate]]\ntasks = [\"mnli\", \"squad\"]\nweights = [1]\n" + kTarget,
                 {"file.toml:5: intermediate[1].weights has 1 entries for 2 tasks"});
  expect_refused(std::string(kModel) + "[generated_data]\nseed = 1\n" + kTarget, {"file.toml:3", "to be generated"});
}

TEST(ExperimentFile, DefaultsAreTheRecipesAndKeysReplaceThem) {
  const Experiment experiment = parse(std::string(kModel) + kTarget + "learning_rate = 3e-5\n");
  EXPECT_EQ(experiment.name, "file");
  EXPECT_EQ(experiment.seeds, std::vector<std::uint32_t>{1});
  EXPECT_EQ(experiment.model.name, "m");
  ASSERT_EQ(experiment.intermediate.size(), 1u);
  EXPECT_EQ(experiment.intermediate[0].name, "none");
  EXPECT_TRUE(experiment.intermediate[0].tasks.empty());
  ASSERT_EQ(experiment.targets.size(), 1u);
  const TargetSpec& target = experiment.targets[0];
  EXPECT_EQ(target.train_task, "mnli");
  EXPECT_EQ(target.split, "test");
  EXPECT_EQ(target.settings.learning_rate, 3e-5);
  EXPECT_EQ(target.settings.gradient_accumulation_steps, target_recipe("xnli").gradient_accumulation_steps);
}

// The numbers of nyu-mll/jiant's XTREME scripts, written out: batch x accumulation, epochs, tokens.
TEST(Recipes, AreTheAuthors) {
  const TrainingSettings xnli = target_recipe("xnli");
  EXPECT_EQ(xnli.per_device_train_batch_size, 4);
  EXPECT_EQ(xnli.gradient_accumulation_steps, 8);
  EXPECT_EQ(xnli.num_train_epochs, 2);
  EXPECT_EQ(find_task("xnli").max_seq_length(), 256);
  EXPECT_EQ(xnli.learning_rate, 1e-5);
  EXPECT_EQ(xnli.eval_steps, 1000);
  EXPECT_EQ(target_recipe("udpos").num_train_epochs, 10);
  EXPECT_EQ(target_recipe("xquad").gradient_accumulation_steps, 4);
  EXPECT_EQ(find_task("xquad").max_seq_length(), 384);
  EXPECT_EQ(target_recipe("squad").num_train_epochs, 3) << "no script names it as a target";
  EXPECT_EQ(target_recipe("squad").gradient_accumulation_steps, 8);
  EXPECT_EQ(intermediate_recipe({"squad"}).per_device_train_batch_size, 8);
  EXPECT_EQ(intermediate_recipe({"squad"}).num_train_epochs, 3);
  // MLM beside a task lowers the rate and keeps the task's batch and epochs; several tasks have a recipe of their own.
  EXPECT_EQ(intermediate_recipe({"mnli", "mlm"}).learning_rate, 5e-6);
  EXPECT_EQ(intermediate_recipe({"mnli", "mlm"}).num_train_epochs, 2);
  EXPECT_EQ(intermediate_recipe({"mlm", "mnli"}).num_train_epochs, 2);
  EXPECT_EQ(intermediate_recipe({"mlm"}).per_device_train_batch_size, 8);
  EXPECT_EQ(intermediate_recipe({"mnli", "squad"}).per_device_train_batch_size, 24);
  EXPECT_EQ(intermediate_recipe({"mnli", "squad"}).num_train_epochs, 3);
  EXPECT_EQ(pretraining_recipe().learning_rate, 6e-4);
  EXPECT_EQ(pretraining_recipe().adam_beta2, 0.98);
  EXPECT_EQ(training_recipe("udpos").num_train_epochs, 10);
  EXPECT_EQ(training_recipe("squad").num_train_epochs, 3);
}

/// The built-in defaults and recipes/stilts-2020.toml have their numbers from the same scripts.
TEST(RecipeFiles, StiltsAgreesWithTheDefaults) {
  std::string experiment = kModel;
  for (const char* task :
       {"anli+", "mnli", "qqp", "squad", "squad2", "hellaswag", "ccg", "cosmosqa", "commonsenseqa", "mlm"})
    experiment += concatenate("[[intermediate]]\ntasks = [\"", task, "\"]\n");
  experiment += "[[intermediate]]\ntasks = [\"mnli\", \"squad\"]\n[[intermediate]]\ntasks = [\"mlm\", \"qqp\"]\n";
  for (const char* task : {"xnli", "pawsx", "udpos", "panx", "xquad", "mlqa", "mlqa_pairs", "tydiqa"})
    experiment += concatenate("[[target]]\ntask = \"", task, "\"\n");
  const Experiment with = parse("recipe = \"stilts-2020\"\n" + experiment);
  const Experiment without = parse(experiment);
  for (std::size_t i = 0; i < with.intermediate.size(); ++i) {
    const IntermediateSpec& arm = with.intermediate[i];
    EXPECT_EQ(settings_toml(arm.settings), settings_toml(without.intermediate[i].settings)) << arm.name;
    EXPECT_TRUE(arm.origins.contains("num_train_epochs")) << arm.name;
    if (arm.tasks.size() == 1) {
      EXPECT_EQ(arm.features.max_seq_length, find_task(arm.tasks.front()).max_seq_length()) << arm.name;
    }
  }
  for (std::size_t i = 0; i < with.targets.size(); ++i) {
    const TargetSpec& target = with.targets[i];
    EXPECT_EQ(settings_toml(target.settings), settings_toml(without.targets[i].settings)) << target.task;
    EXPECT_EQ(target.features.max_seq_length, find_task(target.task).max_seq_length()) << target.task;
    EXPECT_TRUE(target.origins.contains("num_train_epochs")) << target.task;
  }
}

// The numbers of google-research/xtreme's scripts of 2020, written out.
TEST(RecipeFiles, XtremesTakeThePlaceOfTheDefaultsAndOwnKeysWin) {
  const Experiment experiment = parse(std::string("recipe = \"xtreme-2020\"\n") + kModel + kTarget +
                                      "num_train_epochs = 1\n[[target]]\ntask = \"mlqa\"\n"
                                      "[[intermediate]]\ntasks = [\"squad\"]\n");
  const TargetSpec& xnli = experiment.targets[0];
  EXPECT_EQ(xnli.settings.learning_rate, 2e-5);
  EXPECT_EQ(xnli.settings.per_device_train_batch_size * xnli.settings.gradient_accumulation_steps, 32);
  EXPECT_EQ(xnli.settings.weight_decay, 0);
  EXPECT_EQ(warmup_steps_of(xnli.settings, 1000), 0);
  EXPECT_EQ(xnli.settings.early_stopping_patience, 0);
  EXPECT_EQ(xnli.features.max_seq_length, 128);
  EXPECT_EQ(xnli.settings.num_train_epochs, 1) << "the experiment's own";
  const TargetSpec& mlqa = experiment.targets[1];
  EXPECT_EQ(mlqa.settings.learning_rate, 3e-5);
  EXPECT_EQ(mlqa.settings.weight_decay, 1e-4);
  EXPECT_EQ(mlqa.settings.warmup_steps, 500);
  EXPECT_FALSE(mlqa.settings.load_best_model_at_end);
  // A task the recipe does not name has what is for all, and the defaults.
  const IntermediateSpec& squad = experiment.intermediate[0];
  EXPECT_EQ(squad.settings.weight_decay, 0);
  EXPECT_EQ(squad.settings.per_device_train_batch_size, 8);

  std::map<std::string, std::string> from;
  for (const NumberOrigin& number : number_origins(experiment)) from[number.training + " " + number.key] = number.origin;
  EXPECT_EQ(from.at("target xnli num_train_epochs"), "dir/file.toml:6");
  EXPECT_EQ(from.at("target xnli save_steps"), "default");
  EXPECT_EQ(from.at("intermediate squad per_device_train_batch_size"), "default");
  const std::string origin = from.at("target xnli max_seq_length");
  ASSERT_TRUE(origin.starts_with("recipes/xtreme-2020.toml:")) << origin;
  std::istringstream lines(read_file(std::filesystem::path(KOINE_SOURCE_DIR) / "recipes/xtreme-2020.toml"));
  std::string line;
  for (int i = 0; i < std::stoi(origin.substr(origin.find(':') + 1)); ++i) std::getline(lines, line);
  EXPECT_TRUE(line.starts_with("max_seq_length = 128")) << line;
}

TEST(RecipeFiles, OfATrainingByItselfTheTaskMustBeKnown) {
  const RecipeFile recipe = RecipeFile::parse(
      "[all]\nweight_decay = 0.5\n[target.xnli]\nlearning_rate = 1e-4\nmax_seq_length = 40\n[intermediate.xnli]\n"
      "learning_rate = 2e-4\n[intermediate.mnli]\nlearning_rate = 3e-4\n[intermediate.mlm]\nlearning_rate = 4e-4\n"
      "[with_mlm]\nadam_beta2 = 0.9\n",
      "r.toml");
  TrainingSettings settings;
  FeatureOptions features;
  Origins origins;
  const auto apply = [&](const std::vector<std::string>& tasks) {
    origins.clear();
    settings = {};
    recipe.apply_training(tasks, {settings, features, origins}, "--recipe r");
    EXPECT_EQ(settings.weight_decay, 0.5);
    return settings.learning_rate;
  };
  EXPECT_EQ(apply({"xnli"}), 1e-4) << "as a target";
  EXPECT_EQ(features.max_seq_length, 40);
  EXPECT_EQ(origins, (Origins{{"weight_decay", "r.toml:2"}, {"learning_rate", "r.toml:4"}, {"max_seq_length", "r.toml:5"}}));
  EXPECT_EQ(apply({"mnli"}), 3e-4);
  EXPECT_EQ(settings.adam_beta2, 0.999);
  EXPECT_EQ(apply({"mlm", "mnli"}), 3e-4);
  EXPECT_EQ(settings.adam_beta2, 0.9);
  EXPECT_EQ(apply({"mlm"}), 4e-4);
  const auto refuse = [&](const std::vector<std::string>& tasks, const std::vector<std::string>& parts) {
    try {
      recipe.apply_training(tasks, {settings, features, origins}, "--recipe r");
      ADD_FAILURE() << "accepted";
    } catch (const UserError& error) {
      for (const std::string& part : parts)
        EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what() << "\nlacks " << part;
    }
  };
  refuse({"squad"}, {"--recipe r knows no training on squad", "the targets xnli", "the intermediate tasks"});
  refuse({"squad", "mlm"}, {"knows no training on squad;"});
  refuse({"mnli", "squad"}, {"knows no training on mnli, squad together"});
}

// XTREME-R's dual encoders, and Tatoeba behind SQuAD.
TEST(RecipeFiles, XtremeRsTrainsItsRetrievalTasks) {
  const Experiment experiment = parse(std::string("recipe = \"xtreme-r-2021\"\n") + kModel +
                                      "[[target]]\ntask = \"lareqa\"\n[[target]]\ntask = \"mewslix\"\n"
                                      "[[target]]\ntask = \"tatoeba\"\ntrain_task = \"squad\"\n");
  const TargetSpec& lareqa = experiment.targets[0];
  EXPECT_EQ(lareqa.train_task, "squad_sentences");
  EXPECT_EQ(lareqa.settings.learning_rate, 2e-5);
  EXPECT_EQ(lareqa.settings.per_device_train_batch_size, 4);
  EXPECT_EQ(lareqa.features.max_seq_length, 256);
  EXPECT_EQ(experiment.targets[1].train_task, "wikipedia_pairs");
  EXPECT_EQ(experiment.targets[1].settings.learning_rate, 1e-5);
  EXPECT_EQ(experiment.targets[2].train_task, "squad");
  EXPECT_EQ(experiment.targets[2].settings.per_device_train_batch_size, 2);
}

/// Every number of the recipes that come with the program has its source beside it.
TEST(RecipeFiles, EveryNumberHasItsSource) {
  for (const std::string& name : recipe_names()) {
    std::istringstream lines(read_file(std::filesystem::path(KOINE_SOURCE_DIR) / concatenate("recipes/", name, ".toml")));
    bool whole_section = false;  // a source behind the section's name is that of all its numbers
    int numbers = 0;
    for (std::string line; std::getline(lines, line);) {
      const std::size_t comment = line.find("# [");
      if (line.starts_with("[")) whole_section = comment != std::string::npos;
      if (line.starts_with("#") || line.find(" = ") == std::string::npos) continue;
      EXPECT_TRUE(whole_section || comment != std::string::npos) << name << ": " << line;
      ++numbers;
    }
    EXPECT_GT(numbers, 40) << name;
  }
  EXPECT_EQ(recipe_names(), (std::vector<std::string>{"stilts-2020", "xtreme-2020", "xtreme-r-2021"}));
}

TEST(ExperimentFile, AKeyOfManyPartsIsRefusedBeforeItOverflowsTheStack) {
  std::string key = "a";
  for (int i = 0; i < 50'000; ++i) key += ".a";
  for (const std::string& text :
       {"\n" + key + " = 1\n", "\n[" + key + "]\n", "\n[[" + key + "]]\n", "\nx = { " + key + " = 1 }\n"})
    expect_refused(text, {"file.toml:2: a key of more than 64 parts"});
  // What only looks like one: points in strings and comments.
  std::string points;
  for (int i = 0; i < 100; ++i) points += "a.";
  for (const std::string& value : {"\"" + points + "\"", "'" + points + "'", "\"\"\"x\n" + points + "\\\"\"\"\"",
                                   "'''" + points + "'''", "1 # " + points})
    expect_refused("wrong = " + value + "\n" + kModel + kTarget, {"unknown key \"wrong\""});
}

TEST(RecipeFiles, MistakesAreRefusedByFileAndLine) {
  const auto refused = [](const std::string& text, const std::vector<std::string>& parts) {
    try {
      RecipeFile::parse(text, "r.toml");
      ADD_FAILURE() << "accepted:\n" << text;
    } catch (const UserError& error) {
      const std::string message = error.what();
      for (const std::string& part : parts) EXPECT_NE(message.find(part), std::string::npos) << message << " lacks " << part;
    }
  };
  refused("[all]\n\nlearning_rat = 1e-5\n", {"r.toml:3: unknown key \"learning_rat\" in [all]", "\"learning_rate\""});
  refused("[target.xnly]\nlearning_rate = 1\n", {"r.toml:1: unknown key \"xnly\" in [target]", "\"xnli\""});
  refused("[target.xnli]\nnum_epochs = 1\n", {"r.toml:2: unknown key \"num_epochs\" in [target.xnli]"});
  refused("[intermediate.mnli]\nnum_train_epochs = \"3\"\n", {"r.toml:2: intermediate.mnli.num_train_epochs", "a number"});
  refused("[with_mlm]\nmax_seq_length = -1\n", {"r.toml:2: with_mlm.max_seq_length is -1"});
  refused("[al]\n", {"r.toml:1: unknown key \"al\""});
  refused("learning_rate = 1\n", {"r.toml:1: unknown key \"learning_rate\""});
  expect_refused(std::string("recipe = \"stilts-2021\"\n") + kModel + kTarget,
                 {"file.toml:1: recipe is \"stilts-2021\"", "did you mean \"stilts-2020\"?"});
  expect_refused(std::string("recipe = \"own.toml\"\n") + kModel + kTarget,
                 {"file.toml:1: recipe", "no file", "dir/own.toml"});
}

TEST(RecipeFiles, AreReadFromAPathBesideTheExperiment) {
  const TemporaryFolder folder;
  write_text(folder / "own.toml", "[target.xnli]\nlearning_rate = 7e-6\n");
  const Experiment experiment =
      parse_experiment(std::string("recipe = \"own.toml\"\n") + kModel + kTarget, folder / "file.toml", "data");
  EXPECT_EQ(experiment.targets[0].settings.learning_rate, 7e-6);
  EXPECT_EQ(experiment.recipe, (folder / "own.toml").string());
  const Experiment again = parse_experiment(experiment_toml(experiment), "elsewhere/config.toml");
  EXPECT_EQ(experiment_toml(again), experiment_toml(experiment));
}

TEST(SamplerWeights, AreThoseOfTheArm) {
  SamplerSpec arm;
  const std::vector<std::int64_t> examples = {400, 100, 2500};
  using Weights = std::vector<double>;
  EXPECT_EQ(sampler_weights(arm, examples), (Weights{400, 100, 2500}));
  arm.train_examples_cap = 1000;
  EXPECT_EQ(sampler_weights(arm, examples), (Weights{400, 100, 1000}));
  arm.train_examples_cap = 0;
  arm.kind = "uniform";
  EXPECT_EQ(sampler_weights(arm, examples), (Weights{1, 1, 1}));
  arm.kind = "temperature";
  arm.temperature = 2;  // square roots; exact, since pow(x, 0.5) of these squares is
  EXPECT_EQ(sampler_weights(arm, examples), (Weights{20, 10, 50}));
  arm.train_examples_cap = 900;
  EXPECT_EQ(sampler_weights(arm, examples), (Weights{20, 10, 30}));
  arm.weights = {3, 1, 0.5};
  EXPECT_EQ(sampler_weights(arm, examples), (Weights{3, 1, 0.5}));
}

// task_p of jiant's own samplers, run with numpy 2 on these sizes (nyu-mll/jiant,
// jiant/proj/main/components/task_sampler.py); the cap of "proportional" is that of jiant's configurator, which gives
// min(n, cap) to SpecifiedProbMultiTaskSampler.
TEST(SamplerProbabilities, AreJiants) {
  struct Case {
    SamplerSpec sampler;
    std::vector<double> expected;
  };
  const Case cases[] = {
      {{}, {0.8013639647213913, 0.17875814726084702, 0.019877888017761743}},
      {{"uniform"}, {1 / 3.0, 1 / 3.0, 1 / 3.0}},
      {{"specified", 1, 0, {3, 1, 0.5}}, {0.6666666666666666, 0.2222222222222222, 0.1111111111111111}},
      {{"proportional", 1, 50000}, {0.4556182283740808, 0.4556182283740808, 0.08876354325183843}},
      {{"temperature", 2}, {0.6135736000496108, 0.28979085940797683, 0.0966355405424124}},
      {{"temperature", 5, 104857}, {0.386637404494279, 0.37297885445767787, 0.24038374104804314}},
  };
  for (const Case& test : cases) {
    const std::vector<TrainingTask> tasks =
        sampled_tasks(test.sampler, {"mnli", "squad", "commonsenseqa"}, {392702, 87599, 9741});
    const std::vector<double> probabilities = task_probabilities(0, tasks);
    // A few roundings of either side: of the power, the sum, the quotient.
    for (std::size_t i = 0; i < 3; ++i)
      EXPECT_NEAR(probabilities[i], test.expected[i], 4 * 0x1p-52) << test.sampler.kind << " " << i;
    for (const TrainingTask& task : tasks) EXPECT_EQ(task.examples_cap, test.sampler.train_examples_cap);
    EXPECT_DOUBLE_EQ(expected_steps(tasks, 50)[1], 50 * probabilities[1]);
  }
  SamplerSpec batches;
  batches.batch_sizes = {{"b", 8}};
  EXPECT_EQ(sampled_tasks(batches, {"a", "b"}, {5, 5})[0].batch_size, 0);
  EXPECT_EQ(sampled_tasks(batches, {"a", "b"}, {5, 5})[1].batch_size, 8);
  SamplerSpec changing{"time_dependent", 1, 0, {}, {"1", "t", "4 - t"}};
  const std::vector<TrainingTask> tasks = sampled_tasks(changing, {"a", "b", "c"}, {5, 5, 5});
  EXPECT_EQ(probabilities_text(tasks, 5), "a 20.00 %, b 0.00 % to 80.00 %, c 80.00 % to 0.00 %");
  EXPECT_NEAR(expected_steps(tasks, 5)[1], 2, 1e-15) << "(0 + 1 + 2 + 3 + 4) / 5, each rounded";
}

TEST(ExperimentFile, SamplersThatCannotDrawAreRefused) {
  const auto refuse = [](const std::string& keys, const std::vector<std::string>& parts) {
    expect_refused(std::string(kModel) + "[[intermediate]]\ntasks = [\"mnli\", \"squad\"]\n" + keys + kTarget, parts);
  };
  refuse("sampler = \"specified\"\n", {"intermediate[1].weights is missing"});
  refuse("sampler = \"time_dependent\"\n", {"weight_functions", "belong together"});
  refuse("weight_functions = [\"1\", \"t\"]\n", {"file.toml:5: intermediate[1].weight_functions", "belong together"});
  refuse("sampler = \"time_dependent\"\nweight_functions = [\"1\"]\n", {"file.toml:6:", "has 1 entries for 2 tasks"});
  refuse("sampler = \"time_dependent\"\nweight_functions = [\"1\", \"1 +\"]\n",
         {"file.toml:6: intermediate[1].weight_functions", "\"1 +\"", "character 4"});
  refuse("heads = {mnli = \"one\", squad = \"one\"}\n", {"file.toml:5: intermediate[1].heads", "mnli and squad", "\"one\""});
  refuse("heads = {mnil = \"one\"}\n", {"file.toml:5:", "unknown key \"mnil\""});
  refuse("batch_sizes = {mnil = 4}\n", {"file.toml:5:", "unknown key \"mnil\"", "\"mnli\""});
  refuse("batch_sizes = {mnli = 0}\n", {"file.toml:5: intermediate[1].batch_sizes.mnli is 0", "between 1 and"});
  refuse("batch_sizes = 4\n", {"file.toml:5: intermediate[1].batch_sizes must be a table"});
  refuse("equal_tokens = true\nmax_steps = 5\n", {"file.toml:5: intermediate[1].equal_tokens", "num_train_epochs"});
  expect_refused(std::string(kModel) + "[[intermediate]]\ntasks = [\"mnli\", \"mnli\"]\n" + kTarget,
                 {"file.toml:4: intermediate[1].tasks names \"mnli\" twice"});
}

constexpr char kEverything[] = R"(
name = "all \"quoted\" \\ of it"
seeds = [3, 7]
precision = "bf16"
source_language = "fi"
save_models = true
[model]
name = "tiny"
hidden_size = 16
num_hidden_layers = 2
num_attention_heads = 2
intermediate_size = 32
max_position_embeddings = 66
hidden_dropout_prob = 0.25
norm = "pre"
[tokenizer]
inputs = ["text/en.txt", "text/fi.txt"]
pieces = 50
character_coverage = 0.99
[pretraining]
files = ["text/en.txt"]
mlm_probability = 0.2
seed = 9
learning_rate = 1e-3
lr_scheduler_type = "cosine"
[[intermediate]]
name = "none"
[[intermediate]]
name = "both"
tasks = ["mnli", "mlm"]
start = "fresh"
mlm_languages = ["fi"]
sampler = "temperature"
temperature = 5
train_examples_cap = 1000
weights = [3, 0.1]
mlm_packed = true
heads = {mnli = "nli"}
batch_sizes = {mlm = 8}
task_languages = {mnli = ["en", "fi"]}
equal_tokens = true
max_seq_length = 60
load_best_model_at_end = false
[[intermediate]]
name = "changing"
tasks = ["mnli", "squad"]
sampler = "time_dependent"
weight_functions = ["1", "exp(t/1000) "]
[[target]]
task = "xquad"
train_task = "squad"
languages = ["de", "es"]
split = "test"
max_eval_examples = 5
doc_stride = 20
max_query_length = 10
max_train_examples = 50
adam_epsilon = 3e-9
[[target]]
task = "tatoeba"
layer = 1
pooling = "cls"
)";

TEST(ExperimentToml, ReadsBackToTheSame) {
  const Experiment first = parse(kEverything);
  const std::string text = experiment_toml(first);
  const Experiment second = parse(text);
  EXPECT_EQ(experiment_toml(second), text);
  EXPECT_EQ(second.name, "all \"quoted\" \\ of it");
  EXPECT_EQ(second.seeds, (std::vector<std::uint32_t>{3, 7}));
  EXPECT_EQ(second.precision, "bf16");
  EXPECT_EQ(second.source_language, "fi");
  EXPECT_TRUE(second.save_models);
  EXPECT_EQ(second.data, first.data);
  EXPECT_EQ(second.model.config.hidden_dropout_prob, 0.25);
  EXPECT_EQ(second.model.config.norm, NormPlacement::kPre);
  EXPECT_EQ(second.tokenizer.inputs, first.tokenizer.inputs);
  EXPECT_EQ(second.pretraining->settings.lr_scheduler_type, Schedule::kCosine);
  EXPECT_EQ(second.pretraining->seed, 9u);
  ASSERT_EQ(second.intermediate.size(), 3u);
  EXPECT_TRUE(second.intermediate[1].start_fresh);
  EXPECT_EQ(second.intermediate[1].sampler.weights, (std::vector<double>{3, 0.1}));
  EXPECT_TRUE(second.intermediate[1].features.pack_lines);
  EXPECT_TRUE(second.intermediate[1].equal_tokens);
  EXPECT_EQ(second.intermediate[1].heads.at("mnli"), "nli");
  EXPECT_EQ(second.intermediate[1].sampler.batch_sizes, (std::map<std::string, std::int64_t>{{"mlm", 8}}));
  EXPECT_TRUE(second.intermediate[2].sampler.batch_sizes.empty());
  EXPECT_EQ(second.intermediate[1].task_languages.at("mnli"), (std::vector<std::string>{"en", "fi"}));
  EXPECT_EQ(second.intermediate[2].sampler.weight_functions, (std::vector<std::string>{"1", "exp(t/1000) "}));
  EXPECT_FALSE(second.intermediate[1].settings.load_best_model_at_end);
  ASSERT_EQ(second.targets.size(), 2u);
  EXPECT_EQ(second.targets[0].features.doc_stride, 20);
  EXPECT_EQ(second.targets[0].features.max_examples, 50);
  EXPECT_EQ(second.targets[0].settings.adam_epsilon, 3e-9);
  EXPECT_EQ(second.targets[1].layers.layers, std::vector<std::int64_t>{1});
  EXPECT_EQ(second.targets[1].pooling, Pooling::kFirstToken);
  EXPECT_EQ(second.targets[1].train_task, "");
}

TEST(ExperimentToml, TheSameTaskMayBeATargetTwiceUnderTwoNames) {
  const std::string text = std::string(kModel) + kTarget + "[[target]]\nname = \"long\"\ntask = \"xnli\"\n";
  const Experiment read = parse(text);
  EXPECT_EQ(read.targets[0].name, "xnli");
  EXPECT_EQ(read.targets[1].name, "long");
  EXPECT_EQ(parse(experiment_toml(read)).targets[1].name, "long");
  expect_refused(text + "[[target]]\nname = \"long\"\ntask = \"xquad\"\n", {"two [[target]] entries are called \"long\""});
  expect_refused(std::string(kModel) + kTarget + "name = \"a/b\"\n", {"target[1].name", "names a folder"});
}

TEST(ExperimentToml, LayersAreOneSomeOrAll) {
  const auto layers = [](const std::string& value) {
    const Experiment read = parse(std::string(kEverything) + "[[target]]\ntask = \"mexa\"\nlayer = " + value + "\n");
    EXPECT_EQ(parse(experiment_toml(read)).targets.back().layers, read.targets.back().layers) << value;
    EXPECT_EQ(read.targets.back().pooling, Pooling::kPositionWeightedMean) << "the task's own";
    return read.targets.back().layers;
  };
  EXPECT_EQ(layers("3"), (LayerChoice{false, {3}}));
  EXPECT_EQ(layers("\"7,12\""), (LayerChoice{false, {7, 12}}));
  EXPECT_EQ(layers("[12, 7]"), (LayerChoice{false, {12, 7}}));
  EXPECT_EQ(layers("\"all\""), (LayerChoice{true, {}}));
  const std::string target = std::string(kModel) + "[[target]]\ntask = \"tatoeba\"\nlayer = ";
  expect_refused(target + "\"most\"\n", {"file.toml:5: target[1].layer", "\"most\"", "\"all\""});
  expect_refused(target + "-1\n", {"file.toml:5: target[1].layer"});
  expect_refused(target + "[]\n", {"file.toml:5: target[1].layer is empty"});
  expect_refused(target + "[7, 7]\n", {"file.toml:5: target[1].layer", "twice"});
  expect_refused(target + "[7, \"all\"]\n", {"file.toml:5: target[1].layer", "a list of whole numbers"});
}

TEST(ExperimentToml, ChoosesTheOptimizer) {
  const std::string target = std::string(kModel) + "[[target]]\ntask = \"xnli\"\n";
  EXPECT_EQ(parse(target).targets[0].settings.optimizer, OptimizerKind::kAdamW);
  EXPECT_EQ(parse(target + "optimizer = \"adafactor\"\n").targets[0].settings.optimizer, OptimizerKind::kAdafactor);
  EXPECT_EQ(parse(target + "optimizer = \"adafactor_t5\"\nweight_decay = 0.0\n").targets[0].settings.optimizer,
            OptimizerKind::kAdafactorT5);
  expect_refused(target + "optimizer = \"adam\"\n", {"file.toml:5: target[1].optimizer", "\"adam\"", "\"adamw_8bit\""});
  expect_refused(target + "optimizer = \"adafactor_t5\"\n",
                 {"file.toml:5: target[1].optimizer", "adafactor_t5", "set weight_decay = 0"});
}

/// docs/experiments.md is where the keys are explained: every key of a written experiment, training settings apart.
TEST(ExperimentToml, EveryKeyIsDocumented) {
  const std::string documentation = read_file(std::filesystem::path(KOINE_SOURCE_DIR) / "docs/experiments.md");
  std::set<std::string> settings;
  for (const SettingKey& key : setting_keys()) settings.insert(key.name);
  std::istringstream lines(experiment_toml(parse(kEverything)));
  int keys = 0;
  for (std::string line; std::getline(lines, line);) {
    const std::size_t equals = line.find(" = ");
    if (equals == std::string::npos || settings.contains(line.substr(0, equals))) continue;
    ++keys;
    EXPECT_NE(documentation.find(line.substr(0, equals)), std::string::npos) << line;
  }
  EXPECT_GT(keys, 40);
}

TEST(ExperimentToml, NamesEverySettingOnce) {
  TrainingSettings settings;
  const std::string text = settings_toml(settings);
  for (const SettingKey& key : setting_keys()) {
    const std::string line = std::string(key.name) + " = ";
    const std::size_t at = text.find(line);
    ASSERT_NE(at, std::string::npos) << key.name;
    EXPECT_TRUE(at == 0 || text[at - 1] == '\n') << key.name;
  }
  EXPECT_EQ(toml_number(1), "1.0");
  EXPECT_EQ(toml_number(1e-5), "1e-05");
  EXPECT_EQ(toml_text("a\"b\\\n"), "\"a\\\"b\\\\\\u000A\"");
}

// 12,000 tokens of a two-layer model: what is counted must be the buffers' sizes, added up.
TEST(EstimateMemory, AddsUpWhatATrainingHolds) {
  MemoryQuestion question;
  question.config.vocab_size = 1000;
  question.config.hidden_size = 32;
  question.config.num_hidden_layers = 2;
  question.config.num_attention_heads = 2;
  question.config.intermediate_size = 64;
  question.config.max_position_embeddings = 66;
  question.heads = {{"", HeadKind::kSequence, 3}};
  question.tokens = 1200;
  question.resident_bytes = 5000;
  const auto total = [](const MemoryQuestion& asked) { return estimate_memory(asked).back().bytes; };
  const auto line = [](const MemoryQuestion& asked, const std::string& name) {
    for (const MemoryLine& entry : estimate_memory(asked)) {
      if (entry.name == name) return entry.bytes;
    }
    return 0.0;
  };
  double sum = 0;
  for (const MemoryLine& entry : estimate_memory(question)) sum += entry.bytes;
  EXPECT_DOUBLE_EQ(sum, 2 * total(question)) << "the last line is the sum of the others";
  EXPECT_EQ(line(question, "program, libraries, tokenizer, data"), 5000);
  EXPECT_EQ(line(question, "moments"), 2 * line(question, "gradients"));
  // 1200 tokens x 64 x 4 bytes in each of two layers.
  EXPECT_EQ(line(question, "activations: blocks: pre_activation"), 2 * 1200 * 64 * 4);
  MemoryQuestion factored = question;
  factored.optimizer = OptimizerKind::kAdafactor;
  EXPECT_EQ(line(factored, "moments"), 0);
  EXPECT_DOUBLE_EQ(total(factored), total(question) - line(question, "moments") + line(factored, "factored moments"));
  EXPECT_LT(line(factored, "factored moments"), line(question, "moments") / 10);
  MemoryQuestion of_ranks = question;
  of_ranks.ranks = 4;
  of_ranks.gradient_parts = 8;
  EXPECT_EQ(line(of_ranks, "moments"), line(question, "moments"));
  // Two parts on each rank: the sum of the first waits.
  EXPECT_EQ(line(of_ranks, "sums of gradients that wait"), line(question, "gradients"));
  EXPECT_GT(line(of_ranks, "gradients on their way"), 0);
  of_ranks.zero = 1;
  EXPECT_NEAR(line(of_ranks, "moments"), line(question, "moments") / 4, 2 * 8 * 256) << "a cut is a multiple of 256";
  EXPECT_EQ(line(of_ranks, "gradients"), line(question, "gradients"));
  const double with_moments_shared = total(of_ranks);
  of_ranks.zero = 2;
  EXPECT_LT(line(of_ranks, "gradients"), line(question, "gradients") / 2);
  EXPECT_GT(line(of_ranks, "gradients that pass through"), 0);
  EXPECT_LT(total(of_ranks), with_moments_shared) << "two rounds, in which a quarter of each sum waits";
  MemoryQuestion again = question;
  again.recompute = true;
  EXPECT_LT(total(again), total(question));
  EXPECT_EQ(line(again, "activations: blocks: pre_activation"), 0);
  MemoryQuestion best = question;
  best.keeps_best = true;
  const double parameters = static_cast<double>(model_parameter_table(question.config, question.heads).elements()) * 4;
  EXPECT_DOUBLE_EQ(total(best), total(question) + parameters);
  MemoryQuestion prediction = question;
  prediction.training = false;
  EXPECT_EQ(line(prediction, "gradients"), 0);
  EXPECT_LT(total(prediction), total(question));
}

// The estimate of a device's memory is what a model, its optimizer and its batches then take there, but for the optimizer's
// own small numbers: the promise is 5 %.
TEST(EstimateMemory, OfADeviceIsWhatATrainingTakesThere) {
  if (cuda::device_count() == 0) GTEST_SKIP() << "CUDA finds no device";
  struct Training {
    HeadKind kind;
    OptimizerKind rule;
    MasterKind master = MasterKind::kFloat32;
    bool recompute = false;
    std::int64_t parts = 0;
  };
  using enum MasterKind;
  const std::vector<Training> trainings = {{HeadKind::kSequence, OptimizerKind::kAdamW},
                                           {HeadKind::kMaskedLm, OptimizerKind::kAdamW, kRemainder},
                                           {HeadKind::kSequence, OptimizerKind::kAdafactor, kFloat32, true},
                                           {HeadKind::kSequence, OptimizerKind::kAdamW8Bit, kNone, false, 8}};
  for (const auto& [kind, rule, master, recompute, parts] : trainings) {
    MemoryQuestion question;
    question.optimizer = rule;
    question.master = master;
    question.recompute = recompute;
    question.gradient_parts = parts;
    question.config.vocab_size = 4000;
    question.config.hidden_size = 64;
    question.config.num_hidden_layers = 4;
    question.config.num_attention_heads = 2;
    question.config.intermediate_size = 256;
    question.config.max_position_embeddings = 130;
    question.heads = {{"", kind, kind == HeadKind::kMaskedLm ? 4000 : 3}};
    question.execution.precision = DType::kBFloat16;
    question.tokens = 2048;
    question.execution.device = Device::kCuda;
    const std::int64_t before = cuda::trace().device_bytes;
    ModelOptions options;
    options.execution = question.execution;
    options.training = true;
    options.heads = question.heads;
    options.master = master;
    options.recompute = recompute;
    const std::unique_ptr<Model> model = make_model(question.config, options);
    model->reserve(question.tokens, true);
    TrainingSettings settings;
    settings.max_steps = 100;
    settings.optimizer = rule;
    settings.master = master;
    Optimizer optimizer(model->parameters(), settings, model->word_gradient_is_sparse());
    OneRank alone(Device::kCuda);
    const GradientExchange exchange(model->parameters(), alone, kBucketElements, parts);
    const auto taken = static_cast<double>(cuda::trace().device_bytes - before);
    const double estimated = estimate_memory(question).back().bytes;
    EXPECT_NEAR(estimated / taken, 1, 0.05) << name_of(rule) << ": " << estimated << " estimated, " << taken << " taken";
  }
}

TEST(EstimateMemory, AsksForEveryTraining) {
  const Experiment experiment = parse(std::string(kModel) +
                                      "[pretraining]\nfiles = [\"t\"]\nmax_tokens_per_batch = 100\n"
                                      "[[intermediate]]\nname = \"none\"\n"
                                      "[[intermediate]]\ntasks = [\"mnli\", \"mlm\"]\nmax_tokens_per_batch = 200\n" +
                                      kTarget + "max_tokens_per_batch = 300\n[[target]]\ntask = \"tatoeba\"\n");
  ModelConfig config;
  config.vocab_size = 77;
  const Plan plan = make_plan(experiment, config);
  const std::vector<MemoryQuestion> questions = memory_questions(plan, Execution{});
  ASSERT_EQ(questions.size(), 3u) << "the baseline and retrieval train nothing";
  EXPECT_EQ(questions[0].tokens, 100);
  EXPECT_FALSE(questions[0].keeps_best);
  EXPECT_EQ(questions[2].tokens, 200);
  ASSERT_EQ(questions[2].heads.size(), 2u);
  EXPECT_EQ(questions[2].heads[1].kind, HeadKind::kMaskedLm);
  EXPECT_EQ(questions[2].heads[1].classes, 77);
  EXPECT_EQ(questions[1].tokens, 300);
  EXPECT_TRUE(questions[1].keeps_best);

  // A training that ends before its first evaluation in between keeps none.
  std::vector<PhaseEstimate> phases(2);
  for (PhaseEstimate& phase : phases) phase.steps = experiment.targets[0].settings.eval_steps;
  phases[0].label = "intermediate mnli+mlm";
  phases[0].steps += 1;
  phases[1].label = "target xnli";
  const std::vector<MemoryQuestion> timed = memory_questions(plan, Execution{}, phases);
  EXPECT_TRUE(timed[2].keeps_best);
  EXPECT_FALSE(timed[1].keeps_best);
  phases[1].missing = "no data";
  EXPECT_TRUE(memory_questions(plan, Execution{}, phases)[1].keeps_best) << "unknown: it may";
}

TEST(EstimateMemory, SeesThisProcess) { EXPECT_GT(resident_memory(), 1e6); }

}  // namespace
}  // namespace koine
