// Windows, spans and answers of question answering. The features and predictions of whole files were compared with XTREME's
// own third_party/processors/squad.py and transformers' compute_predictions_logits (see docs of span_features.h); here are
// the rules one by one.

#include <gtest/gtest.h>

#include "stub_model.h"
#include "tasks/families/span_answers.h"
#include "tasks/families/span_features.h"

namespace koine {
namespace {

SquadFile one_question(const std::string& context, const std::string& question, const std::string& answer) {
  SquadFile file;
  file.contexts = {context};
  file.questions = {{"q", question, 0, {{answer, static_cast<std::int32_t>(context.find(answer))}}}};
  return file;
}

FeatureOptions options(std::int64_t max_seq_length, std::int64_t doc_stride = 128) {
  FeatureOptions result;
  result.max_seq_length = max_seq_length;
  result.doc_stride = doc_stride;
  return result;
}

/// Logits of a window with one start and one end far above the rest.
std::vector<float> peaks(const Example& example, std::int32_t start, std::int32_t end) {
  std::vector<float> logits(2 * example.ids.size());
  logits[2 * static_cast<std::size_t>(start)] = 10;
  logits[2 * static_cast<std::size_t>(end) + 1] = 10;
  return logits;
}

TEST(SpanFeatures, WordsEndAtFiveBlanksOnly) {
  const std::string context =
      " a b\tc\rd\ne\u202F"
      "f\u00a0g\u3000h  ";
  std::vector<std::string> words;
  for (const ByteSpan& word : split_words(context)) {
    words.push_back(context.substr(static_cast<std::size_t>(word.begin), static_cast<std::size_t>(word.end - word.begin)));
  }
  EXPECT_EQ(words, (std::vector<std::string>{"a", "b", "c", "d", "e", "f\u00a0g\u3000h"}));
}

TEST(SpanFeatures, ContextBeginsThreePositionsBehindTheQuestion) {
  const Tokenizer& tokenizer = small_tokenizer();
  const std::string context = "A small river runs between two old towns";
  const SquadFile file = one_question(context, "runs between?", "river");
  const SpanFeatures features = make_span_features(file, tokenizer, options(384), true);
  ASSERT_EQ(features.examples.size(), 1u);
  const std::vector<std::int32_t>& ids = features.examples[0].ids;
  const std::vector<std::int32_t> query = tokenizer.encode("runs between?");
  const auto q = query.size();
  EXPECT_EQ(ids.front(), kFairseqNumbering.special.begin);
  EXPECT_EQ(ids[q + 1], kFairseqNumbering.special.end);
  EXPECT_EQ(ids[q + 2], kFairseqNumbering.special.end);
  EXPECT_EQ(ids.back(), kFairseqNumbering.special.end);
  EXPECT_EQ(std::vector<std::int32_t>(ids.begin() + static_cast<std::ptrdiff_t>(q) + 3, ids.end() - 1),
            tokenizer.encode(context));
  // The ids at the labelled positions are those of the answer: one position less or more (the well-known slip) is another
  // text.
  const auto start = features.examples[0].labels[0];
  const auto end = features.examples[0].labels[1];
  EXPECT_EQ(std::vector<std::int32_t>(ids.begin() + start, ids.begin() + end + 1), tokenizer.encode("river"));
}

TEST(SpanFeatures, AnswerIsNarrowedToItsPieces) {
  const Tokenizer& tokenizer = small_tokenizer();
  const SquadFile file = one_question("the lazy dog in 1987 (again), he said", "when?", "1987");
  const SpanFeatures features = make_span_features(file, tokenizer, options(384), true);
  const std::vector<std::int32_t>& labels = features.examples[0].labels;
  EXPECT_EQ(labels[1] - labels[0] + 1, static_cast<std::int32_t>(tokenizer.encode("1987").size()));
  // "again" is inside the word "(again),": no span of its pieces equals the tokenised answer, so the whole word is the
  // answer.
  const SquadFile inside = one_question("the lazy dog in 1987 (again), he said", "when?", "again");
  const SpanFeatures word = make_span_features(inside, tokenizer, options(384), true);
  EXPECT_EQ(word.examples[0].labels[1] - word.examples[0].labels[0] + 1,
            static_cast<std::int32_t>(tokenizer.encode("(again),").size()));
}

TEST(SpanFeatures, WindowsAdvanceByTheStrideAndReachTheEnd) {
  const std::vector<SpanWindow> windows =
      make_windows(kFairseqNumbering.special, /*pieces=*/1000, /*query=*/16, /*max_seq_length=*/384, /*doc_stride=*/128);
  ASSERT_EQ(windows.size(), 6u);  // 364 pieces each: 0, 128 ... 640, the last with 360
  for (std::size_t i = 0; i < windows.size(); ++i) {
    EXPECT_EQ(windows[i].start, static_cast<std::int32_t>(128 * i));
    EXPECT_EQ(windows[i].length, i < 5 ? 364 : 360);
    EXPECT_EQ(windows[i].offset, 19);
  }
  EXPECT_EQ(make_windows(kFairseqNumbering.special, 364, 16, 384, 128).size(), 1u);
  EXPECT_EQ(make_windows(kFairseqNumbering.special, 365, 16, 384, 128).size(), 2u);
  EXPECT_EQ(make_windows(kFairseqNumbering.special, 100, 10, 34, 128).size(),
            5u);  // 20 a window: it advances by 20, and skips nothing
  expect_user_error([] { make_windows(kFairseqNumbering.special, 10, 60, 64, 128); }, {"max_seq_length 64", "60"});
  // Piece 300: 300 and 63 others around it in window 0, 172 and 191 in window 1, 44 in window 2.
  EXPECT_EQ(maximum_context_window(windows, 300), 1u);
  EXPECT_EQ(maximum_context_window(windows, 0), 0u);
  EXPECT_EQ(maximum_context_window(windows, 999), 5u);
}

TEST(SpanFeatures, WindowWithoutTheWholeAnswerPointsToTheBeginning) {
  const Tokenizer& tokenizer = small_tokenizer();
  std::string context = "start";
  for (int i = 0; i < 60; ++i) context += " dog";
  const SquadFile file = one_question(context, "fox", "start");
  const SpanFeatures features = make_span_features(file, tokenizer, options(40, 16), true);
  ASSERT_GT(features.examples.size(), 1u);
  EXPECT_GT(features.examples.front().labels[0], 0);
  EXPECT_EQ(features.examples.back().labels, (std::vector<std::int32_t>{0, 0}));
  for (const Example& example : features.examples) EXPECT_LE(example.ids.size(), 40u);
}

TEST(SpanFeatures, LongQuestionIsCut) {
  std::string question;
  for (int i = 0; i < 100; ++i) question += "dog ";
  const SpanFeatures features =
      make_span_features(one_question("the fox", question, "fox"), small_tokenizer(), options(384), true);
  EXPECT_EQ(features.windows[0].offset, 64 + 3);
}

TEST(SpanAnswers, CutTheOriginalWords) {
  // transformers 4.18's get_final_text with do_lower_case False gives the same on each of these.
  EXPECT_EQ(get_final_text("Denver", "(Denver)"), "Denver");
  EXPECT_EQ(get_final_text("Den", "Denver"), "Den");
  EXPECT_EQ(get_final_text("1,000", "about 1,000,"), "about 1,000,");  // not found: "1 , 000" after splitting
  EXPECT_EQ(get_final_text("a ... b", "a \u2026 b"), "a \u2026 b");    // normalisation changed it
  EXPECT_EQ(get_final_text("", "x"), "x");
  EXPECT_EQ(get_final_text("x", "a\u00a0x"), "a\u00a0x");  // another blank: the characters do not align
  EXPECT_EQ(get_final_text("\u5927\u5bb6", "\u5927\u5bb6\u597d"),
            "\u5927\u5bb6\u597d");  // Chinese is split at every character
}

class Answers : public testing::Test {
 protected:
  void build(const std::string& context, std::int64_t max_seq_length, std::int64_t doc_stride) {
    file_ = one_question(context, "fox", context.substr(0, 1));
    features_ = make_span_features(file_, small_tokenizer(), options(max_seq_length, doc_stride), false);
    logits_.assign(features_.windows.size(), {});
    for (std::size_t i = 0; i < logits_.size(); ++i) logits_[i].assign(2 * features_.examples[i].ids.size(), -1.0f);
  }
  std::vector<AnswerCandidate> find(AnswerSearch search = {}) {
    std::vector<const std::vector<float>*> all;
    for (const std::vector<float>& logits : logits_) all.push_back(&logits);
    return find_answers(features_.windows, all, file_.contexts[0], features_.contexts[0], small_tokenizer(), search);
  }
  SquadFile file_;
  SpanFeatures features_;
  std::vector<std::vector<float>> logits_;
};

TEST_F(Answers, BestPairWins) {
  build("the quick brown fox jumps", 384, 128);
  const std::int32_t offset = features_.windows[0].offset;
  const auto first = offset + features_.contexts[0].first_piece[1];
  const auto last = offset + features_.contexts[0].first_piece[3] - 1;
  logits_[0] = peaks(features_.examples[0], first, last);
  EXPECT_EQ(find()[0].text, "quick brown");
  AnswerSearch bytes;
  bytes.words_have_blanks = false;
  EXPECT_EQ(find(bytes)[0].text, "quick brown");
  AnswerSearch several;
  several.answers = 3;
  const auto answers = find(several);
  ASSERT_EQ(answers.size(), 3u);
  EXPECT_GE(answers[0].logit, answers[1].logit);
  EXPECT_NE(answers[0].text, answers[1].text);
}

TEST_F(Answers, QuestionAndSpecialTokensAreNoAnswers) {
  build("the quick brown fox", 384, 128);
  logits_[0] = peaks(features_.examples[0], 0, 0);  // <s>
  logits_[0][2 * static_cast<std::size_t>(features_.windows[0].offset)] = 1;
  logits_[0][2 * static_cast<std::size_t>(features_.windows[0].offset) + 1] = 1;
  EXPECT_EQ(find()[0].pieces.first, 0);
  EXPECT_EQ(find()[0].pieces.last, 0);
  AnswerSearch none;
  none.best_positions = 1;  // then only <s> is looked at
  EXPECT_EQ(find(none)[0].text, "empty");
}

TEST_F(Answers, EndBeforeStartAndTooLongAreRefused) {
  std::string context = "fox";
  for (int i = 0; i < 50; ++i) context += " dog";
  build(context, 384, 128);
  const std::int32_t offset = features_.windows[0].offset;
  AnswerSearch only;
  only.best_positions = 1;
  logits_[0] = peaks(features_.examples[0], offset + 5, offset + 4);
  EXPECT_EQ(find(only)[0].text, "empty");
  logits_[0] = peaks(features_.examples[0], offset + 5, offset + 5 + 30);  // 31 pieces
  EXPECT_EQ(find(only)[0].text, "empty");
  logits_[0] = peaks(features_.examples[0], offset + 5, offset + 5 + 29);
  EXPECT_NE(find(only)[0].text, "empty");
}

TEST_F(Answers, OnlyTheWindowOfMaximumContextMayBeginAnAnswer) {
  std::string context = "fox";
  for (int i = 0; i < 60; ++i) context += " dog";
  build(context, 48, 16);
  ASSERT_GT(features_.windows.size(), 1u);
  AnswerSearch only;
  only.best_positions = 1;
  // The first piece of window 1 stands in window 0 with more around it.
  const SpanWindow& second = features_.windows[1];
  ASSERT_EQ(maximum_context_window(features_.windows, second.start), 0u);
  for (auto& logits : logits_) logits = peaks({std::vector<std::int32_t>(logits.size() / 2), {}, 0}, 0, 0);
  logits_[1] = peaks(features_.examples[1], second.offset, second.offset);
  EXPECT_EQ(find(only)[0].text, "empty");
  logits_[0] =
      peaks(features_.examples[0], second.start + features_.windows[0].offset, second.start + features_.windows[0].offset);
  EXPECT_EQ(find(only)[0].pieces.first, second.start);
}

}  // namespace
}  // namespace koine
