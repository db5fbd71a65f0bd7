// The readers: every layout, and what they say of broken files.

#include <gtest/gtest.h>

#include "kernels/random/philox.h"
#include "stub_model.h"
#include "tasks/formats/conllu.h"
#include "tasks/formats/labelled_texts.h"
#include "tasks/formats/parallel_text.h"
#include "tasks/formats/squad.h"
#include "tasks/formats/tagged.h"
#include "tests/fuzz/task_formats_target.h"

namespace koine {
namespace {

class Formats : public testing::Test {
 protected:
  std::filesystem::path write(const std::string& name, const std::string& text) {
    write_text(folder_ / name, text);
    return folder_ / name;
  }
  TemporaryFolder folder_;
};

/// How NLI's rows are read.
ReadRequest nli(const std::string& language) {
  ReadRequest request = {language, {"contradiction", "entailment", "neutral"}, {}, {}, "-", 0};
  request.label_aliases = {{"contradictory", "contradiction"}};
  return request;
}

std::string row(const std::string& id, const std::string& form, const std::string& tag, const std::string& head = "_",
                const std::string& dependencies = "_") {
  return id + "\t" + form + "\t_\t" + tag + "\t_\t_\t" + head + "\t_\t" + dependencies + "\t_\n";
}

std::string spell(const std::vector<TaggedSentence>& sentences) {
  std::string text;
  for (const TaggedSentence& sentence : sentences) {
    for (const TaggedWord& word : sentence) {
      text += concatenate(word.form, "/",
                          word.tag < 0 ? "?" : universal_parts_of_speech()[static_cast<std::size_t>(word.tag)], " ");
    }
    text += "| ";
  }
  return text;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

TEST_F(Formats, NliOfEveryLayout) {
  const std::string json = R"({"gold_label": "neutral", "sentence1": "A b.", "sentence2": "C \"d\"."})"
                           "\r\n"
                           R"({"gold_label": "-", "sentence1": "x", "sentence2": "y"})"
                           "\n";
  const std::string table =
      "\xEF\xBB\xBF"
      "language\tgold_label\tsentence1\tsentence2\r\n"
      "en\tneutral\tA b.\tC \"d\".\r\nfi\tentailment\tE\tF\r\nen\t-\tx\ty\r\n";
  const std::string translated = "premise\thypo\tlabel\nA b.\tC \"d\".\tneutral\nx\ty\tcontradictory\n";
  const std::string xtreme = "A b.\t\"C \"\"d\"\".\"\tneutral\r\n\"x\" y \"z\"\t\"\"\tentailment\r\n";
  const FoundFile files[] = {{write("a.jsonl", json), FileLayout::kJsonLines},
                             {write("b.tsv", table), FileLayout::kTsv},
                             {write("c.tsv", translated), FileLayout::kTsv},
                             {write("d.tsv", xtreme), FileLayout::kXtreme}};
  for (const FoundFile& file : files) {
    const LabelledTexts content = read_labelled_texts(file, nli("en"));
    EXPECT_EQ(content.examples[0].first, "A b.") << file.path;
    EXPECT_EQ(content.examples[0].second, "C \"d\".") << file.path;
    EXPECT_EQ(content.examples[0].label, 2) << file.path;
    EXPECT_TRUE(content.labelled);
  }
  EXPECT_EQ(read_labelled_texts(files[0], nli("en")).skipped, 1);
  EXPECT_EQ(read_labelled_texts(files[1], nli("en")).examples.size(), 1u);
  EXPECT_EQ(languages_of_labelled_texts(files[1], nli("")), (std::set<std::string>{"en", "fi"}));
  EXPECT_EQ(read_labelled_texts(files[2], nli("en")).examples[1].label, 0);  // contradictory
  EXPECT_EQ(read_labelled_texts(files[3], nli("en")).examples[1].first,
            "\"x\" y \"z\"");  // marks of the text, not of the table
  EXPECT_EQ(read_labelled_texts(files[3], nli("en")).examples[1].second, "");
  EXPECT_FALSE(read_labelled_texts({write("test.tsv", "A\tB\nC\tD\n"), FileLayout::kXtreme}, nli("en")).labelled);
}

TEST_F(Formats, BrokenNliNamesFileAndLine) {
  const auto read = [&](const std::string& text, FileLayout layout) {
    return [this, text, layout] { read_labelled_texts({write("broken", text), layout}, nli("en")); };
  };
  const std::string header = "gold_label\tsentence1\tsentence2\n";
  expect_user_error(read(header + "neutral\ta\tb\nmaybe\tc\td\n", FileLayout::kTsv),
                    {"broken:3", "\"maybe\"", "contradiction, entailment, neutral"});
  expect_user_error(read(header + "neutral\ta\n", FileLayout::kTsv), {"broken:2", "2 columns", "3"});
  expect_user_error(read("neutral\ta\tb\n", FileLayout::kTsv), {"broken:1", "gold_label"});
  expect_user_error(read(header, FileLayout::kTsv), {"broken", "no examples"});
  expect_user_error(read("", FileLayout::kXtreme), {"broken", "no examples"});
  expect_user_error(read(header + "neutral\ta\xFF\tb\n", FileLayout::kTsv), {"broken:2", "UTF-8"});
  expect_user_error(read("{\"gold_label\": \"neutral\",\n", FileLayout::kJsonLines), {"broken:1", "JSON"});
  expect_user_error(read("{\"gold_label\": \"neutral\", \"sentence1\": 1, \"sentence2\": \"\"}", FileLayout::kJsonLines),
                    {"broken:1", "sentence1"});
  expect_user_error(read("a\tb\tneutral\na\tb\n", FileLayout::kXtreme), {"broken:2", "2 columns"});
  const std::string row = R"({"gold_label": "neutral", "sentence1": "a", "sentence2": "b"})";
  expect_user_error(read(row + "\n" + replaced(row, "neutral", ""), FileLayout::kJsonLines), {"broken:2", "label is empty"});
  expect_user_error(read(replaced(row, "neutral", ""), FileLayout::kJsonLines), {"broken:1", "label is empty"});
  expect_user_error(read(header + "neutral\ta\tb\n\ta\tb\n", FileLayout::kTsv), {"broken:3", "label is empty"});
  expect_user_error(read("a\tb\tneutral\na\tb\t\n", FileLayout::kXtreme), {"broken:2", "label is empty"});
  expect_user_error(read(row + "\n" + row + std::string("\0", 1) + row, FileLayout::kJsonLines), {"broken:2:62", "NUL"});
  expect_user_error(read(replaced(row, "\"sentence2\"", "\"sentence1\""), FileLayout::kJsonLines), {"broken:1:", "twice"});
}

constexpr const char* kSquadFile = R"({"data": [{"paragraphs": [
  {"context": "Né à Zürich, he wrote.", "qas": [
    {"id": "q1", "question": "Where?", "answers": [{"text": "Zürich", "answer_start": 5}]},
    {"id": "q2", "question": "Who?", "answers": [{"text": "he", "answer_start": 13}, {"text": "he wrote", "answer_start": 13}]}]}]}]})";

