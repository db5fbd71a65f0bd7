#include "tasks/text/text_answers.h"

#include <algorithm>

#include "engine/parameters/finite.h"
#include "tasks/text/text_form.h"

namespace koine {

Example TextExamples::source_of(const std::string& source, std::int64_t& lost) {
  std::vector<std::int32_t> ids = tokenizer_.encode(source);
  const std::int64_t whole = std::ssize(ids) + tokenizer_.special().around_single();
  Example example;
  example.ids = tokenizer_.special().frame_single(std::move(ids), truncation_.maximum_length);
  example.number = static_cast<std::uint32_t>(dataset_.examples.size());
  lost = whole - std::ssize(example.ids);
  return example;
}

void TextExamples::add(const std::string& source) {
  std::int64_t lost = 0;
  dataset_.examples.push_back(source_of(source, lost));
  truncation_.add(lost);
}

void TextExamples::add(const std::string& source, const std::string& target, bool may_be_empty) {
  std::int64_t lost = 0;
  Example example = source_of(source, lost);
  std::vector<std::int32_t> ids = answer_ids(target, tokenizer_);
  require(ids.size() > 1 || may_be_empty, dataset_.name, ": example ", example.number, " has an empty target (\"", target,
          "\"): there is nothing to be learnt from it");
  const std::int64_t too_many = std::ssize(ids) - max_target_length_;
  if (too_many > 0) {
    ids.resize(static_cast<std::size_t>(max_target_length_));
    ids.back() = tokenizer_.special().end;
  }
  set_target(example, std::move(ids), tokenizer_.special().pad, tokenizer_.special().pad);
  truncation_.add(lost + std::max<std::int64_t>(0, too_many), too_many > 0);
  dataset_.examples.push_back(std::move(example));
}

std::vector<std::int32_t> answer_ids(const std::string& text, const Tokenizer& tokenizer) {
  std::vector<std::int32_t> ids = tokenizer.encode(text);
  ids.push_back(tokenizer.special().end);
  return ids;
}

std::string as_written(const std::string& text, const Tokenizer& tokenizer) {
  return trimmed(tokenizer.decode(tokenizer.encode(text)));
}

PassCounts generate_all(Model& model, const Dataset& dataset, const GenerationSettings& settings,
                        const EvaluationOptions& options,
                        const std::function<void(std::size_t number, const Generation& generation)>& use) {
  // A decoder keeps so many tokens of all rows, which are beams, and has logits of so many rows.
  constexpr std::int64_t kKept = 8192;
  constexpr std::int64_t kRows = 64;
  const std::int64_t rows = std::min(kRows, kKept / std::max<std::int64_t>(1, settings.maximum_length));
  const std::int64_t at_a_time = std::max<std::int64_t>(1, rows / settings.beams);
  return for_each_batch(model, dataset, options, [&](PackedBatch& batch, const std::vector<std::int64_t>& groups) {
    for (std::int64_t begin = 0; begin < std::ssize(groups); begin += at_a_time) {
      if (options.stop != nullptr && options.stop->load()) throw Interrupted();
      const std::vector<std::int64_t> part(groups.begin() + begin,
                                           groups.begin() + std::min(std::ssize(groups), begin + at_a_time));
      PackedBatch some = pack_groups(dataset, part);
      some.head = batch.head;
      const std::vector<Generation> answers = model.generate(some, settings);
      for (std::size_t i = 0; i < part.size(); ++i) use(static_cast<std::size_t>(part[i]), answers[i]);
    }
  });
}

std::string written_text(const Generation& generation, const Tokenizer& tokenizer) {
  std::vector<std::int32_t> ids = generation.ids;
  std::erase_if(ids, [&](std::int32_t id) { return id >= tokenizer.vocabulary_size(); });  // rows that are no pieces
  return tokenizer.decode(ids);
}

WrittenAnswers write_answers(Model& model, const Dataset& dataset, const Tokenizer& tokenizer, GenerationSettings settings,
                             const EvaluationOptions& options) {
  WrittenAnswers written;
  written.texts.resize(dataset.examples.size());
  written.counts = generate_all(model, dataset, settings, options, [&](std::size_t number, const Generation& generation) {
    written.texts[number] = trimmed(written_text(generation, tokenizer));
  });
  return written;
}

CandidateScores score_candidates(Model& model, const Dataset& dataset, const Tokenizer& tokenizer,
                                 const std::vector<std::vector<std::string>>& candidates, const EvaluationOptions& options) {
  Dataset all;
  all.name = dataset.name;
  all.head = dataset.head;
  CandidateScores result;
  std::vector<std::size_t> owners;
  for (std::size_t i = 0; i < dataset.examples.size(); ++i) {
    for (const std::string& candidate : candidates[candidates.size() == 1 ? 0 : i]) {
      Example example;
      example.ids = dataset.examples[i].ids;
      example.number = static_cast<std::uint32_t>(all.examples.size());
      set_target(example, answer_ids(candidate, tokenizer), tokenizer.special().pad, tokenizer.special().pad);
      all.examples.push_back(std::move(example));
      owners.push_back(i);
    }
  }
  std::vector<float> scores(all.examples.size());
  result.counts = for_each_batch(model, all, options, [&](PackedBatch& batch, const std::vector<std::int64_t>& groups) {
    const std::vector<double> losses = model.sequence_losses(batch);
    for (std::size_t i = 0; i < groups.size(); ++i)
      scores[static_cast<std::size_t>(groups[i])] = -static_cast<float>(losses[i]);
  });
  result.scores.resize(dataset.examples.size());
  std::vector<std::size_t> broken;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (count_not_finite({&scores[i], 1}) > 0) broken.push_back(i);
    result.scores[owners[i]].push_back(scores[i]);
  }
  require_finite(all, broken);
  return result;
}

