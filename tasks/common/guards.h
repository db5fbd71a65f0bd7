#pragma once

// What must be told beside a figure: that the answers behind it are all one class, that the examples behind it were cut.

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

namespace koine {

/// Answers that are all but a hundredth one class, while the gold labels are not: the model has learnt a constant.
struct Collapse {
  std::string label;           ///< the class
  std::int64_t predicted = 0;  ///< answers that are it
  std::int64_t gold = 0;       ///< gold labels that are it
  std::int64_t total = 0;      ///< answers, and gold labels
  bool operator==(const Collapse&) const = default;
};

inline constexpr double kCollapsedShare = 0.99;     ///< so many answers at least are the class
inline constexpr double kOneSidedGoldShare = 0.9;   ///< of more gold labels than this, answering always it is no accident
inline constexpr std::int64_t kFewestAnswers = 20;  ///< fewer say nothing

/// How many of a set are of each class.
using ClassCounts = std::map<std::string, std::int64_t>;

/// By the three bounds above.
std::optional<Collapse> find_collapse(const ClassCounts& gold, const ClassCounts& answers);

/// "500 of 500 answers are \"neutral\", 167 of the gold labels: collapsed to one class"
std::string describe(const Collapse& collapse);

/// What framing to the longest sequence allowed cut off the examples of a set.
struct Truncation {
  std::int64_t maximum_length = 0;  ///< tokens allowed, special ones included; of a question's pieces for question answering
  std::int64_t total = 0;           ///< examples
  std::int64_t examples = 0;        ///< of them, those that were cut
  std::int64_t pieces = 0;          ///< that were lost
  std::int64_t targets = 0;         ///< of the examples cut, those whose answer was: tasks as texts

  /// One more example, that lost so many.
  void add(std::int64_t lost, bool of_target = false);
  /// Those of another set too.
  void append(const Truncation& more);
  bool operator==(const Truncation&) const = default;
};

/// "12 of 5010 examples cut to 128 tokens (345 pieces lost)", "... (345 pieces lost; of 3 the answer too)"
std::string describe(const Truncation& truncation);

void to_json(nlohmann::json& json, const Collapse& collapse);
void from_json(const nlohmann::json& json, Collapse& collapse);
void to_json(nlohmann::json& json, const Truncation& truncation);
void from_json(const nlohmann::json& json, Truncation& truncation);

}  // namespace koine
