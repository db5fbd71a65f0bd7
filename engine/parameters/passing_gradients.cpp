#include "engine/parameters/passing_gradients.h"

#include <algorithm>

#include "kernels/optimizer/gradient_norm.h"

namespace koine {
namespace {

std::int64_t end_of(const ParameterTable& table, int index) {
  return index + 1 < table.size() ? table[index + 1].offset : table.elements();
}

/// Runs of neighbours of one stage, those that collect each alone; not placed yet.
std::vector<PassingRun> runs_of(const ParameterTable& table) {
  std::vector<PassingRun> runs;
  const std::vector<int> stages = table.stage_ends();
  int stage = 0;
  for (int index = 0; index < table.size(); ++index) {
    if (index == stages[static_cast<std::size_t>(stage)]) ++stage;
    const bool alone = table[index].collects || (index > 0 && table[index - 1].collects);
    if (runs.empty() || runs.back().stage != stage || alone)
      runs.push_back({index, index, table[index].offset, table[index].offset, 0, stage});
    runs.back().last = index + 1;
    runs.back().end = end_of(table, index);
  }
  return runs;
}

std::int64_t norm_cell_at(const ParameterTable& table, Device device, std::int64_t element) {
  for (const ParameterSpec& spec : table.specs()) {
    if (element < spec.offset || element >= spec.offset + spec.count()) continue;
    return spec.offset + next_norm_cell(device, spec.lazy_rows, spec.rows(), spec.width(), element - spec.offset);
  }
  return element;
}

}  // namespace

PassingGradients plan_passing_gradients(const ParameterTable& table) {
  PassingGradients plan;
  plan.runs = runs_of(table);
  const auto collects = [&](const PassingRun& run) { return table[run.first].collects; };
  std::vector<std::int64_t> sizes(table.stage_ends().size() + 1);
  std::int64_t collected = 0;
  for (PassingRun& run : plan.runs) {
    std::int64_t& size = collects(run) ? collected : sizes[static_cast<std::size_t>(run.stage)];
    run.place = size;
    size += run.count();
  }
  std::int64_t two = 0;
  for (std::size_t stage = 1; stage < sizes.size(); ++stage) two = std::max(two, sizes[stage - 1] + sizes[stage]);
  plan.elements = collected + two;
  // Even stages from the front, odd ones up to the end.
  for (PassingRun& run : plan.runs) {
    if (collects(run)) continue;
    run.place += run.stage % 2 == 0 ? collected : plan.elements - sizes[static_cast<std::size_t>(run.stage)];
  }
  return plan;
}

ElementRange norm_cells_from(const ParameterTable& table, Device device, const ElementRange& range) {
  return {norm_cell_at(table, device, range.begin), norm_cell_at(table, device, range.end)};
}

ElementRange kept_gradients(const ParameterTable& table, Device device, const ElementRange& range) {
  return {range.begin, std::max(range.end, norm_cells_from(table, device, range).end)};
}

}  // namespace koine
