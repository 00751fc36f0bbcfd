// What stops us (I/O, limits, cancelled, a wrong request), as a value. What is wrong with an image is never an Error.
#pragma once
#include <cstdint>
#include <expected>
#include <string>
#include <utility>

namespace cowvet::base {

enum class ErrorKind : std::uint8_t {
  io,            // a system call on the file failed; `os_error` says how
  not_found,     // no such file
  in_use,        // locked by another program
  usage,         // the request can't be met as it was put
  wrong_format,  // the file is no image of the format that it has to be
  limit,         // a stated limit was reached
  cancelled,     // the user asked to stop
};

struct Error {
  ErrorKind kind = ErrorKind::io;
  std::string message;   // what is wrong and what to do, without the file's name
  int os_error = 0;      // errno, 0 where there is none
  bool opening = false;  // met while an image was being opened
};

template <class T>
using Result = std::expected<T, Error>;

[[nodiscard]] inline std::unexpected<Error> fail(ErrorKind kind, std::string message, int os_error = 0) {
  return std::unexpected(Error{kind, std::move(message), os_error});
}

// The request can\'t be met as it was put.
[[nodiscard]] inline std::unexpected<Error> refuse(std::string why) {
  return fail(ErrorKind::usage, std::move(why));
}

}  // namespace cowvet::base
