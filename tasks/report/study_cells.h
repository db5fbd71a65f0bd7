#pragma once

// Cells, columns and phrases that study pages are made of.

#include <optional>
#include <string>
#include <vector>

#include "tasks/report/study.h"
#include "tasks/report/study_figures.h"
#include "tasks/report/svg.h"

namespace koine {

/// "+1.32", "−0.40", "0.00".
std::string signed_decimal(double value, int decimals = 2);
/// "0.012", "< 0.001".
std::string p_text(double p);
/// "+1.32 points (95 % interval +0.40 to +2.24, n = 5 seeds, p = 0.012)".
std::string claim(const Estimate& estimate, const std::string& unit);
/// The same of an interval over examples; empty where there is none.
std::string claim_over_examples(const Estimate& over_examples, const std::string& unit);

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
