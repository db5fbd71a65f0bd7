#include "engine/files/comma_list.h"

#include <algorithm>

namespace koine {

std::vector<std::string> split_commas(const std::string& text) {
  constexpr const char* kBlanks = " \t";
  std::vector<std::string> parts;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t comma = std::min(text.find(',', begin), text.size());
    const std::string part = text.substr(begin, comma - begin);
    const std::size_t first = part.find_first_not_of(kBlanks);
    if (first != std::string::npos) parts.push_back(part.substr(first, part.find_last_not_of(kBlanks) + 1 - first));
    begin = comma + 1;
  }
  return parts;
}

}  // namespace koine
