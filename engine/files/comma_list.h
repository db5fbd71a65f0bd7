#pragma once

#include <string>
#include <vector>

namespace koine {

/// "a, b,c" -> a, b, c: blanks around a part and empty parts do not count.
std::vector<std::string> split_commas(const std::string& text);

}  // namespace koine
