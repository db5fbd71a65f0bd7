#include "tasks/families/answers.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "tasks/common/prediction.h"

namespace koine {
namespace {

using nlohmann::ordered_json;

double rounded(double probability) { return std::round(probability * 1e6) / 1e6; }

std::vector<double> softmax(const float* logits, std::size_t count) {
  const double largest = *std::max_element(logits, logits + count);
  std::vector<double> values;
  double sum = 0;
  for (std::size_t i = 0; i < count; ++i) {
    values.push_back(std::exp(static_cast<double>(logits[i]) - largest));
    sum += values.back();
  }
  for (double& value : values) value = rounded(value / sum);
  return values;
}

std::string line_of(const ordered_json& record) { return record.dump(-1, ' ', /*ensure_ascii=*/false); }

std::int64_t characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
}

/// Places the answer in its context, in characters.
void add_place(ordered_json& record, const AnswerCandidate& answer, std::string_view context,
               const TokenizedContext& tokens) {
  if (answer.pieces.first < 0) return;
  const auto word = static_cast<std::size_t>(tokens.piece_words[static_cast<std::size_t>(answer.pieces.first)]);
  const std::size_t begin = context.find(answer.text, static_cast<std::size_t>(tokens.words[word].begin));
  if (begin == std::string_view::npos || begin > static_cast<std::size_t>(tokens.words[word].end)) return;
  record["start"] = characters(context.substr(0, begin));
  record["end"] = characters(context.substr(0, begin + answer.text.size()));
}

}  // namespace

std::string label_record(const std::vector<std::string>& labels, const float* logits) {
  const std::vector<double> probabilities = softmax(logits, labels.size());
  ordered_json record;
  record["label"] = labels[static_cast<std::size_t>(index_of_largest(logits, static_cast<std::int32_t>(labels.size())))];
  for (std::size_t i = 0; i < labels.size(); ++i) record["probabilities"][labels[i]] = probabilities[i];
  return line_of(record);
}

std::string written_label_record(const std::string& label, const std::string& text) {
  ordered_json record;
  record["label"] = label.empty() ? ordered_json() : ordered_json(label);
  record["text"] = text;
  return line_of(record);
}

std::string written_choice_record(std::int32_t choice, const std::string& text) {
  ordered_json record;
  record["choice"] = choice < 0 ? ordered_json() : ordered_json(choice);
  record["text"] = text;
  return line_of(record);
}

std::string written_tag_record(const TaggedSentence& words, const std::vector<std::string>& tags, const std::string& text,
                               bool readable) {
  ordered_json record;
  for (const TaggedWord& word : words) record["words"].push_back(word.form);
  record["tags"] = tags;
  record["text"] = text;
  if (!readable) record["readable"] = false;
  return line_of(record);
}

std::string written_span_record(const std::string& id, const std::string& answer, const std::string& text) {
  ordered_json record;
  record["id"] = id;
  record["answer"] = answer;
  record["text"] = text;
  return line_of(record);
}

std::string choice_record(const std::vector<float>& scores) {
  ordered_json record;
  record["choice"] = index_of_largest(scores.data(), static_cast<std::int32_t>(scores.size()));
  record["probabilities"] = softmax(scores.data(), scores.size());
  return line_of(record);
}

std::string tag_record(const TaggedSentence& words, const std::vector<std::string>& labels,
                       const std::vector<const float*>& logits) {
  ordered_json record;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto tag = static_cast<std::size_t>(index_of_largest(logits[i], static_cast<std::int32_t>(labels.size())));
    record["words"].push_back(words[i].form);
    record["tags"].push_back(labels[tag]);
    record["probabilities"].push_back(softmax(logits[i], labels.size())[tag]);
  }
  return line_of(record);
}

std::string span_record(const std::string& id, const std::vector<AnswerCandidate>& candidates, std::string_view context,
                        const TokenizedContext& tokens, bool refused) {
  std::vector<float> logits;
  for (const AnswerCandidate& candidate : candidates) logits.push_back(candidate.logit);
  ordered_json record;
  record["id"] = id;
  record["answer"] = refused ? "" : candidates.front().text;
  if (!refused) {
    add_place(record, candidates.front(), context, tokens);
    record["probability"] = softmax(logits.data(), logits.size()).front();
  }
  return line_of(record);
}

std::string vector_record(const float* vector, std::int64_t width) {
  ordered_json record;
  record["vector"] = std::vector<float>(vector, vector + width);
  return line_of(record);
}

}  // namespace koine
