#pragma once

// Cyclic redundancy checks of 32 bits, bit-reflected, by eight tables at a time ("slicing by 8", Kounavis and Berry 2005).

#include <array>
#include <cstdint>
#include <string_view>

namespace koine {
namespace crc32_detail {

using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr Tables make_tables(std::uint32_t polynomial) {
  Tables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1u) != 0 ? polynomial : 0u);
    tables[0][byte] = crc;
  }
  for (std::size_t slice = 1; slice < 8; ++slice) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t crc = tables[slice - 1][byte];
      tables[slice][byte] = (crc >> 8) ^ tables[0][crc & 0xffu];
    }
  }
  return tables;
}

template <std::uint32_t polynomial>
std::uint32_t checksum(std::string_view bytes) {
  static constexpr Tables kTables = make_tables(polynomial);
  const auto byte = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[i])); };
  std::uint32_t crc = 0xffffffffu;
  std::size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) {
    crc ^= byte(at) | byte(at + 1) << 8 | byte(at + 2) << 16 | byte(at + 3) << 24;
    crc = kTables[7][crc & 0xffu] ^ kTables[6][crc >> 8 & 0xffu] ^ kTables[5][crc >> 16 & 0xffu] ^ kTables[4][crc >> 24] ^
          kTables[3][byte(at + 4)] ^ kTables[2][byte(at + 5)] ^ kTables[1][byte(at + 6)] ^ kTables[0][byte(at + 7)];
  }
  for (; at < bytes.size(); ++at) crc = (crc >> 8) ^ kTables[0][(crc ^ byte(at)) & 0xffu];
  return ~crc;
}

}  // namespace crc32_detail

/// CRC-32 as zip files use it (ISO 3309; check value of "123456789": 0xcbf43926).
inline std::uint32_t crc32(std::string_view bytes) { return crc32_detail::checksum<0xedb88320u>(bytes); }

/// CRC-32C, Castagnoli's polynomial (RFC 3720, appendix B.4; check value 0xe3069283).
inline std::uint32_t crc32c(std::string_view bytes) { return crc32_detail::checksum<0x82f63b78u>(bytes); }

}  // namespace koine
