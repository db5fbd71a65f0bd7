#include "tasks/scorers/mteb_bitext.h"

#include <map>

#include "kernels/common/check.h"

namespace koine {

MtebBitextScore mteb_bitext_score(std::span<const std::int32_t> gold, std::span<const std::int32_t> answers) {
  check(!gold.empty() && gold.size() == answers.size(), "MTEB's score of ", answers.size(), " answers to ", gold.size(),
        " sentences");
  struct Counts {
    double gold = 0;
    double answered = 0;
    double right = 0;
  };
  std::map<std::int32_t, Counts> classes;
  for (std::size_t i = 0; i < gold.size(); ++i) {
    classes[gold[i]].gold += 1;
    classes[answers[i]].answered += 1;
    if (gold[i] == answers[i]) classes[gold[i]].right += 1;
  }
  MtebBitextScore sum;
  for (const auto& [number, counts] : classes) {
    if (counts.right == 0) continue;
    sum.precision += counts.gold * (counts.right / counts.answered);
    sum.accuracy += counts.right;
    sum.f1 += counts.gold * (2 * counts.right / (counts.gold + counts.answered));
  }
  const double scale = 100 / static_cast<double>(gold.size());
  return {sum.precision * scale, sum.accuracy * scale, sum.f1 * scale};
}

}  // namespace koine
