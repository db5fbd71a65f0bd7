#pragma once

// Mining translations among two sets of sentence vectors by the margin criterion (Artetxe and Schwenk 2019), with the rules
// of the BUCC evaluation that XTREME takes over from LASER (third_party/utils_retrieve.py).
//
//   cos(x, y)   inner product of vectors of length 1
//   m(x), m(y)  mean cosine of a sentence's k nearest of the other side
//   score       kAbsolute  cos(x, y)
//               kDistance  cos(x, y) - (m(x) + m(y)) / 2
//               kRatio     cos(x, y) / ((m(x) + m(y)) / 2)
//
// Every sentence of either side proposes, of its k nearest, the one of highest score. Proposals are visited by falling score
// and taken where neither sentence is taken yet. The search is exact and streamed (kernels/topk): memory holds the vectors,
// k neighbours a sentence and a block of scores, never the matrix of products (TwoWayTopKArguments has the figures).
// 2 * source * target * width FLOPs.

#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace koine {

enum class Margin { kAbsolute, kDistance, kRatio };

struct MiningOptions {
  std::int64_t neighbours = 4;  ///< k; of a smaller side, all of it
  Margin margin = Margin::kRatio;
  float above = 0;  ///< only pairs whose score is above this
};

struct MinedPair {
  std::int32_t source = 0;  ///< row numbers
  std::int32_t target = 0;
  float score = 0;
};

/// Rows to length 1, in place; a row of zeros stays.
void normalise_rows(std::span<float> vectors, std::int64_t width);

/// The k nearest of the other side by inner product, for each row of one.
struct Neighbours {
  std::int64_t k = 0;                 ///< of a smaller side, all of it
  std::vector<std::int32_t> indices;  ///< [rows, k] nearest first
  std::vector<float> cosines;         ///< [rows, k]
  std::vector<float> means;           ///< [rows] of the k
};
Neighbours nearest_neighbours(std::span<const float> queries, std::span<const float> candidates, std::int64_t width,
                              std::int64_t k);

/// nearest_neighbours() of both sides, with the same bits, from one product of theirs instead of two.
struct MutualNeighbours {
  Neighbours forward;   ///< of each source, among the targets
  Neighbours backward;  ///< of each target, among the sources
};
MutualNeighbours mutual_neighbours(std::span<const float> source, std::span<const float> target, std::int64_t width,
                                   std::int64_t k);

/// The pairs by falling score; of equal ones a source's proposal first, then the lower number. `source` and `target`: rows
/// of `width` numbers, of length 1, at least one each.
std::vector<MinedPair> mine_bitext(std::span<const float> source, std::span<const float> target, std::int64_t width,
                                   const MiningOptions& options);
/// From neighbours that are known already; options.neighbours is theirs.
std::vector<MinedPair> mine_bitext(const MutualNeighbours& neighbours, const MiningOptions& options);

/// A pair of sentence ids, and how it scored.
struct ScoredPair {
  std::string source;
  std::string target;
  float score = 0;
};
using IdPairs = std::set<std::pair<std::string, std::string>>;

/// The score from which on pairs are taken for translations so that F1 against `gold` is highest: half-way between the last
/// pair taken and the next one (the last pair's own score where none follows; 0 where no pair is right).
double best_threshold(std::vector<ScoredPair> pairs, const IdPairs& gold);

struct PairScore {
  double precision = 0;  ///< in percent
  double recall = 0;
  double f1 = 0;
};
/// Of sets of pairs (XTREME's bucc_f1); all 0 where none is right.
PairScore score_pairs(const IdPairs& gold, const IdPairs& predictions);

}  // namespace koine
