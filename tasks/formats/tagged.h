#pragma once

// Sentences of words with one tag each, and XTREME's files of them.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tasks/formats/request.h"

namespace koine {

/// The 17 universal parts of speech, alphabetical.
const std::vector<std::string>& universal_parts_of_speech();

struct TaggedWord {
  std::string form;
  std::int32_t tag = -1;  ///< -1: untagged
};
using TaggedSentence = std::vector<TaggedWord>;

struct TaggedFile {
  std::filesystem::path path;
  std::vector<TaggedSentence> sentences;
  bool labelled = true;
  std::int64_t masked = 0;  ///< sentences dropped because their forms are not in the file (conllu.h)

  void append(TaggedFile&& more);
};

/// Treebanks (conllu.h) in the official layout, XTREME's files in theirs.
TaggedFile read_tagged(const FoundFile& file, const ReadRequest& request);

/// XTREME's {train,dev,test}-<lg>.tsv: "form<TAB>TAG" a line (test: the form alone), empty line between sentences; empty
/// sentences, which its scripts write between the others, are dropped. "_" counts as X. UserError with file and line.
TaggedFile read_xtreme_tags(const std::filesystem::path& path, const ReadRequest& request);

/// One tag a line, empty line between sentences: predictions and labels. Read as XTREME's evaluate.py does (lines stripped;
/// the last sentence needs no empty line behind it), but empty sentences are dropped: they hold no tag and change no score.
std::vector<std::vector<std::string>> read_tag_lines(const std::filesystem::path& path);

}  // namespace koine
