#include "tasks/report/svg.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "kernels/common/check.h"

namespace koine {

namespace {

/// Okabe and Ito, "Color Universal Design" (2008), without black and yellow, which vanish on one of the two backgrounds.
constexpr std::array<const char*, 6> kColours = {"#7f8c8d", "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00"};
constexpr const char* kPositive = "#0072b2";
constexpr const char* kNegative = "#d55e00";

const char* colour(std::size_t series) { return kColours[series % kColours.size()]; }

/// A coordinate: a tenth of a pixel is enough.
std::string px(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", value);
  return text;
}

std::string text_element(double x, double y, std::string_view content, std::string_view attributes) {
  return concatenate("<text x=\"", px(x), "\" y=\"", px(y), "\" ", attributes, ">", escape_markup(content), "</text>\n");
}

std::string line_element(double x1, double y1, double x2, double y2, std::string_view attributes) {
  return concatenate("<line x1=\"", px(x1), "\" y1=\"", px(y1), "\" x2=\"", px(x2), "\" y2=\"", px(y2), "\" ", attributes,
                     "/>\n");
}

/// Code points, for widths: characters of one pixel size are about 0.58 em wide.
double text_width(std::string_view text, double size) {
  const auto count =
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
  return 0.58 * size * static_cast<double>(count);
}

/// At most `characters` code points, the last an ellipsis where it was longer.
std::string shortened(std::string_view text, std::size_t characters) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0) == 0x80) continue;
    if (++count > characters - 1 && text_width(text.substr(i), 1) > 0.6) return std::string(text.substr(0, i)) + "…";
  }
  return std::string(text);
}

std::string tick_label(double value, double step) {
  const int decimals = step >= 1 ? 0 : std::min(9, static_cast<int>(std::ceil(-std::log10(step) - 1e-9)));
  return format_decimal(value, decimals);
}

/// The frame of a plot: title, axes, grid; maps values to pixels.
class Frame {
 public:
  Frame(double width, double height, double low, double high)
      : width_(width), height_(height), ticks_(axis_ticks(low, high, 5)) {}

  double left() const { return 56; }
  double right() const { return width_ - 12; }
  double top() const { return 58; }
  double bottom() const { return height_ - 44; }
  double y(double value) const {
    const double share = (value - ticks_.front()) / (ticks_.back() - ticks_.front());
    return bottom() - share * (bottom() - top());
  }

  std::string open(std::string_view title) const {
    return concatenate(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 ", px(width_), " ", px(height_), "\" width=\"", px(width_),
        "\" height=\"", px(height_), "\" role=\"img\" fill=\"currentColor\" font-family=\"system-ui, ",
        "-apple-system, 'Segoe UI', 'Liberation Sans', sans-serif\" font-size=\"12\">\n<title>", escape_markup(title),
        "</title>\n", text_element(0, 14, title, "font-size=\"14\" font-weight=\"600\""));
  }
  std::string y_axis(std::string_view label) const {
    std::string svg;
    const double step = ticks_[1] - ticks_[0];
    for (const double tick : ticks_) {
      const bool zero = std::abs(tick) < step * 1e-6;
      svg += line_element(left(), y(tick), right(), y(tick),
                          concatenate("stroke=\"currentColor\" stroke-opacity=\"", zero ? "0.6" : "0.15", "\""));
      svg += text_element(left() - 6, y(tick) + 4, tick_label(tick, step), "text-anchor=\"end\" fill-opacity=\"0.75\"");
    }
    const double middle = (top() + bottom()) / 2;
    return svg + text_element(0, 0, label,
                              concatenate("transform=\"translate(12 ", px(middle),
                                          ") rotate(-90)\" text-anchor=\"middle\" fill-opacity=\"0.75\""));
  }
  std::string legend(const std::vector<std::string>& names) const {
    std::string svg;
    double x = left();
    for (std::size_t i = 0; i < names.size(); ++i) {
      svg +=
          concatenate("<rect x=\"", px(x), "\" y=\"30\" width=\"10\" height=\"10\" rx=\"2\" fill=\"", colour(i), "\"/>\n");
      svg += text_element(x + 15, 39, names[i], "");
      x += 15 + text_width(names[i], 12) + 18;
    }
    return svg;
  }
  std::string error_bar(double x, const PlotValue& value) const {
    if (!value.deviation.has_value()) return "";
    const double high = std::max(top(), y(value.value + *value.deviation));
    const double low = std::min(bottom(), y(value.value - *value.deviation));
    const char* stroke = "stroke=\"currentColor\" stroke-width=\"1.2\"";
    return line_element(x, high, x, low, stroke) + line_element(x - 3, high, x + 3, high, stroke) +
           line_element(x - 3, low, x + 3, low, stroke);
  }

 private:
  double width_;
  double height_;
  std::vector<double> ticks_;
};

/// Widens [low, high] by a value and its error bar.
void include(double& low, double& high, const PlotValue& value) {
  low = std::min(low, value.value - value.deviation.value_or(0));
  high = std::max(high, value.value + value.deviation.value_or(0));
}

