// Tasks on samples of their real data, by the program: trained for two steps, evaluated, their predictions written and
// scored.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "program.h"
#include "tasks/common/task.h"
#include "tasks/report/kept_outcomes.h"

namespace koine {
namespace {

namespace fs = std::filesystem;

struct RealTask {
  const char* name;
  const char* data;  ///< folder below KOINE_DATA
  const char* split;
  const char* languages;
  bool trained = true;
};

void PrintTo(const RealTask& task, std::ostream* out) { *out << task.name; }

class RealTasks : public ::testing::TestWithParam<RealTask> {
 protected:
  static void SetUpTestSuite() {
    shared_ = new Folder;
    write_small_data(shared_->path() / "text");
    write_small_model(shared_->path() / "model", shared_->path() / "text");
  }
  static void TearDownTestSuite() {
    delete shared_;
    shared_ = nullptr;
  }
  static Folder* shared_;
};
Folder* RealTasks::shared_ = nullptr;

TEST_P(RealTasks, TrainsEvaluatesAndIsScored) {
  const char* root = std::getenv("KOINE_DATA");
  if (root == nullptr) GTEST_SKIP() << "KOINE_DATA is not set: no real data to read";
  const RealTask& task = GetParam();
  Folder folder;
  // The names the data sets' own archives have, where the sample calls its folder otherwise.
  fs::create_directory_symlink(fs::path(root) / "panx_like", folder.path() / "panx_dataset");
  fs::create_directory_symlink(fs::path(root) / "format_fixtures/mlqa", folder.path() / "mlqa");
  fs::create_directory_symlink(fs::path(root) / "squad", folder.path() / "squad");
  const std::string data = std::string(task.data) == "." ? folder.path().string() : (fs::path(root) / task.data).string();
  const auto run = [&](std::vector<std::string> words) {
    words.insert(words.end(),
                 {"--task", task.name, "--data", data, "--max-seq-length", "60", "--precision", "fp32", "--quiet"});
    if (find_task(task.name).head() == HeadKind::kSpan) words.insert(words.end(), {"--max-query-length", "16"});
    return run_koine(words);
  };
  std::string model = *shared_ / "model";
  if (task.trained) {
    const Outcome trained =
        run({"train", "--model", model, "--output", folder / "trained", "--max-steps", "2", "--max-train-examples", "16"});
    ASSERT_EQ(trained.exit_code, 0) << trained.errors;
    model = folder / "trained/model";
  }
  const Outcome evaluated = run({"evaluate", "--model", model, "--output", folder / "evaluated", "--languages",
                                 task.languages, "--split", task.split});
  ASSERT_EQ(evaluated.exit_code, 0) << evaluated.errors;
  std::string languages = task.languages;
  // Each table of outcomes is held against its figure as it is read. The average of accuracy and F1, and the F1 of mined pairs, have none.
  const std::vector<ResultRow> rows = read_results(folder.path() / "evaluated/results.json");
  const bool keeps = std::string(task.name) != "qqp" && std::string(task.name) != "bucc2018";
  const auto count = 1 + std::count(languages.begin(), languages.end(), ',');
  EXPECT_EQ(std::ssize(read_outcomes(folder.path() / "evaluated", rows)), keeps ? count : 0);
  for (std::size_t begin = 0; begin < languages.size();) {
    const std::size_t end = std::min(languages.find(',', begin), languages.size());
    const std::string language = languages.substr(begin, end - begin);
    begin = end + 1;
    fs::path predictions;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder.path() / "evaluated/predictions" / task.name)) {
      if (entry.path().stem() == task.split + ("-" + language)) predictions = entry.path();
    }
    ASSERT_FALSE(predictions.empty()) << language;
    EXPECT_FALSE(read_text(predictions).empty());
    const Outcome scored = run_koine(
        {"score", "--task", task.name, "--predictions", predictions.string(), "--gold", data, "--languages", language});
    ASSERT_EQ(scored.exit_code, 0) << scored.errors;
    EXPECT_NE(scored.output.find(language), std::string::npos);
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, RealTasks,
    ::testing::Values(RealTask{"mnli", "", "dev", "en"}, RealTask{"snli", "", "dev", "en"},
                      RealTask{"anli", "", "dev", "en"}, RealTask{"anli+", "", "dev", "en"},
                      RealTask{"qqp", "qqp_synthetic", "dev", "en"}, RealTask{"hellaswag", "", "dev", "en"},
                      RealTask{"cosmosqa", "", "dev", "en"}, RealTask{"commonsenseqa", "", "dev", "en"},
                      RealTask{"copa", "", "dev", "en"}, RealTask{"squad", "", "dev", "en"},
                      RealTask{"squad2", "", "dev", "en"}, RealTask{"xnli", "", "test", "en,sw"},
                      RealTask{"udpos", "", "test", "en,fi"}, RealTask{"panx", ".", "test", "en,de,zh,sw,yo"},
                      RealTask{"xquad", "", "test", "en,zh"}, RealTask{"mlqa", "", "dev", "de"},
                      RealTask{"mlqa_pairs", ".", "test", "en,en-ar,en-zh"}, RealTask{"tydiqa", "", "test", "en,fi,ko"},
                      RealTask{"xcopa", "", "test", "et,ta,zh"}, RealTask{"tatoeba", "", "test", "jv,te", false},
                      RealTask{"bucc2018", "bucc_like", "test", "de,zh", false}, RealTask{"lareqa", "", "test", "mul"},
                      RealTask{"lareqa", "", "test", "mul", false}),
    [](const ::testing::TestParamInfo<RealTask>& info) {
      std::string name = info.param.name;
      if (name.back() == '+') name.replace(name.size() - 1, 1, "_plus");
      if (!info.param.trained) name += "_untrained";
      return name;
    });

}  // namespace
}  // namespace koine
