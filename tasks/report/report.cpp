#include "tasks/report/report.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/report/html.h"
#include "tasks/report/summary.h"

namespace koine {

namespace {

constexpr const char* kMissing = "–";
constexpr const char* kOutside = "†";
constexpr const char* kOutsideNote = "† not a language of the benchmark: outside the mean";
/// Beyond this many languages a terminal's lines show means only.
constexpr std::size_t kTerminalLanguages = 12;

std::optional<PlotValue> plot_value(const Spread& spread) {
  if (spread.count == 0) return std::nullopt;
  return PlotValue{spread.mean, spread.deviation};
}

std::string seeds_text(const TargetSummary& target, const std::string& arm) {
  std::int64_t least = -1;
  std::int64_t most = 0;
  for (const std::string& language : target.languages) {
    const std::int64_t count = target.spread(arm, language).count;
    if (count == 0) continue;
    least = least < 0 ? count : std::min(least, count);
    most = std::max(most, count);
  }
  if (least < 0) return kMissing;
  return least == most ? std::to_string(most) : std::to_string(least) + "–" + std::to_string(most);
}

/// The languages with a mark where they are outside the means.
std::vector<std::string> marked_languages(const TargetSummary& target, std::vector<std::string> languages) {
  for (std::string& language : languages) language += target.outside.contains(language) ? kOutside : "";
  return languages;
}

std::vector<const Arm*> arms_of(const Summary& summary, const TargetSummary& target) {
  std::vector<const Arm*> arms;
  for (const Arm& arm : summary.arms) {
    if (target.values.contains(arm.label)) arms.push_back(&arm);
  }
  return arms;
}

/// Whether the means of all arms are over the same languages.
bool same_languages(const Summary& summary, const TargetSummary& target) {
  std::set<std::vector<std::string>> different;
  for (const Arm* arm : arms_of(summary, target)) different.insert(target.mean_languages(arm->label, false));
  different.erase(std::vector<std::string>());  // arms without a mean
  return different.size() <= 1;
}

class Page {
 public:
  Page(const Summary& summary, const ReportDetails& details, std::vector<std::string> warnings)
      : summary_(summary), details_(details), warnings_(std::move(warnings)) {}

  std::string html(const std::string& title) const {
    std::string html = html_head(title);
    if (!details_.introduction.empty()) html += "<p>" + escape_markup(details_.introduction) + "</p>\n";
    html +=
        "<p class=\"soft\">Means over seeds, ± sample standard deviation over seeds. Differences to the baseline are taken "
        "seed by seed. "
        "Zero-shot means leave out the language of training, " +
        escape_markup(shown_language(details_.source_language)) + ".</p>\n";
    html += warnings() + overview();
    for (const TargetSummary& target : summary_.targets) {
      if (target.headline) html += target_section(target);
    }
    if (!details_.curves.empty()) html += "<h2>Curves</h2>\n";
    for (const LineChart& curve : details_.curves) html += "<div class=\"wide\">" + line_chart_svg(curve) + "</div>\n";
    return html + costs() + provenance() + html_foot();
  }

 private:
  std::string shown_language(const std::string& code) const {
    const auto name = details_.language_names.find(code);
    return name == details_.language_names.end() || name->second.empty() ? code : code + " (" + name->second + ")";
  }

  bool several_arms() const {
    return std::any_of(summary_.arms.begin(), summary_.arms.end(), [](const Arm& arm) { return arm.label != arm.baseline; });
  }

  std::string overview() const {
    HtmlTable table({"target", "training before the target"},
                    {"source", "zero-shot mean", "difference", "languages", "seeds"});
    for (const TargetSummary& target : summary_.targets) {
      if (!target.headline) continue;
      for (const Arm* arm : arms_of(summary_, target)) {
        const SeedValues means = target.mean_by_seed(arm->label, false);
        table.row().name(target.target + ", " + target.metric).name(arm->label);
        table.spread(target.spread(arm->label, details_.source_language)).spread(spread_of(means));
        if (arm->label == arm->baseline)
          table.number("baseline");
        else
          table.spread(target.difference_of_means(*arm, false), true);
        table.number(std::to_string(target.mean_languages(arm->label, false).size())).number(seeds_text(target, arm->label));
      }
    }
    std::string html = "<h2>Overview</h2>\n" + table.finish();
    if (several_arms()) html += "<div class=\"wide\">" + heat_map_svg(difference_map()) + "</div>\n";
    return html;
  }

