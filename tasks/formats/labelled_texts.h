#pragma once

// Texts, or pairs of texts, with a label: MultiNLI, XNLI and PAWS-X as distributed, GLUE's tables, XTREME's.
//
//   kJsonLines, kTsv, kCsv, kQuotedTsv   records (records.h), their parts found by the names the request gives
//   kXtreme      {train,dev,test}-<lg>.tsv: first, second, label (test: no label) without a header. XTREME writes them with
//                Python's csv module, so a field with quotation marks stands in quotation marks, its own doubled; that is
//                undone here. Its translated training sets (en-<lg>-translated.tsv) may have the original texts before the
//                translations: original first, original second, first, second, label
//
// Rows with the request's skipped_label are left out (MultiNLI's "-": no agreement), and where the request's fields say so
// rows with too few columns. A row may be longer than the header where the label is the header's last column: it is the
// row's last, too (GLUE's SNLI has a column for each annotator).

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "tasks/formats/request.h"

namespace koine {

struct LabelledText {
  std::string first;
  std::string second;       ///< empty where examples are single texts
  std::int32_t label = -1;  ///< number among the request's labels; -1: unlabelled
};

struct LabelledTexts {
  std::filesystem::path path;
  std::vector<LabelledText> examples;
  bool labelled = true;
  std::int64_t skipped = 0;  ///< rows left out

  void append(LabelledTexts&& more);
};

/// Rows of the request's language (all rows of a file without a language column). UserError: file, line, what was wrong,
/// what to do; also for a file without any example of that language.
LabelledTexts read_labelled_texts(const FoundFile& file, const ReadRequest& request);

/// Languages in the file's language column; empty where it has none.
std::set<std::string> languages_of_labelled_texts(const FoundFile& file, const ReadRequest& request);

/// The layout of a file that may have any: by its ending .jsonl, and by a first line that names the label's column.
FileLayout layout_of_labelled_texts(const std::filesystem::path& path, const TextFields& fields);

/// One label a line, as XTREME's predictions and label files have it; "unreadable", which stands for a written answer that was
/// none, is -1.
std::vector<std::int32_t> read_label_lines(const std::filesystem::path& path, const ReadRequest& request);

}  // namespace koine
