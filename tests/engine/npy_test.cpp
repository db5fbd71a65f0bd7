#include "engine/files/npy.h"

#include "engine/files/text_file.h"
#include "temporary_folder.h"

namespace koine {
namespace {

TEST(Npy, WritesWhatItReads) {
  const TemporaryFolder folder;
  const std::vector<float> values = {1, -2, 3.5f, 4, 5, 6};
  write_npy(folder / "m.npy", values.data(), 2, 3);
  const NpyMatrix matrix = read_npy(folder / "m.npy");
  EXPECT_EQ(matrix.rows, 2);
  EXPECT_EQ(matrix.columns, 3);
  EXPECT_EQ(matrix.values, values);
  const std::string bytes = read_file(folder / "m.npy");
  EXPECT_EQ(bytes.size(), 128u + 24u);  // numpy.save's own size for this array
  write_npy(folder / "empty.npy", nullptr, 0, 3);
  EXPECT_TRUE(read_npy(folder / "empty.npy").values.empty());
}

TEST(Npy, SpellsTheHeaderAsNumpyDoes) {
  const std::string header = npy_header(2, 3);
  EXPECT_EQ(header.size() % 64, 0u);
  EXPECT_EQ(header.substr(0, 10), std::string("\x93NUMPY\x01\x00\x76\x00", 10));
  EXPECT_TRUE(header.substr(10).starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }  "));
  EXPECT_EQ(header.back(), '\n');
}

TEST(Npy, RefusesOtherArrays) {
  const std::string good = npy_header(1, 2) + std::string(8, '\0');
  EXPECT_NO_THROW(parse_npy(good, "x.npy"));
  const auto refuse = [](const std::string& bytes, const char* part) {
    expect_user_error([&] { parse_npy(bytes, "x.npy"); }, {"x.npy", part});
  };
  refuse("", "no .npy file");
  refuse(good.substr(0, 40), "truncated");
  refuse(good.substr(0, good.size() - 1), "data");
  refuse(good + "1234", "data");
  std::string wide = good;
  wide.replace(wide.find("<f4"), 3, "<f8");
  refuse(wide, "float32");
  std::string turned = good;
  turned.replace(turned.find("False"), 5, "True ");
  refuse(turned, "row-major");
  refuse(npy_header(std::int64_t{1} << 40, std::int64_t{1} << 40), "data");
}

}  // namespace
}  // namespace koine
