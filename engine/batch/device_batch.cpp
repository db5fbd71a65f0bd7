#include "engine/batch/device_batch.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels/common/check.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

namespace koine {
namespace {

constexpr std::int64_t kTokenStep = 64;
constexpr std::int64_t kSequenceStep = 4;

/// `count` rounded up to a multiple of `least`: of `least` itself, or of its largest multiple that is at most a sixteenth of
/// the power of two below `count`.
std::int64_t common_size(std::int64_t count, std::int64_t least) {
  const auto power = static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(std::max<std::int64_t>(count, 1))));
  const std::int64_t step = std::max(least, power / 16 / least * least);
  return (count + step - 1) / step * step;
}

/// The lists there are.
std::vector<PackedSequences*> lists_of(PackedBatch& batch) {
  if (batch.target.sequences == 0) return {&batch.source};
  return {&batch.source, &batch.target};
}

struct CommonSize {
  std::int64_t sequences = 0;
  std::vector<std::int64_t> tokens;   ///< of each list
  std::vector<std::int64_t> longest;  ///< maximum_length of each list
};

/// The size to pad to: every added sequence has at least one and at most `longest` tokens, and there is one at least where
/// there are tokens to add. The size there is where one of the lists has no room.
CommonSize size_to_pad_to(const std::vector<PackedSequences*>& lists, std::int32_t group, std::int64_t maximum_tokens,
                          std::int64_t maximum_length) {
  const std::int64_t sequences = lists.front()->sequences;
  CommonSize as_it_is;
  as_it_is.sequences = sequences;
  for (const PackedSequences* list : lists) {
    as_it_is.tokens.push_back(list->tokens);
    as_it_is.longest.push_back(std::min(common_size(list->maximum_length, kTokenStep), maximum_length));
  }
  CommonSize size = as_it_is;
  while (true) {
    size.sequences = common_size(size.sequences + (size.sequences == sequences ? 0 : 1), kSequenceStep * group);
    const std::int64_t added = size.sequences - sequences;
    std::int64_t all_tokens = 0;
    bool fits = true;
    for (std::size_t i = 0; i < lists.size(); ++i) {
      size.tokens[i] = std::min(common_size(lists[i]->tokens + added, kTokenStep), maximum_tokens);
      const std::int64_t free_tokens = size.tokens[i] - lists[i]->tokens;
      if (free_tokens < added) return as_it_is;
      fits = fits && free_tokens <= added * size.longest[i];
      all_tokens += size.tokens[i];
    }
    if (all_tokens > most_padded_tokens(maximum_tokens, static_cast<int>(lists.size()))) return as_it_is;
    if (fits) return size;
    if (added == 0) ++size.sequences;
  }
}

void pad_labels(PackedBatch& batch, std::int64_t old_sequences) {
  if (batch.labels.empty()) return;
  const HeadFacts& head = facts_of(batch.head_kind);
  const PackedSequences& list = batch.under_head();
  if (head.labels == LabelPlace::kSpan) {  // all starts, then all ends
    batch.labels.insert(batch.labels.begin() + old_sequences, static_cast<std::size_t>(list.sequences - old_sequences),
                        kIgnoredLabel);
  }
  batch.labels.resize(static_cast<std::size_t>(head.labels_of_batch(list.tokens, list.sequences, batch.group)),
                      kIgnoredLabel);
}

/// Groups that hold nothing, so that the number of groups is as common as that of tokens.
void pad_order(PackedSequences::Order& order, std::int64_t groups) {
  const std::int32_t key = order.keys.empty() ? 0 : order.keys.back();
  order.keys.resize(std::max(order.keys.size(), static_cast<std::size_t>(groups)), key);
  order.starts.resize(order.keys.size() + 1, order.starts.back());
}

void pad_list(PackedSequences& list, std::int64_t sequences, std::int64_t tokens, std::int64_t longest,
              std::int32_t pad_id) {
  const std::int64_t added = sequences - list.sequences;
  for (std::int64_t i = 0; i < added; ++i) {
    const std::int64_t length = (tokens - list.tokens) / (added - i);
    list.add(std::vector<std::int32_t>(static_cast<std::size_t>(length), pad_id), 0);
  }
  pad_order(list.by_id, list.tokens);
  list.maximum_length = std::min(longest, list.tokens);
  pad_order(list.by_position, list.maximum_length);
}

// --- the block that travels ---------------------------------------------------------------------------------------------

struct StepNumbers {
  std::uint32_t step = 0;
  float gradient_scale = 0;
};

constexpr std::size_t kAlignment = 256;

