#include "engine/files/tensorboard.h"

#include <cstring>

#include "engine/files/crc32.h"
#include "engine/files/text_file.h"
#include "temporary_folder.h"

namespace koine {
namespace {

std::string hex(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    text += "0123456789abcdef"[static_cast<unsigned char>(c) >> 4];
    text += "0123456789abcdef"[c & 15];
  }
  return text;
}

/// The payloads of a file of records, checksums verified as TensorFlow's reader does it.
std::vector<std::string> records_of(std::string_view bytes) {
  const auto unmasked = [](std::uint32_t value) {
    value -= 0xa282ead8u;
    return value >> 17 | value << 15;
  };
  std::vector<std::string> payloads;
  while (!bytes.empty()) {
    std::uint64_t length = 0;
    std::uint32_t checks[2];
    std::memcpy(&length, bytes.data(), 8);
    std::memcpy(&checks[0], bytes.data() + 8, 4);
    EXPECT_EQ(unmasked(checks[0]), crc32c(bytes.substr(0, 8)));
    if (length + 16 > bytes.size()) throw Error("a record runs over");
    std::memcpy(&checks[1], bytes.data() + 12 + length, 4);
    EXPECT_EQ(unmasked(checks[1]), crc32c(bytes.substr(12, length)));
    payloads.emplace_back(bytes.substr(12, length));
    bytes.remove_prefix(16 + length);
  }
  return payloads;
}

TEST(TensorBoard, EncodesEvents) {
  // Written out by hand from event.proto: tag = field << 3 | wire type.
  EXPECT_EQ(hex(tensorboard_version(1.5)),
            "09000000000000f83f"
            "1a0d" +
                hex("brain.Event:2"));
  EXPECT_EQ(hex(tensorboard_scalar("loss", 2.0f, 300, 1.5)),
            "09000000000000f83f"
            "10ac02"
            "2a0d"
            "0a0b"
            "0a04" +
                hex("loss") + "1500000040");
}

TEST(TensorBoard, WritesOneFileARun) {
  const TemporaryFolder folder;
  for (int run = 0; run < 2; ++run) {
    TensorBoardWriter writer(folder / "events");
    writer.scalar("loss", 0.25f, 1);
    writer.scalar("accuracy/de", 0.5f, 70'000);
    const auto payloads = records_of(read_file(writer.path()));
    ASSERT_EQ(payloads.size(), 3u);
    EXPECT_NE(payloads[0].find("brain.Event:2"), std::string::npos);
    EXPECT_NE(payloads[1].find("loss"), std::string::npos);
    EXPECT_NE(payloads[2].find("accuracy/de"), std::string::npos);
    EXPECT_TRUE(writer.path().filename().string().starts_with("events.out.tfevents."));
  }
  std::size_t files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder / "events")) ++files;
  EXPECT_EQ(files, 2u);
  write_file_atomically(folder / "plain", "");
  expect_user_error([&] { TensorBoardWriter writer(folder / "plain"); }, {"plain"});
}

}  // namespace
}  // namespace koine
