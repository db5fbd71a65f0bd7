#include "tasks/families/tagging.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <sstream>

#include "tasks/families/answers.h"
#include "tasks/families/family.h"
#include "tasks/families/tagging_features.h"
#include "tasks/formats/inputs.h"
#include "tasks/formats/tagged.h"
#include "tasks/scorers/tagging_f1.h"
#include "tasks/text/names.h"
#include "tasks/text/script.h"
#include "tasks/text/text_answers.h"
#include "tasks/text/text_form.h"

namespace koine {
namespace {

using TaggingScorer = Scorer<std::map<std::string, double> (*)(const TagSequences& gold, const TagSequences& predictions)>;

const TaggingScorer kTaggingScorers[] = {
    {"f1", "f1",
     [](const TagSequences& gold, const TagSequences& predictions) -> std::map<std::string, double> {
       const TaggingScore score = tagging_score(gold, predictions);
       return {{"f1", score.f1}, {"precision", score.precision}, {"recall", score.recall}, {"accuracy", score.accuracy}};
     }},
    {"accuracy", "accuracy",
     [](const TagSequences& gold, const TagSequences& predictions) -> std::map<std::string, double> {
       return {{"accuracy", tagging_score(gold, predictions).accuracy}};
     }},
};

const TaggingScorer& tagging_scorer(const TaskRow& row) {
  return scorer_of<decltype(TaggingScorer::score)>(kTaggingScorers, row);
}

ClassCounts counts_of(const TagSequences& sentences) {
  ClassCounts counts;
  for (const std::vector<std::string>& sentence : sentences) {
    for (const std::string& tag : sentence) ++counts[tag];
  }
  return counts;
}

Evaluation score_tags(const TaskRow& row, const TagSequences& gold, const TagSequences& predictions) {
  Evaluation result;
  result.metric = tagging_scorer(row).metric;
  result.metrics = tagging_scorer(row).score(gold, predictions);
  result.value = result.metrics.at(result.metric);
  result.examples = static_cast<std::int64_t>(gold.size());
  result.collapse = find_collapse(counts_of(gold), counts_of(predictions));
  return result;
}

/// A sentence's part in an F1.
void add_chunks(ExampleOutcomes& outcomes, const ChunkCounts& counts) {
  outcomes.points.push_back(static_cast<float>(2 * counts.right));
  outcomes.weights.push_back(static_cast<float>(counts.predicted + counts.gold));
}

/// Of the scorers above: F1 over chunks, or accuracy of tags.
ExampleOutcomes tag_outcomes(const std::string& metric, const TagSequences& gold, const TagSequences& predictions) {
  ExampleOutcomes outcomes;
  outcomes.metric = metric;
  for (std::size_t i = 0; i < gold.size(); ++i) {
    if (metric == "f1") {
      add_chunks(outcomes, chunk_counts(gold[i], predictions[i]));
      continue;
    }
    const auto right = std::inner_product(gold[i].begin(), gold[i].end(), predictions[i].begin(), std::size_t{0},
                                          std::plus<>(), std::equal_to<>());
    outcomes.points.push_back(static_cast<float>(right));
    outcomes.weights.push_back(static_cast<float>(gold[i].size()));
  }
  return outcomes;
}

TagSequences names_of(const std::vector<TaggedSentence>& sentences, const std::vector<std::string>& labels) {
  TagSequences names;
  for (const TaggedSentence& sentence : sentences) {
    names.emplace_back();
    for (const TaggedWord& word : sentence) names.back().push_back(labels[static_cast<std::size_t>(word.tag)]);
  }
  return names;
}

std::string tag_lines(const TagSequences& tags) {
  std::string lines;
  for (const std::vector<std::string>& sentence : tags) {
    for (const std::string& tag : sentence) lines += tag + "\n";
    lines += "\n";
  }
  return lines;
}

std::vector<std::string> forms_of(const TaggedSentence& sentence) {
  std::vector<std::string> forms;
  for (const TaggedWord& word : sentence) forms.push_back(word.form);
  return forms;
}

std::string joined_by_blanks(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

class TaggingData : public FamilyData {
 public:
  TaggingData(Facts facts, const TaskRow& row, TaggedFile file, std::vector<TaggedRow> rows)
      : FamilyData(std::move(facts)), row_(row), file_(std::move(file)), rows_(std::move(rows)) {}

  Evaluation evaluate(Model& model, const EvaluationOptions& options) const override {
    require_gold();
    const Predictions predictions = predict_all(model, dataset(), options);
    const TagSequences tags = join_rows(predictions);
    const TagSequences gold = names_of(file_.sentences, row_.labels);
    Evaluation result = score_tags(row_, gold, tags);
    if (options.want_predictions) result.outcomes = tag_outcomes(result.metric, gold, tags);
    return finish(std::move(result), predictions.counts, options, [&] { return tag_lines(tags); });
  }

  Answers answer(Model& model, const EvaluationOptions& options) const override {
    const Predictions predictions = predict_all(model, dataset(), options);
    Answers answers{{}, tag_lines(join_rows(predictions))};
    std::vector<std::vector<const float*>> logits(file_.sentences.size());
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      for (const std::int32_t position : rows_[i].positions)
        logits[rows_[i].sentence].push_back(predictions.logits[i].data() +
                                            static_cast<std::ptrdiff_t>(position) * dataset().classes);
    }
    for (std::size_t i = 0; i < logits.size(); ++i)
      answers.records.push_back(tag_record(file_.sentences[i], row_.labels, logits[i]));
    return answers;
  }

 private:
  /// Each sentence's predicted tags, from its rows in turn.
  TagSequences join_rows(const Predictions& predictions) const {
    TagSequences tags(file_.sentences.size());
    const std::int32_t classes = dataset().classes;
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      for (const std::int32_t position : rows_[i].positions) {
        const float* logits = predictions.logits[i].data() + static_cast<std::ptrdiff_t>(position) * classes;
        tags[rows_[i].sentence].push_back(row_.labels[static_cast<std::size_t>(index_of_largest(logits, classes))]);
      }
    }
    return tags;
  }

