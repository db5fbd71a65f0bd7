// Shards of the optimizer's operations: ranges of elements one after the other are all elements at once, bit for bit, and
// touch nothing else; state of another type is refused.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/common/buffer.h"
#include "kernels/common/own_scratch.h"
#include "kernels/cuda/runtime.h"
#include "kernels/optimizer/adamw.h"
#include "kernels/optimizer/gradient_norm.h"
#include "kernels/random/random.h"

namespace koine {
namespace {

constexpr std::int64_t kRows = 9;
constexpr std::int64_t kWidth = 1030;
constexpr std::int64_t kTable = 21000;  ///< where a table begins
constexpr std::int64_t kElements = kTable + kRows * kWidth + 37;

/// Cuts at multiples of four and elsewhere, within a piece, a row and between them; one range is empty.
const std::vector<std::int64_t> kCuts = {0, 4, 4096, 4096, 8195, 20000, kTable, 21517, 22030, 24090, 24101, kElements};

std::vector<float> normal_numbers(std::int64_t count, std::uint64_t stream) {
  std::vector<float> values(static_cast<std::size_t>(count));
  fill_normal(values.data(), count, 0, 1, 5, stream);
  return values;
}

/// A value of a vector's type and size on the variant's device, and back.
template <class T>
Buffer placed(Device device, const std::vector<T>& values) {
  Buffer buffer = Buffer::zeroed(device, "test", values.size() * sizeof(T));
  buffer.write(values.data(), buffer.bytes());
  return buffer;
}
template <class T>
std::vector<T> taken(const Buffer& buffer) {
  std::vector<T> values(buffer.bytes() / sizeof(T));
  buffer.read(values.data(), buffer.bytes());
  return values;
}

Context context_of(Device device) {
  Context context;
  context.device = device;
  if (device == Device::kCuda) context.architecture = cuda::device_properties(0).architecture;
  return context;
}

/// Launches the variant, and waits for it.
template <class Arguments>
void launch_alone(const Variant<Arguments>& variant, const Arguments& arguments) {
  const Context context = context_of(variant.device);
  operation<Arguments>().validate(arguments);
  ASSERT_TRUE(usable(variant, context, arguments));
  const Buffer workspace(variant.device, "workspace",
                         variant.workspace_bytes == nullptr ? 0 : variant.workspace_bytes(arguments));
  variant.launch(context, arguments, workspace.data());
  if (variant.device == Device::kCuda) cuda::synchronize(context.stream);
}

template <class Arguments>
std::vector<Variant<Arguments>> variants_here() {
  std::vector<Variant<Arguments>> result;
  for (const Variant<Arguments>& variant : operation<Arguments>().variants) {
    if (variant.device == Device::kCpu || cuda::device_count() > 0) result.push_back(variant);
  }
  return result;
}

/// Weights, gradients and moments of all elements, or of one range of them.
struct State {
  State(Device device, const std::vector<float>& first, const std::vector<float>& second)
      : parameter(placed(device, normal_numbers(kElements, 1))),
        gradient(placed(device, normal_numbers(kElements, 2))),
        working(placed(device, std::vector<BFloat16>(kElements))),
        first_moment(placed(device, first)),
        second_moment(placed(device, second)) {}

  template <class Arguments>
  void point(Arguments& arguments, std::int64_t offset) {
    arguments.parameter = parameter.as<float>() + offset;
    arguments.gradient = gradient.as<float>() + offset;
    arguments.working = working.as<BFloat16>() + offset;
    arguments.first_moment = first_moment.data();
    arguments.second_moment = second_moment.data();
  }

