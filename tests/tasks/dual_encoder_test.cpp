// What dual encoders learn from and are asked: XTREME-R's LAReQA and Mewsli-X.

#include <gtest/gtest.h>

#include <algorithm>

#include "stub_model.h"
#include "tasks/common/task.h"
#include "tasks/formats/mewslix.h"
#include "tasks/formats/sentence_breaks.h"
#include "tasks/formats/squad_sentences.h"

namespace koine {
namespace {

using Names = std::vector<std::string>;

Names sentences_of(const std::string& text) {
  Names sentences;
  for (const auto& [begin, end] : sentence_breaks(text)) sentences.push_back(text.substr(begin, end - begin));
  return sentences;
}

// What infer_sentence_breaks of XTREME-R's sb_sed.py (838c13b6) gives for these texts, under Python 3.11.
TEST(SentenceBreaks, AreXtremes) {
  EXPECT_EQ(sentences_of("Dr. Smith met Gen. Lee. He said \"Go.\" Then left!  The U.S. 42 men stayed."),
            (Names{"Dr. Smith met Gen. Lee.", "He said \"Go.\"", "Then left!", "The U.S. 42 men stayed."}));
  EXPECT_EQ(
      sentences_of("It was by J. R. R. Tolkien. The album (see No. 5) sold.[citation needed] \"Yes\" et al. (2005) said "
                   "so. However it ended."),
      (Names{"It was by J. R. R. Tolkien.", "The album (see No. 5) sold.[citation needed]", "\"Yes\" et al. (2005) said so.",
             "However it ended."}));
  EXPECT_EQ(sentences_of("Beyoncé’s “I Am... Sasha Fierce” won. “Why?” Nobody knows.\u00a0Really. In 1990 he died"),
            (Names{"Beyoncé’s “I Am... Sasha Fierce” won.", "“Why?”", "Nobody knows.", "Really.", "In 1990 he died"}));
  EXPECT_EQ(sentences_of("  Jay Z. He sang... [...] But i.e. This fails. \nNext line? Yes: approx. The end.  "),
            (Names{"Jay Z.", "He sang...", "[...]", "But i.e.", "This fails.", "Next line?", "Yes: approx.", "The end."}));
  EXPECT_EQ(sentences_of("One a.m. Eastern. Two p.m. It rained • First point. No sentence ends"),
            (Names{"One a.m. Eastern.", "Two p.m.", "It rained", "• First point.", "No sentence ends"}));
  EXPECT_EQ(sentences_of(" \n "), Names());
}

class DualEncoders : public testing::Test {
 protected:
  std::filesystem::path write(const std::string& name, const std::string& text) {
    write_text(folder_ / name, text);
    return folder_ / name;
  }
  TemporaryFolder folder_;
};

constexpr const char* kSquad = R"({"data": [{"paragraphs": [
    {"context": "Né à Paris. He left.\nHe left again.", "qas": [
      {"id": "q1", "question": "Where?", "answers": [{"text": "Paris", "answer_start": 5}]},
      {"id": "q2", "question": "What?", "answers": [{"text": "left", "answer_start": 15}]},
      {"id": "q3", "question": "Gap?", "answers": [{"text": " He", "answer_start": 11}]}]},
    {"context": "The sea.", "qas": [
      {"id": "q4", "question": "Which?", "answers": [{"text": "The", "answer_start": 0}]}]}]}]})";

TEST_F(DualEncoders, SquadPairsQuestionsWithSentences) {
  const TextPairs pairs = read_squad_sentences({write("train.json", kSquad)}, {});
  ASSERT_EQ(pairs.pairs.size(), 3u);
  EXPECT_EQ(pairs.left_out, 1);  // its answer begins between two sentences
  EXPECT_EQ(pairs.pairs[0].query, "Where?");
  EXPECT_EQ(pairs.pairs[0].candidate, "Né à Paris.Né à Paris. He left.He left again.");
  EXPECT_EQ(pairs.pairs[1].candidate, "He left.Né à Paris. He left.He left again.");
  EXPECT_EQ(pairs.pairs[2].candidate, "The sea.The sea.");
  std::string wrong = kSquad;
  wrong.replace(wrong.find("start\": 5"), 9, "start\": 6");
  expect_user_error([&] { read_squad_sentences({write("dev.json", wrong)}, {.split = "dev"}); },
                    {"dev.json", "question q1", "at character 6", "not the answer \"Paris\""});
}

