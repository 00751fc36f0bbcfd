// The first cluster: header, extensions, backing file name. Promises: what is opened was read without guessing; every
// change reaches the file as one write of the first sector, so that a crash leaves the old header or the new one; unknown
// fields and extensions are kept.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "engine/medium.hpp"
#include "format/extensions.hpp"
#include "format/geometry.hpp"
#include "format/header.hpp"

namespace cowvet::engine {

struct OwnExtension {
  std::uint32_t type = 0;
  std::vector<std::byte> data;
};

class HeaderArea {
 public:
  // Errors: usage, with the field that can't be used.
  [[nodiscard]] static base::Result<HeaderArea> open(Medium& medium);
  // The medium that changes go through; it must outlive the area.
  void move_to(Medium& medium) { medium_ = &medium; }
  // Why an image with this header must not be written.
  [[nodiscard]] base::Result<void> writable() const;

  [[nodiscard]] const format::Header& header() const { return header_; }
  [[nodiscard]] const format::Geometry& geometry() const { return geometry_; }
  [[nodiscard]] const std::optional<std::string>& backing_name() const { return backing_name_; }
  [[nodiscard]] std::optional<std::string> text(format::ExtensionType type) const;
  [[nodiscard]] const std::vector<std::byte>* extension(format::ExtensionType type) const;

  // Stores the fields of a changed header; not durable before a flush. A failure ends all changes.
  [[nodiscard]] base::Result<void> store(const format::Header& changed);
  [[nodiscard]] std::vector<OwnExtension> extensions() const { return extensions_; }
  // Where an extension's data lies in the file; nothing when there is no such extension.
  [[nodiscard]] std::optional<std::uint64_t> place_of(format::ExtensionType type) const;
  // Overwrites an extension's data by as many bytes, without a flush.
  [[nodiscard]] base::Result<void> overwrite(format::ExtensionType type, base::ConstBytes data);

 private:
  HeaderArea(Medium& medium, format::Header header, format::Geometry geometry)
      : medium_(&medium), header_(header), geometry_(geometry) {}
  [[nodiscard]] base::Result<void> read_extensions(std::uint64_t begin, std::uint64_t end);

  Medium* medium_;
  format::Header header_;
  format::Geometry geometry_;
  std::vector<std::byte> bytes_;  // the first cluster as it is in the file
  std::vector<OwnExtension> extensions_;
  std::vector<std::uint64_t> places_;  // of their data
  std::optional<std::string> backing_name_;
};

}  // namespace cowvet::engine