  Buffer parameter;
  Buffer gradient;
  Buffer working;
  Buffer first_moment;
  Buffer second_moment;
};

std::vector<float> first_moments() { return normal_numbers(kElements, 3); }
std::vector<float> second_moments() {
  std::vector<float> values = normal_numbers(kElements, 4);
  for (float& value : values) value *= value;
  return values;
}
template <class T>
std::vector<T> part(const std::vector<T>& values, std::int64_t begin, std::int64_t end) {
  return {values.begin() + begin, values.begin() + end};
}

/// `update(state, range)`, once for all elements and once for each of the ranges with moments of its own: the same bits.
template <class Update>
void expect_ranges_are_the_whole(Device device, std::int64_t first_of_all, const Update& update) {
  const std::vector<float> first = first_moments();
  const std::vector<float> second = second_moments();
  State whole(device, part(first, first_of_all, kElements), part(second, first_of_all, kElements));
  update(whole, ElementRange{});
  EXPECT_NE(taken<float>(whole.first_moment), part(first, first_of_all, kElements)) << "nothing was updated";
  State parts(device, {}, {});
  std::vector<float> first_of_parts, second_of_parts;
  for (std::size_t i = 0; i + 1 < kCuts.size(); ++i) {
    const std::int64_t begin = std::max(kCuts[i], first_of_all);
    const std::int64_t end = std::max(kCuts[i + 1], first_of_all);
    parts.first_moment = placed(device, part(first, begin, end));
    parts.second_moment = placed(device, part(second, begin, end));
    update(parts, {begin - first_of_all, end - first_of_all});
    for (const float value : taken<float>(parts.first_moment)) first_of_parts.push_back(value);
    for (const float value : taken<float>(parts.second_moment)) second_of_parts.push_back(value);
  }
  EXPECT_EQ(taken<float>(whole.parameter), taken<float>(parts.parameter));
  EXPECT_EQ(taken<float>(whole.gradient), taken<float>(parts.gradient));
  EXPECT_EQ(taken<std::uint16_t>(whole.working), taken<std::uint16_t>(parts.working));
  EXPECT_EQ(taken<float>(whole.first_moment), first_of_parts);
  EXPECT_EQ(taken<float>(whole.second_moment), second_of_parts);
}

std::vector<FlatSegment> segments_of_everything() { return {{0, 1, 20011, 0, 0}, {20032, 1, kElements - 20032, 0, 1}}; }

TEST(OptimizerRange, SegmentsCutToRangesAreAllOfThem) {
  std::vector<FlatSegment> list = segments_of_everything();
  const std::int64_t pieces = number_pieces(list);
  for (const auto& variant : variants_here<AdamWSegmentsArguments>()) {
    SCOPED_TRACE(variant.name);
    const Buffer segments = placed(variant.device, list);
    const Buffer steps = placed(variant.device, std::vector<AdamWStep>{adamw_step(3, 1e-3, 0.9, 0.999, 1e-8, 0),
                                                                       adamw_step(3, 1e-3, 0.9, 0.999, 1e-8, 0.1)});
    expect_ranges_are_the_whole(variant.device, 0, [&](State& state, const ElementRange& range) {
      AdamWSegmentsArguments arguments;
      arguments.elements = list[0].count() + list[1].count();
      arguments.segments = 2;
      arguments.pieces = pieces;
      arguments.segment_list = segments.as<FlatSegment>();
      state.point(arguments, 0);
      arguments.range = range;
      arguments.steps = steps.as<AdamWStep>();
      launch_alone(variant, arguments);
    });
  }
}

// Rows are brought up to date range by range, each range with last steps of its own, as ranks would hold them.
TEST(OptimizerRange, RowsCutToRangesAreAllOfThem) {
  std::vector<AdamWStep> history(1);
  for (int step = 1; step <= 5; ++step) history.push_back(adamw_step(step, 1e-3 / step, 0.9, 0.999, 1e-8, 0.01));
  for (const auto& variant : variants_here<AdamWRowsArguments>()) {
    SCOPED_TRACE(variant.name);
    const Buffer scalars = placed(variant.device, history);
    const Buffer rows = placed(variant.device, std::vector<std::int32_t>{0, 2, 3, 8});
    expect_ranges_are_the_whole(variant.device, kTable, [&](State& state, const ElementRange& range) {
      const Buffer last_step = placed(variant.device, std::vector<std::int32_t>{4, 0, 1, 2, 0, 0, 0, 0, 3});
      AdamWRowsArguments arguments;
      arguments.rows = kRows;
      arguments.width = kWidth;
      state.point(arguments, kTable);
      arguments.range = range;
      arguments.row_list = rows.as<std::int32_t>();
      arguments.listed = 4;
      arguments.last_step = last_step.as<std::int32_t>();
      arguments.history = scalars.as<AdamWStep>();
      arguments.step = 5;
      arguments.with_gradient = true;
      launch_alone(variant, arguments);
      EXPECT_EQ(taken<std::int32_t>(last_step), (std::vector<std::int32_t>{5, 0, 5, 5, 0, 0, 0, 0, 5}));
    });
  }
}

TEST(OptimizerRange, SquaresOfRangesAddUpAndNothingElseIsRead) {
  std::vector<FlatSegment> list = {{0, 1, 20011, 0, 0}, {20012, 4, 200, 0, 0}, {kTable + kRows * kWidth, 1, 37, 0, 0}};
  const std::int64_t pieces = number_pieces(list);
  const std::vector<float> gradients = normal_numbers(kElements, 2);
  for (const auto& variant : variants_here<GradientNormArguments>()) {
    SCOPED_TRACE(variant.name);
    const Buffer segments = placed(variant.device, list);
    const Buffer rows = placed(variant.device, std::vector<std::int32_t>{0, 1, 2, 3, 4, 5, 6, 7, 8});
    const auto squares = [&](const std::vector<float>& values, const ElementRange& range, bool listed) {
      const Buffer gradient = placed(variant.device, values);
      const Buffer sum = placed(variant.device, std::vector<double>{-1});
      const Buffer results = placed(variant.device, std::vector<float>{-1, -1});
      GradientNormArguments arguments;
      arguments.elements = 20011 + 800 + 37;
      arguments.segments = 3;
      arguments.pieces = pieces;
      arguments.segment_list = segments.as<FlatSegment>();
      arguments.gradient = gradient.as<float>();
      arguments.rows = kRows;
      arguments.width = kWidth;
      arguments.table_offset = kTable;
      if (listed) arguments.row_list = rows.as<std::int32_t>();
      arguments.listed = listed ? kRows : 0;
      arguments.range = range;
      arguments.sum_of_squares = sum.as<double>();
      arguments.norm = results.as<float>();
      arguments.factor = results.as<float>() + 1;
      launch_alone(variant, arguments);
      return taken<double>(sum)[0];
    };
    const double all = squares(gradients, {}, false);
    double sum = 0;
    for (std::size_t i = 0; i + 1 < kCuts.size(); ++i) {
      std::vector<float> alone(kElements, std::numeric_limits<float>::quiet_NaN());
      std::copy(gradients.begin() + kCuts[i], gradients.begin() + kCuts[i + 1], alone.begin() + kCuts[i]);
      const double of_range = squares(alone, {kCuts[i], kCuts[i + 1]}, false);
      EXPECT_EQ(of_range, squares(alone, {kCuts[i], kCuts[i + 1]}, true)) << "from " << kCuts[i];
      sum += of_range;
    }
    EXPECT_NEAR(sum, all, 1e-12 * all);  // doubles added in another order
    EXPECT_EQ(squares(gradients, {0, kElements}, false), all);
  }
}

TEST(OptimizerRange, StateOfAnotherTypeIsRefused) {
  AdamWSegmentsArguments segments;
  AdamWRowsArguments rows;
  rows.width = 1;
  for (const Device device : {Device::kCpu, Device::kCuda}) {
    Context context;
    context.device = device;
    context.architecture = device == Device::kCuda ? 80 : 0;
    segments.state_type = rows.state_type = DType::kFloat32;
    EXPECT_NO_THROW(choose_variant(context, segments));
    EXPECT_NO_THROW(choose_variant(context, rows));
    segments.state_type = rows.state_type = DType::kBFloat16;
    EXPECT_THROW(choose_variant(context, segments), Error);
    EXPECT_THROW(choose_variant(context, rows), Error);
  }
}

TEST(OptimizerRange, WhatIsNoRangeIsRefused) {
  AdamWSegmentsArguments segments;
  segments.range = {5, 4};
  EXPECT_THROW(adamw_segments(Context{}, segments), Error);
  AdamWRowsArguments rows;
  rows.width = 1;
  rows.range = {-1, 4};
  EXPECT_THROW(adamw_rows(Context{}, rows), Error);
}

}  // namespace
}  // namespace koine
