#include "tasks/report/study.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "kernels/common/check.h"
#include "tasks/languages/language_facts.h"
#include "tasks/report/study_cells.h"
#include "tasks/report/study_figures.h"
#include "tasks/report/study_parts.h"
#include "tasks/report/svg.h"
#include "tasks/statistics/association.h"

namespace koine {
namespace {

/// Of the study of morphology: languages with rich inflection, as its question names them.
const std::vector<std::string> kRichMorphology = {"fi", "hu", "et", "tr", "eu", "ka", "ta", "te", "kk"};

/// One page in the making.
class StudyWriter {
 public:
  StudyWriter(const std::string& name, const StudyInput& input) : input_(input), figures_(input, name == "low-resource") {
    page_.name = name;
    page_.question = study_question(name);
  }

  StudyPage scale() {
    by_model();
    page_.answer = scale_answer();
    add_part(consistency_part(figures_));
    common();
    return std::move(page_);
  }
  StudyPage morphology() {
    page_.answer = morphology_answer();
    morphology_tables();
    common();
    return std::move(page_);
  }
  StudyPage cost() {
    StudyPart part = cost_part(input_, figures_);
    page_.answer = part.answer;
    add_part(std::move(part));
    common();
    return std::move(page_);
  }
  StudyPage text_to_text() {
    by_model();
    page_.answer = scale_answer();
    answer_faults();
    add_part(consistency_part(figures_));
    common();
    return std::move(page_);
  }
  StudyPage low_resource() {
    page_.answer = low_resource_answer();
    page_.remarks.push_back("Languages that XTREME-R has beside XTREME's count as the others do.");
    text_tables();
    common();
    return std::move(page_);
  }

 private:
  using OfComparison = std::function<Measured(const Comparison&)>;

  Measured gain_in(const Comparison& c, const std::vector<std::string>& wanted) const {
    std::vector<std::string> languages;
    for (const std::string& language : figures_.languages(c)) {
      if (std::find(wanted.begin(), wanted.end(), language) != wanted.end()) languages.push_back(language);
    }
    return languages.empty() ? Measured{} : figures_.gain(c, languages);
  }
  OfComparison gain_measure() const {
    return [this](const Comparison& c) { return figures_.gain(c); };
  }
  OfComparison gap_measure() const {
    return [this](const Comparison& c) { return figures_.gap(c); };
  }
  std::size_t sized_models() const {
    const auto& models = figures_.models();
    return static_cast<std::size_t>(std::count_if(
        models.begin(), models.end(), [&](const std::string& model) { return figures_.log_parameters(model).has_value(); }));
  }
  std::string sized_text() const {
    return concatenate(sized_models(), " models of known size: ", sized_models() < 2 ? "a slope needs two" : "");
  }
  const std::string& largest() const {
    const auto& models = figures_.models();
    const std::size_t sized = sized_models();
    return models[sized == 0 ? models.size() - 1 : sized - 1];
  }

  // What every page has.

  void common() {
    gains_by_target();
    gains_by_language();
    gains_by_group();
    language_plot();
    add_part(alignment_part(input_, figures_));
    seeds_remark();
    examples_remarks();
    page_.remarks.push_back(
        "Intervals are Student's at 95 %, over seeds, but where a column says examples: about other seeds of the same "
        "trainings, not about other test items, tasks or languages. p values are corrected within a table by Holm.");
  }

  void add_part(StudyPart part) {
    for (StudyTable& table : part.tables) page_.tables.push_back(std::move(table));
    for (std::string& plot : part.plots) page_.plots.push_back(std::move(plot));
    for (std::string& remark : part.remarks) page_.remarks.push_back(std::move(remark));
  }

  /// What intervals over examples are about, and which targets have none.
  void examples_remarks() {
    std::string without;
    for (const TargetSummary& target : figures_.summary().targets) {
      if (!target.headline || target.metric == kAlignmentMetric ||
          figures_.examples().metric(target.target) == target.metric)
        continue;
      without += (without.empty() ? "" : ", ") + target.target;
    }
    if (figures_.examples().empty()) {
      page_.remarks.push_back("The runs have kept no outcomes of single examples: intervals are over seeds only.");
      return;
    }
    page_.remarks.push_back(concatenate(
        "Intervals over examples are percentiles at 95 % of ", format_thousands(static_cast<double>(kResamples)),
        " draws of the test examples with replacement, paired by example between arms (and between languages "
        "where test sets are translations of one another): about other test examples of the same kind within the "
        "seeds there are; the seeds' own spread is not in them. Fewer than ",
        kFewestExamples, " examples have none."));
    if (!without.empty())
      page_.remarks.push_back(
          "Intervals are over seeds only in what has figures of targets without outcomes of single examples: " + without +
          ".");
  }

