#pragma once

// Cells, columns and phrases that study pages are made of.

#include <optional>
#include <string>
#include <vector>

#include "tasks/report/study.h"
#include "tasks/report/study_figures.h"
#include "tasks/report/svg.h"

namespace koine {

/// "No effect larger than this" is asked of everything that is not shown, in points; the gain that the needed seeds are told for.
inline constexpr double kSmallEffect = 1;
inline constexpr double kSignificance = 0.05;

/// "+1.32", "−0.40", "0.00".
std::string signed_decimal(double value, int decimals = 2);
/// "0.012", "< 0.001".
std::string p_text(double p);
/// "+1.32 points (95 % interval +0.40 to +2.24, n = 5 seeds, p = 0.012)".
std::string claim(const Estimate& estimate, const std::string& unit);
/// The same of an interval over examples; empty where there is none.
std::string claim_over_examples(const Estimate& over_examples, const std::string& unit);

bool above_zero(const Estimate& estimate);
bool below_zero(const Estimate& estimate);
std::vector<double> listed(const SeedValues& values);
/// ", and an effect as large as 1 point is ruled out (p = 0.01)" where it is; empty otherwise.
std::string ruled_out(const Measured& measured);
/// The answer without an interval over seeds; what the seeds there are show over test examples is said behind it.
std::string not_enough(const Measured& measured, const std::string& what, const std::string& unit);

StudyCell name_cell(const std::string& text);
StudyCell number_cell(const Measured& measured, int decimals = 1);
StudyCell estimate_cell(const Estimate& estimate, bool sign = true);

/// Adds a column of p values of the estimates in `column`, corrected for all lines of the table.
void add_holm(StudyTable& table, std::size_t column, const std::string& title = "p");
/// Adds the intervals over examples of what is in `column`, one for each line, and their p values, corrected; nothing where there is no
/// interval.
void add_over_examples(StudyTable& table, std::size_t column, const std::vector<Estimate>& over_examples, bool sign = true,
                       bool test = true);

/// With the interval over seeds, or where there is none that over examples.
std::optional<PlotValue> study_plot_value(const Measured& measured);
/// "fi Finnish".
std::string shown_code(const std::string& code);

}  // namespace koine
