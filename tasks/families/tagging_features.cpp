#include "tasks/families/tagging_features.h"

#include "kernels/common/check.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

namespace koine {
namespace {

/// Fills rows of one sentence after the other.
class RowBuilder {
 public:
  RowBuilder(const SpecialTokens& special, std::int64_t room, TaggingFeatures& features)
      : special_(special), room_(room), features_(features) {}

  void begin_sentence(std::size_t sentence) {
    sentence_ = sentence;
    begin_row(0);
  }

  void add_word(std::size_t number, const std::vector<std::int32_t>& pieces, std::int32_t tag) {
    if (static_cast<std::int64_t>(example_.ids.size() + pieces.size()) > room_ + special_.before()) {
      finish_row();
      begin_row(number);
    }
    row_.positions.push_back(static_cast<std::int32_t>(example_.ids.size()));
    example_.ids.insert(example_.ids.end(), pieces.begin(), pieces.end());
    example_.labels.push_back(tag < 0 ? kIgnoredLabel : tag);
    example_.labels.resize(example_.ids.size(), kIgnoredLabel);
  }

  void finish_row() {
    example_.ids.push_back(special_.end);
    example_.labels.push_back(kIgnoredLabel);
    example_.number = static_cast<std::uint32_t>(features_.examples.size());
    features_.examples.push_back(std::move(example_));
    features_.rows.push_back(std::move(row_));
  }

 private:
  void begin_row(std::size_t first_word) {
    row_ = {sentence_, first_word, {}};
    example_ = {};
    if (special_.begin < 0) return;
    example_.ids = {special_.begin};
    example_.labels = {kIgnoredLabel};
  }

  const SpecialTokens& special_;
  std::int64_t room_;
  TaggingFeatures& features_;
  std::size_t sentence_ = 0;
  TaggedRow row_;
  Example example_;
};

}  // namespace

TaggingFeatures make_tagging_features(const std::vector<TaggedSentence>& sentences, const Tokenizer& tokenizer,
                                      std::int64_t max_seq_length) {
  const std::int64_t room = max_seq_length - kReservedPositions;
  require(room > 0, "max_seq_length ", max_seq_length, " leaves no room for a word; give at least ", kReservedPositions + 1);
  TaggingFeatures features;
  features.truncation.maximum_length = max_seq_length;
  RowBuilder builder(tokenizer.special(), room, features);
  for (std::size_t i = 0; i < sentences.size(); ++i) {
    builder.begin_sentence(i);
    std::int64_t lost = 0;
    for (std::size_t word = 0; word < sentences[i].size(); ++word) {
      std::vector<std::int32_t> pieces = tokenizer.encode(sentences[i][word].form);
      if (std::ssize(pieces) > room) lost += std::ssize(pieces);
      if (pieces.empty() || std::ssize(pieces) > room) pieces = {tokenizer.special().unknown};
      builder.add_word(word, pieces, sentences[i][word].tag);
    }
    builder.finish_row();
    features.truncation.add(lost);
  }
  return features;
}

}  // namespace koine
