#include "models/config_reader.h"

#include <nlohmann/json.hpp>

#include "kernels/common/check.h"

namespace koine {

std::int64_t ConfigReader::dimension(const char* key, std::int64_t smallest, std::int64_t largest) const {
  require(json_.contains(key), file_, ": key \"", key, "\" is missing");
  const nlohmann::json& value = json_[key];
  require(value.is_number_integer(), file_, ": key \"", key, "\" must be a whole number, it is ", value.dump());
  const std::int64_t number = value.get<std::int64_t>();
  require(number >= smallest && number <= largest, file_, ": key \"", key, "\" must be between ", smallest, " and ", largest,
          ", it is ", number);
  return number;
}

std::int64_t ConfigReader::dimension_or(const char* key, std::int64_t otherwise, std::int64_t smallest,
                                        std::int64_t largest) const {
  return json_.contains(key) && !json_[key].is_null() ? dimension(key, smallest, largest) : otherwise;
}

double ConfigReader::number_or(const char* key, double otherwise, double smallest, double below) const {
  if (!json_.contains(key) || json_[key].is_null()) return otherwise;
  const nlohmann::json& value = json_[key];
  require(value.is_number(), file_, ": key \"", key, "\" must be a number, it is ", value.dump());
  const double number = value.get<double>();
  require(number >= smallest && number < below, file_, ": key \"", key, "\" must be at least ", smallest, " and below ",
          below, ", it is ", number);
  return number;
}

std::string ConfigReader::text_or(const char* key, const std::string& otherwise) const {
  if (!json_.contains(key)) return otherwise;
  require(json_[key].is_string(), file_, ": key \"", key, "\" must be a string, it is ", json_[key].dump());
  return json_[key].get<std::string>();
}

bool ConfigReader::flag_or(const char* key, bool otherwise) const {
  if (!json_.contains(key) || json_[key].is_null()) return otherwise;
  require(json_[key].is_boolean(), file_, ": key \"", key, "\" must be true or false, it is ", json_[key].dump());
  return json_[key].get<bool>();
}

std::string ConfigReader::first_architecture() const {
  if (!json_.contains("architectures") || !json_["architectures"].is_array() || json_["architectures"].empty()) return "";
  const nlohmann::json& first = json_["architectures"][0];
  return first.is_string() ? first.get<std::string>() : "";
}

}  // namespace koine
