#include <algorithm>
#include <charconv>

#include "tasks/report/exports.h"

namespace koine {

namespace {

std::string field(const std::string& text) { return csv_field(text); }

std::string field(double value) {
  char buffer[64];
  return std::string(buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr);
}

std::string field(const std::optional<double>& value) { return value.has_value() ? field(*value) : ""; }

}  // namespace

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

std::string results_csv(const std::vector<ResultRow>& rows) {
  std::string text =
      "model,intermediate,target,language,metric,value,seed,examples,tokens,flops,seconds,joules,layer,left_out\r\n";
  for (const ResultRow& row : rows) {
    for (const std::string& part :
         {field(row.model), field(row.intermediate), field(row.target), field(row.language), field(row.metric),
          field(row.value), std::to_string(row.seed), std::to_string(row.examples), std::to_string(row.tokens),
          field(row.flops), field(row.seconds), field(row.joules),
          row.layer.has_value() ? std::to_string(*row.layer) : ""}) {
      text += part + ",";
    }
    text += std::to_string(row.left_out) + "\r\n";
  }
  return text;
}

}  // namespace koine
