#pragma once

// One case of an operation: its arguments and its operands, described once for the tests (tests/kernels/suite.h), which ask
// whether every variant is right, and the benchmarks (bench/operations/), which ask how fast it is.
//
// Each operation has functions that make its cases in `<op>_cases.h` beside it. A case says what is read and what is
// written, of which type and how many, and where each pointer of the arguments goes; whoever runs it brings the memory.
// Numbers are described, not there, until somebody asks for them: a table of 250,002 rows costs nothing here.
//
//   Case<GatherRowsArguments> one(concatenate(count, " of ", rows));              // its name says the shapes
//   one.arguments.rows = rows; ...                                                // integers and flags
//   one.arguments.indices = one.keep(indices);                                    // other memory belongs to the case
//   one.input("input", random(rows * width, 1), &GatherRowsArguments::input);     // of the type under test
//   one.output("output", count * width, &GatherRowsArguments::output);            // ..._fp32: always fp32
//
// What error is allowed is not said here but by the tests: operand("output").accumulation, exact.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/common/check.h"
#include "kernels/common/types.h"

namespace koine::cases {

/// Reproducible numbers.
class TestRandom {
 public:
  explicit TestRandom(std::uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15u + 1) {}
  std::uint64_t next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_ * 0x2545F4914F6CDD1Du;
  }
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  double normal() { return std::sqrt(-2 * std::log(1 - uniform())) * std::cos(6.283185307179586 * uniform()); }
  std::int64_t below(std::int64_t bound) { return static_cast<std::int64_t>(next() % static_cast<std::uint64_t>(bound)); }

 private:
  std::uint64_t state_;
};

/// `count` numbers of mean `shift` and standard deviation `scale`.
inline std::vector<double> random_values(std::int64_t count, std::uint64_t seed = 1, double scale = 1, double shift = 0) {
  TestRandom random(seed);
  std::vector<double> values(static_cast<std::size_t>(count));
  for (double& value : values) value = shift + scale * random.normal();
  return values;
}

/// What an operand holds before a launch: listed numbers, or a description that turns into them when they are asked for.
class Values {
 public:
  struct Random {
    std::uint64_t seed = 1;
    double scale = 1;
    double shift = 0;
    bool squared = false;  ///< the squares of these: none is negative
  };

  Values() = default;
  // NOLINTBEGIN(google-explicit-constructor): a list of numbers, or its description, is what an operand is given.
  Values(std::vector<double> listed) : count_(std::ssize(listed)), listed_(std::move(listed)) {}
  Values(std::initializer_list<double> listed) : Values(std::vector<double>(listed)) {}
  Values(std::int64_t count, const Random& random) : count_(count), random_(random) {}

  operator const std::vector<double>&() const { return list(); }
  operator std::vector<double>&() { return list(); }
  // NOLINTEND(google-explicit-constructor)

  std::int64_t count() const { return count_; }
  std::size_t size() const { return static_cast<std::size_t>(count_); }
  /// Null: the numbers are listed.
  const Random* described() const { return random_ ? &*random_ : nullptr; }

  const std::vector<double>& list() const {
    if (random_) {
      listed_ = random_values(count_, random_->seed, random_->scale, random_->shift);
      if (random_->squared) {
        for (double& value : listed_) value *= value;
      }
      random_.reset();
    }
    return listed_;
  }
  std::vector<double>& list() {
    std::as_const(*this).list();
    return listed_;
  }
  double& operator[](std::size_t index) { return list()[index]; }
  double operator[](std::size_t index) const { return list()[index]; }
  auto begin() { return list().begin(); }
  auto end() { return list().end(); }
  auto begin() const { return list().begin(); }
  auto end() const { return list().end(); }
  double& back() { return list().back(); }

 private:
  std::int64_t count_ = 0;
  mutable std::optional<Random> random_;
  mutable std::vector<double> listed_;
};

/// Random numbers as random_values() makes them.
inline Values random(std::int64_t count, std::uint64_t seed = 1, double scale = 1, double shift = 0) {
  return {count, Values::Random{seed, scale, shift, false}};
}
inline Values random_squares(std::int64_t count, std::uint64_t seed, double scale) {
  return {count, Values::Random{seed, scale, 0, true}};
}
inline Values constant(std::int64_t count, double value) { return {count, Values::Random{1, 0, value, false}}; }

/// [0, lengths[0], lengths[0] + lengths[1], ...]
inline std::vector<std::int32_t> cumulative_lengths_of(const std::vector<std::int64_t>& lengths) {
  std::vector<std::int32_t> cumulative = {0};
  for (const std::int64_t length : lengths) cumulative.push_back(cumulative.back() + static_cast<std::int32_t>(length));
  return cumulative;
}

template <class Arguments>
struct Operand {
  std::string name;
  std::optional<DType> fixed;  ///< its type whatever the type under test; else that
  bool read = false;           ///< `values` are there before the launch
  bool written = false;        ///< compared after it
  bool exact = false;          ///< bit for bit as the reference in the same type
  double accumulation = 0;     ///< absolute error granted for computing in fp32
  std::int64_t count = 0;
  Values values;  ///< [count] where read
  std::function<void(Arguments&, void*)> bind;

  DType type(DType under_test) const { return fixed.value_or(under_test); }
};

/// Host memory that arguments point into. A launch on a device uses a copy of it there.
struct Region {
  void* begin = nullptr;
  std::size_t bytes = 0;
};
template <class T>
Region region_of(const std::vector<T>& values) {
  return {const_cast<T*>(values.data()), values.size() * sizeof(T)};
}

