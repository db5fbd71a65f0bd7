#include "tasks/report/kept_outcomes.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <tuple>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"

namespace koine {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// Points are kept in single precision; figures are in percent.
constexpr double kFigureTolerance = 1e-4;

/// The folder that an evaluation's end mark is in: a target's phase, or that of `koine evaluate` and `train`.
std::optional<fs::path> evaluation_folder(const fs::path& run, const ResultRow& row) {
  for (const fs::path& folder : {run / "target" / row.intermediate / row.target / concatenate("seed-", row.seed), run}) {
    if (fs::exists(folder / "done.json")) return folder;
  }
  return std::nullopt;
}

ExampleOutcomes read_table(const fs::path& folder, const json& record, const ResultRow& row) {
  const fs::path file = folder / record.at("file").get<std::string>();
  require(fs::exists(file), file.string(), " is gone, but the evaluation that wrote it is marked as done; delete ",
          folder.string(), " to make it again");
  require(record.at("xxh3") == xxh3_file(file), file.string(),
          " is not the file that was written there (its bytes have changed since); restore it, or delete ", folder.string(),
          " to make it again");
  ExampleOutcomes outcomes = read_example_table(file);
  outcomes.metric = record.at("metric");
  outcomes.parallel = record.at("parallel");
  if (outcomes.metric == row.metric)
    require(std::abs(outcomes.figure() - row.value) < kFigureTolerance, file.string(), ": its examples give ", row.metric,
            " ", outcomes.figure(), ", results.json has ", row.value);
  return outcomes;
}

}  // namespace

std::vector<KeptOutcomes> read_outcomes(const fs::path& run, const std::vector<ResultRow>& rows) {
  std::vector<KeptOutcomes> all;
  std::map<fs::path, json> marks;
  std::set<std::tuple<std::string, std::string, std::string, std::uint32_t>> seen;
  for (const ResultRow& row : rows) {
    const std::optional<fs::path> folder = evaluation_folder(run, row);
    if (!folder.has_value()) continue;
    if (!marks.contains(*folder)) marks[*folder] = read_json(*folder / "done.json");
    const json& mark = marks[*folder];
    const json languages = mark.value("languages", json::object());
    if (!languages.contains(row.language) || !languages.at(row.language).contains("outcomes")) continue;
    const json& record = languages.at(row.language).at("outcomes");
    if (record.at("metric") != row.metric) continue;
    // The figure that the examples give comes first; those of other hidden states stand behind it.
    if (!seen.emplace(row.intermediate, row.target, row.language, row.seed).second) continue;
    all.push_back({row.model, row.intermediate, row.target, row.language, row.seed, read_table(*folder, record, row)});
  }
  return all;
}

}  // namespace koine