TEST_F(Formats, SquadCountsCodePoints) {
  const SquadFile file = parse_squad(kSquadFile, "s.json", SquadRules{});
  ASSERT_EQ(file.questions.size(), 2u);
  EXPECT_EQ(file.questions[0].answers[0].begin, 7);  // two letters before it take two bytes
  EXPECT_EQ(file.questions[1].answers.size(), 2u);
  EXPECT_TRUE(file.labelled);
}

TEST_F(Formats, BrokenSquadNamesTheQuestion) {
  const auto read = [&](const std::string& from, const std::string& to) {
    return [from, to] { parse_squad(replaced(kSquadFile, from, to), "s.json", SquadRules{}); };
  };
  expect_user_error(read("\"answer_start\": 5", "\"answer_start\": 6"),
                    {"s.json", "question q1", "at character 6", "\"ürich,\""});
  expect_user_error(read("\"answer_start\": 5", "\"answer_start\": 500"), {"question q1", "beyond"});
  expect_user_error(read("\"answer_start\": 5", "\"answer_start\": -1"), {"question q1", "answer_start"});
  expect_user_error(read("\"id\": \"q2\"", "\"id\": \"q1\""), {"q1", "twice"});
  expect_user_error(read("\"id\": \"q2\"", "\"id\": \"q2\", \"is_impossible\": true"), {"q2", "SQuAD 2.0"});
  expect_user_error(read("\"question\": \"Who?\"", "\"q\": 1"), {"q2", "\"question\" is missing"});
  expect_user_error(read("[{\"text\": \"Zürich\", \"answer_start\": 5}]", "[]"), {"q1", "no answers"});
  expect_user_error(read("\"paragraphs\"", "\"p\""), {"data[0]", "\"paragraphs\" is missing"});
  expect_user_error(read("]}]}]}", "]}]}"), {"s.json:"});
  expect_user_error([] { parse_squad("{\"data\": []}", "s.json", SquadRules{.places = false}); },
                    {"s.json", "no questions"});
}

