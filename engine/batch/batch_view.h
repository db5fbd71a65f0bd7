#pragma once

// The arrays of a batch where operations can read them: the host's own vectors, or a copy of them on a device.

#include <cstdint>

#include "engine/batch/packed_batch.h"
#include "kernels/embedding/embedding.h"

namespace koine {

/// PackedSequences.
struct SequencesView {
  std::int64_t tokens = 0;
  std::int64_t sequences = 0;
  std::int64_t maximum_length = 0;
  const std::int32_t* ids = nullptr;
  const std::int32_t* positions = nullptr;
  const std::int32_t* cumulative_lengths = nullptr;
  /// The same numbers where the host can read them; for counting work.
  const std::int32_t* host_cumulative_lengths = nullptr;
  const std::int32_t* zero_positions = nullptr;  ///< [sequences] zeros: where the first tokens stand
  const std::uint32_t* token_examples = nullptr;
  const std::uint32_t* sequence_examples = nullptr;
  TokenOrder by_id;
  TokenOrder by_position;
};

/// PackedBatch.
struct BatchView {
  SequencesView source;
  SequencesView target;  ///< without sequences: there is none

  HeadKind head_kind = HeadKind::kSequence;
  std::int32_t head = 0;
  std::int32_t group = 1;
  bool labelled = false;
  const std::int32_t* labels = nullptr;
  std::int64_t counted_labels = 0;
  const std::int32_t* counted_tokens = nullptr;        ///< kMaskedLm
  const std::int32_t* counted_token_labels = nullptr;  ///< kMaskedLm

  // On a device: where the numbers of the step are, so that recorded work can be run again. Null: not used.
  const std::uint32_t* step_from = nullptr;
  const float* gradient_scale_from = nullptr;

  const SequencesView& under_head() const { return target.sequences > 0 ? target : source; }
};

/// The batch where it is. `zero_positions` holds at least as many zeros as the batch has sequences. Both outlive the view.
BatchView host_view(const PackedBatch& batch, const std::vector<std::int32_t>& zero_positions);

}  // namespace koine
