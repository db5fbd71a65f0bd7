#include "engine/ranks/sharded_sum.h"

#include <algorithm>

#include "kernels/common/check.h"

namespace koine {
namespace {

/// Sums that wait behind a round.
std::vector<PartRange> waiting_behind(std::int64_t round, std::int64_t parts, int ranks) {
  return sums_of({0, std::min((round + 1) * ranks, parts)});
}

std::size_t most_waiting_between(std::int64_t parts, int ranks) {
  std::size_t most = 0;
  for (std::int64_t round = 0; round + 1 < rounds_of(parts, ranks); ++round)
    most = std::max(most, waiting_behind(round, parts, ranks).size());
  return most;
}

/// Elements of a rank's shares of all runs, one behind the other. (Rows are exchanged in place of a table where that is fewer.)
std::int64_t elements_of_runs(const ParameterTable& table, int ranks, std::int64_t piece) {
  std::int64_t elements = 0;
  for (const PassingRun& run : plan_passing_gradients(table).runs)
    elements += elements_of_shares({run.begin, run.count()}, piece, ranks);
  return elements;
}

}  // namespace

std::vector<std::int64_t> parts_in_turns(std::int64_t parts, int ranks, int rank) {
  parts_of_rank(parts, ranks, rank);  // which says what is wrong with too few
  std::vector<std::int64_t> own;
  for (std::int64_t part = rank; part < parts; part += ranks) own.push_back(part);
  return own;
}

std::int64_t rounds_of(std::int64_t parts, int ranks) { return (parts + ranks - 1) / ranks; }

ShardedSum::ShardedSum(ParameterStore& store, Communicator& communicator, std::int64_t parts, std::int64_t exchange_elements)
    : store_(store),
      communicator_(communicator),
      parts_(parts),
      rounds_(rounds_of(parts, communicator.size())),
      piece_(exchanged_at_once(exchange_elements, store.table().elements(), communicator.size())),
      sums_of_values_(store.device(), piece_) {
  check(store.shares_gradients(), "gradients that every rank has");
  check(parts > 0 && (parts & (parts - 1)) == 0, "a step of ", parts, " parts");
  const int ranks = communicator.size();
  parts_in_turns(parts, ranks, communicator.rank());
  const auto bytes_of_floats = [](std::int64_t count) { return static_cast<std::size_t>(count) * sizeof(float); };
  const std::int64_t shares = elements_of_runs(store.table(), ranks, piece_);
  for (std::size_t i = 0; i < most_waiting_between(parts, ranks); ++i)
    waiting_.emplace_back(store.device(), "sums of gradients", bytes_of_floats(shares));
  sent_ = Buffer::zeroed(store.device(), "gradients sent", bytes_of_floats(piece_));
  received_ = Buffer::zeroed(store.device(), "gradients received", bytes_of_floats(piece_));
}

std::vector<ParameterStore::Footprint> ShardedSum::footprint(const ParameterTable& table, int ranks, std::int64_t parts,
                                                             std::int64_t exchange_elements) {
  parts_in_turns(parts, ranks, 0);
  const std::int64_t piece = exchanged_at_once(exchange_elements, table.elements(), ranks);
  const std::int64_t waiting =
      static_cast<std::int64_t>(most_waiting_between(parts, ranks)) * elements_of_runs(table, ranks, piece);
  return {{"sums of gradients that wait", static_cast<std::size_t>(waiting) * sizeof(float)},
          {"gradients on their way", 2 * static_cast<std::size_t>(piece) * sizeof(float)}};
}

void ShardedSum::take(const PassingRun& run, const TouchedRows* touched, void* stream) {
  for (const FlatSpan& span : spans_to_exchange({run.begin, run.end}, touched, piece_, communicator_.size())) {
    for (const FlatSpan& piece : pieces_of_span(span, piece_, communicator_.size())) exchange(piece, run, touched, stream);
  }
  sums_of_values_.clear(store_.gradient(run.first), run.count(), stream);
  if (run.last < store_.table().size()) return;
  place_ = 0;
  round_ = (round_ + 1) % rounds_;
}

void ShardedSum::exchange(const FlatSpan& span, const PassingRun& run, const TouchedRows* touched, void* stream) {
  const int ranks = communicator_.size();
  const SpanShare cut = share_of_span(span, ranks);
  const std::int64_t share = cut.elements;
  auto* sent = sent_.as<float>();
  auto* received = received_.as<float>();
  for (std::int64_t rank = 0; rank < ranks; ++rank) {
    FlatSpan passing = cut.of_rank(span, rank);
    passing.begin -= run.begin;
    sums_of_values_.pack(sent + rank * share, store_.gradient(run.first), passing, stream);
  }
  communicator_.all_to_all(DType::kFloat32, sent, received, share, stream);
  std::vector<PartRange> open;
  std::vector<float*> places;
  const auto add = [&](const PartRange& parts, float* place) {
    open.push_back(parts);
    places.push_back(place);
    while (open.size() > 1 && are_siblings(open[open.size() - 2], open.back())) {
      sums_of_values_.add(places[places.size() - 2], places.back(), share, stream);
      open[open.size() - 2].last = open.back().last;
      open.pop_back();
      places.pop_back();
    }
  };
  const std::int64_t first = round_ * ranks;
  const std::vector<PartRange> before = sums_of({0, first});
  for (std::size_t i = 0; i < before.size(); ++i) add(before[i], waiting_[i].as<float>() + place_);
  for (std::int64_t part = first; part < std::min(first + ranks, parts_); ++part)
    add({part, part + 1}, received + (part - first) * share);
  if (round_ + 1 == rounds_) {
    check(open.size() == 1, "the parts of all rounds are not the whole tree");
    communicator_.all_gather(DType::kFloat32, places.front(), sent, share, stream);
    keep(span, touched, stream);
  } else {
    for (std::size_t i = 0; i < open.size(); ++i) {
      float* place = waiting_[i].as<float>() + place_;
      if (places[i] != place) sums_of_values_.copy(place, places[i], share, stream);
    }
  }
  place_ += share;
}

/// Of the sums that lie in sent_.
void ShardedSum::keep(const FlatSpan& span, const TouchedRows* touched, void* stream) {
  const SpanShare cut = share_of_span(span, communicator_.size());
  for (std::int64_t rank = 0; rank < communicator_.size(); ++rank) {
    const FlatSpan part = cut.of_rank(span, rank);
    const float* from = sent_.as<float>() + rank * cut.elements;
    if (part.rows == nullptr) {
      keep_range({part.begin, part.begin + part.units}, from, stream);
    } else {
      const auto first = static_cast<std::size_t>(part.rows - touched->span().rows);
      keep_rows(part, std::span(touched->on_host()).subspan(first, static_cast<std::size_t>(part.units)), from, stream);
    }
  }
}

/// Rows that lie in what is kept, and what does of those at its borders. `rows`: the span's, on the host.
void ShardedSum::keep_rows(const FlatSpan& span, std::span<const std::int32_t> rows, const float* from, void* stream) {
  const ElementRange& kept = store_.kept_gradients();
  const auto begin_of = [&](std::int64_t i) { return span.begin + rows[static_cast<std::size_t>(i)] * span.width; };
  std::int64_t first = 0;
  while (first < span.units && begin_of(first) < kept.begin) ++first;
  std::int64_t last = first;
  while (last < span.units && begin_of(last) + span.width <= kept.end) ++last;
  sums_of_values_.unpack(store_.flat_gradient(), from + first * span.width, span.part(first, last - first), stream);
  if (first > 0)
    keep_range({begin_of(first - 1), begin_of(first - 1) + span.width}, from + (first - 1) * span.width, stream);
  if (last < span.units) keep_range({begin_of(last), begin_of(last) + span.width}, from + last * span.width, stream);
}

void ShardedSum::keep_range(const ElementRange& range, const float* from, void* stream) {
  const ElementRange own = intersection(store_.kept_gradients(), range);
  if (own.count() <= 0) return;
  sums_of_values_.copy(store_.flat_gradient() + own.begin, from + (own.begin - range.begin), own.count(), stream);
}

}  // namespace koine
