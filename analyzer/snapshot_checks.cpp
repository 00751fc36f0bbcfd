// The snapshot table: found through the header, read a piece at a time, its entries judged one by one and against each
// other. Hands on image.snapshots, in the table's order, and the regions of the table and of the snapshots' L1 tables.
// Memory follows what an entry is worth keeping, not what it claims: long texts and extra data are judged and cut.
#include <algorithm>
#include <charconv>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include <fmt/format.h>

#include "analyzer/header_checks.hpp"
#include "analyzer/lost_snapshots.hpp"
#include "analyzer/snapshot_entry.hpp"
#include "analyzer/snapshot_table.hpp"
#include "analyzer/vm_state.hpp"
#include "base/text.hpp"
#include "format/refcounts.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;
using findings::Finding;
using findings::Value;
using format::HeaderV2;
using format::SnapshotEntry;

namespace {

namespace limits = format::limits;

constexpr std::uint64_t text_shown = 256;  // bytes
constexpr std::uint64_t id_kept = 128;     // bytes: QEMU can't address longer ones

// Reads the table and judges it as a whole.
class TableCheck {
 public:
  // Sceptical, because the number of entries is not to be believed: the first implausible one ends the table, without a
  // word.
  TableCheck(Image& image, base::HostOffset table, bool sceptical)
      : image_(image), begin_(table), table_(image, table, sceptical), sceptical_(sceptical) {}

  // Goes through `count` entries, or until one can't be read.
  void run(std::uint32_t count);

 private:
  bool walk(std::uint32_t count);
  void keep(SnapshotState&& state);
  void compare(const SnapshotState& state);
  void compare_ids(const SnapshotState& state);
  void look_behind();
  void report_zeros(std::uint32_t count);
  void report_shadows();
  void report_gaps();
  [[nodiscard]] bool counted(base::HostOffset cluster);