  HeatMap difference_map() const {
    HeatMap map{.title = "Difference to the baseline, mean over seeds", .rows = {}, .columns = {}, .values = {}};
    for (const TargetSummary& target : summary_.targets) {
      for (const std::string& language : target.languages) {
        if (target.headline && std::find(map.columns.begin(), map.columns.end(), language) == map.columns.end()) {
          map.columns.push_back(language);
        }
      }
    }
    for (const TargetSummary& target : summary_.targets) {
      for (const Arm* arm : arms_of(summary_, target)) {
        if (!target.headline || arm->label == arm->baseline) continue;
        map.rows.push_back(target.target + ": " + arm->label);
        std::vector<std::optional<double>>& values = map.values.emplace_back();
        for (const std::string& language : map.columns) values.push_back(mean_difference(target, *arm, language));
      }
    }
    // A baseline alone among its targets leaves nothing to compare.
    if (map.rows.empty()) {
      map.rows = {"no target has both"};
      map.values = {std::vector<std::optional<double>>(map.columns.size())};
    }
    return map;
  }

  std::optional<double> mean_difference(const TargetSummary& target, const Arm& arm, const std::string& language) const {
    const Spread spread = target.difference_in(arm, language);
    return spread.count == 0 ? std::nullopt : std::optional<double>(spread.mean);
  }

  std::string target_section(const TargetSummary& target) const {
    std::string html = "<h2><bdi>" + escape_markup(target.target) + "</bdi></h2>\n<div class=\"wide\">" +
                       bar_chart_svg(chart(target)) + "</div>\n" + table(target);
    for (const TargetSummary& other : summary_.targets) {
      if (other.target != target.target || other.headline) continue;
      html += "<details><summary>" + escape_markup(other.metric) + "</summary>\n" + table(other) + "</details>\n";
    }
    return html;
  }

  BarChart chart(const TargetSummary& target) const {
    BarChart chart{.title = target.target + ", " + target.metric,
                   .y_label = target.metric,
                   .categories = marked_languages(target, target.languages),
                   .series = {},
                   .reference_label = "chance"};
    const auto chance = details_.chance.find(target.target);
    if (chance != details_.chance.end()) chart.reference = chance->second;
    for (const Arm* arm : arms_of(summary_, target)) {
      PlotSeries series{arm->label, {}};
      for (const std::string& language : target.languages)
        series.values.push_back(plot_value(target.spread(arm->label, language)));
      chart.series.push_back(std::move(series));
    }
    return chart;
  }

  /// Languages down, arms across: figures, then differences.
  std::string table(const TargetSummary& target) const {
    const std::vector<const Arm*> arms = arms_of(summary_, target);
    std::vector<const Arm*> compared;
    std::vector<std::string> columns;
    for (const Arm* arm : arms) columns.push_back(arm->label);
    for (const Arm* arm : arms) {
      if (arm->label == arm->baseline) continue;
      compared.push_back(arm);
      columns.push_back(arm->label + " − baseline");
    }
    HtmlTable table({target.metric}, columns);
    for (const std::string& language : target.languages) {
      table.row().name(shown_language(language) + (target.outside.contains(language) ? kOutside : ""));
      for (const Arm* arm : arms) table.spread(target.spread(arm->label, language));
      for (const Arm* arm : compared) table.spread(target.difference_in(*arm, language), true);
    }
    table.row(true).name(same_languages(summary_, target) ? "zero-shot mean" : "zero-shot mean, of the languages each has");
    for (const Arm* arm : arms) table.spread(spread_of(target.mean_by_seed(arm->label, false)));
    for (const Arm* arm : compared) {
      table.spread(target.difference_of_means(*arm, false), true);
    }
    if (target.outside.empty()) return table.finish();
    return table.finish() + "<p class=\"soft\">" + kOutsideNote + "</p>\n";
  }

  std::string warnings() const {
    if (warnings_.empty()) return "";
    std::string html = "<h2>To be known</h2>\n<ul>\n";
    for (const std::string& line : warnings_) html += "<li>" + escape_markup(line) + "</li>\n";
    return html + "</ul>\n";
  }

