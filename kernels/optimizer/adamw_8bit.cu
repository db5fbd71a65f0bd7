// A block of 256 threads updates a piece of a tensor, 8,192 elements: a warp takes blocks of 256 codes w, w + 8, ..., a lane
// eight elements of each, 32 apart, so that a warp moves 128 neighbouring bytes of fp32 and 32 of codes at a time. The maps lie
// in shared memory (2 KiB); a moment is coded by a binary search there, the block's largest numbers found by shuffles. A step
// of an element is written as in adamw.cu. Traffic: adamw_8bit.h. No sums, so nothing depends on any order.

#include <cmath>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/vector.h"
#include "kernels/cuda/warp.h"
#include "kernels/optimizer/adamw_8bit.h"

namespace koine {
namespace {

using namespace cuda;

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarpThreads;
constexpr int kElements = static_cast<int>(kCodedBlock) / kWarpThreads;  // of a lane

struct Shared {
  float first_map[256];
  float second_map[256];
};

struct Moments {
  float first[kElements];
  float second[kElements];
};

KOINE_DEVICE float step_of_element(float parameter, float& first, float& second, float gradient, const AdamWStep& step) {
  first = fused(step.one_minus_beta1, gradient - first, first);
  second = fused(step.one_minus_beta2, gradient * gradient, step.beta2 * second);
  const float denominator = sqrtf(second) / step.sqrt_correction2 + step.epsilon;
  const float change = step.step_size * first / denominator;
  return fused(parameter, step.one_minus_rate_decay, -change);
}

/// The place of the nearest number of an ascending map; of two as near the lower.
KOINE_DEVICE int nearest(const float* map, float wanted) {
  int place = 0;  // of the last number that is not above
  KOINE_UNROLL
  for (int jump = 128; jump > 0; jump /= 2) {
    if (map[place + jump] <= wanted) place += jump;
  }
  const int above = place < 255 ? place + 1 : 255;
  return map[above] - wanted < wanted - map[place] ? above : place;
}

/// A weight as the kind has it, of element i of the flat buffers; `apart`: where it lies apart, or null.
template <MasterKind kKind>
KOINE_DEVICE float load_weight(const AdamW8BitArguments& a, std::int64_t i, const float* apart) {
  if (apart != nullptr) return *apart;
  if (kKind == MasterKind::kFloat32) return a.parameter[i];
  return kKind == MasterKind::kRemainder ? join_float(a.working[i], a.master.remainder[i]) : to_float(a.working[i]);
}
template <MasterKind kKind>
KOINE_DEVICE void store_weight(const AdamW8BitArguments& a, std::int64_t i, float* apart, float weight) {
  if (apart != nullptr) {
    *apart = weight;
  } else if (kKind == MasterKind::kFloat32) {
    a.parameter[i] = weight;
    if (a.working != nullptr) round_into(a.working[i], weight);
  } else {
    split_weights(a.master, a.working, i, 1, &weight);
  }
}

/// Steps of this lane's elements of `count` of a tensor from `begin` on.
template <MasterKind kKind>
KOINE_DEVICE void update_elements(const AdamW8BitArguments& a, const CodedTensor& t, const AdamWStep& step, float factor,
                                  std::int64_t begin, int count, Moments& moments) {
  KOINE_UNROLL
  for (int k = 0; k < kElements; ++k) {
    const int inside = lane_index() + k * kWarpThreads;
    if (inside >= count) continue;
    const std::int64_t i = t.offset + begin + inside;
    float* apart = t.apart < 0 ? nullptr : a.master.apart + t.apart + begin + inside;
    const float gradient = factor * a.gradient[i];
    const float weight = load_weight<kKind>(a, i, apart);
    store_weight<kKind>(a, i, apart, step_of_element(weight, moments.first[k], moments.second[k], gradient, step));
    if (a.zero_gradient) a.gradient[i] = 0;
  }
}

/// Keeps this lane's numbers, which become what is kept of them, and the block's largest magnitude.
KOINE_DEVICE void keep(float (&values)[kElements], const float* map, bool never_zero, std::uint8_t* codes, float* scale,
                       int count) {
  float largest = 0;
  KOINE_UNROLL
  for (int k = 0; k < kElements; ++k) largest = fabsf(values[k]) > largest ? fabsf(values[k]) : largest;
  largest = warp_max(largest);
  if (lane_index() == 0) *scale = largest;
  KOINE_UNROLL
  for (int k = 0; k < kElements; ++k) {
    const int inside = lane_index() + k * kWarpThreads;
    int code = nearest(map, largest > 0 ? values[k] / largest : 0.0f);
    if (never_zero && values[k] > 0 && code == 0) code = 1;
    if (inside < count) codes[inside] = static_cast<std::uint8_t>(code);
    values[k] = map[code] * largest;
  }
}

template <MasterKind kKind>
KOINE_DEVICE void update_coded_block(const AdamW8BitArguments& a, const CodedTensor& t, const AdamWStep& step, float factor,
                                     std::int64_t begin, int count, const Shared& shared) {
  std::uint8_t* first_codes = a.first_codes + t.state + begin;
  std::uint8_t* second_codes = a.second_codes + t.state + begin;
  const std::int64_t number = (t.state + begin) / kCodedBlock;
  const float first_scale = a.first_scales[number];
  const float second_scale = a.second_scales[number];
  Moments moments;
  KOINE_UNROLL
  for (int k = 0; k < kElements; ++k) {
    const int inside = lane_index() + k * kWarpThreads;
    const float root = inside < count ? shared.second_map[second_codes[inside]] * second_scale : 0.0f;
    moments.first[k] = inside < count ? shared.first_map[first_codes[inside]] * first_scale * root : 0.0f;
    moments.second[k] = root * root;
  }
  update_elements<kKind>(a, t, step, factor, begin, count, moments);
  KOINE_UNROLL
  for (int k = 0; k < kElements; ++k) moments.second[k] = sqrtf(moments.second[k]);
  sync_warp();  // all lanes have read the scales
  keep(moments.second, shared.second_map, true, second_codes, a.second_scales + number, count);
  KOINE_UNROLL
  for (int k = 0; k < kElements; ++k) {
    moments.first[k] = moments.second[k] > 0 ? moments.first[k] / moments.second[k] : 0.0f;
  }
  keep(moments.first, shared.first_map, false, first_codes, a.first_scales + number, count);
}

template <MasterKind kKind>
KOINE_DEVICE void update_plain_block(const AdamW8BitArguments& a, const CodedTensor& t, const AdamWStep& step, float factor,
                                     std::int64_t begin, int count) {
  float* first = a.first_moment + t.state + begin;
  float* second = a.second_moment + t.state + begin;
  Moments moments;
  KOINE_UNROLL
  for (int k = 0; k < kElements; ++k) {
    const int inside = lane_index() + k * kWarpThreads;
    moments.first[k] = inside < count ? first[inside] : 0.0f;
    moments.second[k] = inside < count ? second[inside] : 0.0f;
  }
  update_elements<kKind>(a, t, step, factor, begin, count, moments);
  KOINE_UNROLL
  for (int k = 0; k < kElements; ++k) {
    const int inside = lane_index() + k * kWarpThreads;
    if (inside >= count) continue;
    first[inside] = moments.first[k];
    second[inside] = moments.second[k];
  }
}

/// The tensor that piece `piece` belongs to.
KOINE_DEVICE const CodedTensor& tensor_of(const AdamW8BitArguments& a, std::int64_t piece) {
  std::int64_t begin = 0;
  std::int64_t end = a.tensors;  // it is one of [begin, end)
  while (end - begin > 1) {
    const std::int64_t middle = (begin + end) / 2;
    if (a.tensor_list[middle].first_piece <= piece) {
      begin = middle;
    } else {
      end = middle;
    }
  }
  return a.tensor_list[begin];
}

template <MasterKind kKind>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads, 2) adamw_8bit_kernel(AdamW8BitArguments a) {
  const float factor = a.gradient_factor == nullptr ? 1.0f : *a.gradient_factor;
  if (factor == 0) return;  // the whole block
  Shared& shared = shared_memory<Shared>();
  shared.first_map[thread_index()] = a.first_map[thread_index()];
  shared.second_map[thread_index()] = a.second_map[thread_index()];
  sync_block();
  const CodedTensor t = tensor_of(a, block_index().x);
  const AdamWStep step = a.steps[t.group];
  const std::int64_t first = (block_index().x - t.first_piece) * kCodedPiece;
  const std::int64_t end = t.count - first < kCodedPiece ? t.count : first + kCodedPiece;
  for (std::int64_t begin = first + warp_index() * kCodedBlock; begin < end; begin += kWarps * kCodedBlock) {
    const int count = end - begin < kCodedBlock ? static_cast<int>(end - begin) : static_cast<int>(kCodedBlock);
    if (t.coded != 0) {
      update_coded_block<kKind>(a, t, step, factor, begin, count, shared);
    } else {
      update_plain_block<kKind>(a, t, step, factor, begin, count);
    }
  }
}

}  // namespace

void adamw_8bit_portable(const Context& context, const AdamW8BitArguments& a, void*) {
  if (a.pieces == 0) return;
  const auto function = a.master.kind == MasterKind::kRemainder ? adamw_8bit_kernel<MasterKind::kRemainder>
                        : a.master.kind == MasterKind::kNone    ? adamw_8bit_kernel<MasterKind::kNone>
                                                                : adamw_8bit_kernel<MasterKind::kFloat32>;
  launch({.kernel = "adamw_8bit",
          .shape = {a.elements, a.tensors},
          .grid = {grid_extent(a.pieces)},
          .threads = kThreads,
          .shared_bytes = sizeof(Shared),
          .stream = context.stream},
         function, a);
}

}  // namespace koine
