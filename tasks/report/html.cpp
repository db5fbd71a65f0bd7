#include "tasks/report/html.h"

#include "tasks/report/svg.h"

namespace koine {
namespace {

constexpr const char* kStyle = R"css(
:root { color-scheme: light dark; --text: #1d232a; --soft: #5d6873; --rule: #d8dde2; --back: #ffffff; --band: #f5f7f9; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e8ec; --soft: #9aa5b1; --rule: #39424c; --back: #14181d; --band: #1c2228; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.5rem 4rem; max-width: 68rem; color: var(--text); background: var(--back);
       font: 15px/1.55 system-ui, -apple-system, "Segoe UI", "Liberation Sans", sans-serif; }
h1 { font-size: 1.7rem; font-weight: 650; margin: 0 0 .4rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; font-weight: 650; margin: 2.6rem 0 .5rem; padding-top: 1rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; font-weight: 600; margin: 1.6rem 0 .4rem; }
p, li { max-width: 46rem; }
.soft { color: var(--soft); }
.wide { overflow-x: auto; margin: .6rem 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .93rem; }
th, td { padding: .28rem .8rem .28rem 0; text-align: right; white-space: nowrap; vertical-align: baseline; }
th { font-weight: 600; color: var(--soft); border-bottom: 1px solid var(--rule); }
th.name, td.name { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 5rem; max-width: 22rem; padding-right: 1.4rem; }
tbody tr:nth-child(even) { background: var(--band); }
tbody tr.mean td { border-top: 1px solid var(--rule); font-weight: 600; }
.spread { display: inline-block; min-width: 3.4em; color: var(--soft); font-size: .86em; font-weight: 400; text-align: left; padding-left: .35em; }
td.text { text-align: left; white-space: pre-wrap; overflow-wrap: anywhere; }
summary { cursor: pointer; color: var(--soft); margin: .5rem 0; }
svg { display: block; margin: .4rem 0; }
)css";

}  // namespace

std::string html_head(const std::string& title) {
  const std::string shown = escape_markup(title);
  return "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
         "content=\"width=device-width, initial-scale=1\">\n<title>" +
         shown + "</title>\n<style>" + kStyle + "</style>\n</head>\n<body>\n<h1><bdi>" + shown + "</bdi></h1>\n";
}

std::string html_foot() { return "</body>\n</html>\n"; }

HtmlTable::HtmlTable(const std::vector<std::string>& names, const std::vector<std::string>& numbers) {
  html_ = "<div class=\"wide\"><table><thead><tr>";
  for (const std::string& name : names)
    html_ += "<th class=\"name\" scope=\"col\"><bdi>" + escape_markup(name) + "</bdi></th>";
  for (const std::string& number : numbers) html_ += "<th scope=\"col\"><bdi>" + escape_markup(number) + "</bdi></th>";
  html_ += "</tr></thead><tbody>\n";
}

HtmlTable& HtmlTable::row(bool mean) {
  close_row();
  html_ += mean ? "<tr class=\"mean\">" : "<tr>";
  open_ = true;
  return *this;
}

HtmlTable& HtmlTable::name(const std::string& text) {
  html_ += "<td class=\"name\"><bdi>" + escape_markup(text) + "</bdi></td>";
  return *this;
}

HtmlTable& HtmlTable::text(const std::string& text) {
  html_ += "<td class=\"text\" dir=\"auto\">" + escape_markup(text) + "</td>";
  return *this;
}

HtmlTable& HtmlTable::number(const std::string& text) {
  html_ += "<td>" + escape_markup(text) + "</td>";
  return *this;
}

HtmlTable& HtmlTable::spread(const Spread& spread, bool sign) {
  html_ += "<td>";
  if (spread.count == 0) {
    html_ += "–";
  } else {
    html_ += (sign && spread.mean >= 0.005 ? "+" : "") + format_decimal(spread.mean, 2);
  }
  html_ += "<span class=\"spread\">" + (spread.deviation ? "±" + format_decimal(*spread.deviation, 2) : std::string()) +
           "</span></td>";
  return *this;
}

std::string HtmlTable::finish() {
  close_row();
  return html_ + "</tbody></table></div>\n";
}

void HtmlTable::close_row() {
  if (open_) html_ += "</tr>\n";
  open_ = false;
}

}  // namespace koine
