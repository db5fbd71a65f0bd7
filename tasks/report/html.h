#pragma once

// What the program's HTML pages are made of: a frame with its style, and tables. Self-contained; every text is escaped.

#include <string>
#include <vector>

#include "tasks/statistics/spread.h"

namespace koine {

/// The page from <!doctype> to the heading.
std::string html_head(const std::string& title);
std::string html_foot();

/// A table in the making. Names may run either way and be long; numbers are aligned.
class HtmlTable {
 public:
  HtmlTable(const std::vector<std::string>& names, const std::vector<std::string>& numbers);
  HtmlTable& row(bool mean = false);
  HtmlTable& name(const std::string& text);
  HtmlTable& text(const std::string& text);
  HtmlTable& number(const std::string& text);
  /// "61.3 ±1.2"; `sign`: with a plus where positive; a dash where there is none.
  HtmlTable& spread(const Spread& spread, bool sign = false);
  std::string finish();

 private:
  void close_row();

  std::string html_;
  bool open_ = false;
};

}  // namespace koine
