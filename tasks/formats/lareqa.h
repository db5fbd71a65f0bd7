#pragma once

// LAReQA's XQuAD-R (Roy et al. 2020): which sentence, of all languages' contexts, answers a question.
//
//   xquad-r/<lg>.json  SQuAD 1.1's JSON with one answer a question, and in every paragraph "sentence_breaks", [[start, end],
//                      ...] in Unicode code points of the context, the end excluded
//
// The candidates are the sentences of all paragraphs that a question is asked of. A question's targets are, in every
// language, the sentence its answer begins in (by its id, which the languages share), and any of the same paragraph with the
// same text. A question whose answer begins in no sentence is left out (XTREME's utils_lareqa.py).

#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tasks/formats/request.h"

namespace koine {

struct AnswerSentence {
  std::string id;  ///< "<lg>_<paragraph, from 1>_<sentence, from 0>"
  std::string text;
  std::size_t context = 0;  ///< index into AnswerPool::contexts
};

struct PoolQuestion {
  std::string id;  ///< shared by the languages
  std::string language;
  std::string text;
};

struct AnswerPool {
  std::filesystem::path path;
  std::vector<std::string> contexts;
  std::vector<AnswerSentence> sentences;
  std::vector<PoolQuestion> questions;
  std::map<std::string, std::set<std::string>> targets;  ///< ids of sentences, by question id
  std::int64_t left_out = 0;                             ///< questions
  bool labelled = true;

  void append(AnswerPool&& more);
};

/// One language's file, its name the language. UserErrors name file and question, or the place in the structure.
AnswerPool read_lareqa(const FoundFile& file, const ReadRequest& request);

}  // namespace koine
