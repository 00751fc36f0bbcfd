// Writing data. A write is cut at L2 tables, then into runs of clusters that are treated alike: those written
// where they are, those replaced whole by new ones, and single ones of which some content must be copied
// first.
#include "engine/cluster_writer.hpp"

#include <algorithm>
#include <bit>

#include <fmt/format.h>

namespace cowvet::engine {

namespace {

using format::limits::sector;

// Bits [first, end) of a mask.
std::uint32_t bits(std::uint64_t first, std::uint64_t end) {
  const std::uint64_t below_end = end >= 64 ? ~0ULL : (1ULL << end) - 1;
  return static_cast<std::uint32_t>(below_end & ~((1ULL << first) - 1));
}

}  // namespace

base::Result<ClusterWriter::Place> ClusterWriter::place(const TablePointer& table, std::uint64_t at) const {
  const auto& g = rules_.geometry;
  Place p{table, (at >> g.cluster_bits()) & (g.l2_entries() - 1), at & ~(g.cluster_size() - 1), {}};
  p.slot = rules_.load(*table, p.index);
  auto wrong = rules_.fault(p.slot, p.guest);
  if (wrong.empty()) wrong = rules_.doubt(p.slot);
  if (wrong.empty() && changes_.holds_metadata(changes_.owned_by(p.slot)))
    wrong = "its host cluster holds metadata";
  if (!wrong.empty())
    return base::fail(
        base::ErrorKind::io,
        fmt::format("guest offset {:#x} can't be changed: {}; run cowvet check", p.guest, wrong));
  return p;
}

std::uint32_t ClusterWriter::touched(std::uint64_t at, std::uint64_t length) const {
  const std::uint64_t within = at & (rules_.geometry.cluster_size() - 1);
  return bits(within / rules_.piece_size(), (within + length - 1) / rules_.piece_size() + 1);
}

// Nothing of the old content is needed, and the place is this mapping's own.
bool ClusterWriter::in_place(const Place& p, std::uint64_t at, std::uint64_t length) const {
  if (!is_private(p.slot)) return false;
  // Only the first and the last piece can be touched in part.
  const std::uint64_t size = rules_.piece_size();
  const std::uint32_t in_part =
      (at % size != 0 ? touched(at, 1) : 0) | ((at + length) % size != 0 ? touched(at + length - 1, 1) : 0);
  return (in_part & ~rules_.data(p.slot)) == 0;
}

base::Result<void> ClusterWriter::write(std::uint64_t at, base::ConstBytes bytes, const Area& area) {
  const auto& g = rules_.geometry;
  while (!bytes.empty()) {
    if (auto done = changes_.relieve(); !done) return done;
    const auto table = changes_.l2(at / g.span());
    if (!table) return std::unexpected(table.error());
    const auto p = place(*table, at);
    if (!p) return std::unexpected(p.error());
    const auto part = bytes.first(
        static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), g.span() - at % g.span())));
    const std::uint64_t here = std::min<std::uint64_t>(part.size(), p->guest + g.cluster_size() - at);
    const auto written = in_place(*p, at, here) ? write_in_place(*p, at, part, area)
                         : here == g.cluster_size()
                             ? write_whole(*p, part, area)
                             : write_part(*p, at, part.first(static_cast<std::size_t>(here)), area);
    if (!written) return std::unexpected(written.error());
    at += *written;
    bytes = bytes.subspan(static_cast<std::size_t>(*written));
  }
  return {};
}

base::Result<std::uint64_t> ClusterWriter::write_in_place(const Place& first, std::uint64_t at,
                                                          base::ConstBytes bytes, const Area& area) {
  const std::uint64_t cs = rules_.geometry.cluster_size();
  const std::uint64_t host = rules_.host(first.slot)->raw();
  // How far the host clusters follow each other, and need no more than being written.
  std::uint64_t length = std::min<std::uint64_t>(bytes.size(), first.guest + cs - at);
  std::vector<Place> places{first};
  while (length < bytes.size()) {
    const auto next = place(first.table, at + length);
    if (!next) break;
    const std::uint64_t here = std::min<std::uint64_t>(bytes.size() - length, cs);
    if (!in_place(*next, next->guest, here) ||
        rules_.host(next->slot)->raw() != host + (next->guest - first.guest))
      break;
    places.push_back(*next);
    length += here;
  }
  if (auto done = store(at, host + (at - first.guest), bytes.first(static_cast<std::size_t>(length)), area);
      !done)
    return std::unexpected(done.error());
  for (const auto& p : places) {
    const std::uint64_t begin = std::max(at, p.guest);
    const auto mask = touched(begin, std::min(at + length, p.guest + cs) - begin);
    if ((rules_.data(p.slot) & mask) == mask) continue;
    changes_.set_slot(p.table, p.index,
                      data_slot(*rules_.host(p.slot), rules_.data(p.slot) | mask, rules_.zero(p.slot) & ~mask,
                                rules_.geometry.extended_l2()));
  }
  return length;
}

