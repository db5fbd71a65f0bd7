#pragma once

// What runs have kept of the examples of their evaluations (common/example_outcomes.h), beside the figures of results.json.

#include <filesystem>
#include <string>
#include <vector>

#include "tasks/common/example_outcomes.h"
#include "tasks/report/results.h"

namespace koine {

/// Of one evaluation; its figures are the rows with these names.
struct KeptOutcomes {
  std::string model;
  std::string intermediate;
  std::string target;
  std::string language;
  std::uint32_t seed = 0;
  ExampleOutcomes outcomes;
};

/// Of all evaluations behind the rows of a run's folder (of `koine run`, `train` or `evaluate`) that have kept any: those of older
/// programs, and figures that are not formed of examples, have none. UserError where a table's bytes are not those that were written, and
/// where it does not give the row's figure.
std::vector<KeptOutcomes> read_outcomes(const std::filesystem::path& run, const std::vector<ResultRow>& rows);

}  // namespace koine
