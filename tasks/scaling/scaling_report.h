#pragma once

// Scaling studies as tables, JSON and plots.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tasks/scaling/measure.h"
#include "tasks/scaling/step.h"

namespace koine {

/// What `koine scale --simulate` found.
struct SimulatedScaling {
  std::string model;
  Machine machine;
  ModelWork work;
  ExchangeOptions options;
  std::vector<ScalingRow> weak;
  std::vector<ScalingRow> strong;
};

/// Rows of text, the first the heading.
std::vector<std::vector<std::string>> scaling_rows(const std::vector<ScalingRow>& rows);
std::vector<std::vector<std::string>> measured_rows(const MeasuredScaling& scaling);
std::vector<std::vector<std::string>> fit_rows(const MeasuredScaling& scaling);

/// With every parameter of the machine, so that the figures can be made again.
nlohmann::json to_json(const SimulatedScaling& scaling);
nlohmann::json to_json(const MeasuredScaling& scaling);

/// Efficiency over the number of devices, marked as simulated.
std::string scaling_svg(const SimulatedScaling& scaling);
/// Efficiency measured and predicted, over the number of ranks.
std::string scaling_svg(const MeasuredScaling& scaling);

}  // namespace koine
