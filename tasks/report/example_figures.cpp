#include "tasks/report/example_figures.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <unordered_map>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/statistics/inference.h"

namespace koine {
namespace {

constexpr std::uint32_t kDrawSeed = 1;

/// Each evaluation's examples by their places in the set of all ids.
class ExampleSet {
 public:
  explicit ExampleSet(const std::vector<const KeptOutcomes*>& group) {
    for (const KeptOutcomes* kept : group) {
      const ExampleOutcomes& outcomes = kept->outcomes;
      std::vector<std::size_t>& places = places_[kept];
      for (std::size_t i = 0; i < outcomes.size(); ++i)
        places.push_back(outcomes.ids.empty() ? place_of_number(i) : place_of(outcomes.ids[i]));
    }
  }
  std::size_t size() const { return size_; }
  const std::vector<std::size_t>& places(const KeptOutcomes* kept) const { return places_.at(kept); }

 private:
  std::size_t place_of_number(std::size_t number) {
    if (number < numbers_.size()) return numbers_[number];
    numbers_.push_back(place_of(std::to_string(number)));  // numbers come in their order
    return numbers_.back();
  }
  std::size_t place_of(const std::string& id) {
    const auto [entry, fresh] = known_.emplace(id, size_);
    if (fresh) ++size_;
    return entry->second;
  }

  std::unordered_map<std::string, std::size_t> known_;
  std::vector<std::size_t> numbers_;
  std::map<const KeptOutcomes*, std::vector<std::size_t>> places_;
  std::size_t size_ = 0;
};

/// The figure of an evaluation. Examples of the set that it lacks have no weight.
ItemSeries figure_series(const KeptOutcomes& kept, const ExampleSet& set) {
  const ExampleOutcomes& outcomes = kept.outcomes;
  ItemSeries series{std::vector<float>(set.size(), 0.0F), {}};
  const bool weighted = !outcomes.weights.empty() || outcomes.size() < set.size();
  if (weighted) series.weights.assign(set.size(), 0.0F);
  const std::vector<std::size_t>& places = set.places(&kept);
  for (std::size_t i = 0; i < places.size(); ++i) {
    series.points[places[i]] = outcomes.points[i];
    if (weighted) series.weights[places[i]] = outcomes.weights.empty() ? 1.0F : outcomes.weights[i];
  }
  return series;
}

/// Calls use(example of one, example of the other, place) for those that both have.
template <class Use>
void for_shared_examples(const KeptOutcomes& one, const KeptOutcomes& other, const ExampleSet& set, const Use& use) {
  constexpr std::size_t kNone = static_cast<std::size_t>(-1);
  std::vector<std::size_t> at(set.size(), kNone);
  const std::vector<std::size_t>& others = set.places(&other);
  for (std::size_t k = 0; k < others.size(); ++k) at[others[k]] = k;
  const std::vector<std::size_t>& places = set.places(&one);
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (at[places[i]] != kNone) use(i, at[places[i]], places[i]);
  }
}

const std::int16_t* ranking(const ExampleOutcomes& outcomes, std::size_t i) {
  return outcomes.ranked.data() + i * static_cast<std::size_t>(outcomes.candidates);
}

/// The agreement of two languages' answers; nothing where it cannot be told.
std::optional<ItemSeries> agreement_series(ExampleMeasure measure, const KeptOutcomes& one, const KeptOutcomes& other,
                                           const ExampleSet& set) {
  const ExampleOutcomes& a = one.outcomes;
  const ExampleOutcomes& b = other.outcomes;
  const bool chosen = a.candidates > 0 && b.candidates > 0;
  if (measure == ExampleMeasure::kSameAnswer && !chosen) return std::nullopt;
  if (measure == ExampleMeasure::kRankC && (a.candidates < 2 || a.candidates != b.candidates)) return std::nullopt;
  if (measure == ExampleMeasure::kSharedRight && (a.exact.empty() || b.exact.empty())) return std::nullopt;
  ItemSeries series{std::vector<float>(set.size(), 0.0F), std::vector<float>(set.size(), 0.0F)};
  for_shared_examples(one, other, set, [&](std::size_t i, std::size_t k, std::size_t place) {
    series.weights[place] = 1;
    if (measure == ExampleMeasure::kSharedRight) {
      series.weights[place] = a.exact[i] != 0 || b.exact[k] != 0 ? 1.0F : 0.0F;
      series.points[place] = a.exact[i] != 0 && b.exact[k] != 0 ? 1.0F : 0.0F;
    } else if (measure == ExampleMeasure::kRankC) {
      series.points[place] = static_cast<float>(rank_consistency(ranking(a, i), ranking(b, k), a.candidates));
    } else {
      series.points[place] = *ranking(a, i) == *ranking(b, k) && *ranking(a, i) >= 0 ? 1.0F : 0.0F;
    }
  });
  const bool any = std::any_of(series.weights.begin(), series.weights.end(), [](float weight) { return weight > 0; });
  return any ? std::optional<ItemSeries>(std::move(series)) : std::nullopt;  // nothing right in either says nothing
}

/// Examples in which both languages have the same answer, right in one and wrong in the other: their gold differs.
std::int64_t different_gold(const KeptOutcomes& one, const KeptOutcomes& other, const ExampleSet& set) {
  if (one.outcomes.candidates == 0 || other.outcomes.candidates == 0) return 0;
  std::int64_t count = 0;
  for_shared_examples(one, other, set, [&](std::size_t i, std::size_t k, std::size_t) {
    const bool same = *ranking(one.outcomes, i) == *ranking(other.outcomes, k);
    count += same && one.outcomes.points[i] != other.outcomes.points[k] ? 1 : 0;
  });
  return count;
}

double quotient(const ItemSeries& series) {
  const double sum = std::accumulate(series.points.begin(), series.points.end(), 0.0);
  const double whole = series.weights.empty() ? static_cast<double>(series.points.size())
                                              : std::accumulate(series.weights.begin(), series.weights.end(), 0.0);
  return whole == 0 ? 0 : 100 * sum / whole;
}

/// A set's draws do not depend on which other sets there are.
std::uint32_t draw_stream(const std::string& name) {
  return static_cast<std::uint32_t>(std::stoul(xxh3_hex(name).substr(0, 8), nullptr, 16));
}

}  // namespace

