// Zeroing, discarding and unmapping. What the format can say in an entry is said there; zeros are written only where it
// can't: parts of clusters, version 2, a raw external data file.
#include <algorithm>

#include "engine/cluster_writer.hpp"

namespace cowvet::engine {

namespace {

std::uint64_t round_down(std::uint64_t a, std::uint64_t unit) { return a & ~(unit - 1); }
std::uint64_t round_up(std::uint64_t a, std::uint64_t unit) { return round_down(a + unit - 1, unit); }

}  // namespace

base::Result<void> ClusterWriter::write_zeros(std::uint64_t at, std::uint64_t length, const Area& area) {
  const auto zero = image_.active.known_zero(at, length, area.visible);
  if (!zero) return std::unexpected(zero.error());
  if (*zero && !image_.fields().raw_external_data()) return {};
  // Cut at multiples of a large size, so that whole clusters stay whole.
  const std::uint64_t unit = std::max<std::uint64_t>(1ULL << 20, rules_.geometry.cluster_size());
  const std::vector<std::byte> zeros(static_cast<std::size_t>(std::min(length, unit)));
  while (length != 0) {
    const std::uint64_t most = std::min<std::uint64_t>({length, unit - at % unit, zeros.size()});
    const auto part = base::ConstBytes(zeros).first(static_cast<std::size_t>(most));
    if (auto done = write(at, part, area); !done) return done;
    at += part.size();
    length -= part.size();
  }
  return {};
}

base::Result<void> ClusterWriter::zero(std::uint64_t at, std::uint64_t length, Unmap unmap,
                                       const Area& area) {
  const std::uint64_t cs = rules_.geometry.cluster_size();
  const std::uint64_t end = at + length;
  if (image_.fields().raw_external_data()) return write_zeros(at, length, area);
  const std::uint64_t unit = rules_.piece_size();
  const std::uint64_t first = round_up(at, unit);
  // The disk may end within a cluster: nothing behind its end is lost.
  const std::uint64_t last = end == area.end ? round_up(end, cs) : round_down(end, unit);
  if (first >= last) return write_zeros(at, length, area);
  if (at != first)
    if (auto done = write_zeros(at, first - at, area); !done) return done;
  if (end > last)
    if (auto done = write_zeros(last, end - last, area); !done) return done;

  // Whole pieces from here on; whole clusters in the middle.
  const std::uint64_t whole_first = std::min(round_up(first, cs), last);
  const std::uint64_t whole_last = std::max(round_down(last, cs), whole_first);
  if (!rules_.zero_flag) {
    if (unmap == Unmap::yes && !image_.names_backing()) return give_up(whole_first, whole_last);
    return write_zeros(first, std::min(last, area.end) - first, area);
  }
  if (first < whole_first)
    if (auto done = zero_pieces(first, whole_first - first, area); !done) return done;
  if (whole_last < last)
    if (auto done = zero_pieces(whole_last, last - whole_last, area); !done) return done;
  return zero_clusters(whole_first, whole_last, unmap);
}

base::Result<void> ClusterWriter::zero_clusters(std::uint64_t at, std::uint64_t end, Unmap unmap) {
  const auto& g = rules_.geometry;
  while (at < end) {
    if (auto done = changes_.relieve(); !done) return done;
    const auto table = changes_.l2(at / g.span());
    if (!table) return std::unexpected(table.error());
    const std::uint64_t stop = std::min(end, (at / g.span() + 1) * g.span());
    for (; at < stop; at += g.cluster_size()) {
      const auto p = place(*table, at);
      if (!p) return std::unexpected(p.error());
      Slot next = zero_slot(g.extended_l2());
      const bool keeps = unmap == Unmap::no && is_private(p->slot);
      if (keeps) next.entry.word |= rules_.host(p->slot)->raw() | format::copied_flag;
      if (next == p->slot) continue;
      changes_.set_slot(*table, p->index, next);
      if (!keeps) changes_.release(p->slot);
    }
  }
  return {};
}

// Some pieces of one cluster, with extended entries.
base::Result<void> ClusterWriter::zero_pieces(std::uint64_t at, std::uint64_t length, const Area& area) {
  if (auto done = changes_.relieve(); !done) return done;
  const auto table = changes_.l2(at / rules_.geometry.span());
  if (!table) return std::unexpected(table.error());
  const auto p = place(*table, at);
  if (!p) return std::unexpected(p.error());
  if (p->slot.entry.compressed()) return write_zeros(at, length, area);
  const auto mask = touched(at, length);
  const auto data = rules_.data(p->slot) & ~mask;
  Slot next{p->slot.entry, {std::uint64_t{rules_.zero(p->slot) | mask} << 32 | data}};
  if (data == 0 && !is_private(p->slot)) {
    next.entry.word = 0;
    changes_.release(p->slot);
  }
  if (next != p->slot) changes_.set_slot(*table, p->index, next);
  return {};
}

base::Result<void> ClusterWriter::discard(std::uint64_t at, std::uint64_t length, const Area& area) {
  const auto& g = rules_.geometry;
  const std::uint64_t cs = g.cluster_size();
  const std::uint64_t end = at + length == area.end ? round_up(area.end, cs) : round_down(at + length, cs);
  at = round_up(at, cs);
  if (at >= end) return {};
  const bool shows_below = image_.names_backing();
  if (image_.fields().raw_external_data() || (!rules_.zero_flag && shows_below))
    return write_zeros(at, std::min(end, area.end) - at, area);
  if (!rules_.zero_flag) return give_up(at, end);
  // Only what reads as something else than zeros, or takes space, is touched.
  while (at < end) {
    const auto run = image_.active.extent(at, end - at);
    if (!run) return std::unexpected(run.error());
    const std::uint64_t stop = std::min(end, round_up(at + run->length, cs));
    const bool idle =
        !run->host && !run->data && (run->zero || !shows_below) && round_down(at + run->length, cs) > at;
    if (idle) {
      at = round_down(at + run->length, cs);
      continue;
    }
    if (auto done = zero_clusters(at, stop, Unmap::yes); !done) return done;
    at = stop;
  }
  return {};
}

base::Result<void> ClusterWriter::give_up(std::uint64_t from, std::uint64_t end) {
  const auto& g = rules_.geometry;
  std::vector<std::uint64_t> emptied;  // L1 entries of tables that become superfluous
  for (std::uint64_t at = round_up(from, g.cluster_size()); at < end;) {
    if (auto done = changes_.relieve(); !done) return done;
    const std::uint64_t index = at / g.span();
    if (index >= image_.l1.size()) break;
    const std::uint64_t stop = std::min(end, (index + 1) * g.span());
    const format::L1Entry entry{image_.l1[static_cast<std::size_t>(index)]};
    if (entry.offset().raw() == 0) {
      at = stop;
      continue;
    }
    const bool whole = at % g.span() == 0 && stop % g.span() == 0;
    // It is emptied first, so that it is no orphan with content; a shared one as a copy, since its entry
    // would look lost.
    const auto table = changes_.l2(index);
    if (!table) return std::unexpected(table.error());
    // All are looked at before one is given up: a table is unlinked whole or not at all.
    std::vector<Place> places;
    for (; at < stop; at += g.cluster_size()) {
      const auto p = place(*table, at);
      if (!p) return std::unexpected(p.error());
      if (p->slot != Slot{}) places.push_back(*p);
    }
    for (const auto& p : places) {
      changes_.release(p.slot);
      changes_.set_slot(*table, p.index, {});
    }
    if (whole) emptied.push_back(index);
  }
  if (emptied.empty()) return {};
  if (auto done = changes_.commit(); !done) return done;
  for (const auto index : emptied) changes_.drop_l2(index);
  return {};
}

base::Result<void> ClusterWriter::preallocate(std::uint64_t from, std::uint64_t end, Preallocation mode,
                                              base::Progress* progress) {
  const auto& g = rules_.geometry;
  const std::uint64_t cs = g.cluster_size();
  const bool encrypted = image_.reading.crypt != format::CryptMethod::none;
  base::Progress unseen;
  base::Progress& seen = progress != nullptr ? *progress : unseen;
  seen.expect(end - from);
  for (std::uint64_t at = round_up(from, cs); at < end;) {
    if (auto done = changes_.relieve(); !done) return done;
    const auto table = changes_.l2(at / g.span());
    if (!table) return std::unexpected(table.error());
    const std::uint64_t stop = std::min(round_up(end, cs), (at / g.span() + 1) * g.span());
    std::vector<Place> places;
    for (; at < stop; at += cs) {
      const auto p = place(*table, at);
      if (!p) return std::unexpected(p.error());
      const bool free = !rules_.host(p->slot) && !p->slot.entry.compressed();
      if (free) places.push_back(*p);
      if (!free && !places.empty()) break;
    }
    if (places.empty()) continue;
    if (seen.stop_requested()) return base::fail(base::ErrorKind::cancelled, "stopped");
    const std::uint64_t count = places.size();
    const auto run =
        rules_.data_file ? Clusters{places.front().guest / cs, count} : changes_.allocate_all(count, true);
    if (!run) return std::unexpected(run.error());
    // Behind the end there are zeros; ciphertext of zeros there is not.
    const bool written = mode == Preallocation::full || image_.file.device().is_block_device() ||
                         rules_.data_file || (encrypted && !rules_.zero_flag);
    const std::vector<std::byte> cluster(written ? static_cast<std::size_t>(cs) : 0);
    base::Result<void> done;
    for (std::uint64_t i = 0; i < count && written && done; ++i) {
      done = seen.stop_requested()
                 ? base::fail(base::ErrorKind::cancelled, "stopped")
                 : store(places[static_cast<std::size_t>(i)].guest, (run->first + i) * cs, cluster, {end, 0});
      seen.advance(cs);
    }
    if (done && !written && mode == Preallocation::falloc)
      done = image_.file.preallocate(run->first * cs, count * cs);
    if (done) done = cover(run->end() * cs);
    if (!done) {
      give_back(*run);
      return done;
    }
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto& p = places[static_cast<std::size_t>(i)];
      Slot slot = data_slot(base::HostOffset{(run->first + i) * cs}, rules_.all(), 0, g.extended_l2());
      if (encrypted && !written) {
        slot = zero_slot(g.extended_l2());
        slot.entry.word |= (run->first + i) * cs | format::copied_flag;
      }
      changes_.set_slot(*table, p.index, slot);
    }
  }
  return {};
}

}  // namespace cowvet::engine
