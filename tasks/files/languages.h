#pragma once

// Language codes: two letters as XTREME names languages, three letters as Tatoeba's files do.

#include <string>
#include <string_view>

namespace koine {

/// "sw" -> "swh". A code that is not in the table stays as it is.
std::string three_letter_code(std::string_view two);
/// "swh" -> "sw". A code that is not in the table stays as it is.
std::string two_letter_code(std::string_view three);

}  // namespace koine
