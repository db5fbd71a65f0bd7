#pragma once

// The kinds of heads, and what batches, tasks and trainings have to know of each. What a head computes is in models/heads/.

#include <cstdint>
#include <span>
#include <string_view>

namespace koine {

/// What a head reads and what its labels are.
///   kMaskedLm        logits over the vocabulary at the counted tokens; labels per token, kIgnoredLabel elsewhere
///   kSequence        the family's own classifier on the first token; one label per sequence
///   kSequencePooled  a classifier on the pooler's output (jiant); one label per sequence
///   kToken           classifier on every token; labels per token, kIgnoredLabel where not counted
///   kSpan            start and end logits per token; labels start and end token index within the sequence
///   kChoice          one score per sequence, softmax over the consecutive sequences of an example; labels one per example
///   kDualEncoder     a vector per sequence; examples are pairs of sequences, a query and its candidate, and every query chooses
///                    among the candidates of its batch; labels one per pair
///   kTextToText      logits over the vocabulary at every token of the target; labels per token of the target, the next one
enum class HeadKind { kMaskedLm, kSequence, kSequencePooled, kToken, kSpan, kChoice, kDualEncoder, kTextToText };

/// Sequences of an example of a dual encoder: the query, and behind it its candidate.
inline constexpr std::int32_t kPair = 2;

/// What has a label.
enum class LabelPlace {
  kSequence,  ///< every sequence one
  kToken,     ///< every token one, or kIgnoredLabel
  kSpan,      ///< every sequence two: the tokens where a span starts and ends
  kGroup,     ///< the consecutive sequences of an example together one, which the first of them carries
  kOwnGroup,  ///< the same, but that every example's label is its own place among those of its batch, which packing counts
};

/// What has a row of logits.
enum class LogitsPlace { kSequence, kToken, kCountedToken };

/// How many classes: those of the task's labels, the vocabulary, or a number of the head's own.
enum class ClassesFrom { kLabels, kVocabulary, kHead };

struct HeadFacts {
  HeadKind kind = HeadKind::kSequence;
  std::string_view name;  ///< as commands call it
  LabelPlace labels = LabelPlace::kSequence;
  LogitsPlace logits = LogitsPlace::kSequence;
  ClassesFrom classes_from = ClassesFrom::kLabels;
  std::int32_t own_classes = 0;  ///< kHead
  bool in_batch = false;         ///< examples of a batch compete, so that none may be added to a batch or taken from it
  bool of_target = false;        ///< stands on a decoder: examples have targets

  std::int32_t classes(std::int64_t labels_of_task, std::int64_t vocabulary) const;
  /// Labels of a sequence of `tokens` tokens where it is labelled.
  std::int64_t labels_of(std::int64_t tokens, bool first_of_group) const;
  /// Labels of a whole batch where it is labelled.
  std::int64_t labels_of_batch(std::int64_t tokens, std::int64_t sequences, std::int64_t group) const;
  std::int64_t logits_rows(std::int64_t tokens, std::int64_t sequences, std::int64_t counted_labels) const;
};

/// All heads there are.
std::span<const HeadFacts> all_heads();
const HeadFacts& facts_of(HeadKind kind);

}  // namespace koine
