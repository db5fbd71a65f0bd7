#pragma once

// MEXA (arXiv 2410.05873; cisnlp/MEXA, compute_mexa.py): how well one hidden state aligns a language with English. Of n
// translated sentences, the share whose cosine with their own translation is above that with every other sentence, looked at
// from either side:
//
//   MEXA = |{i : C[i][i] > max over j != i of C[i][j],  C[i][i] > max over j != i of C[j][i]}| / n
//
// Over layers its authors take the mean or the largest. Their vectors are means of the tokens weighted by position (or the
// last token's), and n is 100: with more sentences to be confused with, fewer stand out.

#include <cstdint>
#include <span>

namespace koine {

/// In percent. Row i of either side, `width` numbers, is the translation of row i of the other; at least 2 rows. A row of
/// zeros is near nothing. n * n * width multiplications in double.
double mexa_percent(std::span<const float> english, std::span<const float> foreign, std::int64_t width);

}  // namespace koine
