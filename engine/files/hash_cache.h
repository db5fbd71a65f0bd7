#pragma once

// Hashes of files, each taken once: kept by path, size, time of the last change and inode, in memory and, where it has a
// file, between programs.

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

namespace koine {

class HashCache {
 public:
  /// `file`: where earlier programs left what they knew, and save() leaves it; empty: nowhere. What cannot be read there is
  /// as good as absent: it is only a cache.
  explicit HashCache(std::filesystem::path file = {});

  /// XXH3 of a file's bytes. UserError naming it when it cannot be read.
  std::string hash(const std::filesystem::path& path);
  void save() const;

 private:
  struct Entry {
    std::int64_t bytes = 0;
    std::int64_t changed = 0;  ///< nanoseconds since 1970
    std::int64_t inode = 0;
    std::string xxh3;
  };
  void read();

  std::filesystem::path file_;
  std::map<std::string, Entry> entries_;  ///< by absolute path
};

}  // namespace koine
