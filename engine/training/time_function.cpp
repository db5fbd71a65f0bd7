#include "engine/training/time_function.h"

#include <charconv>
#include <cmath>
#include <string_view>
#include <system_error>
#include <utility>

#include "kernels/common/check.h"

namespace koine {
namespace {

using Value = std::function<double(double)>;

constexpr std::size_t kLongest = 1000;  // the reader calls itself for every bracket

struct NamedFunction {
  std::string_view name;
  double (*function)(double);
};
constexpr NamedFunction kFunctions[] = {
    {"abs", [](double x) { return std::fabs(x); }},    {"ceil", [](double x) { return std::ceil(x); }},
    {"cos", [](double x) { return std::cos(x); }},     {"expm1", [](double x) { return std::expm1(x); }},
    {"exp", [](double x) { return std::exp(x); }},     {"floor", [](double x) { return std::floor(x); }},
    {"log10", [](double x) { return std::log10(x); }}, {"log1p", [](double x) { return std::log1p(x); }},
    {"log", [](double x) { return std::log(x); }},     {"sin", [](double x) { return std::sin(x); }},
    {"sqrt", [](double x) { return std::sqrt(x); }},   {"tanh", [](double x) { return std::tanh(x); }},
    {"tan", [](double x) { return std::tan(x); }},
};

/// Reads a formula from left to right; what binds least is outermost.
class Reader {
 public:
  explicit Reader(const std::string& text) : text_(text) {}

  Value read() {
    if (text_.size() > kLongest) fail(concatenate("at most ", kLongest, " characters"));
    Value value = comparison();
    if (place_ != text_.size()) fail("an operator or the end");
    return value;
  }

 private:
  [[noreturn]] void fail(const std::string& expected) const {
    fail_user("the formula \"", text_, "\" is wrong at character ", place_ + 1, ": expected ", expected);
  }
  void skip_blanks() {
    while (place_ < text_.size() && (text_[place_] == ' ' || text_[place_] == '\t')) ++place_;
  }
  /// Takes `token` where it is next.
  bool take(std::string_view token) {
    skip_blanks();
    if (!std::string_view(text_).substr(place_).starts_with(token)) return false;
    place_ += token.size();
    skip_blanks();
    return true;
  }
  void require_token(std::string_view token) {
    if (!take(token)) fail(concatenate("\"", token, "\""));
  }

  Value comparison() {
    Value left = sum();
    if (take("<=")) return combine(left, sum(), [](double a, double b) { return double(a <= b); });
    if (take(">=")) return combine(left, sum(), [](double a, double b) { return double(a >= b); });
    if (take("==")) return combine(left, sum(), [](double a, double b) { return double(a == b); });
    if (take("!=")) return combine(left, sum(), [](double a, double b) { return double(a != b); });
    if (take("<")) return combine(left, sum(), [](double a, double b) { return double(a < b); });
    if (take(">")) return combine(left, sum(), [](double a, double b) { return double(a > b); });
    return left;
  }
  Value sum() {
    Value left = product();
    for (;;) {
      if (take("+")) {
        left = combine(left, product(), [](double a, double b) { return a + b; });
      } else if (take("-")) {
        left = combine(left, product(), [](double a, double b) { return a - b; });
      } else {
        return left;
      }
    }
  }
  Value product() {
    Value left = signed_power();
    for (;;) {
      if (take("*")) {
        left = combine(left, signed_power(), [](double a, double b) { return a * b; });
      } else if (take("/")) {
        left = combine(left, signed_power(), [](double a, double b) { return a / b; });
      } else {
        return left;
      }
    }
  }
  Value signed_power() {
    if (take("+")) return signed_power();
    if (take("-")) return [value = signed_power()](double t) { return -value(t); };
    Value base = atom();
    if (take("**")) return combine(base, signed_power(), [](double a, double b) { return std::pow(a, b); });
    return base;
  }
  Value atom() {
    skip_blanks();
    if (take("(")) return close(comparison());
    if (take("where")) return condition();
    for (const NamedFunction& named : kFunctions) {
      if (!take(named.name)) continue;
      require_token("(");
      return [function = named.function, argument = close(comparison())](double t) { return function(argument(t)); };
    }
    if (take("t")) return [](double t) { return t; };
    return number();
  }
  Value close(Value value) {
    require_token(")");
    return value;
  }
  Value condition() {
    require_token("(");
    Value when = comparison();
    require_token(",");
    Value then = comparison();
    require_token(",");
    Value otherwise = close(comparison());
    return [when, then, otherwise](double t) { return when(t) != 0 ? then(t) : otherwise(t); };
  }
  Value number() {
    const char* const begin = text_.data() + place_;
    const char* const end = text_.data() + text_.size();
    double result = 0;
    const bool begins = begin != end && (*begin == '.' || (*begin >= '0' && *begin <= '9'));
    const auto read =
        begins ? std::from_chars(begin, end, result) : std::from_chars_result{begin, std::errc::invalid_argument};
    if (read.ec != std::errc()) fail("a number, t, a function or \"(\"");
    place_ += static_cast<std::size_t>(read.ptr - begin);
    skip_blanks();
    return [result](double) { return result; };
  }

  static Value combine(Value a, Value b, double (*operation)(double, double)) {
    return [a = std::move(a), b = std::move(b), operation](double t) { return operation(a(t), b(t)); };
  }

  const std::string& text_;
  std::size_t place_ = 0;
};

}  // namespace

TimeFunction::TimeFunction(std::string text) : text_(std::move(text)), value_(Reader(text_).read()) {}

}  // namespace koine
