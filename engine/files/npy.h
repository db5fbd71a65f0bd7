#pragma once

// NumPy's file of one array (numpy.lib.format, version 1.0): "\x93NUMPY", 1, 0, the header's length (u16), a header like
// {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } padded with spaces to a multiple of 64 and ended by a line
// break, then the elements, row-major, little-endian.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace koine {

/// The bytes before the elements of a float32 array [rows, columns].
std::string npy_header(std::int64_t rows, std::int64_t columns);

/// Writes a float32 matrix [rows, columns] atomically. UserError when it cannot be written.
void write_npy(const std::filesystem::path& path, const float* values, std::int64_t rows, std::int64_t columns);

struct NpyMatrix {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::vector<float> values;
};

/// Reads what write_npy writes, or what NumPy does for such an array; UserError for anything else.
NpyMatrix parse_npy(std::string_view bytes, const std::string& where);
NpyMatrix read_npy(const std::filesystem::path& path);

}  // namespace koine
