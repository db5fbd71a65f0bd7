#include "tasks/nli/nli_task.h"

#include <array>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/common/described_task.h"
#include "tasks/common/prediction.h"
#include "tasks/formats/nli.h"
#include "tasks/scorers/accuracy.h"

namespace koine {
namespace {

constexpr FileLayout kJson = FileLayout::kJsonLines;
constexpr FileLayout kTable = FileLayout::kHeaderTsv;
constexpr FileLayout kXtreme = FileLayout::kXtreme;

constexpr std::array kMnliFiles = {
    FileCandidate{"train", "mnli/multinli_1.0/multinli_1.0_train.jsonl", kJson},
    FileCandidate{"train", "mnli/multinli_1.0/multinli_1.0_train.txt", kTable},
    FileCandidate{"train", "multinli_1.0/multinli_1.0_train.jsonl", kJson},
    FileCandidate{"train", "multinli_1.0/multinli_1.0_train.txt", kTable},
    FileCandidate{"train", "mnli/glue/MNLI/train.tsv", kTable},
    FileCandidate{"train", "glue/MNLI/train.tsv", kTable},
    FileCandidate{"train", "MNLI/train.tsv", kTable},
    FileCandidate{"train", "xnli/train-en.tsv", kXtreme},
    FileCandidate{"dev", "mnli/multinli_1.0/multinli_1.0_dev_matched.jsonl", kJson},
    FileCandidate{"dev", "mnli/multinli_1.0/multinli_1.0_dev_matched.txt", kTable},
    FileCandidate{"dev", "multinli_1.0/multinli_1.0_dev_matched.jsonl", kJson},
    FileCandidate{"dev", "multinli_1.0/multinli_1.0_dev_matched.txt", kTable},
    FileCandidate{"dev", "mnli/glue/MNLI/dev_matched.tsv", kTable},
    FileCandidate{"dev", "glue/MNLI/dev_matched.tsv", kTable},
    FileCandidate{"dev", "MNLI/dev_matched.tsv", kTable},
};

constexpr std::array kXnliFiles = {
    FileCandidate{"dev", "xnli/XNLI-1.0/xnli.dev.tsv", kTable},
    FileCandidate{"dev", "xnli/XNLI-1.0/xnli.dev.jsonl", kJson},
    FileCandidate{"dev", "XNLI-1.0/xnli.dev.tsv", kTable},
    FileCandidate{"dev", "XNLI-1.0/xnli.dev.jsonl", kJson},
    FileCandidate{"dev", "xnli/dev-{lg}.tsv", kXtreme},
    FileCandidate{"test", "xnli/XNLI-1.0/xnli.test.tsv", kTable},
    FileCandidate{"test", "xnli/XNLI-1.0/xnli.test.jsonl", kJson},
    FileCandidate{"test", "XNLI-1.0/xnli.test.tsv", kTable},
    FileCandidate{"test", "XNLI-1.0/xnli.test.jsonl", kJson},
    FileCandidate{"test", "xnli/test-{lg}.tsv", kXtreme},
};

const std::vector<std::string> kXnliLanguages = {"en", "ar", "bg", "de", "el", "es", "fr", "hi",
                                                 "ru", "sw", "th", "tr", "ur", "vi", "zh"};

Evaluation score_labels(const std::vector<std::int32_t>& gold, const std::vector<std::int32_t>& predictions) {
  Evaluation result;
  result.metric = "accuracy";
  result.value = accuracy_percent(gold, predictions);
  result.metrics["accuracy"] = result.value;
  result.examples = static_cast<std::int64_t>(gold.size());
  return result;
}

class NliData : public TaskData {
 public:
  NliData(NliFile file, Dataset dataset, std::string prediction_file)
      : file_(std::move(file)), dataset_(std::move(dataset)), prediction_file_(std::move(prediction_file)) {}

  const Dataset& dataset() const override { return dataset_; }

  Evaluation evaluate(Model& model, const EvaluationOptions& options) const override {
    require(file_.labelled, file_.path.string(),
            ": has no labels, so it cannot be scored; give the original XNLI-1.0 files");
    const Predictions predictions = predict_all(model, dataset_, options);
    std::vector<std::int32_t> gold;
    std::vector<std::int32_t> answers;
    for (std::size_t i = 0; i < file_.examples.size(); ++i) {
      gold.push_back(file_.examples[i].label);
      answers.push_back(index_of_largest(predictions.logits[i].data(), dataset_.classes));
    }
    Evaluation result = score_labels(gold, answers);
    result.tokens = predictions.counts.tokens;
    result.seconds = predictions.counts.seconds;
    if (options.want_predictions) {
      result.prediction_file = prediction_file_;
      for (const std::int32_t answer : answers) {
        result.prediction_content += nli_labels()[static_cast<std::size_t>(answer)] + "\n";
      }
    }
    return result;
  }

