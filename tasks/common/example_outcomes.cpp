#include "tasks/common/example_outcomes.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <numeric>
#include <string_view>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"

namespace koine {
namespace {

void append_number(std::string& text, float value) {
  char digits[32];
  text.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);  // the shortest that is read back the same
}

/// A question's id as a field of a table: what would end one becomes "_".
std::string one_field(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '\t' || c == '\n' || c == '\r'; }, '_');
  return text;
}

template <class Number>
Number table_number(std::string_view field, const std::string& where) {
  Number value{};
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
  require(error == std::errc() && end == field.data() + field.size(), where, ": \"", field, "\" is not a number");
  return value;
}

/// Columns of a table by their names.
class OutcomeColumns {
 public:
  OutcomeColumns(std::string_view header, const std::string& file) {
    const std::vector<std::string_view> names = split_tabs(header);
    count_ = names.size();
    for (std::size_t i = 0; i < names.size(); ++i) places_[std::string(names[i])] = i;
    require(has("example") && has("points"), file, ":1: the columns must be example and points, and perhaps others");
  }
  bool has(const std::string& name) const { return places_.contains(name); }
  std::size_t place(const std::string& name) const { return places_.at(name); }
  std::size_t count() const { return count_; }

 private:
  std::map<std::string, std::size_t> places_;
  std::size_t count_ = 0;
};

void read_ranked(std::string_view field, const std::string& where, ExampleOutcomes& outcomes) {
  std::vector<std::int16_t> numbers;
  if (field == "-") numbers.push_back(-1);
  while (numbers.empty() || numbers.front() >= 0) {
    const std::size_t comma = std::min(field.find(','), field.size());
    numbers.push_back(table_number<std::int16_t>(field.substr(0, comma), where));
    if (comma == field.size()) break;
    field.remove_prefix(comma + 1);
  }
  const auto count = std::ssize(numbers);
  if (outcomes.candidates == 0) outcomes.candidates = count;
  require(outcomes.candidates == count, where, ": ", count, " candidates, the line before has ", outcomes.candidates);
  outcomes.ranked.insert(outcomes.ranked.end(), numbers.begin(), numbers.end());
}

}  // namespace

double ExampleOutcomes::figure() const {
  const double sum = std::accumulate(points.begin(), points.end(), 0.0);
  const double whole =
      weights.empty() ? static_cast<double>(points.size()) : std::accumulate(weights.begin(), weights.end(), 0.0);
  return whole == 0 ? 0 : 100 * sum / whole;
}

ExampleOutcomes outcomes_of_scores(const std::string& metric, const std::vector<std::int32_t>& gold,
                                   const std::vector<std::vector<float>>& scores) {
  check(gold.size() == scores.size() && !gold.empty(), "outcomes of ", scores.size(), " answers to ", gold.size(),
        " examples");
  ExampleOutcomes outcomes;
  outcomes.metric = metric;
  const std::size_t count = scores.front().size();
  const std::size_t kept = count <= kRankedAtMost ? count : 1;
  outcomes.candidates = static_cast<std::int64_t>(kept);
  for (std::size_t i = 0; i < gold.size(); ++i) {
    std::vector<std::size_t> order(count);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return scores[i][a] > scores[i][b]; });
    outcomes.points.push_back(static_cast<std::int32_t>(order.front()) == gold[i] ? 1.0F : 0.0F);
    for (std::size_t k = 0; k < kept; ++k) outcomes.ranked.push_back(static_cast<std::int16_t>(order[k]));
  }
  return outcomes;
}

ExampleOutcomes outcomes_of_choices(const std::string& metric, const std::vector<std::int32_t>& gold,
                                    const std::vector<std::int32_t>& chosen) {
  check(gold.size() == chosen.size(), "outcomes of ", chosen.size(), " answers to ", gold.size(), " examples");
  ExampleOutcomes outcomes;
  outcomes.metric = metric;
  outcomes.candidates = 1;
  for (std::size_t i = 0; i < gold.size(); ++i) {
    outcomes.points.push_back(chosen[i] == gold[i] ? 1.0F : 0.0F);
    outcomes.ranked.push_back(static_cast<std::int16_t>(chosen[i]));
  }
  return outcomes;
}

std::string example_table(const ExampleOutcomes& outcomes) {
  std::string text = "example\tpoints";
  if (!outcomes.weights.empty()) text += "\tweight";
  if (outcomes.candidates > 0) text += "\tranked";
  if (!outcomes.exact.empty()) text += "\texact";
  text += "\n";
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    text += (outcomes.ids.empty() ? std::to_string(i) : one_field(outcomes.ids[i])) + "\t";
    append_number(text, outcomes.points[i]);
    if (!outcomes.weights.empty()) text += "\t", append_number(text, outcomes.weights[i]);
    for (std::int64_t k = 0; k < outcomes.candidates; ++k) {
      const std::int16_t number =
          outcomes.ranked[i * static_cast<std::size_t>(outcomes.candidates) + static_cast<std::size_t>(k)];
      text += k == 0 ? "\t" : ",";
      text += number < 0 ? "-" : std::to_string(number);
    }
    if (!outcomes.exact.empty()) text += outcomes.exact[i] != 0 ? "\t1" : "\t0";
    text += "\n";
  }
  return text;
}

ExampleOutcomes read_example_table(const std::filesystem::path& path) {
  const std::vector<std::string> lines = read_lines(path);
  require(!lines.empty(), path.string(), ": is empty");
  const OutcomeColumns columns(lines.front(), path.string());
  ExampleOutcomes outcomes;
  bool numbered = true;
  for (std::size_t line = 1; line < lines.size(); ++line) {
    const std::vector<std::string_view> fields = split_tabs(lines[line]);
    const std::string where = concatenate(path.string(), ":", line + 1);
    require(fields.size() == columns.count(), where, ": ", fields.size(), " columns, the first line names ",
            columns.count());
    outcomes.ids.emplace_back(fields[columns.place("example")]);
    numbered = numbered && outcomes.ids.back() == std::to_string(line - 1);
    outcomes.points.push_back(table_number<float>(fields[columns.place("points")], where));
    if (columns.has("weight")) outcomes.weights.push_back(table_number<float>(fields[columns.place("weight")], where));
    if (columns.has("ranked")) read_ranked(fields[columns.place("ranked")], where, outcomes);
    if (columns.has("exact")) outcomes.exact.push_back(fields[columns.place("exact")] == "1" ? 1 : 0);
  }
  if (numbered) std::vector<std::string>().swap(outcomes.ids);
  return outcomes;
}

}  // namespace koine
