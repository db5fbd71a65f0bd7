#pragma once

// Sentence pairs with an inference label: MultiNLI and XNLI as distributed, GLUE's tables, XTREME's.
//
//   kJsonLines   multinli_1.0_*.jsonl, xnli.*.jsonl: gold_label, sentence1, sentence2, language where there are several
//                (also premise, hypothesis, label)
//   kHeaderTsv   multinli_1.0_*.txt, GLUE's MNLI/*.tsv, xnli.*.tsv, XNLI-MT's multinli.train.<lg>.tsv: columns found by
//   their names in
//                the first line, no quoting
//   kXtreme      {train,dev,test}-<lg>.tsv: premise, hypothesis, label (test: no label) without a header. XTREME writes them
//   with Python's
//                csv module, so a field with quotation marks stands in quotation marks, its own doubled; that is undone here
//
// Rows whose gold label is "-" (no agreement) are skipped; "contradictory" (XNLI-MT) is contradiction.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "tasks/common/task_files.h"

namespace koine {

/// contradiction 0, entailment 1, neutral 2: jiant's order.
const std::vector<std::string>& nli_labels();

struct NliExample {
  std::string premise;
  std::string hypothesis;
  std::int32_t label = -1;  ///< -1: unlabelled
};

struct NliFile {
  std::filesystem::path path;
  std::vector<NliExample> examples;
  bool labelled = true;
  std::int64_t skipped = 0;  ///< rows without an agreed label
};

/// Rows of `language` (all rows of a file without a language column). UserError: file, line, what was wrong, what to do;
/// also for a file without any example of that language.
NliFile read_nli(const FoundFile& file, const std::string& language);

/// Languages in the file's language column; empty where it has none.
std::set<std::string> nli_languages(const FoundFile& file);

/// One label word a line, as XTREME's predictions and label files have it.
std::vector<std::int32_t> read_nli_labels(const std::filesystem::path& path);

}  // namespace koine
