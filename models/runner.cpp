#include "models/runner.h"

#include <algorithm>

namespace koine {

void require_known_tokens(const PackedSequences& list, std::int64_t vocabulary) {
  const auto unknown = [&](std::int32_t id) { return id < 0 || id >= vocabulary; };
  const auto wrong = std::find_if(list.ids.begin(), list.ids.end(), unknown);
  if (wrong == list.ids.end()) return;
  fail_user("token id ", *wrong, " is outside the model's vocabulary of ", vocabulary,
            ": the tokenizer does not belong to this model");
}

Dropout training_dropout(const BatchView& batch, const StepIdentity& step) {
  Dropout identity;
  identity.rate = 1;
  identity.seed = step.seed;
  identity.step = step.step;
  identity.step_from = batch.step_from;
  return identity;
}

}  // namespace koine