base::Result<std::uint64_t> ClusterWriter::write_whole(const Place& first, base::ConstBytes bytes,
                                                       const Area& area) {
  const std::uint64_t cs = rules_.geometry.cluster_size();
  std::vector<Place> places{first};
  while ((places.size() + 1) * cs <= bytes.size()) {
    const auto next = place(first.table, first.guest + places.size() * cs);
    if (!next || is_private(next->slot)) break;
    places.push_back(*next);
  }
  const auto run = hosts(first.guest, places.size());
  if (!run) return std::unexpected(run.error());
  const std::uint64_t host = run->first * cs;
  const std::uint64_t length = run->count * cs;
  if (auto done = store(first.guest, host, bytes.first(static_cast<std::size_t>(length)), area); !done) {
    give_back(*run);
    return std::unexpected(done.error());
  }
  for (std::uint64_t i = 0; i < run->count; ++i) {
    const auto& p = places[static_cast<std::size_t>(i)];
    changes_.set_slot(
        p.table, p.index,
        data_slot(base::HostOffset{host + i * cs}, rules_.all(), 0, rules_.geometry.extended_l2()));
    changes_.release(p.slot);
  }
  return length;
}

base::Result<std::uint64_t> ClusterWriter::write_part(const Place& p, std::uint64_t at,
                                                      base::ConstBytes bytes, const Area& area) {
  const std::uint64_t cs = rules_.geometry.cluster_size();
  const std::uint64_t size = rules_.piece_size();
  const bool moves = !is_private(p.slot);
  const auto asked = touched(at, bytes.size());
  // All pieces to be written: what is asked for, and what moves to the new cluster along with it.
  const std::uint32_t pieces = asked | (!moves                      ? 0
                                        : p.slot.entry.compressed() ? rules_.all()
                                                                    : rules_.data(p.slot));
  const auto first_piece = static_cast<std::uint64_t>(std::countr_zero(pieces));
  const auto end_piece = static_cast<std::uint64_t>(std::bit_width(pieces));
  const std::uint64_t begin = p.guest + first_piece * size;
  std::vector<std::byte> content(static_cast<std::size_t>((end_piece - first_piece) * size));
  const auto put = [&](std::uint64_t from, std::uint64_t end) -> base::Result<void> {  // old content
    end = std::min(end, std::max(from, area.end));
    if (from >= end) return {};
    return image_.active.read(from,
                              base::MutableBytes(content).subspan(static_cast<std::size_t>(from - begin),
                                                                  static_cast<std::size_t>(end - from)),
                              area.visible);
  };
  for (auto i = first_piece; i < end_piece; ++i) {
    if ((pieces >> i & 1) == 0) continue;
    const std::uint64_t from = p.guest + i * size;
    const std::uint64_t end = from + size;
    const bool written = (asked >> i & 1) != 0;
    if (auto done = put(from, written ? std::clamp(at, from, end) : end); !done)
      return std::unexpected(done.error());
    if (written)
      if (auto done = put(std::clamp(at + bytes.size(), from, end), end); !done)
        return std::unexpected(done.error());
  }
  std::ranges::copy(bytes, content.begin() + static_cast<std::ptrdiff_t>(at - begin));

  Clusters run{};
  std::uint64_t host = 0;
  if (moves) {
    const auto found = hosts(p.guest, 1);
    if (!found) return std::unexpected(found.error());
    run = *found;
    host = run.first * cs;
  } else {
    host = rules_.host(p.slot)->raw();
  }
  // Behind the file's end there are zeros: those around the bytes need not be written.
  const auto before = base::ConstBytes(content).first(static_cast<std::size_t>(at - begin));
  const auto after = base::ConstBytes(content).subspan(before.size() + bytes.size());
  const bool alone = moves && !rules_.data_file && image_.reading.crypt == format::CryptMethod::none &&
                     !image_.file.device().is_block_device() && host >= image_.file.size() &&
                     base::all_zero(before) && base::all_zero(after);
  const auto put_pieces = [&]() -> base::Result<void> {
    if (alone) {
      auto done = store(at, host + (at - p.guest), bytes, area);
      return done ? cover(host + cs) : done;
    }
    for (auto i = first_piece; i < end_piece;) {
      if ((pieces >> i & 1) == 0) {
        ++i;
        continue;
      }
      auto end = i;
      while (end < end_piece && (pieces >> end & 1) != 0) ++end;
      const auto part = base::ConstBytes(content).subspan(static_cast<std::size_t>((i - first_piece) * size),
                                                          static_cast<std::size_t>((end - i) * size));
      if (auto done = store(p.guest + i * size, host + i * size, part, area); !done) return done;
      i = end;
    }
    return cover(host + cs);
  };
  if (auto done = put_pieces(); !done) {
    if (moves) give_back(run);
    return std::unexpected(done.error());
  }
  const auto data = p.slot.entry.compressed() ? 0 : rules_.data(p.slot);
  const auto zero = p.slot.entry.compressed() ? 0 : rules_.zero(p.slot);
  changes_.set_slot(
      p.table, p.index,
      data_slot(base::HostOffset{host}, data | pieces, zero & ~pieces, rules_.geometry.extended_l2()));
  if (moves) changes_.release(p.slot);
  return bytes.size();
}

