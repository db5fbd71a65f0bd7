#pragma once

// Reading text and JSON so that every complaint can name file and line; writing so that nothing is ever half-written.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace koine {

/// The whole file; UserError naming it when it cannot be read.
std::string read_file(const std::filesystem::path& path);

/// Lines without their end ("\n" or "\r\n"; a byte order mark at the start is dropped). `line` counts from 1. Lines that are
/// not valid UTF-8 are a UserError with file and line.
void for_each_line(const std::filesystem::path& path,
                   const std::function<void(std::string_view text, std::int64_t line)>& use);
std::vector<std::string> read_lines(const std::filesystem::path& path);

/// "path:line", as errors name it.
std::string place(const std::filesystem::path& path, std::int64_t line);

/// The text without `blanks` at both ends.
std::string_view strip(std::string_view text, std::string_view blanks = " \t");

/// Columns between tabs; no quoting.
std::vector<std::string_view> split_tabs(std::string_view line);

/// Byte offset of the first invalid UTF-8 sequence, or npos.
std::size_t invalid_utf8(std::string_view text);

/// Code point offset -> byte offset table of valid UTF-8: result[i] is the byte at which code point i begins; its last entry
/// is the size in bytes.
std::vector<std::int32_t> code_point_offsets(std::string_view text);

/// Strict JSON (no duplicate keys, nothing behind the value, no NUL byte); UserError naming file, line and what was
/// expected. `first_line`: the line of `where` on which `text` begins.
nlohmann::json read_json(const std::filesystem::path& path);
nlohmann::json parse_json(std::string_view text, const std::string& where, std::int64_t first_line = 1);

/// JSON lines: one object a line, empty lines skipped; `line` counts from 1.
void for_each_json_line(const std::filesystem::path& path,
                        const std::function<void(const nlohmann::json& row, std::int64_t line)>& use);

/// Writes under a temporary name in the same folder, syncs, renames. UserError when the disk is full or the folder cannot be
/// written; then an older file of that name is as it was.
void write_file_atomically(const std::filesystem::path& path, std::string_view content);

/// Makes the folder and its parents; UserError naming it.
void make_directory(const std::filesystem::path& path);

/// XXH3 (64 bit) of bytes, in hex.
std::string xxh3_hex(std::string_view bytes);
std::string xxh3_file(const std::filesystem::path& path);

/// The known name nearest to `wrong` by edit distance, for "did you mean"; empty when none is near.
std::string nearest_name(std::string_view wrong, const std::vector<std::string>& known);

}  // namespace koine
