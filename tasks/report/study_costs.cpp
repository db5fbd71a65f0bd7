#include <algorithm>
#include <cmath>

#include "kernels/common/check.h"
#include "tasks/report/study_cells.h"
#include "tasks/report/study_parts.h"
#include "tasks/report/svg.h"

namespace koine {
namespace {

/// Mean over the seeds of what an arm's training took, and what it gains.
struct ArmCost {
  std::string arm;
  double flops = 0, tokens = 0, hours = 0;  ///< hours of translating among them, as of the next
  std::optional<double> kilowatt_hours;
  double money = 0;
  double translated = 0;         ///< tokens
  double translating_flops = 0;  ///< among `flops`
  Measured gain;
};

class CostWriter {
 public:
  CostWriter(const StudyInput& input, const StudyFigures& figures) : input_(input), figures_(figures) {}

  StudyPart write() {
    StudyTable table{
        .title = "Cost of the intermediate training and gain",
        .note =
            "cost: mean over seeds of what the training took, with translating where that is counted; frontier: no cheaper "
            "arm of the model gains as much. A dash: not known, or no gain to divide by",
        .names = 2,
        .columns = {"model", "arm", "PFLOP", "million tokens", "hours", "kWh", "money", "gain", "PFLOP a point",
                    "million tokens a point", "hours a point", "kWh a point", "money a point", "frontier",
                    "million tokens translated", "PFLOP of translating"},
        .lines = {}};
    LineChart chart{.title = "Gain and cost, " + figures_.interval_words(),
                    .x_label = "log10 of the FLOPs of intermediate training",
                    .y_label = "points",
                    .lines = {}};
    std::string answer = "Not answered: the runs have no costs.json with an intermediate training.";
    std::vector<Estimate> over_examples;
    StudyTable margins{
        .title = "Dearer arms against the cheapest",
        .note =
            "more gain: paired by seed. The rule: a dearer arm is chosen where the interval of what it gains more lies "
            "above "
            "zero; points an hour: what it gains more by what it takes more, to be held against other uses of the hours",
        .names = 3,
        .columns = {"model", "arm", "cheapest", "more PFLOP", "more hours", "more gain", "points an hour", "chosen"},
        .lines = {}};
    for (const std::string& model : figures_.models()) {
      const std::vector<ArmCost> arms = arm_costs(model);
      PlotLine frontier{model + ", frontier", {}};
      double best = -INFINITY;
      for (const ArmCost& arm : arms) {
        const double gain = spread_of(arm.gain.values).mean;
        const bool leads = !arm.gain.values.empty() && gain > best;
        const auto value = study_plot_value(arm.gain);
        if (value.has_value() && arm.flops > 0) {
          chart.lines.push_back({model + ", " + arm.arm, {{std::log10(arm.flops), *value}}});
          if (leads) frontier.points.emplace_back(std::log10(arm.flops), PlotValue{gain});
        }
        if (leads) best = gain;
        const std::string energy = arm.kilowatt_hours ? format_decimal(*arm.kilowatt_hours, 3) : "–";
        table.lines.push_back({{name_cell(model),
                                name_cell(arm.arm),
                                {format_decimal(arm.flops * 1e-15, 3)},
                                {format_decimal(arm.tokens * 1e-6, 3)},
                                {format_decimal(arm.hours, 3)},
                                {energy},
                                {has_money() ? format_decimal(arm.money, 2) : "–"},
                                estimate_cell(arm.gain.estimate()),
                                {per_point(arm.flops * 1e-15, arm, 3)},
                                {per_point(arm.tokens * 1e-6, arm, 3)},
                                {per_point(arm.hours, arm, 4)},
                                {arm.kilowatt_hours ? per_point(*arm.kilowatt_hours, arm, 4) : "–"},
                                {has_money() ? per_point(arm.money, arm, 2) : "–"},
                                {leads ? "yes" : "no"},
                                {format_decimal(arm.translated * 1e-6, 3)},
                                {format_decimal(arm.translating_flops * 1e-15, 3)}},
                               arm.gain.rows});
        over_examples.push_back(arm.gain.over_examples());
      }
      if (frontier.points.size() > 1) chart.lines.push_back(std::move(frontier));
      if (!arms.empty()) answer = add_margins(model, arms, margins);
    }
    if (!chart.lines.empty()) part_.plots.push_back(line_chart_svg(chart));
    if (!table.lines.empty()) {
      add_holm(table, 7);
      add_over_examples(table, 7, over_examples);
      part_.tables.push_back(std::move(table));
    }
    if (!margins.lines.empty()) {
      add_holm(margins, 5);
      add_over_examples(margins, 5, margin_examples_);
      part_.tables.push_back(std::move(margins));
    }
    translation_remark();
    if (!input_.energy_note.empty()) part_.remarks.push_back(input_.energy_note);
    part_.answer = std::move(answer);
    return std::move(part_);
  }

