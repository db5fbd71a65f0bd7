#pragma once

// Batches on their way to a device.

#include <cstdint>
#include <vector>

#include "engine/batch/batch_view.h"
#include "engine/batch/packed_batch.h"
#include "kernels/cuda/runtime.h"

namespace koine {

/// Appends sequences of `pad_id` that nothing counts (labels ignored, no place in the token orders) until the batch has a
/// size that many others have too, so that work recorded for one can be run for another: tokens and sequences are rounded up
/// by a sixteenth at most (in steps of 64 tokens and 4 sequences at least), each list never beyond `maximum_tokens`, and both
/// together never beyond most_padded_tokens(); a batch with no room for that stays as it is. Losses and gradients are those of the batch itself. Batches of kMaskedLm, whose
/// counted tokens vary, and of kDualEncoder, whose examples compete, stay as they are.
void pad_to_common_size(PackedBatch& batch, std::int32_t pad_id, std::int64_t maximum_tokens, std::int64_t maximum_length);

/// Tokens that a batch of `lists` lists with up to `maximum_tokens` tokens in all may have when it is padded: what a plan of
/// memory has to expect. Of one list no more; of two each is rounded up by itself.
std::int64_t most_padded_tokens(std::int64_t maximum_tokens, int lists);

/// Copies batches to one place on the device, through two pinned buffers by turns: the host fills one while the copy of the
/// other is still under way, and waits only if both are.
class BatchUploader {
 public:
  /// Room for batches of up to `lists` lists of up to `maximum_tokens` tokens; nothing is allocated later.
  explicit BatchUploader(std::int64_t maximum_tokens, int lists = 1);

  /// Puts the copy of `batch` and of the step's numbers into `stream`, and returns where they will be: always the same
  /// places for batches of the same size. They stay until the next upload's copy runs. The batch itself is read before this
  /// returns; but host_cumulative_lengths points into it.
  BatchView upload(const PackedBatch& batch, std::uint32_t step, float gradient_scale, void* stream);

  std::size_t device_bytes() const { return device_.bytes(); }

 private:
  struct Slot {
    cuda::PinnedMemory memory;
    cuda::Event copied;
  };
  cuda::DeviceMemory device_;
  Slot slots_[2];
  int next_ = 0;
};

/// Device bytes a BatchUploader of this size takes.
std::size_t batch_upload_bytes(std::int64_t maximum_tokens, int lists = 1);

}  // namespace koine
