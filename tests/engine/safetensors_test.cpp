#include "engine/files/safetensors.h"

#include <sys/stat.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>

#include "engine/files/text_file.h"
#include "temporary_folder.h"

namespace koine {
namespace {

std::string file_of(std::string_view header, std::string_view data) {
  const std::uint64_t length = header.size();
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof length);
  return bytes.append(header).append(data);
}

template <class Element>
std::string bytes_of(const std::vector<Element>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(Element)};
}

void expect_refused(const std::string& bytes, const std::vector<std::string>& parts) {
  expect_user_error([&] { parse_safetensors_header(bytes, "x.safetensors"); }, parts);
}

TEST(Safetensors, WritesWhatItReads) {
  const TemporaryFolder folder;
  const std::vector<float> b = {1, -2.5f, std::numeric_limits<float>::infinity(), 0, 5, 6};
  const std::vector<std::int64_t> a = {7, -8};
  const float scalar = 3;
  write_safetensors(folder / "m.safetensors", {{"b", "F32", {2, 3}, b.data()},
                                               {"a", "I64", {2}, a.data()},
                                               {"empty", "F32", {4, 0}, nullptr},
                                               {"scalar", "F32", {}, &scalar}});
  const SafetensorsFile file(folder / "m.safetensors");
  EXPECT_EQ(file.tensors().size(), 4u);
  EXPECT_EQ(file.entry("b").shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(file.read_float("b"), b);
  EXPECT_EQ(file.read_integer("a"), a);
  EXPECT_EQ(file.read_float("scalar"), std::vector<float>{3});
  EXPECT_TRUE(file.read_float("empty").empty());
  EXPECT_EQ(file.metadata().at("format"), "pt");
  const std::string bytes = read_file(folder / "m.safetensors");
  std::uint64_t header;
  std::memcpy(&header, bytes.data(), sizeof header);
  EXPECT_EQ(header % 8, 0u);
  EXPECT_EQ(bytes.size(), 8 + header + 16 + 24 + 4);
  expect_user_error([&] { file.read_float("c"); }, {"m.safetensors", "no tensor c"});
  expect_user_error([&] { file.read_float("a"); }, {"tensor a", "I64"});
  expect_user_error([&] { file.read_integer("b"); }, {"tensor b", "F32"});
}

TEST(Safetensors, ConvertsEveryDtype) {
  const TemporaryFolder folder;
  const auto write = [&](const char* dtype, const std::string& data, std::int64_t count) {
    // A header of odd length: the data then lies unaligned.
    const std::string header =
        concatenate(R"({"t":{"dtype":")", dtype, R"(","shape":[)", count, R"(],"data_offsets":[0,)", data.size(), "]}}");
    std::ofstream(folder / "t", std::ios::binary) << file_of(header.size() % 2 == 0 ? header + " " : header, data);
  };
  write("F64", bytes_of<double>({0.1, -3}), 2);
  EXPECT_EQ(SafetensorsFile(folder / "t").read_float("t"), (std::vector<float>{0.1f, -3}));
  write("BF16", bytes_of<std::uint16_t>({0x3f80, 0xc020, 0x7f80}), 3);
  EXPECT_EQ(SafetensorsFile(folder / "t").read_float("t"),
            (std::vector<float>{1, -2.5f, std::numeric_limits<float>::infinity()}));
  // IEEE binary16: one, largest, smallest normal, smallest and largest subnormal, minus zero, infinities.
  write("F16", bytes_of<std::uint16_t>({0x3c00, 0x7bff, 0x0400, 0x0001, 0x03ff, 0x8000, 0x7c00, 0xfc00, 0x7e00}), 9);
  const std::vector<float> half = SafetensorsFile(folder / "t").read_float("t");
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(std::vector<float>(half.begin(), half.end() - 1),
            (std::vector<float>{1, 65504, 0x1p-14f, 0x1p-24f, 1023 * 0x1p-24f, 0, infinity, -infinity}));
  EXPECT_TRUE(std::signbit(half[5]));
  EXPECT_TRUE(std::isnan(half[8]));
  write("I8", bytes_of<std::int8_t>({-1, 2}), 2);
  EXPECT_EQ(SafetensorsFile(folder / "t").read_integer("t"), (std::vector<std::int64_t>{-1, 2}));
  write("BOOL", bytes_of<std::uint8_t>({1, 0}), 2);
  EXPECT_EQ(SafetensorsFile(folder / "t").read_integer("t"), (std::vector<std::int64_t>{1, 0}));
  write("I32", bytes_of<std::int32_t>({-70000}), 1);
  EXPECT_EQ(SafetensorsFile(folder / "t").read_integer("t"), (std::vector<std::int64_t>{-70000}));
  write("I16", bytes_of<std::int16_t>({-300}), 1);
  EXPECT_EQ(SafetensorsFile(folder / "t").read_integer("t"), (std::vector<std::int64_t>{-300}));
}

TEST(Safetensors, RefusesWhatTheFormatForbids) {
  const std::string four(4, 'x');
  EXPECT_NO_THROW(
      parse_safetensors_header(file_of(R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}  )", four), "x"));
  EXPECT_NO_THROW(parse_safetensors_header(file_of("{}", ""), "x"));
  expect_refused("", {"x.safetensors", "truncated"});
  expect_refused("1234567", {"truncated"});
  expect_refused(std::string("\x10\0\0\0\0\0\0\0{}", 10), {"truncated", "16"});
  expect_refused(std::string(7, '\xff') + "\x7f{}", {"claims", "safetensors file?"});
  expect_refused(file_of("", ""), {"JSON object"});
  expect_refused(file_of(" {}", ""), {"JSON object"});
  expect_refused(file_of("[]", ""), {"JSON object"});
  expect_refused(file_of("{\"t\":", ""), {"header:1", "not valid JSON"});
  expect_refused(file_of("{} x", ""), {"header:1"});
  const auto one = [&](const char* entry, const std::string& data) {
    return file_of(concatenate("{\"t\":", entry, "}"), data);
  };
  expect_refused(one("7", ""), {"tensor t", "dtype, shape and data_offsets"});
  expect_refused(one(R"({"dtype":"F33","shape":[1],"data_offsets":[0,4]})", four), {"tensor t", "F33"});
  expect_refused(one(R"({"dtype":7,"shape":[1],"data_offsets":[0,4]})", four), {"tensor t", "dtype"});
  expect_refused(one(R"({"dtype":"F32","shape":[-1],"data_offsets":[0,4]})", four), {"tensor t", "-1"});
  expect_refused(one(R"({"dtype":"F32","shape":[1.0],"data_offsets":[0,4]})", four), {"tensor t", "shape"});
  expect_refused(one(R"({"dtype":"F32","shape":1,"data_offsets":[0,4]})", four), {"tensor t", "shape"});
  expect_refused(one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4,5]})", four), {"tensor t", "[begin, end]"});
  expect_refused(one(R"({"dtype":"F32","shape":[1],"data_offsets":[4,0]})", four), {"tensor t", "4 bytes"});
  expect_refused(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,4]})", four), {"tensor t", "8 bytes"});
  expect_refused(one(R"({"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,0]})", ""),
                 {"overflows"});
  expect_refused(one(R"({"dtype":"F4","shape":[3],"data_offsets":[0,1]})", "x"), {"whole bytes"});
  expect_refused(one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})", "xyz"), {"truncated", "4", "3"});
  expect_refused(one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})", "12345"), {"1 bytes follow"});
  expect_refused(one(R"({"dtype":"F32","shape":[1],"data_offsets":[4,8]})", "12345678"), {"hole", "tensor t"});
  const char* twice =
      R"({"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"t":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})";
  expect_refused(file_of(twice, "12"), {"\"t\"", "twice"});
  const char* overlap =
      R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})";
  expect_refused(file_of(overlap, "123"), {"tensor b", "overlaps"});
  expect_refused(file_of(R"({"__metadata__":{"a":1}})", ""), {"__metadata__"});
  expect_refused(file_of(R"({"__metadata__":"a"})", ""), {"__metadata__"});
}

