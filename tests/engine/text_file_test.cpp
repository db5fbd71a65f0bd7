#include "engine/files/text_file.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/files/atomic_file.h"
#include "tests/engine/file_size_limit.h"
#include "tests/engine/temporary_folder.h"

namespace koine {
namespace {

void write_plain(const std::filesystem::path& path, std::string_view content) {
  std::ofstream(path, std::ios::binary) << content;
}

TEST(TextFile, ReadsWholeFiles) {
  const TemporaryFolder folder;
  for (const std::size_t size : {0, 1, 4095, 4096, 3'000'000}) {
    std::string content(size, 'x');
    for (std::size_t i = 0; i < size; i += 7) content[i] = static_cast<char>(i);
    write_plain(folder / "file", content);
    EXPECT_EQ(read_file(folder / "file"), content);
  }
  expect_user_error([&] { read_file(folder / "absent"); }, {"absent", "No such file"});
  expect_user_error([&] { read_file(folder.path()); }, {folder.path().string(), "directory"});
}

TEST(TextFile, CutsLines) {
  const TemporaryFolder folder;
  write_plain(folder / "text",
              "\xEF\xBB\xBF"
              "first\r\nsecond\n\n\tx\ry\nlast");
  EXPECT_EQ(read_lines(folder / "text"), (std::vector<std::string>{"first", "second", "", "\tx\ry", "last"}));
  write_plain(folder / "text", "a\n");
  EXPECT_EQ(read_lines(folder / "text"), std::vector<std::string>{"a"});
  write_plain(folder / "text", "");
  EXPECT_TRUE(read_lines(folder / "text").empty());
}

TEST(TextFile, LinesMayCrossBlocks) {
  const TemporaryFolder folder;
  const std::string lengthy(2'500'000, 'z');
  write_plain(folder / "text", "a\n" + lengthy + "\nb\n");
  std::vector<std::int64_t> numbers;
  for_each_line(folder / "text", [&](std::string_view text, std::int64_t line) {
    numbers.push_back(line);
    if (line == 2) {
      EXPECT_EQ(text, lengthy);
    }
  });
  EXPECT_EQ(numbers, (std::vector<std::int64_t>{1, 2, 3}));
}

TEST(TextFile, NamesTheLineThatIsNotUtf8) {
  const TemporaryFolder folder;
  write_plain(folder / "text", "fine\nf\xC3\xA4in\nbr\xE4t\n");
  expect_user_error([&] { read_lines(folder / "text"); }, {"text:3", "byte 3", "UTF-8"});
}

TEST(TextFile, FindsInvalidUtf8) {
  EXPECT_EQ(invalid_utf8(""), std::string_view::npos);
  EXPECT_EQ(invalid_utf8("plain ascii, longer than a word"), std::string_view::npos);
  EXPECT_EQ(invalid_utf8("\xC2\x80 \xDF\xBF \xE0\xA0\x80 \xED\x9F\xBF \xEE\x80\x80 \xF0\x90\x80\x80 \xF4\x8F\xBF\xBF"),
            std::string_view::npos);
  // Lone continuation, overlong forms, surrogates, beyond U+10FFFF, cut sequences: Unicode standard, table 3-7.
  for (const char* bad : {"\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
                          "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "\xC3", "\xE2\x82", "\xF0\x9F\x98", "\xC3("}) {
    EXPECT_EQ(invalid_utf8(std::string("eight by") + bad), 8u) << bad;
  }
}

TEST(TextFile, CountsCodePoints) {
  EXPECT_EQ(code_point_offsets("a\u00e9\u4e2d\U0001F600b"), (std::vector<std::int32_t>{0, 1, 3, 6, 10, 11}));
  EXPECT_EQ(code_point_offsets(""), std::vector<std::int32_t>{0});
}

TEST(TextFile, SplitsTabs) {
  EXPECT_EQ(split_tabs("a\t\"b\t\tc"), (std::vector<std::string_view>{"a", "\"b", "", "c"}));
  EXPECT_EQ(split_tabs(""), std::vector<std::string_view>{""});
}

TEST(TextFile, FindsTheNearestName) {
  const std::vector<std::string> known = {"learning_rate", "warmup_ratio", "seed"};
  EXPECT_EQ(nearest_name("lerning_rate", known), "learning_rate");
  EXPECT_EQ(nearest_name("sede", known), "seed");
  EXPECT_EQ(nearest_name("batch", known), "");
}

TEST(TextFile, HashesAsXxh3Does) {
  // XXH3_64bits of the empty input, xxHash's own sanity check.
  EXPECT_EQ(xxh3_hex(""), "2d06800538d394c2");
  const TemporaryFolder folder;
  const std::string content(2'100'000, 'q');
  write_plain(folder / "file", content);
  EXPECT_EQ(xxh3_file(folder / "file"), xxh3_hex(content));
}

TEST(AtomicFile, ReplacesAFileAtOnce) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "file", "old");
  {
    AtomicFile file(folder / "file");
    file.write("new, but never committed");
    EXPECT_EQ(read_file(folder / "file"), "old");
  }
  EXPECT_EQ(read_file(folder / "file"), "old");
  EXPECT_EQ(folder.entries(), 1u);
  const std::string large(300'000, 'n');
  write_file_atomically(folder / "file", large);
  EXPECT_EQ(read_file(folder / "file"), large);
  EXPECT_EQ(folder.entries(), 1u);
}

TEST(AtomicFile, NamesWhatCannotBeWritten) {
  const TemporaryFolder folder;
  expect_user_error([&] { write_file_atomically(folder / "no/such/file", "x"); }, {"no/such/file", "created"});
  expect_user_error([&] { write_file_atomically(folder.path(), "x"); }, {folder.path().string(), "folder"});
  // A device that is always full.
  if (std::filesystem::exists("/dev/full")) {
    expect_user_error([&] { write_file_atomically("/dev/full", "x"); }, {"/dev/full", "No space left", "free some space"});
  }
}

TEST(AtomicFile, LeavesTheOldFileWhenTheDiskFillsUp) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "file", "old");
  {
    const FileSizeLimit limit(100'000);
    expect_user_error([&] { write_file_atomically(folder / "file", std::string(250'000, 'x')); },
                      {"file", "cannot be written"});
  }
  EXPECT_EQ(read_file(folder / "file"), "old");
  EXPECT_EQ(folder.entries(), 1u);
}

TEST(TextFile, MakesFolders) {
  const TemporaryFolder folder;
  make_directory(folder / "a/b/c");
  make_directory(folder / "a/b/c");
  EXPECT_TRUE(std::filesystem::is_directory(folder / "a/b/c"));
  write_plain(folder / "plain", "");
  expect_user_error([&] { make_directory(folder / "plain"); }, {"plain"});
  expect_user_error([&] { make_directory(folder / "plain/below"); }, {"plain/below"});
}

TEST(Json, ReadsValues) {
  const nlohmann::json value =
      parse_json(R"({"a": [1, -2, 3.5, "é\u00e9", null, true, {}], "b": {"a": 18446744073709551615}})", "x");
  EXPECT_EQ(value["a"].size(), 7u);
  EXPECT_EQ(value["a"][3], "éé");
  EXPECT_EQ(value["b"]["a"].get<std::uint64_t>(), 18446744073709551615u);
  EXPECT_EQ(parse_json("\xEF\xBB\xBF 7 ", "x"), 7);
  EXPECT_EQ(parse_json("[]", "x"), nlohmann::json::array());
}

TEST(Json, NamesLineAndColumn) {
  expect_user_error([] { parse_json("{\"a\": 1,\n \"b\": }", "f.json"); }, {"f.json:2:7", "not valid JSON"});
  expect_user_error([] { parse_json("{\"a\": 1,\n\n  \"a\": 2}", "f.json"); }, {"f.json:3:5", "\"a\"", "twice"});
  expect_user_error([] { parse_json("{\"a\": {\"b\": 1}, \"a\": {}}", "f.json"); }, {"\"a\"", "twice"});
  expect_user_error([] { parse_json("", "f.json"); }, {"f.json", "empty"});
  expect_user_error([] { parse_json("{} x", "f.json"); }, {"f.json:1:4"});
  expect_user_error([] { parse_json("[\"\xFF\"]", "f.json"); }, {"f.json:1:3", "UTF-8"});
  expect_user_error([] { parse_json("[1e999]", "f.json"); }, {"f.json:1"});
  expect_user_error([] { parse_json("NaN", "f.json"); }, {"f.json:1"});
}

/// The parser itself takes a NUL for the end of its input.
TEST(Json, RefusesNulBytesAnywhere) {
  const std::string nul(1, '\0');
  for (const std::string& text : {"{\"a\":\n 1}" + nul, "{\"a\":\n 1}" + nul + "{\"b\": 2}", "{\"a\":\n 1 " + nul + "}",
                                  "{\"a\":\n \"x" + nul + "\"}", "{\n" + nul + nul + nul}) {
    expect_user_error([&] { parse_json(text, "f.json"); }, {"f.json:2:", "NUL"});
  }
  expect_user_error([&] { parse_json(nul, "f.json"); }, {"f.json:1:1", "NUL"});
  EXPECT_EQ(parse_json(R"(["\u0000"])", "x")[0], nul);  // written as JSON writes it
}

TEST(Json, LinesNameTheirPlace) {
  const TemporaryFolder folder;
  const auto read = [&](const std::string& text) {
    write_file_atomically(folder / "rows.jsonl", text);
    std::vector<std::int64_t> lines;
    for_each_json_line(folder / "rows.jsonl", [&](const nlohmann::json& row, std::int64_t line) {
      EXPECT_EQ(row.at("a"), line);
      lines.push_back(line);
    });
    return lines;
  };
  EXPECT_EQ(read("{\"a\": 1}\r\n\n{\"a\": 3}"), (std::vector<std::int64_t>{1, 3}));
  expect_user_error([&] { read("{\"a\": 1}\n{\"a\": 2} x\n"); }, {"rows.jsonl:2:10", "JSON"});
  expect_user_error([&] { read("{\"a\": 1}\n{\"a\": 2, \"a\": 3}\n"); }, {"rows.jsonl:2:", "twice"});
  expect_user_error([&] { read("{\"a\": 1}\n{\"a\": 2}" + std::string("\0{\n", 3)); }, {"rows.jsonl:2:9", "NUL"});
  expect_user_error([&] { read("{\"a\": 1}\n[2]\n"); }, {"rows.jsonl:2", "not a JSON object"});
}

TEST(Json, BoundsNesting) {
  EXPECT_NO_THROW(parse_json(std::string(128, '[') + std::string(128, ']'), "x"));
  expect_user_error([] { parse_json(std::string(1'000'000, '['), "x"); }, {"x:1:129", "deep"});
}

}  // namespace
}  // namespace koine
