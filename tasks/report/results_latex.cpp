#include <algorithm>
#include <cstdio>

#include "kernels/common/check.h"
#include "tasks/common/task.h"
#include "tasks/report/exports.h"
#include "tasks/report/summary.h"

namespace koine {

namespace {

using Cells = std::vector<std::string>;

constexpr const char* kMissingInLatex = "--";
constexpr const char* kDagger = "$^\\dagger$";
const std::string kSource = "% \\usepackage{booktabs}\n";

/// "61.7", "$61.7_{\pm 0.8}$"; with a sign "$+1.2$".
std::string latex_figure(const Spread& spread, bool sign = false) {
  if (spread.count == 0) return kMissingInLatex;
  char text[64];
  std::snprintf(text, sizeof text, sign ? "%+.1f" : "%.1f", spread.mean);
  std::string number = text;
  if (number == "-0.0" || number == "+0.0") number = "0.0";
  if (spread.deviation.has_value()) {
    std::snprintf(text, sizeof text, "_{\\pm %.1f}", *spread.deviation);
    number += text;
  }
  const bool mathematics = number.find_first_of("+-_") != std::string::npos;
  return mathematics ? "$" + number + "$" : number;
}

/// As papers write the names of tasks and metrics.
std::string shown(const std::string& name) {
  static const std::map<std::string, std::string> kNames = {
      {"xnli", "XNLI"},     {"pawsx", "PAWS-X"},    {"udpos", "POS"},      {"panx", "NER"},
      {"xquad", "XQuAD"},   {"mlqa", "MLQA"},       {"tydiqa", "TyDiQA"},  {"xcopa", "XCOPA"},
      {"bucc2018", "BUCC"}, {"tatoeba", "Tatoeba"}, {"lareqa", "LAReQA"},  {"mewslix", "Mewsli-X"},
      {"accuracy", "acc."}, {"f1", "F1"},           {"exact_match", "EM"}, {"map@20", "mAP@20"}};
  const auto known = kNames.find(name);
  return known == kNames.end() ? escape_latex(name) : known->second;
}

std::string latex_line(const Cells& cells) {
  std::string text = "    ";
  for (std::size_t i = 0; i < cells.size(); ++i) text += (i == 0 ? "" : " & ") + cells[i];
  return text + " \\\\\n";
}

/// A table of a first column of names and `columns` of figures; groups of lines have a rule between them.
std::string table(std::size_t columns, const Cells& heading, const std::vector<std::vector<Cells>>& groups,
                  const std::string& caption) {
  std::string text = "\\begin{table*}[t]\n  \\centering\n  \\begin{tabular}{l" + std::string(columns, 'r') +
                     "}\n    \\toprule\n" + latex_line(heading);
  for (const std::vector<Cells>& group : groups) {
    text += "    \\midrule\n";
    for (const Cells& cells : group) {
      check(cells.size() == columns + 1, "a line of ", cells.size(), " cells in a table of ", columns + 1);
      text += latex_line(cells);
    }
  }
  return text + "    \\bottomrule\n  \\end{tabular}\n  \\caption{" + caption + "}\n\\end{table*}\n";
}

class Tables {
 public:
  explicit Tables(const Summary& summary) : summary_(summary) {
    for (const TargetSummary& target : summary.targets) {
      if (target.headline) targets_.push_back(&target);
    }
  }

  std::string text() const {
    std::string text = kSource + overview();
    for (const TargetSummary* target : targets_) text += "\n" + languages(*target);
    return text;
  }

 private:
  const TargetSummary* other_metric(const TargetSummary& target, const std::string& metric) const {
    for (const TargetSummary& other : summary_.targets) {
      if (other.target == target.target && other.metric == metric) return &other;
    }
    return nullptr;
  }
  /// Exact match beside F1.
  const TargetSummary* second_metric(const TargetSummary& target) const {
    return target.metric == "f1" ? other_metric(target, "exact_match") : nullptr;
  }

  /// Mean over the benchmark's languages, or its difference to the baseline's.
  static Spread figure_of(const TargetSummary& target, const Arm& arm) {
    return arm.label == arm.baseline ? spread_of(target.mean_by_seed(arm.label, true))
                                     : target.difference_of_means(arm, true);
  }

  std::string cell(const TargetSummary& target, const Arm& arm) const {
    const bool sign = arm.label != arm.baseline;
    const std::string first = latex_figure(figure_of(target, arm), sign);
    const TargetSummary* second = second_metric(target);
    return second == nullptr ? first : first + " / " + latex_figure(figure_of(*second, arm), sign);
  }

