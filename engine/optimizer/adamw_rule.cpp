#include "engine/optimizer/adamw_rule.h"

#include <utility>
#include <vector>

namespace koine {
namespace {

// What lies between neighbours is zero in weights, gradients and moments, and AdamW leaves it so: epsilon is above zero.
std::vector<FlatSegment> neighbours_updated_alike(const ParameterStore& store, int lazy_table) {
  const ParameterTable& table = store.table();
  std::vector<FlatSegment> list;
  bool extend = false;
  for (int index = 0; index < table.size(); ++index) {
    const ParameterSpec& spec = table[index];
    if (index == lazy_table) {
      extend = false;
      continue;
    }
    const std::int64_t group = spec.decay ? 1 : 0;
    const bool apart = store.apart(index) >= 0;
    if (!extend || list.back().group != group || (list.back().apart >= 0) != apart)
      list.push_back({spec.offset, 1, 0, 0, group, store.apart(index)});
    list.back().width = spec.offset + spec.count() - list.back().offset;
    extend = true;
  }
  return list;
}

}  // namespace

AdamWRule::AdamWRule(ParameterStore& store, const TrainingSettings& settings, int lazy_table)
    : store_(store),
      settings_(settings),
      moments_(store.table(), store.device(), store.shards()),
      update_(neighbours_updated_alike(store, lazy_table), store.device()) {}

StepScalars AdamWRule::scalars(std::int64_t step, double learning_rate) const {
  return adamw_scalars(settings_, step, learning_rate);
}

void AdamWRule::launch(const Context& context, const StepScalars* scalars, const float* gradient_factor) {
  AdamWSegmentsArguments arguments;
  arguments.elements = update_.elements;
  arguments.segments = update_.segments;
  arguments.pieces = update_.pieces;
  arguments.segment_list = update_.list.as<FlatSegment>();
  arguments.parameter = store_.flat_master();
  arguments.gradient = store_.flat_gradient();
  arguments.range = moments_.range();
  arguments.state_type = moments_.type();
  arguments.first_moment = moments_.first().data();
  arguments.second_moment = moments_.second().data();
  arguments.working = store_.working_bfloat16(0);
  arguments.master = masters_of_step(store_, settings_, scalars);
  arguments.steps = scalars->adamw;
  arguments.gradient_factor = gradient_factor;
  adamw_segments(context, arguments);
}

}  // namespace koine