 private:
  /// The arms of a model, the cheapest first, each with the mean of its seeds' costs. Arms without costs are left out.
  std::vector<ArmCost> arm_costs(const std::string& model) const {
    std::vector<ArmCost> arms;
    for (const std::string& arm : figures_.arms(model)) {
      ArmCost cost{.arm = arm, .kilowatt_hours = 0.0, .gain = {}};
      double seeds = 0;
      for (const TrainingCost& one : input_.costs) {
        if (one.model != model || one.arm != arm) continue;
        ++seeds;
        cost.flops += one.flops;
        cost.tokens += one.tokens;
        cost.hours += one.seconds / 3600;
        cost.translated += one.translated_tokens;
        if (cost.kilowatt_hours && one.joules)
          *cost.kilowatt_hours += *one.joules / 3.6e6;
        else
          cost.kilowatt_hours.reset();
      }
      if (seeds == 0) continue;
      for (double* sum : {&cost.flops, &cost.tokens, &cost.hours, &cost.translated}) *sum /= seeds;
      if (cost.kilowatt_hours) *cost.kilowatt_hours /= seeds;
      add_translation(cost);
      cost.gain = figures_.of_model(
          model, [&](const Comparison& c) { return figures_.gain(c); }, arm);
      arms.push_back(std::move(cost));
    }
    std::stable_sort(arms.begin(), arms.end(), [](const ArmCost& a, const ArmCost& b) { return a.flops < b.flops; });
    return arms;
  }

  /// Adds what the translations took, and the money of all. Energy and hours of translating go by the arm's own rate and power.
  void add_translation(ArmCost& cost) const {
    const TranslationCost& translation = input_.translation;
    cost.translating_flops = cost.translated * translation.flops_per_token;
    const double share = cost.flops > 0 ? cost.translating_flops / (cost.flops * translation.efficiency) : 0;
    const double hours = cost.hours;
    cost.flops += cost.translating_flops;
    cost.hours += share * hours;
    if (cost.kilowatt_hours) *cost.kilowatt_hours *= 1 + share;
    const bool service = translation.price_per_million_tokens > 0;
    cost.money =
        input_.price * (service ? hours : cost.hours) + translation.price_per_million_tokens * cost.translated * 1e-6;
  }

  bool has_money() const { return input_.price > 0 || input_.translation.price_per_million_tokens > 0; }

  void translation_remark() {
    const bool translated = std::any_of(input_.costs.begin(), input_.costs.end(),
                                        [](const TrainingCost& cost) { return cost.translated_tokens > 0; });
    const TranslationCost& translation = input_.translation;
    if (!translated)
      return part_.remarks.emplace_back(
                 "No arm's costs.json says that it was trained on translations: nothing is counted for translating."),
             void();
    std::string text = "Translating the training sets, once for a training: ";
    if (translation.flops_per_token > 0)
      text +=
          concatenate(format_decimal(translation.flops_per_token * 1e-9, 2), " GFLOP for a token of the translations, at ",
                      format_decimal(translation.efficiency, 2), " of the rate of the training; both are assumed");
    else
      text += "its FLOPs and hours are not counted (0; --translation-flops)";
    text += translation.price_per_million_tokens > 0
                ? concatenate("; money: ", format_decimal(translation.price_per_million_tokens, 2), " for a million tokens.")
            : translation.flops_per_token > 0 ? "; money: the hours'."
                                              : "; nor is money (--translation-price).";
    part_.remarks.push_back(text);
  }