double legend_width(const std::vector<std::string>& names) {
  double width = 0;
  for (const std::string& name : names) width += 33 + text_width(name, 12);
  return width;
}

std::string bars(const BarChart& chart, const Frame& frame, double slot) {
  std::string svg;
  const double bar = slot * 0.8 / static_cast<double>(chart.series.size());
  for (std::size_t c = 0; c < chart.categories.size(); ++c) {
    const double start = frame.left() + slot * (static_cast<double>(c) + 0.1);
    for (std::size_t s = 0; s < chart.series.size(); ++s) {
      const std::optional<PlotValue>& value = chart.series[s].values[c];
      if (!value.has_value()) continue;
      const double x = start + bar * static_cast<double>(s);
      const double top = std::min(frame.y(value->value), frame.y(0));
      svg += concatenate(
          "<rect x=\"", px(x + 0.5), "\" y=\"", px(top), "\" width=\"", px(std::max(1.0, bar - 1)), "\" height=\"",
          px(std::abs(frame.y(value->value) - frame.y(0))), "\" fill=\"", colour(s), "\"><title>",
          escape_markup(chart.categories[c] + ", " + chart.series[s].name + ": " + format_decimal(value->value, 2)),
          "</title></rect>\n", frame.error_bar(x + bar / 2, *value));
    }
    svg +=
        text_element(start + slot * 0.4, frame.bottom() + 17, shortened(chart.categories[c], 14), "text-anchor=\"middle\"");
  }
  return svg;
}

}  // namespace

std::string escape_markup(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 && c != '\t' && c != '\n' && c != '\r')
          escaped += "\xef\xbf\xbd";
        else
          escaped += c;
    }
  }
  return escaped;
}

std::string format_decimal(double value, int decimals) {
  if (!std::isfinite(value)) return "–";
  char text[400];
  std::snprintf(text, sizeof text, "%.*f", decimals, std::abs(value));
  const std::string digits = text;
  // "-0.00" is zero.
  const bool zero = digits.find_first_not_of("0.") == std::string::npos;
  return value < 0 && !zero ? "−" + digits : digits;
}

std::string format_thousands(double value) {
  const std::string whole = format_decimal(value, 0);
  const std::size_t digits = whole.find_first_of("0123456789");
  if (digits == std::string::npos) return whole;
  std::string grouped = whole.substr(0, digits);
  for (std::size_t i = digits; i < whole.size(); ++i) {
    if (i > digits && (whole.size() - i) % 3 == 0) grouped += "\u202f";
    grouped += whole[i];
  }
  return grouped;
}

std::vector<double> axis_ticks(double low, double high, int count) {
  check(std::isfinite(low) && std::isfinite(high) && low <= high && count > 0, "an axis needs finite ends in order");
  if (high - low < 1e-12 * std::max(1.0, std::abs(high))) high = low + 1;
  const double raw = (high - low) / count;
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  double step = 10 * power;
  for (const double factor : {5.0, 2.0, 1.0}) {
    if (factor * power >= raw * (1 - 1e-9)) step = factor * power;
  }
  std::vector<double> ticks;
  const std::int64_t first = static_cast<std::int64_t>(std::floor(low / step + 1e-9));
  const std::int64_t last = static_cast<std::int64_t>(std::ceil(high / step - 1e-9));
  for (std::int64_t i = first; i <= last; ++i) ticks.push_back(static_cast<double>(i) * step);
  return ticks;
}

std::string bar_chart_svg(const BarChart& chart) {
  check(!chart.series.empty() && !chart.categories.empty(), "a bar chart without bars");
  double low = 0;
  double high = 0;
  std::vector<std::string> names;
  for (const PlotSeries& series : chart.series) {
    check(series.values.size() == chart.categories.size(), "a bar chart's series has one value per category");
    names.push_back(series.name);
    for (const auto& value : series.values) {
      if (value.has_value()) include(low, high, *value);
    }
  }
  if (chart.reference.has_value()) high = std::max(high, *chart.reference);
  // Percentages: a deviation that reaches beyond 0 or 100 is cut there.
  bool percent = true;
  for (const PlotSeries& series : chart.series) {
    for (const auto& value : series.values)
      percent = percent && (!value.has_value() || (value->value >= 0 && value->value <= 100));
  }
  if (percent) {
    low = 0;
    high = std::min(high, 100.0);
  }
  // Few categories get room to breathe; many stay readable, and the page scrolls.
  const double least = 14.0 * static_cast<double>(chart.series.size()) + 12;
  const double slot = std::max({44.0, least, std::min(2 * least, 560.0 / static_cast<double>(chart.categories.size()))});
  const double wanted = 68 + slot * static_cast<double>(chart.categories.size());
  const double reference_width = chart.reference.has_value() ? 41 + text_width(chart.reference_label, 12) : 0;
  const Frame frame(std::max({wanted, 320.0, 68 + legend_width(names) + reference_width}), 300, low, high);
  std::string svg = frame.open(chart.title) + frame.legend(names) + frame.y_axis(chart.y_label) + bars(chart, frame, slot);
  if (chart.reference.has_value()) {
    const double y = frame.y(*chart.reference);
    const char* dashes = "stroke=\"currentColor\" stroke-dasharray=\"4 3\" stroke-opacity=\"0.8\"";
    const double x = frame.left() + legend_width(names);
    svg += line_element(frame.left(), y, frame.right(), y, dashes) + line_element(x, 35, x + 18, 35, dashes);
    svg += text_element(x + 23, 39, chart.reference_label, "");
  }
  return svg + "</svg>\n";
}

