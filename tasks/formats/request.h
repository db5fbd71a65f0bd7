#pragma once

// What a reader is told besides the file: the part of a task's row (common/task_row.h) that says how its files are written.

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tasks/files/task_files.h"

namespace koine {

/// The columns of a table with a header, or the members of JSON objects, that hold the parts of an example: of several names
/// the first that is there. The defaults are MultiNLI's, XNLI's and PAWS-X's.
struct TextFields {
  std::vector<std::string> first = {"sentence1", "premise"};
  std::vector<std::string> second = {"sentence2", "hypothesis", "hypo"};  ///< empty: examples of a single text
  std::vector<std::string> label = {"gold_label", "label"};
  std::vector<std::string> language = {"language"};  ///< of files that hold several languages; need not be there
  bool short_rows = false;  ///< rows of a table with too few columns are left out (QQP has some), not refused
};

/// The same of multiple choice.
struct ChoiceFields {
  std::vector<std::string> prompt;   ///< the prompt's parts, with a blank between them
  std::vector<std::string> choices;  ///< of each choice
  std::string label;
  std::vector<std::string> answers;  ///< what the label says of each choice: "A", "B" ...
};

/// Where the columns of words stand, from 1.
struct TagColumns {
  std::int64_t word = 1;
  std::int64_t tag = 0;  ///< 0: the last one
};

struct ReadRequest {
  std::string language = {};             ///< wanted, where a file holds several
  std::vector<std::string> labels = {};  ///< in the order of the head's classes
  TextFields fields = {};
  std::vector<std::pair<std::string, std::string>> label_aliases = {};  ///< as files spell it -> the label it stands for
  std::string skipped_label = {};                                       ///< rows with it are left out; empty: none are
  std::int64_t max_examples = 0;                                        ///< a reader may stop behind so many; 0: all
  std::string split = {};                 ///< "train", "dev" or "test": what training needs may be missing elsewhere
  std::vector<std::string> columns = {};  ///< the names of a table's columns; empty: its first line says them
  ChoiceFields choice = {};
  TagColumns tags = {};
  bool inputs_only = false;       ///< labels and answers are not looked at and need not be there: to be predicted
  std::string english_file = {};  ///< pattern of the file beside that holds the English sentences; empty: english_side()
};

/// How a task's files become examples. `File` is what the task's family works on (LabelledTexts, TaggedFile ...).
template <class File>
struct FileReader {
  /// UserErrors name file and line (or question), and say what is wrong.
  using Read = File (*)(const FoundFile& file, const ReadRequest& request);
  /// Languages of a file that may hold several; empty where it does not say.
  using Languages = std::set<std::string> (*)(const FoundFile& file, const ReadRequest& request);

  // NOLINTNEXTLINE(google-explicit-constructor): a row names the function alone.
  constexpr FileReader(Read read_file, Languages languages_of_file = nullptr)
      : read(read_file), languages(languages_of_file) {}

  Read read;
  Languages languages;
};

}  // namespace koine
