#include "engine/optimizer/update_rule.h"

#include <iterator>
#include <utility>

#include "engine/optimizer/adafactor_rule.h"
#include "engine/optimizer/adamw_8bit_rule.h"
#include "engine/optimizer/adamw_rms_rule.h"
#include "engine/optimizer/adamw_rule.h"
#include "kernels/common/check.h"

namespace koine {

SegmentList::SegmentList(std::vector<FlatSegment> from, Device device)
    : segments(std::ssize(from)),
      pieces(number_pieces(from)),
      list(device, "list of parameters", from.size() * sizeof(FlatSegment)) {
  for (const FlatSegment& segment : from) elements += segment.count();
  list.write(from.data(), from.size() * sizeof(FlatSegment));
}

StepScalars adamw_scalars(const TrainingSettings& settings, std::int64_t step, double learning_rate) {
  StepScalars scalars;
  for (const bool decay : {false, true}) {
    scalars.adamw[decay ? 1 : 0] = adamw_step(step, learning_rate, settings.adam_beta1, settings.adam_beta2,
                                              settings.adam_epsilon, decay ? settings.weight_decay : 0.0);
  }
  return scalars;
}

MasterWeights masters_of_step(const ParameterStore& store, const TrainingSettings& settings, const StepScalars* scalars) {
  MasterWeights masters = store.masters();
  masters.seed = settings.seed;
  masters.step = &scalars->number;
  return masters;
}

std::unique_ptr<UpdateRule> make_update_rule(ParameterStore& store, const TrainingSettings& settings, int lazy_table) {
  switch (settings.optimizer) {
    case OptimizerKind::kAdamW:
      return std::make_unique<AdamWRule>(store, settings, lazy_table);
    case OptimizerKind::kAdafactorT5:
    case OptimizerKind::kAdafactor:
      return std::make_unique<AdafactorRule>(store, settings);
    case OptimizerKind::kAdamWRms:
      return std::make_unique<AdamWRmsRule>(store, settings);
    case OptimizerKind::kAdamW8Bit:
      return std::make_unique<AdamW8BitRule>(store, settings, lazy_table);
  }
  throw Error("unknown optimizer");
}

bool has_lazy_rows(OptimizerKind kind) { return kind == OptimizerKind::kAdamW || kind == OptimizerKind::kAdamW8Bit; }

std::vector<ParameterStore::Footprint> optimizer_footprint(OptimizerKind kind, const ParameterTable& table, int ranks) {
  check(ranks == 1 || has_lazy_rows(kind), "the state of this optimizer is not shared out");
  switch (kind) {
    case OptimizerKind::kAdamW:
    case OptimizerKind::kAdamWRms:
      return Moments::footprint(table, ranks);
    case OptimizerKind::kAdafactorT5:
    case OptimizerKind::kAdafactor:
      return FactoredMoments::footprint(kind, table);
    case OptimizerKind::kAdamW8Bit:
      return CodedMoments::footprint(table, ranks);
  }
  throw Error("unknown optimizer");
}

}  // namespace koine