  Image& image_;
  base::HostOffset begin_;
  SnapshotTable table_;
  bool sceptical_;
  std::vector<base::HostOffset> places_;  // of the entries that image.snapshots holds
  std::uint32_t zeros_ = 0;               // entries of zeros
  std::uint32_t first_zeros_ = 0;         // the first of them
  // What was seen so far, and in which element of image.snapshots first. Texts are known by their hashes: an id may
  // have 65535 bytes, and 65536 of them would not fit into memory.
  std::unordered_map<std::uint64_t, std::size_t> ids_, names_, l1_tables_;
  std::vector<std::uint64_t> name_hashes_;  // of the elements of image.snapshots, which keep no names
  struct Numbered {
    std::uint64_t id;
    std::size_t index;
  };
  std::vector<Numbered> numbers_;  // decimal ids
};

void TableCheck::run(std::uint32_t count) {
  const bool whole = walk(count);
  if (table_.end() != 0 && begin_.raw() <= limits::max_offset - table_.end())
    image_.regions.push_back({Kind::snapshot_table, begin_, table_.end()});
  report_zeros(count);
  if (whole) look_behind();
  report_shadows();
  report_gaps();
  check_vm_states(image_, places_);
}

// True: all entries were read.
bool TableCheck::walk(std::uint32_t count) {
  format::Snapshot snapshot;
  for (std::uint32_t index = 0; index < count && !image_.progress.stop_requested(); ++index) {
    const auto read = table_.next(index, snapshot);
    if (sceptical_ && (read != SnapshotTable::Read::entry || !plausible(image_, snapshot))) {
      table_.unread();
      return false;
    }
    if (read == SnapshotTable::Read::stopped) return false;
    if (read == SnapshotTable::Read::zeros) {
      if (zeros_++ == 0) first_zeros_ = index;
      // Its length is lost with it: the table goes on where the next entry is, if there is one.
      if (const auto found = table_.behind()) {
        table_.skip_to(found->position);
        continue;
      }
      zeros_ += count - index - 1;
      return false;
    }
    SnapshotState state{.data = std::move(snapshot), .index = index};
    const auto at = table_.place(table_.begin());
    check_snapshot_entry(image_, state, at);
    compare(state);
    if (index + 1 < count && !base::all_zero(state.data.padding))
      image_.report(Finding{"snapshot/padding-nonzero"_rule}
                        .at(state.where())
                        .on(table_.place(table_.end()), state.data.padding.size())
                        .in(state.data.id));
    keep(std::move(state));
    places_.push_back(at);
  }
  return true;
}

// Keeps an entry without what nobody needs any more.
void TableCheck::keep(SnapshotState&& state) {
  state.data.extra.resize(
      std::min<std::size_t>(state.data.extra.size(), format::disk_size<format::SnapshotExtra>));
  state.data.extra.shrink_to_fit();
  state.data.id.resize(std::min<std::size_t>(state.data.id.size(), id_kept));
  state.data.id.shrink_to_fit();
  state.data.name = {};
  state.data.padding = {};
  image_.snapshots.push_back(std::move(state));
}

void TableCheck::compare(const SnapshotState& state) {
  const auto& s = state.data;
  compare_ids(state);
  name_hashes_.push_back(std::hash<std::string_view>{}(s.name));
  if (!s.name.empty()) {
    const auto [first, fresh] = names_.try_emplace(name_hashes_.back(), image_.snapshots.size());
    if (!fresh)
      image_.report(
          Finding{"snapshot/name-duplicate"_rule}
              .at(state.where() + ".name")
              .on(table_.place(table_.end() - s.name.size()), s.name.size())
              .in(s.id)
              .found(Value::text(base::escape(s.name.substr(0, text_shown))))
              .saying(fmt::format("{} has the same name.", image_.snapshots[first->second].where())));
  }
  if (s.entry.l1_size != 0 && s.entry.l1_table_offset.raw() != 0) {
    const auto [first, fresh] =
        l1_tables_.try_emplace(s.entry.l1_table_offset.raw(), image_.snapshots.size());
    if (!fresh) {
      const auto& other = image_.snapshots[first->second];
      image_.report(field_finding<&SnapshotEntry::l1_table_offset>(
                        "snapshot/l1-shared"_rule, s.entry, table_.place(table_.begin()), state.where())
                        .in(s.id)
                        .hits(disk_of(image_, s))
                        .hits(disk_of(image_, other.data))
                        .shared_with({"snapshot L1 table", other.where(), disk_of(image_, other.data)}));
    }
  }
  if (image_.snapshots.empty()) return;
  const auto& previous = image_.snapshots.back();
  const auto time = [](const SnapshotEntry& e) { return std::pair(e.date_sec, e.date_nsec); };
  if (time(s.entry) < time(previous.data.entry))
    image_.report(field_finding<&SnapshotEntry::date_sec>("snapshot/date-order"_rule, s.entry,
                                                          table_.place(table_.begin()), state.where())
                      .in(s.id)
                      .saying(fmt::format("{} was taken later, at second {}.", previous.where(),
                                          previous.data.entry.date_sec)));
}

void TableCheck::compare_ids(const SnapshotState& state) {
  const auto& s = state.data;
  if (s.id.empty()) return;
  const auto [first, fresh] = ids_.try_emplace(std::hash<std::string_view>{}(s.id), image_.snapshots.size());
  if (!fresh)
    image_.report(Finding{"snapshot/id-duplicate"_rule}
                      .at(state.where() + ".id")
                      .on(table_.place(table_.end() - s.name.size() - s.id.size()), s.id.size())
                      .in(s.id)
                      .found(Value::text(base::escape(s.id.substr(0, text_shown))))
                      .saying(fmt::format("{} has the same id.", image_.snapshots[first->second].where())));
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(s.id.data(), s.id.data() + s.id.size(), number);
  if (error == std::errc{} && end == s.id.data() + s.id.size() && number != 0)
    numbers_.push_back({number, image_.snapshots.size()});
}

void TableCheck::report_zeros(std::uint32_t count) {
  if (zeros_ == 0) return;
  image_.report(snapshot_count_finding(image_, "snapshot/count-mismatch"_rule)
                    .wanted(Value::dec(count - zeros_))
                    .saying(fmt::format("{} of the entries are zeros, snapshot[{}] is the first.", zeros_,
                                        first_zeros_)));
  image_.doubt("the snapshot table has entries of zeros");
}

// Whether the stored refcount of a cluster is not 0: somebody counted it as used.
bool TableCheck::counted(base::HostOffset cluster) {
  const auto& geometry = *image_.geometry;
  const std::uint64_t index = geometry.cluster_of(cluster).raw();
  const std::uint64_t slot = index >> geometry.block_bits();
  const auto& header = image_.header.v2;
  if (slot >= header.refcount_table_clusters * (geometry.cluster_size() / 8)) return false;
  const auto entry = header.refcount_table_offset.plus(slot * 8);
  if (!entry) return false;
  const auto word = image_.read(*entry, 8, 8, "refcount_table");
  if (word.size() < 8) return false;
  const base::HostOffset block{format::refcount_table_word["offset"].mask() &
                               base::BigEndianTable<std::uint64_t>(word)[0]};
  if (block.raw() == 0 || !geometry.aligned(block)) return false;
  const auto bytes = image_.read(block, geometry.cluster_size(), geometry.cluster_size(), "refcount_block");
  return format::refcount_at(bytes, geometry.refcount_order(), index & (geometry.block_entries() - 1)) != 0;
}

// What follows the last entry in its cluster: zeros, or what an older table left there, or entries that the header no
// longer counts. QEMU doesn't clear the rest of the cluster, so only a used L1 table tells the last two apart.
void TableCheck::look_behind() {
  auto snapshot = table_.behind();
  if (!snapshot) return;
  const bool used = counted(snapshot->entry.l1_table_offset);
  auto finding = snapshot_count_finding(image_, "snapshot/count-mismatch"_rule).milder();
  finding.host = findings::HostRange{table_.place(snapshot->position), snapshot->length()};
  image_.report(std::move(finding).saying(fmt::format(
      "Behind the last entry lies one for the snapshot \"{}\"; {}", base::escape(snapshot->name),
      used ? "its L1 table is counted as used." : "its L1 table is not in use, so it was deleted.")));
  if (used) image_.doubt("the snapshot table goes on behind its last entry");
  for (std::uint32_t n = 0; snapshot && n < limits::max_snapshots; ++n) {
    table_.skip_to(snapshot->position + snapshot->length());
    add_unlisted(image_, std::move(*snapshot), begin_);
    snapshot = table_.behind();
  }
}

void TableCheck::report_shadows() {
  for (std::size_t i = 0; i < image_.snapshots.size(); ++i) {
    const auto& state = image_.snapshots[i];
    const auto& entry = state.data.entry;
    // Only such a name can be an id that QEMU can address.
    if (entry.name_size == 0 || entry.name_size > id_kept) continue;
    const auto other = ids_.find(name_hashes_[i]);
    if (other == ids_.end() || other->second == i) continue;
    const base::HostOffset name_at{places_[i].raw() + SnapshotTable::fixed_size + entry.extra_data_size +
                                   entry.id_size};
    const auto name = image_.read(name_at, entry.name_size, id_kept, "snapshot_table");
    image_.report(Finding{"snapshot/name-shadows-id"_rule}
                      .at(state.where() + ".name")
                      .on(name_at, entry.name_size)
                      .in(state.data.id)
                      .found(Value::text(base::escape(format::as_text(name))))
                      .saying(fmt::format("It is the id of {}.", image_.snapshots[other->second].where())));
  }
}

// Numbers below the highest id that no snapshot has.
void TableCheck::report_gaps() {
  std::ranges::sort(numbers_, {}, &Numbered::id);
  std::uint64_t previous = 0, missing = 0;
  std::optional<Numbered> first;
  for (const auto& number : numbers_) {
    if (number.id > previous + 1) {
      missing += number.id - previous - 1;
      if (!first) first = number;
    }
    previous = number.id;
  }
  if (!first) return;
  const auto& state = image_.snapshots[first->index];
  image_.report(Finding{"snapshot/order-evidence"_rule}
                    .at(state.where() + ".id")
                    .on(base::HostOffset{places_[first->index].raw() + SnapshotTable::fixed_size +
                                         state.data.entry.extra_data_size},
                        state.data.entry.id_size)
                    .in(state.data.id)
                    .found(Value::dec(first->id))
                    .saying(fmt::format("{} numbers up to {} are not in use.", missing, previous)));
}

}  // namespace