  void gains_by_target() {
    StudyTable table{
        .title = "Gain by model, target and arm, zero-shot mean over languages",
        .note =
            "losing: share of the languages below the baseline; worst: the lowest language; gap: source language less "
            "zero-shot mean, both of the arm",
        .names = 3,
        .columns = {"model", "target", "arm", "baseline", "arm's mean", "gain", "languages", "losing, %", "worst",
                    "spread over languages", "gap"},
        .lines = {}};
    std::vector<Estimate> over_examples;
    for (const Comparison& c : figures_.comparisons()) {
      const std::vector<std::string> languages = figures_.languages(c);
      const Measured gain = figures_.gain(c);
      over_examples.push_back(gain.over_examples());
      std::vector<double> means;
      std::string worst;
      double least = INFINITY;
      for (const std::string& language : languages) {
        const double mean = spread_of(figures_.figure(c, {language}).values).mean;
        means.push_back(mean);
        if (mean < least) worst = concatenate(language, " ", format_decimal(mean, 1));
        least = std::min(least, mean);
      }
      const std::optional<double> deviation = spread_of(means).deviation;
      table.lines.push_back({{name_cell(c.arm->model),
                              name_cell(c.target->target + ", " + c.target->metric),
                              name_cell(c.arm->intermediate),
                              number_cell(figures_.baseline(c, languages)),
                              number_cell(figures_.figure(c, languages)),
                              estimate_cell(gain.estimate()),
                              {std::to_string(languages.size())},
                              number_cell(figures_.losing(c), 0),
                              {worst},
                              {deviation.has_value() ? format_decimal(*deviation, 1) : "–"},
                              estimate_cell(figures_.gap(c).estimate(), false)},
                             gain.rows});
    }
    add_holm(table, 5);
    add_over_examples(table, 5, over_examples);
    page_.tables.push_back(std::move(table));
  }

  void gains_by_language() {
    StudyTable table{.title = "Gain by language",
                     .note = "one line for each model, target, arm and language",
                     .names = 4,
                     .columns = {"model", "target", "arm", "language", "baseline", "arm", "gain"},
                     .lines = {}};
    std::vector<Estimate> over_examples;
    for (const Comparison& c : figures_.comparisons()) {
      for (const std::string& language : figures_.languages(c)) {
        const Measured gain = figures_.gain(c, {language});
        over_examples.push_back(gain.over_examples());
        table.lines.push_back({{name_cell(c.arm->model), name_cell(c.target->target), name_cell(c.arm->intermediate),
                                name_cell(shown_code(language)), number_cell(figures_.baseline(c, {language})),
                                number_cell(figures_.figure(c, {language})), estimate_cell(gain.estimate())},
                               gain.rows});
      }
    }
    add_holm(table, 6);
    add_over_examples(table, 6, over_examples);
    page_.tables.push_back(std::move(table));
  }

  /// Families and scripts, of all targets and arms together.
  void gains_by_group() {
    StudyTable table{.title = "Gain by family and script",
                     .note = "mean over targets and arms; languages without a row in koine's table are left out",
                     .names = 3,
                     .columns = {"model", "kind", "group", "languages", "gain"},
                     .lines = {}};
    std::vector<Estimate> over_examples;
    struct Grouping {
      const char* kind;
      std::string_view LanguageFacts::*member;
    };
    for (const Grouping& grouping :
         {Grouping{"family", &LanguageFacts::family}, Grouping{"script", &LanguageFacts::script}}) {
      std::map<std::string, std::vector<std::string>> groups;
      for (const std::string& language : figures_.languages()) {
        if (const LanguageFacts* facts = language_facts(language); facts != nullptr)
          groups[std::string(facts->*grouping.member)].push_back(language);
      }
      for (const std::string& model : figures_.models()) {
        for (const auto& [group, languages] : groups) {
          const Measured gain =
              figures_.of_model(model, [&, &members = languages](const Comparison& c) { return gain_in(c, members); });
          if (gain.rows.empty()) continue;
          over_examples.push_back(gain.over_examples());
          std::string names;
          for (const std::string& language : languages) names += (names.empty() ? "" : " ") + language;
          table.lines.push_back(
              {{name_cell(model), name_cell(grouping.kind), name_cell(group), {names}, estimate_cell(gain.estimate())},
               gain.rows});
        }
      }
    }
    if (table.lines.empty()) return;
    add_holm(table, 4);
    add_over_examples(table, 4, over_examples);
    page_.tables.push_back(std::move(table));
  }

