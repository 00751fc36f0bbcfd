// Which host clusters hold metadata, as far as that is cheap to know: header, L1 tables, refcount table and blocks,
// snapshot table, L2 tables. Promises: at most 32 MiB, whatever the tables claim; a structure that is merely named,
// whose bytes are none, is no owner, so that a damaged pointer takes nothing from a guest.
#pragma once
#include <compare>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/units.hpp"
#include "format/geometry.hpp"
#include "format/header.hpp"
#include "storage/device.hpp"

namespace cowvet::repair {

// What a host cluster is used for; "" when it is free for data.
struct Use {
  std::string_view what;
  bool certain = false;  // its bytes look it
};

// Words of a table of 8-byte entries, judged by themselves.
struct TableLooks {
  std::uint64_t entries = 0;  // not zero
  std::uint64_t foreign = 0;  // of them, those that no writer makes
  // More foreign entries than single damage leaves behind: these bytes are something else.
  [[nodiscard]] bool is_none() const { return foreign >= 8 && foreign * 2 > entries; }
  [[nodiscard]] bool is_one() const { return entries != 0 && foreign * 2 <= entries; }
};
[[nodiscard]] TableLooks l1_looks(const storage::Device& device, const format::Geometry& geometry,
                                  base::HostOffset begin, std::uint64_t entries);
[[nodiscard]] TableLooks l2_looks(base::ConstBytes table, const format::Geometry& geometry,
                                  std::uint64_t eof);

class OwnedClusters {
 public:
  // The header's cluster, and the refcount structures that it names.
  void add_header(const storage::Device& device, const format::Header& header,
                  const format::Geometry& geometry);
  // An L1 table and the L2 tables that it names.
  void add_l1(const storage::Device& device, const format::Geometry& geometry, base::HostOffset begin,
              std::uint64_t entries);
  void add_range(base::HostOffset begin, std::uint64_t length, const format::Geometry& geometry);
  // All is added: now ask.
  void seal();

  // The first cluster of [begin, end), host bytes, that is owned; nothing if none is.
  [[nodiscard]] std::optional<std::uint64_t> first_in(std::uint64_t begin, std::uint64_t end,
                                                      const format::Geometry& geometry) const;
  // What the cluster at `host` is. Reads it when it is a table.
  [[nodiscard]] Use use_of(const storage::Device& device, const format::Geometry& geometry,
                           std::uint64_t host) const {
    return find_use(device, geometry, host, false);
  }
  // The same for a cluster that an L1 entry names as an L2 table.
  [[nodiscard]] Use use_besides_l2(const storage::Device& device, const format::Geometry& geometry,
                                   std::uint64_t host) const {
    return find_use(device, geometry, host, true);
  }

 private:
  enum class Kind : std::uint8_t { structure, refcount_block, l2_table };
  struct Owned {
    std::uint64_t cluster = 0;
    std::uint32_t index = 0;  // refcount block: in the refcount table
    Kind kind = Kind::structure;
    friend auto operator<=>(const Owned&, const Owned&) = default;
  };
  void add(base::HostCluster cluster, Kind kind, std::uint64_t index = 0);
  [[nodiscard]] Use judge(const storage::Device& device, const format::Geometry& geometry,
                          const Owned& owned) const;
  [[nodiscard]] Use find_use(const storage::Device& device, const format::Geometry& geometry,
                             std::uint64_t host, bool besides_l2) const;

  std::vector<Owned> clusters_;  // ascending once sealed
};

}  // namespace cowvet::repair
