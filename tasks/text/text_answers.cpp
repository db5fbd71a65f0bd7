#include "tasks/text/text_answers.h"

#include <algorithm>

#include "engine/parameters/finite.h"
#include "kernels/common/check.h"
#include "tasks/text/text_form.h"

namespace koine {

void TextExamples::add(const std::string& source) { add(tokenizer_.encode(source), nullptr, false, true); }

void TextExamples::add(const std::string& source, const std::string& target, bool may_be_empty) {
  add(tokenizer_.encode(source), &target, may_be_empty, true);
}

std::int64_t TextExamples::add_windows(const std::string& beginning, const std::string& text, const std::string* target) {
  const std::vector<std::int32_t> whole = tokenizer_.encode(trimmed(beginning + " " + text));
  const std::vector<std::int32_t> first = tokenizer_.encode(beginning);
  const std::int64_t room = truncation_.maximum_length - tokenizer_.special().around_single() - std::ssize(first);
  if (std::ssize(whole) + tokenizer_.special().around_single() <= truncation_.maximum_length || room <= 0) {
    add(whole, target, false, true);
    return 1;
  }
  const std::vector<std::int32_t> rest = tokenizer_.encode(text);
  const std::vector<TextWindow> windows = text_windows(std::ssize(rest), room);
  for (const TextWindow& window : windows) {
    std::vector<std::int32_t> ids = first;
    ids.insert(ids.end(), rest.begin() + window.begin, rest.begin() + window.begin + window.length);
    add(std::move(ids), target, false, window.begin == 0);
  }
  return std::ssize(windows);
}

void TextExamples::add(std::vector<std::int32_t> source, const std::string* target, bool may_be_empty, bool counted) {
  const std::int64_t whole = std::ssize(source) + tokenizer_.special().around_single();
  Example example;
  example.ids = tokenizer_.special().frame_single(std::move(source), truncation_.maximum_length);
  example.number = static_cast<std::uint32_t>(dataset_.examples.size());
  std::int64_t too_many = 0;
  if (target != nullptr) {
    std::vector<std::int32_t> ids = answer_ids(*target, tokenizer_);
    require(ids.size() > 1 || may_be_empty, dataset_.name, ": example ", example.number, " has an empty target (\"", *target,
            "\"): there is nothing to be learnt from it");
    too_many = std::max<std::int64_t>(0, std::ssize(ids) - max_target_length_);
    if (too_many > 0) {
      ids.resize(static_cast<std::size_t>(max_target_length_));
      ids.back() = tokenizer_.special().end;
    }
    set_target(example, std::move(ids), tokenizer_.special().pad, tokenizer_.special().pad);
  }
  if (counted) truncation_.add(whole - std::ssize(example.ids) + too_many, too_many > 0);
  dataset_.examples.push_back(std::move(example));
}

std::vector<TextWindow> text_windows(std::int64_t pieces, std::int64_t room) {
  check(room > 0, "windows of ", room, " pieces");
  const std::int64_t advance = std::max<std::int64_t>(1, room / 2);
  std::vector<TextWindow> windows;
  for (std::int64_t begin = 0;; begin += advance) {
    windows.push_back({begin, std::min(room, pieces - begin)});
    if (begin + room >= pieces) return windows;
  }
}

std::vector<std::int32_t> answer_ids(const std::string& text, const Tokenizer& tokenizer) {
  std::vector<std::int32_t> ids = tokenizer.encode(text);
  ids.push_back(tokenizer.special().end);
  return ids;
}

std::string as_written(const std::string& text, const Tokenizer& tokenizer) {
  return trimmed(tokenizer.decode(tokenizer.encode(text)));
}

namespace {

// A decoder keeps so many tokens of all rows, and has logits of so many rows.
constexpr std::int64_t kKeptTokens = 8192;
constexpr std::int64_t kDecodedRows = 64;

/// Rows of up to `length` tokens that are decoded together.
std::int64_t rows_at_once(std::int64_t length) {
  return std::max<std::int64_t>(1, std::min(kDecodedRows, kKeptTokens / std::max<std::int64_t>(1, length)));
}

/// Calls use(batch, examples) for parts of the data set whose examples have together up to `most_rows` of rows_of(example), or
/// which are one example.
PassCounts for_each_part(Model& model, const Dataset& dataset, const EvaluationOptions& options, std::int64_t most_rows,
                         const std::function<std::int64_t(std::size_t example)>& rows_of,
                         const std::function<void(PackedBatch& batch, const std::vector<std::size_t>& examples)>& use) {
  const auto use_part = [&](const std::vector<std::int64_t>& part, std::int32_t head) {
    if (options.stop != nullptr && options.stop->load()) throw Interrupted();
    PackedBatch some = pack_groups(dataset, part);
    some.head = head;
    use(some, {part.begin(), part.end()});
  };
  return for_each_batch(model, dataset, options, [&](PackedBatch& batch, const std::vector<std::int64_t>& groups) {
    std::vector<std::int64_t> part;
    std::int64_t rows = 0;
    for (const std::int64_t group : groups) {
      const std::int64_t more = rows_of(static_cast<std::size_t>(group));
      if (!part.empty() && rows + more > most_rows) {
        use_part(part, batch.head);
        part.clear();
        rows = 0;
      }
      part.push_back(group);
      rows += more;
    }
    if (!part.empty()) use_part(part, batch.head);
  });
}

}  // namespace

PassCounts generate_all(Model& model, const Dataset& dataset, const GenerationSettings& settings,
                        const EvaluationOptions& options,
                        const std::function<void(std::size_t number, const Generation& generation)>& use) {
  check(settings.own_answers.empty() || settings.own_answers.size() == dataset.examples.size(), "lists of answers for ",
        settings.own_answers.size(), " of ", dataset.examples.size(), " examples of ", dataset.name);
  GenerationSettings of_part = settings;
  return for_each_part(
      model, dataset, options, rows_at_once(settings.maximum_length), [&](std::size_t) { return settings.beams; },
      [&](PackedBatch& batch, const std::vector<std::size_t>& examples) {
        of_part.own_answers.clear();
        if (!settings.own_answers.empty()) {
          for (const std::size_t example : examples) of_part.own_answers.push_back(settings.own_answers[example]);
        }
        const std::vector<Generation> answers = model.generate(batch, of_part);
        for (std::size_t i = 0; i < examples.size(); ++i) use(examples[i], answers[i]);
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
  written.scores.resize(dataset.examples.size());
  written.counts = generate_all(model, dataset, settings, options, [&](std::size_t number, const Generation& generation) {
    written.texts[number] = trimmed(written_text(generation, tokenizer));
    written.scores[number] = generation.score;
  });
  return written;
}

namespace {

/// Candidates as the decoder writes them.
struct CandidateIds {
  std::vector<std::vector<std::vector<std::int32_t>>> lists;
  std::int64_t longest = 0;
};
CandidateIds ids_of(const std::vector<std::vector<std::string>>& candidates, const Tokenizer& tokenizer) {
  CandidateIds result;
  for (const std::vector<std::string>& list : candidates) {
    result.lists.emplace_back();
    for (const std::string& candidate : list) {
      result.lists.back().push_back(answer_ids(candidate, tokenizer));
      result.longest = std::max(result.longest, std::ssize(result.lists.back().back()));
    }
  }
  return result;
}

}  // namespace

CandidateScores score_candidates(Model& model, const Dataset& dataset, const Tokenizer& tokenizer,
                                 const std::vector<std::vector<std::string>>& candidates, const EvaluationOptions& options) {
  const CandidateIds ids = ids_of(candidates, tokenizer);
  const auto list_of = [&](std::size_t example) { return ids.lists.size() == 1 ? std::size_t{0} : example; };
  CandidateScores result;
  result.scores.resize(dataset.examples.size());
  result.counts = for_each_part(
      model, dataset, options, rows_at_once(ids.longest),
      [&](std::size_t example) { return std::ssize(ids.lists[list_of(example)]); },
      [&](PackedBatch& batch, const std::vector<std::size_t>& examples) {
        std::vector<std::vector<std::vector<std::int32_t>>> lists;
        for (const std::size_t example : examples) lists.push_back(ids.lists[list_of(example)]);
        std::vector<std::vector<float>> scores = model.answer_scores(batch, lists);
        for (std::size_t i = 0; i < examples.size(); ++i) result.scores[examples[i]] = std::move(scores[i]);
      });
  std::vector<std::size_t> broken;
  for (std::size_t i = 0; i < result.scores.size(); ++i) {
    if (count_not_finite(result.scores[i]) > 0) broken.push_back(i);
  }
  require_finite(dataset, broken);
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
  CandidateIds ids = ids_of(candidates, tokenizer);
  GenerationSettings settings;
  settings.maximum_length = ids.longest;
  if (options.choices == ChoiceSearch::kConstrained) {
    if (ids.lists.size() == 1) {
      settings.answers = std::move(ids.lists.front());
    } else {
      settings.own_answers = std::move(ids.lists);
    }
  }
  std::vector<std::vector<std::string>> readable;
  for (const std::vector<std::string>& list : candidates) {
    readable.emplace_back();
    for (const std::string& candidate : list) readable.back().push_back(as_written(candidate, tokenizer));
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
