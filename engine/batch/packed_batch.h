#pragma once

// A batch as every operation sees it: the tokens of its sequences one after the other, no padding, and where each begins.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/batch/heads.h"
#include "kernels/embedding/embedding.h"

namespace koine {

/// One model input: a sequence of ids with its special tokens, and its label(s) as the head wants them.
struct Example {
  std::vector<std::int32_t> ids;
  /// kSequence(Pooled): {class}. kToken, kMaskedLm: one per token (kMaskedLm: empty, drawn anew each epoch). kSpan: {start,
  /// end}. kChoice: {right choice} on the first sequence of the example, empty on the others. kDualEncoder: {0} on the
  /// query, empty on its candidate. kTextToText: one per token of the target. Empty: unlabelled.
  std::vector<std::int32_t> labels;
  /// Number of this sequence in its data set: names it to dropout and in messages.
  std::uint32_t number = 0;
  /// What a decoder reads; empty: there is none. The labels are then those of this list.
  std::vector<std::int32_t> target_ids = {};

  std::int64_t tokens() const { return std::ssize(ids) + std::ssize(target_ids); }
};

/// Gives an example the text it is to be answered with, its end included (teacher forcing): labels are the text, and what the
/// decoder reads is `start` and all of the text but its last token, pad for kIgnoredLabel. UserError for an empty text.
void set_target(Example& example, std::vector<std::int32_t> text, std::int32_t start, std::int32_t pad);

/// All model inputs of one split of one task in one language.
struct Dataset {
  std::string name;  ///< "mnli train en": for messages
  HeadKind head = HeadKind::kSequence;
  std::int32_t classes = 0;
  std::int32_t group = 1;  ///< consecutive sequences that form one example (kChoice: the number of choices; kDualEncoder:
                           ///< kPair), kept together
  std::vector<Example> examples;

  std::int64_t groups() const { return static_cast<std::int64_t>(examples.size()) / group; }
};

/// Sequences of tokens, one after the other.
struct PackedSequences {
  std::int64_t tokens = 0;
  std::int64_t sequences = 0;
  std::int64_t maximum_length = 0;
  std::vector<std::int32_t> ids;                       ///< [tokens]
  std::vector<std::int32_t> positions;                 ///< [tokens] place within the sequence, from 0
  std::vector<std::uint32_t> token_examples;           ///< [tokens] Example::number of the token's sequence
  std::vector<std::uint32_t> sequence_examples;        ///< [sequences] Example::number
  std::vector<std::int32_t> cumulative_lengths = {0};  ///< [sequences + 1]

  // Tokens grouped by word id and by position, for the ordered gradient of the embeddings (TokenOrder).
  struct Order {
    std::vector<std::int32_t> keys;
    std::vector<std::int32_t> starts;
    std::vector<std::int32_t> tokens;
    TokenOrder view() const { return {static_cast<std::int64_t>(keys.size()), keys.data(), starts.data(), tokens.data()}; }
  };
  Order by_id;
  Order by_position;

  void add(std::span<const std::int32_t> sequence, std::uint32_t number);
  /// Rebuilds by_id and by_position after ids have changed.
  void rebuild_orders();
};

struct PackedBatch {
  HeadKind head_kind = HeadKind::kSequence;
  std::int32_t head = 0;   ///< which head of the model
  std::int32_t group = 1;  ///< sequences per example (kChoice)
  PackedSequences source;  ///< what the model reads
  PackedSequences target;  ///< what a decoder reads, as many sequences as the source; without any: there is no decoder
  /// kSequence(Pooled): [sequences]. kToken, kMaskedLm: [tokens]. kSpan: [2 * sequences], all starts, then all ends.
  /// kChoice, kDualEncoder: [sequences / group]. Empty: unlabelled, for prediction. Of the list the head stands on.
  std::vector<std::int32_t> labels;
  /// kMaskedLm: the tokens whose labels count, ascending, and those labels.
  std::vector<std::int32_t> counted_tokens;
  std::vector<std::int32_t> counted_token_labels;
  std::int64_t counted_labels = 0;  ///< labels that count: for kSpan sequences; else labels that are not kIgnoredLabel

  /// The list whose tokens have the hidden states that heads read: the target where there is one.
  const PackedSequences& under_head() const { return target.sequences > 0 ? target : source; }
  /// Of both lists.
  std::int64_t tokens() const { return source.tokens + target.tokens; }
};

/// Packs examples in the order given. Throws Error for an empty list, an empty sequence, labels that do not fit the head, or
/// where some examples have a target and others none.
PackedBatch pack(std::span<const Example* const> examples, HeadKind head, std::int32_t group = 1);

/// Packs rows of a padded [sequences, width] matrix, dropping every `pad_id`: the same batch as pack() of the sequences
/// without their padding.
PackedBatch pack_padded(std::span<const std::int32_t> ids, std::int64_t sequences, std::int64_t width, std::int32_t pad_id);

/// Counts the labels anew, and lists the tokens of a kMaskedLm batch that have one, after labels have changed.
void recount_labels(PackedBatch& batch);

}  // namespace koine
