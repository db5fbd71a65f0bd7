#include "tasks/formats/json_fields.h"

#include <nlohmann/json.hpp>

#include "kernels/common/check.h"

namespace koine {

using nlohmann::json;

const json& json_field(const json& object, const char* name, const std::string& where) {
  require(object.is_object(), where, ": not a JSON object");
  const auto found = object.find(name);
  require(found != object.end(), where, ": \"", name, "\" is missing");
  return *found;
}

const std::string& text_field(const json& object, const char* name, const std::string& where) {
  const json& value = json_field(object, name, where);
  require(value.is_string(), where, ": \"", name, "\" must be a text");
  return value.get_ref<const std::string&>();
}

std::vector<std::string> texts_field(const json& object, const char* name, std::size_t count, const std::string& where) {
  const json& value = json_field(object, name, where);
  require(value.is_array() && value.size() == count, where, ": \"", name, "\" must be an array of ", count, " texts");
  std::vector<std::string> texts;
  for (const json& text : value) {
    require(text.is_string(), where, ": \"", name, "\" must be an array of ", count, " texts");
    texts.push_back(text.get<std::string>());
  }
  return texts;
}

std::int32_t number_field(const json& object, const char* name, std::int32_t count, const std::string& where) {
  const json& value = json_field(object, name, where);
  require(value.is_number_integer() && value >= 0 && value < count, where, ": \"", name,
          "\" must be a whole number from 0 to ", count - 1);
  return value.get<std::int32_t>();
}

}  // namespace koine
