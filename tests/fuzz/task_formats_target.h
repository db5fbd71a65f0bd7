#pragma once

// As targets.h, for the parsers of tasks' files, of predictions and of experiments.

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/common/check.h"
#include "tasks/experiment/experiment.h"
#include "tasks/formats/ccg.h"
#include "tasks/formats/conllu.h"
#include "tasks/formats/cosmos_qa.h"
#include "tasks/formats/labelled_texts.h"
#include "tasks/formats/squad.h"
#include "tasks/formats/tagged.h"
#include "tasks/formats/wikiann.h"

namespace koine::fuzz {

/// Whether `parse` accepts its input.
template <class Parse>
bool accepted(const Parse& parse) {
  try {
    parse();
    return true;
  } catch (const UserError&) {
    return false;
  }
}

/// The input as a file, for readers that take none from memory; overwritten by the next call.
inline std::filesystem::path as_file(std::string_view bytes) {
  static const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("koine_fuzz_" + std::to_string(getpid()) + ".tsv");
  std::ofstream(path, std::ios::binary | std::ios::trunc).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return path;
}

/// Every tag of what was accepted must be one of the known ones.
inline bool conllu(std::string_view text) {
  return accepted([&] {
    for (const TaggedSentence& sentence : parse_conllu(text, "en", "fuzz")) {
      check(!sentence.empty(), "an empty sentence");
      for (const TaggedWord& word : sentence) {
        check(word.tag >= 0 && static_cast<std::size_t>(word.tag) < universal_parts_of_speech().size(),
              "a tag out of range");
      }
    }
  });
}

/// An experiment that was accepted is accepted again as it is written out.
inline bool experiment(std::string_view text) {
  return accepted([&] {
    const std::string written = experiment_toml(parse_experiment(std::string(text), "fuzz.toml", "data"));
    check(experiment_toml(parse_experiment(written, "fuzz.toml", "data")) == written,
          "an experiment is not what it was written as");
  });
}

/// MultiNLI's and XTREME's tables and JSON lines; the first byte says which.
inline bool labelled_texts(std::string_view bytes) {
  static constexpr FileLayout kLayouts[] = {FileLayout::kTsv, FileLayout::kXtreme, FileLayout::kJsonLines,
                                            FileLayout::kQuotedTsv, FileLayout::kCsv};
  if (bytes.empty()) return false;
  const FileLayout layout = kLayouts[static_cast<unsigned char>(bytes[0]) % std::size(kLayouts)];
  return accepted([&] {
    ReadRequest request;
    request.language = "en";
    request.labels = {"contradiction", "entailment", "neutral"};
    request.skipped_label = "-";
    request.split = "train";
    const LabelledTexts file = read_labelled_texts({as_file(bytes.substr(1)), layout}, request);
    check(!file.examples.empty(), "a file without examples is accepted");
    for (const LabelledText& example : file.examples)
      check(example.label >= (file.labelled ? 0 : -1) && example.label < 3, "a label out of range");
  });
}

/// Predictions of classification.
inline bool label_lines(std::string_view bytes) {
  return accepted([&] {
    ReadRequest request;
    request.labels = {"contradiction", "entailment", "neutral"};
    for (const std::int32_t label : read_label_lines(as_file(bytes), request))
      check(label >= 0 && label < 3, "a label out of range");
  });
}

/// Predictions of tagging.
inline bool predicted_tags(std::string_view bytes) {
  static const std::vector<std::string> tags = {"B-LOC", "I-LOC", "O"};
  return accepted([&] {
    for (const TaggedSentence& sentence : read_xtreme_tags(as_file(bytes), {.labels = tags}).sentences) {
      check(!sentence.empty(), "an empty sentence");
      for (const TaggedWord& word : sentence) check(word.tag < 3, "a tag out of range");
    }
  });
}

inline bool cosmos_qa(std::string_view text) {
  return accepted([&] {
    for (const ChoiceExample& example : parse_cosmos_qa(text, "fuzz").examples)
      check(example.choices.size() == 4 && example.label >= 0 && example.label < 4, "an example without its right choice");
  });
}

inline bool wikiann(std::string_view text) {
  static const std::vector<std::string> tags = {"B-LOC", "I-LOC", "O"};
  return accepted([&] {
    for (const TaggedSentence& sentence : parse_wikiann(text, "fuzz", tags).sentences) {
      check(!sentence.empty(), "an empty sentence");
      for (const TaggedWord& word : sentence) check(word.tag >= 0 && word.tag < 3, "a tag out of range");
    }
  });
}

inline bool ccg_derivation(std::string_view text) {
  return accepted([&] {
    for (const CcgWord& word : parse_ccg_derivation(text, "fuzz"))
      check(!word.form.empty() && !word.category.empty(), "a word without its form or category");
  });
}

inline bool squad2(std::string_view text) {
  return accepted([&] {
    const SquadFile file = parse_squad(text, "fuzz", {.places = true, .unanswerable = true});
    for (const SquadQuestion& question : file.questions) {
      for (const SquadAnswer& answer : question.answers) {
        check(file.contexts.at(question.paragraph)
                      .compare(static_cast<std::size_t>(answer.begin), answer.text.size(), answer.text) == 0,
              "an answer is not where it is said to be");
      }
    }
  });
}

}  // namespace koine::fuzz
