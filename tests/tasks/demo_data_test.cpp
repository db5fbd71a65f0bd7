// The demo's generated data: the same every time, in the official layouts, with right labels, and with nothing given away.

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "engine/files/text_file.h"
#include "tasks/demo/demo.h"
#include "tasks/demo/languages.h"
#include "tasks/demo/texts.h"

namespace koine {
namespace {

namespace fs = std::filesystem;
using namespace demo;

constexpr const char* kSource = "en";

DemoSizes small_sizes() {
  return {.text_passages = 300,
          .text_dev_passages = 20,
          .nli_train = 3000,
          .nli_dev = 90,
          .xnli_dev = 90,
          .xnli_test = 900,
          .squad_train = 200,
          .squad_dev = 40,
          .xquad_test = 60,
          .pos_train = 200,
          .pos_dev = 40,
          .pos_test = 60,
          .tatoeba = 80};
}

/// Made once, read by all tests of this file.
class DemoData : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = fs::temp_directory_path() / ("koine-demo-" + std::to_string(getpid()));
    write_demo_data(directory_, 1, small_sizes());
  }
  static void TearDownTestSuite() { fs::remove_all(directory_); }

  static std::vector<std::vector<std::string>> xnli_rows(const std::string& split, const std::string& language) {
    std::vector<std::vector<std::string>> rows;
    for_each_line(directory_ / ("xnli/XNLI-1.0/xnli." + split + ".tsv"), [&](std::string_view line, std::int64_t) {
      std::vector<std::string> row;
      for (const std::string_view column : split_tabs(line)) row.emplace_back(column);
      if (row[0] == language) rows.push_back(row);
    });
    return rows;
  }
  static std::vector<nlohmann::json> mnli_rows(const std::string& split) {
    std::vector<nlohmann::json> rows;
    const fs::path path = directory_ / ("mnli/multinli_1.0/multinli_1.0_" + split + ".jsonl");
    for_each_line(path, [&](std::string_view line, std::int64_t) { rows.push_back(parse_json(line, path.string())); });
    return rows;
  }
  static nlohmann::json squad(const std::string& file) {
    return read_json(directory_ / file).at("data").at(0).at("paragraphs");
  }
  static std::string treebank(const DemoLanguage& language, const std::string& split) {
    return (directory_ / ("udpos/ud-treebanks-v2.5/UD_" + language.name + "-Demo") /
            (language.code + "_demo-ud-" + split + ".conllu"))
        .string();
  }
  /// Sentences of running text, without their full stops.
  static std::set<std::string> sentences(const std::string& text) {
    std::set<std::string> found;
    std::string sentence;
    for (const char c : text) {
      if (c == '.' || c == '?' || c == '\n') {
        if (!sentence.empty()) found.insert(sentence);
        sentence.clear();
      } else if (c != ' ' || !sentence.empty()) {
        sentence += c;
      }
    }
    return found;
  }

  static fs::path directory_;
};

fs::path DemoData::directory_;

std::map<std::string, std::string> all_files(const fs::path& directory) {
  std::map<std::string, std::string> files;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file()) files[fs::relative(entry.path(), directory).string()] = read_file(entry.path());
  }
  return files;
}

TEST_F(DemoData, SameSeedSameBytesOtherSeedOtherBytes) {
  const fs::path again = directory_ / "again";
  const fs::path other = directory_ / "other";
  const std::map<std::string, std::string> first = all_files(directory_);
  write_demo_data(again, 1, small_sizes());
  EXPECT_EQ(first, all_files(again));
  write_demo_data(other, 2, small_sizes());
  const std::map<std::string, std::string> second = all_files(other);
  fs::remove_all(again);
  fs::remove_all(other);
  ASSERT_EQ(first.size(), second.size());
  for (const auto& [name, content] : first)
    EXPECT_EQ(content == second.at(name), name == "text-forms.txt") << name << ": it alone is in no language of theirs";
}

TEST_F(DemoData, EveryFileIsValidUtf8AndLanguagesAreSixOrMore) {
  EXPECT_GE(demo_languages().size(), 6u);
  EXPECT_EQ(demo_languages().front().code, kSource);
  for (const auto& [name, content] : all_files(directory_)) EXPECT_EQ(invalid_utf8(content), std::string::npos) << name;
}

