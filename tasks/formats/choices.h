#pragma once

// Multiple choice: a prompt, several continuations of it, and which is right.

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

  void append(ChoiceFile&& more) {
    if (labelled && !more.labelled) path = more.path;
    labelled = labelled && more.labelled;
    std::move(more.examples.begin(), more.examples.end(), std::back_inserter(examples));
  }
};

}  // namespace koine
