#include "tasks/families/tagging.h"

#include "tasks/families/answers.h"
#include "tasks/families/family.h"
#include "tasks/families/tagging_features.h"
#include "tasks/formats/inputs.h"
#include "tasks/formats/tagged.h"
#include "tasks/scorers/tagging_f1.h"

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

TagSequences names_of(const std::vector<TaggedSentence>& sentences, const std::vector<std::string>& labels) {
  TagSequences names;
  for (const TaggedSentence& sentence : sentences) {
    names.emplace_back();
    for (const TaggedWord& word : sentence) names.back().push_back(labels[static_cast<std::size_t>(word.tag)]);
  }
  return names;
}

class TaggingData : public FamilyData {
 public:
  TaggingData(Facts facts, const TaskRow& row, TaggedFile file, std::vector<TaggedRow> rows)
      : FamilyData(std::move(facts)), row_(row), file_(std::move(file)), rows_(std::move(rows)) {}

  Evaluation evaluate(Model& model, const EvaluationOptions& options) const override {
    require_gold();
    const Predictions predictions = predict_all(model, dataset(), options);
    const TagSequences tags = join_rows(predictions);
    return finish(score_tags(row_, names_of(file_.sentences, row_.labels), tags), predictions.counts, options,
                  [&] { return lines_of(tags); });
  }

  Answers answer(Model& model, const EvaluationOptions& options) const override {
    const Predictions predictions = predict_all(model, dataset(), options);
    Answers answers{{}, lines_of(join_rows(predictions))};
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
  static std::string lines_of(const TagSequences& tags) {
    std::string lines;
    for (const std::vector<std::string>& sentence : tags) {
      for (const std::string& tag : sentence) lines += tag + "\n";
      lines += "\n";
    }
    return lines;
  }

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
    return prepare(std::move(file), split, language, tokenizer, options);
  }

  std::unique_ptr<TaskData> load_inputs(const InputFile& input, const std::string& language, const Tokenizer& tokenizer,
                                        const FeatureOptions& options) const override {
    const auto read_form = [](const FoundFile& file, const ReadRequest&) { return read_word_inputs(file); };
    return prepare(read_inputs(input, language, read_form), kInputs, language, tokenizer, options);
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

 private:
  std::unique_ptr<TaskData> prepare(TaggedFile file, const std::string& split, const std::string& language,
                                    const Tokenizer& tokenizer, const FeatureOptions& options) const {
    require_sentences(file);
    TaggingFeatures features = make_tagging_features(file.sentences, tokenizer, length_of(options));
    Dataset dataset = empty_dataset(split, language);
    dataset.examples = std::move(features.examples);
    FamilyData::Facts facts{std::move(dataset),
                            submission_name(name(), split, language, "tsv"),
                            file.labelled ? "" : without_gold(file.path, language),
                            {file.masked, file.masked + static_cast<std::int64_t>(file.sentences.size()),
                             "sentences left out: their forms are \"_\" (masked in the treebank)"},
                            features.truncation};
    return std::make_unique<TaggingData>(std::move(facts), row(), std::move(file), std::move(features.rows));
  }

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

}  // namespace

std::unique_ptr<Task> make_tagging_task(TaskRow row) { return std::make_unique<TaggingTask>(std::move(row)); }

}  // namespace koine
