#pragma once

// Comma-separated values with quoting (RFC 4180): a field in quotation marks may hold commas, line breaks and, doubled,
// quotation marks; records end at LF or CRLF.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace koine {

/// Calls use(fields, line) for every record of `text`, `line` the one it begins on, from 1; empty lines are skipped, a byte
/// order mark is dropped. UserError "name:line: ..." for text behind a closing mark, a mark inside a field that does not
/// begin with one, a field that is never closed, and what is not UTF-8.
/// `separator`: what stands between fields in place of the comma.
void for_each_csv_record(std::string_view text, const std::string& name,
                         const std::function<void(const std::vector<std::string>& fields, std::int64_t line)>& use,
                         char separator = ',');

}  // namespace koine