TEST_F(DemoData, LowResourceLanguageHasItsShareOfText) {
  for (const DemoLanguage& language : demo_languages()) {
    const std::size_t lines = read_lines(directory_ / "mlm" / (language.code + ".train.txt")).size();
    EXPECT_EQ(lines, language.low_resource ? 15u : 300u) << language.code;
  }
}

TEST_F(DemoData, WordListsPairAWordWithTheSources) {
  std::map<std::string, std::vector<std::string>> columns;  // of lexicon.tsv, by language; rows are concepts
  std::vector<std::string> header;
  for (const std::string& line : read_lines(directory_ / "lexicon.tsv")) {
    const std::vector<std::string_view> fields = split_tabs(line);
    if (header.empty()) header.assign(fields.begin(), fields.end());
    for (std::size_t i = 0; i < fields.size(); ++i) columns[header.at(i)].emplace_back(fields[i]);
  }
  for (const DemoLanguage& language : demo_languages()) {
    std::set<std::pair<std::string, std::string>> translations;
    for (std::size_t row = 1; row < columns.at(kSource).size(); ++row) {
      const std::string& own = columns.at(language.code).at(row);
      const std::string& source = columns.at(kSource).at(row);
      translations.insert({own, source});
      translations.insert({source, own});
    }
    const std::vector<std::string> lines = read_lines(directory_ / "mlm" / (language.code + ".train.txt"));
    std::size_t lists = 0;
    for (const std::string& line : lines) {
      if (line.find_first_of(".?") != std::string::npos) continue;
      ++lists;
      std::istringstream words(line);
      std::string first, second;
      int pairs = 0;
      while (words >> first >> second) {
        if (second.back() == ',') second.pop_back();
        EXPECT_TRUE(translations.contains({first, second})) << language.code << ": " << first << " " << second;
        ++pairs;
      }
      EXPECT_EQ(pairs, 6) << line;
    }
    if (language.code == kSource) {
      EXPECT_EQ(lists, 0u);
      continue;
    }
    if (language.low_resource) continue;
    // 30 % of 300 lines have a standard deviation of 2.6 %; four of them are allowed.
    EXPECT_NEAR(static_cast<double>(lists) / static_cast<double>(lines.size()), 0.3, 4 * std::sqrt(0.3 * 0.7 / 300))
        << language.code;
  }
}

TEST_F(DemoData, LabelsAreBalancedAndXnliIsParallel) {
  for (const char* split : {"dev", "test"}) {
    const auto source = xnli_rows(split, kSource);
    ASSERT_EQ(source.size(), split == std::string("dev") ? 90u : 900u);
    std::map<std::string, std::size_t> labels;
    for (const auto& row : source) ++labels[row[1]];
    for (const char* label : {"entailment", "neutral", "contradiction"})
      EXPECT_EQ(labels[label], source.size() / 3) << split;
    for (const DemoLanguage& language : demo_languages()) {
      const auto rows = xnli_rows(split, language.code);
      ASSERT_EQ(rows.size(), source.size());
      for (std::size_t i = 0; i < rows.size(); ++i) {
        ASSERT_EQ(rows[i].size(), 19u);
        EXPECT_EQ(rows[i][1], source[i][1]);
        EXPECT_EQ(rows[i][9], source[i][9]);
      }
    }
  }
}

/// What a reader of both sentences would say, written without a look at how pairs are made: each part of the hypothesis is
/// in the premise, missing, or otherwise.
Label judged(const Event& premise, const Event& hypothesis) {
  bool missing = false;
  bool otherwise = premise.verb != hypothesis.verb;
  const auto compare = [&](int said, int told) {
    if (said < 0) return;
    if (told < 0)
      missing = true;
    else
      otherwise = otherwise || said != told;
  };
  compare(hypothesis.object.adjective, premise.object.adjective);
  compare(hypothesis.place, premise.place);
  compare(hypothesis.time, premise.time);
  compare(hypothesis.companion, premise.companion);
  compare(hypothesis.object.count == 0 ? -1 : hypothesis.object.count,
          premise.object.count == 0 ? -1 : premise.object.count);
  const int kind = concepts()[static_cast<std::size_t>(premise.object.head)].kind;
  EXPECT_TRUE(hypothesis.object.head == premise.object.head || hypothesis.object.head == kind);
  EXPECT_EQ(premise.subject, hypothesis.subject);
  if (otherwise) return hypothesis.negated ? Label::kEntailment : Label::kContradiction;
  if (missing) return Label::kNeutral;
  return hypothesis.negated ? Label::kContradiction : Label::kEntailment;
}

