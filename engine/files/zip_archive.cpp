#include "engine/files/zip_archive.h"

#include <cstdint>
#include <cstring>

#include "engine/files/crc32.h"
#include "kernels/common/check.h"

namespace koine {
namespace {

constexpr std::uint32_t kLocalHeader = 0x04034b50;
constexpr std::uint32_t kDirectoryEntry = 0x02014b50;
constexpr std::uint32_t kEnd = 0x06054b50;
constexpr std::uint32_t kEnd64 = 0x06064b50;
constexpr std::uint32_t kEnd64Locator = 0x07064b50;
constexpr std::uint16_t kExtra64 = 1;
constexpr std::uint32_t kSee64 = 0xffffffff;  // a field whose value stands in the zip64 record
constexpr std::size_t kEndBytes = 22;
constexpr std::size_t kEnd64LocatorBytes = 20;
constexpr std::size_t kLocalHeaderBytes = 30;
constexpr std::size_t kDirectoryEntryBytes = 46;
constexpr std::size_t kMaximumComment = 65535;

/// Little-endian numbers at places that are checked to be inside.
class Reader {
 public:
  Reader(std::string_view bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  template <class Number>
  Number number(std::uint64_t at) const {
    Number value;
    std::memcpy(&value, slice(at, sizeof value).data(), sizeof value);
    return value;
  }
  std::string_view slice(std::uint64_t at, std::uint64_t size) const {
    if (at > bytes_.size() || size > bytes_.size() - at) damaged("truncated");
    return bytes_.substr(at, size);
  }
  std::size_t size() const { return bytes_.size(); }
  [[noreturn]] void damaged(const char* how) const { fail_user(where_, ": damaged zip archive: ", how); }

 private:
  std::string_view bytes_;
  const std::string& where_;
};

struct Directory {
  std::uint64_t entries = 0;
  std::uint64_t begin = 0;
};

/// From the record at the archive's end, which only a comment may follow.
Directory find_directory(const Reader& archive) {
  if (archive.size() < kEndBytes) archive.damaged("truncated");
  const std::size_t last = archive.size() - kEndBytes;
  const std::size_t first = last - std::min(last, kMaximumComment);
  for (std::size_t at = last + 1; at-- > first;) {
    if (archive.number<std::uint32_t>(at) != kEnd) continue;
    if (at >= kEnd64LocatorBytes && archive.number<std::uint32_t>(at - kEnd64LocatorBytes) == kEnd64Locator) {
      const auto record = archive.number<std::uint64_t>(at - kEnd64LocatorBytes + 8);
      if (archive.number<std::uint32_t>(record) != kEnd64) archive.damaged("no zip64 record where one is promised");
      return {archive.number<std::uint64_t>(record + 32), archive.number<std::uint64_t>(record + 48)};
    }
    return {archive.number<std::uint16_t>(at + 10), archive.number<std::uint32_t>(at + 16)};
  }
  archive.damaged("its directory is missing; was it downloaded completely?");
}

struct Entry {
  std::string name;
  std::uint64_t size = 0;
  std::uint64_t header = 0;  // place of the local header
  std::uint32_t checksum = 0;
  std::uint64_t bytes = 0;  // of the directory entry itself
};

/// Takes the 64-bit values of the fields that say so, which stand in this order: size, compressed size, place.
void read_extra64(const Reader& archive, std::uint64_t begin, std::uint64_t size, std::uint64_t& compressed, Entry& entry) {
  for (std::uint64_t at = begin; at + 4 <= begin + size;) {
    const auto id = archive.number<std::uint16_t>(at);
    const auto length = archive.number<std::uint16_t>(at + 2);
    std::uint64_t value_at = at + 4;
    at += 4 + std::uint64_t{length};
    if (at > begin + size) archive.damaged("an extra field runs over");
    if (id != kExtra64) continue;
    for (std::uint64_t* field : {&entry.size, &compressed, &entry.header}) {
      if (*field != kSee64) continue;
      if (value_at + 8 > at) archive.damaged("a zip64 field is missing");
      *field = archive.number<std::uint64_t>(value_at);
      value_at += 8;
    }
  }
}

Entry read_entry(const Reader& archive, std::uint64_t at) {
  if (archive.number<std::uint32_t>(at) != kDirectoryEntry) archive.damaged("its directory is broken");
  const auto flags = archive.number<std::uint16_t>(at + 8);
  const auto method = archive.number<std::uint16_t>(at + 10);
  const std::uint64_t name_bytes = archive.number<std::uint16_t>(at + 28);
  const std::uint64_t extra_bytes = archive.number<std::uint16_t>(at + 30);
  const std::uint64_t comment_bytes = archive.number<std::uint16_t>(at + 32);
  Entry entry;
  entry.checksum = archive.number<std::uint32_t>(at + 16);
  std::uint64_t compressed = archive.number<std::uint32_t>(at + 20);
  entry.size = archive.number<std::uint32_t>(at + 24);
  entry.header = archive.number<std::uint32_t>(at + 42);
  entry.name = archive.slice(at + kDirectoryEntryBytes, name_bytes);
  entry.bytes = kDirectoryEntryBytes + name_bytes + extra_bytes + comment_bytes;
  read_extra64(archive, at + kDirectoryEntryBytes + name_bytes, extra_bytes, compressed, entry);
  if ((flags & 1u) != 0) archive.damaged("an entry is encrypted");
  if (method != 0 || compressed != entry.size) archive.damaged("an entry is compressed; torch.save stores them as they are");
  return entry;
}

std::string_view entry_data(const Reader& archive, const Entry& entry) {
  if (archive.slice(entry.header, kLocalHeaderBytes).substr(0, 4) != "PK\3\4") archive.damaged("an entry has no header");
  const std::uint64_t name_bytes = archive.number<std::uint16_t>(entry.header + 26);
  const std::uint64_t extra_bytes = archive.number<std::uint16_t>(entry.header + 28);
  return archive.slice(entry.header + kLocalHeaderBytes + name_bytes + extra_bytes, entry.size);
}

}  // namespace

bool is_zip_archive(std::string_view bytes) {
  std::uint32_t first = 0;
  if (bytes.size() < sizeof first) return false;
  std::memcpy(&first, bytes.data(), sizeof first);
  return first == kLocalHeader;
}

std::map<std::string, std::string_view> read_zip_archive(std::string_view archive, const std::string& where) {
  const Reader reader(archive, where);
  const Directory directory = find_directory(reader);
  std::map<std::string, std::string_view> entries;
  std::uint64_t at = directory.begin;
  std::uint64_t stored = 0;
  for (std::uint64_t i = 0; i < directory.entries; ++i) {
    const Entry entry = read_entry(reader, at);
    at += entry.bytes;
    const std::string_view data = entry_data(reader, entry);
    // Entries that share bytes would make a small file as much work as a large one.
    stored += kLocalHeaderBytes + data.size();
    if (stored > archive.size()) reader.damaged("its entries hold more than the file has; do they overlap?");
    require(crc32(data) == entry.checksum, where, ": entry ", entry.name,
            " does not match its checksum; the file is damaged");
    require(entries.emplace(entry.name, data).second, where, ": two entries are called ", entry.name);
  }
  return entries;
}

}  // namespace koine
