#include "tasks/common/prediction.h"

#include <algorithm>
#include <chrono>
#include <span>

#include "engine/parameters/finite.h"
#include "tasks/common/layers.h"

namespace koine {
namespace {

std::int64_t length_of_group(const Dataset& dataset, std::int64_t group) {
  std::int64_t length = 0;
  for (std::int64_t i = 0; i < dataset.group; ++i) {
    length += dataset.examples[static_cast<std::size_t>(group * dataset.group + i)].tokens();
  }
  return length;
}

/// Tokens a batch may have: what the options say, or the longest group where that is more.
std::int64_t token_budget(const Model& model, const Dataset& dataset, const EvaluationOptions& options) {
  std::int64_t budget = options.max_tokens_per_batch;
  for (const Example& example : dataset.examples) {
    require(static_cast<std::int64_t>(example.ids.size()) <= model.maximum_length(), dataset.name, ": example ",
            example.number, " has ", example.ids.size(), " tokens, the model reads at most ", model.maximum_length(),
            "; lower max_seq_length to that");
  }
  for (std::int64_t group = 0; group < dataset.groups(); ++group) budget = std::max(budget, length_of_group(dataset, group));
  return budget;
}

std::int64_t tokens_of_groups(const Dataset& dataset, const std::vector<std::int64_t>& groups) {
  std::int64_t tokens = 0;
  for (const std::int64_t group : groups) tokens += length_of_group(dataset, group);
  return tokens;
}

std::int64_t source_tokens(const Dataset& dataset, const std::vector<std::int64_t>& groups) {
  std::int64_t tokens = 0;
  for (const std::int64_t group : groups) {
    for (std::int64_t i = group * dataset.group; i < (group + 1) * dataset.group; ++i)
      tokens += std::ssize(dataset.examples[static_cast<std::size_t>(i)].ids);
  }
  return tokens;
}

/// Calls use(batches) for up to `at_once` neighbours of the batches of a pass at a time.
PassCounts for_batches(Model& model, const Dataset& dataset, const EvaluationOptions& options, std::int64_t budget,
                       std::size_t at_once,
                       const std::function<void(std::span<const std::vector<std::int64_t>> batches)>& use) {
  const auto start = std::chrono::steady_clock::now();
  model.reserve(budget, /*training=*/false);
  PassCounts counts;
  std::int64_t total = 0;
  for (const Example& example : dataset.examples) total += example.tokens();
  if (options.progress) options.progress(0, total);
  const StepPlan plan = plan_prediction(dataset, budget);
  const std::span<const std::vector<std::int64_t>> all = plan.micro_batches;
  for (std::size_t first = 0; first < all.size(); first += at_once) {
    if (options.stop != nullptr && options.stop->load()) throw Interrupted();
    const std::span<const std::vector<std::int64_t>> batches = all.subspan(first, std::min(at_once, all.size() - first));
    use(batches);
    for (const std::vector<std::int64_t>& groups : batches) counts.tokens += tokens_of_groups(dataset, groups);
    if (options.progress) options.progress(counts.tokens, total);
  }
  counts.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return counts;
}

}  // namespace

PassCounts for_each_batch(Model& model, const Dataset& dataset, const EvaluationOptions& options,
                          const std::function<void(PackedBatch&, const std::vector<std::int64_t>&)>& use) {
  return for_batches(model, dataset, options, token_budget(model, dataset, options), 1,
                     [&](std::span<const std::vector<std::int64_t>> batches) {
                       PackedBatch batch = pack_groups(dataset, batches.front());
                       batch.head = options.head;
                       use(batch, batches.front());
                     });
}

PassCounts compute_batches(
    Model& model, const Dataset& dataset, const EvaluationOptions& options, PredictionPass pass,
    const std::function<void(const std::vector<std::int64_t>& groups, const std::vector<float>& numbers)>& use) {
  pass.head = options.head;
  pass.maximum_tokens = token_budget(model, dataset, options);
  const bool together = options.ranks != nullptr && options.ranks->size() > 1;
  const std::int64_t at_once = together ? kBatchesOfARank * options.ranks->size() : 1;
  return for_batches(model, dataset, options, pass.maximum_tokens, static_cast<std::size_t>(at_once),
                     [&](std::span<const std::vector<std::int64_t>> batches) {
                       if (!together) return use(batches.front(), compute_batch(model, pass, dataset, batches.front()));
                       const std::vector<std::vector<float>> numbers =
                           predict_together(model, *options.ranks, pass, dataset, batches);
                       for (std::size_t i = 0; i < batches.size(); ++i) use(batches[i], numbers[i]);
                     });
}

void require_finite(const Dataset& dataset, const std::vector<std::size_t>& broken) {
  if (broken.empty()) return;
  fail_user(dataset.name, ": of ", broken.size(), " of ", dataset.examples.size(),
            " sequences the model gives numbers that are infinite or not a number, first of example ",
            dataset.examples[broken.front()].number,
            ": they cannot be scored; its weights are damaged or too large for this precision (try --precision fp32)");
}

Predictions predict_all(Model& model, const Dataset& dataset, const EvaluationOptions& options) {
  Predictions result;
  result.logits.resize(dataset.examples.size());
  const LogitsPlace place = facts_of(dataset.head).logits;
  const bool per_token = place == LogitsPlace::kToken;
  check(place != LogitsPlace::kCountedToken, "masked-language logits are not kept: their loss is what counts");
  using Groups = std::vector<std::int64_t>;
  result.counts = compute_batches(model, dataset, options, {}, [&](const Groups& groups, const std::vector<float>& logits) {
    const std::int64_t rows = per_token ? source_tokens(dataset, groups) : std::ssize(groups) * dataset.group;
    check(static_cast<std::int64_t>(logits.size()) == rows * dataset.classes, "model gave ", logits.size(), " logits for ",
          rows, " rows of ", dataset.classes, " classes");
    std::size_t at = 0;
    for (const std::int64_t group : groups) {
      for (std::int64_t i = group * dataset.group; i < (group + 1) * dataset.group; ++i) {
        const auto example = static_cast<std::size_t>(i);
        const std::size_t count =
            (per_token ? dataset.examples[example].ids.size() : 1) * static_cast<std::size_t>(dataset.classes);
        result.logits[example].assign(logits.begin() + static_cast<std::ptrdiff_t>(at),
                                      logits.begin() + static_cast<std::ptrdiff_t>(at + count));
        at += count;
      }
    }
  });
  std::vector<std::size_t> broken;
  for (std::size_t i = 0; i < result.logits.size(); ++i) {
    if (count_not_finite(result.logits[i]) > 0) broken.push_back(i);
  }
  require_finite(dataset, broken);
  return result;
}

Encodings collect_vectors(Model& model, const Dataset& dataset, const EvaluationOptions& options,
                          const PredictionPass& pass) {
  Encodings result;
  result.width = model.hidden_size();
  const std::size_t numbers = dataset.examples.size() * static_cast<std::size_t>(result.width);
  result.vectors.assign(pass.encodes ? pass.layers.size() : 1, std::vector<float>(numbers));
  using Groups = std::vector<std::int64_t>;
  result.counts =
      compute_batches(model, dataset, options, pass, [&](const Groups& groups, const std::vector<float>& vectors) {
        const std::int64_t sequences = std::ssize(groups) * dataset.group;
        check(std::ssize(vectors) == std::ssize(result.vectors) * sequences * result.width, "model gave ", vectors.size(),
              " numbers for ", result.vectors.size(), " layers of ", sequences, " sequences");
        auto row = vectors.begin();
        for (std::vector<float>& layer : result.vectors) {
          const std::int64_t numbers = dataset.group * result.width;
          for (const std::int64_t group : groups) {
            std::copy_n(row, numbers, layer.begin() + group * numbers);
            row += numbers;
          }
        }
      });
  return result;
}

Encodings encode_all(Model& model, const Dataset& dataset, const EvaluationOptions& options) {
  require_layers(options.layers, model.layers(), "");
  PredictionPass pass;
  pass.encodes = true;
  pass.layers = options.layers;
  pass.pooling = options.pooling;
  Encodings result = collect_vectors(model, dataset, options, pass);
  const auto width = static_cast<std::size_t>(result.width);
  std::vector<std::size_t> broken;
  for (std::size_t i = 0; i < dataset.examples.size(); ++i) {
    const bool any = std::any_of(result.vectors.begin(), result.vectors.end(), [&](const std::vector<float>& layer) {
      return count_not_finite({layer.data() + i * width, width}) > 0;
    });
    if (any) broken.push_back(i);
  }
  require_finite(dataset, broken);
  return result;
}

std::int32_t index_of_largest(const float* values, std::int32_t count) {
  return static_cast<std::int32_t>(std::max_element(values, values + count) - values);
}

}  // namespace koine
