// Any structure of an image, field by field, named by the paths that findings use: "header", "l1[3].l2[17]",
// "snapshot[0].l1", "cluster[5]"; or any record or word at any place: "snapshot@0x50000".
// Promises: values as stored, judged by nobody, so that it works on damaged images; field names, widths and notes come
// from the field tables; tables are told in pieces, and entries that are zero are counted instead of told.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.hpp"
#include "base/units.hpp"
#include "format/catalogue.hpp"
#include "format/geometry.hpp"
#include "format/header.hpp"
#include "storage/device.hpp"

namespace cowvet::analyzer {

// A field of a record or an entry of a table.
struct Part {
  std::string name;  // "l1_size", "[17]"
  base::HostOffset offset;
  std::uint64_t width = 0;                         // bytes
  std::variant<std::uint64_t, std::string> value;  // a number, or raw bytes
  std::string note;
  const format::WordInfo* word = nullptr;  // the names of its bits, if they have names
};

struct Structure {
  std::string path;  // of the whole, or of a piece of a table: "l1[8192..16383]"
  std::string_view spec;
  base::HostOffset offset;
  std::uint64_t length = 0;  // bytes
  std::vector<Part> parts;
  std::uint64_t zero_entries = 0;  // of a table: left out
};

class Structures {
 public:
  // The device outlives it.
  explicit Structures(const storage::Device& device);

  using Visit = std::function<void(const Structure&)>;
  // Tells what the path names. Errors: usage, when it names nothing in this image; io.
  [[nodiscard]] base::Result<void> visit(std::string_view path, const Visit& visit) const;

 private:
  class Path;
  using Done = base::Result<void>;

  [[nodiscard]] Done header(const Visit& visit) const;
  [[nodiscard]] Done extensions(std::optional<std::uint64_t> index, const Visit& visit) const;
  [[nodiscard]] Done backing_name(const Visit& visit) const;
  [[nodiscard]] Done snapshots(Path& path, std::optional<std::uint64_t> index, const Visit& visit) const;
  [[nodiscard]] Done bitmaps(Path& path, std::optional<std::uint64_t> index, const Visit& visit) const;
  [[nodiscard]] Done luks(Path& path, const Visit& visit) const;
  [[nodiscard]] Done mapping(Path& path, const std::string& prefix, base::HostOffset l1,
                             std::uint64_t entries, const Visit& visit) const;
  [[nodiscard]] Done l2_table(const std::string& path, base::HostOffset offset,
                              std::optional<std::uint64_t> index, const Visit& visit) const;
  [[nodiscard]] Done refcount_block(std::uint64_t index, const Visit& visit) const;
  [[nodiscard]] Done refcount(std::uint64_t cluster, const Visit& visit) const;
  [[nodiscard]] Done anything(std::string_view name, std::uint64_t offset, const Visit& visit) const;
  [[nodiscard]] Done table(const std::string& path, const format::WordInfo& word, base::HostOffset offset,
                           std::uint64_t entries, std::optional<std::uint64_t> index,
                           const Visit& visit) const;
  [[nodiscard]] base::Result<std::uint64_t> word_at(base::HostOffset offset) const;
  [[nodiscard]] base::Result<std::vector<std::byte>> bytes(base::HostOffset offset,
                                                           std::uint64_t length) const;
  [[nodiscard]] base::Result<format::Geometry> geometry() const;

  const storage::Device& device_;
  std::optional<format::Header> header_;
  std::vector<std::byte> cluster0_;
};

}  // namespace cowvet::analyzer
