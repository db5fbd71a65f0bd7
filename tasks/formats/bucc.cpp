#include "tasks/formats/bucc.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"

namespace koine {
namespace {

/// Calls use(source id, target id, line).
template <class Use>
void each_pair(const std::filesystem::path& path, const Use& use) {
  for_each_line(path, [&](std::string_view text, std::int64_t line) {
    if (strip(text).empty()) return;
    const std::vector<std::string_view> fields = split_tabs(strip(text));
    require(fields.size() == 2 && !fields[0].empty() && !fields[1].empty(), place(path, line), ": ", fields.size(),
            " columns; a pair is two ids with a tab between");
    use(std::string(fields[0]), std::string(fields[1]), line);
  });
}

}  // namespace

BuccSide read_bucc_side(const std::filesystem::path& path) {
  BuccSide side;
  side.path = path;
  std::unordered_set<std::string> ids;
  for_each_line(path, [&](std::string_view text, std::int64_t line) {
    const std::size_t tab = text.find('\t');
    require(tab != std::string_view::npos, place(path, line), ": no tab; a line is an id, a tab and a sentence");
    const std::string id(strip(text.substr(0, tab)));
    const std::string_view sentence = strip(text.substr(tab + 1));
    require(!id.empty(), place(path, line), ": the id is empty");
    require(!sentence.empty(), place(path, line), ": the sentence of ", id, " is empty");
    require(ids.insert(id).second, place(path, line), ": the id ", id, " stands twice; ids must differ");
    side.ids.push_back(id);
    side.sentences.emplace_back(sentence);
  });
  require(!side.ids.empty(), path.string(), ": no sentences; is the file complete?");
  return side;
}

IdPairs read_bucc_gold(const std::filesystem::path& path, const BuccSide& source, const BuccSide& target) {
  const std::unordered_set<std::string> source_ids(source.ids.begin(), source.ids.end());
  const std::unordered_set<std::string> target_ids(target.ids.begin(), target.ids.end());
  IdPairs pairs;
  each_pair(path, [&](std::string a, std::string b, std::int64_t line) {
    require(source_ids.contains(a), place(path, line), ": ", source.path.string(), " has no sentence ", a);
    require(target_ids.contains(b), place(path, line), ": ", target.path.string(), " has no sentence ", b);
    pairs.emplace(std::move(a), std::move(b));
  });
  require(!pairs.empty(), path.string(), ": no pairs; is the file complete?");
  return pairs;
}

IdPairs read_id_pairs(const std::filesystem::path& path) {
  IdPairs pairs;
  each_pair(path, [&](std::string a, std::string b, std::int64_t) { pairs.emplace(std::move(a), std::move(b)); });
  return pairs;
}

BuccFile read_bucc(const FoundFile& file, const ReadRequest& request) {
  BuccFile result;
  result.path = file.path;
  result.source = read_bucc_side(file.path);
  std::filesystem::path beside = file.path;
  result.target = read_bucc_side(beside.replace_extension(".en"));
  beside.replace_extension(".gold");
  result.labelled = std::filesystem::exists(beside);
  if (result.labelled) result.gold = read_bucc_gold(beside, result.source, result.target);
  if (request.max_examples <= 0) return result;
  std::unordered_set<std::string> kept;
  for (BuccSide* side : {&result.source, &result.target}) {
    const std::size_t count = std::min(side->ids.size(), static_cast<std::size_t>(request.max_examples));
    side->ids.resize(count);
    side->sentences.resize(count);
    kept.insert(side->ids.begin(), side->ids.end());
  }
  std::erase_if(result.gold, [&](const auto& pair) { return !kept.contains(pair.first) || !kept.contains(pair.second); });
  return result;
}

BuccSentences unique_sentences(const BuccSide& side) {
  BuccSentences unique;
  std::unordered_map<std::string_view, std::size_t> numbers;
  for (std::size_t line = 0; line < side.sentences.size(); ++line) {
    const auto [entry, added] = numbers.emplace(side.sentences[line], unique.lines.size());
    if (added) {
      unique.lines.push_back(line);
      unique.repeated.push_back(false);
    } else {
      unique.lines[entry->second] = line;
      unique.repeated[entry->second] = true;
    }
  }
  return unique;
}

}  // namespace koine