ChosenAnswers choose_answers(Model& model, const Dataset& dataset, const Tokenizer& tokenizer,
                             const std::vector<std::vector<std::string>>& candidates, const EvaluationOptions& options) {
  ChosenAnswers answers;
  if (options.choices == ChoiceSearch::kLikelihood) {
    CandidateScores scored = score_candidates(model, dataset, tokenizer, candidates, options);
    answers.counts = scored.counts;
    answers.scores = std::move(scored.scores);
    for (const std::vector<float>& scores : answers.scores)
      answers.chosen.push_back(index_of_largest(scores.data(), static_cast<std::int32_t>(scores.size())));
    return answers;
  }
  const bool constrained = options.choices == ChoiceSearch::kConstrained;
  require(!constrained || candidates.size() == 1, dataset.name,
          ": its answers are others for every example, so none can be allowed for all; take --choices likelihood");
  GenerationSettings settings;
  settings.maximum_length = 0;
  std::vector<std::vector<std::string>> readable;
  for (const std::vector<std::string>& list : candidates) {
    readable.emplace_back();
    for (const std::string& candidate : list) {
      const std::vector<std::int32_t> ids = answer_ids(candidate, tokenizer);
      settings.maximum_length = std::max(settings.maximum_length, std::ssize(ids));
      if (constrained) settings.answers.push_back(ids);
      readable.back().push_back(as_written(candidate, tokenizer));
    }
  }
  WrittenAnswers written = write_answers(model, dataset, tokenizer, settings, options);
  answers.counts = written.counts;
  answers.texts = std::move(written.texts);
  for (std::size_t i = 0; i < answers.texts.size(); ++i) {
    const std::vector<std::string>& list = readable[readable.size() == 1 ? 0 : i];
    const auto found = std::find(list.begin(), list.end(), answers.texts[i]);
    answers.chosen.push_back(found == list.end() ? -1 : static_cast<std::int32_t>(found - list.begin()));
  }
  return answers;
}

}  // namespace koine
