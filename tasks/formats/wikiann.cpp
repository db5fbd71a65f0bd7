#include "tasks/formats/wikiann.h"

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/formats/labels.h"

namespace koine {
namespace {

constexpr std::string_view kBlanks = " \t\r";

/// Collects the lines of one sentence after the other.
class SentenceRows {
 public:
  SentenceRows(const std::string& name, const ReadRequest& request)
      : name_(name), request_(request), tagged_(!request.inputs_only) {}

  void add_line(std::string_view text, std::int64_t line) {
    const std::string_view row = strip(text, kBlanks);
    if (row.empty()) return finish();
    const std::string where = concatenate(name_, ":", line);
    const std::vector<std::string_view> fields = split_tabs(row);
    require(fields.size() == 2 || !tagged_, where, ": ", fields.size(), " columns; a row is language:form, a tab and a tag");
    const std::size_t colon = fields[0].find(':');
    require(colon != std::string_view::npos, where, ": \"", fields[0], "\" does not begin with its language and a colon");
    const std::int32_t tag = tagged_ ? label_number(strip(fields[1], kBlanks), request_, where) : -1;
    sentence_.push_back({std::string(strip(fields[0].substr(colon + 1), kBlanks)), tag});
  }

  void finish() {
    if (!sentence_.empty()) sentences_.push_back(std::move(sentence_));
    sentence_.clear();
  }

  TaggedFile take() {
    finish();
    require(!sentences_.empty(), name_, ": no sentences; is the file complete?");
    TaggedFile file;
    file.path = name_;
    file.labelled = tagged_;
    file.sentences = std::move(sentences_);
    return file;
  }

 private:
  const std::string& name_;
  const ReadRequest& request_;
  bool tagged_;
  TaggedSentence sentence_;
  std::vector<TaggedSentence> sentences_;
};

}  // namespace

TaggedFile read_wikiann(const FoundFile& file, const ReadRequest& request) {
  if (file.layout == FileLayout::kXtreme) return read_xtreme_tags(file.path, request);
  const std::string name = file.path.string();
  SentenceRows reader(name, request);
  for_each_line(file.path, [&](std::string_view text, std::int64_t line) { reader.add_line(text, line); });
  return reader.take();
}

TaggedFile parse_wikiann(std::string_view text, const std::string& name, const std::vector<std::string>& tags) {
  const ReadRequest request{.labels = tags};
  SentenceRows reader(name, request);
  for (std::int64_t line = 1; !text.empty(); ++line) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view row = text.substr(0, end);
    require(invalid_utf8(row) == std::string_view::npos, name, ":", line, ": not valid UTF-8; convert the text to UTF-8");
    reader.add_line(row, line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return reader.take();
}

}  // namespace koine
