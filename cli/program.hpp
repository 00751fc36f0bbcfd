// Who the program is called as: cowvet itself, or by a link one of QEMU's programs, whose place it then
// takes. Promises: as cowvet it speaks its own words; as one of the others it begins messages with that name,
// and says what scripts match as that program says it.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace cowvet::cli {

enum class Program : std::uint8_t { cowvet, qemu_img, qemu_io };

// The one that a path names, by its last part.
[[nodiscard]] Program program_named(std::string_view path);
[[nodiscard]] std::string_view name_of(Program program);

// For the whole process; main() says it before anything else.
void call_as(Program program);
[[nodiscard]] Program called_as();
[[nodiscard]] inline bool stands_in() { return called_as() != Program::cowvet; }

// `text`, or `peers` when another program's place is taken.
[[nodiscard]] std::string worded(std::string text, std::string peers);

// What to type for a verb: "cowvet check", "qemu-img check", "qemu-io".
[[nodiscard]] std::string invocation(std::string_view verb);

// Why a file of an image, the top or one below, can't be opened.
[[nodiscard]] base::Error file_error(std::string_view file, bool writable, base::Error error);
// What the program whose place is taken says of an image that can't be opened; of the files it consists of,
// file_error() spoke before.
[[nodiscard]] std::string about_opening(std::string_view image, const base::Error& error);

}  // namespace cowvet::cli
