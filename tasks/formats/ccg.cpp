#include "tasks/formats/ccg.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/formats/json_fields.h"

namespace koine {
namespace {

/// Parts between single blanks.
std::vector<std::string_view> split_blanks(std::string_view text) {
  std::vector<std::string_view> parts;
  for (std::size_t end; (end = text.find(' ')) != std::string_view::npos; text.remove_prefix(end + 1)) {
    if (end > 0) parts.push_back(text.substr(0, end));
  }
  if (!text.empty()) parts.push_back(text);
  return parts;
}

using Categories = std::unordered_map<std::string, std::int32_t>;

/// The section of an .auto file, the name of its folder: 0 to 24; -1 for what is no section.
int section_of(const std::filesystem::path& path) {
  const std::string name = path.parent_path().filename().string();
  const bool number = name.size() == 2 && name[0] >= '0' && name[0] <= '9' && name[1] >= '0' && name[1] <= '9';
  return number ? 10 * (name[0] - '0') + (name[1] - '0') : -1;
}

bool is_of_split(int section, const std::string& split) {
  if (split == "train") return section >= 0 && section <= 18;
  if (split == "dev") return section >= 19 && section <= 21;
  return section >= 22 && section <= 24;
}

Categories number_categories(const std::filesystem::path& sections) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(sections)) {
    if (entry.path().extension() == ".auto" && section_of(entry.path()) >= 0) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  Categories categories;
  for (const std::filesystem::path& file : files) {
    for (const CcgSentence& sentence : read_ccgbank(file)) {
      for (const CcgWord& word : sentence) categories.emplace(word.category, static_cast<std::int32_t>(categories.size()));
    }
  }
  return categories;
}

/// The categories of a CCGbank, numbered once for each folder: every one of its files needs them.
const Categories& categories_of_ccgbank(const std::filesystem::path& sections) {
  static std::mutex mutex;
  static std::map<std::filesystem::path, Categories> numbered;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = numbered.find(sections);
  return found != numbered.end() ? found->second : numbered.emplace(sections, number_categories(sections)).first->second;
}

Categories read_tags_to_id(const std::filesystem::path& path, std::size_t labels) {
  const nlohmann::json json = read_json(path);
  require(json.is_object(), path.string(), ": must be one JSON object: {\"category\": number}");
  Categories categories;
  for (const auto& [category, number] : json.items())
    categories.emplace(category, number_field(json, category.c_str(), static_cast<std::int32_t>(labels), path.string()));
  return categories;
}

TaggedFile with_numbers(const std::filesystem::path& path, const std::vector<CcgSentence>& sentences,
                        const Categories& categories, std::size_t labels) {
  TaggedFile file;
  file.path = path;
  for (const CcgSentence& sentence : sentences) {
    file.sentences.emplace_back();
    for (const CcgWord& word : sentence) {
      const auto found = categories.find(word.category);
      require(found != categories.end(), path.string(), ":", word.line, ": the category ", word.category, " of \"",
              word.form, "\" is not in tags_to_id.json");
      require(static_cast<std::size_t>(found->second) < labels, path.string(), ":", word.line, ": the category ",
              word.category, " is number ", found->second, ", but there may be no more than ", labels, " categories");
      file.sentences.back().push_back({word.form, found->second});
    }
  }
  return file;
}

}  // namespace

TaggedFile read_ccg(const FoundFile& file, const ReadRequest& request) {
  const std::size_t labels = request.labels.size();
  if (file.layout == FileLayout::kXtreme) {
    return with_numbers(file.path, read_ccg_lines(file.path),
                        read_tags_to_id(file.path.parent_path() / "tags_to_id.json", labels), labels);
  }
  if (!is_of_split(section_of(file.path), request.split)) return with_numbers(file.path, {}, {}, labels);
  return with_numbers(file.path, read_ccgbank(file.path), categories_of_ccgbank(file.path.parent_path().parent_path()),
                      labels);
}

CcgSentence parse_ccg_derivation(std::string_view text, const std::string& where) {
  constexpr std::string_view kLeaf = "(<L ";
  constexpr std::string_view kNode = "(<T ";
  CcgSentence sentence;
  std::int64_t depth = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::string_view rest = text.substr(at);
    const auto fail_here = [&](const char* what) {
      fail_user(where, ": at character ", at + 1, " of the derivation: ", what);
    };
    if (rest.front() == ' ') {
      ++at;
    } else if (rest.front() == ')') {
      if (--depth < 0) fail_here("a bracket that was never opened");
      ++at;
    } else if (rest.starts_with(kLeaf) || rest.starts_with(kNode)) {
      const bool leaf = rest.starts_with(kLeaf);
      const std::size_t end = leaf ? rest.find(">)") : rest.find('>');
      if (end == std::string_view::npos) fail_here("\"<\" is never closed");
      const auto fields = split_blanks(rest.substr(kLeaf.size(), end - kLeaf.size()));
      if (leaf && fields.size() != 5) fail_here("a leaf has five parts: category, two parts of speech, word, category");
      if (!leaf && fields.size() != 3) fail_here("a node has three parts: category, head, number of children");
      if (leaf) sentence.push_back({std::string(fields[3]), std::string(fields[0]), 0});
      depth += leaf ? 0 : 1;
      at += end + (leaf ? 2 : 1);
    } else {
      fail_here("neither a node \"(<T\" nor a leaf \"(<L\"");
    }
  }
  require(depth == 0, where, ": the derivation is cut off: ", depth, " brackets are never closed");
  require(!sentence.empty(), where, ": the derivation has no words");
  return sentence;
}

std::vector<CcgSentence> read_ccgbank(const std::filesystem::path& path) {
  std::vector<CcgSentence> sentences;
  bool id_read = false;
  for_each_line(path, [&](std::string_view text, std::int64_t line) {
    if (text.empty()) return;
    const std::string where = concatenate(path.string(), ":", line);
    if (!id_read) {
      require(text.starts_with("ID="), where, ": \"ID=...\" is due, the line before each derivation");
    } else {
      sentences.push_back(parse_ccg_derivation(text, where));
      for (CcgWord& word : sentences.back()) word.line = line;
    }
    id_read = !id_read;
  });
  require(!id_read, path.string(), ": the last sentence has no derivation; is the file complete?");
  require(!sentences.empty(), path.string(), ": no sentences; is the file complete?");
  return sentences;
}

std::vector<CcgSentence> read_ccg_lines(const std::filesystem::path& path) {
  std::vector<CcgSentence> sentences;
  for_each_line(path, [&](std::string_view text, std::int64_t line) {
    if (text.empty()) return;
    const std::string where = concatenate(path.string(), ":", line);
    const std::vector<std::string_view> fields = split_tabs(text);
    require(fields.size() == 2, where, ": ", fields.size(), " columns; a row is the words, a tab and their categories");
    const auto words = split_blanks(fields[0]);
    const auto categories = split_blanks(fields[1]);
    require(!words.empty() && words.size() == categories.size(), where, ": ", words.size(), " words, but ",
            categories.size(), " categories");
    sentences.emplace_back();
    for (std::size_t i = 0; i < words.size(); ++i)
      sentences.back().push_back({std::string(words[i]), std::string(categories[i]), line});
  });
  require(!sentences.empty(), path.string(), ": no sentences; is the file complete?");
  return sentences;
}

}  // namespace koine