/// A dual encoder whose vectors are those a test decides.
class StubDualEncoder : public StubModel {
 public:
  const std::vector<HeadSpec>& heads() const override { return heads_; }
  std::vector<float> predict(const PackedBatch& batch) override {
    const HeadKind kind = batch.head_kind;
    EXPECT_EQ(kind, HeadKind::kDualEncoder);
    return encode_layers(batch, {0}, Pooling::kMean);
  }

 private:
  std::vector<HeadSpec> heads_ = {{"", HeadKind::kDualEncoder, 1}};
};

TEST_F(DualEncoders, LearnFromPairsAndAreChosenByTheirDevSet) {
  write("squad/train-v1.1.json", kSquad);
  write("squad/dev-v1.1.json", kSquad);
  const Task& task = find_task("squad_sentences");
  EXPECT_EQ(find_task("lareqa").train_task(), "squad_sentences");
  const auto data = task.load(folder_.path(), "dev", "en", small_tokenizer(), {});
  const Dataset& dataset = data->dataset();
  EXPECT_EQ(dataset.group, kPair);
  EXPECT_EQ(dataset.groups(), 3);
  EXPECT_EQ(dataset.examples[2].ids, small_tokenizer().special().frame_single(small_tokenizer().encode("What?"), 96));
  EXPECT_EQ(dataset.examples[2].labels, std::vector<std::int32_t>{0});
  EXPECT_TRUE(dataset.examples[3].labels.empty());
  EXPECT_EQ(data->left_out().count, 1);
  EXPECT_EQ(data->left_out().total, 4);
  StubDualEncoder model;
  model.hidden = 3;
  // Queries 0 and 2 point at their candidates, query 4 at the second: its own is the second or third nearest.
  model.vector = [](const StubSequence& sequence, float* vector) {
    vector[sequence.number == 4 ? 1 : sequence.number / 2] = 1;
    if (sequence.number == 4) vector[2] = 0.5f;
  };
  const Evaluation result = data->evaluate(model, {});
  EXPECT_EQ(result.metric, "map@20");
  EXPECT_DOUBLE_EQ(result.value, (1 + 1 + 0.5) / 3 * 100);
  EXPECT_FALSE(result.layer.has_value()) << "the head's vectors are of no hidden state";
  EvaluationOptions layers;
  layers.layers = {3};
  EXPECT_EQ(data->evaluate(model, layers).layer, 3) << "but hidden states can be asked for";
  expect_user_error([&] { task.score(folder_.path(), folder_.path(), "en"); }, {"squad_sentences", "no predictions"});
}

// Expected texts: preprocess_mention and preprocess_entity_description of XTREME-R's utils_mewslix.py (838c13b6).
std::string mentions_line(const std::string& language, const std::string& mentions) {
  return R"({"context": {"document_title": "t", "document_url": "u", "document_id": "d", "language": ")" + language +
         R"(", "text": "Zuvor {x}.  Die Ärzte {spielen} in\nBerlin  und {Bonn. Ende.", "sentence_spans": )" +
         R"([{"start": 0, "end": 10}, {"start": 12, "end": 50}, {"start": 51, "end": 56}]}, "mentions": [)" + mentions +
         "]}\n";
}
std::string mention(const std::string& id, const std::string& entity) {
  return R"({"example_id": ")" + id + R"(", "mention_span": {"start": 35, "end": 41, "text": "Berlin"}, "entity_id": ")" +
         entity + R"(", "metadata": {}})";
}
constexpr const char* kBerlin =
    R"({"entity_id": "Q64", "title": "Berlin", "description": "Berlin ist  eine\u2028Stadt. Sie liegt. Weit weg.", )"
    R"("description_language": "de", "description_url": "u", "sentence_spans": [{"start": 0, "end": 23}, )"
    R"({"start": 24, "end": 34}]})";
constexpr const char* kBonn =
    R"({"entity_id": "Q586", "title": "Bonn", "description": "A town.", "description_language": "en",
        "description_url": "u", "sentence_spans": [{"start": 0, "end": 7}]})";

