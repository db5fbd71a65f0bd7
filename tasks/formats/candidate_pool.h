#pragma once

// Queries, and one pool of candidates that each of them is to find its own in: what LAReQA (lareqa.h) and Mewsli-X
// (mewslix.h) are read as.

#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace koine {

struct PoolCandidate {
  std::string id;
  std::string text;  ///< as the encoder reads it
};

struct PoolQuery {
  std::string id;  ///< in LAReQA shared by the languages
  std::string language;
  std::string text;
};

struct CandidatePool {
  std::filesystem::path path;
  std::vector<PoolCandidate> candidates;
  std::vector<PoolQuery> queries;
  std::map<std::string, std::set<std::string>> targets;  ///< ids of candidates, by query id
  std::int64_t left_out = 0;                             ///< queries
  bool labelled = true;                                  ///< every query has a target

  void append(CandidatePool&& more);
};

}  // namespace koine
