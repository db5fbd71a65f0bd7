#include "engine/batch/heads.h"

#include <algorithm>
#include <array>

#include "kernels/common/check.h"

namespace koine {
namespace {

constexpr std::array<HeadFacts, 8> kHeads = {{
    {HeadKind::kMaskedLm, "masked-lm", LabelPlace::kToken, LogitsPlace::kCountedToken, ClassesFrom::kVocabulary, 0},
    {HeadKind::kSequence, "sequence", LabelPlace::kSequence, LogitsPlace::kSequence, ClassesFrom::kLabels, 0},
    {HeadKind::kSequencePooled, "sequence-pooled", LabelPlace::kSequence, LogitsPlace::kSequence, ClassesFrom::kLabels, 0},
    {HeadKind::kToken, "token", LabelPlace::kToken, LogitsPlace::kToken, ClassesFrom::kLabels, 0},
    {HeadKind::kSpan, "span", LabelPlace::kSpan, LogitsPlace::kToken, ClassesFrom::kHead, 2},
    {HeadKind::kChoice, "choice", LabelPlace::kGroup, LogitsPlace::kSequence, ClassesFrom::kHead, 1},
    {HeadKind::kTextToText, "text-to-text", LabelPlace::kToken, LogitsPlace::kToken, ClassesFrom::kVocabulary, 0, false,
     true},
    {HeadKind::kDualEncoder, "dual-encoder", LabelPlace::kOwnGroup, LogitsPlace::kSequence, ClassesFrom::kHead, 1, true},
}};

}  // namespace

std::span<const HeadFacts> all_heads() { return kHeads; }

const HeadFacts& facts_of(HeadKind kind) {
  const auto* const row =
      std::find_if(kHeads.begin(), kHeads.end(), [kind](const HeadFacts& facts) { return facts.kind == kind; });
  check(row != kHeads.end(), "unknown kind of head");
  return *row;
}

std::int32_t HeadFacts::classes(std::int64_t labels_of_task, std::int64_t vocabulary) const {
  if (classes_from == ClassesFrom::kHead) return own_classes;
  return static_cast<std::int32_t>(classes_from == ClassesFrom::kVocabulary ? vocabulary : labels_of_task);
}

std::int64_t HeadFacts::labels_of(std::int64_t tokens, bool first_of_group) const {
  switch (labels) {
    case LabelPlace::kSequence:
      return 1;
    case LabelPlace::kToken:
      return tokens;
    case LabelPlace::kSpan:
      return 2;
    case LabelPlace::kGroup:
    case LabelPlace::kOwnGroup:
      return first_of_group ? 1 : 0;
  }
  throw Error("unknown place of labels");
}

std::int64_t HeadFacts::labels_of_batch(std::int64_t tokens, std::int64_t sequences, std::int64_t group) const {
  switch (labels) {
    case LabelPlace::kSequence:
      return sequences;
    case LabelPlace::kToken:
      return tokens;
    case LabelPlace::kSpan:
      return 2 * sequences;
    case LabelPlace::kGroup:
    case LabelPlace::kOwnGroup:
      return sequences / group;
  }
  throw Error("unknown place of labels");
}

std::int64_t HeadFacts::logits_rows(std::int64_t tokens, std::int64_t sequences, std::int64_t counted_labels) const {
  if (logits == LogitsPlace::kSequence) return sequences;
  return logits == LogitsPlace::kToken ? tokens : counted_labels;
}

}  // namespace koine
