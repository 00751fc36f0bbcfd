// The first cluster: header, extensions, backing file name. Promises: what is opened was read without guessing; every
// change reaches the file with one write of the first sector, so that a crash leaves the old header or the
// new one; unknown fields and extensions are kept.
#pragma once
#include <array>
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
  // The same with extensions and backing name, which may move; durable when it returns. Error limit: they
  // don't fit into the first cluster, or can't be exchanged without a moment of danger; nothing was changed
  // then.
  [[nodiscard]] base::Result<void> store(const format::Header& changed, std::vector<OwnExtension> extensions,
                                         const std::optional<std::string>& backing_name);
  // Whether that could be done now. Error limit, as above.
  [[nodiscard]] base::Result<void> has_room(const format::Header& changed,
                                            std::vector<OwnExtension> extensions,
                                            const std::optional<std::string>& backing_name) const;
  [[nodiscard]] std::vector<OwnExtension> extensions() const { return extensions_; }

 private:
  HeaderArea(Medium& medium, format::Header header, format::Geometry geometry)
      : medium_(&medium), header_(header), geometry_(geometry) {}
  void adopt(const format::Header& header);
  struct Part {  // of the first cluster
    std::size_t begin, end;
  };
  struct Composed {
    std::vector<std::byte> bytes;
    format::Header header;
  };
  // The first cluster as it shall be. With `first_sector_only`, all but the name stays as it is behind the
  // first sector.
  [[nodiscard]] std::optional<Composed> compose(format::Header header,
                                                const std::vector<OwnExtension>& extensions,
                                                const std::optional<std::string>& backing_name,
                                                bool first_sector_only) const;
  // How extensions and name are exchanged.
  struct Exchange {
    Composed next;
    bool complete;  // false: the names of features, in the way for now, may come back afterwards
  };
  [[nodiscard]] base::Result<Exchange> plan(const format::Header& changed,
                                            std::vector<OwnExtension> extensions,
                                            const std::optional<std::string>& backing_name) const;
  // What fits, without names of features if need be.
  [[nodiscard]] std::optional<Composed> whole(const format::Header& changed,
                                              std::vector<OwnExtension> extensions,
                                              const std::optional<std::string>& backing_name) const;
  [[nodiscard]] std::array<Part, 2> live_tail() const;
  // Whether writing these bytes would change what the header in the file refers to, outside the first sector.
  [[nodiscard]] bool disturbs(const std::vector<std::byte>& bytes) const;
  [[nodiscard]] base::Result<void> write(Composed composed, const std::optional<std::string>& backing_name);
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
