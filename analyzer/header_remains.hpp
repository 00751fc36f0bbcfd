// What is left in the first cluster behind a header that was lost: its extensions, and the backing file's name behind
// them. Promises: only an area that parses to its end and has an extension that is known; a name only where writers put
// it, and when it is text. Specification: "Header extensions", "Backing file name".
#pragma once
#include <cstdint>
#include <optional>

#include "base/bytes.hpp"

namespace cowvet::analyzer {

struct HeaderRemains {
  std::uint32_t version = 3;
  std::uint64_t begin = 0;  // of the extensions, bytes of the file: what the header's length was
  std::uint64_t end = 0;    // behind their end record
  std::uint64_t name = 0;   // bytes of the backing file's name, which begins at `end`; 0: there is none
  bool encryption = false, data_file = false,
       bitmaps = false;  // extensions that a bit or field of the header speaks of
};

[[nodiscard]] std::optional<HeaderRemains> find_header_remains(base::ConstBytes cluster0);

}  // namespace cowvet::analyzer