  /// A cost for each point of gain; a dash where nothing is gained.
  static std::string per_point(double cost, const ArmCost& arm, int decimals) {
    const double gain = spread_of(arm.gain.values).mean;
    return arm.gain.values.empty() || gain <= 0 ? "–" : format_decimal(cost / gain, decimals);
  }

  /// Lines of the dearer arms of a model, and what they say together: the answer where this is the last model.
  std::string add_margins(const std::string& model, const std::vector<ArmCost>& arms, StudyTable& margins) {
    const ArmCost& cheapest = arms.front();
    if (arms.size() < 2) return concatenate("Not answered: ", model, " has one arm with costs, ", cheapest.arm, ".");
    const ArmCost* leader = nullptr;
    Measured lead;
    std::vector<double> p;
    std::size_t place = 0;
    for (const ArmCost& arm : arms) {
      if (&arm == &cheapest) continue;
      const Measured more = less(arm.gain, cheapest.gain);
      const Estimate estimate = more.estimate();
      const double hours = arm.hours - cheapest.hours;
      if (estimate.p.has_value()) p.push_back(*estimate.p);
      if (leader == nullptr || (!more.values.empty() && estimate.value > lead.estimate().value)) {
        leader = &arm;
        lead = more;
        place = p.size();
      }
      margins.lines.push_back({{name_cell(model),
                                name_cell(arm.arm),
                                name_cell(cheapest.arm),
                                {format_decimal((arm.flops - cheapest.flops) * 1e-15, 3)},
                                {format_decimal(hours, 3)},
                                estimate_cell(estimate),
                                {hours > 0 && estimate.count > 0 ? signed_decimal(estimate.value / hours, 2) : "–"},
                                {above_zero(estimate) ? "yes" : "no"}},
                               more.rows});
      margin_examples_.push_back(more.over_examples());
    }
    const Estimate estimate = lead.estimate();
    if (!estimate.interval.has_value())
      return not_enough(lead, concatenate("of ", model, " ", leader->arm, " gains more than ", cheapest.arm, " by"),
                        "points");
    const double corrected = holm(p)[place - 1];
    const std::string ratio =
        cheapest.flops > 0 ? format_decimal(leader->flops / cheapest.flops, 1) + " times" : "more than";
    std::string text =
        concatenate(arms.size() - 1, " dearer arm", arms.size() == 2 ? "" : "s", " of ", model, ": the best, ", leader->arm,
                    ", gains ", claim(estimate, "points"), " more than ", cheapest.arm, " for ", ratio, " its FLOPs");
    const bool pays = above_zero(estimate) && corrected <= kSignificance;
    text += concatenate(", p ", corrected < 0.001 ? "" : "= ", p_text(corrected), " corrected for the choice");
    if (!pays) return "Not shown to pay: of " + text + ruled_out(lead) + ".";
    const Estimate own = leader->gain.estimate();
    if (above_zero(own)) return "It pays in points: of " + text + ".";
    return "It pays in points against the cheapest arm, but not shown against none: of " + text +
           concatenate("; against no intermediate training it gains ", claim(own, "points"), ".");
  }

  const StudyInput& input_;
  const StudyFigures& figures_;
  StudyPart part_;
  std::vector<Estimate> margin_examples_;  ///< of the dearer arms of all models so far
};

}  // namespace

StudyPart cost_part(const StudyInput& input, const StudyFigures& figures) { return CostWriter(input, figures).write(); }

}  // namespace koine