  void language_plot() {
    const std::vector<std::string> languages = figures_.languages();
    if (languages.empty()) return;
    BarChart chart{.title = "Gain by language, mean over targets and arms, " + figures_.interval_words(),
                   .y_label = "points",
                   .categories = languages,
                   .series = {},
                   .reference_label = {}};
    for (const std::string& model : figures_.models()) {
      PlotSeries series{model, {}};
      for (const std::string& language : languages)
        series.values.push_back(
            study_plot_value(figures_.of_model(model, [&](const Comparison& c) { return gain_in(c, {language}); })));
      chart.series.push_back(std::move(series));
    }
    page_.plots.push_back(bar_chart_svg(chart));
  }

  /// How many seeds a gain of kSmallEffect would need, by the spread that is seen.
  void seeds_remark() {
    const Measured gain = figures_.of_model(largest(), gain_measure());
    const Spread spread = spread_of(gain.values);
    if (!spread.deviation.has_value() || *spread.deviation == 0) return;
    const std::optional<std::int64_t> seeds = pairs_needed(*spread.deviation, kSmallEffect);
    page_.remarks.push_back(concatenate(
        "The mean gain of ", largest(), " varies over ", spread.count, " seeds by ", format_decimal(*spread.deviation, 2),
        " points (standard deviation); with that, a true gain of ", kSmallEffect,
        " point is found with a probability of 80 % by ", seeds.has_value() ? std::to_string(*seeds) : "more than 10 000",
        " seeds (paired t test at 5 %, noncentral t)."));
  }

  // Scale.

  void by_model() {
    StudyTable models{
        .title = "By model",
        .note = "means over targets and arms that all models have",
        .names = 1,
        .columns = {"model", "parameters", "gain", "gap after intermediate training", "worst language", "losing, %"},
        .lines = {}};
    LineChart chart{.title = "Size of the model, " + figures_.interval_words(),
                    .x_label = "log10 of the parameters",
                    .y_label = "points",
                    .lines = {{"gain", {}}, {"gap to the source language", {}}}};
    std::vector<Estimate> gains;
    std::vector<Estimate> gaps;
    for (const std::string& model : figures_.models()) {
      const Measured gain = figures_.of_model(model, gain_measure());
      const Measured gap = figures_.of_model(model, gap_measure());
      const Measured worst = figures_.of_model(model, [&](const Comparison& c) { return figures_.worst(c); });
      const Measured losing = figures_.of_model(model, [&](const Comparison& c) { return figures_.losing(c); });
      const std::optional<double> size = figures_.log_parameters(model);
      models.lines.push_back({{name_cell(model),
                               {size ? format_thousands(std::pow(10, *size)) : "unknown"},
                               estimate_cell(gain.estimate()),
                               estimate_cell(gap.estimate(), false),
                               estimate_cell(worst.estimate(), false),
                               estimate_cell(losing.estimate(), false)},
                              gain.rows});
      gains.push_back(gain.over_examples());
      gaps.push_back(gap.over_examples());
      if (!size) continue;
      if (const auto value = study_plot_value(gain)) chart.lines[0].points.emplace_back(*size, *value);
      if (const auto value = study_plot_value(gap)) chart.lines[1].points.emplace_back(*size, *value);
    }
    std::erase_if(chart.lines, [](const PlotLine& line) { return line.points.empty(); });
    if (!chart.lines.empty()) page_.plots.push_back(line_chart_svg(chart));
    add_over_examples(models, 2, gains, true, false);
    add_over_examples(models, 3, gaps, false, false);
    page_.tables.push_back(std::move(models));
    slopes();
  }