void check_snapshots(Image& image) {
  if (!image.geometry) return;
  const auto& header = image.header.v2;
  const std::uint32_t count = header.nb_snapshots, believed = std::min(count, limits::max_snapshots);
  const auto table = header.snapshots_offset;
  const bool aligned = image.geometry->aligned(table);
  if (image.inferred) {  // such a header says nothing sure of its snapshots; its faults are reported already
    image.doubt("the header is damaged, so snapshots may be unknown");
    if (aligned && table.raw() != 0) TableCheck(image, table, true).run(believed);
    return;
  }
  if (count == 0 && table.raw() == 0) return;
  if (count != 0 && image.header.external_data_file())
    image.report(snapshot_count_finding(image, "snapshot/with-data-file"_rule));
  if (table.raw() == 0) return image.doubt("the snapshot table is unknown");  // header/snapshot-pointer-pair
  if (!aligned) {
    image.report(header_finding<&HeaderV2::snapshots_offset>(image, "snapshot/table-offset-unaligned"_rule)
                     .wanted(Value::text(fmt::format("a multiple of {}", image.geometry->cluster_size()))));
    return image.doubt("the snapshot table is unknown");
  }
  if (const std::uint64_t least = believed * SnapshotTable::fixed_size;
      table.raw() > limits::max_offset - least) {
    image.report(header_finding<&HeaderV2::snapshots_offset>(image, "snapshot/table-offset-range"_rule)
                     .wanted(Value::text(fmt::format("at most {:#x}", limits::max_offset - least))));
    return image.doubt("the snapshot table is unknown");
  }
  if (count == 0) {
    read_unlisted(image, table);
    return;
  }
  if (count > limits::max_snapshots) {
    image.report(snapshot_count_finding(image, "snapshot/count-limit"_rule)
                     .wanted(Value::text(fmt::format("at most {}", limits::max_snapshots))));
    image.doubt("the number of snapshots is unknown");
  }
  TableCheck(image, table, count > limits::max_snapshots).run(believed);
}

}  // namespace cowvet::analyzer
