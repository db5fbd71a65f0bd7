#include <algorithm>

#include "kernels/common/check.h"
#include "tasks/report/exports.h"
#include "tasks/report/summary.h"
#include "tasks/report/svg.h"

namespace koine {
namespace {

std::string markdown_figure(const Spread& spread, bool sign = false) {
  if (spread.count == 0) return "–";
  return (sign && spread.mean >= 0.05 ? "+" : "") + format_decimal(spread.mean, 1) +
         (spread.deviation ? " ±" + format_decimal(*spread.deviation, 1) : "");
}

std::string markdown_line(const std::vector<std::string>& cells) {
  std::string text = "|";
  for (const std::string& one : cells) text += " " + one + " |";
  return text + "\n";
}

}  // namespace

std::string escape_markdown(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (std::string_view("|\\`*_<>[]").find(c) != std::string_view::npos) escaped += '\\';
    escaped += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  }
  return escaped;
}

std::string results_markdown(const std::vector<ResultRow>& rows, const ReportDetails& details) {
  const Summary summary = summarise(rows, details.baseline, details.source_language);
  std::string text;
  for (const TargetSummary& target : summary.targets) {
    if (!target.headline) continue;
    std::vector<std::string> heading = {escape_markdown(target.target + ", " + target.metric)};
    for (const std::string& language : target.languages)
      heading.push_back(escape_markdown(language) + (target.outside.contains(language) ? "†" : ""));
    heading.insert(heading.end(), {"zero-shot mean", "languages", "− baseline"});
    text += (text.empty() ? "" : "\n") + markdown_line(heading) + "|---|";
    for (std::size_t i = 1; i < heading.size(); ++i) text += "--:|";
    text += "\n";
    for (const Arm& arm : summary.arms) {
      if (!target.values.contains(arm.label)) continue;
      std::vector<std::string> cells = {escape_markdown(arm.label)};
      for (const std::string& language : target.languages)
        cells.push_back(markdown_figure(target.spread(arm.label, language)));
      cells.push_back(markdown_figure(spread_of(target.mean_by_seed(arm.label, false))));
      cells.push_back(std::to_string(target.mean_languages(arm.label, false).size()));
      cells.push_back(arm.label == arm.baseline ? "" : markdown_figure(target.difference_of_means(arm, false), true));
      text += markdown_line(cells);
    }
    if (!target.outside.empty()) text += "\n† not a language of the benchmark: outside the mean\n";
  }
  return text;
}

}  // namespace koine
