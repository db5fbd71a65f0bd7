#include "kernels/cast/cast.h"

#include "tests/kernels/suite.h"

namespace koine {
namespace {

using testing::Buffer;

void check_on_device(const Variant<CastArguments>& variant, CastArguments arguments, const std::vector<double>& values,
                     const Buffer& expected) {
  if (cuda::device_count() == 0) return;
  for (const bool aligned : {false, true}) {
    testing::for_each_schedule([&](const std::string& schedule) {
      Buffer input(arguments.input_type, arguments.count, aligned);
      Buffer output(arguments.output_type, arguments.count, aligned);
      for (std::int64_t i = 0; i < arguments.count; ++i) {
        store_element(input.data(), arguments.input_type, i, values[static_cast<std::size_t>(i)]);
      }
      arguments.input = input.data();
      arguments.output = output.data();
      testing::launch_on_device(testing::context_for(Device::kCuda), variant, arguments, {}, {&input, &output}, nullptr);
      EXPECT_TRUE(output.guards_intact());
      EXPECT_EQ(std::memcmp(output.data(), expected.data(), expected.bytes()), 0)
          << variant.name << (aligned ? " aligned, " : ", ") << arguments.count << " elements, " << schedule;
    });
  }
}

// Exact for every pair of types the variants take: the reference's bits.
TEST(Cast, VariantsAreExact) {
  const Operation<CastArguments>& table = operation<CastArguments>();
  for (const DType from : {DType::kFloat32, DType::kBFloat16}) {
    for (const DType to : {DType::kFloat32, DType::kBFloat16}) {
      for (const std::int64_t count : {0, 1, 7, 64, 768, 1000, 70000}) {
        Buffer input(from, count);
        const std::vector<double> values = testing::random_values(count, 3, 10);
        for (std::int64_t i = 0; i < count; ++i) store_element(input.data(), from, i, values[static_cast<std::size_t>(i)]);
        CastArguments arguments;
        arguments.count = count;
        arguments.input_type = from;
        arguments.output_type = to;
        arguments.input = input.data();
        Buffer expected(to, count);
        arguments.output = expected.data();
        testing::reference_variant<CastArguments>().launch(Context{}, arguments, nullptr);
        for (const Variant<CastArguments>& variant : table.variants) {
          if (variant.device == Device::kCuda) {
            check_on_device(variant, arguments, values, expected);
            continue;
          }
          if (!usable(variant, Context{}, arguments)) continue;
          testing::for_each_instruction_set([&](const std::string& instructions) {
            testing::for_each_thread_count([&](int threads) {
              Buffer output(to, count);
              arguments.output = output.data();
              run_variant(Context{}, variant, arguments);
              EXPECT_TRUE(output.guards_intact());
              EXPECT_EQ(std::memcmp(output.data(), expected.data(), expected.bytes()), 0)
                  << variant.name << " " << instructions << " " << name_of(from) << " to " << name_of(to) << ", " << count
                  << " elements, " << threads << " threads";
            });
          });
        }
      }
    }
  }
}

TEST(Cast, ReferenceKnowsDouble) {
  const double input[2] = {1.0 / 3, -2.5};
  float output[2];
  CastArguments arguments;
  arguments.count = 2;
  arguments.input_type = DType::kFloat64;
  arguments.output_type = DType::kFloat32;
  arguments.input = input;
  arguments.output = output;
  testing::reference_variant<CastArguments>().launch(Context{}, arguments, nullptr);
  EXPECT_EQ(output[0], 1.0f / 3);
  EXPECT_EQ(output[1], -2.5f);
}

}  // namespace
}  // namespace koine
