#pragma once

// Pairs of a query and the text that is right for it, which a dual encoder learns from: questions with the sentences that
// answer them (squad_sentences.h), mentions with the descriptions of their entities (mewslix.h).

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace koine {

struct TextPair {
  std::string query;
  std::string candidate;
};

struct TextPairs {
  std::filesystem::path path;
  std::vector<TextPair> pairs;
  std::int64_t left_out = 0;  ///< queries without a candidate
  bool labelled = true;
};

}  // namespace koine
