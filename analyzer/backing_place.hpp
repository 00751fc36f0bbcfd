// What the name of a backing file leads to, as QEMU understands it. Promises: made of the names alone,
// nothing is opened; every walk down a chain asks here, so that no two of them go to different files.
#pragma once
#include <cstdint>
#include <string>

namespace cowvet::analyzer {

struct BackingPlace {
  enum class Kind : std::uint8_t {
    file,      // `path` is a local file's
    json,      // options of a block device: see json_name.hpp
    protocol,  // "nbd:...": bytes that are reached otherwise
  };
  Kind kind = Kind::file;
  std::string path;  // raw bytes; of what is no file, the name
};

// `image` is the name by which the image was opened that has the name `backing_name` in its header.
[[nodiscard]] BackingPlace backing_place(const std::string& image, const std::string& backing_name);

}  // namespace cowvet::analyzer
