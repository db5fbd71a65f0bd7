#include "tasks/formats/conllu.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <span>
#include <utility>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/formats/labels.h"

namespace koine {
namespace {

constexpr std::size_t kColumns = 10;
// Far beyond any treebank's sentence and range ("1-2" of a word of two parts); finding the head of a range takes the product.
constexpr std::int64_t kMaximumWords = 10'000;
constexpr std::int64_t kMaximumRange = 100;
constexpr std::string_view kZeroWidthNonJoiner = "\xE2\x80\x8C";

// XTREME's ud-conversion-tools, conllu_to_conll.py.
constexpr std::array<std::string_view, 16> kDefaultOrder = {"VERB",  "NOUN",  "PROPN", "PRON", "ADJ", "NUM",
                                                            "ADV",   "INTJ",  "AUX",   "ADP",  "DET", "PART",
                                                            "CCONJ", "SCONJ", "X",     "PUNCT"};
constexpr std::array<std::string_view, 5> kSpanishOrder = {"VERB", "AUX", "PRON", "ADP", "DET"};
constexpr std::array<std::string_view, 11> kFrenchOrder = {"VERB", "AUX", "PRON", "NOUN",  "ADJ", "ADV",
                                                           "ADP",  "DET", "PART", "SCONJ", "CONJ"};
constexpr std::array<std::string_view, 7> kItalianOrder = {"VERB", "AUX", "ADV", "PRON", "ADP", "DET", "INTJ"};

std::span<const std::string_view> order_of(const std::string& language) {
  if (language == "es") return kSpanishOrder;
  if (language == "fr") return kFrenchOrder;
  if (language == "it") return kItalianOrder;
  return kDefaultOrder;
}

struct Word {
  std::string form;
  std::string tag;
  std::int64_t line = 0;
  std::vector<std::int32_t> heads;  ///< basic and enhanced, 0 = root
};

struct WordRange {
  std::int32_t first = 0;  ///< word numbers, from 1, both included
  std::int32_t last = 0;
  std::string form;
  std::int64_t line = 0;
};

std::optional<std::int32_t> whole_number(std::string_view text) {
  std::int32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

/// U+200C and blanks removed.
std::string bare_form(std::string_view form) {
  std::string result;
  for (std::size_t i = 0; i < form.size();) {
    if (form.substr(i).starts_with(kZeroWidthNonJoiner)) {
      i += kZeroWidthNonJoiner.size();
    } else {
      if (form[i] != ' ') result += form[i];
      ++i;
    }
  }
  return result;
}

/// Collects the rows of one sentence after the other.
class Reader {
 public:
  Reader(const std::string& language, const std::string& name) : order_(order_of(language)), name_(name) {}

  void add_line(std::string_view text, std::int64_t line) {
    if (text.empty()) return finish();
    if (text.front() == '#') return;
    const std::vector<std::string_view> fields = split_tabs(text);
    require(fields.size() == kColumns, place(line), fields.size(), " columns between tabs, CoNLL-U has ", kColumns,
            "; mend or remove the row");
    const std::string_view id = fields[0];
    if (id.find('.') != std::string_view::npos) return;  // an empty node
    if (const std::size_t dash = id.find('-'); dash != std::string_view::npos) return add_range(fields, dash, line);
    add_word(fields, line);
  }

  void finish() {
    check_references();
    if (!words_.empty()) keep(fused());
    words_.clear();
    ranges_.clear();
  }

  std::vector<TaggedSentence> take() { return std::move(sentences_); }
  std::int64_t masked() const { return masked_; }

 private:
  std::string place(std::int64_t line) const { return concatenate(name_, ":", line, ": "); }

  void add_word(const std::vector<std::string_view>& fields, std::int64_t line) {
    const auto number = static_cast<std::int64_t>(words_.size()) + 1;
    require(whole_number(fields[0]) == number, place(line), "id \"", fields[0], "\" where ", number,
            " is due; is an empty line missing between two sentences?");
    require(number <= kMaximumWords, place(line), "more than ", kMaximumWords, " words in one sentence");
    require(!fields[1].empty(), place(line), "the form is empty");
    Word word{std::string(strip(fields[1], " ")), std::string(strip(fields[3], " ")), line, {}};
    if (fields[6] != "_") {
      const std::optional<std::int32_t> head = whole_number(fields[6]);
      require(head.has_value(), place(line), "head \"", fields[6], "\" is not a number");
      word.heads.push_back(*head);
    }
    add_enhanced_heads(fields[8], word);
    words_.push_back(std::move(word));
  }

  /// "4:nsubj|7.1:conj": those that are words, not empty nodes.
  static void add_enhanced_heads(std::string_view dependencies, Word& word) {
    while (!dependencies.empty()) {
      const std::size_t end = std::min(dependencies.find('|'), dependencies.size());
      const std::string_view pair = dependencies.substr(0, end);
      if (const auto head = whole_number(pair.substr(0, std::min(pair.find(':'), pair.size())))) word.heads.push_back(*head);
      dependencies.remove_prefix(std::min(end + 1, dependencies.size()));
    }
  }

  void add_range(const std::vector<std::string_view>& fields, std::size_t dash, std::int64_t line) {
    const auto first = whole_number(fields[0].substr(0, dash));
    const auto last = whole_number(fields[0].substr(dash + 1));
    require(first && last && *first >= 1 && *first <= *last, place(line), "\"", fields[0], "\" is not a range of words");
    require(*last - *first < kMaximumRange, place(line), "the range ", fields[0], " has more than ", kMaximumRange,
            " words");
    require(*first == static_cast<std::int64_t>(words_.size()) + 1, place(line), "the range ", fields[0],
            " must stand before its first word");
    require(ranges_.empty() || ranges_.back().last < *first, place(line), "the range ", fields[0],
            " overlaps the one before");
    ranges_.push_back({*first, *last, std::string(strip(fields[1], " ")), line});
  }

  void check_references() const {
    const auto count = static_cast<std::int32_t>(words_.size());
    for (const Word& word : words_) {
      for (const std::int32_t head : word.heads) {
        require(head <= count, place(word.line), "head ", head, " is not in the sentence of ", count, " words");
      }
    }
    for (const WordRange& range : ranges_) {
      require(range.last <= count, place(range.line), "the range ", range.first, "-", range.last,
              " goes beyond the sentence of ", count, " words");
    }
  }

  /// Words (and the root, 0) from which `word` can be reached along edges from heads to dependents, itself not counted.
  std::size_t ancestors(std::int32_t word) const {
    std::vector<bool> seen(words_.size() + 1);
    std::vector<std::int32_t> open = {word};
    std::size_t count = 0;
    seen[static_cast<std::size_t>(word)] = true;
    while (!open.empty()) {
      const std::int32_t at = open.back();
      open.pop_back();
      if (at == 0) continue;
      for (const std::int32_t head : words_[static_cast<std::size_t>(at) - 1].heads) {
        if (seen[static_cast<std::size_t>(head)]) continue;
        seen[static_cast<std::size_t>(head)] = true;
        ++count;
        open.push_back(head);
      }
    }
    return count;
  }

  /// Place in the order of tags; what is not in it goes behind.
  std::size_t rank(const std::string& tag) const {
    return static_cast<std::size_t>(std::find(order_.begin(), order_.end(), tag) - order_.begin());
  }

  /// Number of the range's head. (fewest ancestors, then rank of tag, then place)
  std::int32_t head_of(const WordRange& range) const {
    std::int32_t best = range.first;
    std::pair<std::size_t, std::size_t> best_key{};
    for (std::int32_t word = range.first; word <= range.last; ++word) {
      const std::pair key{ancestors(word), rank(words_[static_cast<std::size_t>(word) - 1].tag)};
      if (word == range.first || key < best_key) {
        best = word;
        best_key = key;
      }
    }
    return best;
  }

  /// The sentence with every range as one word.
  std::vector<Word> fused() {
    std::vector<Word> result;
    std::size_t next_range = 0;
    for (std::int32_t number = 1; number <= static_cast<std::int32_t>(words_.size()); ++number) {
      if (next_range < ranges_.size() && ranges_[next_range].first == number) {
        const WordRange& range = ranges_[next_range++];
        const Word& head = words_[static_cast<std::size_t>(head_of(range)) - 1];
        result.push_back({range.form, head.tag, range.line, {}});
        number = range.last;
      } else {
        result.push_back(words_[static_cast<std::size_t>(number) - 1]);
      }
    }
    return result;
  }

  void keep(const std::vector<Word>& words) {
    const auto blanks = std::count_if(words.begin(), words.end(), [](const Word& word) { return word.form == "_"; });
    if (blanks != 0 && blanks >= static_cast<std::int64_t>(words.size()) - 1) {
      ++masked_;
      return;
    }
    TaggedSentence sentence;
    for (const Word& word : words) {
      const std::string tag = word.tag == "_" ? "X" : word.tag;
      sentence.push_back(
          {bare_form(word.form), label_number(tag, universal_parts_of_speech(), concatenate(name_, ":", word.line))});
    }
    sentences_.push_back(std::move(sentence));
  }

  std::span<const std::string_view> order_;
  const std::string& name_;
  std::vector<Word> words_;
  std::vector<WordRange> ranges_;
  std::vector<TaggedSentence> sentences_;
  std::int64_t masked_ = 0;
};

}  // namespace

TaggedFile read_conllu(const std::filesystem::path& path, const std::string& language) {
  const std::string name = path.string();
  Reader reader(language, name);
  for_each_line(path, [&](std::string_view text, std::int64_t line) { reader.add_line(text, line); });
  reader.finish();
  TaggedFile file;
  file.path = path;
  file.sentences = reader.take();
  file.masked = reader.masked();
  require(!file.sentences.empty() || file.masked > 0, name, ": no sentences; is the file complete?");
  return file;
}

std::vector<TaggedSentence> parse_conllu(std::string_view text, const std::string& language, const std::string& name) {
  Reader reader(language, name);
  for (std::int64_t line = 1; !text.empty(); ++line) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view row = text.substr(0, end);
    if (row.ends_with('\r')) row.remove_suffix(1);
    require(invalid_utf8(row) == std::string_view::npos, name, ":", line, ": not valid UTF-8; convert the text to UTF-8");
    reader.add_line(row, line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  reader.finish();
  return reader.take();
}

}  // namespace koine