std::string line_chart_svg(const LineChart& chart) {
  double low = INFINITY;
  double high = -INFINITY;
  double first = INFINITY;
  double last = -INFINITY;
  std::vector<std::string> names;
  for (const PlotLine& line : chart.lines) {
    names.push_back(line.name);
    for (const auto& [x, value] : line.points) {
      include(low, high, value);
      first = std::min(first, x);
      last = std::max(last, x);
    }
  }
  check(low <= high, "a line chart without points");
  const Frame frame(std::max(560.0, 68 + legend_width(names)), 320, low, high);
  const std::vector<double> ticks = axis_ticks(first, last, 6);
  const auto x_of = [&](double x) {
    return frame.left() + 8 + (x - ticks.front()) / (ticks.back() - ticks.front()) * (frame.right() - frame.left() - 16);
  };
  std::string svg = frame.open(chart.title) + frame.legend(names) + frame.y_axis(chart.y_label);
  for (const double tick : ticks) {
    svg += text_element(x_of(tick), frame.bottom() + 16, tick_label(tick, ticks[1] - ticks[0]),
                        "text-anchor=\"middle\" fill-opacity=\"0.75\"");
  }
  svg += text_element((frame.left() + frame.right()) / 2, frame.bottom() + 36, chart.x_label,
                      "text-anchor=\"middle\" fill-opacity=\"0.75\"");
  for (std::size_t i = 0; i < chart.lines.size(); ++i) {
    std::string path;
    std::string marks;
    for (const auto& [x, value] : chart.lines[i].points) {
      path += concatenate(path.empty() ? "M" : " L", px(x_of(x)), " ", px(frame.y(value.value)));
      marks += concatenate("<circle cx=\"", px(x_of(x)), "\" cy=\"", px(frame.y(value.value)), "\" r=\"2.5\" fill=\"",
                           colour(i), "\"/>\n", frame.error_bar(x_of(x), value));
    }
    svg += concatenate("<path d=\"", path, "\" fill=\"none\" stroke=\"", colour(i), "\" stroke-width=\"2\"/>\n", marks);
  }
  return svg + "</svg>\n";
}

std::string heat_map_svg(const HeatMap& map) {
  check(!map.rows.empty() && !map.columns.empty() && map.values.size() == map.rows.size(), "a heat map needs its rows");
  double most = 1e-9;
  double label_width = 40;
  for (std::size_t r = 0; r < map.rows.size(); ++r) {
    check(map.values[r].size() == map.columns.size(), "a heat map's row has one value per column");
    label_width = std::max(label_width, text_width(shortened(map.rows[r], 28), 12) + 14);
    for (const auto& value : map.values[r]) most = std::max(most, std::abs(value.value_or(0)));
  }
  constexpr double kCellWidth = 58;
  constexpr double kCellHeight = 26;
  constexpr double kTop = 50;
  const double width = std::max(320.0, label_width + kCellWidth * static_cast<double>(map.columns.size()) + 4);
  const Frame frame(width, kTop + kCellHeight * static_cast<double>(map.rows.size()) + 6, 0, 1);
  std::string svg = frame.open(map.title);
  for (std::size_t c = 0; c < map.columns.size(); ++c) {
    svg += text_element(label_width + kCellWidth * (static_cast<double>(c) + 0.5), kTop - 8, shortened(map.columns[c], 8),
                        "text-anchor=\"middle\"");
  }
  for (std::size_t r = 0; r < map.rows.size(); ++r) {
    const double y = kTop + kCellHeight * static_cast<double>(r);
    svg += text_element(label_width - 8, y + 17, shortened(map.rows[r], 28), "text-anchor=\"end\"");
    for (std::size_t c = 0; c < map.columns.size(); ++c) {
      const double x = label_width + kCellWidth * static_cast<double>(c);
      const std::optional<double>& value = map.values[r][c];
      if (value.has_value()) {
        svg += concatenate("<rect x=\"", px(x + 1), "\" y=\"", px(y + 1), "\" width=\"", px(kCellWidth - 2), "\" height=\"",
                           px(kCellHeight - 2), "\" rx=\"3\" fill=\"", *value < 0 ? kNegative : kPositive,
                           "\" fill-opacity=\"", format_decimal(0.75 * std::abs(*value) / most + 0.04, 3), "\"/>\n");
      }
      const std::string sign = value.has_value() && *value > 0 ? "+" : "";
      svg += text_element(x + kCellWidth / 2, y + 17, value.has_value() ? sign + format_decimal(*value, 1) : "–",
                          "text-anchor=\"middle\"");
    }
  }
  return svg + "</svg>\n";
}

}  // namespace koine
