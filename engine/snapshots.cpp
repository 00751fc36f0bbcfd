#include "engine/snapshots.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "format/snapshot.hpp"

namespace cowvet::engine {

namespace {

using base::ErrorKind;
namespace limits = format::limits;

std::vector<std::byte> extra_data(std::uint64_t vm_state, std::uint64_t disk_size, std::uint64_t icount = 0) {
  const auto bytes = format::encode(format::SnapshotExtra{vm_state, disk_size, icount});
  return {bytes.begin(), bytes.end()};
}

}  // namespace

ScrapTable Snapshots::table_at(Clusters clusters, std::size_t entries) const {
  return {.at = base::HostOffset{clusters.first << image_.geometry().cluster_bits()}, .entries = entries};
}

base::Result<Clusters> Snapshots::place_table(const std::vector<format::Snapshot>& list,
                                              std::uint64_t& length) {
  std::vector<std::byte> bytes;
  for (const auto& s : list) {
    bytes.resize((bytes.size() + 7) / 8 * 8);
    auto plain = s;
    plain.padding.clear();
    const auto entry = format::encode_snapshot(plain);
    bytes.insert(bytes.end(), entry.begin(), entry.end());
  }
  length = bytes.size();
  if (list.size() > limits::max_snapshots || length > limits::max_snapshot_table)
    return base::fail(ErrorKind::limit, "an image can't hold more snapshots: remove some first");
  // The clusters may hold an older table. Its entries behind the new ones would pass for snapshots that were lost.
  bytes.resize(
      static_cast<std::size_t>(image_.geometry().clusters(length) << image_.geometry().cluster_bits()));
  return changes_.place(bytes);
}

base::Result<void> Snapshots::switch_table(std::vector<format::Snapshot> list, Clusters table,
                                           std::uint64_t length) {
  auto fields = image_.fields();
  const auto old = changes_.clusters_of(fields.v2.snapshots_offset, image_.snapshot_bytes);
  fields.v2.nb_snapshots = static_cast<std::uint32_t>(list.size());
  fields.v2.snapshots_offset = base::HostOffset{table.first << image_.geometry().cluster_bits()};
  if (auto stored = image_.header.store(fields); !stored) return stored;
  if (auto flushed = image_.file.flush(); !flushed) return flushed;
  image_.snapshots = std::move(list);
  image_.snapshot_bytes = length;
  // Its clusters may be counted again before their new content is there, and would pass for a lost table.
  if (old.count != 0)
    if (auto wiped = image_.file.write(
            old.first << image_.geometry().cluster_bits(),
            std::vector<std::byte>(static_cast<std::size_t>(old.count << image_.geometry().cluster_bits())));
        !wiped)
      return wiped;
  return changes_.refcounts().lower(old);
}

std::string Snapshots::next_id() const {
  std::uint64_t highest = 0;
  for (const auto& s : image_.snapshots) {
    std::uint64_t number = 0;
    std::from_chars(s.id.data(), s.id.data() + s.id.size(), number);
    highest = std::max(highest, number);
  }
  return std::to_string(highest + 1);
}

base::Result<void> Snapshots::create(const SnapshotFields& fields, std::uint64_t vm_state) {
  if (image_.rules.data_file)
    return base::fail(ErrorKind::usage, "an image with an external data file can't have internal snapshots");
  if (fields.name.size() > UINT16_MAX || fields.id.size() > UINT16_MAX)
    return base::fail(ErrorKind::usage, "the snapshot's name is too long");
  if (std::ranges::find(image_.snapshots, fields.id, &format::Snapshot::id) != image_.snapshots.end())
    return base::fail(ErrorKind::usage, "there is a snapshot with this id: give it another one");
  const std::uint64_t span = image_.geometry().span();
  const std::uint64_t vm_begin = image_.vm_state_begin();
  // VM state that no program claims any more would be kept by this snapshot for nothing.
  if (auto done = writer_.give_up(vm_begin + vm_state, image_.l1.size() * span); !done) return done;
  if (auto done = changes_.settle(); !done) return done;

  auto unflagged = image_.l1;  // COPIED speaks of the active table only
  for (auto& word : unflagged) word &= ~format::copied_flag;
  const auto l1 = changes_.place(encode_l1(unflagged));
  if (!l1) return std::unexpected(l1.error());
  const auto noted = note_scrap(image_, {table_at(*l1, unflagged.size())});
  // All that the snapshot will own, counted and durable.
  if (auto raised = noted ? tree_.raise(image_.l1) : std::unexpected(noted.error()); !raised) {
    (void)changes_.refcounts().lower(*l1);
    return raised;
  }
  const auto undo = [&](base::Error error) -> base::Result<void> {
    (void)tree_.lower(image_.l1);  // at worst too high
    return std::unexpected(std::move(error));
  };
  format::Snapshot s;
  s.id = fields.id.empty() ? next_id() : std::string(fields.id);
  s.name = fields.name;
  s.extra = extra_data(vm_state, image_.size(), fields.icount);
  s.entry = {.l1_table_offset = base::HostOffset{l1->first << image_.geometry().cluster_bits()},
             .l1_size = static_cast<std::uint32_t>(image_.l1.size()),
             .id_size = static_cast<std::uint16_t>(s.id.size()),
             .name_size = static_cast<std::uint16_t>(s.name.size()),
             .date_sec = fields.date_sec,
             .date_nsec = fields.date_nsec,
             .vm_clock_nsec = fields.vm_clock_nsec,
             .vm_state_size = vm_state > UINT32_MAX ? 0 : static_cast<std::uint32_t>(vm_state),
             .extra_data_size = static_cast<std::uint32_t>(s.extra.size())};
  auto list = image_.snapshots;
  list.push_back(std::move(s));
  std::uint64_t length = 0;
  const auto table = place_table(list, length);
  if (!table) {
    (void)changes_.refcounts().lower(*l1);
    return undo(table.error());
  }
  // From now on nothing of it is written in place.
  auto done = changes_.commit(true);
  if (done) done = tree_.clear_copied(image_.l1);
  if (done) done = changes_.commit(true);
  if (!done) {
    (void)changes_.refcounts().lower(*table);
    (void)changes_.refcounts().lower(*l1);
    return undo(done.error());
  }
  if (auto switched = switch_table(std::move(list), *table, length); !switched) return switched;
  if (auto dropped = drop_scrap(image_, changes_, *noted); !dropped) return dropped;
  // The state belongs to the snapshot; kept here it would be copied with every write.
  if (vm_state != 0)
    if (auto dropped = writer_.give_up(vm_begin, image_.l1.size() * span); !dropped) return dropped;
  return changes_.settle();
}

base::Result<void> Snapshots::complete_entries() {
  if (auto done = changes_.settle(); !done) return done;
  constexpr std::size_t least = 16;
  auto list = image_.snapshots;
  bool complete = true;
  for (auto& s : list) {
    if (s.extra.size() >= least) continue;
    complete = false;
    s.extra = extra_data(s.vm_state_size(), s.disk_size_bytes().value_or(image_.size()));
    s.entry.extra_data_size = static_cast<std::uint32_t>(s.extra.size());
  }
  if (complete) return {};
  std::uint64_t length = 0;
  const auto table = place_table(list, length);
  if (!table) return std::unexpected(table.error());
  if (auto done = changes_.commit(true); !done) {
    (void)changes_.refcounts().lower(*table);
    return done;
  }
  return switch_table(std::move(list), *table, length);
}

base::Result<void> Snapshots::remove(std::size_t index) {
  if (auto done = changes_.settle(); !done) return done;
  const auto snapshot = image_.snapshots[index];
  const auto l1 = read_snapshot_l1(image_.file, image_.geometry(), snapshot);
  if (!l1) return std::unexpected(l1.error());
  const auto noted =
      note_scrap(image_, {{.at = snapshot.entry.l1_table_offset, .entries = snapshot.entry.l1_size}});
  if (!noted) return std::unexpected(noted.error());
  auto list = image_.snapshots;
  list.erase(list.begin() + static_cast<std::ptrdiff_t>(index));
  std::uint64_t length = 0;
  const auto table = place_table(list, length);
  if (!table) return std::unexpected(table.error());
  if (auto done = changes_.commit(true); !done) {
    (void)changes_.refcounts().lower(*table);
    return done;
  }
  if (auto switched = switch_table(std::move(list), *table, length); !switched) return switched;
  if (auto lowered = tree_.lower(*l1); !lowered) return lowered;
  if (auto lowered =
          changes_.refcounts().lower(changes_.clusters_of(snapshot.entry.l1_table_offset, l1->size() * 8));
      !lowered)
    return lowered;
  if (auto done = changes_.settle(); !done) return done;
  if (auto done = drop_scrap(image_, changes_, *noted); !done) return done;
  if (auto done = tree_.set_copied(); !done) return done;
  return changes_.settle();
}

base::Result<void> Snapshots::apply(std::size_t index) {
  const auto& g = image_.geometry();
  const auto snapshot = image_.snapshots[index];
  const auto old_l1 = read_snapshot_l1(image_.file, g, snapshot);
  if (!old_l1) return std::unexpected(old_l1.error());
  const std::uint64_t size = snapshot.disk_size_bytes().value_or(image_.size());
  auto l1 = *old_l1;
  l1.resize(std::max<std::size_t>(l1.size(), static_cast<std::size_t>(g.l1_entries(size))));
  for (auto& word : l1) word &= ~format::copied_flag;
  if (auto done = changes_.settle(); !done) return done;

  const auto table = changes_.place(encode_l1(l1));
  if (!table) return std::unexpected(table.error());
  const auto noted = note_scrap(
      image_,
      {table_at(*table, l1.size()), {.at = image_.fields().v2.l1_table_offset, .entries = image_.l1.size()}});
  auto done = noted ? tree_.raise(l1) : std::unexpected(noted.error());
  if (!done) {
    (void)changes_.refcounts().lower(*table);
    return done;
  }
  // Tables of snapshots may carry COPIED from another time.
  done = tree_.clear_copied(l1);
  if (done) done = changes_.commit(true);
  if (!done) {
    (void)changes_.refcounts().lower(*table);
    (void)tree_.lower(l1);
    return done;
  }
  const auto before = changes_.clusters_of(image_.fields().v2.l1_table_offset, image_.l1.size() * 8);
  if (auto switched = changes_.switch_l1(l1, *table, size); !switched)
    return switched;  // l1 is the old one now
  if (auto lowered = tree_.lower(l1); !lowered) return lowered;
  if (auto lowered = changes_.refcounts().lower(before); !lowered) return lowered;
  if (auto settled = changes_.settle(); !settled) return settled;
  return drop_scrap(image_, changes_, *noted);
}

}  // namespace cowvet::engine
