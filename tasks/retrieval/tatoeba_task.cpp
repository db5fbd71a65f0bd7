#include "tasks/retrieval/tatoeba_task.h"

#include <array>
#include <cmath>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "kernels/common/own_scratch.h"
#include "kernels/topk/topk.h"
#include "tasks/common/described_task.h"
#include "tasks/common/prediction.h"
#include "tasks/formats/parallel_text.h"
#include "tasks/scorers/accuracy.h"

namespace koine {
namespace {

constexpr std::array kFiles = {
    FileCandidate{"test", "tatoeba/v1/tatoeba.{l3}-eng.{l3}"},
    FileCandidate{"test", "tatoeba/tatoeba.{l3}-eng.{l3}"},
    FileCandidate{"test", "tatoeba.{l3}-eng.{l3}"},
    FileCandidate{"test", "tatoeba/{lg}-en.{lg}", FileLayout::kXtreme},
};

Evaluation retrieval_evaluation(const std::vector<std::int32_t>& gold, const std::vector<std::int32_t>& predictions) {
  Evaluation result;
  result.metric = "accuracy";
  result.value = accuracy_percent(gold, predictions);
  result.metrics["accuracy"] = result.value;
  result.examples = static_cast<std::int64_t>(gold.size());
  return result;
}

void require_translations(const ParallelText& text) {
  require(!text.translations.empty(), text.english_path.string(),
          ": is sorted (XTREME keeps hidden which line translates which), so it cannot be scored; give tatoeba.<lg>-eng.* "
          "of LASER");
}

void normalise_rows(std::vector<float>& rows, std::int64_t width) {
  for (auto row = rows.begin(); row != rows.end(); row += width) {
    double squares = 0;
    for (std::int64_t i = 0; i < width; ++i) squares += static_cast<double>(row[i]) * static_cast<double>(row[i]);
    const double scale = squares > 0 ? 1 / std::sqrt(squares) : 0;
    for (std::int64_t i = 0; i < width; ++i) row[i] = static_cast<float>(row[i] * scale);
  }
}

class TatoebaData : public TaskData {
 public:
  TatoebaData(ParallelText text, Dataset dataset, std::string prediction_file)
      : text_(std::move(text)), dataset_(std::move(dataset)), prediction_file_(std::move(prediction_file)) {}

  /// The foreign sentences, behind them the English ones.
  const Dataset& dataset() const override { return dataset_; }

  Evaluation evaluate(Model& model, const EvaluationOptions& options) const override {
    require_translations(text_);
    const std::int64_t layer = options.layer.value_or(default_retrieval_layer(model.layers()));
    Encodings encodings = encode_all(model, dataset_, layer, options);
    const auto foreign_numbers = static_cast<std::ptrdiff_t>(text_.foreign.size()) * encodings.width;
    std::vector<float> english(encodings.vectors.begin() + foreign_numbers, encodings.vectors.end());
    encodings.vectors.resize(static_cast<std::size_t>(foreign_numbers));
    const std::vector<std::int32_t> answers = nearest_by_cosine(english, encodings.vectors, encodings.width);
    Evaluation result = retrieval_evaluation(text_.translations, answers);
    result.tokens = encodings.counts.tokens;
    result.seconds = encodings.counts.seconds;
    if (options.want_predictions) {
      result.prediction_file = prediction_file_;
      for (const std::int32_t answer : answers) result.prediction_content += concatenate(answer, "\n");
    }
    return result;
  }

 private:
  ParallelText text_;
  Dataset dataset_;
  std::string prediction_file_;
};

class TatoebaTask : public DescribedTask {
 public:
  using DescribedTask::DescribedTask;

  std::unique_ptr<TaskData> load(const std::filesystem::path& data, const std::string& split, const std::string& language,
                                 const Tokenizer& tokenizer, const FeatureOptions& options) const override {
    ParallelText text = read_parallel_text(require_file(data, split, language), options.max_examples);
    Dataset dataset;
    dataset.name = dataset_name(split, language);
    dataset.head = head();
    for (const std::vector<std::string>* side : {&text.foreign, &text.english}) {
      for (const std::string& sentence : *side) {
        dataset.examples.push_back({frame_single(tokenizer.encode(sentence), max_seq_length(options)),
                                    {},
                                    static_cast<std::uint32_t>(dataset.examples.size())});
      }
    }
    return std::make_unique<TatoebaData>(std::move(text), std::move(dataset),
                                         submission_name(name(), split, language, "tsv"));
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
  std::int64_t count_examples(const FoundFile& file, const std::string&) const override {
    const ParallelText text = read_parallel_text(file, 0);
    require_translations(text);
    return static_cast<std::int64_t>(text.foreign.size());
  }

 private:
  /// From a file of line numbers (XTREME's label layout) or from the official pairs below a folder.
  std::vector<std::int32_t> gold_indices(const std::filesystem::path& gold, const std::string& language) const {
    if (const auto file = find_submission_file(gold, name(), language, "tsv")) return read_indices(*file);
    const ParallelText text = read_parallel_text(require_file(gold, splits().back(), language), 0);
    require_translations(text);
    return text.translations;
  }
};

}  // namespace

const Task& tatoeba_task() {
  static const TatoebaTask task(
      {"tatoeba",
       HeadKind::kSequence,
       {},
       512,
       "accuracy",
       "",
       {"ar", "he", "vi", "id", "jv", "tl", "eu", "ml", "ta", "te", "af", "nl", "de", "el", "bn", "hi", "mr", "ur",
        "fa", "fr", "it", "pt", "es", "bg", "ru", "ja", "ka", "ko", "th", "sw", "zh", "kk", "tr", "et", "fi", "hu"},
       {"test"},
       kFiles});
  return task;
}

std::int64_t default_retrieval_layer(std::int64_t layers) {
  return static_cast<std::int64_t>(std::llround(14.0 / 24.0 * static_cast<double>(layers)));
}

std::vector<std::int32_t> nearest_by_cosine(std::vector<float>& queries, std::vector<float>& candidates,
                                            std::int64_t width) {
  normalise_rows(queries, width);
  normalise_rows(candidates, width);
  TopKArguments arguments;
  arguments.queries_count = static_cast<std::int64_t>(queries.size()) / width;
  arguments.candidates_count = static_cast<std::int64_t>(candidates.size()) / width;
  arguments.width = width;
  std::vector<std::int32_t> indices(static_cast<std::size_t>(arguments.queries_count));
  std::vector<float> scores(indices.size());
  arguments.queries = queries.data();
  arguments.candidates = candidates.data();
  arguments.indices = indices.data();
  arguments.scores = scores.data();
  const Context context;  // the vectors are the host's, whatever device the model is on
  const OwnScratch scratch(context, "retrieval", [&](const Context& dry) { top_k(dry, arguments); });
  top_k(scratch.in(context), arguments);
  return indices;
}

}  // namespace koine