TEST_F(Formats, AWrongPlaceIsNoFaultWhereOnlyTheTextCounts) {
  for (const char* wrong : {"\"answer_start\": 6", "\"answer_start\": 500", "\"answer_start\": -1",
                            "\"answer_start\": \"5\"", "\"answer_begin\": 5"}) {
    const SquadFile file =
        parse_squad(replaced(kSquadFile, "\"answer_start\": 5", wrong), "s.json", SquadRules{.places = false});
    ASSERT_EQ(file.questions.size(), 2u) << wrong;
    EXPECT_EQ(file.questions[0].answers[0].text, "Zürich") << wrong;
    EXPECT_EQ(file.questions[0].answers[0].begin, -1) << wrong;
    EXPECT_EQ(file.questions[1].answers[1].begin, 16) << wrong;
  }
}

TEST_F(Formats, BlankedSquadIsUnlabelled) {
  const std::string blanked = R"({"data": [{"paragraphs": [{"context": "x y", "qas": [
      {"id": "a", "question": "?", "answers": [{"text": "", "answer_start": 0}]}]}]}]})";
  EXPECT_FALSE(parse_squad(blanked, "s.json", SquadRules{}).labelled);
  expect_user_error([&] { read_squad_gold(write("b.json", blanked), /*unanswerable=*/false); }, {"b.json", "blank"});
}

TEST_F(Formats, ConlluFusesRangesAsXtremeDoes) {
  // The verb is the root, so nearest to it: the range is a verb. Ids 3.1 are empty nodes.
  EXPECT_EQ(spell(parse_conllu("# text\n" + row("1-2", "vámonos", "_") + row("1", "vamos", "VERB", "0") +
                                   row("2", "nos", "PRON", "1") + row("2.1", "e", "VERB") +
                                   row("3", "a\u200c b", "NOUN", "1") + "\n",
                               "es", "c")),
            "vámonos/VERB ab/NOUN | ");
  // Both hang on word 3: Spanish asks for the preposition, the general order has no article before it either, French the
  // article's list has ADP first too; Italian and a tag outside a list (NOUN in es) go behind.
  const std::string tie =
      row("1-2", "du", "_") + row("1", "de", "DET", "3") + row("2", "le", "ADP", "3") + row("3", "pain", "NOUN", "0") + "\n";
  EXPECT_EQ(spell(parse_conllu(tie, "de", "c")), "du/ADP pain/NOUN | ");
  const std::string outside =
      row("1-2", "x", "_") + row("1", "a", "NOUN", "3") + row("2", "b", "DET", "3") + row("3", "c", "VERB", "0") + "\n";
  EXPECT_EQ(spell(parse_conllu(outside, "es", "c")), "x/DET c/VERB | ");
  EXPECT_EQ(spell(parse_conllu(outside, "de", "c")), "x/NOUN c/VERB | ");
  // Enhanced edges count: with its second head, word 1 has more ancestors than word 2.
  const std::string enhanced = row("1-2", "x", "_") + row("1", "a", "NOUN", "3", "3:a|4:b|4.1:c") +
                               row("2", "b", "DET", "3") + row("3", "c", "VERB", "0") + row("4", "d", "ADV", "3") + "\n";
  EXPECT_EQ(spell(parse_conllu(enhanced, "de", "c")), "x/DET c/VERB d/ADV | ");
}

