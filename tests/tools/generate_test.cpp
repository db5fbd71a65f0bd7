// koine generate: lines in, answers out, by a tiny mT5 made here.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "program.h"
#include "small_mt5.h"

namespace koine {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::vector<std::string> answered_lines(const Outcome& outcome) {
  EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
  std::vector<std::string> lines;
  std::istringstream stream(outcome.output);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

class Generate : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new Folder;
    std::string corpus;
    for (int i = 0; i < 60; ++i) corpus += "the river runs to the sea\nstones are old " + std::to_string(i) + "\n";
    write_small_mt5(folder_->path() / "model", corpus, 312);
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }
  static Outcome generate(const std::string& input, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {"generate", "--model",     (folder_->path() / "model").string(),
                                          "--input",  "-",           "--max-length",
                                          "8",        "--precision", "fp32"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    ProgramOptions options;
    options.input = input;
    return run_koine(arguments, options);
  }

  static Folder* folder_;
};
Folder* Generate::folder_ = nullptr;

TEST_F(Generate, AnswersLineByLine) {
  const std::vector<std::string> plain = answered_lines(generate("the river\n\nold stones run\nthe river\n"));
  ASSERT_EQ(plain.size(), 4u);
  EXPECT_EQ(plain[0], plain[3]);
  // The same texts in JSON, more words to a batch or fewer: the same answers.
  const std::string asked = R"({"id": 7, "text": "the river"})"
                            "\n"
                            R"({"text": "old stones run"})"
                            "\n";
  const std::vector<std::string> lines =
      answered_lines(generate(asked, {"--max-seq-length", "16", "--max-tokens-per-batch", "16"}));
  ASSERT_EQ(lines.size(), 2u);
  const json first = json::parse(lines[0]);
  EXPECT_EQ(first["id"], 7);
  EXPECT_EQ(first["answer"], plain[0]);
  EXPECT_LT(first["score"], 0);
  EXPECT_EQ(json::parse(lines[1])["answer"], plain[2]);
}

TEST_F(Generate, AnswersOnlyWhatIsAllowed) {
  for (const char* beams : {"1", "3"}) {
    for (const std::string& line :
         answered_lines(generate("the river\nstones\nsea\n", {"--answers", "old,the sea", "--beams", beams})))
      EXPECT_TRUE(line == "old" || line == "the sea") << line;
  }
}

TEST_F(Generate, NamesMistakes) {
  expect_mistake(generate("{\"text\": 3}\n"), {"standard input:1", "\"text\""});
  expect_mistake(generate("a\n\xff\n"), {"standard input:2", "UTF-8"});
  expect_mistake(generate("a\n", {"--early-stopping", "soon"}), {"--early-stopping", "soon", "never"});
  expect_mistake(generate("a\n", {"--answers", "the river runs to the sea 0123456789"}), {"--answers", "--max-length"});
  expect_mistake(generate(""), {"standard input", "no lines"});
}

TEST_F(Generate, TokenizesAsItsFamilyHasIt) {
  ProgramOptions options;
  options.input = "\u4e2d\n";
  const Outcome ids =
      run_koine({"tokenize", "--model", (folder_->path() / "model").string(), "--special-tokens", "--pieces"}, options);
  EXPECT_EQ(answered_lines(ids).front(), "\u2581 <0xE4> <0xB8> <0xAD> </s>");
}

// Of an encoder-decoder sentences are retrieved by the encoder.
TEST_F(Generate, SentencesAreRetrievedByTheEncoder) {
  write_small_data(folder_->path() / "data");
  const Outcome outcome = run_koine({"evaluate", "--task", "tatoeba", "--model", (folder_->path() / "model").string(),
                                     "--data", (folder_->path() / "data").string(), "--output",
                                     (folder_->path() / "retrieval").string(), "--layer", "2", "--precision", "fp32"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
  EXPECT_NE(read_text(folder_->path() / "retrieval" / "results.json").find("tatoeba"), std::string::npos);
}

}  // namespace
}  // namespace koine
