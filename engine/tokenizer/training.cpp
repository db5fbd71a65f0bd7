// Tokenizer::train: a SentencePiece vocabulary from plain text.

#include <sentencepiece_trainer.h>

#include <algorithm>
#include <unordered_map>

#include "engine/files/text_file.h"
#include "engine/tokenizer/tokenizer.h"
#include "kernels/common/check.h"

namespace koine {
namespace {

/// The trainer splits its sums by threads, so their number decides the last bits of the scores: it is part of the recipe,
/// not of the machine.
constexpr int kTrainerThreads = 4;

/// The library's view of our lines.
class LineIterator : public sentencepiece::SentenceIterator {
 public:
  explicit LineIterator(const std::vector<std::string>& lines) : lines_(lines) {}
  bool done() const override { return next_ >= lines_.size(); }
  void Next() override { ++next_; }
  const std::string& value() const override { return lines_[next_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  const std::vector<std::string>& lines_;
  std::size_t next_ = 0;
};

}  // namespace

void Tokenizer::train(const TokenizerTraining& training, const std::filesystem::path& output) {
  require(!training.inputs.empty(), "a tokenizer is to be trained on no text; name a file");
  std::vector<std::string> lines;
  for (const std::filesystem::path& input : training.inputs) {
    for_each_line(input, [&](std::string_view text, std::int64_t) {
      if (!text.empty()) lines.emplace_back(text);
    });
  }
  require(!lines.empty(), training.inputs.front().string(), ": holds no text to train a tokenizer on");

  const auto& first = training.numbering.first;
  const auto place = [&](std::string_view piece) {
    const auto found = std::find(first.begin(), first.end(), piece);
    return std::to_string(found == first.end() ? -1 : found - first.begin());
  };
  std::unordered_map<std::string, std::string> settings = {
      {"model_type", "unigram"},
      {"vocab_size", std::to_string(training.pieces)},
      {"character_coverage", std::to_string(training.character_coverage)},
      {"normalization_rule_name", "nmt_nfkc"},
      {"input_sentence_size", "0"},
      {"shuffle_input_sentence", "false"},
      {"num_threads", std::to_string(kTrainerThreads)},
      {"unk_id", place("<unk>")},
      {"bos_id", place("<s>")},
      {"eos_id", place("</s>")},
      {"pad_id", place("<pad>")},
      {"minloglevel", "3"},
  };
  if (training.byte_fallback) settings["byte_fallback"] = "true";
  std::string sentinels;
  for (std::int32_t i = training.sentinels - 1; i >= 0; --i)
    sentinels += concatenate(sentinels.empty() ? "" : ",", "<extra_id_", i, ">");
  if (!sentinels.empty()) settings["user_defined_symbols"] = sentinels;
  LineIterator iterator(lines);
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(settings, &iterator, &model);
  require(status.ok(), "a tokenizer of ", training.pieces, " pieces cannot be trained on ", training.inputs.front().string(),
          training.inputs.size() > 1 ? " and others: " : ": ", status.message());
  write_file_atomically(output, model);
}

}  // namespace koine
