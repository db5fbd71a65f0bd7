#pragma once

// The smallest model the training loop can drive with real operations: the mean of its tokens' embeddings (with dropout)
// under linear heads. It has what makes training hard to repeat bit for bit: a lazy table, dropout, decay groups, several
// heads.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "engine/ranks/shards_of.h"
#include "engine/training/model.h"
#include "kernels/dropout/dropout.h"
#include "kernels/embedding/embedding.h"
#include "kernels/gemm/gemm.h"
#include "kernels/pooling/pooling.h"
#include "kernels/random/random.h"
#include "kernels/reduce/reduce.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

namespace koine {

class BagModel : public Model {
 public:
  static constexpr std::int64_t kVocabulary = 97;
  static constexpr std::int64_t kWidth = 24;
  static constexpr std::int64_t kLength = 32;

  explicit BagModel(std::vector<HeadSpec> heads = {{"", HeadKind::kSequence, 3}}, DType type = DType::kFloat32,
                    std::uint32_t seed = 7, MasterKind master = MasterKind::kFloat32, Communicator* sharing = nullptr,
                    bool share_gradients = false)
      : heads_(std::move(heads)),
        store_(make_store(make_table(heads_), type, master, sharing, share_gradients)),
        scratch_("scratch", 8 << 20) {
    context_.scratch = &scratch_;
    store_.initialise(seed, 0.1);
    store_.refresh_working(context_);
  }

  double dropout_rate = 0.1;
  bool sparse = true;                  ///< what word_gradient_is_sparse() says
  std::int64_t nan_loss_example = -1;  ///< a batch that holds it has a loss that is not a number
  std::int64_t infinite_gradient_step = -1;
  std::vector<StepIdentity> identities;       ///< of every add_batch
  std::vector<int> batch_heads;               ///< of every add_batch
  std::vector<std::int64_t> batch_sequences;  ///< of every add_batch

  ParameterStore& parameters() override { return store_; }
  const std::vector<HeadSpec>& heads() const override { return heads_; }
  std::int64_t hidden_size() const override { return kWidth; }
  std::int64_t layers() const override { return 0; }
  std::int64_t maximum_length() const override { return kLength; }
  Context& context() override { return context_; }
  void reserve(std::int64_t maximum_tokens, bool) override {
    const auto elements = static_cast<std::size_t>(maximum_tokens * std::max(kWidth, kVocabulary));
    for (std::vector<double>* buffer : {&embedded_, &dropped_, &pooled_, &logits_}) buffer->resize(elements);
    losses_.resize(static_cast<std::size_t>(maximum_tokens));
  }
  void add_batch(const PackedBatch& batch, double gradient_scale, const StepIdentity& step,
                 const GradientReady& ready = {}) override {
    identities.push_back(step);
    batch_heads.push_back(batch.head);
    batch_sequences.push_back(batch.source.sequences);
    loss_sum_ += forward(batch, step, dropout_rate, gradient_scale, true);
    backward(batch, step, ready);
    for (const std::uint32_t example : batch.source.sequence_examples) {
      if (nan_loss_example == example) loss_sum_ = std::numeric_limits<double>::quiet_NaN();
    }
  }
  double* loss_sum() override { return &loss_sum_; }
  bool ask_before_reading(WeightsNeeded needed) override {
    needed_ = std::move(needed);
    return true;
  }
  double evaluate_loss(const PackedBatch& batch) override { return forward(batch, {}, 0, 1, false); }
  std::vector<float> predict(const PackedBatch&) override { return {}; }
  std::vector<float> encode_layers(const PackedBatch&, const std::vector<std::int64_t>&, Pooling) override { return {}; }
  double forward_flops(const std::vector<std::int64_t>& lengths, int, std::int64_t) const override {
    double tokens = 0;
    for (const std::int64_t length : lengths) tokens += static_cast<double>(length);
    return tokens * kWidth;
  }
  bool word_gradient_is_sparse() const override { return sparse; }
  void save(const std::string&) override {}

