#pragma once

// Masked-language modelling on plain text: one line, one example, cut at max_seq_length; masks are drawn by the engine.
//
// Evaluation draws the masks of epoch 0 from a fixed seed, so that the same text gives the same masks for every model. The
// figures, the only ones of any task that are not percentages: "loss" (mean over the masked tokens), "pseudo_perplexity"
// (its exponential), and the headline "negative_loss", of which more is better, as early stopping wants it.

#include <memory>

#include "tasks/common/task.h"

namespace koine {

std::unique_ptr<Task> make_text_task(TaskRow row);

}  // namespace koine
