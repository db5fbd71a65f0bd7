#pragma once

// Which rows of a table the batches of a step read, of all ranks together. Of the others the gradient is zero on every rank, so
// that ranks may exchange that of these rows in place of the table's (ordered_sum.h), and AdamW may leave the others for later
// (engine/optimizer/optimizer.h); neither changes a bit.
//
// Each rank counts 1 for every row it touches, in a field of an int64 that holds as many as there are ranks; the fields are
// added up with the other numbers that ranks add up before a step (Communicator::sum), and every rank knows the same rows. So
// all of them decide alike. Bytes: of 250,002 rows 125 KB for up to 15 ranks, 250 KB for up to 127, whatever the batches are.

#include <cstdint>
#include <span>
#include <vector>

#include "engine/parameters/parameter_store.h"
#include "engine/ranks/flat_sums.h"
#include "kernels/common/buffer.h"
#include "kernels/cuda/runtime.h"

namespace koine {

class RowMarks {
 public:
  RowMarks(std::int64_t rows, int ranks);

  /// Numbers to be summed.
  std::int64_t words() const;
  /// Counts rows, each once, ascending or not, in `words` that were zero.
  void mark(std::span<const std::int32_t> rows, std::span<std::int64_t> words) const;
  /// The rows that any rank has marked, ascending.
  std::vector<std::int32_t> rows_of(std::span<const std::int64_t> sums) const;

 private:
  std::int64_t rows_;
  int bits_;       ///< of a field
  int in_a_word_;  ///< fields
};

/// The parameter of which a step touches few rows (ParameterSpec::lazy_rows); -1: there is none.
int table_of_rows(const ParameterTable& table);

/// A step's rows where the store lies.
class TouchedRows {
 public:
  TouchedRows(const ParameterStore& store, int table);

  /// Of the step that begins, ascending; in the stream.
  void set(const std::vector<std::int32_t>& rows, void* stream);

  const ElementRange& table() const { return table_; }  ///< of the flat buffers
  FlatSpan span() const;
  const std::vector<std::int32_t>& on_host() const { return rows_; }

 private:
  static constexpr std::size_t kSlots = 4;
  /// Where a list waits to be copied to a device.
  struct Slot {
    cuda::PinnedMemory memory;
    cuda::Event copied;
  };

  ElementRange table_;
  std::int64_t width_;
  Device device_;
  std::vector<std::int32_t> rows_;
  Buffer list_;
  std::vector<Slot> slots_;  ///< none on the CPU
  std::size_t next_slot_ = 0;
};

/// A run of elements of the flat buffers as ranks exchange it, at most `at_once` elements of all ranks at a time: in one; or, where
/// the table of `touched` (null: there is none) lies in it, what is before that table, its touched rows, and what is behind.
/// The latter where ranks' shares are smaller so, and one row at least is sent at a time: the one place of that rule, which
/// all ranks apply to the same numbers. (What tells ranks the rows was told before.)
std::vector<FlatSpan> spans_to_exchange(const ElementRange& run, const TouchedRows* touched, std::int64_t at_once,
                                        int ranks);

}  // namespace koine