std::size_t round_up(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

/// Lays arrays one behind the other into a pinned buffer, and tells where each will lie on the device.
class Packer {
 public:
  Packer(void* pinned, void* device, std::size_t capacity)
      : pinned_(static_cast<std::byte*>(pinned)), device_(static_cast<std::byte*>(device)), capacity_(capacity) {}

  /// `room`: elements to leave room for, where what follows is to lie in the same place whatever `count` is.
  template <class T>
  const T* add(const T* values, std::size_t count, std::size_t room = 0) {
    const std::size_t bytes = count * sizeof(T);
    const std::size_t reserved = round_up(std::max(count, room) * sizeof(T));
    check(used_ + reserved <= capacity_, "a batch is larger than the memory reserved for batches");
    if (bytes > 0) std::memcpy(pinned_ + used_, values, bytes);
    const auto* place = reinterpret_cast<const T*>(device_ + used_);
    used_ += reserved;
    return place;
  }
  template <class T>
  const T* add(const std::vector<T>& values) {
    return add(values.data(), values.size());
  }
  /// An order lists the tokens without the padding: of these, batches of one size have different numbers.
  TokenOrder add(const PackedSequences::Order& order, std::int64_t tokens) {
    return {std::ssize(order.keys), add(order.keys), add(order.starts),
            add(order.tokens.data(), order.tokens.size(), static_cast<std::size_t>(tokens))};
  }
  /// `view` as on the host, with `zeros` for the first tokens' places.
  void add(const PackedSequences& list, const std::vector<std::int32_t>& zeros, SequencesView& view) {
    view.ids = add(list.ids);
    view.positions = add(list.positions);
    view.cumulative_lengths = add(list.cumulative_lengths);
    view.zero_positions = add(zeros);
    view.token_examples = add(list.token_examples);
    view.sequence_examples = add(list.sequence_examples);
    view.by_id = add(list.by_id, list.tokens);
    view.by_position = add(list.by_position, list.tokens);
  }
  std::size_t used() const { return used_; }

 private:
  std::byte* pinned_;
  std::byte* device_;
  std::size_t capacity_;
  std::size_t used_ = 0;
};

}  // namespace

std::int64_t most_padded_tokens(std::int64_t maximum_tokens, int lists) {
  if (lists == 1) return maximum_tokens;
  // A sixteenth, the least step of each list, and as much for added sequences.
  return std::min(2 * maximum_tokens, maximum_tokens + maximum_tokens / 16 + 4 * kTokenStep);
}

void pad_to_common_size(PackedBatch& batch, std::int32_t pad_id, std::int64_t maximum_tokens, std::int64_t maximum_length) {
  const HeadFacts& head = facts_of(batch.head_kind);
  if (head.logits == LogitsPlace::kCountedToken || head.in_batch) return;
  const std::vector<PackedSequences*> lists = lists_of(batch);
  for (const PackedSequences* list : lists) {
    if (list->tokens > maximum_tokens) return;
  }
  const std::int64_t old_sequences = batch.source.sequences;
  const CommonSize size = size_to_pad_to(lists, batch.group, maximum_tokens, maximum_length);
  for (std::size_t i = 0; i < lists.size(); ++i) {
    pad_list(*lists[i], size.sequences, size.tokens[i], size.longest[i], pad_id);
  }
  pad_labels(batch, old_sequences);
}

BatchUploader::BatchUploader(std::int64_t maximum_tokens, int lists) {
  const std::size_t bytes = batch_upload_bytes(maximum_tokens, lists);
  device_ = cuda::DeviceMemory("batches", bytes);
  for (Slot& slot : slots_) slot.memory = cuda::PinnedMemory(bytes);
}

// Of each list at most so many arrays of so many numbers: 6 by token, 5 by sequence, and of each order tokens, keys and
// starts. (What is by label is counted with every list.)
std::size_t batch_upload_bytes(std::int64_t maximum_tokens, int lists) {
  constexpr std::size_t kArrays = 18;
  return static_cast<std::size_t>(lists) * kArrays *
         round_up((static_cast<std::size_t>(maximum_tokens) + 1) * 2 * sizeof(std::int32_t));
}

BatchView BatchUploader::upload(const PackedBatch& batch, std::uint32_t step, float gradient_scale, void* stream) {
  Slot& slot = slots_[next_];
  next_ = 1 - next_;
  if (!slot.copied.passed()) slot.copied.synchronize();
  Packer packer(slot.memory.data(), device_.data(), slot.memory.bytes());
  const StepNumbers numbers = {step, gradient_scale};
  const StepNumbers* place = packer.add(&numbers, 1);
  const std::vector<std::int32_t> zeros(static_cast<std::size_t>(batch.source.sequences), 0);
  BatchView view = host_view(batch, zeros);
  packer.add(batch.source, zeros, view.source);
  if (batch.target.sequences > 0) packer.add(batch.target, zeros, view.target);
  view.labels = packer.add(batch.labels);
  view.counted_tokens = packer.add(batch.counted_tokens);
  view.counted_token_labels = packer.add(batch.counted_token_labels);
  view.step_from = &place->step;
  view.gradient_scale_from = &place->gradient_scale;
  cuda::copy_to_device(device_.data(), slot.memory.data(), packer.used(), stream);
  slot.copied.record(stream);
  return view;
}

}  // namespace koine
