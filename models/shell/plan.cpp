#include "models/shell/plan.h"

#include <algorithm>

#include "engine/batch/device_batch.h"
#include "engine/batch/packed_batch.h"

namespace koine {
namespace {

/// How the tokens of sources and targets are shared out: `longer` of the one list, `shorter` of the other.
struct TargetSizes {
  std::int64_t sequences = 0;
  std::int64_t longer = 0;
  std::int64_t shorter = 0;
};

/// Of `tokens` tokens in all, as many as can be in one list, up to `most_of_a_list`, and of its sequences each up to `length`.
TargetSizes target_sizes(std::int64_t tokens, std::int64_t most_of_a_list, std::int64_t length) {
  TargetSizes sizes;
  sizes.sequences = (tokens + length) / (length + 1);
  sizes.longer = std::min(std::max(tokens - sizes.sequences, sizes.sequences), most_of_a_list);
  sizes.shorter = std::max(tokens - sizes.longer, sizes.sequences);
  return sizes;
}

PackedBatch planned_batch_of_targets(HeadKind kind, const TargetSizes& sizes, std::int64_t length, bool long_targets) {
  std::vector<Example> examples;
  std::int64_t longer = sizes.longer, shorter = sizes.shorter;
  for (std::int64_t left = sizes.sequences; left > 0; --left) {
    const std::int64_t of_longer = std::min(length, longer - (left - 1));
    const std::int64_t of_shorter = shorter / left;
    longer -= of_longer;
    shorter -= of_shorter;
    Example example;
    example.ids.assign(static_cast<std::size_t>(long_targets ? of_shorter : of_longer), 0);
    example.target_ids.assign(static_cast<std::size_t>(long_targets ? of_longer : of_shorter), 0);
    example.labels.assign(example.target_ids.size(), 0);
    examples.push_back(std::move(example));
  }
  std::vector<const Example*> pointers;
  for (const Example& example : examples) pointers.push_back(&example);
  return pack(pointers, kind);
}

/// Of `tokens` tokens; where examples are pairs, one sequence more may be needed to make them whole.
PackedBatch planned_batch(const HeadSpec* head, std::int64_t tokens, std::int64_t length) {
  const std::size_t group = head != nullptr && facts_of(head->kind).in_batch ? kPair : 1;
  std::vector<Example> examples;
  for (std::int64_t used = 0; used < tokens; used += length) {
    Example example;
    example.ids.assign(static_cast<std::size_t>(std::min(length, tokens - used)), 0);
    if (head != nullptr) {
      const std::int64_t labels = facts_of(head->kind).labels_of(std::ssize(example.ids), examples.size() % group == 0);
      example.labels.assign(static_cast<std::size_t>(labels), 0);
    }
    examples.push_back(std::move(example));
  }
  while (examples.size() % group != 0) examples.push_back({{0}, {}});
  std::vector<const Example*> pointers;
  for (const Example& example : examples) pointers.push_back(&example);
  return pack(pointers, head == nullptr ? HeadKind::kSequence : head->kind, static_cast<std::int32_t>(group));
}

/// What is counted by token of the source or of the target is most where nearly all tokens are. `padded`: batches are padded
/// to common sizes before they run.
std::vector<PackedBatch> planned_batches(const HeadSpec& head, std::int64_t tokens, std::int64_t length, bool padded) {
  if (!facts_of(head.kind).of_target) return {planned_batch(&head, tokens, length)};
  const TargetSizes sizes =
      padded ? target_sizes(most_padded_tokens(tokens, 2), tokens, length) : target_sizes(tokens, tokens, length);
  return {planned_batch_of_targets(head.kind, sizes, length, false),
          planned_batch_of_targets(head.kind, sizes, length, true)};
}

}  // namespace

MemoryPlan plan_memory(ModelRunner& runner, const ModelConfig& config, const std::vector<HeadSpec>& heads,
                       std::int64_t maximum_tokens, bool training, const Context& real_context) {
  MemoryPlan result;
  const auto plan = [&](const auto& run) {
    StackMemory activations;
    StackMemory scratch;
    Context context = real_context;
    context.scratch = &scratch;
    context.profile = nullptr;
    context.dry_run = true;
    run(context, activations);
    result.scratch_bytes = std::max(result.scratch_bytes, scratch.peak());
    if (activations.peak() <= result.activation_bytes) return;
    result.activation_bytes = activations.peak();
    result.activations = activations.plan();
  };
  // A product of few rows may want more workspace than one of many (gemm packs it otherwise), and batches of all sizes come,
  // so sizes in powers of two are planned besides the largest. Of each size, many short sequences take the most of what is
  // counted by sequence, few long ones of what is counted by length.
  std::vector<std::int64_t> sizes = {maximum_tokens};
  for (std::int64_t size = 1; size < maximum_tokens; size *= 2) sizes.push_back(size);
  for (const std::int64_t tokens : sizes) {
    for (const std::int64_t length : {std::int64_t{1}, std::min(tokens, config.maximum_length())}) {
      const PackedBatch unlabelled = planned_batch(nullptr, tokens, length);
      const std::vector<std::int32_t> zeros(static_cast<std::size_t>(tokens) + 1, 0);  // for no more sequences than tokens
      plan([&](const Context& context, StackMemory& stack) {
        runner.encode_layers(context, host_view(unlabelled, zeros), {config.num_hidden_layers}, Pooling::kMean, stack);
      });
      plan([&](const Context& context, StackMemory& stack) {
        runner.hidden_states(context, host_view(unlabelled, zeros), config.num_hidden_layers, stack);
      });
      for (std::size_t i = 0; i < heads.size(); ++i) {
        const bool padded = training && real_context.device == Device::kCuda;
        for (PackedBatch& batch : planned_batches(heads[i], tokens, length, padded)) {
          batch.head = static_cast<std::int32_t>(i);
          const BatchView view = host_view(batch, zeros);
          double nothing = 0;
          plan([&](const Context& context, StackMemory& stack) { runner.predict(context, view, stack); });
          plan([&](const Context& context, StackMemory& stack) { runner.loss(context, view, stack, &nothing); });
          if (!training) continue;
          plan([&](const Context& context, StackMemory& stack) {
            runner.train(context, view, 1.0, StepIdentity{}, stack, &nothing, nullptr, nullptr);
          });
        }
      }
    }
  }
  return result;
}

}  // namespace koine
