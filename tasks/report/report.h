#pragma once

// The figures of experiments as people read them: report.html, one self-contained page with tables and plots, and a table
// for the terminal.
//
// Every figure is a mean over seeds with the sample standard deviation over seeds beside it; a single seed has none, and the
// number of seeds is shown. An arm is what the rows call its intermediate training, per model. Its difference to the
// baseline arm of the same model is taken seed by seed where both arms have the seed, and the spread is that of these
// differences; where they share no seed it is the difference of the means, without spread. Means over languages are formed
// for each seed first, over the benchmark's languages that all arms of the target have, so that arms stay comparable when
// some figures are missing; arms that share no language have means over their own, with their number beside, and differences
// over what two of them share. Other languages are shown with a mark, outside the means. A task for which nothing is trained
// has one figure for an arm that does not depend on the seed: it is compared with every seed of the other. Where a target has
// figures of its test set and of other data, each kind is a target of its own: "xnli", "xnli (dev)".

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tasks/report/results.h"
#include "tasks/report/svg.h"

namespace koine {

struct ReportDetails {
  std::string introduction;  ///< a paragraph below the title
  std::string baseline;      ///< name of the baseline arm; empty: "none" or "baseline", else the arm that comes first
  std::string source_language = "en";                 ///< left out of zero-shot means
  std::map<std::string, double> chance;               ///< target -> what guessing reaches, drawn as a line
  std::map<std::string, std::string> language_names;  ///< code -> what to show beside it
  std::vector<LineChart> curves;                      ///< more plots: losses over steps ...
  /// What made the figures: settings, data, program, machine; shown as a table in this order.
  std::vector<std::pair<std::string, std::string>> provenance;
};

/// Writes report.html (atomically). UserError when there are no rows, or when two rows give different values for the same
/// model, arm, target, split of the data, language, metric and seed.
void write_report(const std::filesystem::path& path, const std::string& title, const std::vector<ResultRow>& rows,
                  const ReportDetails& details = {});

/// The headline metric of each target: arms x languages, for a terminal. With many languages only their means.
std::string results_table(const std::vector<ResultRow>& rows, const ReportDetails& details = {});

/// What must be told beside the figures, a line each: evaluations whose answers are all one class, examples that were cut, of
/// each arm, target, split of the data, language and seed.
std::vector<std::string> warning_lines(const std::vector<ResultRow>& rows);

}  // namespace koine