double rank_consistency(const std::int16_t* one, const std::int16_t* other, std::int64_t candidates) {
  double sum = 0;
  double weights = 0;
  std::int64_t shared = 0;
  for (std::int64_t j = 1; j <= candidates; ++j) {
    // The j-th of either is new; what it has in common with the other's first j (of two equal ones once).
    shared += std::find(other, other + j, one[j - 1]) != other + j ? 1 : 0;
    shared += std::find(one, one + j - 1, other[j - 1]) != one + j - 1 ? 1 : 0;
    const double weight = std::exp(static_cast<double>(1 - j));
    sum += weight * static_cast<double>(shared) / static_cast<double>(j);
    weights += weight;
  }
  return sum / weights;
}

ExampleFigures::ExampleFigures(const std::vector<KeptOutcomes>& kept, const std::string& source_language) {
  for (const KeptOutcomes& one : kept) {
    metrics_[one.target] = one.outcomes.metric;
    parallel_[one.target] = one.outcomes.parallel;
  }
  std::map<std::string, Group> groups;
  for (const KeptOutcomes& one : kept) groups[set_of(one.target, one.language).first].push_back(&one);
  for (const auto& [name, group] : groups) add_set(name, group, source_language);
}

void ExampleFigures::add_set(const std::string& name, const Group& group, const std::string& source_language) {
  const ExampleSet set(group);
  examples_[name] = static_cast<std::int64_t>(set.size());
  std::vector<ItemSeries> series;
  std::vector<std::pair<Key, std::uint32_t>> keys;
  const auto add = [&](ExampleMeasure measure, const KeptOutcomes& kept, ItemSeries one) {
    keys.push_back({{measure, kept.model, kept.intermediate, kept.target, kept.language}, kept.seed});
    series.push_back(std::move(one));
  };
  std::map<std::tuple<std::string, std::string, std::uint32_t>, const KeptOutcomes*> sources;
  for (const KeptOutcomes* kept : group) {
    add(ExampleMeasure::kFigure, *kept, figure_series(*kept, set));
    if (kept->language == source_language) sources[{kept->model, kept->intermediate, kept->seed}] = kept;
  }
  std::map<std::string, std::int64_t> different;
  for (const KeptOutcomes* kept : group) {
    const auto source = sources.find({kept->model, kept->intermediate, kept->seed});
    if (!kept->outcomes.parallel || kept->language == source_language || source == sources.end()) continue;
    std::int64_t& most = different[kept->language];
    most = std::max(most, different_gold(*kept, *source->second, set));
    if (most > 0) continue;
    for (const ExampleMeasure measure :
         {ExampleMeasure::kSameAnswer, ExampleMeasure::kRankC, ExampleMeasure::kSharedRight}) {
      if (auto one = agreement_series(measure, *kept, *source->second, set)) add(measure, *kept, std::move(*one));
    }
  }
  for (const auto& [language, count] : different) {
    if (count > 0)
      not_parallel_.push_back(concatenate(group.front()->target, " ", language, ": ", count, " of ", set.size(),
                                          " examples have another gold answer than in ", source_language));
  }
  std::vector<std::vector<double>> drawn = resampled_figures(series, set.size(), kResamples, kDrawSeed, draw_stream(name));
  for (std::size_t i = 0; i < series.size(); ++i) {
    const auto& [key, seed] = keys[i];
    if (different[key.language] > 0 && key.measure != ExampleMeasure::kFigure) continue;
    figures_[key][seed] = {quotient(series[i]), std::move(drawn[i])};
  }
}

const std::map<std::uint32_t, ExampleFigure>* ExampleFigures::find(const Key& key) const {
  const auto found = figures_.find(key);
  return found == figures_.end() ? nullptr : &found->second;
}

std::string ExampleFigures::metric(const std::string& target) const {
  const auto found = metrics_.find(target);
  return found == metrics_.end() ? "" : found->second;
}

std::pair<std::string, std::int64_t> ExampleFigures::set_of(const std::string& target, const std::string& language) const {
  const auto parallel = parallel_.find(target);
  const bool together = parallel != parallel_.end() && parallel->second;
  const std::string name = together ? target : target + " " + language;
  const auto found = examples_.find(name);
  return {name, found == examples_.end() ? 0 : found->second};
}

}  // namespace koine
