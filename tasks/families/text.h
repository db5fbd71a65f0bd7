#pragma once

// Masked-language modelling on plain text: one line, one example, cut at max_seq_length (as jiant's mlm_simple), or packed;
// masks are drawn by the engine.
//
// Evaluation draws the masks of epoch 0 from a fixed seed, so that the same text gives the same masks for every model. The
// figures, the only ones of any task that are not percentages: "loss" (mean over the masked tokens), "pseudo_perplexity"
// (its exponential), and the headline "negative_loss", of which more is better, as early stopping wants it.
//
// For models that answer with texts the task is span corruption (engine/batch/span_corruption.h), with the same figures over the
// tokens of the targets. Lines of less than two pieces are left out: nothing would be left beside what is taken out.

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/batch/span_corruption.h"
#include "tasks/common/task.h"

namespace koine {

std::unique_ptr<Task> make_text_task(TaskRow row);

/// Span corruption with a tokenizer's sentinels. UserError where it has none.
SpanCorruption span_corruption_of(const Tokenizer& tokenizer, double density, std::uint32_t seed);

/// How long sequences of single texts may be (max_seq_length, end included) so that their sources are no longer than
/// features.max_seq_length with their spans taken out.
std::int64_t length_before_corruption(const Tokenizer& tokenizer, const FeatureOptions& features);

/// Makes sequences of single texts (text_length) sources and targets of span corruption, as epoch 0 draws them, numbered anew.
void corrupt_dataset(Dataset& dataset, const Tokenizer& tokenizer, const FeatureOptions& features);

/// Lines of ids as sequences of at most `maximum_length` ids, special ones included, all of them full but the last: RoBERTa's
/// FULL-SENTENCES (Liu et al., arXiv 1907.11692, section 4.2), an `end` between one line and the next, a line going on in the
/// next sequence where one is full. No id is left out; empty lines are.
std::vector<std::vector<std::int32_t>> pack_lines(const std::vector<std::vector<std::int32_t>>& lines,
                                                  const SpecialTokens& special, std::int64_t maximum_length);

}  // namespace koine
