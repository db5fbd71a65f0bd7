#pragma once

// Errors as values people read.
//
// `check` guards what the program itself promises (shapes, states): a violation is a failure of koine, and the message ends
// with the place in the source. `require` and `fail_user` guard what a user hands in (files, keys, arguments): the message
// says what was wrong, where, and what to do, and nothing else. The command exits with 1 for the first kind, 2 for the
// second.

#include <sstream>
#include <stdexcept>
#include <string>

namespace koine {

/// A failure of koine or of the machine it runs on. Exit code 1.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A mistake in what the user gave: a file, a key, an argument. Exit code 2.
class UserError : public Error {
 public:
  using Error::Error;
};

/// A text literal that remembers the line it stands on. (By builtins: Clang 14 lacks std::source_location.)
struct Message {
  const char* text;
  const char* file;
  int line;
  const char* function;
  // NOLINTNEXTLINE(google-explicit-constructor): a literal at the call site is the point.
  Message(const char* message, const char* at_file = __builtin_FILE(), int at_line = __builtin_LINE(),
          const char* in_function = __builtin_FUNCTION())
      : text(message), file(at_file), line(at_line), function(in_function) {}
};

/// All parts, streamed one after the other.
template <class... Parts>
std::string concatenate(const Parts&... parts) {
  std::ostringstream stream;
  (stream << ... << parts);
  return stream.str();
}

/// Throws Error unless `ok`: "message parts... (file:line, function)".
template <class... Parts>
void check(bool ok, Message message, const Parts&... parts) {
  if (ok) return;
  throw Error(concatenate(message.text, parts..., " (", message.file, ":", message.line, ", ", message.function, ")"));
}

/// Throws UserError with all parts as its message.
template <class... Parts>
[[noreturn]] void fail_user(const Parts&... parts) {
  throw UserError(concatenate(parts...));
}

/// Throws UserError with all parts as its message unless `ok`.
template <class... Parts>
void require(bool ok, const Parts&... parts) {
  if (!ok) fail_user(parts...);
}

}  // namespace koine
