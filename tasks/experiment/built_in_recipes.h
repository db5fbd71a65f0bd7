#pragma once

// The files of recipes/, which the program carries.

#include <string_view>
#include <vector>

namespace koine {

struct BuiltInRecipe {
  std::string_view name;  ///< "stilts-2020"
  std::string_view text;
};
const std::vector<BuiltInRecipe>& built_in_recipes();

}  // namespace koine
