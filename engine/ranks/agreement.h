#pragma once

// What ranks that should do the same compare and tell one another.

#include <map>
#include <string>

#include "engine/ranks/communicator.h"

namespace koine {

/// Error on every rank, naming the first rank with other facts than rank 0's, one of these, and both values.
void require_same_on_all_ranks(Communicator& communicator, const std::map<std::string, std::string>& facts);

/// Numbers by name as a text, every bit of them, and back. No name holds a line feed.
std::string text_of_numbers(const std::map<std::string, double>& numbers);
std::map<std::string, double> numbers_of_text(const std::string& text);

}  // namespace koine
