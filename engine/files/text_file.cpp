#include "engine/files/text_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "engine/files/atomic_file.h"
#include "kernels/common/check.h"

namespace koine {
namespace {

constexpr std::size_t kBlockBytes = std::size_t{1} << 20;
constexpr std::size_t kMaximumLineBytes = std::size_t{1} << 30;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

/// A file open for reading, block by block.
class InputFile {
 public:
  explicit InputFile(const std::filesystem::path& path) : path_(path) {
    descriptor_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor_ < 0) fail();
  }
  ~InputFile() { close(descriptor_); }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  /// Bytes read, 0 at the end.
  std::size_t read(char* buffer, std::size_t bytes) const {
    for (;;) {
      const ssize_t got = ::read(descriptor_, buffer, bytes);
      if (got >= 0) return static_cast<std::size_t>(got);
      if (errno != EINTR) fail();
    }
  }

  /// What the file system says, 0 where it does not know (a pipe).
  std::size_t size() const {
    struct stat state;
    return fstat(descriptor_, &state) == 0 && S_ISREG(state.st_mode) ? static_cast<std::size_t>(state.st_size) : 0;
  }

 private:
  [[noreturn]] void fail() const { fail_user(path_.string(), ": cannot be read: ", std::strerror(errno)); }

  std::filesystem::path path_;
  int descriptor_ = -1;
};

/// Number of bytes of the valid UTF-8 sequence that begins at text[at], 0 when there is none (overlong forms, surrogates and
/// values beyond U+10FFFF included: Unicode standard, table 3-7).
std::size_t sequence_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) -> unsigned { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto continues = [&](std::size_t i) { return (byte(i) & 0xC0u) == 0x80u; };
  const unsigned first = byte(at);
  if (first < 0x80) return 1;
  if (first < 0xC2 || first > 0xF4) return 0;
  if (first < 0xE0) return continues(at + 1) ? 2 : 0;
  const unsigned second = byte(at + 1);
  const unsigned lowest = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  const unsigned highest = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  if (second < lowest || second > highest || !continues(at + 2)) return 0;
  if (first < 0xF0) return 3;
  return continues(at + 3) ? 4 : 0;
}

/// Collects lines out of blocks and hands them on, checked.
class LineCutter {
 public:
  LineCutter(const std::filesystem::path& path, const std::function<void(std::string_view, std::int64_t)>& use)
      : path_(path), use_(use) {}

  void add(std::string_view block) {
    for (std::size_t end; (end = block.find('\n')) != std::string_view::npos; block.remove_prefix(end + 1)) {
      if (partial_.empty()) {
        hand_on(block.substr(0, end));
      } else {
        partial_.append(block.substr(0, end));
        hand_on(partial_);
        partial_.clear();
      }
    }
    partial_.append(block);
    require(partial_.size() <= kMaximumLineBytes, path_.string(), ":", line_ + 1,
            ": a line of more than 1 GiB; is this a text file?");
  }

  void finish() {
    if (!partial_.empty()) hand_on(partial_);
  }

 private:
  void hand_on(std::string_view text) {
    ++line_;
    if (line_ == 1 && text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
    if (text.ends_with('\r')) text.remove_suffix(1);
    const std::size_t bad = invalid_utf8(text);
    require(bad == std::string_view::npos, path_.string(), ":", line_, ": byte ", bad + 1,
            " of the line is not valid UTF-8; convert the file to UTF-8");
    use_(text, line_);
  }

  const std::filesystem::path& path_;
  const std::function<void(std::string_view, std::int64_t)>& use_;
  std::string partial_;
  std::int64_t line_ = 0;
};

std::string hex(std::uint64_t value) {
  std::string text(16, '0');
  for (std::size_t i = 16; i-- > 0; value >>= 4) text[i] = "0123456789abcdef"[value & 15];
  return text;
}

/// Levenshtein's distance.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({substituted, row[j] + 1, diagonal + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string read_file(const std::filesystem::path& path) {
  const InputFile file(path);
  std::string content(file.size() + 1, '\0');  // one more than expected, so that one read sees the end
  std::size_t size = 0;
  while (const std::size_t got = file.read(content.data() + size, content.size() - size)) {
    size += got;
    if (size == content.size()) content.resize(std::max(2 * size, kBlockBytes));
  }
  content.resize(size);
  return content;
}

