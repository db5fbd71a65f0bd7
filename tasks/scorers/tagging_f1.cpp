#include "tasks/scorers/tagging_f1.h"

#include <set>
#include <string_view>
#include <tuple>

#include "kernels/common/check.h"

namespace koine {
namespace {

using Entity = std::tuple<std::string_view, std::size_t, std::size_t>;

struct Tag {
  char prefix = 'O';
  std::string_view type = "O";
};

Tag parse_tag(std::string_view text) {
  check(!text.empty(), "empty tag");
  return {text.front(), text.substr(text.rfind('-') + 1)};  // npos + 1 is 0: the whole tag
}

bool outside(char prefix) { return prefix == 'O' || prefix == '.'; }
bool one_of(char prefix, std::string_view set) { return set.find(prefix) != std::string_view::npos; }

bool ends_chunk(const Tag& before, const Tag& now) {
  return one_of(before.prefix, "ES") || (one_of(before.prefix, "BI") && one_of(now.prefix, "BSO")) ||
         (!outside(before.prefix) && before.type != now.type);
}

bool begins_chunk(const Tag& before, const Tag& now) {
  return one_of(now.prefix, "BS") || (one_of(before.prefix, "ESO") && one_of(now.prefix, "EI")) ||
         (!outside(now.prefix) && before.type != now.type);
}

std::set<Entity> entities_of(const TagSequences& sequences) {
  std::vector<Tag> tags;
  for (const std::vector<std::string>& sentence : sequences) {
    for (const std::string& tag : sentence) tags.push_back(parse_tag(tag));
    tags.push_back({});
  }
  std::set<Entity> entities;
  Tag before{'O', ""};
  std::size_t begin = 0;
  for (std::size_t i = 0; i < tags.size(); ++i) {
    if (ends_chunk(before, tags[i])) entities.emplace(before.type, begin, i - 1);
    if (begins_chunk(before, tags[i])) begin = i;
    before = tags[i];
  }
  return entities;
}

std::size_t shared_entities(const std::set<Entity>& truth, const std::set<Entity>& found) {
  std::size_t shared = 0;
  for (const Entity& entity : found) shared += truth.count(entity);
  return shared;
}

double ratio(std::size_t part, std::size_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

TaggingScore tagging_score(const TagSequences& gold, const TagSequences& predictions) {
  check(gold.size() == predictions.size(), "scoring ", predictions.size(), " sentences against ", gold.size());
  std::size_t tags = 0;
  std::size_t right = 0;
  for (std::size_t i = 0; i < gold.size(); ++i) {
    check(gold[i].size() == predictions[i].size(), "sentence ", i, " has ", predictions[i].size(), " predicted tags and ",
          gold[i].size(), " true ones");
    tags += gold[i].size();
    for (std::size_t k = 0; k < gold[i].size(); ++k) right += gold[i][k] == predictions[i][k] ? 1 : 0;
  }
  const std::set<Entity> truth = entities_of(gold);
  const std::set<Entity> found = entities_of(predictions);
  const std::size_t correct = shared_entities(truth, found);
  const double precision = ratio(correct, found.size());
  const double recall = ratio(correct, truth.size());
  const double f1 = precision + recall > 0 ? 2 * precision * recall / (precision + recall) : 0;
  return {precision * 100, recall * 100, f1 * 100, ratio(right, tags) * 100};
}

ChunkCounts chunk_counts(const std::vector<std::string>& gold, const std::vector<std::string>& predictions) {
  const TagSequences truth = {gold};
  const TagSequences answer = {predictions};
  const std::set<Entity> wanted = entities_of(truth);
  const std::set<Entity> found = entities_of(answer);
  return {shared_entities(wanted, found), found.size(), wanted.size()};
}

}  // namespace koine