TEST_F(Formats, ConlluKeepsAndDropsSentences) {
  const std::string none = row("1", "a", "X") + row("2", "b", "_") + "\n";
  const std::string hidden = row("1", "_", "X") + row("2", "_", "NOUN") + row("3", "c", "NOUN") + "\n";
  const std::string mostly = row("1", "_", "X") + row("2", "b", "NOUN") + row("3", "c", "NOUN") + "\r\n";
  EXPECT_EQ(spell(parse_conllu(none + "\n" + hidden + mostly + none.substr(0, none.size() - 1), "en", "c")),
            "a/X b/X | _/X b/NOUN c/NOUN | a/X b/X | ");
}

TEST_F(Formats, AMaskedTreebankIsCountedNotRefused) {
  const std::string masked = row("1", "_", "NOUN") + row("2", "_", "VERB") + "\n";
  const TaggedFile file = read_conllu(write("m.conllu", masked + masked + row("1", "a", "X") + "\n"), "en");
  EXPECT_EQ(spell(file.sentences), "a/X | ");
  EXPECT_EQ(file.masked, 2);
  EXPECT_EQ(read_conllu(write("m.conllu", masked + masked), "en").masked, 2);
  EXPECT_TRUE(read_conllu(folder_ / "m.conllu", "en").sentences.empty());
}

TEST_F(Formats, BrokenConlluNamesTheLine) {
  const auto parse = [](const std::string& text) { return [text] { parse_conllu(text, "en", "c.conllu"); }; };
  const std::string good = row("1", "a", "NOUN", "0");
  expect_user_error(parse(good + "2\tb\n"), {"c.conllu:2", "2 columns"});
  expect_user_error(parse(good + row("3", "b", "NOUN", "1")), {"c.conllu:2", "id \"3\"", "2 is due"});
  expect_user_error(parse(good + row("2", "b", "NUON", "1")), {"c.conllu:2", "\"NUON\"", "NOUN, NUM"});
  expect_user_error(parse(good + row("2", "b", std::string("NO\0UN", 5), "1")),
                    {"c.conllu:2", "\"NO\\x00UN\"", "NOUN, NUM"});
  expect_user_error(parse(good + row("2", "b", "NOUN", "9")), {"c.conllu:2", "head 9"});
  expect_user_error(parse(good + row("2", "b", "NOUN", "x")), {"c.conllu:2", "head \"x\""});
  expect_user_error(parse(row("1-3", "ab", "_") + good), {"c.conllu:1", "1-3"});
  expect_user_error(parse(good + row("1-2", "ab", "_")), {"c.conllu:2", "before its first word"});
  expect_user_error(parse(row("2-1", "ab", "_")), {"c.conllu:1", "not a range"});
  expect_user_error(parse(row("1-101", "ab", "_") + good), {"c.conllu:1", "1-101", "more than 100 words"});
  expect_user_error(parse(row("1-2", "a", "_") + good + row("2-3", "b", "_")), {"c.conllu:3", "overlaps"});
  expect_user_error(parse(good + row("2", "\xC3", "NOUN", "1")), {"c.conllu:2", "UTF-8"});
  expect_user_error([&] { read_conllu(write("e.conllu", "\n\n"), "en"); }, {"e.conllu", "no sentences"});
}

