#include "tasks/scorers/bitext_mining.h"

#include <algorithm>
#include <cmath>

#include "kernels/common/check.h"
#include "kernels/common/own_scratch.h"
#include "kernels/topk/topk.h"

namespace koine {
namespace {

float score_of(float cosine, float mean_a, float mean_b, Margin margin) {
  const float mean = (mean_a + mean_b) / 2;
  switch (margin) {
    case Margin::kAbsolute:
      return cosine;
    case Margin::kDistance:
      return cosine - mean;
    case Margin::kRatio:
      return cosine / mean;
  }
  return cosine;
}

struct Proposal {
  std::int32_t other = 0;
  float score = 0;
};

/// Of the sentence's neighbours the one of highest score, the nearer of equals.
Proposal best_of(const Neighbours& own, std::size_t sentence, const std::vector<float>& others_means, Margin margin) {
  Proposal best;
  for (std::size_t i = 0; i < static_cast<std::size_t>(own.k); ++i) {
    const std::size_t at = sentence * static_cast<std::size_t>(own.k) + i;
    const std::int32_t other = own.indices[at];
    const float score =
        score_of(own.cosines[at], own.means[sentence], others_means[static_cast<std::size_t>(other)], margin);
    if (i == 0 || score > best.score) best = {other, score};
  }
  return best;
}

}  // namespace

void normalise_rows(std::span<float> vectors, std::int64_t width) {
  for (auto row = vectors.begin(); row != vectors.end(); row += width) {
    double squares = 0;
    for (std::int64_t i = 0; i < width; ++i) squares += static_cast<double>(row[i]) * static_cast<double>(row[i]);
    const double scale = squares > 0 ? 1 / std::sqrt(squares) : 0;
    for (std::int64_t i = 0; i < width; ++i) row[i] = static_cast<float>(row[i] * scale);
  }
}

namespace {

Neighbours room_for(std::int64_t rows, std::int64_t k) {
  Neighbours result;
  result.k = k;
  result.indices.resize(static_cast<std::size_t>(rows * k));
  result.cosines.resize(result.indices.size());
  return result;
}

void add_means(Neighbours& neighbours) {
  for (auto row = neighbours.cosines.begin(); row != neighbours.cosines.end(); row += neighbours.k) {
    float sum = 0;
    for (std::int64_t i = 0; i < neighbours.k; ++i) sum += row[i];
    neighbours.means.push_back(sum / static_cast<float>(neighbours.k));
  }
}

/// Runs `calls` on the CPU: the vectors are the host's, whatever device made them.
template <class Calls>
void run_on_host(const Calls& calls) {
  const Context context;
  const OwnScratch scratch(context, "retrieval", calls);
  calls(scratch.in(context));
}

}  // namespace

Neighbours nearest_neighbours(std::span<const float> queries, std::span<const float> candidates, std::int64_t width,
                              std::int64_t k) {
  TopKArguments arguments;
  arguments.queries_count = static_cast<std::int64_t>(queries.size()) / width;
  arguments.candidates_count = static_cast<std::int64_t>(candidates.size()) / width;
  arguments.width = width;
  arguments.k = std::min(k, arguments.candidates_count);
  arguments.queries = queries.data();
  arguments.candidates = candidates.data();
  Neighbours result = room_for(arguments.queries_count, arguments.k);
  arguments.indices = result.indices.data();
  arguments.scores = result.cosines.data();
  run_on_host([&](const Context& context) { top_k(context, arguments); });
  add_means(result);
  return result;
}

MutualNeighbours mutual_neighbours(std::span<const float> source, std::span<const float> target, std::int64_t width,
                                   std::int64_t k) {
  TwoWayTopKArguments arguments;
  arguments.queries_count = std::ssize(source) / width;
  arguments.candidates_count = std::ssize(target) / width;
  arguments.width = width;
  arguments.k = std::min(k, arguments.candidates_count);
  arguments.back_k = std::min(k, arguments.queries_count);
  arguments.queries = source.data();
  arguments.candidates = target.data();
  MutualNeighbours result{room_for(arguments.queries_count, arguments.k),
                          room_for(arguments.candidates_count, arguments.back_k)};
  arguments.indices = result.forward.indices.data();
  arguments.scores = result.forward.cosines.data();
  arguments.back_indices = result.backward.indices.data();
  arguments.back_scores = result.backward.cosines.data();
  run_on_host([&](const Context& context) { top_k_two_way(context, arguments); });
  add_means(result.forward);
  add_means(result.backward);
  return result;
}

std::vector<MinedPair> mine_bitext(std::span<const float> source, std::span<const float> target, std::int64_t width,
                                   const MiningOptions& options) {
  check(!source.empty() && !target.empty(), "mining among no sentences");
  return mine_bitext(mutual_neighbours(source, target, width, options.neighbours), options);
}

std::vector<MinedPair> mine_bitext(const MutualNeighbours& neighbours, const MiningOptions& options) {
  const auto& [forward, backward] = neighbours;
  std::vector<MinedPair> proposals;
  for (std::size_t i = 0; i < forward.means.size(); ++i) {
    const Proposal best = best_of(forward, i, backward.means, options.margin);
    proposals.push_back({static_cast<std::int32_t>(i), best.other, best.score});
  }
  for (std::size_t i = 0; i < backward.means.size(); ++i) {
    const Proposal best = best_of(backward, i, forward.means, options.margin);
    proposals.push_back({best.other, static_cast<std::int32_t>(i), best.score});
  }
  std::stable_sort(proposals.begin(), proposals.end(),
                   [](const MinedPair& a, const MinedPair& b) { return a.score > b.score; });
  std::vector<bool> source_taken(forward.means.size());
  std::vector<bool> target_taken(backward.means.size());
  std::vector<MinedPair> pairs;
  for (const MinedPair& proposal : proposals) {
    const auto s = static_cast<std::size_t>(proposal.source);
    const auto t = static_cast<std::size_t>(proposal.target);
    if (source_taken[s] || target_taken[t]) continue;
    source_taken[s] = true;
    target_taken[t] = true;
    if (proposal.score > options.above) pairs.push_back(proposal);
  }
  return pairs;
}

double best_threshold(std::vector<ScoredPair> pairs, const IdPairs& gold) {
  std::stable_sort(pairs.begin(), pairs.end(), [](const ScoredPair& a, const ScoredPair& b) { return a.score > b.score; });
  double threshold = 0;
  double best = 0;
  std::size_t right = 0;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    right += gold.contains({pairs[i].source, pairs[i].target}) ? 1 : 0;
    if (right == 0) continue;
    const double precision = static_cast<double>(right) / static_cast<double>(i + 1);
    const double recall = static_cast<double>(right) / static_cast<double>(gold.size());
    const double f1 = 2 * precision * recall / (precision + recall);
    if (f1 <= best) continue;
    best = f1;
    const float next = i + 1 < pairs.size() ? pairs[i + 1].score : pairs[i].score;
    threshold = (static_cast<double>(pairs[i].score) + static_cast<double>(next)) / 2;
  }
  return threshold;
}

PairScore score_pairs(const IdPairs& gold, const IdPairs& predictions) {
  std::size_t right = 0;
  for (const auto& pair : predictions) right += gold.count(pair);
  if (right == 0) return {};
  const double precision = static_cast<double>(right) / static_cast<double>(predictions.size());
  const double recall = static_cast<double>(right) / static_cast<double>(gold.size());
  return {precision * 100, recall * 100, 2 * precision * recall / (precision + recall) * 100};
}

}  // namespace koine
