#pragma once

// Parts of study pages that stand by themselves.

#include <string>
#include <vector>

#include "tasks/report/study.h"
#include "tasks/report/study_figures.h"

namespace koine {

struct StudyPart {
  std::vector<StudyTable> tables;
  std::vector<std::string> plots;
  std::vector<std::string> remarks;
  std::string answer = {};  ///< to the study's question; empty: it gives none
};

/// Agreement of answers in each language with those in the source language (example_figures.h), of all arms, baselines too.
StudyPart consistency_part(const StudyFigures& figures);

/// Alignment with English (MEXA, scorers/mexa.h) of each language before and after the intermediate training, by layer, and how the gains
/// go with it. Empty where no target measures it.
StudyPart alignment_part(const StudyInput& input, const StudyFigures& figures);

/// What the intermediate trainings cost, translating among it, held against what they gain; the answer is that of the last model.
StudyPart cost_part(const StudyInput& input, const StudyFigures& figures);

}  // namespace koine
