#include "tasks/formats/parallel_text.h"

#include <algorithm>
#include <charconv>
#include <numeric>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"

namespace koine {
namespace {

/// Lines without blanks at their ends, as XTREME strips them.
std::vector<std::string> sentences_of(const std::filesystem::path& path) {
  std::vector<std::string> lines;
  for_each_line(path, [&](std::string_view text, std::int64_t line) {
    const std::size_t begin = text.find_first_not_of(" \t");
    require(begin != std::string_view::npos, path.string(), ":", line,
            ": empty line; the two sides belong together line by line, so mend it in both");
    lines.emplace_back(text.substr(begin, text.find_last_not_of(" \t") - begin + 1));
  });
  require(!lines.empty(), path.string(), ": no sentences; is the file complete?");
  return lines;
}

}  // namespace

std::filesystem::path english_side(const FoundFile& foreign, const ReadRequest& request) {
  if (!request.english_file.empty())
    return foreign.path.parent_path() / fill_pattern(request.english_file, request.split, request.language);
  std::filesystem::path path = foreign.path;
  return path.replace_extension(foreign.layout == FileLayout::kXtreme ? ".en" : ".eng");
}

ParallelText read_parallel_text(const FoundFile& foreign, const ReadRequest& request) {
  ParallelText text;
  text.foreign_path = foreign.path;
  text.path = english_side(foreign, request);
  text.foreign = sentences_of(text.foreign_path);
  text.english = sentences_of(text.path);
  require(text.foreign.size() == text.english.size(), text.foreign_path.string(), ": ", text.foreign.size(), " lines, but ",
          text.path.string(), " has ", text.english.size(), "; both must have the same number");
  if (request.max_examples > 0 && static_cast<std::size_t>(request.max_examples) < text.foreign.size()) {
    text.foreign.resize(static_cast<std::size_t>(request.max_examples));
    text.english.resize(static_cast<std::size_t>(request.max_examples));
  }
  text.labelled = foreign.layout != FileLayout::kXtreme;
  if (!text.labelled) return text;
  text.translations.resize(text.english.size());
  std::iota(text.translations.begin(), text.translations.end(), 0);
  std::stable_sort(text.translations.begin(), text.translations.end(), [&](std::int32_t a, std::int32_t b) {
    return text.english[static_cast<std::size_t>(a)] < text.english[static_cast<std::size_t>(b)];
  });
  std::vector<std::string> sorted;
  for (const std::int32_t line : text.translations)
    sorted.push_back(std::move(text.english[static_cast<std::size_t>(line)]));
  text.english = std::move(sorted);
  return text;
}

std::vector<std::int32_t> read_indices(const std::filesystem::path& path, std::string_view none) {
  std::vector<std::int32_t> indices;
  for_each_line(path, [&](std::string_view text, std::int64_t line) {
    while (text.ends_with(' ')) text.remove_suffix(1);
    if (!none.empty() && text == none) return indices.push_back(-1);
    std::int32_t value = -1;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    require(error == std::errc() && end == text.data() + text.size() && value >= 0, path.string(), ":", line, ": \"", text,
            "\" is not a line number (0, 1, 2 ...)");
    indices.push_back(value);
  });
  return indices;
}

}  // namespace koine
