#include "engine/optimizer/adamw_rms_rule.h"

#include <utility>
#include <vector>

#include "kernels/optimizer/adamw_rms.h"

namespace koine {
namespace {

std::vector<FlatSegment> every_parameter(const ParameterTable& table) {
  std::vector<FlatSegment> list;
  for (const ParameterSpec& spec : table.specs()) list.push_back({spec.offset, 1, spec.count(), 0, spec.decay ? 1 : 0});
  return list;
}

}  // namespace

AdamWRmsRule::AdamWRmsRule(ParameterStore& store, const TrainingSettings& settings)
    : store_(store),
      settings_(settings),
      moments_(store.table(), store.device()),
      update_(every_parameter(store.table()), store.device()) {}

StepScalars AdamWRmsRule::scalars(std::int64_t step, double learning_rate) const {
  StepScalars scalars;
  for (const bool decay : {false, true}) {
    scalars.adamw[decay ? 1 : 0] = adamw_rms_step(step, learning_rate, settings_.adam_beta1, settings_.adam_beta2,
                                                  settings_.adam_epsilon, decay ? settings_.weight_decay : 0.0);
  }
  return scalars;
}

void AdamWRmsRule::launch(const Context& context, const StepScalars* scalars, const float* gradient_factor) {
  AdamWRmsArguments arguments;
  arguments.elements = update_.elements;
  arguments.segments = update_.segments;
  arguments.pieces = update_.pieces;
  arguments.segment_list = update_.list.as<FlatSegment>();
  arguments.parameter = store_.master(0);
  arguments.gradient = store_.gradient(0);  // of the flat buffer too: parameter 0 lies at its beginning
  arguments.first_moment = moments_.first().as<float>();
  arguments.second_moment = moments_.second().as<float>();
  arguments.working = store_.working_bfloat16(0);
  arguments.steps = scalars->adamw;
  arguments.gradient_factor = gradient_factor;
  adamw_rms(context, arguments);
}

}  // namespace koine
