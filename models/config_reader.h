#pragma once

// The keys of a config.json, each checked: UserError naming file and key where it is missing, of the wrong type or out of
// range.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>

namespace koine {

class ConfigReader {
 public:
  /// `json` is an object and outlives the reader; `file` names it in messages.
  ConfigReader(const nlohmann::json& json, std::string file) : json_(json), file_(std::move(file)) {}

  const std::string& file() const { return file_; }
  /// So large that no model has it, and so small that products of two stay far from overflow.
  static constexpr std::int64_t kLargestDimension = std::int64_t{1} << 24;
  // As an experiment's [model] has them. (Published models have 12 to 64 heads, 2 to 64 layers.)
  static constexpr std::int64_t kMostLayers = 1024;
  static constexpr std::int64_t kMostHeads = 1024;
  /// Dropout keeps an element where a number of 16 bits is at least its rate; from here on it would keep none.
  static constexpr double kDropoutBelow = 1 - 0x1p-16;
  /// A whole number from `smallest` to `largest`.
  std::int64_t dimension(const char* key, std::int64_t smallest = 1, std::int64_t largest = kLargestDimension) const;
  std::int64_t dimension_or(const char* key, std::int64_t otherwise, std::int64_t smallest,
                            std::int64_t largest = kLargestDimension) const;
  double number_or(const char* key, double otherwise, double smallest, double below) const;
  std::string text_or(const char* key, const std::string& otherwise) const;
  bool flag_or(const char* key, bool otherwise) const;
  /// The first of "architectures"; "" where there is none.
  std::string first_architecture() const;

 private:
  const nlohmann::json& json_;
  std::string file_;
};

}  // namespace koine
