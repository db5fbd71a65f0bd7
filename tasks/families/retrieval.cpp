#include "tasks/families/retrieval.h"

#include <cmath>

#include "tasks/families/family.h"
#include "tasks/formats/parallel_text.h"
#include "tasks/scorers/accuracy.h"
#include "tasks/scorers/bitext_mining.h"

namespace koine {
namespace {

Evaluation retrieval_evaluation(const std::vector<std::int32_t>& gold, const std::vector<std::int32_t>& predictions) {
  Evaluation result;
  result.metric = "accuracy";
  result.value = accuracy_percent(gold, predictions);
  result.metrics["accuracy"] = result.value;
  result.examples = static_cast<std::int64_t>(gold.size());
  return result;
}

class RetrievalData : public FamilyData {
 public:
  /// The data set: the foreign sentences, behind them the English ones.
  RetrievalData(Facts facts, ParallelText text) : FamilyData(std::move(facts)), text_(std::move(text)) {}

  Evaluation evaluate(Model& model, const EvaluationOptions& options) const override {
    require_gold();
    const std::int64_t layer = options.layer.value_or(default_retrieval_layer(model.layers()));
    Encodings encodings = encode_all(model, dataset(), layer, options);
    const auto foreign_numbers = static_cast<std::ptrdiff_t>(text_.foreign.size()) * encodings.width;
    std::vector<float> english(encodings.vectors.begin() + foreign_numbers, encodings.vectors.end());
    encodings.vectors.resize(static_cast<std::size_t>(foreign_numbers));
    const std::vector<std::int32_t> answers = nearest_by_cosine(english, encodings.vectors, encodings.width);
    return finish(retrieval_evaluation(text_.translations, answers), encodings.counts, options, [&] {
      std::string lines;
      for (const std::int32_t answer : answers) lines += concatenate(answer, "\n");
      return lines;
    });
  }

 private:
  ParallelText text_;
};

class RetrievalTask : public FamilyTask<ParallelText> {
 public:
  using FamilyTask::FamilyTask;

  HeadKind head() const override { return HeadKind::kSequence; }
  std::string metric() const override { return "accuracy"; }

  std::unique_ptr<TaskData> load(const std::filesystem::path& data, const std::string& split, const std::string& language,
                                 const Tokenizer& tokenizer, const FeatureOptions& options) const override {
    ParallelText text = read_split(data, split, language, options.max_examples);
    Dataset dataset = empty_dataset(split, language);
    CountingFramer framer(tokenizer, length_of(options));
    for (const std::vector<std::string>* side : {&text.foreign, &text.english}) {
      for (const std::string& sentence : *side) {
        dataset.examples.push_back(
            {framer.single(tokenizer.encode(sentence)), {}, static_cast<std::uint32_t>(dataset.examples.size())});
      }
    }
    FamilyData::Facts facts{std::move(dataset), submission_name(name(), split, language, "tsv"),
                            text.labelled ? "" : without_gold(text.path, language), LeftOut{}, framer.truncation()};
    return std::make_unique<RetrievalData>(std::move(facts), std::move(text));
  }

  Evaluation score(const std::filesystem::path& predictions, const std::filesystem::path& gold,
                   const std::string& language) const override {
    const std::filesystem::path file = require_submission_file(predictions, name(), language, "tsv");
    const std::vector<std::int32_t> labels = gold_indices(gold, language);
    const std::vector<std::int32_t> answers = read_indices(file);
    require(!labels.empty() && answers.size() == labels.size(), file.string(), ": ", answers.size(),
            " predictions, the gold data have ", labels.size(), " sentences");
    return retrieval_evaluation(labels, answers);
  }

 protected:
  std::int64_t count_examples(const std::filesystem::path& data, const std::string& split,
                              const std::string& language) const override {
    const ParallelText text = read_split(data, split, language);
    require_gold(text, language);
    return static_cast<std::int64_t>(text.foreign.size());
  }

 private:
  /// From a file of line numbers (XTREME's label layout) or from the official pairs below a folder.
  std::vector<std::int32_t> gold_indices(const std::filesystem::path& gold, const std::string& language) const {
    if (const auto file = find_submission_file(gold, name(), language, "tsv")) return read_indices(*file);
    const ParallelText text = read_split(gold, splits().back(), language);
    require_gold(text, language);
    return text.translations;
  }
};

}  // namespace

std::unique_ptr<Task> make_retrieval_task(TaskRow row) { return std::make_unique<RetrievalTask>(std::move(row)); }

std::int64_t default_retrieval_layer(std::int64_t layers) {
  return static_cast<std::int64_t>(std::llround(14.0 / 24.0 * static_cast<double>(layers)));
}

std::vector<std::int32_t> nearest_by_cosine(std::vector<float>& queries, std::vector<float>& candidates,
                                            std::int64_t width) {
  normalise_rows(queries, width);
  normalise_rows(candidates, width);
  return nearest_neighbours(queries, candidates, width, 1).indices;
}

}  // namespace koine