  const TaskRow& row_;
  TaggedFile file_;
  std::vector<TaggedRow> rows_;
};

/// Tags that a model writes: names as a list, other tags one for each word. What could not be read has no tags, "O".
class TaggingTextData : public FamilyData {
 public:
  TaggingTextData(Facts facts, const TaskRow& row, TaggedFile file, const Tokenizer& tokenizer, std::int64_t longest)
      : FamilyData(std::move(facts)), row_(row), file_(std::move(file)), tokenizer_(tokenizer), longest_(longest) {}

  Evaluation evaluate(Model& model, const EvaluationOptions& options) const override {
    require_gold();
    const WrittenTags written = write(model, options);
    const TagSequences gold = names_of(file_.sentences, row_.labels);
    Evaluation result =
        finish(are_name_tags(row_.labels) ? score_names(gold, written) : score_tags(row_, gold, written.tags),
               written.counts, options, [&] { return tag_lines(written.tags); });
    if (options.want_predictions && result.outcomes.metric.empty())
      result.outcomes = tag_outcomes(result.metric, gold, written.tags);
    result.unreadable = std::count(written.readable.begin(), written.readable.end(), false);
    return result;
  }

  Answers answer(Model& model, const EvaluationOptions& options) const override {
    const WrittenTags written = write(model, options);
    Answers result{{}, tag_lines(written.tags)};
    for (std::size_t i = 0; i < written.tags.size(); ++i) {
      result.records.push_back(
          written_tag_record(file_.sentences[i], written.tags[i], written.texts[i], written.readable[i]));
    }
    return result;
  }

 private:
  struct WrittenTags {
    std::vector<std::string> texts;
    TagSequences tags;
    std::vector<std::vector<NamedSpan>> names;  ///< where tags are names
    std::vector<bool> readable;
    PassCounts counts;
  };

  WrittenTags write(Model& model, const EvaluationOptions& options) const {
    require(options.choices == ChoiceSearch::kGenerate, dataset().name,
            ": its answers are of many parts, of which none can be chosen beforehand; leave out --choices");
    GenerationSettings settings;
    settings.maximum_length = longest_;
    WrittenAnswers answers = write_answers(model, dataset(), tokenizer_, settings, options);
    WrittenTags written;
    written.counts = answers.counts;
    for (std::size_t i = 0; i < answers.texts.size(); ++i) read(forms_of(file_.sentences[i]), answers.texts[i], written);
    written.texts = std::move(answers.texts);
    return written;
  }

  void read(const std::vector<std::string>& words, const std::string& text, WrittenTags& written) const {
    if (are_name_tags(row_.labels)) {
      ReadNames found = read_names(text, name_types(row_.labels));
      written.tags.push_back(tags_of_names(words, found.names));
      written.names.push_back(std::move(found.names));
      written.readable.push_back(found.readable);
      return;
    }
    std::vector<std::string> tags;
    std::istringstream stream(text);
    for (std::string tag; stream >> tag;) tags.push_back(tag);
    const bool known = std::all_of(tags.begin(), tags.end(), [&](const std::string& tag) {
      return std::find(row_.labels.begin(), row_.labels.end(), tag) != row_.labels.end();
    });
    written.readable.push_back(known && tags.size() == words.size());
    if (!written.readable.back()) tags.assign(words.size(), "O");
    written.tags.push_back(std::move(tags));
  }

