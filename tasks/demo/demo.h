#pragma once

// Data for `koine demo`: six related artificial languages, and the files of all tasks in them.
//
// The method needs languages, and no data set may be shipped, so the demo makes its own. The languages descend from one
// invented proto-language (lexicon.h), differ in grammar and writing (grammar.h) and speak about one small world (world.h).
// The first plays the part English plays in XTREME: all training sets are in it. It therefore carries English's code "en"
// ("eng" in Tatoeba's file names), which the official layouts ask for, though it is not English. The others carry codes of
// ISO 639-2's private range (qaa to qtz), which nothing else may mean.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace koine {

struct DemoLanguage {
  std::string code;         ///< "en", "qag" ...: the same in every file name, Tatoeba's "eng" apart
  std::string name;         ///< of the treebank folder: "Source", "Case" ...
  std::string description;  ///< what sets it apart, one line
  bool low_resource = false;
};

/// The source first.
const std::vector<DemoLanguage>& demo_languages();

/// How many of what. All languages have the same, apart from the low-resource one's text.
struct DemoSizes {
  std::int64_t text_passages = 8000;     ///< lines of mlm/<lg>.train.txt; 15 to 25 words each
  std::int64_t text_dev_passages = 100;  ///< lines of mlm/<lg>.dev.txt
  double low_resource_share = 0.05;      ///< of text_passages for the low-resource language
  std::int64_t nli_train = 6000;         ///< pairs, like the next three rounded down to a multiple of three
  std::int64_t nli_dev = 300;            ///< pairs of MNLI's dev set
  std::int64_t xnli_dev = 300;
  std::int64_t xnli_test = 600;
  std::int64_t squad_train = 3000;  ///< questions, like the next two
  std::int64_t squad_dev = 200;
  std::int64_t xquad_test = 300;
  std::int64_t pos_train = 1000;  ///< sentences
  std::int64_t pos_dev = 100;
  std::int64_t pos_test = 300;
  std::int64_t tatoeba = 300;  ///< pairs a language
};

/// Writes the data of all languages below `directory`:
///
///   mlm/<lg>.{train,dev}.txt                           lines of text: passages, and in languages other than the
///                                                      source word lists and sentences with translations
///   multinli_1.0/multinli_1.0_{train,dev_matched}.jsonl   source
///   XNLI-1.0/xnli.{dev,test}.tsv                       all languages, line by line translations
///   train-v1.1.json, dev-v1.1.json                     source
///   xquad.<lg>.json                                    all languages, translations
///   ud-treebanks-v2.5/UD_<Name>-Demo/<lg>_demo-ud-{train,dev,test}.conllu   test: all languages; train and dev: source
///   tatoeba.<lg>-eng.{<lg>,eng}                        all but the source
///   lexicon.tsv                                        every word in every language, with an English gloss
///
/// Nothing of a test set's events is in a training set or in the text (split_of). Same seed and sizes, same bytes.
void write_demo_data(const std::filesystem::path& directory, std::uint32_t seed = 1, const DemoSizes& sizes = {});

}  // namespace koine