  void slopes() {
    if (sized_models() < 2) return;
    StudyTable table{.title = "Slopes, points for ten times the parameters",
                     .note = "fitted to the models for each seed; the interval is over these slopes",
                     .names = 2,
                     .columns = {"measure", "target", "slope"},
                     .lines = {}};
    std::vector<Estimate> over_examples;
    const auto add = [&](const std::string& what, const std::string& target, const OfComparison& measure) {
      const Measured slope = figures_.slope([&](const std::string& model) {
        return figures_.of_model(model, [&](const Comparison& c) {
          return target.empty() || c.target->target == target ? measure(c) : Measured{};
        });
      });
      if (slope.values.empty()) return;
      table.lines.push_back(
          {{name_cell(what), name_cell(target.empty() ? "all" : target), estimate_cell(slope.estimate())}, slope.rows});
      over_examples.push_back(slope.over_examples());
    };
    std::vector<std::string> targets = {""};
    for (const Comparison& c : figures_.comparisons()) {
      if (std::find(targets.begin(), targets.end(), c.target->target) == targets.end()) targets.push_back(c.target->target);
    }
    for (const std::string& target : targets) {
      add("gain", target, gain_measure());
      add("gap after intermediate training", target, gap_measure());
      add("worst language", target, [&](const Comparison& c) { return figures_.worst(c); });
      add("share of languages that lose, %", target, [&](const Comparison& c) { return figures_.losing(c); });
    }
    if (table.lines.empty()) return;
    add_holm(table, 2);
    add_over_examples(table, 2, over_examples);
    page_.tables.push_back(std::move(table));
  }

  std::string scale_answer() {
    if (sized_models() < 2)
      return concatenate("Not answered: the figures are of ", sized_models(), " model", sized_models() == 1 ? "" : "s",
                         " of known size, and a slope needs two.");
    const auto slope_of = [&](const OfComparison& measure) {
      return figures_.slope([&](const std::string& model) { return figures_.of_model(model, measure); });
    };
    const Measured gain = slope_of(gain_measure());
    const Measured gap = slope_of(gap_measure());
    const bool has_gap = !gap.values.empty();
    const Measured& lead = has_gap ? gap : gain;
    const Estimate estimate = lead.estimate();
    const char* const unit = "points for ten times the parameters";
    if (!estimate.interval.has_value())
      return not_enough(
          lead,
          has_gap ? "after intermediate training the gap between the source language and the zero-shot mean changes by"
                  : "the gain of intermediate training changes by",
          unit);
    const bool good = has_gap ? below_zero(estimate) : above_zero(estimate);
    const bool bad = has_gap ? above_zero(estimate) : below_zero(estimate);
    std::string text = good ? "Yes: " : bad ? "No: " : "Not shown: ";
    text +=
        has_gap ? "after intermediate training the gap between the source language and the zero-shot mean " : "the gain ";
    text += estimate.value < 0 ? (has_gap ? "narrows" : "falls") : (has_gap ? "widens" : "grows");
    text += " with size, " + claim(estimate, unit);
    if (!good && !bad) text += ", which may be chance" + ruled_out(lead);
    if (has_gap) text += "; the gain of intermediate training changes by " + claim(gain.estimate(), unit);
    return text + concatenate(", over ", sized_models(), " models.");
  }

  /// Answers that could not be read, or came in another language, where an evaluation counts them.
  void answer_faults() {
    StudyTable table{
        .title = "Unreadable answers and accidental translation",
        .note =
            "percent of the answers: those that could not be read, which count as wrong; those in another script than the "
            "text they are about and no part of it, where answers are parts of texts",
        .names = 4,
        .columns = {"model", "arm", "target", "language", "unreadable, %", "other script, %"},
        .lines = {}};
    struct Faults {
      Measured unreadable;
      Measured other_script;
    };
    std::map<std::vector<std::string>, Faults> found;
    for (std::size_t i = 0; i < input_.rows.size(); ++i) {
      const ResultRow& row = input_.rows[i];
      if (!row.unreadable.has_value() || row.examples == 0) continue;
      Faults& faults = found[{row.model, row.intermediate, row.target, row.language}];
      const auto add = [&](Measured& measured, const std::optional<std::int64_t>& count) {
        if (!count.has_value()) return;
        measured.values[row.seed] = 100 * static_cast<double>(*count) / static_cast<double>(row.examples);
        measured.rows.push_back(i);
      };
      add(faults.unreadable, row.unreadable);
      add(faults.other_script, row.other_script);
    }
    for (const auto& [names, faults] : found) {
      StudyLine line{{}, faults.unreadable.rows};
      for (const std::string& name : names) line.cells.push_back(name_cell(name));
      for (const Measured* measured : {&faults.unreadable, &faults.other_script})
        line.cells.push_back(measured->values.empty() ? StudyCell{"–"} : estimate_cell(measured->estimate(), false));
      table.lines.push_back(std::move(line));
    }
    if (found.empty())
      page_.remarks.push_back(
          "The rows count no unreadable answers and no accidental translation, so nothing is said of them.");
    else
      page_.tables.push_back(std::move(table));
  }

