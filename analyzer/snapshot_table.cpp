#include "analyzer/snapshot_table.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "analyzer/header_checks.hpp"
#include "analyzer/snapshot_entry.hpp"
#include "base/text.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;
using findings::Finding;
using findings::Value;
using format::SnapshotEntry;

namespace {

namespace limits = format::limits;

constexpr std::uint64_t extra_kept = 1024;  // bytes

std::uint64_t aligned(std::uint64_t position) { return (position + 7) & ~std::uint64_t{7}; }

}  // namespace

Finding snapshot_count_finding(const Image& image, findings::RuleId rule) {
  return header_finding<&format::HeaderV2::nb_snapshots>(image, rule);
}

SnapshotTable::Read SnapshotTable::stop(Finding&& finding, std::uint32_t index) {
  if (quiet_) return Read::stopped;
  image_.report(std::move(finding));
  image_.doubt(fmt::format("the snapshot table can't be read from entry {} on", index));
  return Read::stopped;
}

// Says why an entry of `length` bytes does not fit. Lengths that no writer uses are taken for damaged;
// otherwise the file was cut, or the table is too long.
SnapshotTable::Read SnapshotTable::reject(std::uint32_t index, const SnapshotEntry& entry,
                                          std::uint64_t length) {
  const auto where = fmt::format("snapshot[{}]", index);
  if (entry.extra_data_size > limits::max_snapshot_extra && !quiet_)
    image_.report(field_finding<&SnapshotEntry::extra_data_size>("snapshot/extra-too-large"_rule, entry,
                                                                 place(begin_), where)
                      .wanted(Value::text(fmt::format("at most {}", limits::max_snapshot_extra))));
  if (!usual_lengths(entry))
    return stop(Finding{"snapshot/entry-bounds"_rule}
                    .at(where)
                    .on(place(begin_), fixed_size)
                    .found(Value::dec(length))
                    .saying(fmt::format(
                        "Extra data of {} bytes, an id of {} and a name of {} do not fit into the table.",
                        entry.extra_data_size, entry.id_size, entry.name_size)),
                index);
  if (length > limits::max_snapshot_table - begin_)
    return stop(
        snapshot_count_finding(image_, "snapshot/table-size-limit"_rule)
            .saying(fmt::format("{} ends {} bytes behind the table's start.", where, begin_ + length)),
        index);
  return stop(Finding{"snapshot/table-past-eof"_rule}
                  .at(where)
                  .on(place(begin_), length)
                  .wanted(Value::text(fmt::format("a file of at least {:#x} bytes",
                                                  base::saturating_add(place(begin_).raw(), length))))
                  .found(Value::hex(image_.eof)),
              index);
}

// Whether what follows the entry at begin_ reads as what writers store when there are so many bytes of extra data.
bool SnapshotTable::sensible(const SnapshotEntry& entry, std::uint32_t extra_size) {
  const std::uint64_t length = fixed_size + extra_size + entry.id_size + entry.name_size;
  if (extra_size > limits::max_snapshot_extra || entry.id_size == 0 ||
      length > limits::max_snapshot_table - begin_ || !image_.inside(place(begin_), length))
    return false;
  base::Cursor rest{window_.at(begin_ + fixed_size, aligned(length) - fixed_size)};
  const auto extra = rest.take(extra_size), id = rest.take(entry.id_size), name = rest.take(entry.name_size);
  if (!extra || !id || !name) return false;
  if (extra_size >= field_info<&format::SnapshotExtra::icount>().offset) {
    const std::uint64_t disk = base::BigEndianTable<std::uint64_t>(*extra)[1];
    if (disk > limits::max_virtual_size || disk % limits::sector != 0) return false;
  }
  return base::plain_text(format::as_text(*id)) && base::plain_text(format::as_text(*name)) &&
         base::all_zero(rest.rest());
}

// A wrong size of the extra data shifts everything behind it; the sizes that writers use put it right.
std::uint32_t SnapshotTable::believed_extra(const SnapshotEntry& entry) {
  const std::uint32_t stored = entry.extra_data_size;
  if (sensible(entry, stored)) return stored;
  for (const std::uint32_t usual : {24U, 16U, 0U})
    if (usual != stored && sensible(entry, usual)) return usual;
  return stored;
}

// Not format::parse_snapshot(), which keeps all that an entry claims: up to 4 GiB of extra data.
SnapshotTable::Read SnapshotTable::next(std::uint32_t index, format::Snapshot& snapshot) {
  before_ = end_;
  begin_ = aligned(end_);
  end_ = begin_ + fixed_size;  // of the table, if this entry stays unread
  if (end_ > limits::max_snapshot_table || !image_.inside(place(begin_), fixed_size))
    return reject(index, {}, fixed_size);
  const auto bytes = base::prefix<SnapshotTable::fixed_size>(window_.at(begin_, fixed_size));
  if (!bytes) {  // told as an I/O error
    image_.doubt("the snapshot table can't be read");
    return Read::stopped;
  }
  if (base::all_zero(*bytes)) return Read::zeros;
  auto entry = format::decode<SnapshotEntry>(*bytes);
  if (const std::uint32_t believed = believed_extra(entry); believed != entry.extra_data_size) {
    if (!quiet_)
      image_.report(field_finding<&SnapshotEntry::extra_data_size>("snapshot/extra-misstated"_rule, entry,
                                                                   place(begin_),
                                                                   fmt::format("snapshot[{}]", index))
                        .wanted(Value::dec(believed)));
    entry.extra_data_size = believed;
  }
  const std::uint64_t length = fixed_size + entry.extra_data_size + entry.id_size + entry.name_size;
  if (length > limits::max_snapshot_table - begin_ || !image_.inside(place(begin_), length))
    return reject(index, entry, length);

  snapshot = {};
  snapshot.position = begin_;
  snapshot.entry = entry;
  const std::uint64_t kept = std::min<std::uint64_t>(entry.extra_data_size, extra_kept);
  const auto extra = window_.at(begin_ + fixed_size, kept);
  const bool whole = extra.size() == kept;
  snapshot.extra.assign(extra.begin(), extra.end());
  base::Cursor texts{window_.at(begin_ + fixed_size + entry.extra_data_size,
                                std::uint64_t{entry.id_size} + entry.name_size + (aligned(length) - length))};
  const auto id = texts.take(entry.id_size), name = texts.take(entry.name_size);
  if (!whole || !id || !name) {
    image_.doubt("the snapshot table can't be read");
    return Read::stopped;
  }
  snapshot.id = format::as_text(*id);
  snapshot.name = format::as_text(*name);
  snapshot.padding.assign(texts.rest().begin(), texts.rest().end());
  end_ = begin_ + length;
  return Read::entry;
}

std::optional<format::Snapshot> SnapshotTable::behind() {
  const auto cluster_end = base::round_up(place(end_).raw(), image_.geometry->cluster_size());
  if (!cluster_end) return std::nullopt;
  const std::uint64_t limit = *cluster_end - table_.raw();
  std::uint64_t at = aligned(end_);
  for (; at + fixed_size <= limit; at += 8) {
    const auto word = window_.at(at, 8);
    if (word.size() < 8) return std::nullopt;
    if (!base::all_zero(word)) break;
  }
  if (at + fixed_size > limit) return std::nullopt;
  auto step = format::parse_snapshot(window_.at(at, limit - at), at);
  if (!step.snapshot || !plausible(image_, *step.snapshot)) return std::nullopt;
  return std::move(step.snapshot);
}

}  // namespace cowvet::analyzer
