#pragma once

// Small models and batches for the tests of models/.

#include <memory>
#include <vector>

#include "kernels/operations.h"
#include "kernels/random/philox.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"
#include "models/models.h"

namespace koine::tiny {

inline constexpr std::int64_t kVocabulary = 37;

inline ModelConfig config(NormPlacement norm) {
  ModelConfig config;
  config.norm = norm;
  config.vocab_size = kVocabulary;
  config.hidden_size = 24;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 3;
  config.intermediate_size = 40;
  config.max_position_embeddings = 34;
  config.initializer_range = 0.2;
  return config;
}

inline HeadSpec head(HeadKind kind) {
  const HeadFacts& facts = facts_of(kind);
  return {"", kind, facts.classes(facts.labels == LabelPlace::kToken ? 5 : 3, kVocabulary)};
}

/// Those of encoders.
inline std::vector<HeadKind> head_kinds() {
  std::vector<HeadKind> kinds;
  for (const HeadFacts& head : all_heads()) {
    if (!head.of_target) kinds.push_back(head.kind);
  }
  return kinds;
}

/// Labelled sequences of the given lengths; ids and labels drawn from `seed`.
inline std::vector<Example> examples(HeadKind kind, const std::vector<std::int64_t>& lengths, std::uint32_t seed) {
  std::uint32_t drawn = 0;
  const auto below = [&](std::uint32_t n) {
    return static_cast<std::int32_t>(philox({drawn++, 0, 0, 0}, {seed, 7})[0] % n);
  };
  std::vector<Example> result;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    Example example;
    example.number = static_cast<std::uint32_t>(100 + 3 * i);
    const auto length = static_cast<std::uint32_t>(lengths[i]);
    for (std::uint32_t t = 0; t < length; ++t) example.ids.push_back(t == 0 ? 0 : 3 + below(kVocabulary - 3));
    switch (facts_of(kind).labels) {
      case LabelPlace::kToken:
        for (std::uint32_t t = 0; t < length; ++t) example.labels.push_back((t + i) % 3 == 1 ? kIgnoredLabel : below(5));
        break;
      case LabelPlace::kSequence:
        example.labels = {below(3)};
        break;
      case LabelPlace::kSpan:
        example.labels = {below(length), below(length)};
        break;
      case LabelPlace::kGroup:
        if (i % 2 == 0) example.labels = {below(2)};
        break;
      case LabelPlace::kOwnGroup:
        if (i % kPair == 0) example.labels = {0};
        break;
    }
    result.push_back(std::move(example));
  }
  return result;
}

inline PackedBatch packed(const std::vector<Example>& examples, HeadKind kind) {
  std::vector<const Example*> pointers;
  for (const Example& example : examples) pointers.push_back(&example);
  const LabelPlace labels = facts_of(kind).labels;
  return pack(pointers, kind, labels == LabelPlace::kGroup || labels == LabelPlace::kOwnGroup ? 2 : 1);
}

inline std::unique_ptr<Model> model(const ModelConfig& config, HeadKind kind, DType precision, bool reference = false) {
  ModelOptions options;
  options.execution.precision = precision;
  options.training = true;
  options.heads = {head(kind)};
  options.seed = 5;
  if (reference) {
    for (const OperationSummary& operation : all_operations())
      options.execution.forced_variants[operation.name] = "reference";
  }
  std::unique_ptr<Model> model = make_model(config, options);
  model->reserve(256, true);
  return model;
}

}  // namespace koine::tiny
