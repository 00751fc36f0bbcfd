// What an image says of itself, in qemu-img's words: `info`.
#pragma once
#include <span>
#include <string>

#include "analyzer/info.hpp"

namespace cowvet::reports {

struct InfoReport {
  std::string file;  // as it was opened
  const analyzer::Info& info;
};

// "Format specific information:" with its lines; empty for a raw image.
[[nodiscard]] std::string format_specific_text(const analyzer::Info& info);
[[nodiscard]] std::string info_text(std::span<const InfoReport> chain);
// An object, or with `as_chain` an array, top first. schemas/info.json describes it.
[[nodiscard]] std::string info_json(std::span<const InfoReport> chain, bool as_chain);

}  // namespace cowvet::reports
