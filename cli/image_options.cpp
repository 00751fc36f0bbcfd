#include "cli/image_options.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/text.hpp"
#include "cli/creation.hpp"

namespace cowvet::cli {

namespace {

// Options that say how QEMU accesses or decrypts a file, and nothing of what metadata means.
constexpr std::array<std::string_view, 6> without_effect{"cache.",        "encrypt.",       "discard",
                                                         "detect-zeroes", "lazy-refcounts", "overlap-check"};

}  // namespace

base::Result<ImageOptions> parse_image_options(std::string_view text) {
  ImageOptions options;
  for (const auto& [key, value] : split_options(text)) {
    const bool protocol = key == "file.driver" || key == "file.locking" || key == "read-only" ||
                          key == "file.read-only" || key == "force-share" || key == "file.force-share";
    if (key == "file.filename" || (key == "filename" && options.file.empty())) {
      options.file = value;
    } else if (key == "driver" && (value == "qcow2" || value == "raw")) {
      options.format = value;
    } else if (key == "driver" && value == "file") {
      options.format.clear();
    } else if (key == "encrypt.key-secret") {
      options.secret = value;
    } else if (!(protocol && (key != "file.driver" || value == "file")) &&
               std::ranges::none_of(without_effect, [&](auto prefix) { return key.starts_with(prefix); })) {
      return base::fail(base::ErrorKind::usage,
                        fmt::format("--image-opts: '{}={}' is not known here: name the image by driver=qcow2 "
                                    "or raw and file.filename",
                                    base::escape(key), base::escape(value)));
    }
  }
  if (options.file.empty())
    return base::fail(base::ErrorKind::usage, "--image-opts: no file is named: add file.filename=IMAGE");
  return options;
}

}  // namespace cowvet::cli
