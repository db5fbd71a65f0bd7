#pragma once

// CCG supertagging: the lexical category of every word.
//
//   kOfficial  CCGbank 1.1 (LDC2005T13), data/AUTO/<section>/wsj_*.auto: two lines a sentence, "ID=..." and a derivation
//              whose leaves are "(<L category modified-POS POS word indexed-category>)". Sections 00 to 18 are for training,
//              19 to 21 for development, 22 to 24 for testing
//   kXtreme    jiant's ccg.{train,dev,test}: the words between blanks, a tab, their categories between blanks
//
// A category's number is that of tags_to_id.json beside jiant's files; of CCGbank, the place of its first occurrence in the
// sections in order, words in order. jiant's head has 1,363 classes.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "tasks/formats/tagged.h"

namespace koine {

struct CcgWord {
  std::string form;
  std::string category;
  std::int64_t line = 0;  ///< of its file
};
using CcgSentence = std::vector<CcgWord>;

/// The sentences of the request's split; none for an .auto file of a section of another one. The labels are numbers.
/// UserError with file and line; also for more categories than the request has labels, and for one that tags_to_id.json
/// lacks.
TaggedFile read_ccg(const FoundFile& file, const ReadRequest& request);

/// The leaves of one derivation. UserError "where: ..." for what is not a derivation.
CcgSentence parse_ccg_derivation(std::string_view text, const std::string& where);

/// The sentences of an .auto file. UserError with file and line.
std::vector<CcgSentence> read_ccgbank(const std::filesystem::path& path);

/// The sentences of a file of jiant's layout. UserError with file and line: no tab, another number of categories than words.
std::vector<CcgSentence> read_ccg_lines(const std::filesystem::path& path);

}  // namespace koine
