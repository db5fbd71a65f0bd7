#pragma once

// Sentence pairs for retrieval: Tatoeba as LASER distributes it, and as XTREME rearranges it.
//
// kOfficial  tatoeba.<l3>-eng.<l3> and tatoeba.<l3>-eng.eng: line i of one translates line i of the other.
// kXtreme    <lg>-en.<lg> and <lg>-en.en: the English side sorted, so that its order gives nothing away. The right answer
//            for an English line is then the number of its translation's line, which the files do not tell: unlabelled.
//
// Both become the same thing: the foreign lines in file order, the English lines sorted by their bytes (equal ones in file
// order), and for each English line the number, from 0, of its translation. That is XTREME's hidden label file.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "tasks/formats/request.h"

namespace koine {

struct ParallelText {
  std::filesystem::path path;  ///< of the English side, whose order says what is known
  std::filesystem::path foreign_path;
  std::vector<std::string> foreign;
  std::vector<std::string> english;        ///< sorted
  std::vector<std::int32_t> translations;  ///< [english] number of the foreign line; empty where unknown
  bool labelled = true;                    ///< whether it is known
};

/// The English file beside a foreign one: the request's english_file in the same folder, or where that is empty the same
/// name with the other ending.
std::filesystem::path english_side(const FoundFile& foreign, const ReadRequest& request);

/// The first request.max_examples pairs (0: all). UserError: a missing side, sides of different length, an empty line (file
/// and line), no lines.
ParallelText read_parallel_text(const FoundFile& foreign, const ReadRequest& request);

/// One number a line: predictions and labels. UserError with file and line for what is not a number from 0 on, nor, where that
/// is not empty, `none`, which is -1.
std::vector<std::int32_t> read_indices(const std::filesystem::path& path, std::string_view none = "");

}  // namespace koine
