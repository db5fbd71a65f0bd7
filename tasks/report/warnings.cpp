#include <algorithm>

#include "kernels/common/check.h"
#include "tasks/report/report.h"

namespace koine {

std::vector<std::string> warning_lines(const std::vector<ResultRow>& rows) {
  std::vector<std::string> lines;
  const auto add = [&lines](std::string line) {
    if (std::find(lines.begin(), lines.end(), line) == lines.end()) lines.push_back(std::move(line));
  };
  for (const ResultRow& row : rows) {  // one evaluation has a row for each of its metrics
    const std::string arm = concatenate(row.model, ", ", row.intermediate, ", ", row.target, ", seed ", row.seed);
    if (row.collapsed.has_value()) add(concatenate(arm, ", ", row.language, ": ", describe(*row.collapsed)));
    const auto count = [&](const std::optional<std::int64_t>& answers, const char* what) {
      if (answers.value_or(0) > 0)
        add(concatenate(arm, ", ", row.language, ": ", *answers, " of ", row.examples, " answers ", what));
    };
    count(row.unreadable, "unreadable: they count as wrong");
    count(row.other_script, "in another script than their text");
  }
  for (const ResultRow& row : rows) {  // what is cut does not depend on the arm and the seed
    if (row.training_truncated.examples > 0) add(concatenate(row.target, ", training: ", describe(row.training_truncated)));
    if (row.truncated.examples > 0) add(concatenate(row.target, ", ", row.language, ": ", describe(row.truncated)));
  }
  return lines;
}

}  // namespace koine
