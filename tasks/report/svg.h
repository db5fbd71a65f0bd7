#pragma once

// Plots as self-contained SVG texts: no script, no font, no file needed. Text and axes take the colour of their surroundings
// (currentColor), so that they read on light and dark pages alike; series take Okabe and Ito's colours, which stay apart for
// colour-blind eyes, and are told apart by order as well. Every text is escaped. Values that are missing leave a gap.

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace koine {

/// Text for HTML and XML, between tags or in quotes: & < > " ' escaped; characters XML forbids (most control characters)
/// become U+FFFD.
std::string escape_markup(std::string_view text);

/// A number for people: `decimals` places, a real minus sign (U+2212).
std::string format_decimal(double value, int decimals);
/// 1234567 -> "1 234 567", with narrow no-break spaces.
std::string format_thousands(double value);

/// Round values that cover [low, high] with about `count` steps of 1, 2 or 5 times a power of ten.
std::vector<double> axis_ticks(double low, double high, int count);

/// A value with the half length of its error bar.
struct PlotValue {
  double value = 0;
  std::optional<double> deviation = std::nullopt;
};

struct PlotSeries {
  std::string name;
  std::vector<std::optional<PlotValue>> values;  ///< one per category
};

/// Groups of bars, one group a category; the axis includes zero.
struct BarChart {
  std::string title;
  std::string y_label;
  std::vector<std::string> categories;
  std::vector<PlotSeries> series;
  std::optional<double> reference = std::nullopt;  ///< a dashed line: chance
  std::string reference_label;
};
std::string bar_chart_svg(const BarChart& chart);

struct PlotLine {
  std::string name;
  std::vector<std::pair<double, PlotValue>> points;  ///< x rising
};

struct LineChart {
  std::string title;
  std::string x_label;
  std::string y_label;
  std::vector<PlotLine> lines;
};
std::string line_chart_svg(const LineChart& chart);

/// A table of differences: positive one colour, negative the other, stronger further from zero; numbers in the cells.
struct HeatMap {
  std::string title;
  std::vector<std::string> rows;
  std::vector<std::string> columns;
  std::vector<std::vector<std::optional<double>>> values;  ///< [rows][columns]
};
std::string heat_map_svg(const HeatMap& map);

}  // namespace koine