void for_each_line(const std::filesystem::path& path,
                   const std::function<void(std::string_view text, std::int64_t line)>& use) {
  const InputFile file(path);
  std::vector<char> block(kBlockBytes);
  LineCutter cutter(path, use);
  while (const std::size_t got = file.read(block.data(), block.size())) cutter.add({block.data(), got});
  cutter.finish();
}

std::vector<std::string> read_lines(const std::filesystem::path& path) {
  std::vector<std::string> lines;
  for_each_line(path, [&](std::string_view text, std::int64_t) { lines.emplace_back(text); });
  return lines;
}

std::string place(const std::filesystem::path& path, std::int64_t line) { return concatenate(path.string(), ":", line); }

std::string_view strip(std::string_view text, std::string_view blanks) {
  const std::size_t begin = text.find_first_not_of(blanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

std::vector<std::string_view> split_tabs(std::string_view line) {
  std::vector<std::string_view> columns;
  for (std::size_t end; (end = line.find('\t')) != std::string_view::npos; line.remove_prefix(end + 1)) {
    columns.push_back(line.substr(0, end));
  }
  columns.push_back(line);
  return columns;
}

std::size_t invalid_utf8(std::string_view text) {
  constexpr std::uint64_t kHighBits = 0x8080808080808080u;
  for (std::size_t at = 0; at < text.size();) {
    std::uint64_t word;
    if (at + sizeof word <= text.size()) {
      std::memcpy(&word, text.data() + at, sizeof word);
      if ((word & kHighBits) == 0) {
        at += sizeof word;
        continue;
      }
    }
    const std::size_t length = sequence_length(text, at);
    if (length == 0) return at;
    at += length;
  }
  return std::string_view::npos;
}

std::vector<std::int32_t> code_point_offsets(std::string_view text) {
  check(text.size() <= kMaximumLineBytes, "text too long for 32-bit offsets: ", text.size(), " bytes");
  std::vector<std::int32_t> offsets;
  offsets.reserve(text.size() + 1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0u) != 0x80u) offsets.push_back(static_cast<std::int32_t>(i));
  }
  offsets.push_back(static_cast<std::int32_t>(text.size()));
  return offsets;
}

nlohmann::json read_json(const std::filesystem::path& path) { return parse_json(read_file(path), path.string()); }

void write_file_atomically(const std::filesystem::path& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

void make_directory(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  require(!error, path.string(), ": this folder cannot be made: ", error.message());
  require(std::filesystem::is_directory(path, error), path.string(), ": is a file, but a folder is needed there");
}

std::string xxh3_hex(std::string_view bytes) { return hex(XXH3_64bits(bytes.data(), bytes.size())); }

std::string xxh3_file(const std::filesystem::path& path) {
  const InputFile file(path);
  std::vector<char> block(kBlockBytes);
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  while (const std::size_t got = file.read(block.data(), block.size())) XXH3_64bits_update(&state, block.data(), got);
  return hex(XXH3_64bits_digest(&state));
}

std::string nearest_name(std::string_view wrong, const std::vector<std::string>& known) {
  std::string nearest;
  // A third of the letters may be wrong, two at least: more than that is another word.
  std::size_t least = std::max<std::size_t>(2, wrong.size() / 3) + 1;
  for (const std::string& name : known) {
    const std::size_t distance = edit_distance(wrong, name);
    if (distance < least && distance < name.size()) {
      least = distance;
      nearest = name;
    }
  }
  return nearest;
}

}  // namespace koine