  /// The order-free score of names, and beside it XTREME's of the tags they give.
  Evaluation score_names(const TagSequences& gold, const WrittenTags& written) const {
    std::vector<std::vector<NamedSpan>> names;
    ExampleOutcomes outcomes;
    outcomes.metric = "f1";
    std::int64_t other_script = 0;
    for (std::size_t i = 0; i < gold.size(); ++i) {
      const std::vector<std::string> words = forms_of(file_.sentences[i]);
      names.push_back(names_of_tags(words, gold[i]));
      for (NamedSpan& name : names.back()) name.text = as_written(name.text, tokenizer_);  // as an answer can have it
      add_chunks(outcomes, name_counts(names.back(), written.names[i]));
      const std::string sentence = joined_by_blanks(words);
      other_script += std::any_of(written.names[i].begin(), written.names[i].end(),
                                  [&](const NamedSpan& name) { return in_other_script(name.text, sentence); })
                          ? 1
                          : 0;
    }
    const SpanF1 score = span_f1(names, written.names);
    const TaggingScore by_tags = tagging_score(gold, written.tags);
    Evaluation result;
    result.metric = "f1";
    result.metrics = {{"f1", score.f1},
                      {"precision", score.precision},
                      {"recall", score.recall},
                      {"tag_f1", by_tags.f1},
                      {"accuracy", by_tags.accuracy}};
    result.value = score.f1;
    result.outcomes = std::move(outcomes);
    result.examples = std::ssize(gold);
    result.other_script = other_script;
    return result;
  }

  const TaskRow& row_;
  TaggedFile file_;
  const Tokenizer& tokenizer_;
  std::int64_t longest_;
};

class TaggingTask : public FamilyTask<TaggedFile> {
 public:
  using FamilyTask::FamilyTask;

  HeadKind head() const override { return HeadKind::kToken; }
  std::string metric() const override { return std::string(tagging_scorer(row()).metric); }

  std::unique_ptr<TaskData> load(const std::filesystem::path& data, const std::string& split, const std::string& language,
                                 const Tokenizer& tokenizer, const FeatureOptions& options) const override {
    TaggedFile file = read_split(data, split, language, options.max_examples);
    keep_examples(file.sentences, options.max_examples);
    require_learnable(file, split);
    require_sentences(file);
    return prepare(std::move(file), split, language, tokenizer, options);
  }

  std::unique_ptr<TaskData> load_inputs(const InputFile& input, const std::string& language, const Tokenizer& tokenizer,
                                        const FeatureOptions& options) const override {
    const auto read_form = [](const FoundFile& file, const ReadRequest&) { return read_word_inputs(file); };
    TaggedFile file = read_inputs(input, language, read_form);
    require_sentences(file);
    return prepare(std::move(file), kInputs, language, tokenizer, options);
  }

  Evaluation score(const std::filesystem::path& predictions, const std::filesystem::path& gold,
                   const std::string& language) const override {
    const std::filesystem::path path = require_submission_file(predictions, name(), language, "tsv");
    const TagSequences answers = read_tag_lines(path);
    const TagSequences tags = gold_tags(gold, split_of(path), language);
    require(answers.size() == tags.size(), path.string(), ": ", answers.size(), " sentences, the gold data have ",
            tags.size());
    for (std::size_t i = 0; i < tags.size(); ++i) {
      require(answers[i].size() == tags[i].size(), path.string(), ": sentence ", i + 1, " has ", answers[i].size(),
              " tags, the gold data have ", tags[i].size());
    }
    require(!tags.empty(), path.string(), ": no sentences");
    return score_tags(row(), tags, answers);
  }

 protected:
  std::int64_t count_examples(const std::filesystem::path& data, const std::string& split,
                              const std::string& language) const override {
    const TaggedFile file = read_split(data, split, language);
    require_gold(file, language);
    require_sentences(file);
    return static_cast<std::int64_t>(file.sentences.size());
  }

