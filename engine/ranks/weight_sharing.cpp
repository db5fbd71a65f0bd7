#include "engine/ranks/weight_sharing.h"

#include <chrono>

#include "kernels/common/check.h"

namespace koine {

WeightSharing::WeightSharing(ParameterStore& store, GradientExchange& exchange) : store_(store), exchange_(exchange) {
  check(store.shards() != nullptr, "weights that are not shared out");
  const ParameterTable& table = store.table();
  const std::vector<int> ends = table.stage_ends();
  std::int64_t end = table.elements();
  for (std::size_t stage = ends.size(); stage-- > 0;) {
    Piece& piece = pieces_.emplace_back();
    piece.first = stage == 0 ? 0 : ends[stage - 1];
    piece.range = {table[piece.first].offset, end};
    end = piece.range.begin;
    if (store.device() == Device::kCuda) piece.told = std::make_unique<cuda::Event>();
  }
  there_ = pieces_.size();
  if (store.device() == Device::kCuda) updated_ = std::make_unique<cuda::Event>();
}

void WeightSharing::begin(void* stream) {
  there_ = 0;
  if (store_.device() == Device::kCuda) {
    updated_->record(stream);
    updated_->wait_on(exchange_.stream());
  }
  for (Piece& piece : pieces_) {
    if (store_.device() == Device::kCuda) {
      store_.share_range(piece.range, exchange_.stream());
      piece.told->record(exchange_.stream());
    } else {
      piece.number = exchange_.beside()->give([&store = store_, range = piece.range] { store.share_range(range, nullptr); });
    }
  }
}

void WeightSharing::wait_for(int first, void* stream) {
  std::size_t needed = there_;
  while (needed < pieces_.size() && (needed == 0 || pieces_[needed - 1].first > first)) ++needed;
  if (needed == there_) return;
  there_ = needed;
  const Piece& last = pieces_[needed - 1];
  if (store_.device() == Device::kCuda) return last.told->wait_on(stream);
  const auto begin = std::chrono::steady_clock::now();
  exchange_.beside()->wait_for(last.number);
  waited_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace koine