TEST(DemoWorld, LabelsFollowFromTheMeanings) {
  Draws draws(5, 1);
  for (int i = 0; i < 3000; ++i) {
    const Inference inference = random_inference(static_cast<Label>(i % 3), Split::kTrain, draws);
    EXPECT_EQ(judged(inference.premise, inference.hypothesis), inference.label);
    EXPECT_EQ(modifiers_of(inference.premise).size(), 3u);
  }
}

TEST(DemoWorld, EverySplitYieldsPairsAndKeepsToItself) {
  for (const Split split : {Split::kTrain, Split::kDev, Split::kTest}) {
    Draws draws(7, 1);
    for (int i = 0; i < 3000; ++i) {
      EXPECT_EQ(split_of(random_inference(static_cast<Label>(i % 3), split, draws).premise), split);
    }
  }
}

/// Accuracy of naive Bayes over words, learnt from one list and tested on another.
double naive_bayes(const std::vector<std::pair<std::string, std::string>>& train,
                   const std::vector<std::pair<std::string, std::string>>& test) {
  std::map<std::string, std::map<std::string, double>> counts;
  std::map<std::string, double> totals;
  std::set<std::string> words;
  const auto each_word = [](const std::string& text, const auto& use) {
    std::istringstream stream(text);
    std::string word;
    while (stream >> word) use(word);
  };
  for (const auto& [text, label] : train) {
    each_word(text, [&, &label = label](const std::string& word) {
      ++counts[label][word];
      ++totals[label];
      words.insert(word);
    });
  }
  int right = 0;
  for (const auto& [text, label] : test) {
    std::string best;
    double best_score = -INFINITY;
    for (auto& [candidate, count] : counts) {
      double score = 0;
      each_word(text, [&, &count = count, &candidate = candidate](const std::string& word) {
        score += std::log((count[word] + 1) / (totals[candidate] + static_cast<double>(words.size())));
      });
      if (score > best_score) {
        best_score = score;
        best = candidate;
      }
    }
    right += best == label;
  }
  return static_cast<double>(right) / static_cast<double>(test.size());
}

TEST_F(DemoData, NeitherSentenceAloneTellsTheLabel) {
  std::vector<std::pair<std::string, std::string>> premises;
  std::vector<std::pair<std::string, std::string>> hypotheses;
  for (const nlohmann::json& row : mnli_rows("train")) {
    premises.emplace_back(row.at("sentence1"), row.at("gold_label"));
    hypotheses.emplace_back(row.at("sentence2"), row.at("gold_label"));
  }
  std::vector<std::pair<std::string, std::string>> test_premises;
  std::vector<std::pair<std::string, std::string>> test_hypotheses;
  for (const auto& row : xnli_rows("test", kSource)) {
    test_premises.emplace_back(row[6], row[1]);
    test_hypotheses.emplace_back(row[7], row[1]);
  }
  // Guessing among three labels on 900 pairs has a standard deviation of 1.6 %; four of them are allowed.
  const double bound = 1.0 / 3 + 4 * std::sqrt(2.0 / 9 / 900);
  EXPECT_LT(naive_bayes(hypotheses, test_hypotheses), bound);
  EXPECT_LT(naive_bayes(premises, test_premises), bound);
}

TEST_F(DemoData, AnswersStandWhereTheyAreSaidToStand) {
  std::vector<std::string> files = {"squad/train-v1.1.json", "squad/dev-v1.1.json"};
  for (const DemoLanguage& language : demo_languages()) files.push_back("xquad/xquad." + language.code + ".json");
  for (const std::string& file : files) {
    std::size_t questions = 0;
    for (const nlohmann::json& paragraph : squad(file)) {
      const std::string context = paragraph.at("context");
      const std::vector<std::int32_t> offsets = code_point_offsets(context);
      for (const nlohmann::json& question : paragraph.at("qas")) {
        const std::string text = question.at("answers").at(0).at("text");
        const std::size_t start = question.at("answers").at(0).at("answer_start");
        ASSERT_LT(start, offsets.size());
        EXPECT_FALSE(text.empty());
        EXPECT_EQ(context.substr(static_cast<std::size_t>(offsets[start]), text.size()), text) << file;
        EXPECT_EQ(std::string(question.at("question")).back(), '?');
        ++questions;
      }
    }
    EXPECT_EQ(questions, file == files[0] ? 200u : file == files[1] ? 40u : 60u) << file;
  }
}