TEST(Safetensors, RefusesToWriteATensorTwice) {
  const TemporaryFolder folder;
  const float one = 1;
  EXPECT_THROW(write_safetensors(folder / "m", {{"t", "F32", {1}, &one}, {"t", "F32", {1}, &one}}), Error);
  EXPECT_EQ(folder.entries(), 0u);
}

TEST(ModelWeights, ReadsShards) {
  const TemporaryFolder folder;
  const float one = 1;
  const float two = 2;
  write_safetensors(folder / "s1.safetensors", {{"a", "F32", {1}, &one}});
  write_safetensors(folder / "s2.safetensors", {{"b", "F32", {1}, &two}, {"not_listed", "F32", {1}, &two}});
  write_file_atomically(folder / "model.safetensors.index.json",
                        R"({"metadata":{"total_size":8},"weight_map":{"a":"s1.safetensors","b":"s2.safetensors"}})");
  const ModelWeights weights(folder.path());
  EXPECT_EQ(weights.names(), (std::vector<std::string>{"a", "b"}));
  float value = 0;
  weights.read_float("b", &value);
  EXPECT_EQ(value, 2);
  EXPECT_EQ(weights.file_of("a"), folder / "s1.safetensors");
  expect_user_error([&] { weights.entry("c"); }, {folder.path().string(), "no tensor c"});
}

TEST(ModelWeights, APipeInPlaceOfAShardIsRefusedAtOnce) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "model.safetensors.index.json", R"({"weight_map": {"a": "x.safetensors"}})");
  ASSERT_EQ(mkfifo((folder / "x.safetensors").c_str(), 0600), 0);
  expect_user_error([&] { ModelWeights{folder.path()}; }, {"x.safetensors", "not a regular file"});
}

TEST(ModelWeights, RefusesABadIndex) {
  const TemporaryFolder folder;
  const float one = 1;
  write_safetensors(folder / "s1.safetensors", {{"a", "F32", {1}, &one}});
  const auto expect = [&](const char* index, const std::vector<std::string>& parts) {
    write_file_atomically(folder / "model.safetensors.index.json", index);
    expect_user_error([&] { ModelWeights weights(folder.path()); }, parts);
  };
  expect("{}", {"index.json", "weight_map"});
  expect(R"({"weight_map":{"a":7}})", {"tensor a", "file name"});
  expect(R"({"weight_map":{"a":"../s1.safetensors"}})", {"tensor a", "plain file name"});
  expect(R"({"weight_map":{"a":"/s1.safetensors"}})", {"tensor a", "plain file name"});
  expect(R"({"weight_map":{"a":"s9.safetensors"}})", {"s9.safetensors", "No such file"});
  expect(R"({"weight_map":{"b":"s1.safetensors"}})", {"tensor b", "s1.safetensors"});
  const TemporaryFolder empty;
  expect_user_error([&] { ModelWeights weights(empty.path()); }, {"model.safetensors", "model directory?"});
  write_file_atomically(empty / "pytorch_model.bin", "");
  expect_user_error([&] { ModelWeights weights(empty.path()); }, {"koine convert"});
}

}  // namespace
}  // namespace koine
