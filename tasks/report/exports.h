#pragma once

// The figures of experiments for other programs: all rows as CSV, tables as LaTeX.

#include <string>
#include <vector>

#include "tasks/report/report.h"

namespace koine {

/// Every row under a line of names, as RFC 4180 writes it (CRLF; quotes where a field needs them). What is unknown of a row
/// is an empty field; numbers read back to the same.
std::string results_csv(const std::vector<ResultRow>& rows);

/// Tables for a LaTeX document with the package booktabs, UTF-8.
///
/// First all targets side by side, as in table 2 of Phang et al. (arXiv 2005.13013): the baseline's figures, below them
/// every arm's differences to it. A target's figure is the mean over its benchmark's languages that all arms have, the
/// source among them; question answering shows F1 and exact match. "Avg." is the mean over the targets, of question
/// answering (F1 + exact match) / 2 (XTREME, arXiv 2003.11080, section 4); only of arms that have every target. Then a table
/// for each target, languages down, arms across. Means over seeds; the deviation over seeds behind them where there are
/// several. The average's is over the seeds of the target that has most of them; a target with a single figure (retrieval
/// with a shared encoder) has it for each seed.
///
/// UserErrors as write_report says.
std::string results_latex(const std::vector<ResultRow>& rows, const ReportDetails& details = {});

/// A table for each target and its headline metric as GitHub's Markdown has them: arms down, languages, mean and difference
/// across. Means over seeds, the deviation over seeds behind them. UserErrors as write_report says.
std::string results_markdown(const std::vector<ResultRow>& rows, const ReportDetails& details = {});

/// A field of a CSV record, in quotes where it needs them.
std::string csv_field(const std::string& text);

/// A text for a cell of a Markdown table: nothing in it ends the cell or the line, or is markup.
std::string escape_markdown(const std::string& text);

/// A text with LaTeX's special characters escaped, control characters as blanks.
std::string escape_latex(std::string_view text);

}  // namespace koine
