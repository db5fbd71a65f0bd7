#include "tasks/text/text_form.h"

#include <unicode/uchar.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "kernels/common/check.h"
#include "tasks/scorers/python_text.h"

namespace koine {
namespace {

/// A form that is not made from the task's own names.
struct FormRow {
  std::string_view task;
  std::string_view input;
  std::vector<std::pair<std::string_view, std::string_view>> words;  ///< label, word
};

const std::vector<FormRow>& form_rows() {
  static constexpr std::string_view kXnli = "xnli: premise: {first} hypothesis: {second}";
  static const std::vector<std::pair<std::string_view, std::string_view>> kNli = {
      {"entailment", "0"}, {"neutral", "1"}, {"contradiction", "2"}};
  static const std::vector<FormRow> kRows = {
      {"mnli", kXnli, kNli},
      {"snli", kXnli, kNli},
      {"anli", kXnli, kNli},
      {"anli+", kXnli, kNli},
      {"pawsx", "paws sentence1: {first} sentence2: {second}", {{"0", "different_meaning"}, {"1", "paraphrase"}}},
      {"qqp", "qqp question1: {first} question2: {second}", {{"0", "not_duplicate"}, {"1", "duplicate"}}},
  };
  return kRows;
}

std::string glue_form(const std::string& name, const TextFields& fields) {
  std::string input = name + " " + (fields.first.empty() ? "text" : fields.first.front()) + ": {first}";
  if (!fields.second.empty()) input += " " + fields.second.front() + ": {second}";
  return input;
}

bool is_blank(char32_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }  // \s of RE2, which is ASCII's

/// [\s_\p{N}\p{L}\p{M}]
bool stays_joined(char32_t c) {
  const std::uint32_t mask = U_GET_GC_MASK(static_cast<UChar32>(c));
  return is_blank(c) || c == '_' || (mask & (U_GC_N_MASK | U_GC_L_MASK | U_GC_M_MASK)) != 0;
}

/// The characters that are no white space, and where each stands.
struct Letters {
  std::u32string characters;
  std::vector<std::size_t> places;
};
Letters letters_of(std::u32string_view text) {
  Letters letters;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (python_is_space(text[i])) continue;
    letters.characters.push_back(text[i]);
    letters.places.push_back(i);
  }
  return letters;
}

}  // namespace

TextForm text_form_of(const TaskRow& row) {
  TextForm form;
  form.name = row.train_task.empty() ? row.name : row.train_task;
  const auto& rows = form_rows();
  const auto own = std::find_if(rows.begin(), rows.end(), [&](const FormRow& one) { return one.task == form.name; });
  form.words = row.labels;
  if (own == rows.end()) {
    form.input = glue_form(form.name, row.fields);
    return form;
  }
  form.input = own->input;
  for (std::string& word : form.words) {
    const auto called =
        std::find_if(own->words.begin(), own->words.end(), [&](const auto& entry) { return entry.first == word; });
    if (called != own->words.end()) word = called->second;
  }
  return form;
}

std::string TextForm::labelled_text(std::string_view first, std::string_view second) const {
  std::string text;
  for (std::size_t at = 0; at < input.size();) {
    const auto takes = [&](std::string_view place, std::string_view value) {
      if (input.compare(at, place.size(), place) != 0) return false;
      text += value;
      at += place.size();
      return true;
    };
    if (!takes("{first}", first) && !takes("{second}", second)) text += input[at++];
  }
  return text;
}

std::string TextForm::choice(std::string_view prompt, const std::vector<std::string>& choices) const {
  std::string text = concatenate(name, ": ", prompt);
  for (std::size_t i = 0; i < choices.size(); ++i) text += concatenate(" (", static_cast<char>('a' + i), ") ", choices[i]);
  return text;
}

std::string TextForm::words_to_tag(std::string_view sentence) const { return concatenate(name, ": ", sentence); }

std::string question_text(std::string_view question, std::string_view context) {
  return trimmed(question_beginning(question) + " " + padded_context(context));
}

std::string question_beginning(std::string_view question) {
  return concatenate("question: ", trimmed(pad_punctuation(question)), " context:");
}

std::string padded_context(std::string_view context) { return trimmed(pad_punctuation(context)); }

std::string pad_punctuation(std::string_view text) {
  std::u32string padded;
  const auto blank = [&] {
    if (padded.empty() || padded.back() != ' ') padded.push_back(' ');
  };
  for (const char32_t c : decode_utf8(text)) {
    const bool joined = stays_joined(c);
    if (!joined || is_blank(c)) blank();
    if (!is_blank(c)) padded.push_back(c);
    if (!joined) blank();
  }
  return encode_utf8(padded);
}

std::string unpadded(std::string_view answer, std::string_view context) {
  const std::u32string text = decode_utf8(context);
  const Letters whole = letters_of(text);
  const Letters part = letters_of(decode_utf8(answer));
  const std::size_t at = part.characters.empty() ? std::u32string::npos : whole.characters.find(part.characters);
  if (at == std::u32string::npos) return std::string(answer);
  const std::size_t begin = whole.places[at];
  const std::size_t end = whole.places[at + part.characters.size() - 1] + 1;
  return encode_utf8(std::u32string_view(text).substr(begin, end - begin));
}

bool holds(std::string_view text, std::string_view part) {
  return letters_of(decode_utf8(text)).characters.find(letters_of(decode_utf8(part)).characters) != std::u32string::npos;
}

std::string trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n\v\f";
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return "";
  return std::string(text.substr(begin, text.find_last_not_of(kBlanks) + 1 - begin));
}

}  // namespace koine
