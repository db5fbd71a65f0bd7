// A task is a piece of a tensor, block by block of 256: what was kept is looked up (gathers from the maps), the step computed
// as adamw_cpu.cpp does, both moments and their largest numbers held in the first cache, then coded by a binary search of
// eight gathers. The end of a tensor is filled up with zeros.

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/optimizer/adamw_8bit_cpu.cpp"
#include "kernels/common/vector_targets.h"
#include "kernels/common/vector-inl.h"
#include "kernels/optimizer/adamw-inl.h"
// clang-format on

#include <algorithm>
#include <cstring>

#include "kernels/common/parallel.h"
#include "kernels/optimizer/adamw_8bit.h"

HWY_BEFORE_NAMESPACE();
namespace koine {
namespace HWY_NAMESPACE {
namespace {

using Tag = hn::ScalableTag<float>;
using IntTag = hn::Rebind<std::int32_t, Tag>;
using CodeTag = hn::Rebind<std::uint8_t, Tag>;

/// The moments of a block while it is worked on.
struct Block {
  HWY_ALIGN std::uint8_t first_codes[kCodedBlock];
  HWY_ALIGN std::uint8_t second_codes[kCodedBlock];
  HWY_ALIGN float first[kCodedBlock];
  HWY_ALIGN float second[kCodedBlock];  ///< then its root
};

/// Elements of gradient from `at` on, with fp32 weights and moments.
void update_in_fp32(const AdamW8BitArguments& a, const AdamWStep& step, std::int64_t at, std::int64_t count, float* weights,
                    BFloat16* working, float* first, float* second) {
  const Tag d;
  const auto factor = hn::Set(d, a.gradient_factor == nullptr ? 1.0f : *a.gradient_factor);
  for_lanes(d, count, [&](std::int64_t i, auto lanes) KOINE_LANES {
    auto parameter = lanes.load(d, weights + i);
    auto m = lanes.load(d, first + i);
    auto v = lanes.load(d, second + i);
    adamw_update(d, parameter, m, v, hn::Mul(factor, lanes.load(d, a.gradient + at + i)), step);
    lanes.store(d, parameter, weights + i);
    lanes.store(d, m, first + i);
    lanes.store(d, v, second + i);
    if (working != nullptr) lanes.store(d, parameter, working + i);
    if (a.zero_gradient) lanes.store(d, hn::Zero(d), a.gradient + at + i);
  });
}

/// Elements of a tensor, however its weights are kept, with fp32 moments.
void update_elements(const AdamW8BitArguments& a, const CodedTensor& t, std::int64_t begin, std::int64_t count, float* first,
                     float* second) {
  const AdamWStep& step = a.steps[t.group];
  const std::int64_t at = t.offset + begin;
  if (t.apart >= 0) return update_in_fp32(a, step, at, count, a.master.apart + t.apart + begin, nullptr, first, second);
  if (a.master.kind == MasterKind::kFloat32)
    return update_in_fp32(a, step, at, count, a.parameter + at, a.working == nullptr ? nullptr : a.working + at, first,
                          second);
  float weights[kCodedBlock];
  for (std::int64_t i = 0; i < count; i += kCodedBlock) {
    const std::int64_t joined = std::min(kCodedBlock, count - i);
    join_weights(a.master, a.working, at + i, joined, weights);
    update_in_fp32(a, step, at + i, joined, weights, nullptr, first + i, second + i);
    split_weights(a.master, a.working, at + i, joined, weights);
  }
}

/// What a vector of codes from `codes` on stands for.
HWY_INLINE hn::Vec<Tag> look_up(const std::uint8_t* codes, const float* map, float scale) {
  const Tag d;
  const auto places = hn::PromoteTo(IntTag(), hn::LoadU(CodeTag(), codes));
  return hn::Mul(hn::GatherIndex(d, map, places), hn::Set(d, scale));
}

/// Both moments of all 256 elements.
void look_up_moments(const AdamW8BitArguments& a, std::int64_t number, Block& block) {
  const Tag d;
  for (std::int64_t i = 0; i < kCodedBlock; i += static_cast<std::int64_t>(hn::Lanes(d))) {
    const auto root = look_up(block.second_codes + i, a.second_map, a.second_scales[number]);
    hn::Store(hn::Mul(root, root), d, block.second + i);
    hn::Store(hn::Mul(look_up(block.first_codes + i, a.first_map, a.first_scales[number]), root), d, block.first + i);
  }
}

/// Codes of all 256 numbers, and the largest of the first `count`, which the others do not exceed.
float code(const float* values, const float* map, bool never_zero, std::uint8_t* codes) {
  const Tag d;
  const IntTag di;
  const auto step = static_cast<std::int64_t>(hn::Lanes(d));
  auto largest_lanes = hn::Zero(d);
  for (std::int64_t i = 0; i < kCodedBlock; i += step) {
    largest_lanes = hn::Max(largest_lanes, hn::Abs(hn::Load(d, values + i)));
  }
  const float largest = hn::GetLane(hn::MaxOfLanes(d, largest_lanes));
  const auto one = hn::Set(di, 1);
  for (std::int64_t i = 0; i < kCodedBlock; i += step) {
    const auto value = hn::Load(d, values + i);
    const auto wanted = largest > 0 ? hn::Div(value, hn::Set(d, largest)) : hn::Zero(d);
    auto place = hn::Zero(di);  // of the last number that is not above
    for (std::int32_t jump = 128; jump > 0; jump /= 2) {
      const auto next = hn::Add(place, hn::Set(di, jump));
      const auto reached = hn::Le(hn::GatherIndex(d, map, next), wanted);
      place = hn::IfThenElse(hn::RebindMask(di, reached), next, place);
    }
    const auto above = hn::Min(hn::Add(place, one), hn::Set(di, 255));
    const auto to_above = hn::Sub(hn::GatherIndex(d, map, above), wanted);
    const auto nearer = hn::Lt(to_above, hn::Sub(wanted, hn::GatherIndex(d, map, place)));
    place = hn::IfThenElse(hn::RebindMask(di, nearer), above, place);
    if (never_zero) {
      place = hn::IfThenElse(hn::RebindMask(di, hn::Gt(value, hn::Zero(d))), hn::Max(place, one), place);
    }
    hn::StoreU(hn::DemoteTo(CodeTag(), place), CodeTag(), codes + i);
  }
  return largest;
}

void update_block(const AdamW8BitArguments& a, const CodedTensor& t, std::int64_t begin, std::int64_t count) {
  const Tag d;
  Block block;
  const std::int64_t state = t.state + begin;
  const std::int64_t number = state / kCodedBlock;
  std::memset(block.first_codes, 0, sizeof block.first_codes);
  std::memset(block.second_codes, 0, sizeof block.second_codes);
  std::memcpy(block.first_codes, a.first_codes + state, static_cast<std::size_t>(count));
  std::memcpy(block.second_codes, a.second_codes + state, static_cast<std::size_t>(count));
  look_up_moments(a, number, block);
  std::fill(block.first + count, block.first + kCodedBlock, 0.0f);
  std::fill(block.second + count, block.second + kCodedBlock, 0.0f);
  update_elements(a, t, begin, count, block.first, block.second);
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t i = 0; i < kCodedBlock; i += lanes) {
    hn::Store(hn::Sqrt(hn::Load(d, block.second + i)), d, block.second + i);
  }
  a.second_scales[number] = code(block.second, a.second_map, true, block.second_codes);
  for (std::int64_t i = 0; i < kCodedBlock; i += lanes) {
    const auto root = look_up(block.second_codes + i, a.second_map, a.second_scales[number]);
    const auto ratio = hn::Div(hn::Load(d, block.first + i), root);
    hn::Store(hn::IfThenElseZero(hn::Gt(root, hn::Zero(d)), ratio), d, block.first + i);
  }
  a.first_scales[number] = code(block.first, a.first_map, false, block.first_codes);
  std::memcpy(a.first_codes + state, block.first_codes, static_cast<std::size_t>(count));
  std::memcpy(a.second_codes + state, block.second_codes, static_cast<std::size_t>(count));
}

/// Elements begin .. end - 1 of a tensor, begin a multiple of 256.
void update_piece(const AdamW8BitArguments& a, const CodedTensor& t, std::int64_t begin, std::int64_t end) {
  if (t.coded == 0) {
    update_elements(a, t, begin, end - begin, a.first_moment + t.state + begin, a.second_moment + t.state + begin);
    return;
  }
  for (std::int64_t i = begin; i < end; i += kCodedBlock) update_block(a, t, i, std::min(kCodedBlock, end - i));
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace koine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace koine {
namespace {
HWY_EXPORT(update_piece);
}  // namespace

void adamw_8bit_cpu(const Context&, const AdamW8BitArguments& a, void*) {
  if (a.gradient_factor != nullptr && *a.gradient_factor == 0) return;
  parallel_for(a.pieces, [&](std::int64_t piece) {
    const CodedTensor* behind = std::upper_bound(a.tensor_list, a.tensor_list + a.tensors, piece,
                                                 [](std::int64_t p, const CodedTensor& t) { return p < t.first_piece; });
    const CodedTensor& t = behind[-1];
    const std::int64_t begin = (piece - t.first_piece) * kCodedPiece;
    HWY_DYNAMIC_DISPATCH(update_piece)(a, t, begin, std::min(begin + kCodedPiece, t.count));
  });
}

}  // namespace koine
#endif
