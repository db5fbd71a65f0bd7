#include "tasks/formats/tagged.h"

#include <iterator>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/formats/conllu.h"
#include "tasks/formats/labels.h"

namespace koine {
namespace {}  // namespace

const std::vector<std::string>& universal_parts_of_speech() {
  static const std::vector<std::string> tags = {"ADJ",  "ADP",  "ADV",   "AUX",   "CCONJ", "DET", "INTJ", "NOUN", "NUM",
                                                "PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X"};
  return tags;
}

TaggedFile read_xtreme_tags(const std::filesystem::path& path, const ReadRequest& request) {
  TaggedFile file;
  file.path = path;
  TaggedSentence sentence;
  std::size_t columns = 0;
  const auto finish = [&] {
    if (!sentence.empty()) file.sentences.push_back(std::move(sentence));
    sentence.clear();
  };
  for_each_line(path, [&](std::string_view text, std::int64_t line) {
    if (strip(text).empty()) return finish();
    const std::vector<std::string_view> fields = split_tabs(text);
    const std::string where = concatenate(path.string(), ":", line);
    if (columns == 0) columns = fields.size();
    require(fields.size() == columns && columns <= 2, where, ": ", fields.size(),
            " columns; every row must be a form and its tag (or none has a tag)");
    TaggedWord word{std::string(strip(fields[0])), -1};
    if (columns == 2) word.tag = label_number(fields[1] == "_" ? "X" : strip(fields[1]), request, where);
    sentence.push_back(std::move(word));
  });
  finish();
  require(!file.sentences.empty(), path.string(), ": no sentences; is the file complete?");
  file.labelled = columns == 2;
  return file;
}

void TaggedFile::append(TaggedFile&& more) {
  if (labelled && !more.labelled) path = more.path;
  labelled = labelled && more.labelled;
  masked += more.masked;
  std::move(more.sentences.begin(), more.sentences.end(), std::back_inserter(sentences));
}

TaggedFile read_tagged(const FoundFile& file, const ReadRequest& request) {
  if (file.layout == FileLayout::kXtreme) return read_xtreme_tags(file.path, request);
  return read_conllu(file.path, request.language);
}

std::vector<std::vector<std::string>> read_tag_lines(const std::filesystem::path& path) {
  std::vector<std::vector<std::string>> sentences;
  std::vector<std::string> sentence;
  const auto finish = [&] {
    if (!sentence.empty()) sentences.push_back(std::move(sentence));
    sentence.clear();
  };
  for_each_line(path, [&](std::string_view text, std::int64_t) {
    const std::string_view tag = strip(text);
    if (tag.empty()) return finish();
    sentence.emplace_back(tag);
  });
  finish();
  return sentences;
}

}  // namespace koine
