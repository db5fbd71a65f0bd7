#include "tasks/families/text.h"

#include <cmath>
#include <utility>

#include "engine/batch/batcher.h"
#include "tasks/families/family.h"
#include "tasks/formats/plain_text.h"

namespace koine {
namespace {

constexpr std::uint32_t kEvaluationSeed = 1;

class TextData : public TaskData {
 public:
  TextData(Dataset dataset, const Truncation& truncation, MaskingSettings masking)
      : dataset_(std::move(dataset)), truncation_(truncation), masking_(std::move(masking)) {}

  const Dataset& dataset() const override { return dataset_; }
  Truncation truncation() const override { return truncation_; }

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
    require(std::isfinite(mean), dataset_.name, ": the model's loss is ", mean,
            "; its weights are damaged or too large for this ", "precision (try --precision fp32)");
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
  Truncation truncation_;
  MaskingSettings masking_;
};

class TextTask : public FamilyTask<TextFile> {
 public:
  using FamilyTask::FamilyTask;

  HeadKind head() const override { return HeadKind::kMaskedLm; }
  std::string metric() const override { return "negative_loss"; }

  std::unique_ptr<TaskData> load(const std::filesystem::path& data, const std::string& split, const std::string& language,
                                 const Tokenizer& tokenizer, const FeatureOptions& options) const override {
    TextFile file = read_split(data, split, language, options.max_examples);
    keep_first(file.lines, options.max_examples);
    Dataset dataset = empty_dataset(split, language);
    dataset.classes = classes(tokenizer.vocabulary_size());
    CountingFramer framer(tokenizer, length_of(options));
    std::vector<std::vector<std::int32_t>> sequences;
    for (const std::string& line : file.lines) {
      std::vector<std::int32_t> ids = tokenizer.encode(line);
      sequences.push_back(options.pack_lines ? std::move(ids) : framer.single(std::move(ids)));
    }
    if (options.pack_lines) {
      sequences = pack_lines(sequences, tokenizer.special(), length_of(options));
    }
    for (std::vector<std::int32_t>& ids : sequences)
      dataset.examples.push_back({std::move(ids), {}, static_cast<std::uint32_t>(dataset.examples.size())});
    MaskingSettings masking;
    masking.mask_id = tokenizer.special().mask;
    masking.vocabulary = tokenizer.vocabulary_size();
    masking.special_ids = tokenizer.special().all();
    masking.seed = kEvaluationSeed;
    return std::make_unique<TextData>(std::move(dataset), framer.truncation(), std::move(masking));
  }

  /// Only what is there: nobody says which languages a text collection must have.
  std::vector<FileStatus> check_files(const std::filesystem::path& data) const override {
    std::vector<FileStatus> lines = Task::check_files(data);
    std::erase_if(lines, [](const FileStatus& line) { return !line.present; });
    return lines;
  }

  Evaluation score(const std::filesystem::path&, const std::filesystem::path&, const std::string&) const override {
    fail_user(name(), " has no predictions to score; its loss comes from evaluating a model");
  }

 protected:
  std::int64_t count_examples(const std::filesystem::path& data, const std::string& split,
                              const std::string& language) const override {
    return static_cast<std::int64_t>(read_split(data, split, language).lines.size());
  }
};

}  // namespace

std::vector<std::vector<std::int32_t>> pack_lines(const std::vector<std::vector<std::int32_t>>& lines,
                                                  const SpecialTokens& special, std::int64_t maximum_length) {
  const std::int64_t room = maximum_length - special.around_single();
  require(room > 0, "max_seq_length ", maximum_length, " leaves no room for text between ", special.around_single(),
          " special tokens");
  std::vector<std::vector<std::int32_t>> sequences;
  std::vector<std::int32_t> current;
  const auto close = [&] {
    if (!current.empty()) sequences.push_back(special.single(std::exchange(current, {})));
  };
  for (const std::vector<std::int32_t>& line : lines) {
    if (line.empty()) continue;
    if (std::ssize(current) + 1 < room) {
      if (!current.empty()) current.push_back(special.end);
    } else {
      close();
    }
    for (const std::int32_t id : line) {
      if (std::ssize(current) == room) close();
      current.push_back(id);
    }
  }
  close();
  return sequences;
}

std::unique_ptr<Task> make_text_task(TaskRow row) { return std::make_unique<TextTask>(std::move(row)); }

}  // namespace koine
