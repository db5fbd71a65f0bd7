#include "tasks/report/study_cells.h"

#include <algorithm>

#include "kernels/common/check.h"
#include "tasks/languages/language_facts.h"

namespace koine {

std::string signed_decimal(double value, int decimals) {
  const std::string text = format_decimal(value, decimals);
  const bool zero = text.find_first_not_of("0.") == std::string::npos;
  return value > 0 && !zero ? "+" + text : text;
}

std::string p_text(double p) { return p < 0.001 ? "< 0.001" : format_decimal(p, 3); }

std::string claim(const Estimate& estimate, const std::string& unit) {
  if (estimate.count == 0) return "unknown";
  std::string text = signed_decimal(estimate.value) + " " + unit;
  if (!estimate.interval.has_value()) return text + concatenate(" (n = ", estimate.count, " seeds: no interval)");
  text += " (95 % interval " + signed_decimal(estimate.interval->low) + " to " + signed_decimal(estimate.interval->high) +
          concatenate(", n = ", estimate.count, " seeds");
  if (estimate.p.has_value()) text += std::string(", p ") + (*estimate.p < 0.001 ? "" : "= ") + p_text(*estimate.p);
  return text + ")";
}

std::string claim_over_examples(const Estimate& over_examples, const std::string& unit) {
  if (!over_examples.interval.has_value()) return "";
  const Interval& interval = *over_examples.interval;
  return concatenate(signed_decimal(over_examples.value), " ", unit, " (95 % interval over examples ",
                     signed_decimal(interval.low), " to ", signed_decimal(interval.high), ", n = ", over_examples.count,
                     " examples; the seed's own spread is not in it)");
}

bool above_zero(const Estimate& estimate) { return estimate.interval.has_value() && estimate.interval->low > 0; }
bool below_zero(const Estimate& estimate) { return estimate.interval.has_value() && estimate.interval->high < 0; }

std::vector<double> listed(const SeedValues& values) {
  std::vector<double> list;
  for (const auto& [seed, value] : values) list.push_back(value);
  return list;
}

std::string ruled_out(const Measured& measured) {
  const std::optional<double> p = equivalence_p(listed(measured.values), kSmallEffect);
  if (!p.has_value() || *p > kSignificance) return "";
  return concatenate(", and an effect as large as ", kSmallEffect, " point is ruled out (p ", *p < 0.001 ? "" : "= ",
                     p_text(*p), ")");
}

std::string not_enough(const Measured& measured, const std::string& what, const std::string& unit) {
  const std::string shown = claim_over_examples(measured.over_examples(), unit);
  const std::string answer =
      concatenate("Not answered: not enough seeds (n = ", measured.values.size(),
                  "): an interval needs two whose figures differ, and without one nothing is claimed");
  if (shown.empty()) return answer + ".";
  return answer + " of other seeds. Of other test examples with the same training: " + what + " " + shown + ".";
}

StudyCell name_cell(const std::string& text) { return {text}; }
StudyCell number_cell(const Measured& measured, int decimals) {
  return {measured.values.empty() ? "–" : format_decimal(spread_of(measured.values).mean, decimals)};
}
StudyCell estimate_cell(const Estimate& estimate, bool sign) {
  if (estimate.count == 0) return {"–", estimate};
  const auto number = [&](double value) { return sign ? signed_decimal(value) : format_decimal(value, 2); };
  std::string text = number(estimate.value);
  if (estimate.interval.has_value())
    text += " [" + number(estimate.interval->low) + ", " + number(estimate.interval->high) + "]";
  return {text + concatenate(" n=", estimate.count), estimate};
}

void add_holm(StudyTable& table, std::size_t column, const std::string& title) {
  std::vector<double> p;
  for (const StudyLine& line : table.lines) {
    if (const auto& estimate = line.cells[column].estimate; estimate.has_value() && estimate->p.has_value())
      p.push_back(*estimate->p);
  }
  const std::vector<double> corrected = holm(p);
  std::size_t next = 0;
  table.columns.push_back(title + " (Holm, of " + std::to_string(p.size()) + ")");
  for (StudyLine& line : table.lines) {
    const auto& estimate = line.cells[column].estimate;
    const bool known = estimate.has_value() && estimate->p.has_value();
    line.cells.push_back({known ? p_text(corrected[next++]) : "–"});
  }
}

void add_over_examples(StudyTable& table, std::size_t column, const std::vector<Estimate>& over_examples, bool sign,
                       bool test) {
  const auto known = [](const Estimate& estimate) { return estimate.interval.has_value(); };
  if (std::none_of(over_examples.begin(), over_examples.end(), known)) return;
  const std::string name = table.columns[column] + " over examples";
  table.columns.push_back(name);
  const auto number = [&](double value) { return sign ? signed_decimal(value) : format_decimal(value, 2); };
  for (std::size_t i = 0; i < table.lines.size(); ++i) {
    const Estimate& estimate = over_examples[i];
    const std::string text = known(estimate) ? concatenate("[", number(estimate.interval->low), ", ",
                                                           number(estimate.interval->high), "] n=", estimate.count)
                                             : "–";
    table.lines[i].cells.push_back({text, estimate});
  }
  if (test) add_holm(table, table.columns.size() - 1, "p over examples");
}

std::optional<PlotValue> study_plot_value(const Measured& measured) {
  const Estimate estimate = measured.estimate();
  if (estimate.count == 0) return std::nullopt;
  PlotValue value{estimate.value};
  const std::optional<Interval> interval = estimate.interval ? estimate.interval : measured.over_examples().interval;
  if (interval.has_value()) value.deviation = (interval->high - interval->low) / 2;
  return value;
}

std::string shown_code(const std::string& code) {
  const LanguageFacts* facts = language_facts(code);
  return facts == nullptr ? code : concatenate(code, " ", facts->name);
}

}  // namespace koine
