#include "engine/files/npy.h"

#include <charconv>
#include <cstring>

#include "engine/files/atomic_file.h"
#include "engine/files/text_file.h"
#include "kernels/common/check.h"

namespace koine {
namespace {

constexpr std::string_view kMagic("\x93NUMPY\x01\x00", 8);
constexpr std::size_t kAlignment = 64;

/// Steps over the parts of the header as it must stand there.
class HeaderReader {
 public:
  HeaderReader(std::string_view text, const std::string& where) : rest_(text), where_(where) {}

  void expect(std::string_view part) {
    skip_spaces();
    require(rest_.starts_with(part), where_, ": its header is not that of a float32 matrix in row-major order");
    rest_.remove_prefix(part.size());
  }
  std::int64_t number() {
    skip_spaces();
    std::int64_t value = -1;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    require(error == std::errc() && value >= 0, where_, ": its header has no valid shape");
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    return value;
  }

 private:
  void skip_spaces() { rest_.remove_prefix(std::min(rest_.find_first_not_of(' '), rest_.size())); }

  std::string_view rest_;
  const std::string& where_;
};

}  // namespace

std::string npy_header(std::int64_t rows, std::int64_t columns) {
  std::string text = concatenate("{'descr': '<f4', 'fortran_order': False, 'shape': (", rows, ", ", columns, "), }");
  const std::size_t before = kMagic.size() + sizeof(std::uint16_t);
  text.resize((before + text.size() + 1 + kAlignment - 1) / kAlignment * kAlignment - before - 1, ' ');
  text += '\n';
  const auto length = static_cast<std::uint16_t>(text.size());
  return std::string(kMagic) + std::string(reinterpret_cast<const char*>(&length), sizeof length) + text;
}

void write_npy(const std::filesystem::path& path, const float* values, std::int64_t rows, std::int64_t columns) {
  check(rows >= 0 && columns >= 0, "a matrix of negative size is written");
  AtomicFile file(path);
  file.write(npy_header(rows, columns));
  file.write(values, static_cast<std::size_t>(rows * columns) * sizeof(float));
  file.commit();
}

NpyMatrix parse_npy(std::string_view bytes, const std::string& where) {
  std::uint16_t length = 0;
  require(bytes.size() >= kMagic.size() + sizeof length && bytes.starts_with(kMagic), where,
          ": is no .npy file of version 1.0");
  std::memcpy(&length, bytes.data() + kMagic.size(), sizeof length);
  bytes.remove_prefix(kMagic.size() + sizeof length);
  require(length <= bytes.size(), where, ": truncated");
  HeaderReader header(bytes.substr(0, length), where);
  NpyMatrix matrix;
  for (const char* part : {"{", "'descr'", ":", "'<f4'", ",", "'fortran_order'", ":", "False", ",", "'shape'", ":", "("}) {
    header.expect(part);
  }
  matrix.rows = header.number();
  header.expect(",");
  matrix.columns = header.number();
  header.expect(")");
  bytes.remove_prefix(length);
  std::int64_t count = 0;
  require(!__builtin_mul_overflow(matrix.rows, matrix.columns, &count) && bytes.size() % sizeof(float) == 0 &&
              static_cast<std::uint64_t>(count) == bytes.size() / sizeof(float),
          where, ": has ", bytes.size(), " bytes of data, which a shape of (", matrix.rows, ", ", matrix.columns,
          ") does not fill");
  matrix.values.resize(static_cast<std::size_t>(count));
  if (count > 0) std::memcpy(matrix.values.data(), bytes.data(), bytes.size());
  return matrix;
}

NpyMatrix read_npy(const std::filesystem::path& path) { return parse_npy(read_file(path), path.string()); }

}  // namespace koine
