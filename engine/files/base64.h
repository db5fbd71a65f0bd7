#pragma once

// Base64 (RFC 4648, section 4): bytes as text.

#include <optional>
#include <string>
#include <string_view>

namespace koine {

std::string base64(std::string_view bytes);
/// The bytes; nothing for a text that is not base64, padding included.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace koine
