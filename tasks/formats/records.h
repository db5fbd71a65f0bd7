#pragma once

// Records: the rows of a table or the objects of JSON lines, their parts found by name.
//
//   kJsonLines   one object a line. A name may lead into it: "question.stem", "endings.0"
//   kTsv         columns between tabs, no quoting
//   kCsv         columns between commas, with quoting (csv.h)
//   kQuotedTsv   columns between tabs with that quoting, as pandas writes tables
//
// A table's columns are named by its first line, or by the reader; then the first line is a record like the others.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tasks/files/task_files.h"

namespace koine {

/// A part of a record: the names it may have, of which the first that is there counts.
struct RecordField {
  std::vector<std::string> names;
  bool required = true;
  bool number = false;  ///< in JSON a whole number will do, too; it is read as its digits
  /// Where it is the last column of the header, the last one of a longer row: GLUE's SNLI has as many annotators' labels as
  /// a pair got, under a header for one; the gold label stays the last.
  bool last = false;
};

struct RecordShape {
  std::vector<RecordField> fields;
  std::vector<std::string> columns = {};  ///< the names of a table's columns; empty: its first line says them
  bool short_rows = false;                ///< rows of a table with too few columns are left out, not refused
};

/// Takes a record's parts in the order of the fields; one that need not be there and is not is empty.
using UseRecord = std::function<void(std::vector<std::string>&& parts, std::int64_t line)>;

/// Calls `use` for each record and `skip` for each that is left out. UserErrors name file and line: a column or member that
/// is not there, a row of another number of columns, a member of another kind.
void for_each_record(const FoundFile& file, const RecordShape& shape, const UseRecord& use,
                     const std::function<void()>& skip);

/// "sentence1 (or premise)"
std::string spell_names(const std::vector<std::string>& names);

}  // namespace koine
