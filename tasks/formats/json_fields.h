#pragma once

// Members of JSON objects, each complaint with its place: UserError "where: ..." for one that is missing or of another kind.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace koine {

const nlohmann::json& json_field(const nlohmann::json& object, const char* name, const std::string& where);
const std::string& text_field(const nlohmann::json& object, const char* name, const std::string& where);
/// An array of `count` texts.
std::vector<std::string> texts_field(const nlohmann::json& object, const char* name, std::size_t count,
                                     const std::string& where);
/// A whole number from 0 to below `count`.
std::int32_t number_field(const nlohmann::json& object, const char* name, std::int32_t count, const std::string& where);

}  // namespace koine