std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text + "\n";
}

TEST_F(DualEncoders, MewslixReadsMentionsAndEntities) {
  write("mewslix/candidate_set_entities.jsonl", one_line(kBonn) + one_line(kBerlin));
  const auto path = write("mewslix/wikinews_mentions-dev.jsonl", mentions_line("de", mention("a", "Q64")) +
                                                                     mentions_line("tr", mention("b", "Q586")) +
                                                                     mentions_line("de", mention("c", "Q586")));
  const CandidatePool pool = read_mewslix({path}, {.language = "de"});
  ASSERT_EQ(pool.queries.size(), 2u);
  EXPECT_EQ(pool.queries[0].text, "Berlin: Die Ärzte (spielen) in { Berlin }  und {Bo");
  EXPECT_EQ(pool.queries[1].id, "c");
  ASSERT_EQ(pool.candidates.size(), 2u);
  EXPECT_EQ(pool.candidates[1].text, "Berlin ist eine Stadt. Sie liegt.");
  EXPECT_EQ(pool.targets.at("a"), std::set<std::string>{"Q64"});
  EXPECT_TRUE(pool.labelled);
  EXPECT_EQ(languages_of_mewslix({path}, {}), (std::set<std::string>{"de", "tr"}));

  std::string context = mentions_line("en", "");
  context = context.substr(0, context.find(", \"mentions\""));
  const std::string pair =
      R"({"contextual_mention": )" + context + ", \"mention\": " + mention("a", "Q64") + "}, \"entity\": " + kBerlin + "}\n";
  const TextPairs pairs = read_mewslix_pairs({write("mewslix/wikipedia_pairs-train.jsonl", pair + pair)}, {});
  ASSERT_EQ(pairs.pairs.size(), 2u);
  EXPECT_EQ(pairs.pairs[1].query, pool.queries[0].text);
  EXPECT_EQ(pairs.pairs[1].candidate, pool.candidates[1].text);
}

TEST_F(DualEncoders, MewslixNamesWhatIsWrong) {
  const std::string candidates = one_line(kBonn) + one_line(kBerlin);
  const std::string good = mentions_line("de", mention("a", "Q64"));
  const auto refuse = [&](const std::string& from, const std::string& to, const std::vector<std::string>& parts) {
    std::string mentions = good + mentions_line("de", mention("b", "Q64"));
    std::string entities = candidates;
    std::string& changed = mentions.find(from) == std::string::npos ? entities : mentions;
    ASSERT_NE(changed.rfind(from), std::string::npos) << from;
    changed.replace(changed.rfind(from), from.size(), to);
    write("x/candidate_set_entities.jsonl", entities);
    const auto path = write("x/wikinews_mentions-dev.jsonl", mentions);
    expect_user_error([&] { read_mewslix({path}, {.language = "de"}); }, parts);
  };
  refuse("\"Berlin\"}", "\"Berlin \"}", {"dev.jsonl:2", "mention b", "\"mention_span\"", "from character 35", "\"Berlin\""});
  refuse("\"start\": 12", "\"start\": 36", {"dev.jsonl:2", "mention b", "none of the context's \"sentence_spans\""});
  refuse("\"end\": 56", "\"end\": 60", {"dev.jsonl:2", "\"context\"", "\"sentence_spans\"[2]", "\"end\"", "0 to 59"});
  refuse("\"start\": 51", "\"start\": 56", {"dev.jsonl:2", "\"sentence_spans\"[2]", "before \"end\" 56"});
  refuse("\"Q64\"", "\"Q65\"", {"dev.jsonl:2", "mention b", "\"entity_id\" Q65"});
  refuse("\"Q64\"", "\"\"", {"dev.jsonl", "1 of 2 mentions have no \"entity_id\""});
  refuse("\"example_id\": \"b\"", "\"example_id\": \"a\"", {"dev.jsonl:2", "mention a", "twice"});
  refuse("\"mentions\"", "\"mention\"", {"dev.jsonl:2", "\"mentions\" is missing"});
  refuse("\"end\": 34", "\"end\": 340", {"candidate_set_entities.jsonl:2", "\"sentence_spans\"[1]", "\"end\""});
  refuse("Q586", "Q64", {"candidate_set_entities.jsonl:2", "Q64 stands twice"});
  write("x/candidate_set_entities.jsonl", candidates);
  write("x/wikinews_mentions-dev.jsonl", good);
  expect_user_error([&] { read_mewslix({folder_ / "x/wikinews_mentions-dev.jsonl"}, {.language = "uk"}); },
                    {"no mentions in language uk"});
  write("y/z/wikinews_mentions-dev.jsonl", good);
  expect_user_error([&] { read_mewslix({folder_ / "y/z/wikinews_mentions-dev.jsonl"}, {.language = "de"}); },
                    {"its candidates are missing", "y/z/candidate_set_entities.jsonl", "y/candidate_set_entities.jsonl"});
  expect_user_error([&] { read_mewslix_pairs({write("pairs.jsonl", "{\"entity\": {}}\n")}, {}); },
                    {"pairs.jsonl:1", "\"contextual_mention\" is missing"});
}

