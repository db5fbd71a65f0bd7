#include "engine/optimizer/adafactor_rule.h"

#include <vector>

namespace koine {

AdafactorRule::AdafactorRule(ParameterStore& store, const TrainingSettings& settings)
    : store_(store), settings_(settings), moments_(settings.optimizer, store.table(), store.device()) {
  std::vector<AdafactorTensor> list = moments_.list();
  sizes_ = number_tiles(list);
  const std::size_t bytes = list.size() * sizeof(AdafactorTensor);
  list_ = Buffer(store.device(), "list of parameters", bytes);
  list_.write(list.data(), bytes);
}

StepScalars AdafactorRule::scalars(std::int64_t step, double learning_rate) const {
  StepScalars scalars;
  const std::int64_t counted = step + settings_.adafactor_step_offset;
  scalars.adafactor[0] = adafactor_step(counted, learning_rate, 0);
  scalars.adafactor[1] = adafactor_step(counted, learning_rate, settings_.weight_decay);
  return scalars;
}

void AdafactorRule::launch(const Context& context, const StepScalars* scalars, const float* gradient_factor) {
  AdafactorArguments arguments;
  arguments.sizes = sizes_;
  arguments.tensor_list = list_.as<AdafactorTensor>();
  arguments.parameter = store_.master(0);
  arguments.gradient = store_.gradient(0);  // of the flat buffer too: parameter 0 lies at its beginning
  arguments.state = moments_.values();
  arguments.working = store_.working_bfloat16(0);
  arguments.steps = scalars->adafactor;
  arguments.clip_threshold = static_cast<float>(settings_.adafactor_clip_threshold);
  arguments.scale_parameter = settings_.optimizer == OptimizerKind::kAdafactorT5 || settings_.adafactor_scale_parameter;
  arguments.gradient_factor = gradient_factor;
  adafactor(context, arguments);
}

}  // namespace koine