  // Morphology.

  std::string morphology_answer() {
    const std::string& model = largest();
    std::vector<std::string> rich;
    for (const std::string& language : figures_.languages()) {
      if (std::find(kRichMorphology.begin(), kRichMorphology.end(), language) != kRichMorphology.end())
        rich.push_back(language);
    }
    if (rich.empty()) return "Not answered: none of the morphologically complex languages is among the figures.";
    const Measured gain = figures_.of_model(model, [&](const Comparison& c) { return gain_in(c, rich); });
    const Estimate estimate = gain.estimate();
    std::string names;
    for (const std::string& language : rich) names += (names.empty() ? "" : " ") + language;
    if (!estimate.interval.has_value())
      return not_enough(gain, concatenate("with ", model, " the gain in ", names, " is"), "points");
    std::string text = above_zero(estimate) ? "Yes: " : below_zero(estimate) ? "No: " : "Not shown: ";
    text += concatenate("with ", model, " the gain in ", names, " is ", claim(estimate, "points"));
    if (!above_zero(estimate) && !below_zero(estimate)) text += ", which may be chance" + ruled_out(gain);
    for (const char* language : {"fi", "hu"}) {
      const Measured one = figures_.of_model(model, [&](const Comparison& c) { return gain_in(c, {language}); });
      if (!one.values.empty())
        text += concatenate("; in ", language_facts(language)->name, " ", claim(one.estimate(), "points"));
    }
    return text + ".";
  }

  struct MorphologyMeasure {
    const char* name;
    std::optional<double> (*value)(const Morphology&);
  };
  static constexpr MorphologyMeasure kMeasures[] = {
      {"features per word", [](const Morphology& m) { return std::optional<double>(m.features_per_word); }},
      {"types per token", [](const Morphology& m) { return std::optional<double>(m.types_per_token); }},
      {"pieces per word", [](const Morphology& m) { return m.pieces_per_word; }},
  };

  void morphology_tables() {
    if (input_.morphology.empty()) {
      page_.remarks.push_back(
          "No measures of morphology were given (--morphology, a file of `koine data morphology`), so nothing is "
          "correlated.");
      return;
    }
    StudyTable table{
        .title = "Morphology and gain by language",
        .note = "gain: mean over models, targets and arms",
        .names = 1,
        .columns = {"language", "words", "features per word", "types per token", "among", "pieces per word", "gain"},
        .lines = {}};
    for (const std::string& language : figures_.languages()) {
      const auto found = input_.morphology.find(language);
      if (found == input_.morphology.end()) continue;
      const Morphology& m = found->second;
      std::vector<Measured> parts;
      for (const Comparison& c : figures_.comparisons()) parts.push_back(gain_in(c, {language}));
      const Measured gain = mean_of(parts);
      table.lines.push_back({{name_cell(shown_code(language)),
                              {format_thousands(static_cast<double>(m.words))},
                              {format_decimal(m.features_per_word, 2)},
                              {format_decimal(m.types_per_token, 3)},
                              {format_thousands(static_cast<double>(m.counted))},
                              {m.pieces_per_word ? format_decimal(*m.pieces_per_word, 2) : "–"},
                              estimate_cell(gain.estimate())},
                             gain.rows});
    }
    page_.tables.push_back(std::move(table));
    morphology_fits();
  }

