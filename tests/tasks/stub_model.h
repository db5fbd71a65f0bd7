#pragma once

// A model whose outputs a test decides, to run the tasks' evaluations without a network; and a small tokenizer.

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/tokenizer/tokenizer.h"
#include "engine/training/model.h"
#include "kernels/common/check.h"
#include "tasks/common/task.h"
#include "tests/engine/temporary_folder.h"

namespace koine {

/// One sequence of a batch, as the stub's functions see it.
struct StubSequence {
  std::uint32_t number = 0;
  std::span<const std::int32_t> ids;
  std::span<const std::int32_t> labels;  ///< of this sequence, where the batch has them
  std::int64_t layer = 0;                ///< that a vector is asked of
};

class StubModel : public Model {
 public:
  /// Writes the logits of one sequence: [classes], or [tokens, classes].
  std::function<void(const StubSequence&, float* logits)> logits;
  /// Writes the vector of one sequence.
  std::function<void(const StubSequence&, float* vector)> vector;
  /// Writes the answer to one sequence, its end included.
  std::function<std::vector<std::int32_t>(const StubSequence&)> answer;
  /// Its score; null: 0.
  std::function<double(const StubSequence&)> answer_score;
  /// The loss of one answer to a sequence.
  std::function<double(const StubSequence&, std::span<const std::int32_t> target)> target_loss;
  std::vector<std::size_t> compared;  ///< how many answers to each sequence, in the order they came
  GenerationSettings asked_generation;
  std::int32_t classes = 0;
  std::int64_t hidden = 0;
  std::vector<std::int64_t> asked_layers;
  Pooling asked_pooling = Pooling::kMean;
  std::int64_t longest = 512;
  std::int64_t calls = 0;

  ParameterStore& parameters() override { throw Error("the stub has no parameters"); }
  const std::vector<HeadSpec>& heads() const override { return heads_; }
  std::int64_t hidden_size() const override { return hidden; }
  std::int64_t layers() const override { return 12; }
  std::int64_t maximum_length() const override { return longest; }
  Context& context() override { return context_; }
  void reserve(std::int64_t, bool) override {}
  void add_batch(const PackedBatch&, double, const StepIdentity&, const GradientReady&) override {
    throw Error("the stub does not train");
  }
  double* loss_sum() override { throw Error("the stub does not train"); }
  /// 2 for every counted label.
  double evaluate_loss(const PackedBatch& batch) override { return 2.0 * static_cast<double>(batch.counted_labels); }

  std::vector<float> predict(const PackedBatch& batch) override {
    ++calls;
    const bool per_token = batch.head_kind == HeadKind::kToken || batch.head_kind == HeadKind::kSpan;
    std::vector<float> out(static_cast<std::size_t>((per_token ? batch.source.tokens : batch.source.sequences) * classes));
    for (std::int64_t i = 0; i < batch.source.sequences; ++i) {
      const auto begin = static_cast<std::size_t>(batch.source.cumulative_lengths[static_cast<std::size_t>(i)]);
      logits(sequence(batch, i),
             out.data() + (per_token ? begin : static_cast<std::size_t>(i)) * static_cast<std::size_t>(classes));
    }
    return out;
  }

  std::vector<float> encode_layers(const PackedBatch& batch, const std::vector<std::int64_t>& layers,
                                   Pooling pooling) override {
    ++calls;
    asked_layers = layers;
    asked_pooling = pooling;
    std::vector<float> out(layers.size() * static_cast<std::size_t>(batch.source.sequences * hidden));
    float* place = out.data();
    for (const std::int64_t layer : layers) {
      for (std::int64_t i = 0; i < batch.source.sequences; ++i, place += hidden) {
        StubSequence one = sequence(batch, i);
        one.layer = layer;
        vector(one, place);
      }
    }
    return out;
  }

  std::vector<Generation> generate(const PackedBatch& batch, const GenerationSettings& settings) override {
    ++calls;
    asked_generation = settings;
    std::vector<Generation> answers;
    for (std::int64_t i = 0; i < batch.source.sequences; ++i) {
      const StubSequence one = sequence(batch, i);
      answers.push_back({answer(one), answer_score ? answer_score(one) : 0});
    }
    return answers;
  }

  std::vector<std::vector<float>> answer_scores(
      const PackedBatch& batch, const std::vector<std::vector<std::vector<std::int32_t>>>& answers) override {
    ++calls;
    std::vector<std::vector<float>> scores;
    for (std::int64_t i = 0; i < batch.source.sequences; ++i) {
      scores.emplace_back();
      for (const std::vector<std::int32_t>& one : answers[answers.size() == 1 ? 0 : static_cast<std::size_t>(i)])
        scores.back().push_back(static_cast<float>(-target_loss(sequence(batch, i), one)));
      compared.push_back(scores.back().size());
    }
    return scores;
  }

  double forward_flops(const std::vector<std::int64_t>&, int, std::int64_t) const override { return 0; }
  bool word_gradient_is_sparse() const override { return false; }
  void save(const std::string&) override {}

 private:
  static StubSequence sequence(const PackedBatch& batch, std::int64_t index) {
    const auto i = static_cast<std::size_t>(index);
    const auto begin = static_cast<std::size_t>(batch.source.cumulative_lengths[i]);
    const auto length = static_cast<std::size_t>(batch.source.cumulative_lengths[i + 1]) - begin;
    StubSequence result{batch.source.sequence_examples[i], {batch.source.ids.data() + begin, length}, {}};
    if (batch.labels.empty()) return result;
    if (batch.head_kind == HeadKind::kSequence) result.labels = {batch.labels.data() + i, 1};
    if (batch.head_kind == HeadKind::kToken) result.labels = {batch.labels.data() + begin, length};
    return result;
  }

  std::vector<HeadSpec> heads_;
  Context context_;
};

inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

/// Trained once on a few lines: letters, digits and punctuation are pieces of their own or more.
inline const Tokenizer& small_tokenizer() {
  static const Tokenizer tokenizer = [] {
    static const TemporaryFolder folder;
    std::string text;
    for (int i = 0; i < 40; ++i) {
      text += "the quick brown fox jumps over the lazy dog in 1987 (again), he said.\n";
      text += "A small river runs between two old towns; nobody knows its name? 0123456789 \xC3\xA9\xC3\xBC\n";
      text += "PACK MY BOX WITH FIVE DOZEN LIQUOR JUGS - \"really\"!\n";
    }
    write_text(folder / "text", text);
    TokenizerTraining training;
    training.inputs = {folder / "text"};
    training.pieces = 80;
    training.character_coverage = 1.0;
    Tokenizer::train(training, folder / "model");
    return Tokenizer(folder / "model");
  }();
  return tokenizer;
}

/// Folder of real data; empty without KOINE_DATA.
inline std::filesystem::path real_data() {
  const char* folder = std::getenv("KOINE_DATA");
  return folder == nullptr ? "" : folder;
}
/// XLM-R's tokenizer among the real data.
inline const Tokenizer& real_tokenizer() {
  static const Tokenizer tokenizer(real_data() / "xlmr/sentencepiece.bpe.model");
  return tokenizer;
}

/// The outcomes of its examples give an evaluation's figure. (Points are kept in single precision, figures are in percent.)
inline void expect_outcomes(const Evaluation& evaluation) {
  EXPECT_EQ(evaluation.outcomes.metric, evaluation.metric);
  EXPECT_NEAR(evaluation.outcomes.figure(), evaluation.value, 1e-4);
}

}  // namespace koine
