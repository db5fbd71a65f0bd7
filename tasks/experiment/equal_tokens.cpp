#include "tasks/experiment/equal_tokens.h"

#include <span>

#include "kernels/common/check.h"

namespace koine {
namespace {

/// A language's set, as far as it is used.
struct Source {
  const Dataset* set = nullptr;
  std::int64_t first = 0;  ///< example it begins with
  std::int64_t taken = 0;
  std::int64_t tokens = 0;

  bool used_up() const { return taken == set->groups(); }
  /// The sequences of its next example.
  std::span<const Example> next() const {
    const std::int64_t example = (first + taken) % set->groups();
    return std::span(set->examples)
        .subspan(static_cast<std::size_t>(example * set->group), static_cast<std::size_t>(set->group));
  }
};

std::int64_t tokens_of(std::span<const Example> sequences) {
  std::int64_t tokens = 0;
  for (const Example& sequence : sequences) tokens += sequence.tokens();
  return tokens;
}

/// The one with the fewest tokens of those that have more examples; null where none has.
Source* shortest(std::vector<Source>& sources) {
  Source* found = nullptr;
  for (Source& source : sources) {
    if (!source.used_up() && (found == nullptr || source.tokens < found->tokens)) found = &source;
  }
  return found;
}

}  // namespace

std::int64_t tokens_of(const Dataset& dataset) { return tokens_of(std::span(dataset.examples)); }

Dataset take_equal_tokens(const std::vector<const Dataset*>& sets, std::int64_t budget) {
  check(!sets.empty(), "no set to take from");
  Dataset result;
  result.name = sets.front()->name;
  result.head = sets.front()->head;
  result.classes = sets.front()->classes;
  result.group = sets.front()->group;
  std::vector<Source> sources;
  for (std::size_t k = 0; k < sets.size(); ++k) {
    const auto place = static_cast<std::int64_t>(k) * sets[k]->groups() / std::ssize(sets);
    sources.push_back({sets[k], place});
  }
  std::int64_t total = 0;
  while (Source* source = shortest(sources)) {
    const std::span<const Example> example = source->next();
    const std::int64_t tokens = tokens_of(example);
    if (total + tokens > budget) break;
    result.examples.insert(result.examples.end(), example.begin(), example.end());
    ++source->taken;
    source->tokens += tokens;
    total += tokens;
  }
  for (std::size_t i = 0; i < result.examples.size(); ++i) result.examples[i].number = static_cast<std::uint32_t>(i);
  return result;
}

}  // namespace koine
