#include "tasks/scaling/scaling_report.h"

#include <cmath>
#include <limits>

#include "kernels/common/check.h"
#include "tasks/report/svg.h"

namespace koine {
namespace {

using Rows = std::vector<std::vector<std::string>>;

constexpr double kMilli = 1e3;  ///< milliseconds of a second

std::string milliseconds(double seconds) { return format_decimal(kMilli * seconds, 2); }
std::string percent(double share) { return format_decimal(100 * share, 1) + " %"; }
std::string megabytes(double bytes) { return format_decimal(bytes / 1e6, 1); }

nlohmann::json level_json(const LinkLevel& level) {
  return {{"bytes_per_second", level.rate}, {"ring_step_seconds", level.ring_step}, {"tree_step_seconds", level.tree_step}};
}

nlohmann::json machine_json(const Machine& machine) {
  return {{"name", machine.name},
          {"devices_per_node", machine.devices_per_node},
          {"node", level_json(machine.node)},
          {"network", level_json(machine.network)},
          {"base_seconds", machine.base},
          {"tree_share", machine.tree_share},
          {"pat_share", machine.pat_share},
          {"multicast_bytes_per_second", machine.multicast_rate},
          {"multicast_seconds", machine.multicast_latency},
          {"product_flops_per_second", machine.product_rate},
          {"memory_bytes_per_second", machine.memory_rate},
          {"slowdown", machine.slowdown},
          {"jitter", machine.jitter}};
}

nlohmann::json time_json(const StepTime& time) {
  return {{"seconds", time.seconds},         {"compute_seconds", time.compute},
          {"slowed_seconds", time.slowed},   {"communication_seconds", time.communication},
          {"exposed_seconds", time.exposed}, {"waiting_seconds", time.waiting},
          {"bytes_sent", time.bytes},        {"network_bytes_sent", time.network_bytes}};
}

nlohmann::json rows_json(const std::vector<ScalingRow>& rows) {
  nlohmann::json list = nlohmann::json::array();
  for (const ScalingRow& row : rows) {
    nlohmann::json one = time_json(row.time);
    one["devices"] = row.devices;
    one["tokens_per_device"] = row.tokens;
    one["efficiency"] = row.efficiency;
    list.push_back(one);
  }
  return list;
}

PlotLine efficiency_line(const std::string& name, const std::vector<ScalingRow>& rows) {
  PlotLine line{name, {}};
  for (const ScalingRow& row : rows)
    line.points.push_back({std::log2(static_cast<double>(row.devices)), {100 * row.efficiency}});
  return line;
}

LineChart efficiency_chart(const std::string& title, const std::string& what) {
  LineChart chart;
  chart.title = title;
  chart.x_label = concatenate("log2 of the number of ", what);
  chart.y_label = "efficiency, %";
  return chart;
}

}  // namespace

Rows scaling_rows(const std::vector<ScalingRow>& rows) {
  Rows table = {{"devices", "tokens each", "step ms", "efficiency", "compute ms", "communication ms", "exposed ms",
                 "MB sent", "MB between nodes"}};
  for (const ScalingRow& row : rows) {
    const StepTime& time = row.time;
    table.push_back({std::to_string(row.devices), std::to_string(row.tokens), milliseconds(time.seconds),
                     percent(row.efficiency), milliseconds(time.compute), milliseconds(time.communication),
                     milliseconds(time.exposed), megabytes(time.bytes), megabytes(time.network_bytes)});
  }
  return table;
}

Rows measured_rows(const MeasuredScaling& scaling) {
  Rows table = {{"scaling", "ranks", "tokens each", "step ms", "predicted ms", "error", "exposed ms", "predicted ms",
                 "efficiency", "predicted", "MB sent"}};
  for (const PredictedStep& step : scaling.steps) {
    table.push_back({step.strong ? "strong" : "weak", std::to_string(step.ranks), std::to_string(step.measured.tokens),
                     milliseconds(step.measured.seconds), milliseconds(step.predicted.seconds), percent(step.error()),
                     milliseconds(std::max(0.0, step.measured.seconds - step.measured.compute)),
                     milliseconds(step.predicted.exposed), percent(step.efficiency), percent(step.predicted_efficiency),
                     megabytes(step.predicted.bytes)});
  }
  return table;
}

Rows fit_rows(const MeasuredScaling& scaling) {
  Rows table = {{"ranks", "latency of a ring's step us", "rate GB/s", "median error of the fit"}};
  for (std::size_t i = 0; i < scaling.fits.size(); ++i) {
    if (scaling.measurements[i].ranks == 1) continue;
    const LinkFit& fit = scaling.fits[i];
    table.push_back({std::to_string(scaling.measurements[i].ranks), format_decimal(1e6 * fit.step, 1),
                     format_decimal(fit.rate / 1e9, 2), percent(fit.error)});
  }
  return table;
}

nlohmann::json to_json(const SimulatedScaling& scaling) {
  return {{"simulated", true},
          {"model", scaling.model},
          {"machine", machine_json(scaling.machine)},
          {"flops_per_second", scaling.work.rate},
          {"length", scaling.work.length},
          {"micro_batch_tokens", scaling.work.micro_tokens},
          {"gradient_bytes", scaling.work.gradient_bytes},
          {"bucket_elements", scaling.work.bucket_elements},
          {"algorithm", name_of(scaling.options.algorithm)},
          {"overlap", scaling.options.overlap},
          {"sharded", scaling.options.sharded},
          {"weak", rows_json(scaling.weak)},
          {"strong", rows_json(scaling.strong)}};
}

nlohmann::json to_json(const MeasuredScaling& scaling) {
  nlohmann::json json = {{"simulated", false}};
  for (std::size_t i = 0; i < scaling.measurements.size(); ++i) {
    nlohmann::json one = to_json(scaling.measurements[i]);
    if (scaling.measurements[i].ranks > 1) {
      const LinkFit& fit = scaling.fits[i];
      one["fit"] = {{"step_seconds", fit.step}, {"bytes_per_second", fit.rate}, {"median_error", fit.error}};
    }
    json["measurements"].push_back(one);
  }
  for (const PredictedStep& step : scaling.steps) {
    json["steps"].push_back({{"scaling", step.strong ? "strong" : "weak"},
                             {"ranks", step.ranks},
                             {"tokens_per_rank", step.measured.tokens},
                             {"seconds", step.measured.seconds},
                             {"compute_seconds", step.measured.compute},
                             {"efficiency", step.efficiency},
                             {"predicted", time_json(step.predicted)},
                             {"predicted_efficiency", step.predicted_efficiency},
                             {"error", step.error()}});
  }
  return json;
}

std::string scaling_svg(const SimulatedScaling& scaling) {
  LineChart chart = efficiency_chart(concatenate(scaling.model, " on ", scaling.machine.name, ", simulated"), "devices");
  chart.lines = {efficiency_line("weak", scaling.weak)};
  if (!scaling.strong.empty()) chart.lines.push_back(efficiency_line("strong", scaling.strong));
  return line_chart_svg(chart);
}

std::string scaling_svg(const MeasuredScaling& scaling) {
  LineChart chart = efficiency_chart("Ranks of this machine", "ranks");
  for (const bool strong : {false, true}) {
    const std::string name = strong ? "strong" : "weak";
    PlotLine measured{name + ", measured", {}};
    PlotLine predicted{name + ", predicted", {}};
    for (const PredictedStep& step : scaling.steps) {
      if (step.strong != strong) continue;
      const double x = std::log2(static_cast<double>(step.ranks));
      measured.points.push_back({x, {100 * step.efficiency}});
      predicted.points.push_back({x, {100 * step.predicted_efficiency}});
    }
    chart.lines.push_back(measured);
    chart.lines.push_back(predicted);
  }
  return line_chart_svg(chart);
}

}  // namespace koine
