#pragma once

// Multiple choice: a prompt, several continuations of it, and which is right. The data sets' own files:
//
//   hellaswag.h  commonsense_qa.h  cosmos_qa.h  social_iqa.h  copa.h

#include <cstdint>
#include <filesystem>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

namespace koine {

struct ChoiceExample {
  std::string prompt;
  std::vector<std::string> choices;
  std::int32_t label = -1;  ///< number of the right choice, from 0; -1: unlabelled
};

struct ChoiceFile {
  std::filesystem::path path;
  std::vector<ChoiceExample> examples;
  bool labelled = true;

  /// One more of the same file: all have a label or none has (UserError naming `where`).
  void add(ChoiceExample&& example, const std::string& where);
  void append(ChoiceFile&& more);
};

}  // namespace koine
