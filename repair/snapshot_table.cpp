#include "repair/snapshot_table.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "analyzer/info.hpp"

namespace cowvet::repair {

using namespace findings::literals;

format::Snapshot new_snapshot(const Draft& draft, const std::vector<format::Snapshot>& listed,
                              std::string_view name, base::HostOffset l1, std::uint64_t l1_entries,
                              std::uint64_t disk_size) {
  std::uint64_t number = 1;
  while (std::ranges::any_of(listed, [&](const auto& s) { return s.id == std::to_string(number); })) ++number;
  format::Snapshot s;
  s.entry.l1_table_offset = l1;
  s.entry.l1_size = static_cast<std::uint32_t>(l1_entries);
  s.id = std::to_string(number);
  s.name = fmt::format("{}-{}", name, number);
  if (draft.header().has_v3()) {
    const auto extra = format::encode(format::SnapshotExtra{.disk_size_bytes = disk_size});
    constexpr std::size_t demanded = 16;
    s.extra.assign(extra.begin(), extra.begin() + demanded);
  }
  return s;
}

bool was_snapshot_table(const Draft& draft, std::uint64_t cluster) {
  const auto& g = draft.geometry();
  const auto old =
      format::parse_snapshot(draft.bytes(cluster << g.cluster_bits(), g.cluster_size()), 0).snapshot;
  if (!old || old->id.empty()) return false;
  return std::ranges::any_of(analyzer::read_snapshots(draft.image(), draft.header()), [&](const auto& s) {
    return s.id == old->id && s.name == old->name && s.entry.l1_table_offset == old->entry.l1_table_offset;
  });
}

Remedied store_snapshots(Draft& draft, Action& action, std::vector<format::Snapshot>& listed) {
  std::vector<std::byte> table;
  for (auto& s : listed) {
    s.padding.clear();
    s.entry.id_size = static_cast<std::uint16_t>(s.id.size());
    s.entry.name_size = static_cast<std::uint16_t>(s.name.size());
    s.entry.extra_data_size = static_cast<std::uint32_t>(s.extra.size());
    const auto bytes = format::encode_snapshot(s);
    table.insert(table.end(), bytes.begin(), bytes.end());
    table.resize((table.size() + 7) & ~std::size_t{7});
  }
  const auto& g = draft.geometry();
  auto header = draft.header();
  header.v2.nb_snapshots = static_cast<std::uint32_t>(listed.size());
  header.v2.snapshots_offset = base::HostOffset{0};
  if (!table.empty()) {
    const std::uint64_t clusters = g.clusters(table.size());
    const auto room = draft.take(clusters, "snapshot/table-past-eof"_rule);
    if (!room) return {};
    table.resize(static_cast<std::size_t>(clusters * g.cluster_size()));
    header.v2.snapshots_offset = base::HostOffset{*room};
    if (auto done = draft.put(action, *room, table); !done) return done;
  }
  return draft.put(action, 0, format::encode(header.v2));
}

}  // namespace cowvet::repair