  SeedValues average(const std::string& arm) const {
    std::vector<SeedValues> figures;
    for (const TargetSummary* target : targets_) {
      const TargetSummary* mean = second_metric(*target) == nullptr ? nullptr : other_metric(*target, "average");
      figures.push_back((mean == nullptr ? target : mean)->mean_by_seed(arm, true));
      if (figures.back().empty()) return {};
    }
    const SeedValues& most = *std::max_element(figures.begin(), figures.end(),
                                               [](const SeedValues& a, const SeedValues& b) { return a.size() < b.size(); });
    SeedValues averages;
    for (const auto& [seed, ignored] : most) {
      double sum = 0;
      bool complete = true;
      for (const SeedValues& values : figures) {
        const auto value = values.size() == 1 ? values.begin() : values.find(seed);
        complete = complete && value != values.end();
        if (value != values.end()) sum += value->second;
      }
      if (complete) averages[seed] = sum / static_cast<double>(figures.size());
    }
    return averages;
  }

  std::string average_cell(const Arm& arm) const {
    const SeedValues values = average(arm.label);
    return arm.label == arm.baseline ? latex_figure(spread_of(values))
                                     : latex_figure(difference(values, average(arm.baseline)), true);
  }

  Cells arm_line(const Arm& arm) const {
    Cells cells = {escape_latex(arm.label)};
    for (const TargetSummary* target : targets_) cells.push_back(cell(*target, arm));
    cells.push_back(average_cell(arm));
    return cells;
  }

  std::string overview() const {
    Cells heading = {"Intermediate training"};
    Cells metrics = {"Metric"};
    Cells counts = {"Languages"};
    for (const TargetSummary* target : targets_) {
      heading.push_back(shown(target->target));
      const TargetSummary* second = second_metric(*target);
      metrics.push_back(shown(target->metric) + (second == nullptr ? "" : " / " + shown(second->metric)));
      counts.push_back(std::to_string(target->mean_languages(target->values.begin()->first, true).size()));
    }
    heading.emplace_back("Avg.");
    metrics.emplace_back("");
    counts.emplace_back("");
    std::vector<std::vector<Cells>> groups = {{metrics, counts}};
    for (const Arm& baseline : summary_.arms) {
      if (baseline.label != baseline.baseline) continue;
      groups.push_back({arm_line(baseline)});
      groups.emplace_back();
      for (const Arm& arm : summary_.arms) {
        if (arm.baseline == baseline.label && arm.label != baseline.label) groups.back().push_back(arm_line(arm));
      }
      if (groups.back().empty()) groups.pop_back();
    }
    return table(
        targets_.size() + 1, heading, groups,
        "Means over seeds and each benchmark's languages, where there are several seeds with the standard deviation "
        "over them; below a baseline the differences to it.");
  }

  std::string languages(const TargetSummary& target) const {
    Cells heading = {shown(target.target) + ", " + shown(target.metric)};
    Cells means = {"Mean"};
    std::vector<const Arm*> arms;
    for (const Arm& arm : summary_.arms) {
      if (!target.values.contains(arm.label)) continue;
      arms.push_back(&arm);
      heading.push_back(escape_latex(arm.label));
      means.push_back(latex_figure(spread_of(target.mean_by_seed(arm.label, true))));
    }
    std::vector<Cells> lines;
    for (const std::string& language : target.languages) {
      lines.push_back({escape_latex(language) + (target.outside.contains(language) ? kDagger : "")});
      for (const Arm* arm : arms) lines.back().push_back(latex_figure(target.spread(arm->label, language)));
    }
    const std::string note = target.outside.empty() ? "" : std::string(" ") + kDagger + " Outside the mean.";
    return table(arms.size(), heading, {lines, {means}},
                 shown(target.target) + ", " + shown(target.metric) +
                     "; the mean is over the benchmark's languages that every column has." + note);
  }

  const Summary& summary_;
  std::vector<const TargetSummary*> targets_;
};

}  // namespace

std::string escape_latex(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      escaped += ' ';
    } else if (std::string_view("&%$#_{}").find(c) != std::string_view::npos) {
      escaped += std::string("\\") + c;
    } else if (c == '\\') {
      escaped += "\\textbackslash{}";
    } else if (c == '~') {
      escaped += "\\textasciitilde{}";
    } else if (c == '^') {
      escaped += "\\textasciicircum{}";
    } else if (c == '<') {
      escaped += "\\textless{}";
    } else if (c == '>') {
      escaped += "\\textgreater{}";
    } else if (c == '|') {
      escaped += "\\textbar{}";
    } else if (c == '"') {
      escaped += "{\\char34}";
    } else if (c == '[' || c == '*') {  // behind a line's end they would be its arguments
      escaped += std::string("{") + c + "}";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

std::string results_latex(const std::vector<ResultRow>& rows, const ReportDetails& details) {
  return Tables(summarise(rows, details.baseline, details.source_language)).text();
}

}  // namespace koine