 private:
  static ParameterStore make_store(ParameterTable table, DType type, MasterKind master, Communicator* sharing,
                                   bool share_gradients) {
    if (sharing == nullptr || sharing->size() == 1)
      return ParameterStore(std::move(table), type, true, Device::kCpu, master);
    const Shards shards = shards_of(table, *sharing, share_gradients);
    return ParameterStore(std::move(table), type, true, Device::kCpu, master, &shards);
  }
  static ParameterTable make_table(const std::vector<HeadSpec>& heads) {
    ParameterTable table;
    for (std::size_t index = 0; index < heads.size(); ++index) {
      const std::string name = "head" + std::to_string(index);
      table.add({name + ".weight", {heads[index].classes, kWidth}, true, Initialisation::kNormal, true});
      table.add({name + ".bias", {heads[index].classes}, false, Initialisation::kZero, true});
    }
    table.end_stage();
    table.add({"token_type", {1, kWidth}, true});
    table.add({"position", {kLength, kWidth}, true});
    ParameterSpec word{"word", {kVocabulary, kWidth}, true};
    word.lazy_rows = true;
    table.add(word);
    return table;
  }

  int parameter(const std::string& name) const { return store_.table().find(name); }
  bool per_token(const PackedBatch& batch) const {
    return batch.head_kind == HeadKind::kMaskedLm || batch.head_kind == HeadKind::kToken;
  }
  std::int64_t rows(const PackedBatch& batch) const {
    return per_token(batch) ? batch.source.tokens : batch.source.sequences;
  }
  std::int64_t classes(const PackedBatch& batch) const { return heads_[static_cast<std::size_t>(batch.head)].classes; }
  std::string head_name(const PackedBatch& batch) const { return "head" + std::to_string(batch.head); }

  DropoutArguments dropout_of(const PackedBatch& batch, const StepIdentity& step, double rate, const void* in, void* out) {
    DropoutArguments arguments{store_.compute_type(), batch.source.tokens, kWidth, in, nullptr, {}, out};
    arguments.dropout.rate = static_cast<float>(rate);
    arguments.dropout.seed = step.seed;
    arguments.dropout.step = step.step;
    arguments.dropout.examples = batch.source.token_examples.data();
    arguments.dropout.positions = batch.source.positions.data();
    return arguments;
  }

  double forward(const PackedBatch& batch, const StepIdentity& step, double rate, double scale, bool training) {
    const DType type = store_.compute_type();
    if (training && needed_) needed_(parameter("token_type"));
    embedding_forward(
        context_, {type, batch.source.tokens, kWidth, kVocabulary, kLength, batch.source.ids.data(),
                   batch.source.positions.data(), store_.working(parameter("word")), store_.working(parameter("position")),
                   store_.working(parameter("token_type")), embedded_.data()});
    dropout(context_, dropout_of(batch, step, rate, embedded_.data(), dropped_.data()));
    mean_pooling_forward(context_, {type, batch.source.tokens, batch.source.sequences, kWidth,
                                    batch.source.cumulative_lengths.data(), false, dropped_.data(), pooled_.data()});
    if (training && needed_) needed_(0);
    GemmArguments product;
    product.m = rows(batch);
    product.n = product.ldc = classes(batch);
    product.k = product.lda = product.ldb = kWidth;
    product.a = per_token(batch) ? dropped_.data() : pooled_.data();
    product.b = store_.working(parameter(head_name(batch) + ".weight"));
    product.transpose_b = true;
    product.input_type = product.output_type = type;
    product.c = logits_.data();
    product.bias = store_.master(parameter(head_name(batch) + ".bias"));
    gemm(context_, product);
    softmax_cross_entropy(context_, {type, product.m, product.n, product.n, logits_.data(), batch.labels.data(),
                                     static_cast<float>(scale), losses_.data(), training ? logits_.data() : nullptr});
    double loss = 0;
    sum(context_, {product.m, losses_.data(), &loss});
    return loss;
  }

