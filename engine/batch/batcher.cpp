#include "engine/batch/batcher.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <numeric>

#include "kernels/common/check.h"
#include "kernels/random/philox.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

namespace koine {
namespace {

// Last word of the Philox counter: what the numbers are for, so that no two uses of one seed share them.
constexpr std::uint32_t kShuffleStream = 0x53687566u;
constexpr std::uint32_t kMaskingStream = 0x4d61736bu;

/// A number below `count`, each as likely but for 2^-32 (Lemire, arXiv 1805.10941, without its rejection step).
std::uint64_t below(std::uint64_t count, std::uint32_t high, std::uint32_t low) {
  const std::uint64_t bits = static_cast<std::uint64_t>(high) << 32 | low;
  return static_cast<std::uint64_t>((static_cast<unsigned __int128>(bits) * count) >> 64);
}

std::int64_t group_tokens(const Dataset& dataset, std::int64_t group) {
  std::int64_t tokens = 0;
  for (std::int64_t i = group * dataset.group; i < (group + 1) * dataset.group; ++i) {
    tokens += dataset.examples[static_cast<std::size_t>(i)].tokens();
  }
  return tokens;
}

/// Fills micro-batches one after the other with groups in ascending order of length (then of number).
StepPlan plan(const Dataset& dataset, std::vector<std::int64_t> groups, std::int64_t maximum_tokens) {
  struct Sized {
    std::int64_t tokens;
    std::int64_t group;
    std::size_t place;  // equal groups (a pass that ends within a step may bring one twice) keep their order
    auto operator<=>(const Sized&) const = default;
  };
  std::vector<Sized> sized;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    check(groups[i] >= 0 && groups[i] < dataset.groups(), "no example ", groups[i], " in ", dataset.name);
    sized.push_back({group_tokens(dataset, groups[i]), groups[i], i});
  }
  std::sort(sized.begin(), sized.end());
  StepPlan result;
  std::int64_t filled = 0;
  for (const Sized& next : sized) {
    check(next.tokens <= maximum_tokens, "example ", next.group, " of ", dataset.name, " has ", next.tokens,
          " tokens, more than a micro-batch may hold (", maximum_tokens, ")");
    if (result.micro_batches.empty() || filled + next.tokens > maximum_tokens) {
      result.micro_batches.emplace_back();
      filled = 0;
    }
    result.micro_batches.back().push_back(next.group);
    filled += next.tokens;
  }
  return result;
}

/// What becomes of a token that is chosen.
std::int32_t masked_id(std::int32_t id, const MaskingSettings& settings, const PhiloxCounter& bits) {
  const double share = bits[1] * 0x1p-32;
  if (share < 0.8) return settings.mask_id;
  if (share < 0.9)
    return static_cast<std::int32_t>(below(static_cast<std::uint64_t>(settings.vocabulary), bits[2], bits[3]));
  return id;
}

PhiloxCounter masking_bits(const PackedBatch& batch, std::size_t token, const MaskingSettings& settings,
                           std::uint32_t epoch) {
  return philox(
      {static_cast<std::uint32_t>(batch.source.positions[token]), batch.source.token_examples[token], 0, kMaskingStream},
      {settings.seed, epoch});
}

}  // namespace

EpochSampler::EpochSampler(std::int64_t groups, std::int64_t groups_per_step, std::uint32_t seed)
    : groups_(groups), groups_per_step_(groups_per_step), seed_(seed) {
  check(groups > 0, "a data set to be sampled is empty");
  check(groups_per_step > 0, "a step takes no examples");
}

std::int64_t EpochSampler::steps_per_epoch() const { return (groups_ + groups_per_step_ - 1) / groups_per_step_; }

std::vector<std::int64_t> EpochSampler::step_groups(std::int64_t step) {
  check(step >= 0, "step ", step, " is asked for");
  std::vector<std::int64_t> groups;
  groups.reserve(static_cast<std::size_t>(groups_per_step_));
  for (std::int64_t i = step * groups_per_step_; i < (step + 1) * groups_per_step_; ++i) {
    groups.push_back(epoch_order(i / groups_)[static_cast<std::size_t>(i % groups_)]);
  }
  return groups;
}

