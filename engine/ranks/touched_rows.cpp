#include "engine/ranks/touched_rows.h"

#include <bit>
#include <cstring>

#include "kernels/common/check.h"

namespace koine {

RowMarks::RowMarks(std::int64_t rows, int ranks)
    : rows_(rows), bits_(static_cast<int>(std::bit_width(static_cast<unsigned>(ranks)))), in_a_word_(63 / bits_) {}

std::int64_t RowMarks::words() const { return (rows_ + in_a_word_ - 1) / in_a_word_; }

void RowMarks::mark(std::span<const std::int32_t> rows, std::span<std::int64_t> words) const {
  check(std::ssize(words) == this->words(), "marks of ", rows_, " rows in ", words.size(), " words");
  for (const std::int32_t row : rows) {
    check(row >= 0 && row < rows_, "row ", row, " of a table of ", rows_, " is touched");
    words[static_cast<std::size_t>(row / in_a_word_)] += std::int64_t{1} << (row % in_a_word_ * bits_);
  }
}

std::vector<std::int32_t> RowMarks::rows_of(std::span<const std::int64_t> sums) const {
  check(std::ssize(sums) == words(), "marks of ", rows_, " rows in ", sums.size(), " words");
  const std::int64_t field = (std::int64_t{1} << bits_) - 1;
  std::vector<std::int32_t> rows;
  for (std::size_t word = 0; word < sums.size(); ++word) {
    if (sums[word] == 0) continue;
    for (int i = 0; i < in_a_word_; ++i) {
      if ((sums[word] >> (i * bits_) & field) != 0)
        rows.push_back(static_cast<std::int32_t>(static_cast<std::int64_t>(word) * in_a_word_ + i));
    }
  }
  return rows;
}

int table_of_rows(const ParameterTable& table) {
  for (int index = 0; index < table.size(); ++index) {
    if (table[index].lazy_rows) return index;
  }
  return -1;
}

TouchedRows::TouchedRows(const ParameterStore& store, int table)
    : table_({store.table()[table].offset, store.table()[table].offset + store.table()[table].count()}),
      width_(store.table()[table].width()),
      device_(store.device()),
      list_(device_, "rows that ranks touch", static_cast<std::size_t>(store.table()[table].rows()) * sizeof(std::int32_t)) {
  if (device_ == Device::kCpu) return;
  slots_ = std::vector<Slot>(kSlots);
  for (Slot& slot : slots_) slot.memory = cuda::PinnedMemory(list_.bytes());
}

FlatSpan TouchedRows::span() const {
  return {table_.begin, std::ssize(rows_), width_, list_.as<std::int32_t>(), table_.count() / width_};
}

void TouchedRows::set(const std::vector<std::int32_t>& rows, void* stream) {
  const std::size_t bytes = rows.size() * sizeof(std::int32_t);
  check(bytes <= list_.bytes(), "more rows of a table are touched than it has: ", rows.size());
  rows_ = rows;
  if (bytes == 0) return;
  if (device_ == Device::kCpu) return void(std::memcpy(list_.data(), rows.data(), bytes));
  Slot& slot = slots_[next_slot_];
  next_slot_ = (next_slot_ + 1) % slots_.size();
  if (!slot.copied.passed()) slot.copied.synchronize();
  std::memcpy(slot.memory.data(), rows.data(), bytes);
  cuda::copy_to_device(list_.data(), slot.memory.data(), bytes, stream);
  slot.copied.record(stream);
}

std::vector<FlatSpan> spans_to_exchange(const ElementRange& run, const TouchedRows* touched, std::int64_t at_once,
                                        int ranks) {
  const std::vector<FlatSpan> whole = {{run.begin, run.count()}};
  if (touched == nullptr || touched->table().begin < run.begin || touched->table().end > run.end) return whole;
  const FlatSpan rows = touched->span();
  if (units_at_once(rows, at_once, ranks) == 0) return whole;
  const std::vector<FlatSpan> around = {
      {run.begin, touched->table().begin - run.begin}, rows, {touched->table().end, run.end - touched->table().end}};
  const auto elements_of = [&](const std::vector<FlatSpan>& spans) {
    std::int64_t elements = 0;
    for (const FlatSpan& span : spans) elements += elements_of_shares(span, at_once, ranks);
    return elements;
  };
  return elements_of(around) < elements_of(whole) ? around : whole;
}

}  // namespace koine