  /// Gains, means over seeds, against a measure of the language: correlation of the languages' means, and a line with a level for
  /// every model, target and arm.
  void morphology_fits() {
    StudyTable table{
        .title = "Gain against morphology",
        .note =
            "correlations over languages (gain: mean over all models, targets and arms); slope: points for one more of the "
            "measure, with a random intercept for every model, target and arm, by restricted likelihood. n counts "
            "languages, "
            "and pairs of language and level; these intervals are over languages, not seeds",
        .names = 1,
        .columns = {"measure", "Spearman", "Pearson", "slope"},
        .lines = {}};
    for (const MorphologyMeasure& measure : kMeasures) {
      std::vector<double> x, y, means_x, means_y;
      std::vector<std::size_t> group;
      Measured used;
      for (const std::string& language : figures_.languages()) {
        const auto found = input_.morphology.find(language);
        const auto value = found == input_.morphology.end() ? std::nullopt : measure.value(found->second);
        if (!value.has_value()) continue;
        std::vector<double> gains;
        for (std::size_t c = 0; c < figures_.comparisons().size(); ++c) {
          const Measured gain = gain_in(figures_.comparisons()[c], {language});
          if (gain.values.empty()) continue;
          gains.push_back(spread_of(gain.values).mean);
          x.push_back(*value);
          y.push_back(gains.back());
          group.push_back(c);
          used.add_rows(gain.rows);
        }
        if (gains.empty()) continue;
        means_x.push_back(*value);
        means_y.push_back(spread_of(gains).mean);
      }
      const Estimate grouped = fit_grouped_line(x, y, group).slope;
      const Estimate slope = grouped.count > 0 ? grouped : fit_line(x, y).slope;
      table.lines.push_back({{name_cell(measure.name), estimate_cell(spearman(means_x, means_y)),
                              estimate_cell(pearson(means_x, means_y)), estimate_cell(slope)},
                             used.rows});
    }
    add_holm(table, 3);
    page_.tables.push_back(std::move(table));
  }

  // Low resource.

  /// For each seed the least-squares slope of a model's gains on log10 of GiB in CC-100, each target and arm centred by itself.
  Measured text_slope(const std::string& model) const {
    std::vector<std::pair<double, Measured>> points;
    double squares = 0;
    for (const Comparison& c : figures_.comparisons()) {
      if (c.arm->model != model) continue;
      std::vector<double> sizes;
      const std::size_t first = points.size();
      for (const std::string& language : figures_.languages(c)) {
        const LanguageFacts* facts = language_facts(language);
        if (facts == nullptr || facts->cc100_gib <= 0) continue;
        sizes.push_back(std::log10(facts->cc100_gib));
        points.emplace_back(sizes.back(), figures_.gain(c, {language}));
      }
      const double mean = spread_of(sizes).mean;
      for (std::size_t i = first; i < points.size(); ++i) {
        points[i].first -= mean;
        squares += points[i].first * points[i].first;
      }
    }
    if (points.size() < 3 || squares == 0) return {};
    for (auto& [size, gain] : points)
      size /= squares;  // their sum in each target and arm is 0, so that the gains need not be centred
    return combined(points);
  }

  std::string low_resource_answer() {
    const char* const unit = "points of gain for ten times the text";
    const Measured last = text_slope(largest());
    const Estimate at_largest = last.estimate();
    if (at_largest.count == 0) return "Not answered: fewer than three languages of known CC-100 size are among the figures.";
    if (!at_largest.interval.has_value())
      return not_enough(last, concatenate("with ", largest(), " richer languages differ by"), unit);
    if (sized_models() < 2)
      return concatenate("Not answered: ", sized_models(), " model of known size, and a change with size needs two; with ",
                         largest(), ", richer languages differ by ", claim(at_largest, unit), ".");
    const Measured change = figures_.slope([&](const std::string& model) { return text_slope(model); });
    const Estimate estimate = change.estimate();
    if (!estimate.interval.has_value())
      return not_enough(change, "the advantage of languages with more text changes by",
                        concatenate(unit, " and ten times the parameters"));
    const bool yes = below_zero(estimate);
    const bool no = above_zero(estimate);
    std::string text = yes ? "Yes: " : no ? "No: " : "Not shown: ";
    text += concatenate("the advantage of languages with more text changes by ", claim(estimate, unit),
                        " and ten times the parameters");
    if (!yes && !no) text += ", which may be chance" + ruled_out(change);
    return text + concatenate("; it is ", claim(text_slope(figures_.models().front()).estimate(), unit), " with ",
                              figures_.models().front(), " and ", claim(at_largest, unit), " with ", largest(), ".");
  }

