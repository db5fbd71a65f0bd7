#pragma once

// F1 of names without their places, as mT5 is scored (google-research/multilingual-t5, evaluation/metrics.py, span_f1): a name
// of an answer is right where the gold of its sentence has one of the same type and text that no other has matched; precision,
// recall and F1 over all names of all sentences.

#include <string>
#include <vector>

#include "tasks/scorers/tagging_f1.h"

namespace koine {

struct NamedSpan {
  std::string type;
  std::string text;
  bool operator==(const NamedSpan&) const = default;
};

struct SpanF1 {
  double precision = 0;  ///< in percent, as all of them; 0 where there is nothing
  double recall = 0;
  double f1 = 0;
};

/// Names of one sentence; F1 is 2 right / (predicted + gold) of their sums.
ChunkCounts name_counts(const std::vector<NamedSpan>& gold, const std::vector<NamedSpan>& predictions);

/// Of as many sentences.
SpanF1 span_f1(const std::vector<std::vector<NamedSpan>>& gold, const std::vector<std::vector<NamedSpan>>& predictions);

}  // namespace koine
