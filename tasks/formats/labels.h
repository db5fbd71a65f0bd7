#pragma once

// Label names and their numbers.

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/common/check.h"
#include "tasks/formats/request.h"

namespace koine {

/// "a, b, c"
inline std::string join_names(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

/// Text of a file for a message, which would end at a NUL.
inline std::string with_visible_nul(std::string_view text) {
  std::string shown;
  for (const char c : text) shown += c == '\0' ? std::string("\\x00") : std::string(1, c);
  return shown;
}

/// Number of `label` among `known`; UserError "where: unknown label ..." with the known ones.
inline std::int32_t label_number(std::string_view label, const std::vector<std::string>& known, const std::string& where) {
  const auto found = std::find(known.begin(), known.end(), label);
  if (found == known.end())
    fail_user(where, ": unknown label \"", with_visible_nul(label), "\"; known labels: ", join_names(known));
  return static_cast<std::int32_t>(found - known.begin());
}
/// The same of a label as a file spells it, by the request's labels and what files call them.
inline std::int32_t label_number(std::string_view label, const ReadRequest& request, const std::string& where) {
  for (const auto& [alias, meant] : request.label_aliases) {
    if (label == alias) return label_number(meant, request.labels, where);
  }
  return label_number(label, request.labels, where);
}

}  // namespace koine
