#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

#include "kernels/common/check.h"
#include "tasks/report/study_cells.h"
#include "tasks/report/study_parts.h"
#include "tasks/statistics/association.h"

namespace koine {
namespace {

/// MEXA of one model behind one arm's intermediate training, in percent: mean over seeds, and the rows it is of.
struct Alignment {
  double sum = 0;
  std::vector<std::size_t> rows;

  double mean() const { return sum / static_cast<double>(rows.size()); }
};
using ByLanguage = std::map<std::string, Alignment>;

/// An alignment that may explain, of a language in a comparison.
enum class Explaining { kBefore, kAfter, kChange };
struct ExplainingKind {
  Explaining kind;
  const char* name;
};
constexpr ExplainingKind kExplaining[] = {
    {Explaining::kBefore, "alignment before"}, {Explaining::kAfter, "alignment after"}, {Explaining::kChange, "its change"}};

class AlignmentWriter {
 public:
  AlignmentWriter(const StudyInput& input, const StudyFigures& figures) : figures_(figures) {
    for (std::size_t i = 0; i < input.rows.size(); ++i) {
      const ResultRow& row = input.rows[i];
      if (row.metric != (row.layer.has_value() ? "mexa" : kAlignmentMetric)) continue;
      Alignment& one = alignment_[{row.model, row.intermediate}][row.layer][row.language];
      one.sum += row.value;
      one.rows.push_back(i);
    }
    for (const Arm& arm : figures.summary().arms) {
      if (arm.label == arm.baseline) baselines_[arm.model] = arm.intermediate;
    }
  }

  StudyPart write() {
    StudyPart part;
    if (alignment_.empty()) return part;
    for (const std::string& model : figures_.models()) add_model(model);
    if (!fits_.lines.empty()) {
      add_holm(fits_, 7);
      part.tables.push_back(std::move(fits_));
    }
    if (!layers_.lines.empty()) part.tables.push_back(std::move(layers_));
    if (!chart_.lines.empty()) part.plots.push_back(line_chart_svg(chart_));
    return part;
  }

 private:
  const ByLanguage* find(const std::string& model, const std::string& arm, std::optional<std::int64_t> layer) const {
    const auto layers = alignment_.find({model, arm});
    if (layers == alignment_.end()) return nullptr;
    const auto found = layers->second.find(layer);
    return found == layers->second.end() ? nullptr : &found->second;
  }

  /// The alignment of a language, with its rows added to `rows`.
  std::optional<double> value(const std::string& model, const std::string& arm, std::optional<std::int64_t> layer,
                              const std::string& language, Measured& used) const {
    const ByLanguage* languages = find(model, arm, layer);
    if (languages == nullptr || !languages->contains(language)) return std::nullopt;
    used.add_rows(languages->at(language).rows);
    return languages->at(language).mean();
  }

  std::optional<double> value(Explaining kind, const Arm& arm, std::optional<std::int64_t> layer,
                              const std::string& language, Measured& used) const {
    std::optional<double> before, after;
    if (kind != Explaining::kAfter) before = value(arm.model, baselines_.at(arm.model), layer, language, used);
    if (kind != Explaining::kBefore) after = value(arm.model, arm.intermediate, layer, language, used);
    if (kind == Explaining::kBefore) return before;
    if (kind == Explaining::kAfter) return after;
    return before && after ? std::optional<double>(*after - *before) : std::nullopt;
  }

  void add_model(const std::string& model) {
    std::vector<std::string> arms = figures_.arms(model);
    if (arms.size() > 1) arms.push_back("");
    for (const std::string& arm : arms) {
      for (const bool gap : {false, true}) {
        for (const ExplainingKind& by : kExplaining) add_fit(model, arm, gap, by);
      }
    }
    std::vector<std::string> lines = {baselines_.at(model)};
    for (const std::string& arm : figures_.arms(model)) {
      lines.push_back(arm);
      add_layers(model, arm);
    }
    for (const std::string& arm : lines) add_line(model, arm);
  }

  /// Gains, or gaps to the source language, and what may explain them.
  struct Pairs {
    std::vector<double> x, y;
    std::vector<std::size_t> group;                                    ///< by target and arm
    std::map<std::string, std::vector<std::pair<double, double>>> of;  ///< by language
    Measured used;

    std::pair<std::vector<double>, std::vector<double>> means() const {
      std::pair<std::vector<double>, std::vector<double>> means;
      for (const auto& [language, pairs] : of) {
        double a = 0, b = 0;
        for (const auto& [x, y] : pairs) a += x, b += y;
        means.first.push_back(a / static_cast<double>(pairs.size()));
        means.second.push_back(b / static_cast<double>(pairs.size()));
      }
      return means;
    }
  };