const std::vector<std::int64_t>& EpochSampler::epoch_order(std::int64_t epoch) {
  if (epoch == cached_epoch_) return order_;
  order_.resize(static_cast<std::size_t>(groups_));
  std::iota(order_.begin(), order_.end(), 0);
  // Fisher and Yates' shuffle, from the last place down.
  for (std::uint64_t i = order_.size() - 1; i > 0; --i) {
    const PhiloxCounter bits =
        philox({static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(i >> 32), 0, kShuffleStream},
               {seed_, static_cast<std::uint32_t>(epoch)});
    std::swap(order_[i], order_[below(i + 1, bits[0], bits[1])]);
  }
  cached_epoch_ = epoch;
  return order_;
}

StepPlan plan_step(const Dataset& dataset, std::span<const std::int64_t> groups, std::int64_t maximum_tokens) {
  return plan(dataset, {groups.begin(), groups.end()}, maximum_tokens);
}

StepPlan plan_whole_batches(const Dataset& dataset, std::span<const std::int64_t> groups, std::int64_t groups_per_batch,
                            std::int64_t maximum_tokens) {
  check(groups_per_batch > 0, "a batch takes no examples");
  StepPlan result;
  for (std::size_t begin = 0; begin < groups.size(); begin += static_cast<std::size_t>(groups_per_batch)) {
    const auto part = groups.subspan(begin, std::min(static_cast<std::size_t>(groups_per_batch), groups.size() - begin));
    std::int64_t tokens = 0;
    for (const std::int64_t group : part) tokens += group_tokens(dataset, group);
    check(tokens <= maximum_tokens, "a batch of ", part.size(), " examples of ", dataset.name, " has ", tokens,
          " tokens, more than a micro-batch may hold (", maximum_tokens, ")");
    result.micro_batches.emplace_back(part.begin(), part.end());
  }
  return result;
}

std::int64_t longest_batch_tokens(const Dataset& dataset, std::int64_t groups_per_batch) {
  std::vector<std::int64_t> tokens;
  for (std::int64_t group = 0; group < dataset.groups(); ++group) tokens.push_back(group_tokens(dataset, group));
  std::sort(tokens.begin(), tokens.end(), std::greater<>());
  tokens.resize(std::min(tokens.size(), static_cast<std::size_t>(groups_per_batch)));
  return std::accumulate(tokens.begin(), tokens.end(), std::int64_t{0});
}

StepPlan plan_prediction(const Dataset& dataset, std::int64_t maximum_tokens) {
  std::vector<std::int64_t> groups(static_cast<std::size_t>(dataset.groups()));
  std::iota(groups.begin(), groups.end(), 0);
  return plan(dataset, std::move(groups), maximum_tokens);
}

PackedBatch pack_groups(const Dataset& dataset, std::span<const std::int64_t> groups) {
  std::vector<const Example*> examples;
  for (const std::int64_t group : groups) {
    check(group >= 0 && group < dataset.groups(), "no example ", group, " in ", dataset.name);
    for (std::int64_t i = group * dataset.group; i < (group + 1) * dataset.group; ++i) {
      examples.push_back(&dataset.examples[static_cast<std::size_t>(i)]);
    }
  }
  return pack(examples, dataset.head, dataset.group);
}

void mask_tokens(PackedBatch& batch, const MaskingSettings& settings, std::uint32_t epoch) {
  check(batch.target.sequences == 0, "tokens are masked in a batch that has a target");
  check(settings.vocabulary > 0, "masking needs the size of the vocabulary");
  batch.head_kind = HeadKind::kMaskedLm;
  batch.labels.assign(batch.source.ids.size(), kIgnoredLabel);
  std::int64_t chosen = 0;
  const auto choose = [&](std::size_t token, const PhiloxCounter& bits) {
    batch.labels[token] = batch.source.ids[token];
    batch.source.ids[token] = masked_id(batch.source.ids[token], settings, bits);
    ++chosen;
  };
  // Kept in case no draw falls below the probability: then the token of the least draw is the one chosen.
  std::size_t least_token = batch.source.ids.size();
  PhiloxCounter least{};
  for (std::size_t token = 0; token < batch.source.ids.size(); ++token) {
    const auto& special = settings.special_ids;
    if (std::find(special.begin(), special.end(), batch.source.ids[token]) != special.end()) continue;
    const PhiloxCounter bits = masking_bits(batch, token, settings, epoch);
    if (least_token == batch.source.ids.size() || bits[0] < least[0]) {
      least_token = token;
      least = bits;
    }
    if (bits[0] * 0x1p-32 < settings.probability) choose(token, bits);
  }
  if (chosen == 0 && least_token < batch.source.ids.size()) choose(least_token, least);
  batch.source.rebuild_orders();
  recount_labels(batch);
}

}  // namespace koine