  void text_tables() {
    StudyTable slopes{.title = "Gain against log10 of GiB in CC-100",
                      .note =
                          "slope by seed over languages, targets and arms centred; correlation over languages of the mean "
                          "gain (interval over languages)",
                      .names = 1,
                      .columns = {"model", "slope", "Spearman over languages"},
                      .lines = {}};
    LineChart chart{.title = "Gain and text of the language in pretraining, " + figures_.interval_words(),
                    .x_label = "log10 of GiB in CC-100",
                    .y_label = "points",
                    .lines = {}};
    std::vector<Estimate> over_examples;
    for (const std::string& model : figures_.models()) {
      std::vector<std::pair<double, PlotValue>> points;
      std::vector<double> x, y;
      for (const std::string& language : figures_.languages()) {
        const LanguageFacts* facts = language_facts(language);
        if (facts == nullptr || facts->cc100_gib <= 0) continue;
        const Measured gain = figures_.of_model(model, [&](const Comparison& c) { return gain_in(c, {language}); });
        if (gain.values.empty()) continue;
        x.push_back(std::log10(facts->cc100_gib));
        y.push_back(spread_of(gain.values).mean);
        points.emplace_back(x.back(), *study_plot_value(gain));
      }
      std::stable_sort(points.begin(), points.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
      if (!points.empty()) chart.lines.push_back({model, std::move(points)});
      const Measured slope = text_slope(model);
      slopes.lines.push_back(
          {{name_cell(model), estimate_cell(slope.estimate()), estimate_cell(spearman(x, y))}, slope.rows});
      over_examples.push_back(slope.over_examples());
    }
    add_holm(slopes, 1);
    add_over_examples(slopes, 1, over_examples);
    page_.tables.push_back(std::move(slopes));
    if (!chart.lines.empty()) page_.plots.push_back(line_chart_svg(chart));
    below_baseline();
  }

  void below_baseline() {
    StudyTable table{.title = "Languages below the baseline",
                     .note = "mean over targets and arms; those whose mean gain is negative",
                     .names = 2,
                     .columns = {"model", "language", "GiB in CC-100", "gain"},
                     .lines = {}};
    std::vector<Estimate> over_examples;
    for (const std::string& model : figures_.models()) {
      for (const std::string& language : figures_.languages()) {
        const Measured gain = figures_.of_model(model, [&](const Comparison& c) { return gain_in(c, {language}); });
        if (gain.values.empty() || spread_of(gain.values).mean >= 0) continue;
        const LanguageFacts* facts = language_facts(language);
        table.lines.push_back({{name_cell(model),
                                name_cell(shown_code(language)),
                                {facts == nullptr ? "unknown" : format_decimal(facts->cc100_gib, 1)},
                                estimate_cell(gain.estimate())},
                               gain.rows});
        over_examples.push_back(gain.over_examples());
      }
    }
    if (table.lines.empty()) return page_.remarks.emplace_back("No language's mean gain is negative."), void();
    add_holm(table, 3);
    add_over_examples(table, 3, over_examples);
    page_.tables.push_back(std::move(table));
  }

  const StudyInput& input_;
  StudyFigures figures_;
  StudyPage page_;
};

struct StudyRow {
  std::string name;
  std::string question;
  StudyPage (StudyWriter::*write)();
};

const std::vector<StudyRow>& studies() {
  static const std::vector<StudyRow> rows = {
      {"scale-and-robustness",
       "Does a larger pretrained model make zero-shot transfer after intermediate training more robust?",
       &StudyWriter::scale},
      {"morphology",
       "Does the gain of intermediate training hold for Finnish, Hungarian and other morphologically complex languages with "
       "models beyond large?",
       &StudyWriter::morphology},
      {"cost-and-gain", "What does multilingual intermediate training cost against English-only, for each point gained?",
       &StudyWriter::cost},
      {"mt5-scales", "How does the gain of intermediate training vary over mT5's sizes?", &StudyWriter::text_to_text},
      {"low-resource", "Does scale mitigate the loss of low-resource languages on XTREME-R?", &StudyWriter::low_resource},
  };
  return rows;
}

const StudyRow& study_named(const std::string& name) {
  std::string known;
  for (const StudyRow& row : studies()) {
    if (row.name == name) return row;
    known += (known.empty() ? "" : ", ") + row.name;
  }
  fail_user("--study ", name, ": there is no such study; there are ", known);
}

}  // namespace

std::vector<std::string> study_names() {
  std::vector<std::string> names;
  for (const StudyRow& row : studies()) names.push_back(row.name);
  return names;
}

const std::string& study_question(const std::string& name) { return study_named(name).question; }

StudyPage make_study(const std::string& name, const StudyInput& input) {
  const StudyRow& row = study_named(name);
  StudyWriter writer(name, input);
  return (writer.*row.write)();
}

}  // namespace koine
