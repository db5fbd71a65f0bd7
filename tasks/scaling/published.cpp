#include "tasks/scaling/published.h"

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/scaling/link_fit.h"

namespace koine {
namespace {

using Json = nlohmann::json;

/// A member of an object of the file; UserError naming both where it is missing or of another type.
template <class T>
T member(const Json& object, const char* key, const std::string& where) {
  try {
    return object.at(key).get<T>();
  } catch (const Json::exception& error) {
    fail_user(where, ": key \"", key, "\": ", error.what());
  }
}

PublishedCollective collective_point(const Json& object, const std::string& file) {
  PublishedCollective point;
  point.name = member<std::string>(object, "name", file);
  const std::string where = file + ": \"" + point.name + "\"";
  point.source = member<std::string>(object, "source", where);
  point.assumed = member<std::string>(object, "assumed", where);
  point.device_kind = member<std::string>(object, "device_kind", where);
  point.algorithm = collective_algorithm(member<std::string>(object, "algorithm", where), where + ": key \"algorithm\"");
  point.devices = member<std::int64_t>(object, "devices", where);
  point.bytes = member<std::vector<double>>(object, "bytes", where);
  point.seconds = member<std::vector<double>>(object, "seconds", where);
  if (object.contains("simulated")) point.simulated = member<std::vector<double>>(object, "simulated", where);
  require(point.seconds.size() == point.bytes.size() &&
              (point.simulated.empty() || point.simulated.size() == point.bytes.size()),
          where, ": as many \"seconds\" (and \"simulated\") as \"bytes\" are needed");
  return point;
}

PublishedTraining::Run run_of(const Json& object, const std::string& where) {
  return {member<std::int64_t>(object, "devices", where), member<std::int64_t>(object, "micro_batches", where),
          member<double>(object, "work", where), member<double>(object, "seconds", where)};
}

PublishedTraining training_point(const Json& object, const std::string& file) {
  PublishedTraining point;
  point.name = member<std::string>(object, "name", file);
  const std::string where = file + ": \"" + point.name + "\"";
  point.source = member<std::string>(object, "source", where);
  point.assumed = member<std::string>(object, "assumed", where);
  point.device_kind = member<std::string>(object, "device_kind", where);
  point.layers = member<std::int64_t>(object, "layers", where);
  point.layer_parameters = member<double>(object, "layer_parameters", where);
  point.embedding_parameters = member<double>(object, "embedding_parameters", where);
  point.gradient_bytes = member<double>(object, "gradient_bytes", where);
  point.weight_bytes = member<double>(object, "weight_bytes", where);
  point.update_bytes = member<double>(object, "update_bytes", where);
  point.sharded = member<bool>(object, "sharded", where);
  if (object.contains("bucket_elements")) point.bucket_elements = member<std::int64_t>(object, "bucket_elements", where);
  point.base = run_of(member<Json>(object, "base", where), where + ": base");
  for (const Json& run : member<Json>(object, "runs", where)) point.runs.push_back(run_of(run, where + ": runs"));
  return point;
}

/// Of layers that are alike: a parameter for each, in the order gradients become ready, embeddings last.
ParameterTable table_of(const PublishedTraining& point) {
  ParameterTable table;
  for (std::int64_t layer = point.layers - 1; layer >= 0; --layer) {
    table.add(
        {"encoder.layer." + std::to_string(layer) + ".weight", {static_cast<std::int64_t>(point.layer_parameters), 1}});
  }
  ParameterSpec embedding{"embeddings.weight", {static_cast<std::int64_t>(point.embedding_parameters), 1}};
  embedding.embedding = true;
  table.add(embedding);
  return table;
}

DeviceStep plan_of(const PublishedTraining& point, const Machine& machine, const PublishedTraining::Run& run,
                   double seconds_of_work) {
  const ParameterTable table = table_of(point);
  const auto parameters = static_cast<double>(table.elements());
  DeviceStep plan;
  plan.forward = seconds_of_work * run.work / 3;
  plan.backward = 2 * plan.forward;
  plan.micro_batches = run.micro_batches;
  plan.update = point.update_bytes * parameters / machine.memory_rate;
  plan.buckets = ready_buckets(table, point.bucket_elements, point.gradient_bytes);
  plan.weight_bytes = point.weight_bytes * parameters;
  return plan;
}

std::string decimals(double value, int places) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", places, value);
  return text;
}

/// "+1.3 %".
std::string signed_percent(double share) {
  char text[64];
  std::snprintf(text, sizeof text, "%+.1f %%", 100 * share);
  return text;
}

std::string bytes_text(double bytes) {
  constexpr double kMebibyte = 1024 * 1024;
  return bytes < kMebibyte ? decimals(bytes / 1024, 0) + " KiB" : decimals(bytes / kMebibyte, 0) + " MiB";
}

std::string median_error(const std::vector<HeldAgainst>& rows) {
  std::vector<double> errors;
  for (const HeldAgainst& row : rows) errors.push_back(std::abs(row.error()));
  return decimals(100 * median_of(errors), 1) + " %";
}

}  // namespace

