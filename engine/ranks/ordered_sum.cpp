#include "engine/ranks/ordered_sum.h"

#include <algorithm>

#include "kernels/common/check.h"

namespace koine {

namespace {

/// Sums that wait for their siblings at a time, at most: as many as there are before the last part.
std::size_t most_waiting(const PartRange& own) {
  std::size_t most = 0;
  for (std::int64_t last = own.first + 1; last < own.last; ++last) most = std::max(most, sums_of({own.first, last}).size());
  return most;
}

/// Sums of the rank that has most of them to send.
std::int64_t most_sums(std::int64_t parts, int ranks) {
  std::int64_t most = 1;
  for (int rank = 0; rank < ranks; ++rank) most = std::max(most, std::ssize(sums_of(parts_of_rank(parts, ranks, rank))));
  return most;
}

}  // namespace

PartRange parts_of_rank(std::int64_t parts, int ranks, int rank) {
  require(ranks <= parts, "gradient_parts is ", parts, ", but there are ", ranks,
          " ranks, which need a part each; raise it, or use fewer ranks");
  return {rank * parts / ranks, (rank + 1) * parts / ranks};
}

bool are_siblings(const PartRange& left, const PartRange& right) {
  return left.last == right.first && left.count() == right.count() && left.first % (2 * left.count()) == 0;
}

std::vector<PartRange> sums_of(const PartRange& parts) {
  std::vector<PartRange> sums;
  for (std::int64_t part = parts.first; part < parts.last; ++part) {
    sums.push_back({part, part + 1});
    while (sums.size() > 1 && are_siblings(sums[sums.size() - 2], sums.back())) {
      sums[sums.size() - 2].last = sums.back().last;
      sums.pop_back();
    }
  }
  return sums;
}

OrderedSum::OrderedSum(ParameterStore& store, Communicator& communicator, std::int64_t parts, std::int64_t exchange_elements)
    : store_(store),
      communicator_(communicator),
      own_(parts_of_rank(parts, communicator.size(), communicator.rank())),
      sums_of_values_(store.device(), store.table().elements()) {
  check(parts > 0 && (parts & (parts - 1)) == 0, "a step of ", parts, " parts");
  next_ = own_.first;
  const std::size_t bytes = static_cast<std::size_t>(store.table().elements()) * sizeof(float);
  for (std::size_t i = 0; i < most_waiting(own_); ++i) buffers_.emplace_back(store.device(), "sums of gradients", bytes);
  const int ranks = communicator.size();
  for (int rank = 0; rank < ranks; ++rank) sums_.push_back(sums_of(parts_of_rank(parts, ranks, rank)));
  slots_ = most_sums(parts, ranks);
  if (ranks == 1) return;
  piece_ = exchanged_at_once(exchange_elements, store.table().elements(), ranks);
  const auto exchanged = static_cast<std::size_t>(slots_ * piece_) * sizeof(float);
  sent_ = Buffer::zeroed(store.device(), "gradients sent", exchanged);
  received_ = Buffer(store.device(), "gradients received", exchanged);
}

std::vector<ParameterStore::Footprint> OrderedSum::footprint(const ParameterTable& table, int ranks, std::int64_t parts,
                                                             std::int64_t exchange_elements) {
  std::size_t most = 0;
  for (int rank = 0; rank < ranks; ++rank) most = std::max(most, most_waiting(parts_of_rank(parts, ranks, rank)));
  std::vector<ParameterStore::Footprint> list;
  list.push_back({"sums of gradients that wait", most * static_cast<std::size_t>(table.elements()) * sizeof(float)});
  if (ranks == 1) return list;
  const std::int64_t exchanged = most_sums(parts, ranks) * exchanged_at_once(exchange_elements, table.elements(), ranks);
  list.push_back({"gradients on their way", 2 * static_cast<std::size_t>(exchanged) * sizeof(float)});
  return list;
}

void OrderedSum::keep_part(const Context& context) {
  check(next_ + 1 < own_.last, "the last part of a rank is summed, not kept");
  float* gradient = store_.gradient(0);
  const std::int64_t count = store_.table().elements();
  PartRange parts = {next_, next_ + 1};
  ++next_;
  if (waiting_.empty() || !are_siblings(waiting_.back(), parts)) {
    sums_of_values_.copy(buffers_[waiting_.size()].as<float>(), gradient, count, context.stream);
    waiting_.push_back(parts);
  } else {
    sums_of_values_.add(buffers_[waiting_.size() - 1].as<float>(), gradient, count, context.stream);
    waiting_.back().last = parts.last;
    while (waiting_.size() > 1 && are_siblings(waiting_[waiting_.size() - 2], waiting_.back())) {
      const std::size_t left = waiting_.size() - 2;
      sums_of_values_.add(buffers_[left].as<float>(), buffers_[left + 1].as<float>(), count, context.stream);
      waiting_[left].last = waiting_.back().last;
      waiting_.pop_back();
    }
  }
  sums_of_values_.clear(gradient, count, context.stream);
}

void OrderedSum::sum(std::int64_t begin, std::int64_t end, const TouchedRows* touched, void* stream) {
  check(next_ + 1 == own_.last, "a sum before the last part of the rank");
  float* gradient = store_.gradient(0);
  PartRange parts = {next_, next_ + 1};
  for (std::size_t left = waiting_.size(); left > 0 && are_siblings(waiting_[left - 1], parts); --left) {
    sums_of_values_.add(gradient + begin, buffers_[left - 1].as<float>() + begin, end - begin, stream);
    parts.first = waiting_[left - 1].first;
  }
  if (communicator_.size() > 1) {
    for (const FlatSpan& span : spans_to_exchange({begin, end}, touched, piece_, communicator_.size())) {
      for (const FlatSpan& piece : pieces_of_span(span, piece_, communicator_.size())) exchange(piece, stream);
    }
  }
  if (end == store_.table().elements()) {  // the last range: the next step begins anew
    waiting_.clear();
    next_ = own_.first;
  }
}

// Sums lie one behind the other in sent_ for each receiver, his share of each; in received_ for each sender.
void OrderedSum::exchange(const FlatSpan& span, void* stream) {
  const std::int64_t ranks = communicator_.size();
  const SpanShare cut = share_of_span(span, ranks);
  const std::int64_t share = cut.elements;
  float* gradient = store_.gradient(0);
  auto* sent = sent_.as<float>();
  auto* received = received_.as<float>();
  const std::int64_t own_sums = std::ssize(sums_[static_cast<std::size_t>(communicator_.rank())]);
  for (std::int64_t rank = 0; rank < ranks; ++rank) {
    for (std::int64_t slot = 0; slot < own_sums; ++slot) {
      const float* from = slot + 1 == own_sums ? gradient : buffers_[static_cast<std::size_t>(slot)].as<float>();
      sums_of_values_.pack(sent + (rank * slots_ + slot) * share, from, cut.of_rank(span, rank), stream);
    }
  }
  communicator_.all_to_all(DType::kFloat32, sent, received, slots_ * share, stream);
  std::vector<PartRange> open;
  std::vector<float*> places;
  for (std::int64_t rank = 0; rank < ranks; ++rank) {
    const std::vector<PartRange>& sums = sums_[static_cast<std::size_t>(rank)];
    for (std::size_t slot = 0; slot < sums.size(); ++slot) {
      open.push_back(sums[slot]);
      places.push_back(received + (rank * slots_ + static_cast<std::int64_t>(slot)) * share);
      while (open.size() > 1 && are_siblings(open[open.size() - 2], open.back())) {
        sums_of_values_.add(places[places.size() - 2], places.back(), share, stream);
        open[open.size() - 2].last = open.back().last;
        open.pop_back();
        places.pop_back();
      }
    }
  }
  check(open.size() == 1, "the parts of all ranks are not the whole tree");
  communicator_.all_gather(DType::kFloat32, places.front(), sent, share, stream);
  for (std::int64_t rank = 0; rank < ranks; ++rank)
    sums_of_values_.unpack(gradient, sent + rank * share, cut.of_rank(span, rank), stream);
}

}  // namespace koine
