#include "tasks/experiment/device_kinds.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "kernels/common/check.h"

namespace koine {
namespace {

std::string refused(const std::function<void()>& call) {
  try {
    call();
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

TEST(DeviceKinds, SizesHaveTheirUnits) {
  EXPECT_EQ(parse_bytes("139GiB", "x"), 139.0 * 1024 * 1024 * 1024);
  EXPECT_EQ(parse_bytes("80 GB", "x"), 80e9);
  EXPECT_EQ(parse_bytes("1.5MiB", "x"), 1.5 * 1024 * 1024);
  for (const char* wrong : {"139", "GiB", "-1GiB", "0GB", "1e999GB", "nanGB", "12 gib x", ""}) {
    const std::string why = refused([&] { parse_bytes(wrong, "--device-memory"); });
    EXPECT_NE(why.find("--device-memory " + std::string(wrong)), std::string::npos) << why;
  }
}

TEST(DeviceKinds, SizesAreSaidInTheUnitPeopleUse) {
  EXPECT_EQ(format_bytes(parse_bytes("139GiB", "x")), "139.00 GiB");
  EXPECT_EQ(format_bytes(1024.0 * 1024 * 1024 - 1), "1024.0 MiB") << "the largest below the next unit";
  EXPECT_EQ(format_bytes(1.5 * 1024 * 1024), "1.5 MiB");
  EXPECT_EQ(format_bytes(512), "0.5 KiB");
}

TEST(DeviceKinds, AnUnknownOneIsAnsweredWithAll) {
  EXPECT_EQ(device_kind("H200").name, "h200");
  const std::string why = refused([] { device_kind("h300"); });
  for (const DeviceKind& kind : device_kinds()) EXPECT_NE(why.find(kind.name), std::string::npos) << why;
}

TEST(DeviceKinds, TheLargestBudgetFitsAndTheNextDoesNot) {
  MemoryQuestion question;
  question.config.vocab_size = 1000;
  question.config.hidden_size = 64;
  question.config.num_hidden_layers = 2;
  question.config.num_attention_heads = 2;
  question.config.intermediate_size = 128;
  question.heads = {{"", HeadKind::kSequence, 3}};
  question.execution.device = Device::kCuda;
  const auto needed = [&](std::int64_t tokens) {
    question.tokens = tokens;
    return estimate_memory(question).back().bytes;
  };
  for (const double bytes : {needed(128), needed(128) + 1, needed(1280) - 1, needed(5000), 64e6}) {
    const std::int64_t most = largest_token_budget(question, bytes);
    EXPECT_EQ(most % 128, 0);
    EXPECT_LE(needed(most), bytes);
    EXPECT_GT(needed(most + 128), bytes);
  }
  EXPECT_EQ(largest_token_budget(question, needed(128) - 1), 0);
}

TEST(DeviceKinds, EnergyIsTheFormulas) {
  // 10 hours of 0.85 * 700 W and 300 W of the host, times 1.2.
  EXPECT_NEAR(kilowatt_hours({700, 0}, 10), 10 * (595 + 300) * 1.2 / 1000, 1e-9);
}

}  // namespace
}  // namespace koine