  void backward(const PackedBatch& batch, const StepIdentity& step, const GradientReady& ready) {
    const DType type = store_.compute_type();
    const int weight = parameter(head_name(batch) + ".weight");
    GemmArguments product;  // of the weight
    product.m = product.lda = classes(batch);
    product.n = product.ldb = product.ldc = kWidth;
    product.k = rows(batch);
    product.a = logits_.data();
    product.transpose_a = true;
    product.b = per_token(batch) ? dropped_.data() : pooled_.data();
    product.input_type = type;
    product.c = store_.gradient(weight);
    product.accumulate = true;
    gemm(context_, product);
    column_sum(context_, {type, rows(batch), classes(batch), classes(batch), logits_.data(),
                          store_.gradient(parameter(head_name(batch) + ".bias"))});
    if (infinite_gradient_step == step.step) store_.gradient(0)[0] = std::numeric_limits<float>::infinity();
    if (ready) ready(parameter("token_type"), nullptr);  // the heads
    GemmArguments input;
    input.m = rows(batch);
    input.n = input.ldb = input.ldc = kWidth;
    input.k = input.lda = classes(batch);
    input.a = logits_.data();
    input.b = store_.working(weight);
    input.input_type = input.output_type = type;
    input.c = per_token(batch) ? dropped_.data() : pooled_.data();
    gemm(context_, input);
    if (!per_token(batch)) {
      mean_pooling_backward(context_, {type, batch.source.tokens, batch.source.sequences, kWidth,
                                       batch.source.cumulative_lengths.data(), false, pooled_.data(), dropped_.data()});
    }
    dropout(context_, dropout_of(batch, step, dropout_rate, dropped_.data(), embedded_.data()));
    embedding_backward(context_, {type, batch.source.tokens, kWidth, batch.source.by_id.view(),
                                  batch.source.by_position.view(), embedded_.data(), store_.gradient(parameter("word")),
                                  store_.gradient(parameter("position")), store_.gradient(parameter("token_type"))});
    if (ready) ready(store_.table().size(), nullptr);
  }

  std::vector<HeadSpec> heads_;
  ParameterStore store_;
  StackMemory scratch_;
  WeightsNeeded needed_;
  double loss_sum_ = 0;
  Context context_;
  std::vector<double> embedded_, dropped_, pooled_, logits_;  // room for any type
  std::vector<float> losses_;
};

/// Sequences whose label is the class of most of their tokens (id % classes); lengths 1 .. 20, ids from `first_id`.
inline Dataset bag_dataset(std::int64_t examples, HeadKind head = HeadKind::kSequence, std::uint32_t seed = 3) {
  RandomStream random(seed, 99);
  Dataset data;
  data.name = "bags";
  data.head = head;
  data.classes = 3;
  for (std::int64_t index = 0; index < examples; ++index) {
    Example example;
    example.number = static_cast<std::uint32_t>(1000 + index);
    const std::int64_t length = 1 + random.below(20);
    const auto label = static_cast<std::int32_t>(random.below(3));
    for (std::int64_t token = 0; token < length; ++token) {
      const bool typical = random.uniform() < 0.7;
      example.ids.push_back(static_cast<std::int32_t>(typical ? 3 * random.below(BagModel::kVocabulary / 3) + label
                                                              : random.below(BagModel::kVocabulary)));
    }
    if (head == HeadKind::kSequence) example.labels = {label};
    if (head == HeadKind::kToken) {
      for (const std::int32_t id : example.ids) example.labels.push_back(id % 3);
    }
    data.examples.push_back(std::move(example));
  }
  return data;
}

/// Whether two buffers hold the same bits.
inline bool same_bits(const float* a, const float* b, std::int64_t count) {
  return std::memcmp(a, b, static_cast<std::size_t>(count) * sizeof(float)) == 0;
}

}  // namespace koine
