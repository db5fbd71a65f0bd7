#pragma once

// MTEB's score of bitext mining (mteb/abstasks/text/bitext_mining.py): each sentence of one side is answered with its nearest
// of the other by cosine, without margin, threshold or mutual agreement, and the numbers of the answers are scored as classes
// by scikit-learn's precision_recall_fscore_support(average="weighted", zero_division=0):
//
//   of a class c:  P = right / answered,  R = right / gold,  F1 = 2 P R / (P + R);  0 where nothing is right
//   weighted:      sum over classes of (share of c among the gold) * (P, R or F1 of c)
//
// The weighted recall is the accuracy. Beside it stands XTREME's score of the same data, which is another: Tatoeba's accuracy
// of the other direction (families/retrieval.h), BUCC's F1 of pairs above a threshold (bitext_mining.h).

#include <cstdint>
#include <span>

namespace koine {

struct MtebBitextScore {
  double precision = 0;  ///< in percent
  double accuracy = 0;
  double f1 = 0;
};

/// `gold`, `answers`: of each sentence in turn the number of the right one, and of the nearest. Not empty, of equal length.
MtebBitextScore mteb_bitext_score(std::span<const std::int32_t> gold, std::span<const std::int32_t> answers);

}  // namespace koine
