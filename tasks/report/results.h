#pragma once

// The figures of an experiment: one row each. The file results.json is a JSON array of objects
//
//   {"model": "small", "intermediate": "mnli", "target": "xquad", "language": "fi", "metric": "f1", "value": 61.25, "seed":
//   2,
//    "examples": 1190, "tokens": 210034, "seconds": 12.5, "flops": 3.1e13}
//
// "intermediate" is the name of the arm ("none" for the baseline by custom), "language" the code of the test set, "value" in
// the metric's own unit (percent, but for the mlm task), "examples", "tokens" and "seconds" those of the evaluation that
// gave the figure. "flops" may be absent: unknown. "joules" (of the processor's packages, engine/execution/energy_meter.h)
// is null where it was not measured, and may be absent. "layer" is there where the figure is of one hidden state's sentence vectors
// (0: behind the embeddings), and says which. "task" is there where the target has a name of its own, "split" where the figure
// is not of the test set. "left_out" is there where examples of the training or the test files
// were left out, and counts them. "collapsed" is there where the answers were all one class (tasks/common/guards.h), and
// says which: {"label": "neutral", "predicted": 500, "gold": 167, "total": 500}. "truncated" is there where examples of the
// evaluation were cut, "training_truncated" where such of the training: {"maximum_length": 128, "total": 5010, "examples":
// 12, "pieces": 345}. "unreadable" and "other_script" are there where answers are texts that a model wrote: how many of the
// "examples" could not be read, how many were in another script than the text they are about (tasks/text/). Unknown keys are an error, so that a misspelt one is seen.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tasks/common/guards.h"
#include "tasks/statistics/spread.h"

namespace koine {

struct ResultRow {
  std::string model;
  std::string intermediate;
  std::string target;
  std::string language;
  std::string metric;
  double value = 0;
  std::uint32_t seed = 0;
  std::int64_t examples = 0;
  std::int64_t tokens = 0;
  double seconds = 0;
  std::optional<double> flops = std::nullopt;
  std::optional<double> joules = std::nullopt;
  std::int64_t left_out = 0;
  std::optional<std::int64_t> layer = std::nullopt;
  std::optional<Collapse> collapsed = std::nullopt;
  Truncation truncated = {};           ///< of the evaluation; of no examples: nothing was cut, here and below
  Truncation training_truncated = {};  ///< of the training
  std::string task = {};               ///< of the target, where that has another name
  std::string split = {};              ///< empty: test
  std::optional<std::int64_t> unreadable = std::nullopt;  ///< of answers as texts, this and the next
  std::optional<std::int64_t> other_script = std::nullopt;
  bool operator==(const ResultRow&) const = default;
};

/// UserError naming file and row (from 1) when something is missing, of the wrong kind, negative where it cannot be, or not
/// finite.
std::vector<ResultRow> read_results(const std::filesystem::path& path);

/// One row a line; a value that is not finite is a UserError naming the row, and nothing is written.
void write_results(const std::filesystem::path& path, const std::vector<ResultRow>& rows);

}  // namespace koine