  std::string costs() const {
    const bool flops =
        std::any_of(summary_.costs.begin(), summary_.costs.end(), [](const CostSummary& c) { return c.flops.has_value(); });
    std::vector<std::string> columns = {"evaluations", "examples", "tokens", "seconds", "tokens per second"};
    if (flops) columns.emplace_back("TFLOP");
    HtmlTable table({"target", "training before the target"}, columns);
    for (const CostSummary& cost : summary_.costs) {
      table.row().name(cost.target).name(cost.arm).number(std::to_string(cost.evaluations));
      table.number(format_thousands(static_cast<double>(cost.examples)))
          .number(format_thousands(static_cast<double>(cost.tokens)));
      table.number(format_decimal(cost.seconds, 1));
      table.number(cost.seconds > 0 ? format_thousands(static_cast<double>(cost.tokens) / cost.seconds) : kMissing);
      if (flops) table.number(cost.flops.has_value() ? format_decimal(*cost.flops / 1e12, 2) : kMissing);
    }
    return "<h2>Cost of the evaluations</h2>\n" + table.finish();
  }

  std::string provenance() const {
    if (details_.provenance.empty()) return "";
    HtmlTable table({"what", "value"}, {});
    for (const auto& [key, value] : details_.provenance) table.row().name(key).text(value);
    return "<h2>Settings and provenance</h2>\n" + table.finish();
  }

  const Summary& summary_;
  const ReportDetails& details_;
  std::vector<std::string> warnings_;
};

std::size_t shown_width(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

/// Columns side by side: the first two to the left, figures to the right. Deviations stand in columns of their own width.
std::string aligned(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], shown_width(row[c]));
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t c = 0; c < row.size(); ++c) {
      const std::string gap(widths[c] - shown_width(row[c]), ' ');
      line += (c == 0 ? "" : "  ") + (c == 0 ? row[c] + gap : gap + row[c]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

/// Control characters out: a name must not move the terminal's cursor.
std::string printable(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return text;
}

std::string figure(const Spread& spread) {
  if (spread.count == 0) return kMissing;
  return format_decimal(spread.mean, 1) + (spread.deviation ? " ±" + format_decimal(*spread.deviation, 1) : "");
}

}  // namespace

void write_report(const std::filesystem::path& path, const std::string& title, const std::vector<ResultRow>& rows,
                  const ReportDetails& details) {
  const Summary summary = summarise(rows, details.baseline, details.source_language);
  write_file_atomically(path, Page(summary, details, warning_lines(rows)).html(title));
}

std::string results_table(const std::vector<ResultRow>& rows, const ReportDetails& details) {
  const Summary summary = summarise(rows, details.baseline, details.source_language);
  std::string text;
  bool outside = false;
  for (const TargetSummary& target : summary.targets) {
    if (!target.headline) continue;
    const bool each = target.languages.size() <= kTerminalLanguages;
    const std::vector<std::string> languages = each ? target.languages : std::vector<std::string>{details.source_language};
    std::vector<std::vector<std::string>> table = {{printable(target.target + ", " + target.metric)}};
    for (const std::string& language : marked_languages(target, languages)) table[0].push_back(printable(language));
    for (const std::string& language : languages) outside = outside || target.outside.contains(language);
    const bool same = same_languages(summary, target);
    table[0].insert(table[0].end(), {same ? "zero-shot" : "zero-shot of languages", "− baseline", "seeds"});
    for (const Arm* arm : arms_of(summary, target)) {
      const SeedValues means = target.mean_by_seed(arm->label, false);
      std::vector<std::string>& row = table.emplace_back(1, printable(arm->label));
      for (const std::string& language : languages) row.push_back(figure(target.spread(arm->label, language)));
      row.push_back(figure(spread_of(means)) +
                    (same ? "" : concatenate(" of ", target.mean_languages(arm->label, false).size())));
      row.push_back(arm->label == arm->baseline ? "" : figure(target.difference_of_means(*arm, false)));
      row.push_back(seeds_text(target, arm->label));
    }
    text += (text.empty() ? "" : "\n") + aligned(table);
  }
  return outside ? text + kOutsideNote + "\n" : text;
}

}  // namespace koine
