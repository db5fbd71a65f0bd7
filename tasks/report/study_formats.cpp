#include <algorithm>
#include <cstdio>

#include "tasks/report/exports.h"
#include "tasks/report/html.h"
#include "tasks/report/study.h"
#include "tasks/report/svg.h"

namespace koine {
namespace {

/// Longer tables are folded away on the page.
constexpr std::size_t kOpenLines = 60;

std::string html_of(const StudyTable& table) {
  const auto split = table.columns.begin() + static_cast<std::ptrdiff_t>(table.names);
  HtmlTable html({table.columns.begin(), split}, {split, table.columns.end()});
  for (const StudyLine& line : table.lines) {
    html.row();
    for (std::size_t i = 0; i < line.cells.size(); ++i)
      i < table.names ? html.name(line.cells[i].text) : html.number(line.cells[i].text);
  }
  std::string text = html.finish();
  if (table.lines.size() > kOpenLines)
    text = "<details><summary>" + std::to_string(table.lines.size()) + " lines</summary>\n" + text + "</details>\n";
  return "<h2><bdi>" + escape_markup(table.title) + "</bdi></h2>\n<p class=\"soft\">" + escape_markup(table.note) +
         "</p>\n" + text;
}

/// Escaped, with what not every LaTeX knows as a character: the minus sign and the narrow blank between thousands.
std::string latex_text(const std::string& text) {
  std::string escaped = escape_latex(text);
  const auto replace = [&](std::string_view character, std::string_view command) {
    for (std::size_t at = escaped.find(character); at != std::string::npos; at = escaped.find(character, at))
      escaped.replace(at, character.size(), command);
  };
  replace("\u2212", "$-$");
  replace("\u202f", "\\,");
  return escaped;
}

std::string latex_of(const StudyTable& table) {
  const auto line_of = [](const std::vector<std::string>& cells) {
    std::string text = "    ";
    for (std::size_t i = 0; i < cells.size(); ++i) text += (i == 0 ? "" : " & ") + latex_text(cells[i]);
    return text + " \\\\\n";
  };
  std::string text = "\\begin{table*}[t]\n  \\centering\n  \\small\n  \\begin{tabular}{" + std::string(table.names, 'l') +
                     std::string(table.columns.size() - table.names, 'r') + "}\n    \\toprule\n" + line_of(table.columns) +
                     "    \\midrule\n";
  for (const StudyLine& line : table.lines) {
    std::vector<std::string> cells;
    for (const StudyCell& cell : line.cells) cells.push_back(cell.text);
    text += line_of(cells);
  }
  return text + "    \\bottomrule\n  \\end{tabular}\n  \\caption{" + latex_text(table.title + "; " + table.note) +
         "}\n\\end{table*}\n";
}

std::string csv_number(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.10g", value);
  return text;
}

std::string csv_record(const std::vector<std::string>& fields) {
  std::string text;
  for (std::size_t i = 0; i < fields.size(); ++i) text += (i == 0 ? "" : ",") + csv_field(fields[i]);
  return text + "\r\n";
}

/// Value, ends of the interval, count and p; empty where they are not known.
std::vector<std::string> estimate_fields(const StudyCell& cell) {
  std::vector<std::string> fields(5);
  if (!cell.estimate.has_value() || cell.estimate->count == 0) return fields;
  fields[0] = csv_number(cell.estimate->value);
  if (cell.estimate->interval.has_value()) {
    fields[1] = csv_number(cell.estimate->interval->low);
    fields[2] = csv_number(cell.estimate->interval->high);
  }
  fields[3] = std::to_string(cell.estimate->count);
  if (cell.estimate->p.has_value()) fields[4] = csv_number(*cell.estimate->p);
  return fields;
}

/// "runs/large/results.json:12-20;runs/xl/results.json:3": rows that follow one another as a range.
std::string places_of(const std::vector<std::size_t>& rows, const std::vector<std::string>& places) {
  struct Range {
    std::string file, first, last;
    std::size_t row = 0;
  };
  std::vector<Range> ranges;
  for (const std::size_t row : rows) {
    const std::size_t colon = places[row].rfind(':');
    const std::string file = places[row].substr(0, colon);
    const std::string number = places[row].substr(colon + 1);
    if (!ranges.empty() && ranges.back().file == file && ranges.back().row + 1 == row)
      ranges.back().last = number, ranges.back().row = row;
    else
      ranges.push_back({file, number, number, row});
  }
  std::string text;
  for (const Range& range : ranges) {
    text += (text.empty() ? "" : ";") + range.file + ":" + range.first + (range.first == range.last ? "" : "-" + range.last);
  }
  return text;
}

}  // namespace

std::string study_html(const StudyPage& page) {
  std::string html = html_head(page.name) + "<p><strong>" + escape_markup(page.answer) +
                     "</strong></p>\n<p class=\"soft\">" + escape_markup(page.question) + "</p>\n<ul>\n";
  for (const std::string& remark : page.remarks) html += "<li>" + escape_markup(remark) + "</li>\n";
  html += "</ul>\n";
  for (const std::string& plot : page.plots) html += "<div class=\"wide\">" + plot + "</div>\n";
  for (const StudyTable& table : page.tables) html += html_of(table);
  return html + html_foot();
}

std::string study_markdown(const StudyPage& page) {
  std::string text = "# " + escape_markdown(page.name) + "\n\n**" + escape_markdown(page.answer) + "**\n\n" +
                     escape_markdown(page.question) + "\n";
  for (const std::string& remark : page.remarks) text += "\n* " + escape_markdown(remark);
  text += page.remarks.empty() ? "" : "\n";
  for (const StudyTable& table : page.tables) {
    text += "\n## " + escape_markdown(table.title) + "\n\n" + escape_markdown(table.note) + "\n\n|";
    for (const std::string& column : table.columns) text += " " + escape_markdown(column) + " |";
    text += "\n|";
    for (std::size_t i = 0; i < table.columns.size(); ++i) text += i < table.names ? "---|" : "--:|";
    text += "\n";
    for (const StudyLine& line : table.lines) {
      text += "|";
      for (const StudyCell& cell : line.cells) text += " " + escape_markdown(cell.text) + " |";
      text += "\n";
    }
  }
  return text;
}

std::string study_latex(const StudyPage& page) {
  std::string text =
      "% \\usepackage{booktabs}\n\\paragraph{" + latex_text(page.question) + "} " + latex_text(page.answer) + "\n";
  for (const StudyTable& table : page.tables) text += "\n" + latex_of(table);
  return text;
}

std::string study_csv(const StudyPage& page, const StudyInput& input) {
  std::string text = csv_record({"table", "names", "column", "text", "value", "low", "high", "n", "p", "rows"});
  for (const StudyTable& table : page.tables) {
    for (const StudyLine& line : table.lines) {
      std::string names;
      for (std::size_t i = 0; i < table.names; ++i) names += (i == 0 ? "" : " / ") + line.cells[i].text;
      const std::string places = places_of(line.rows, input.places);
      for (std::size_t i = table.names; i < line.cells.size(); ++i) {
        const StudyCell& cell = line.cells[i];
        std::vector<std::string> record = {table.title, names, table.columns[i], cell.text};
        for (std::string& field : estimate_fields(cell)) record.push_back(std::move(field));
        record.push_back(places);
        text += csv_record(record);
      }
    }
  }
  return text;
}

std::string study_text(const StudyPage& page) {
  std::string text = page.question + "\n" + page.answer + "\n";
  for (const std::string& remark : page.remarks) text += "* " + remark + "\n";
  return text;
}

}  // namespace koine