TEST_F(DemoData, XquadIsParallel) {
  const nlohmann::json source = squad("xquad/xquad.en.json");
  for (const DemoLanguage& language : demo_languages()) {
    const nlohmann::json other = squad("xquad/xquad." + language.code + ".json");
    ASSERT_EQ(other.size(), source.size());
    for (std::size_t p = 0; p < source.size(); ++p) {
      ASSERT_EQ(other[p].at("qas").size(), source[p].at("qas").size());
      for (std::size_t q = 0; q < source[p].at("qas").size(); ++q) {
        EXPECT_EQ(other[p]["qas"][q].at("id"), source[p]["qas"][q].at("id"));
        // Names and digits are spelled alike everywhere, so those answers must agree to the letter.
        const std::string answer = source[p]["qas"][q]["answers"][0].at("text");
        const unsigned char first = static_cast<unsigned char>(answer[0]);
        if (std::isupper(first) == 0 && std::isdigit(first) == 0) continue;
        EXPECT_EQ(other[p]["qas"][q]["answers"][0].at("text"), answer);
      }
    }
  }
}

TEST_F(DemoData, TreebanksAreConllu) {
  const std::set<std::string> tags = {"ADJ",  "ADP",  "ADV",   "AUX",   "CCONJ", "DET", "INTJ", "NOUN", "NUM",
                                      "PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X"};
  for (const DemoLanguage& language : demo_languages()) {
    std::string text;
    std::string joined;
    std::size_t words = 0;
    std::size_t roots = 0;
    std::size_t sentence_count = 0;
    for (const std::string& line : read_lines(treebank(language, "test"))) {
      if (line.rfind("# text = ", 0) == 0) text = line.substr(9);
      if (line.empty()) {
        EXPECT_EQ(joined, text);
        EXPECT_EQ(roots, 1u) << text;
        ++sentence_count;
        joined.clear();
        words = roots = 0;
      }
      if (line.empty() || line[0] == '#') continue;
      const std::vector<std::string_view> columns = split_tabs(line);
      ASSERT_EQ(columns.size(), 10u) << line;
      EXPECT_EQ(columns[0], std::to_string(++words));
      EXPECT_TRUE(tags.contains(std::string(columns[3]))) << line;
      roots += columns[6] == "0";
      EXPECT_EQ(columns[6] == "0", columns[7] == "root");
      joined += std::string(columns[1]) + (columns[9] == "_" ? " " : "");
    }
    EXPECT_EQ(sentence_count, 60u) << language.code;
  }
  EXPECT_TRUE(fs::exists(treebank(demo_languages()[0], "train")));
  EXPECT_FALSE(fs::exists(treebank(demo_languages()[1], "train")));
}

TEST_F(DemoData, NoEventOfATestSetIsInTrainingDataOrText) {
  std::set<std::string> training;
  for (const nlohmann::json& row : mnli_rows("train")) training.merge(sentences(row.at("sentence1")));
  for (const nlohmann::json& paragraph : squad("squad/train-v1.1.json")) training.merge(sentences(paragraph.at("context")));
  training.merge(sentences(read_file(directory_ / "mlm/en.train.txt")));
  for (const std::string& line : read_lines(treebank(demo_languages()[0], "train"))) {
    if (line.rfind("# text = ", 0) == 0) training.merge(sentences(line.substr(9) + "\n"));
  }
  std::set<std::string> tests;
  for (const auto& row : xnli_rows("test", kSource)) tests.merge(sentences(row[6]));
  for (const auto& row : xnli_rows("dev", kSource)) tests.merge(sentences(row[6]));
  for (const nlohmann::json& paragraph : squad("xquad/xquad.en.json")) tests.merge(sentences(paragraph.at("context")));
  for (const std::string& line : read_lines(treebank(demo_languages()[0], "test"))) {
    if (line.rfind("# text = ", 0) == 0) tests.merge(sentences(line.substr(9)));
  }
  ASSERT_GT(training.size(), 3000u);
  ASSERT_GT(tests.size(), 1000u);
  for (const std::string& sentence : tests) EXPECT_FALSE(training.contains(sentence)) << sentence;
}

