#include "tasks/families/text.h"

#include <cmath>
#include <utility>

#include "engine/batch/batcher.h"
#include "tasks/families/family.h"
#include "tasks/formats/plain_text.h"

namespace koine {
namespace {

constexpr std::uint32_t kEvaluationSeed = 1;

/// A model's mean loss over `counted` labels as the task's figures.
Evaluation loss_evaluation(const Dataset& dataset, double loss, std::int64_t counted, const PassCounts& counts) {
  require(counted > 0, dataset.name, ": no token to mask; is the text in a script the tokenizer knows?");
  const double mean = loss / static_cast<double>(counted);
  require(std::isfinite(mean), dataset.name, ": the model's loss is ", mean,
          "; its weights are damaged or too large for this ", "precision (try --precision fp32)");
  Evaluation result;
  result.metric = "negative_loss";
  result.value = -mean;
  result.metrics = {{"loss", mean}, {"pseudo_perplexity", std::exp(mean)}, {"negative_loss", -mean}};
  result.examples = dataset.groups();
  result.tokens = counts.tokens;
  result.seconds = counts.seconds;
  return result;
}

class TextData : public TaskData {
 public:
  TextData(Dataset dataset, const Truncation& truncation) : dataset_(std::move(dataset)), truncation_(truncation) {}

  const Dataset& dataset() const override { return dataset_; }
  Truncation truncation() const override { return truncation_; }

  Evaluation evaluate(Model& model, const EvaluationOptions& options) const override {
    double loss = 0;
    std::int64_t counted = 0;
    const PassCounts counts =
        for_each_batch(model, dataset_, options, [&](PackedBatch& batch, const std::vector<std::int64_t>&) {
          choose_tokens(batch);
          if (batch.counted_labels == 0) return;
          loss += model.evaluate_loss(batch);
          counted += batch.counted_labels;
        });
    return loss_evaluation(dataset_, loss, counted, counts);
  }

 protected:
  /// Which tokens the loss is of. Here: those of the targets.
  virtual void choose_tokens(PackedBatch&) const {}

 private:
  Dataset dataset_;
  Truncation truncation_;
};

class MaskedTextData : public TextData {
 public:
  MaskedTextData(Dataset dataset, const Truncation& truncation, MaskingSettings masking)
      : TextData(std::move(dataset), truncation), masking_(std::move(masking)) {}

 private:
  void choose_tokens(PackedBatch& batch) const override { mask_tokens(batch, masking_, /*epoch=*/0); }

  MaskingSettings masking_;
};

class TextTask : public FamilyTask<TextFile> {
 public:
  using FamilyTask::FamilyTask;

  HeadKind head() const override { return HeadKind::kMaskedLm; }
  std::string metric() const override { return "negative_loss"; }

  std::unique_ptr<TaskData> load(const std::filesystem::path& data, const std::string& split, const std::string& language,
                                 const Tokenizer& tokenizer, const FeatureOptions& options) const override {
    Truncation truncation;
    Dataset dataset = read_sequences(data, split, language, tokenizer, options, length_of(options), truncation);
    MaskingSettings masking;
    masking.mask_id = tokenizer.special().mask;
    masking.vocabulary = tokenizer.vocabulary_size();
    masking.special_ids = tokenizer.special().all();
    masking.seed = kEvaluationSeed;
    return std::make_unique<MaskedTextData>(std::move(dataset), truncation, std::move(masking));
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
  /// Lines, or what they are packed into, as single texts of at most `longest` tokens.
  Dataset read_sequences(const std::filesystem::path& data, const std::string& split, const std::string& language,
                         const Tokenizer& tokenizer, const FeatureOptions& options, std::int64_t longest,
                         Truncation& truncation) const {
    TextFile file = read_split(data, split, language, options.max_examples);
    keep_first(file.lines, options.max_examples);
    Dataset dataset = empty_dataset(split, language);
    dataset.classes = classes(tokenizer.vocabulary_size());
    CountingFramer framer(tokenizer, longest);
    std::vector<std::vector<std::int32_t>> sequences;
    for (const std::string& line : file.lines) {
      std::vector<std::int32_t> ids = tokenizer.encode(line);
      sequences.push_back(options.pack_lines ? std::move(ids) : framer.single(std::move(ids)));
    }
    if (options.pack_lines) sequences = pack_lines(sequences, tokenizer.special(), longest);
    for (std::vector<std::int32_t>& ids : sequences)
      dataset.examples.push_back({std::move(ids), {}, static_cast<std::uint32_t>(dataset.examples.size())});
    truncation = framer.truncation();
    return dataset;
  }

  std::int64_t count_examples(const std::filesystem::path& data, const std::string& split,
                              const std::string& language) const override {
    return static_cast<std::int64_t>(read_split(data, split, language).lines.size());
  }
};

class TextAsText : public TextTask {
 public:
  using TextTask::TextTask;

  HeadKind head() const override { return HeadKind::kTextToText; }

  std::unique_ptr<TaskData> load(const std::filesystem::path& data, const std::string& split, const std::string& language,
                                 const Tokenizer& tokenizer, const FeatureOptions& options) const override {
    FeatureOptions resolved = options;
    resolved.max_seq_length = length_of(options);
    Truncation truncation;
    Dataset dataset =
        read_sequences(data, split, language, tokenizer, options, length_before_corruption(tokenizer, resolved), truncation);
    corrupt_dataset(dataset, tokenizer, resolved);
    require(!dataset.examples.empty(), dataset.name, ": no line of two pieces or more");
    return std::make_unique<TextData>(std::move(dataset), truncation);
  }
};

}  // namespace

SpanCorruption span_corruption_of(const Tokenizer& tokenizer, double density, std::uint32_t seed) {
  SpanCorruption settings;
  settings.density = density;
  settings.end = tokenizer.special().end;
  settings.pad = tokenizer.special().pad;
  settings.seed = seed;
  for (std::int32_t number = 0; tokenizer.sentinel(number) >= 0; ++number)
    settings.sentinels.push_back(tokenizer.sentinel(number));
  require(!settings.sentinels.empty(), tokenizer.file().string(),
          ": there is no piece <extra_id_0>, which stands for what is taken out of a text (span corruption)");
  return settings;
}

std::int64_t length_before_corruption(const Tokenizer& tokenizer, const FeatureOptions& features) {
  const SpanCorruption settings = span_corruption_of(tokenizer, features.noise_density, kEvaluationSeed);
  return longest_text(features.max_seq_length, settings) + tokenizer.special().around_single();
}

void corrupt_dataset(Dataset& dataset, const Tokenizer& tokenizer, const FeatureOptions& features) {
  const SpanCorruption settings = span_corruption_of(tokenizer, features.noise_density, kEvaluationSeed);
  dataset.head = HeadKind::kTextToText;
  std::vector<Example> corrupted;
  for (const Example& example : dataset.examples) {
    const std::span<const std::int32_t> text(example.ids.data(), example.ids.size() - 1);
    if (text.size() < 2) continue;
    corrupted.emplace_back().number = static_cast<std::uint32_t>(corrupted.size() - 1);
    corrupt_spans(corrupted.back(), text, settings, /*epoch=*/0);
  }
  dataset.examples = std::move(corrupted);
}

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

std::unique_ptr<Task> make_text_task(TaskRow row) {
  auto task = std::make_unique<TextTask>(row);
  task->set_text_form(std::make_unique<TextAsText>(std::move(row)));
  return task;
}

}  // namespace koine
