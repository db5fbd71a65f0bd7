#pragma once

// A study: one of five questions about intermediate training, answered from results.json of one run or several (one for each
// model size). The answer is a sentence made of the figures and their intervals; behind it the tables and plots it stands on.
//
// What is a gain: an arm's figure less the baseline's of the same model, target, language and seed (summary.h); of several
// targets, arms or languages the plain mean, formed for each seed first. Its interval is Student's over the seeds, at 95 %: it
// is about other seeds, not about other test items or other languages. p values of a table are corrected by Holm for all rows
// of that table. Where the runs have kept their examples' outcomes (kept_outcomes.h) there are intervals over test examples
// beside it, of the seeds as they are, also where there is one (example_figures.h). What changes with the size of the model is a slope on log10 of the parameters, fitted to the models for each seed,
// with Student's interval over these slopes. Without two seeds there is no interval over seeds, and nothing is claimed of other seeds.

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tasks/languages/morphology.h"
#include "tasks/report/kept_outcomes.h"
#include "tasks/report/results.h"
#include "tasks/report/translation_cost.h"
#include "tasks/statistics/inference.h"

namespace koine {

/// What the intermediate training of an arm took, of one seed.
struct TrainingCost {
  std::string model;
  std::string arm;
  std::uint32_t seed = 0;
  double flops = 0;
  double tokens = 0;
  double seconds = 0;
  std::optional<double> joules = std::nullopt;
  double translated_tokens = 0;  ///< of its training sets, each translation once
};

struct StudyInput {
  std::vector<ResultRow> rows;
  std::vector<std::string> places;  ///< of each row: "runs/large/results.json:12", counted from 1
  std::string baseline;             ///< as ReportDetails'
  std::string source_language = "en";
  std::map<std::string, double> parameters;      ///< by model; a model without any is left out of slopes
  std::map<std::string, Morphology> morphology;  ///< by language, of `koine data morphology`; may be empty
  std::vector<TrainingCost> costs;
  std::vector<KeptOutcomes> outcomes;  ///< as far as they are kept
  TranslationCost translation = {};
  double price = 0;         ///< money for a device's hour; 0: not asked for
  std::string energy_note;  ///< where joules come from; empty: nothing to say
};

struct StudyCell {
  std::string text;                                 ///< as it is shown
  std::optional<Estimate> estimate = std::nullopt;  ///< what it shows, for the CSV
};

struct StudyLine {
  std::vector<StudyCell> cells;
  std::vector<std::size_t> rows = {};  ///< of StudyInput::rows: what the figures are made of
};

struct StudyTable {
  std::string title;
  std::string note;
  std::size_t names = 1;  ///< so many of the columns, the first ones, are names
  std::vector<std::string> columns;
  std::vector<StudyLine> lines;
};

struct StudyPage {
  std::string name;
  std::string question;
  std::string answer;                ///< one sentence
  std::vector<std::string> remarks;  ///< what bounds it: seeds, missing figures, power
  std::vector<StudyTable> tables;
  std::vector<std::string> plots;  ///< SVG
};

/// scale-and-robustness, morphology, cost-and-gain, mt5-scales, low-resource.
std::vector<std::string> study_names();
/// UserError naming all for another name.
const std::string& study_question(const std::string& name);

/// UserErrors: unknown name; and as write_report says.
StudyPage make_study(const std::string& name, const StudyInput& input);

/// The page for people, and its tables for other programs. In the CSV every line of every table stands for itself, with its table's title, its
/// names, for each figure column, value, ends of the interval, count and p, and the places of the rows it is made of.
std::string study_html(const StudyPage& page);
std::string study_markdown(const StudyPage& page);
std::string study_latex(const StudyPage& page);
std::string study_csv(const StudyPage& page, const StudyInput& input);
/// Question, answer and remarks for a terminal.
std::string study_text(const StudyPage& page);

}  // namespace koine
