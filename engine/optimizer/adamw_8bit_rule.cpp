#include "engine/optimizer/adamw_8bit_rule.h"

#include <array>
#include <iterator>
#include <vector>

#include "kernels/common/check.h"

namespace koine {

AdamW8BitRule::AdamW8BitRule(ParameterStore& store, const TrainingSettings& settings, int lazy_table)
    : store_(store), settings_(settings), moments_(store.table(), store.device(), store.shards()) {
  std::vector<CodedTensor> list = moments_.list();
  for (int index = 0; index < store.table().size(); ++index) {
    CodedTensor& tensor = list[static_cast<std::size_t>(index)];
    if (store.apart(index) >= 0) tensor.apart = store.apart(index) + tensor.offset - store.table()[index].offset;
  }
  if (lazy_table >= 0) list.erase(list.begin() + lazy_table);
  for (const CodedTensor& tensor : list) sizes_.elements += tensor.count;
  std::erase_if(list, [](const CodedTensor& tensor) { return tensor.count == 0; });  // other ranks'
  sizes_.tensors = std::ssize(list);
  sizes_.pieces = number_coded_pieces(list);
  list_ = Buffer(store.device(), "list of parameters", list.size() * sizeof(CodedTensor));
  list_.write(list.data(), list.size() * sizeof(CodedTensor));
  const std::array<std::array<float, 256>, 2> maps = {dynamic_map(true), dynamic_map(false)};
  maps_ = Buffer(store.device(), "what codes of moments stand for", sizeof maps);
  maps_.write(maps.data(), sizeof maps);
}

RowMoments AdamW8BitRule::row_moments(int index) const {
  const CodedTensor& tensor = moments_.list()[static_cast<std::size_t>(index)];
  check(tensor.coded == 0, "parameter ", store_.table()[index].name, " has coded moments, which have no rows");
  return {moments_.first().as<float>() + tensor.state, moments_.second().as<float>() + tensor.state};
}

StepScalars AdamW8BitRule::scalars(std::int64_t step, double learning_rate) const {
  return adamw_scalars(settings_, step, learning_rate);
}

void AdamW8BitRule::launch(const Context& context, const StepScalars* scalars, const float* gradient_factor) {
  AdamW8BitArguments arguments = sizes_;
  arguments.tensor_list = list_.as<CodedTensor>();
  arguments.parameter = store_.flat_master();
  arguments.gradient = store_.flat_gradient();
  arguments.first_codes = moments_.first_codes().as<std::uint8_t>();
  arguments.second_codes = moments_.second_codes().as<std::uint8_t>();
  arguments.first_scales = moments_.first_scales().as<float>();
  arguments.second_scales = moments_.second_scales().as<float>();
  arguments.first_moment = moments_.first().as<float>();
  arguments.second_moment = moments_.second().as<float>();
  arguments.first_map = maps_.as<float>();
  arguments.second_map = maps_.as<float>() + 256;
  arguments.working = store_.working_bfloat16(0);
  arguments.master = masters_of_step(store_, settings_, scalars);
  arguments.steps = scalars->adamw;
  arguments.gradient_factor = gradient_factor;
  adamw_8bit(context, arguments);
}

}  // namespace koine
