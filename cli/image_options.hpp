// `--image-opts`: an image named as QEMU's tools take it, by a list such as driver=qcow2,file.filename=disk.qcow2.
// Promises: what would change the meaning of what is read is either obeyed or refused with its name.
#pragma once
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace cowvet::cli {

struct ImageOptions {
  std::string file;
  std::string format;  // "qcow2", "raw", or empty: to be found out
  std::string secret;  // the id of the password, as encrypt.key-secret gives it
};

// A doubled comma stands for a comma. Error usage: no file, an option that is not known, a driver that isn't there.
[[nodiscard]] base::Result<ImageOptions> parse_image_options(std::string_view text);

}  // namespace cowvet::cli