TEST_F(DualEncoders, MewslixIsRankedAndScoredAsXtremeDoes) {
  write("mewslix/candidate_set_entities.jsonl", one_line(kBonn) + one_line(kBerlin));
  write("mewslix/wikinews_mentions/dev-de.jsonl",
        mentions_line("de", mention("a", "Q64") + ", " + mention("b", "Q586") + ", " + mention("c", "Q64")));
  const Task& task = find_task("mewslix");
  EXPECT_EQ(task.train_task(), "wikipedia_pairs");
  EXPECT_EQ(task.available_languages(folder_.path(), "dev"), Names{"de"});
  const auto data = task.load(folder_.path(), "dev", "de", small_tokenizer(), {});
  ASSERT_EQ(data->dataset().examples.size(), 3u + 2u);
  EXPECT_LE(data->dataset().examples[0].ids.size(), 64u);
  StubDualEncoder model;
  model.hidden = 2;
  // All mentions are taken for Berlin, the second candidate.
  model.vector = [](const StubSequence& sequence, float* vector) { vector[sequence.number == 3 ? 0 : 1] = 1; };
  const Evaluation result = data->evaluate(model, {});
  expect_outcomes(result);
  EXPECT_DOUBLE_EQ(result.value, (1 + 0.5 + 1) / 3 * 100);
  EXPECT_EQ(result.prediction_file, "mewslix/dev-de.json");
  EXPECT_EQ(result.metrics.size(), 1u);
  write_text(folder_ / "p" / result.prediction_file, result.prediction_content);
  EXPECT_EQ(task.score(folder_ / "p" / result.prediction_file, folder_.path(), "de").metrics, result.metrics);

  // XTREME's label files, and a mention nobody predicted.
  write("labels/mewslix/test-de.json", R"({"a": ["Q64"], "b": ["Q586"], "z": ["Q1"]})");
  write("s/mewslix/test-de.json", result.prediction_content);
  const Evaluation scored = task.score(folder_ / "s", folder_ / "labels", "de");
  EXPECT_DOUBLE_EQ(scored.value, (1 + 0.5 + 0) / 3 * 100);
  EXPECT_EQ(scored.unpredicted, 1);
  write("labels/mewslix/test-de.json", R"({"a": [""]})");
  EXPECT_THROW(task.score(folder_ / "s", folder_ / "labels", "de"), MissingGold);
  write("labels/mewslix/test-de.json", R"({"a": ["Q1", "Q2"]})");
  expect_user_error([&] { task.score(folder_ / "s", folder_ / "labels", "de"); }, {"test-de.json", "\"a\" has 2 entities"});
  write("s/mewslix/test-de.json", R"({"a": "Q64"})");
  expect_user_error([&] { task.score(folder_ / "s", folder_.path(), "de"); }, {"test-de.json", "\"a\"", "array"});

  // The test files that XTREME hands out are blanked.
  write("mewslix/wikinews_mentions/test-de.jsonl", mentions_line("de", mention("a", "") + ", " + mention("b", "")));
  EXPECT_NE(task.missing_gold(folder_.path(), "test", "de"), "");
  expect_user_error([&] { task.load(folder_.path(), "test", "de", small_tokenizer(), {})->evaluate(model, {}); },
                    {"test-de.jsonl", "no gold labels"});
}

}  // namespace
}  // namespace koine