PublishedPoints read_published_points(const std::filesystem::path& file) {
  require(std::filesystem::is_regular_file(file), "there is no file ", file.string());
  const Json json = read_json(file);
  PublishedPoints points;
  for (const Json& one : member<Json>(json, "collectives", file.string()))
    points.collectives.push_back(collective_point(one, file.string()));
  for (const Json& one : member<Json>(json, "trainings", file.string()))
    points.trainings.push_back(training_point(one, file.string()));
  return points;
}

std::vector<HeldAgainst> hold_against(const PublishedCollective& point) {
  const Machine machine = machine_of(point.device_kind);
  std::vector<HeldAgainst> rows;
  for (std::size_t i = 0; i < point.bytes.size(); ++i) {
    HeldAgainst row;
    row.devices = point.devices;
    row.bytes = point.bytes[i];
    row.published = point.seconds[i];
    row.predicted = collective_cost(machine, Collective::kAllReduce, point.algorithm, point.bytes[i], point.devices).seconds;
    if (!point.simulated.empty()) row.other_error = point.simulated[i] / row.published - 1;
    rows.push_back(row);
  }
  return rows;
}

std::vector<HeldAgainst> hold_against(const PublishedTraining& point) {
  const Machine machine = machine_of(point.device_kind);
  const ExchangeOptions options{CollectiveAlgorithm::kFastest, true, point.sharded};
  const auto seconds_of = [&](const PublishedTraining::Run& run, double seconds_of_work) {
    return simulate_step(machine, plan_of(point, machine, run, seconds_of_work), options, run.devices).seconds;
  };
  // The step gets longer with the work: by halves, to the last bits.
  double low = 0;
  double high = point.base.seconds / (point.base.work * static_cast<double>(point.base.micro_batches));
  require(seconds_of(point.base, low) < point.base.seconds, "\"", point.name,
          "\": the simulated update and communication of the base alone take longer than its published step");
  for (int round = 0; round < 100; ++round) {
    const double middle = (low + high) / 2;
    (seconds_of(point.base, middle) < point.base.seconds ? low : high) = middle;
  }
  const auto rate = [](const PublishedTraining::Run& run, double seconds) {
    return run.work * static_cast<double>(run.micro_batches) / seconds;
  };
  const double base_rate = rate(point.base, point.base.seconds);
  std::vector<HeldAgainst> rows;
  for (const PublishedTraining::Run& run : point.runs) {
    HeldAgainst row;
    row.devices = run.devices;
    row.published = run.seconds;
    row.predicted = seconds_of(run, high);
    row.published_efficiency = rate(run, row.published) / base_rate;
    row.predicted_efficiency = rate(run, row.predicted) / base_rate;
    rows.push_back(row);
  }
  return rows;
}

std::string published_page(const PublishedPoints& points) {
  std::string collectives =
      "| all-reduce | bytes | published, us | predicted, us | error | the other simulator's |\n|---|---|---|---|---|---|\n";
  std::string notes;
  for (const PublishedCollective& point : points.collectives) {
    const std::vector<HeldAgainst> rows = hold_against(point);
    for (const HeldAgainst& row : rows) {
      collectives += concatenate("| ", point.name, " | ", bytes_text(row.bytes), " | ", decimals(1e6 * row.published, 0),
                                 " | ", decimals(1e6 * row.predicted, 0), " | ", signed_percent(row.error()), " | ",
                                 point.simulated.empty() ? "" : signed_percent(row.other_error), " |\n");
    }
    notes += concatenate("* ", point.name, ": median error ", median_error(rows), ". Source: ", point.source,
                         ". Assumed: ", point.assumed, ".\n");
  }
  std::string trainings =
      "| training | devices | published step, ms | predicted, ms | error | efficiency published | predicted |\n"
      "|---|---|---|---|---|---|---|\n";
  for (const PublishedTraining& point : points.trainings) {
    const std::vector<HeldAgainst> rows = hold_against(point);
    for (const HeldAgainst& row : rows) {
      trainings += concatenate("| ", point.name, " | ", row.devices, " | ", decimals(1e3 * row.published, 1), " | ",
                               decimals(1e3 * row.predicted, 1), " | ", signed_percent(row.error()), " | ",
                               decimals(100 * row.published_efficiency, 1), " % | ",
                               decimals(100 * row.predicted_efficiency, 1), " % |\n");
    }
    notes += concatenate("* ", point.name, ": against ", point.base.devices,
                         point.base.devices == 1 ? " device" : " devices", " at ", decimals(1e3 * point.base.seconds, 1),
                         " ms. Source: ", point.source, ". Assumed: ", point.assumed, ".\n");
  }
  return collectives + "\n" + trainings + "\n" + notes;
}

}  // namespace koine