base::Result<Clusters> ClusterWriter::hosts(std::uint64_t guest, std::uint64_t most) {
  // In an external data file every guest cluster has its place.
  if (rules_.data_file) return Clusters{guest >> rules_.geometry.cluster_bits(), most};
  return changes_.allocate(most);
}

// Clusters that nothing came to use.
void ClusterWriter::give_back(Clusters clusters) {
  if (!rules_.data_file) (void)changes_.refcounts().lower(clusters);  // at worst they are leaked
}

base::Result<void> ClusterWriter::store(std::uint64_t guest, std::uint64_t host, base::ConstBytes bytes,
                                        const Area& area) {
  Medium* medium = image_.data_medium();
  if (medium == nullptr)
    return base::fail(base::ErrorKind::usage,
                      "the image keeps its data in another file, which was not opened");
  // An external data file ends where the disk ends.
  if (rules_.data_file && guest + bytes.size() > area.end)
    bytes = bytes.first(static_cast<std::size_t>(area.end > guest ? area.end - guest : 0));
  if (image_.reading.crypt == format::CryptMethod::none) return medium->write(host, bytes);
  if (image_.reading.cipher == nullptr)
    return base::fail(base::ErrorKind::usage, "the image is encrypted: its secret is needed to write data");

  // Whole sectors are encrypted: the rest of a cut one is read first.
  const std::uint64_t before = guest % sector;
  const std::uint64_t end = (guest + bytes.size() + sector - 1) / sector * sector;
  std::vector<std::byte> secret(static_cast<std::size_t>(end - (guest - before)));
  for (const std::uint64_t cut : {guest - before, end - sector})
    if ((cut == guest - before && before != 0) || (cut == end - sector && guest + bytes.size() != end))
      if (auto done = image_.active.read(
              cut,
              base::MutableBytes(secret).subspan(static_cast<std::size_t>(cut - (guest - before)), sector),
              area.visible);
          !done)
        return done;
  std::ranges::copy(bytes, secret.begin() + static_cast<std::ptrdiff_t>(before));
  if (auto done = image_.reading.cipher->encrypt(
          cipher_sector(image_.reading.crypt, guest - before, host - before), secret);
      !done)
    return done;
  return medium->write(host - before, secret);
}

// A cluster lies in the file whole, so that whoever reads it finds it.
base::Result<void> ClusterWriter::cover(std::uint64_t host_end) {
  return rules_.data_file ? base::Result<void>{} : image_.file.reach(host_end);
}

base::Result<void> ClusterWriter::write_stream(std::uint64_t at, base::ConstBytes stream) {
  const auto& g = rules_.geometry;
  if (auto done = changes_.relieve(); !done) return done;
  const auto table = changes_.l2(at / g.span());
  if (!table) return std::unexpected(table.error());
  const auto p = place(*table, at);
  if (!p) return std::unexpected(p.error());
  const auto host = changes_.refcounts().allocate_stream(stream.size());
  if (!host) return std::unexpected(host.error());
  const std::uint64_t last_sector = (host->raw() + stream.size() - 1) / sector;
  const format::CompressedRange range{*host, last_sector - host->raw() / sector};
  const Slot slot{g.compressed_entry(range), {}};
  base::Result<void> done;
  if (host->raw() >> std::min(g.compressed_shift(), 56U) != 0)
    done = base::fail(base::ErrorKind::limit, "the image file is too large for compressed clusters");
  image_.streams.forget();
  if (done) done = image_.file.write(host->raw(), stream);
  if (done) done = cover((last_sector * sector / g.cluster_size() + 1) * g.cluster_size());
  if (!done) {
    give_back(changes_.owned_by(slot));
    return done;
  }
  changes_.set_slot(p->table, p->index, slot);
  changes_.release(p->slot);
  return {};
}

}  // namespace cowvet::engine