TEST_F(Formats, ConlluSurvivesMutations) {
  const std::string seed = "# a\n" + row("1-2", "du", "_") + row("1", "de", "ADP", "3", "3:x|2:y") +
                           row("2", "le", "DET", "3") + row("3", "pain", "NOUN", "0") + row("3.1", "e", "_") + "\n" +
                           row("1", "_", "X") + "\n";
  int accepted = 0;
  constexpr int kCount = 20'000;
  for (std::uint32_t number = 0; number < kCount; ++number) {
    std::string text = seed;
    for (std::uint32_t change = 0; change < 3; ++change) {
      const auto draw = philox({change, number, 0, 0}, {11, 7});
      const std::size_t at = draw[0] % text.size();
      const char bytes[] = {'\t', '\n', '-', '.', '0', '9', '_', '|', ':', '\xC3'};
      switch (draw[1] % 4) {
        case 0:
          text[at] = bytes[draw[2] % sizeof bytes];
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
    accepted += fuzz::conllu({exact.data(), exact.size()}) ? 1 : 0;
  }
  EXPECT_GT(accepted, 0);
  EXPECT_LT(accepted, kCount);
}

TEST_F(Formats, XtremeTags) {
  const TaggedFile file =
      read_xtreme_tags(write("t.tsv", "a\tNOUN\nb\t_\n\n\nc\tVERB\n"), {.labels = universal_parts_of_speech()});
  EXPECT_EQ(spell(file.sentences), "a/NOUN b/X | c/VERB | ");
  const TaggedFile forms = read_xtreme_tags(write("u.tsv", "a\nb\n\nc\n"), {.labels = universal_parts_of_speech()});
  EXPECT_FALSE(forms.labelled);
  EXPECT_EQ(forms.sentences.size(), 2u);
  expect_user_error([&] { read_xtreme_tags(write("t.tsv", "a\tNOUN\nb\tNUN\n"), {.labels = universal_parts_of_speech()}); },
                    {"t.tsv:2", "\"NUN\"", "NOUN"});
  expect_user_error([&] { read_xtreme_tags(write("t.tsv", "a\tNOUN\nb\n"), {.labels = universal_parts_of_speech()}); },
                    {"t.tsv:2", "1 columns"});
  EXPECT_EQ(read_tag_lines(write("p.tsv", "NOUN \nX\n\n\nVERB")),
            (std::vector<std::vector<std::string>>{{"NOUN", "X"}, {"VERB"}}));
}

TEST_F(Formats, ParallelTextIsSortedByTheEnglishSide) {
  write("tatoeba.fin-eng.eng", "two\n one \nZ\none\n");
  const ParallelText text = read_parallel_text({write("tatoeba.fin-eng.fin", "kaksi\nyksi\nz\nyks\n")}, {});
  EXPECT_EQ(text.english, (std::vector<std::string>{"Z", "one", "one", "two"}));
  EXPECT_EQ(text.translations, (std::vector<std::int32_t>{2, 1, 3, 0}));
  write("fi-en.en", "Z\none\n");
  EXPECT_TRUE(read_parallel_text({write("fi-en.fi", "yksi\nz\n"), FileLayout::kXtreme}, {}).translations.empty());
  write("tatoeba.fin-eng.eng", "two\n\nZ\none\n");
  expect_user_error([&] { read_parallel_text({folder_ / "tatoeba.fin-eng.fin"}, {}); },
                    {"tatoeba.fin-eng.eng:2", "empty line"});
  write("tatoeba.fin-eng.eng", "two\n");
  expect_user_error([&] { read_parallel_text({folder_ / "tatoeba.fin-eng.fin"}, {}); }, {"4 lines", "has 1"});
  expect_user_error([&] { read_indices(write("i", "1\n2x\n")); }, {"i:2", "2x"});
}

}  // namespace
}  // namespace koine