/// `arguments` with every pointer among its bytes replaced by what `translate` makes of it. Bytes between the members count as
/// zero: a flag and what an earlier pointer left beside it must not be taken for one (where the compiler can say which these
/// are: GCC from 11 on).
template <class Arguments, class Translate>
Arguments with_pointers(Arguments arguments, const Translate& translate) {
  static_assert(std::is_trivially_copyable_v<Arguments>);
#if defined(__has_builtin)
#if __has_builtin(__builtin_clear_padding)
  __builtin_clear_padding(&arguments);
#endif
#endif
  unsigned char bytes[sizeof(Arguments)];
  std::memcpy(bytes, static_cast<const void*>(&arguments), sizeof bytes);
  for (std::size_t at = 0; at + sizeof(void*) <= sizeof bytes; at += sizeof(void*)) {
    void* word = nullptr;
    std::memcpy(&word, bytes + at, sizeof word);
    word = translate(word);
    std::memcpy(bytes + at, &word, sizeof word);
  }
  std::memcpy(static_cast<void*>(&arguments), bytes, sizeof bytes);
  return arguments;
}

/// The arrays of a case: memory its arguments point into that is no operand (integers, doubles, examples of a Dropout).
struct Arrays {
  std::vector<Region> arrays;
  std::vector<std::shared_ptr<const void>> kept;

  /// An array that belongs to the case, and its copies. A launch may write it; the benchmarks write it anew before each.
  template <class T>
  T* keep(std::vector<T> values) {
    const auto owned = std::make_shared<std::vector<T>>(std::move(values));
    kept.push_back(owned);
    arrays.push_back(region_of(*owned));
    return owned->data();
  }
  /// Names an array that outlives the case.
  template <class T>
  void array(const std::vector<T>& values) {
    arrays.push_back(region_of(values));
  }
};

template <class Arguments>
struct Case : Arrays {
  explicit Case(std::string case_name) : name(std::move(case_name)) {}

  std::string name;  ///< the shapes
  Arguments arguments;
  /// Puts the type under test into the arguments: their `type`, or their shape's, where another is not said.
  std::function<void(Arguments&, DType)> set_type = [](Arguments& to, DType type) {
    if constexpr (requires { to.type = type; }) to.type = type;
    if constexpr (requires { to.shape.type = type; }) to.shape.type = type;
  };
  std::vector<DType> types = {DType::kFloat32, DType::kBFloat16};
  std::vector<Operand<Arguments>> operands;
  bool large = false;  ///< too large for the host implementation of the CUDA kernels

  /// The functions below add an operand of the type under test and return it; the ..._fp32 ones one that is always fp32.
  /// `bind` is the pointer in the arguments, or a function (arguments, address).
  template <class Bind>
  Operand<Arguments>& input(std::string operand, Values values, Bind bind) {
    const std::int64_t count = values.count();
    return add(std::move(operand), true, false, count, std::move(values), binding(bind));
  }
  template <class Bind>
  Operand<Arguments>& output(std::string operand, std::int64_t count, Bind bind) {
    return add(std::move(operand), false, true, count, {}, binding(bind));
  }
  template <class Bind>
  Operand<Arguments>& in_out(std::string operand, Values values, Bind bind) {
    const std::int64_t count = values.count();
    return add(std::move(operand), true, true, count, std::move(values), binding(bind));
  }
  template <class Bind>
  Operand<Arguments>& input_fp32(std::string operand, Values values, Bind bind) {
    return fixed(input(std::move(operand), std::move(values), bind), DType::kFloat32);
  }
  template <class Bind>
  Operand<Arguments>& output_fp32(std::string operand, std::int64_t count, Bind bind) {
    return fixed(output(std::move(operand), count, bind), DType::kFloat32);
  }
  template <class Bind>
  Operand<Arguments>& in_out_fp32(std::string operand, Values values, Bind bind) {
    return fixed(in_out(std::move(operand), std::move(values), bind), DType::kFloat32);
  }
  static Operand<Arguments>& fixed(Operand<Arguments>& operand, DType type) {
    operand.fixed = type;
    return operand;
  }

  /// The operand of that name; throws where there is none.
  Operand<Arguments>& operand(const std::string& wanted) { return operands[index_of(wanted)]; }
  std::size_t index_of(const std::string& wanted) const {
    for (std::size_t i = 0; i < operands.size(); ++i) {
      if (operands[i].name == wanted) return i;
    }
    throw Error(concatenate("case ", name, " has no operand ", wanted));
  }
  /// `written` is written over what `read` holds: the launch gets one address for both.
  void in_place(const std::string& read, const std::string& written) {
    Operand<Arguments>& over = operand(read);
    Operand<Arguments>& result = operand(written);
    over.written = true, over.exact = result.exact, over.accumulation = result.accumulation;
    over.bind = [first = over.bind, second = result.bind](Arguments& to, void* data) { first(to, data), second(to, data); };
    result.written = false, result.bind = nullptr;
  }
  /// The arguments for `type`, without memory of the operands.
  Arguments typed(DType type) const {
    Arguments result = arguments;
    if (set_type) set_type(result, type);
    return result;
  }

 private:
  template <class Pointer>
  static std::function<void(Arguments&, void*)> binding(Pointer Arguments::*member) {
    return [member](Arguments& to, void* data) { to.*member = static_cast<Pointer>(data); };
  }
  template <class Bind>
  requires std::is_invocable_v<Bind, Arguments&, void*> &&
      (!std::is_member_pointer_v<Bind>)static std::function<void(Arguments&, void*)> binding(Bind bind) {
    return bind;
  }
  Operand<Arguments>& add(std::string operand, bool read, bool written, std::int64_t count, Values values,
                          std::function<void(Arguments&, void*)> bind) {
    operands.push_back(
        {std::move(operand), std::nullopt, read, written, false, 0, count, std::move(values), std::move(bind)});
    return operands.back();
  }
};

}  // namespace koine::cases
