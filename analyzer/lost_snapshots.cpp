#include "analyzer/lost_snapshots.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "analyzer/snapshot_entry.hpp"
#include "analyzer/snapshot_table.hpp"
#include "base/text.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;
using findings::Finding;

void add_unlisted(Image& image, format::Snapshot&& snapshot, base::HostOffset table) {
  constexpr std::size_t most = 4096;
  if (image.unlisted.size() == most || !plausible(image, snapshot)) return;
  const base::HostOffset at{table.raw() + snapshot.position};
  const auto l1 = snapshot.entry.l1_table_offset;
  if (std::ranges::any_of(image.unlisted,
                          [&](const auto& known) { return known.data.entry.l1_table_offset == l1; }))
    return;  // an older table names the same snapshots
  snapshot.padding.clear();
  image.unlisted.push_back({std::move(snapshot), at, table == image.header.v2.snapshots_offset});
}

namespace {

template <class Use>
std::size_t each_entry(Image& image, base::HostOffset table, Use&& use) {
  constexpr bool quiet = true;
  SnapshotTable entries(image, table, quiet);
  format::Snapshot snapshot;
  std::uint32_t index = 0;
  while (index < format::limits::max_snapshots && !image.progress.stop_requested() &&
         entries.next(index, snapshot) == SnapshotTable::Read::entry && plausible(image, snapshot)) {
    use(std::move(snapshot));
    ++index;
  }
  return index;
}

}  // namespace

std::size_t read_unlisted(Image& image, base::HostOffset table) {
  return each_entry(image, table,
                    [&](format::Snapshot&& snapshot) { add_unlisted(image, std::move(snapshot), table); });
}

Listed list_entries(Image& image, base::HostOffset table) {
  Listed listed;
  listed.entries = each_entry(image, table, [&](format::Snapshot&& snapshot) {
    const auto l1 = snapshot.entry.l1_table_offset;
    listed.lost = listed.lost || std::ranges::any_of(image.unlisted, [&](const auto& known) {
                    return known.data.entry.l1_table_offset == l1;
                  });
  });
  return listed;
}

std::string lost_name(const format::Snapshot& snapshot) {
  return fmt::format("the lost snapshot \"{}\" (id {})", base::escape(snapshot.name),
                     base::escape(snapshot.id));
}

void report_lost(Image& image, const UnlistedSnapshot& snapshot) {
  const auto& entry = snapshot.data.entry;
  Finding f{"snapshot/lost"_rule};
  // A table that the header does not name is also what a crash leaves while a snapshot is taken or deleted.
  if (!snapshot.in_named_table) f.severity = f.rule->lesser;
  image.report(
      std::move(f)
          .at(fmt::format("snapshot@{:#x}", snapshot.at.raw()))
          .on(snapshot.at, snapshot.data.length())
          .in(snapshot.data.id)
          .hits(disk_of(image, snapshot.data))
          .saying(fmt::format("It is the snapshot \"{}\" (id {}), taken at second {}; its L1 table lies at "
                              "{:#x} and has no owner.",
                              base::escape(snapshot.data.name), base::escape(snapshot.data.id),
                              entry.date_sec, entry.l1_table_offset.raw())));
}

}  // namespace cowvet::analyzer