TEST_F(DemoData, TatoebaPairsAreUniqueAndParallel) {
  for (const DemoLanguage& language : demo_languages()) {
    if (language.code == kSource) continue;
    const std::string stem = "tatoeba/v1/tatoeba." + language.code + "-eng.";
    for (const std::string& side : {language.code, std::string("eng")}) {
      const std::vector<std::string> lines = read_lines(directory_ / (stem + side));
      EXPECT_EQ(lines.size(), 80u);
      EXPECT_EQ(std::set<std::string>(lines.begin(), lines.end()).size(), 80u) << stem << side;
    }
  }
}

TEST_F(DemoData, LanguagesReallyDiffer) {
  std::map<std::string, std::string> seen;
  for (const DemoLanguage& language : demo_languages()) {
    for (const auto& row : xnli_rows("test", language.code)) {
      const auto [place, fresh] = seen.emplace(row[6], language.code);
      EXPECT_TRUE(fresh || place->second == language.code) << language.code << " and " << place->second << ": " << row[6];
    }
  }
}

TEST(DemoLexicon, SoundChangesKeepTheirPlaces) {
  EXPECT_EQ(apply_sound_changes("papap", {{"p", "b", Where::kAnywhere}}), "babab");
  EXPECT_EQ(apply_sound_changes("papap", {{"p", "b", Where::kInitial}}), "bapap");
  EXPECT_EQ(apply_sound_changes("papap", {{"p", "b", Where::kFinal}}), "papab");
  EXPECT_EQ(apply_sound_changes("papap", {{"p", "b", Where::kBetweenVowels}}), "pabap");
  EXPECT_EQ(apply_sound_changes("papap", {{"p", "", Where::kBetweenVowels}, {"aa", "a", Where::kAnywhere}}), "pap");
}

TEST(DemoLexicon, NoTwoConceptsShareAForm) {
  for (const Language& language : languages()) {
    const Lexicon lexicon(1, language.code, language.phonology);
    std::map<std::string, int> seen;
    for (int i = 0; i < static_cast<int>(concepts().size()); ++i) {
      const auto [place, fresh] = seen.emplace(lexicon.form(i), i);
      EXPECT_TRUE(fresh) << language.code << ": " << concepts()[static_cast<std::size_t>(i)].gloss << " and "
                         << concepts()[static_cast<std::size_t>(place->second)].gloss;
    }
  }
}

// A tenth of the content words are cognates, and not all of these are spelled alike: an encoder that knows nothing has little
// to find translations by.
TEST(DemoLexicon, FewWordsAreSpelledAsInTheSource) {
  const Lexicon source(1, languages().front().code, languages().front().phonology);
  for (const Language& language : languages()) {
    if (language.code == kSource) continue;
    const Lexicon lexicon(1, language.code, language.phonology);
    int words = 0;
    int alike = 0;
    for (int i = 0; i < static_cast<int>(concepts().size()); ++i) {
      if (concept_at(i).international || concept_at(i).category == Category::kFunction) continue;
      ++words;
      alike += lexicon.form(i) == source.form(i);
    }
    EXPECT_LT(alike, 0.1 * words + 4 * std::sqrt(0.1 * 0.9 * words)) << language.code;
  }
}

TEST(DemoWorld, SplitsHaveTheirShares) {
  Draws draws(3, 1);
  std::map<Split, int> counts;
  constexpr int kEvents = 20000;
  for (int i = 0; i < kEvents; ++i) ++counts[split_of(with_modifiers(bare_event(draws), 3, draws))];
  // Shares of 20,000 draws have standard deviations of at most 0.33 %.
  EXPECT_NEAR(counts[Split::kTrain], 0.7 * kEvents, 0.015 * kEvents);
  EXPECT_NEAR(counts[Split::kDev], 0.1 * kEvents, 0.015 * kEvents);
  EXPECT_NEAR(counts[Split::kTest], 0.2 * kEvents, 0.015 * kEvents);
}

TEST(DemoDraws, StreamsAreUniformAndApart) {
  Draws draws(1, 1);
  Draws other(1, 2);
  std::array<int, 7> counts{};
  int equal = 0;
  for (int i = 0; i < 70000; ++i) {
    const int draw = draws.below(7);
    ++counts[static_cast<std::size_t>(draw)];
    equal += draw == other.below(7);
  }
  // Standard deviation of a count: sqrt(70000 * 6/49) = 93.
  for (const int count : counts) EXPECT_NEAR(count, 10000, 500);
  EXPECT_NEAR(equal, 10000, 500);
}

}  // namespace
}  // namespace koine