 private:
  NliFile file_;
  Dataset dataset_;
  std::string prediction_file_;
};

class NliTask : public DescribedTask {
 public:
  using DescribedTask::DescribedTask;

  std::vector<std::string> available_languages(const std::filesystem::path& data, const std::string& split) const override {
    std::set<std::string> languages = languages_with_files(data, description().files, split);
    if (const auto file = find_task_file(data, description().files, split, "en")) {
      const std::set<std::string> inside = nli_languages(*file);
      languages.insert(inside.begin(), inside.end());
      if (inside.empty()) languages.insert("en");
    }
    return in_official_order(languages, description().languages);
  }

  std::unique_ptr<TaskData> load(const std::filesystem::path& data, const std::string& split, const std::string& language,
                                 const Tokenizer& tokenizer, const FeatureOptions& options) const override {
    NliFile file = read_nli(require_file(data, split, language), language);
    keep_first(file.examples, options.max_examples);
    Dataset dataset;
    dataset.name = dataset_name(split, language);
    dataset.head = head();
    dataset.classes = static_cast<std::int32_t>(nli_labels().size());
    for (const NliExample& pair : file.examples) {
      Example example;
      example.ids = frame_pair(tokenizer.encode(pair.premise), tokenizer.encode(pair.hypothesis), max_seq_length(options));
      if (pair.label >= 0) example.labels = {pair.label};
      example.number = static_cast<std::uint32_t>(dataset.examples.size());
      dataset.examples.push_back(std::move(example));
    }
    return std::make_unique<NliData>(std::move(file), std::move(dataset), submission_name(name(), split, language, "tsv"));
  }

  Evaluation score(const std::filesystem::path& predictions, const std::filesystem::path& gold,
                   const std::string& language) const override {
    const std::filesystem::path file = require_submission_file(predictions, name(), language, "tsv");
    const std::vector<std::int32_t> answers = read_nli_labels(file);
    const std::vector<std::int32_t> labels = gold_labels(gold, language);
    require(answers.size() == labels.size(), file.string(), ": ", answers.size(), " predictions, the gold data have ",
            labels.size(), " examples");
    return score_labels(labels, answers);
  }

 protected:
  std::int64_t count_examples(const FoundFile& file, const std::string& language) const override {
    const NliFile content = read_nli(file, language);
    require(content.labelled, file.path.string(), ": no labels: cannot be scored");
    return static_cast<std::int64_t>(content.examples.size());
  }

 private:
  /// The file that holds the gold labels of `language`: `gold` itself, or the task's own below it.
  FoundFile gold_file(const std::filesystem::path& gold, const std::string& language) const {
    if (!std::filesystem::is_regular_file(gold)) return require_file(gold, splits().back(), language);
    if (gold.extension() == ".jsonl") return {gold, FileLayout::kJsonLines};
    const std::vector<std::string> lines = read_lines(gold);
    const bool header = !lines.empty() && lines.front().find("gold_label") != std::string::npos;
    return {gold, header ? FileLayout::kHeaderTsv : FileLayout::kXtreme};
  }

  /// From a file of labels (XTREME's layout, where it has one column), or from the task's own data.
  std::vector<std::int32_t> gold_labels(const std::filesystem::path& gold, const std::string& language) const {
    if (const auto file = find_submission_file(gold, name(), language, "tsv")) {
      const std::vector<std::string> lines = read_lines(*file);
      if (!lines.empty() && lines.front().find_first_of("\t{") == std::string::npos) return read_nli_labels(*file);
    }
    const NliFile content = read_nli(gold_file(gold, language), language);
    require(content.labelled, content.path.string(),
            ": has no labels, so it cannot be scored; give the original XNLI-1.0 files");
    std::vector<std::int32_t> labels;
    for (const NliExample& example : content.examples) labels.push_back(example.label);
    return labels;
  }
};

}  // namespace

const Task& mnli_task() {
  static const NliTask task(
      {"mnli", HeadKind::kSequence, nli_labels(), 256, "accuracy", "mnli", {"en"}, {"train", "dev"}, kMnliFiles});
  return task;
}

const Task& xnli_task() {
  static const NliTask task(
      {"xnli", HeadKind::kSequence, nli_labels(), 256, "accuracy", "mnli", kXnliLanguages, {"dev", "test"}, kXnliFiles});
  return task;
}

}  // namespace koine
