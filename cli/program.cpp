#include "cli/program.hpp"

#include <array>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "base/text.hpp"

namespace cowvet::cli {

namespace {

constexpr std::array<std::string_view, 3> names{"cowvet", "qemu-img", "qemu-io"};

Program current = Program::cowvet;

}  // namespace

std::string_view name_of(Program program) { return names.at(static_cast<std::size_t>(program)); }

Program program_named(std::string_view path) {
  const auto slash = path.rfind('/');
  const auto name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  for (const auto program : {Program::qemu_img, Program::qemu_io})
    if (name == name_of(program)) return program;
  return Program::cowvet;
}

void call_as(Program program) { current = program; }
Program called_as() { return current; }

std::string worded(std::string text, std::string peers) {
  return stands_in() ? std::move(peers) : std::move(text);
}

std::string invocation(std::string_view verb) {
  const auto name = name_of(called_as());
  return called_as() == Program::qemu_io ? std::string(name) : fmt::format("{} {}", name, verb);
}

base::Error file_error(std::string_view file, bool writable, base::Error error) {
  error.opening = true;
  if (!stands_in()) return error;
  const auto shown = base::escape(file);
  if (error.kind == base::ErrorKind::in_use)
    error.message = fmt::format("Failed to get {}\"write\" lock\nIs another process using the image [{}]?",
                                writable ? "" : "shared ", shown);
  else
    error.message = fmt::format("Could not open '{}': {}", shown,
                                error.os_error != 0 ? ::strerrordesc_np(error.os_error) : error.message);
  return error;
}

std::string about_opening(std::string_view image, const base::Error& error) {
  // A file below is to blame: its own message follows its name, and names it again.
  constexpr std::string_view below = "backing file '";
  std::string nested;
  std::string_view rest = error.message;
  for (std::size_t end = 0; rest.starts_with(below) && (end = rest.find("': ")) != std::string_view::npos;) {
    nested += "Could not open backing file: ";
    rest.remove_prefix(end + 3);
  }
  const auto reason = error.kind == base::ErrorKind::wrong_format
                          ? std::string("Image is not in qcow2 format")
                          : std::string(rest);
  return called_as() == Program::qemu_io
             ? fmt::format("can't open device {}: {}{}", base::escape(image), nested, reason)
             : fmt::format("Could not open '{}': {}{}", base::escape(image), nested, reason);
}

}  // namespace cowvet::cli
