#include "engine/optimizer/factored_moments.h"

#include <algorithm>

#include "kernels/common/check.h"

namespace koine {
namespace {

// Of a factored matrix: min_dim_size_to_factor of t5x and of T5's own gin files
constexpr std::int64_t kLeastSideOfT5 = 128;

bool is_factored(OptimizerKind kind, const ParameterSpec& spec) {
  check(spec.shape.size() <= 2, "parameter ", spec.name,
        " has more than two dimensions, which Adafactor's list cannot name");
  if (spec.shape.size() < 2) return false;
  return kind == OptimizerKind::kAdafactor || std::min(spec.rows(), spec.width()) >= kLeastSideOfT5;
}

std::vector<AdafactorTensor> factored_tensors(OptimizerKind kind, const ParameterTable& table) {
  std::vector<AdafactorTensor> list;
  std::int64_t state = 0;
  for (const ParameterSpec& spec : table.specs()) {
    AdafactorTensor tensor;
    const bool matrix = spec.shape.size() == 2;
    tensor.offset = spec.offset;
    tensor.rows = matrix ? spec.rows() : 1;
    tensor.width = matrix ? spec.width() : spec.count();
    tensor.factored = is_factored(kind, spec) ? 1 : 0;
    tensor.state = state;
    tensor.group = spec.decay ? 1 : 0;
    state += tensor.state_count();
    list.push_back(tensor);
  }
  return list;
}

std::size_t state_bytes(const std::vector<AdafactorTensor>& list) {
  std::int64_t count = 0;
  for (const AdafactorTensor& tensor : list) count += tensor.state_count();
  return static_cast<std::size_t>(count) * sizeof(float);
}

}  // namespace

std::vector<ParameterStore::Footprint> FactoredMoments::footprint(OptimizerKind kind, const ParameterTable& table) {
  return {{"factored moments", state_bytes(factored_tensors(kind, table))}};
}

FactoredMoments::FactoredMoments(OptimizerKind kind, const ParameterTable& table, Device device)
    : table_(table),
      list_(factored_tensors(kind, table)),
      values_(Buffer::zeroed(device, "factored moments", state_bytes(list_))) {}

std::vector<FactoredMoments::Part> FactoredMoments::parts() const {
  std::vector<Part> parts;
  for (int index = 0; index < table_.size(); ++index) {
    const ParameterSpec& spec = table_[index];
    const AdafactorTensor& tensor = list_[static_cast<std::size_t>(index)];
    if (tensor.factored == 0) {
      parts.push_back({"second_moment." + spec.name, spec.shape, tensor.state, tensor.count()});
      continue;
    }
    parts.push_back({"row_second_moment." + spec.name, {tensor.rows}, tensor.state, tensor.rows});
    parts.push_back({"column_second_moment." + spec.name, {tensor.width}, tensor.state + tensor.rows, tensor.width});
  }
  return parts;
}

std::vector<TensorSource> FactoredMoments::tensors() const {
  std::vector<TensorSource> sources;
  for (const Part& part : parts()) {
    const auto read = [this, part](void* to) {
      values_.read(to, static_cast<std::size_t>(part.count) * sizeof(float),
                   static_cast<std::size_t>(part.begin) * sizeof(float));
    };
    sources.push_back({part.name, "F32", part.shape, nullptr, read});
  }
  return sources;
}

void FactoredMoments::read(const SafetensorsFile& file) {
  for (const Part& part : parts()) {
    require(file.entry(part.name).shape == part.shape, file.path().string(), ": tensor ", part.name,
            " has another shape than this model's; resume with the model the run was started with");
    values_.write(file.read_float(part.name).data(), static_cast<std::size_t>(part.count) * sizeof(float),
                  static_cast<std::size_t>(part.begin) * sizeof(float));
  }
}

}  // namespace koine