  virtual std::unique_ptr<TaskData> prepare(TaggedFile file, const std::string& split, const std::string& language,
                                            const Tokenizer& tokenizer, const FeatureOptions& options) const {
    TaggingFeatures features = make_tagging_features(file.sentences, tokenizer, length_of(options));
    Dataset dataset = empty_dataset(split, language);
    dataset.examples = std::move(features.examples);
    FamilyData::Facts facts = facts_of_set(file, std::move(dataset), split, language, features.truncation);
    return std::make_unique<TaggingData>(std::move(facts), row(), std::move(file), std::move(features.rows));
  }

  FamilyData::Facts facts_of_set(const TaggedFile& file, Dataset dataset, const std::string& split,
                                 const std::string& language, const Truncation& truncation) const {
    return {std::move(dataset),
            submission_name(name(), split, language, "tsv"),
            file.labelled ? "" : without_gold(file.path, language),
            {file.masked, file.masked + static_cast<std::int64_t>(file.sentences.size()),
             "sentences left out: their forms are \"_\" (masked in the treebank)"},
            truncation};
  }

 private:
  /// One treebank of masked forms alone adds nothing; that all of them are is an error.
  static void require_sentences(const TaggedFile& file) {
    require(!file.sentences.empty(), file.path.string(),
            file.masked > 0 ? ": every sentence's forms are masked (\"_\"); merge the treebank's text into it first"
                            : ": there are no sentences of this split");
  }

  /// The files below `gold`, or `gold` itself: XTREME's where it ends in .tsv.
  std::vector<FoundFile> gold_files(const std::filesystem::path& gold, const std::string& split,
                                    const std::string& language) const {
    if (!std::filesystem::is_regular_file(gold)) return require_files(gold, split, language);
    if (of_task_file()) return {gold_file(gold, split)};
    return {{gold, gold.extension() == ".tsv" ? FileLayout::kXtreme : FileLayout::kOfficial}};
  }

  /// From a file of tags (XTREME's label layout: known tags, one a line), from one file of the data, or from the data
  /// folder.
  TagSequences gold_tags(const std::filesystem::path& gold, const std::string& split, const std::string& language) const {
    if (gold.extension() != ".conllu") {
      if (const auto file = find_submission_file(gold, name(), language, "tsv")) {
        TagSequences tags = read_tag_lines(*file);
        const bool labels = std::all_of(tags.begin(), tags.end(), [&](const std::vector<std::string>& sentence) {
          return std::all_of(sentence.begin(), sentence.end(), [&](const std::string& tag) {
            return tag == "_" || std::find(row().labels.begin(), row().labels.end(), tag) != row().labels.end();
          });
        });
        if (labels) return tags;
      }
    }
    const TaggedFile file = read(gold_files(gold, split, language), split, language);
    require_gold(file, language);
    return names_of(file.sentences, row().labels);
  }
};

class TaggingAsText : public TaggingTask {
 public:
  using TaggingTask::TaggingTask;

  HeadKind head() const override { return HeadKind::kTextToText; }
  std::string metric() const override { return are_name_tags(row().labels) ? "f1" : TaggingTask::metric(); }

 protected:
  std::unique_ptr<TaskData> prepare(TaggedFile file, const std::string& split, const std::string& language,
                                    const Tokenizer& tokenizer, const FeatureOptions& options) const override {
    const TextForm form = text_form_of(row());
    const bool names = are_name_tags(row().labels);
    Dataset dataset = empty_dataset(split, language);
    const std::int64_t usual = names ? kNamesLength : kTagsLength;
    const std::int64_t longest = options.max_target_length > 0 ? options.max_target_length : usual;
    TextExamples examples(dataset, tokenizer, length_of(options), longest);
    const TagSequences tags = file.labelled ? names_of(file.sentences, row().labels) : TagSequences();
    for (std::size_t i = 0; i < file.sentences.size(); ++i) {
      const std::vector<std::string> words = forms_of(file.sentences[i]);
      const std::string sentence = joined_by_blanks(words);
      const std::string source = names ? concatenate("tag: ", sentence) : form.words_to_tag(sentence);
      if (!file.labelled) {
        examples.add(source);
      } else {
        examples.add(source, names ? names_text(names_of_tags(words, tags[i])) : joined_by_blanks(tags[i]), names);
      }
    }
    const Truncation truncation = examples.truncation();
    FamilyData::Facts facts = facts_of_set(file, std::move(dataset), split, language, truncation);
    return std::make_unique<TaggingTextData>(std::move(facts), row(), std::move(file), tokenizer, longest);
  }
};

}  // namespace

std::unique_ptr<Task> make_tagging_task(TaskRow row) {
  auto task = std::make_unique<TaggingTask>(row);
  task->set_text_form(std::make_unique<TaggingAsText>(std::move(row)));
  return task;
}

}  // namespace koine
