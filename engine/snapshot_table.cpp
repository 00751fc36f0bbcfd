#include "engine/snapshot_table.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/text.hpp"

namespace cowvet::engine {

namespace {
using base::ErrorKind;
namespace limits = format::limits;
}  // namespace

base::Result<SnapshotTable> read_snapshot_table(const Medium& file, const format::Header& header,
                                                const format::Geometry& geometry) {
  SnapshotTable table;
  const auto& v2 = header.v2;
  if (v2.nb_snapshots == 0) return table;
  const std::uint64_t at = v2.snapshots_offset.raw();
  if (v2.nb_snapshots > limits::max_snapshots || at == 0 || !geometry.aligned(v2.snapshots_offset) ||
      at >= file.size())
    return base::fail(ErrorKind::usage,
                      "the snapshot table's place or length can't be right: see cowvet check");

  // Read in growing parts: how long the table is, only its entries say.
  const std::uint64_t most = std::min(limits::max_snapshot_table, file.size() - at);
  std::vector<std::byte> bytes;
  std::uint64_t position = 0;
  while (table.list.size() < v2.nb_snapshots) {
    const auto rest = position < bytes.size()
                          ? base::ConstBytes(bytes).subspan(static_cast<std::size_t>(position))
                          : base::ConstBytes();
    auto step = format::parse_snapshot(rest, position);
    if (!step.snapshot) {
      const std::uint64_t wanted = std::max<std::uint64_t>({position + step.needed, 2 * bytes.size(), 4096});
      if (position + step.needed > most)
        return base::fail(ErrorKind::usage,
                          fmt::format("entry {} of the snapshot table does not fit into it: see cowvet "
                                      "check",
                                      table.list.size()));
      const std::size_t old = bytes.size();
      bytes.resize(static_cast<std::size_t>(std::min(wanted, most)));
      if (auto read = file.read(at + old, base::MutableBytes(bytes).subspan(old), "snapshot table"); !read)
        return std::unexpected(read.error());
      continue;
    }
    table.length = position + step.snapshot->length();
    position = (table.length + 7) & ~std::uint64_t{7};
    table.list.push_back(std::move(*step.snapshot));
  }
  return table;
}

base::Result<std::size_t> find_snapshot(const std::vector<format::Snapshot>& list, std::string_view name) {
  for (const auto member : {&format::Snapshot::id, &format::Snapshot::name})
    if (const auto found = std::ranges::find(list, name, member); found != list.end())
      return static_cast<std::size_t>(found - list.begin());
  return base::fail(ErrorKind::usage,
                    fmt::format("there is no snapshot with the id or name '{}'", base::escape(name)));
}

base::Result<std::vector<std::uint64_t>> read_l1(const Medium& file, base::HostOffset at,
                                                 std::uint64_t entries, std::string_view what) {
  std::vector<std::uint64_t> words;
  if (entries == 0) return words;
  // Known to be there before memory is taken for it.
  if (at.raw() > file.size() || entries * 8 > file.size() - at.raw())
    return base::fail(
        ErrorKind::io,
        fmt::format("the {} at {:#x} reaches over the file's end: see cowvet check", what, at.raw()));
  std::vector<std::byte> bytes(static_cast<std::size_t>(entries * 8));
  if (auto read = file.read(at.raw(), bytes, what); !read) return std::unexpected(read.error());
  const base::BigEndianTable<std::uint64_t> table(bytes);
  words.resize(table.size());
  for (std::size_t i = 0; i < words.size(); ++i) words[i] = table[i];
  return words;
}

base::Result<std::vector<std::uint64_t>> read_snapshot_l1(const Medium& file,
                                                          const format::Geometry& geometry,
                                                          const format::Snapshot& snapshot) {
  const auto& entry = snapshot.entry;
  const std::uint64_t size = snapshot.disk_size_bytes().value_or(0);
  if (entry.l1_size > limits::max_l1_entries || !geometry.aligned(entry.l1_table_offset) ||
      (entry.l1_size != 0 && entry.l1_table_offset.raw() == 0) || size > limits::max_virtual_size ||
      geometry.l1_entries(size) > entry.l1_size)
    return base::fail(ErrorKind::usage,
                      fmt::format("the L1 table of snapshot '{}' can't be right: see cowvet check",
                                  base::escape(snapshot.id)));
  return read_l1(file, entry.l1_table_offset, entry.l1_size, "L1 table of a snapshot");
}

}  // namespace cowvet::engine