  Pairs pairs_of(const std::string& model, const std::string& arm, bool gap, Explaining by,
                 std::optional<std::int64_t> layer) const {
    Pairs pairs;
    const auto& comparisons = figures_.comparisons();
    for (std::size_t i = 0; i < comparisons.size(); ++i) {
      const Comparison& c = comparisons[i];
      if (c.arm->model != model || (!arm.empty() && c.arm->intermediate != arm)) continue;
      const std::string& source = c.target->source_language;
      if (gap && c.target->find(c.arm->label, source) == nullptr) continue;
      for (const std::string& language : figures_.languages(c)) {
        const std::optional<double> x = value(by, *c.arm, layer, language, pairs.used);
        const Measured y =
            gap ? less(figures_.figure(c, {source}), figures_.figure(c, {language})) : figures_.gain(c, {language});
        if (!x.has_value() || y.values.empty()) continue;
        pairs.x.push_back(*x);
        pairs.y.push_back(spread_of(y.values).mean);
        pairs.group.push_back(i);
        pairs.of[language].emplace_back(pairs.x.back(), pairs.y.back());
        pairs.used.add_rows(y.rows);
      }
    }
    return pairs;
  }

  void add_fit(const std::string& model, const std::string& arm, bool gap, const ExplainingKind& by) {
    const Pairs pairs = pairs_of(model, arm, gap, by.kind, std::nullopt);
    if (pairs.x.empty()) return;
    const auto [x, y] = pairs.means();
    const Estimate grouped = fit_grouped_line(pairs.x, pairs.y, pairs.group).slope;
    const Estimate slope = grouped.count > 0 ? grouped : fit_line(pairs.x, pairs.y).slope;
    fits_.lines.push_back({{name_cell(model),
                            name_cell(arm.empty() ? "all" : arm),
                            name_cell(gap ? "gap to the source" : "gain"),
                            name_cell(by.name),
                            {std::to_string(x.size())},
                            estimate_cell(spearman(x, y)),
                            estimate_cell(pearson(x, y)),
                            estimate_cell(slope)},
                           pairs.used.rows});
  }

  void add_layers(const std::string& model, const std::string& arm) {
    const auto found = alignment_.find({model, arm});
    if (found == alignment_.end()) return;
    for (const auto& [layer, languages] : found->second) {
      if (!layer.has_value()) continue;
      Measured used;
      std::vector<double> before, after, changes;
      for (const auto& [language, alignment] : languages) {
        used.add_rows(alignment.rows);
        after.push_back(alignment.mean());
        const std::optional<double> earlier = value(model, baselines_.at(model), layer, language, used);
        if (!earlier.has_value()) continue;
        before.push_back(*earlier);
        changes.push_back(after.back() - *earlier);
      }
      const auto [x, y] = pairs_of(model, arm, false, Explaining::kBefore, layer).means();
      const auto mean = [](const std::vector<double>& values) {
        return StudyCell{values.empty() ? "–" : format_decimal(spread_of(values).mean, 1)};
      };
      layers_.lines.push_back({{name_cell(model),
                                name_cell(arm),
                                name_cell(std::to_string(*layer)),
                                {std::to_string(languages.size())},
                                mean(before),
                                mean(after),
                                estimate_cell(mean_estimate(changes)),
                                estimate_cell(spearman(x, y))},
                               used.rows});
    }
  }

  void add_line(const std::string& model, const std::string& arm) {
    const auto found = alignment_.find({model, arm});
    if (found == alignment_.end()) return;
    PlotLine line{figures_.models().size() > 1 ? model + ", " + arm : arm, {}};
    for (const auto& [layer, languages] : found->second) {
      if (!layer.has_value()) continue;
      std::vector<double> values;
      for (const auto& [language, alignment] : languages) values.push_back(alignment.mean());
      line.points.emplace_back(static_cast<double>(*layer), PlotValue{spread_of(values).mean});
    }
    if (!line.points.empty()) chart_.lines.push_back(std::move(line));
  }

  const StudyFigures& figures_;
  /// By model and arm, by layer (none: the mean over layers), by language.
  std::map<std::pair<std::string, std::string>, std::map<std::optional<std::int64_t>, ByLanguage>> alignment_;
  std::map<std::string, std::string> baselines_;  ///< by model
  StudyTable fits_{.title = "Alignment with English (MEXA) and gain",
                   .note =
                       "alignment: MEXA in percent, mean over hidden states; before: of the baseline, after: of the arm's "
                       "model before it learns the target. Correlations over languages (both means over targets, and arms "
                       "where all are taken together); slope: points for one more percent of alignment, with a random "
                       "intercept for every target and arm. n counts languages, and pairs of language and level; these "
                       "intervals are over languages, not seeds, and take a language's figures in several targets to be "
                       "independent",
                   .names = 4,
                   .columns = {"model", "arm", "explained", "by", "languages", "Spearman", "Pearson", "slope"},
                   .lines = {}};
  StudyTable layers_{
      .title = "Alignment by layer",
      .note =
          "MEXA in percent, mean over languages; layer 0: behind the embeddings. Change: interval over "
          "languages. Spearman: of the alignment before with the gain, over languages; many layers are looked "
          "at, and the highest of many correlations is high by chance",
      .names = 3,
      .columns = {"model", "arm", "layer", "languages", "before", "after", "change", "Spearman with gain"},
      .lines = {}};
  LineChart chart_{.title = "Alignment with English (MEXA), mean over languages",
                   .x_label = "hidden state",
                   .y_label = "percent",
                   .lines = {}};
};

}  // namespace

StudyPart alignment_part(const StudyInput& input, const StudyFigures& figures) {
  return AlignmentWriter(input, figures).write();
}

}  // namespace koine
