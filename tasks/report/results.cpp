#include "tasks/report/results.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"

namespace koine {

namespace {

using nlohmann::json;

const std::vector<std::string> kKeys = {
    "model",   "intermediate", "target",      "language", "metric", "value",     "seed",      "examples",           "tokens",
    "seconds", "flops",        "joules",      "left_out", "layer",  "collapsed", "truncated", "training_truncated", "task",
    "split",   "unreadable",   "other_script"};

/// One row of the file, with its place for messages.
class RowReader {
 public:
  RowReader(const json& row, std::string where) : row_(row), where_(std::move(where)) {
    require(row.is_object(), where_, ": expected an object");
    for (const auto& [key, value] : row.items()) {
      if (std::find(kKeys.begin(), kKeys.end(), key) != kKeys.end()) continue;
      const std::string near = nearest_name(key, kKeys);
      fail_user(where_, ": unknown key \"", key, "\"", near.empty() ? "" : "; did you mean \"" + near + "\"?");
    }
  }

  std::string text(const char* key) const {
    require(at(key).is_string(), where_, ": \"", key, "\" is not a text");
    return at(key).get<std::string>();
  }
  double number(const char* key) const {
    require(at(key).is_number(), where_, ": \"", key, "\" is not a number");
    const double value = at(key).get<double>();
    require(std::isfinite(value), where_, ": \"", key, "\" is not finite");
    return value;
  }
  double amount(const char* key) const {
    const double value = number(key);
    require(value >= 0, where_, ": \"", key, "\" is negative");
    return value;
  }
  std::int64_t count(const char* key, std::int64_t maximum) const {
    const json& value = at(key);
    require(value.is_number_integer(), where_, ": \"", key, "\" is not a whole number");
    const bool fits = value.is_number_unsigned() ? value.get<std::uint64_t>() <= static_cast<std::uint64_t>(maximum)
                                                 : value.get<std::int64_t>() >= 0 && value.get<std::int64_t>() <= maximum;
    require(fits, where_, ": \"", key, "\" is not between 0 and ", maximum);
    return value.get<std::int64_t>();
  }
  /// A guard's record (tasks/common/guards.h).
  template <class Record>
  Record record(const char* key) const {
    try {
      return at(key).get<Record>();
    } catch (const json::exception&) {
      fail_user(where_, ": \"", key, "\" is not what koine writes there");
    }
  }

 private:
  const json& at(const char* key) const {
    const auto found = row_.find(key);
    require(found != row_.end(), where_, ": \"", key, "\" is missing");
    return *found;
  }

  const json& row_;
  std::string where_;
};

}  // namespace

std::vector<ResultRow> read_results(const std::filesystem::path& path) {
  const json all = read_json(path);
  require(all.is_array(), path.string(), ": expected an array of rows");
  std::vector<ResultRow> rows;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const RowReader reader(all[i], concatenate(path.string(), ", row ", i + 1));
    constexpr std::int64_t kAny = 1'000'000'000'000'000;  // rows of this can be added up
    ResultRow row{.model = reader.text("model"),
                  .intermediate = reader.text("intermediate"),
                  .target = reader.text("target"),
                  .language = reader.text("language"),
                  .metric = reader.text("metric"),
                  .value = reader.number("value"),
                  .seed = static_cast<std::uint32_t>(reader.count("seed", std::numeric_limits<std::uint32_t>::max())),
                  .examples = reader.count("examples", kAny),
                  .tokens = reader.count("tokens", kAny),
                  .seconds = reader.amount("seconds")};
    if (all[i].contains("flops")) row.flops = reader.amount("flops");
    if (all[i].contains("joules") && !all[i].at("joules").is_null()) row.joules = reader.amount("joules");
    if (all[i].contains("left_out")) row.left_out = reader.count("left_out", kAny);
    if (all[i].contains("layer")) row.layer = reader.count("layer", kAny);
    if (all[i].contains("collapsed")) row.collapsed = reader.record<Collapse>("collapsed");
    if (all[i].contains("truncated")) row.truncated = reader.record<Truncation>("truncated");
    if (all[i].contains("training_truncated")) row.training_truncated = reader.record<Truncation>("training_truncated");
    if (all[i].contains("task")) row.task = reader.text("task");
    if (all[i].contains("split")) row.split = reader.text("split");
    if (all[i].contains("unreadable")) row.unreadable = reader.count("unreadable", kAny);
    if (all[i].contains("other_script")) row.other_script = reader.count("other_script", kAny);
    rows.push_back(std::move(row));
  }
  return rows;
}

void write_results(const std::filesystem::path& path, const std::vector<ResultRow>& rows) {
  std::string text = "[";
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const ResultRow& row = rows[i];
    require(std::isfinite(row.value) && std::isfinite(row.seconds) && std::isfinite(row.flops.value_or(0)) &&
                std::isfinite(row.joules.value_or(0)),
            path.string(), ", row ", i + 1, " (", row.target, " ", row.language, " ", row.metric,
            "): a figure is not finite");
    nlohmann::ordered_json object = {{"model", row.model},   {"intermediate", row.intermediate},
                                     {"target", row.target}, {"language", row.language},
                                     {"metric", row.metric}, {"value", row.value},
                                     {"seed", row.seed},     {"examples", row.examples},
                                     {"tokens", row.tokens}, {"seconds", row.seconds}};
    if (row.flops.has_value()) object["flops"] = *row.flops;
    object["joules"] = row.joules.has_value() ? json(*row.joules) : json(nullptr);
    if (row.left_out > 0) object["left_out"] = row.left_out;
    if (row.layer.has_value()) object["layer"] = *row.layer;
    if (row.collapsed.has_value()) object["collapsed"] = json(*row.collapsed);
    if (row.truncated.examples > 0) object["truncated"] = json(row.truncated);
    if (row.training_truncated.examples > 0) object["training_truncated"] = json(row.training_truncated);
    if (!row.task.empty()) object["task"] = row.task;
    if (!row.split.empty()) object["split"] = row.split;
    if (row.unreadable.has_value()) object["unreadable"] = *row.unreadable;
    if (row.other_script.has_value()) object["other_script"] = *row.other_script;
    text += (i == 0 ? "\n" : ",\n") + object.dump();
  }
  write_file_atomically(path, text + "\n]\n");
}

}  // namespace koine
