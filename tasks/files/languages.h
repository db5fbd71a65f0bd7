#pragma once

// Language codes: two letters as XTREME names languages, three letters as Tatoeba's files do.

#include <string>
#include <string_view>

namespace koine {

/// "sw" -> "swh". A code that is not in the table stays as it is.
std::string three_letter_code(std::string_view two);
/// "swh" -> "sw". A code that is not in the table stays as it is.
std::string two_letter_code(std::string_view three);
/// Whether ISO 639-2 leaves the code to private use, "qaa" to "qtz": the generated languages have such codes.
bool is_private_code(std::string_view code);

}  // namespace koine
