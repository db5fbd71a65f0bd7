#include "tasks/mlm/mlm_task.h"

#include <array>
#include <cmath>

#include "engine/batch/batcher.h"
#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/common/described_task.h"
#include "tasks/common/prediction.h"

namespace koine {
namespace {

constexpr std::array kFiles = {
    FileCandidate{"train", "mlm/{lg}.train.txt"}, FileCandidate{"train", "mlm/train-{lg}.txt"},
    FileCandidate{"train", "mlm/{lg}.txt"},       FileCandidate{"dev", "mlm/{lg}.dev.txt"},
    FileCandidate{"dev", "mlm/dev-{lg}.txt"},
};

constexpr std::uint32_t kEvaluationSeed = 1;

/// Lines that are not blank.
std::vector<std::string> read_text(const std::filesystem::path& path, std::int64_t maximum) {
  std::vector<std::string> lines;
  for_each_line(path, [&](std::string_view text, std::int64_t) {
    const bool wanted = maximum <= 0 || static_cast<std::int64_t>(lines.size()) < maximum;
    if (wanted && text.find_first_not_of(" \t") != std::string_view::npos) lines.emplace_back(text);
  });
  require(!lines.empty(), path.string(), ": no text");
  return lines;
}

class MlmData : public TaskData {
 public:
  MlmData(Dataset dataset, MaskingSettings masking) : dataset_(std::move(dataset)), masking_(std::move(masking)) {}

  const Dataset& dataset() const override { return dataset_; }

  Evaluation evaluate(Model& model, const EvaluationOptions& options) const override {
    double loss = 0;
    std::int64_t masked = 0;
    const PassCounts counts =
        for_each_batch(model, dataset_, options, [&](PackedBatch& batch, const std::vector<std::int64_t>&) {
          mask_tokens(batch, masking_, /*epoch=*/0);
          if (batch.counted_labels == 0) return;
          loss += model.evaluate_loss(batch);
          masked += batch.counted_labels;
        });
    require(masked > 0, dataset_.name, ": no token to mask; is the text in a script the tokenizer knows?");
    const double mean = loss / static_cast<double>(masked);
    Evaluation result;
    result.metric = "negative_loss";
    result.value = -mean;
    result.metrics = {{"loss", mean}, {"pseudo_perplexity", std::exp(mean)}, {"negative_loss", -mean}};
    result.examples = dataset_.groups();
    result.tokens = counts.tokens;
    result.seconds = counts.seconds;
    return result;
  }

 private:
  Dataset dataset_;
  MaskingSettings masking_;
};

class MlmTask : public DescribedTask {
 public:
  using DescribedTask::DescribedTask;

  std::unique_ptr<TaskData> load(const std::filesystem::path& data, const std::string& split, const std::string& language,
                                 const Tokenizer& tokenizer, const FeatureOptions& options) const override {
    const FoundFile file = require_file(data, split, language);
    Dataset dataset;
    dataset.name = dataset_name(split, language);
    dataset.head = HeadKind::kMaskedLm;
    dataset.classes = tokenizer.vocabulary_size();
    for (const std::string& line : read_text(file.path, options.max_examples)) {
      dataset.examples.push_back({frame_single(tokenizer.encode(line), max_seq_length(options)),
                                  {},
                                  static_cast<std::uint32_t>(dataset.examples.size())});
    }
    MaskingSettings masking;
    masking.mask_id = tokenizer.mask_id();
    masking.vocabulary = tokenizer.vocabulary_size();
    masking.special_ids = {kBeginId, kPadId, kEndId, kUnknownId, tokenizer.mask_id()};
    masking.seed = kEvaluationSeed;
    return std::make_unique<MlmData>(std::move(dataset), std::move(masking));
  }

  /// Only what is there: nobody says which languages a text collection must have.
  std::vector<FileStatus> check_files(const std::filesystem::path& data) const override {
    std::vector<FileStatus> lines = DescribedTask::check_files(data);
    std::erase_if(lines, [](const FileStatus& line) { return !line.present; });
    return lines;
  }

  Evaluation score(const std::filesystem::path&, const std::filesystem::path&, const std::string&) const override {
    fail_user("mlm has no predictions to score; its loss comes from evaluating a model");
  }

 protected:
  std::int64_t count_examples(const FoundFile& file, const std::string&) const override {
    return static_cast<std::int64_t>(read_text(file.path, 0).size());
  }
};

}  // namespace

const Task& mlm_task() {
  // The 40 languages of XTREME.
  static const MlmTask task({"mlm",
                             HeadKind::kMaskedLm,
                             {},
                             256,
                             "negative_loss",
                             "mlm",
                             {"en", "af", "ar", "bg", "bn", "de", "el", "es", "et", "eu", "fa", "fi", "fr", "he",
                              "hi", "hu", "id", "it", "ja", "jv", "ka", "kk", "ko", "ml", "mr", "ms", "my", "nl",
                              "pt", "ru", "sw", "ta", "te", "th", "tl", "tr", "ur", "vi", "yo", "zh"},
                             {"train", "dev"},
                             kFiles});
  return task;
}

}  // namespace koine
