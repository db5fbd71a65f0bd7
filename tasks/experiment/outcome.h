#pragma once

// What a run has to show: the figures, what each training took, and the report of both.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "tasks/experiment/plan.h"
#include "tasks/experiment/training_phase.h"
#include "tasks/report/report.h"

namespace koine {

/// What one training took.
struct PhaseCost {
  std::string phase;  ///< its folder below the output
  std::int64_t steps = 0;
  std::int64_t tokens = 0;
  double seconds = 0;
  double flops = 0;                        ///< these three, and the next, with those of attempts that collapsed
  std::optional<double> joules = {};       ///< nothing: not measured, or not all of it
  std::vector<std::string> tasks = {};     ///< a line for each of several tasks: what it had of it (task_lines)
  std::string task_record = {};            ///< the same as JSON; empty: not known
  std::vector<std::string> left_out = {};  ///< a line for each task whose files held more than its training set
  std::vector<std::string> guards = {};    ///< what guard_lines says (training_phase.h)
};

struct RunOutcome {
  Plan plan;
  bool interrupted = false;
  std::size_t done = 0;  ///< of the plan's phases, whoever carried them out; rows and costs are theirs
  std::vector<ResultRow> rows;
  std::vector<PhaseCost> costs;
};

/// Adds the rows of an evaluation, whose end mark holds "languages" and "order" (evaluate.h), and "training" (with what was left
/// out and cut there). `common` has what all of them have: model, intermediate, target, task, split, seed.
void add_rows(std::vector<ResultRow>& rows, const ResultRow& common, const nlohmann::json& end_mark);

/// Adds what a phase gave: its end mark holds "training" (what it took) where it trained, "languages" and "order" where it
/// evaluated.
void add_result(RunOutcome& outcome, const PlannedPhase& phase, const nlohmann::json& end_mark);

/// results.json, costs.json and report.html in the output.
void write_outcome(const RunOptions& options, const RunOutcome& outcome);

/// What the report of an experiment says besides the figures.
ReportDetails report_details(const RunOptions& options, const RunOutcome& outcome);

}  // namespace koine
