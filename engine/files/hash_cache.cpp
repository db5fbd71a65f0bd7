#include "engine/files/hash_cache.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"

namespace koine {
namespace {

using nlohmann::json;

constexpr std::int64_t kNanoseconds = 1'000'000'000;
/// A file that changed a moment ago may change again without its time showing it; its hash is not kept.
constexpr std::int64_t kSettled = 2 * kNanoseconds;

}  // namespace

HashCache::HashCache(std::filesystem::path file) : file_(std::move(file)) {
  if (file_.empty() || !std::filesystem::exists(file_)) return;
  try {
    read();
  } catch (const std::exception&) {
    entries_.clear();
  }
}

void HashCache::read() {
  const json all = read_json(file_);
  for (const auto& [path, entry] : all.items()) {
    entries_[path] = {entry.at("bytes").get<std::int64_t>(), entry.at("changed").get<std::int64_t>(),
                      entry.at("inode").get<std::int64_t>(), entry.at("xxh3").get<std::string>()};
  }
}

std::string HashCache::hash(const std::filesystem::path& path) {
  struct stat state;
  require(stat(path.c_str(), &state) == 0, path.string(), ": cannot be read: ", std::strerror(errno));
  Entry present = {state.st_size, state.st_mtim.tv_sec * kNanoseconds + state.st_mtim.tv_nsec,
                   static_cast<std::int64_t>(state.st_ino), ""};
  const std::string name = std::filesystem::absolute(path).lexically_normal().string();
  const auto known = entries_.find(name);
  if (known != entries_.end()) {
    const Entry& entry = known->second;
    if (entry.bytes == present.bytes && entry.changed == present.changed && entry.inode == present.inode) return entry.xxh3;
  }
  present.xxh3 = xxh3_file(path);
  const std::string hash = present.xxh3;
  if (std::time(nullptr) * kNanoseconds - present.changed > kSettled) entries_[name] = std::move(present);
  return hash;
}

void HashCache::save() const {
  if (file_.empty()) return;
  json all = json::object();
  for (const auto& [path, entry] : entries_) {
    all[path] = {{"bytes", entry.bytes}, {"changed", entry.changed}, {"inode", entry.inode}, {"xxh3", entry.xxh3}};
  }
  write_file_atomically(file_, all.dump(1) + "\n");
}

}  // namespace koine
