#include "repair/draft.hpp"

#include <algorithm>
#include <charconv>

#include "analyzer/check.hpp"
#include "analyzer/info.hpp"
#include "base/checked.hpp"
#include "repair/owned_clusters.hpp"

namespace cowvet::repair {

using namespace findings::literals;
using findings::Consent;
using findings::Finding;

namespace {

constexpr std::size_t kept_findings = 1U << 16;  // of a rule, in one round

}  // namespace

Place place_from(const Finding& finding, std::string evidence) {
  return {.where = finding.where, .guest = finding.guest, .evidence = std::move(evidence)};
}

Draft::Draft(const storage::Device& image, const Options& options, base::Progress& progress)
    : overlay_(image), options_(options), progress_(progress) {}

base::Result<void> Draft::examine() {
  findings::Collector findings(kept_findings);
  const analyzer::Options how{.jobs = options_.jobs,
                              .assume_qcow2 = options_.assume_qcow2,
                              .data_file = options_.data_file,
                              .path = options_.path};
  auto verdict = analyzer::check(overlay_, how, findings, progress_);
  if (!verdict) return std::unexpected(verdict.error());
  if (progress_.stop_requested()) return base::fail(base::ErrorKind::cancelled, "stopped");
  verdict_ = std::move(*verdict);
  look_for_dangling();
  look_for_contested();
  return {};
}

std::span<const Finding> Draft::found(findings::RuleId rule) const {
  const auto range = std::ranges::equal_range(verdict_.findings, rule, {}, &Finding::rule);
  return {range.begin(), range.end()};
}

bool Draft::doubtful() const {
  // Of a header that was lost with its L1 table: the disk was hardly that small.
  const bool sizeless = verdict_.header && verdict_.header->v2.size == 0 && any("refcount/leak"_rule);
  return !verdict_.complete || verdict_.inferred || sizeless || !verdict_.doubts.empty() ||
         any("refcount/leak-holds-table"_rule);
}

bool Draft::allows(Consent consent) const {
  switch (consent) {
    case Consent::none: return false;
    case Consent::lossless: return true;
    case Consent::frees: return options_.level >= Level::leaks;
    case Consent::choice: return options_.level == Level::all;
    case Consent::lossy: return options_.level == Level::all && options_.allow_loss;
  }
  __builtin_unreachable();
}

Action& Draft::act(findings::RuleId rule, Consent consent, std::string_view what) {
  if (actions_.empty() || actions_.back().rule != rule || actions_.back().consent != consent ||
      actions_.back().what != what)
    actions_.push_back({.rule = rule, .consent = consent, .what = std::string(what)});
  return actions_.back();
}

Action* Draft::may_act(findings::RuleId rule, Consent consent, std::string_view what, Place place) {
  if (!allows(consent)) {
    withhold(rule, consent, what, std::move(place));
    return nullptr;
  }
  return &act_at(rule, consent, what, std::move(place));
}

Action& Draft::act_at(findings::RuleId rule, Consent consent, std::string_view what, Place place) {
  auto& action = act(rule, consent, what);
  ++action.count;
  constexpr std::size_t most_named = 1U << 20;
  if (consent == Consent::choice || consent == Consent::lossy)
    for (const auto& range : place.guest)
      if (named_.size() < most_named) named_.push_back(range);
  if (action.places.size() < Action::most_places) action.places.push_back(std::move(place));
  return action;
}

void Draft::withhold(findings::RuleId rule, Consent consent, std::string_view what, Place place) {
  const auto same = [&](const Withheld& w) {
    return w.rule == rule && w.consent == consent && w.what == what;
  };
  auto known = std::ranges::find_if(withheld_, same);
  if (known == withheld_.end())
    known = withheld_.insert(known, {.rule = rule, .consent = consent, .what = std::string(what)});
  ++known->count;
  if (known->places.size() < Action::most_places) known->places.push_back(std::move(place));
}

std::vector<std::byte> Draft::bytes(std::uint64_t offset, std::uint64_t length) const {
  std::vector<std::byte> bytes(static_cast<std::size_t>(length));
  (void)overlay_.read(offset, bytes);
  return bytes;
}

std::uint64_t Draft::word(std::uint64_t offset) const {
  std::array<std::byte, 8> bytes{};
  (void)overlay_.read(offset, bytes);
  return base::load_be<std::uint64_t, 0>(std::span<const std::byte, 8>(bytes));
}

base::Result<void> Draft::put(Action& action, std::uint64_t offset, base::ConstBytes after) {
  if (after.empty() || offset > overlay_.size() || after.size() > overlay_.size() - offset) return {};
  auto before = bytes(offset, after.size());
  const auto first = std::ranges::mismatch(before, after).in1 - before.begin();
  if (static_cast<std::size_t>(first) == before.size()) return {};
  std::size_t end = after.size();
  while (before[end - 1] == after[end - 1]) --end;
  before.resize(end);
  before.erase(before.begin(), before.begin() + first);
  after = after.subspan(static_cast<std::size_t>(first), before.size());
  offset += static_cast<std::uint64_t>(first);
  const auto stays = [&](std::uint64_t word) { return word < offset + after.size() && offset < word + 8; };
  if (std::ranges::any_of(kept_entries_, stays)) return {};
  if (auto done = overlay_.write(offset, after); !done) return done;
  ++writes_;
  ++action.changes;
  action.bytes += after.size();
  if (action.first_changes.size() < Action::most_changes) {
    const auto shown = static_cast<std::ptrdiff_t>(std::min(after.size(), Change::most_shown));
    action.first_changes.push_back({.offset = offset,
                                    .length = after.size(),
                                    .before = {before.begin(), before.begin() + shown},
                                    .after = {after.begin(), after.begin() + shown}});
  }
  return {};
}

base::Result<void> Draft::put_word(Action& action, std::uint64_t offset, std::uint64_t word) {
  std::array<std::byte, 8> bytes{};
  base::store_be<std::uint64_t, 0>(std::span(bytes), word);
  return put(action, offset, bytes);
}

base::Result<void> Draft::resize(Action& action, std::uint64_t size) {
  ++action.changes;
  ++writes_;
  return overlay_.resize(size);
}

base::Result<void> Draft::copy(Action& action, std::uint64_t from, std::uint64_t to, std::uint64_t length) {
  return put(action, to, bytes(from, length));
}

base::Result<void> Draft::adopt(const Draft& other) {
  constexpr std::uint64_t chunk = 1ULL << 20;
  const auto& from = other.overlay_;
  if (auto done = overlay_.resize(from.size()); !done) return done;
  for (const auto& range : from.changes())
    for (std::uint64_t at = range.begin; at < range.end; at += chunk)
      if (auto done = overlay_.write(at, other.bytes(at, std::min(chunk, range.end - at))); !done)
        return done;
  named_.insert(named_.end(), other.named_.begin(), other.named_.end());
  ++writes_;
  return {};
}

// Pointers that lead past the end of the file: growing the file would make them lead to what lies there then.
void Draft::look_for_dangling() {
  dangling_.clear();
  dangling_complete_ = true;
  if (!verdict_.geometry) return;
  const auto note = [&](const Finding& f, std::uint64_t begin, std::uint64_t length) {
    if (begin + length > overlay_.size()) dangling_.push_back({begin, begin + length, f.rule});
  };
  static const findings::RuleId by_word[] = {"l1/entry-past-eof"_rule, "l2/past-eof"_rule,
                                             "extl2/subcluster-past-eof"_rule, "bitmap/data-past-eof"_rule,
                                             "compressed/range-past-eof"_rule};
  for (const auto rule : by_word) {
    const auto findings = found(rule);
    if (verdict_.summary.of(rule).findings != findings.size()) dangling_complete_ = false;
    for (const auto& f : findings)
      if (const auto* word = std::get_if<std::uint64_t>(&f.actual.v))
        note(f, *word & format::entry_offset_mask & ~(geometry().cluster_size() - 1),
             f.count * geometry().cluster_size() + geometry().cluster_size());
  }
  // How far an encryption header would go is not told: then nothing behind the end is sure.
  for (const auto rule : {"crypt/header-length-max"_rule, "crypt/header-offset"_rule})
    if (any(rule)) dangling_complete_ = false;
  static const findings::RuleId by_host[] = {"l1/table-past-eof"_rule, "l1/entry-partial-eof"_rule,
                                             "bitmap/directory-past-eof"_rule, "bitmap/table-past-eof"_rule,
                                             "snapshot/table-past-eof"_rule};
  for (const auto rule : by_host)
    for (const auto& f : found(rule))
      if (f.host) note(f, f.host->begin.raw(), std::max(f.host->length, geometry().cluster_size()));
}

// Clusters that two claim, one of which may be a table.
void Draft::look_for_contested() {
  contested_.clear();
  no_tables_.clear();
  if (!verdict_.geometry) return;
  static const findings::RuleId by_host[] = {
      "l2/points-at-metadata"_rule,    "compressed/overlaps-metadata"_rule, "overlap/active-l1"_rule,
      "overlap/refcount-table"_rule,   "overlap/snapshot-table"_rule,       "overlap/snapshot-l1"_rule,
      "overlap/bitmap-directory"_rule, "overlap/bitmap-table"_rule,         "refcount/block-overlap"_rule};
  const auto note = [&](std::uint64_t begin, std::uint64_t length) {
    constexpr std::uint64_t most = 1U << 12;  // clusters of one finding
    const std::uint64_t first = begin >> geometry().cluster_bits();
    const std::uint64_t last = (begin + std::max<std::uint64_t>(length, 1) - 1) >> geometry().cluster_bits();
    for (std::uint64_t c = first; c <= last && c - first < most; ++c) contested_.insert(c);
  };
  for (const auto& f : found("l1/points-at-metadata"_rule))
    if (const auto place = entry(f.where))
      no_tables_.insert((word(place->offset) & format::entry_offset_mask) >> geometry().cluster_bits());
  for (const auto rule : by_host)
    for (const auto& f : found(rule))
      if (f.host) note(f.host->begin.raw(), f.host->length);
}

bool Draft::contested(const EntryPlace& place) const {
  const auto& g = geometry();
  const std::uint64_t cluster = place.offset >> g.cluster_bits();
  if (!place.l1 && no_tables_.contains(cluster)) return true;
  if (!contested_.contains(cluster)) return false;
  const base::HostOffset begin{cluster << g.cluster_bits()};
  if (place.l1) return !l1_looks(overlay_, g, begin, g.cluster_size() / 8).is_one();
  return !l2_looks(bytes(begin.raw(), g.cluster_size()), g, overlay_.size()).is_one();
}

std::optional<std::uint64_t> Draft::take(std::uint64_t clusters, std::optional<findings::RuleId> replaced) {
  const auto& g = geometry();
  const std::uint64_t begin = room_begins(), end = begin + clusters * g.cluster_size();
  if (!dangling_complete_) return std::nullopt;
  for (const auto& pointer : dangling_)
    if (pointer.begin < end && begin < pointer.end && (!replaced || pointer.rule != *replaced))
      return std::nullopt;
  if (end > format::entry_offset_mask) return std::nullopt;
  if (overlay_.is_block_device()) {
    if (begin == 0 || end > overlay_.size() || !reads_as_zeros(begin, end)) return std::nullopt;
    taken_until_ = end;
  } else if (!overlay_.resize(end)) {
    return std::nullopt;
  }
  return begin;
}

std::uint64_t Draft::room_begins() const {
  const auto& g = geometry();
  const std::uint64_t end = overlay_.is_block_device()
                                ? std::max(taken_until_, verdict_.statistics.image_end_offset)
                                : overlay_.size();
  return base::divide_up(end, g.cluster_size()) * g.cluster_size();
}

std::string Draft::why_no_room() const {
  return overlay_.is_block_device()
             ? "the device has no such room behind the image that is zeros: copy the image to a file"
             : "there is no room for it while pointers lead past the end of the file";
}

bool Draft::reads_as_zeros(std::uint64_t begin, std::uint64_t end) const {
  constexpr std::uint64_t step = 1U << 20;
  for (; begin < end; begin += step)
    if (!base::all_zero(bytes(begin, std::min(step, end - begin)))) return false;
  return true;
}

bool Draft::spared(std::uint64_t first_cluster, std::uint64_t count) const {
  const auto kept = kept_.lower_bound(first_cluster);
  if (kept != kept_.end() && *kept - first_cluster < count) return true;
  return std::ranges::any_of(spared_, [&](const auto& range) {
    return range.first < first_cluster + count && first_cluster < range.first + range.second;
  });
}

bool Draft::abandoned(std::uint64_t l1) const {
  return std::ranges::find(abandoned_, l1) != abandoned_.end();
}

bool Draft::awaits(std::uint64_t entry_offset) const {
  return std::ranges::find(awaited_, entry_offset) != awaited_.end();
}

namespace {

// Takes "[123]" from the front of `text`.
std::optional<std::uint64_t> take_index(std::string_view& text) {
  std::uint64_t value = 0;
  if (!text.starts_with('[')) return std::nullopt;
  const auto end = text.find(']');
  if (end == std::string_view::npos) return std::nullopt;
  if (const auto [p, error] = std::from_chars(text.data() + 1, text.data() + end, value);
      error != std::errc{} || p != text.data() + end)
    return std::nullopt;
  text.remove_prefix(end + 1);
  return value;
}

}  // namespace

std::optional<std::size_t> index_in(const Finding& finding, std::string_view what) {
  std::string_view where = finding.where;
  if (!where.starts_with(what)) return std::nullopt;
  where.remove_prefix(what.size());
  return take_index(where);
}

const std::vector<Draft::SnapshotL1>& Draft::snapshot_l1_tables() const {
  const auto& fields = header().v2;
  const SnapshotList now{writes_, overlay_.size(), fields.snapshots_offset.raw(), fields.nb_snapshots};
  if (snapshots_read_ != now) {
    snapshot_l1_tables_.clear();
    for (const auto& s : analyzer::read_snapshots(overlay_, header()))
      snapshot_l1_tables_.push_back({s.entry.l1_table_offset.raw(), s.entry.l1_size});
    snapshots_read_ = now;
  }
  return snapshot_l1_tables_;
}

std::optional<EntryPlace> Draft::entry(std::string_view where) const {
  if (!verdict_.geometry || !verdict_.header) return std::nullopt;
  const auto& g = geometry();
  std::uint64_t l1 = header().v2.l1_table_offset.raw();
  std::uint64_t entries = header().v2.l1_size;
  constexpr std::string_view snapshot = "snapshot", l1_name = "l1", l2_name = ".l2";
  if (where.starts_with(snapshot)) {
    where.remove_prefix(snapshot.size());
    const auto index = take_index(where);
    const auto& snapshots = snapshot_l1_tables();
    if (!index || *index >= snapshots.size() || !where.starts_with('.')) return std::nullopt;
    where.remove_prefix(1);
    l1 = snapshots[static_cast<std::size_t>(*index)].offset;
    entries = snapshots[static_cast<std::size_t>(*index)].entries;
  }
  if (!where.starts_with(l1_name)) return std::nullopt;
  where.remove_prefix(l1_name.size());
  const auto l1_index = take_index(where);
  if (!l1_index || *l1_index >= entries) return std::nullopt;
  const std::uint64_t size = overlay_.size();
  if (l1 == 0 || !g.aligned(base::HostOffset{l1}) || l1 >= size || *l1_index >= (size - l1) / 8)
    return std::nullopt;
  EntryPlace place{.offset = l1 + *l1_index * 8, .l1 = true, .l1_index = *l1_index, .table = l1};
  if (!where.starts_with(l2_name)) return place;
  where.remove_prefix(l2_name.size());
  const auto l2_index = take_index(where);
  if (!l2_index || *l2_index >= g.l2_entries()) return std::nullopt;
  const std::uint64_t table = word(place.offset) & format::entry_offset_mask;
  place = {.offset = table + *l2_index * g.l2_entry_size(),
           .l1 = false,
           .l1_index = *l1_index,
           .l2_index = *l2_index,
           .table = table};
  if (table == 0 || place.offset + g.l2_entry_size() > size) return std::nullopt;
  return place;
}

}  // namespace cowvet::repair
