#include "repair/walk.hpp"

#include <algorithm>
#include <bit>

#include "base/checked.hpp"

namespace cowvet::repair {

namespace {
constexpr std::uint64_t l1_window = 8192;  // entries read at once
using Kind = Piece::Kind;
}  // namespace

void Walk::Table::load(const storage::Device& device, std::uint64_t offset, std::uint64_t length) {
  bytes.resize(static_cast<std::size_t>(length));
  const auto got = device.read(offset, bytes);
  valid = got.valid;
  bad_begin = got.os_error != 0 ? got.bad_begin : 0;
  bad_end = got.os_error != 0 ? got.bad_end : 0;
}

std::uint64_t Walk::Table::word(std::uint64_t at) const {
  return base::BigEndianTable<std::uint64_t>(bytes)[static_cast<std::size_t>(at / 8)];
}

// A word of the layer's L1 table, read in windows.
Walk::Entry Walk::l1_entry(std::uint64_t index) {
  if (!layer_.damage.empty()) return {std::nullopt, layer_.damage};
  if (index >= layer_.l1_entries) return {std::nullopt, "the L1 table is too short for the disk"};
  if (l1_.bytes.empty() || index < l1_first_ || index - l1_first_ >= l1_.bytes.size() / 8) {
    l1_.load(view_.device_, base::saturating_add(layer_.l1.raw(), index * 8),
             std::min(l1_window, layer_.l1_entries - index) * 8);
    l1_first_ = index;
  }
  const std::uint64_t at = (index - l1_first_) * 8;
  if (l1_.cut(at, 8)) return {std::nullopt, "the L1 table lies behind the end of the file"};
  if (l1_.failed(at, 8)) return {std::nullopt, "the L1 table can't be read"};
  return {l1_.word(at), {}};
}

std::optional<format::L1Entry> Walk::table_ahead() {
  const std::uint64_t span = view_.geometry_.span();
  if (at_ >= layer_.end || at_ % span != 0) return std::nullopt;
  const auto entry = l1_entry(at_ / span);
  if (!entry.word || format::L1Entry{*entry.word}.offset().raw() == 0) return std::nullopt;
  return format::L1Entry{*entry.word};
}

void Walk::skip_table() {
  const std::uint64_t span = view_.geometry_.span();
  at_ = std::min(layer_.end, base::saturating_mul(at_ / span + 1, span));
}

std::optional<Piece> Walk::next() {
  if (at_ >= layer_.end) return std::nullopt;
  const std::uint64_t span = view_.geometry_.span();
  Piece piece = raw();
  at_ = piece.end();
  while (at_ < layer_.end && at_ % span != 0) {
    const Piece following = raw();
    if (!continues(piece, following)) break;
    piece.length += following.length;
    at_ = following.end();
  }
  piece.length = std::min(piece.length, layer_.end - piece.begin);
  at_ = std::min(at_, layer_.end);
  judge_place(piece);
  return piece;
}

// What the metadata says of the bytes from at_ on, up to the end of its entry at most, or of a hole of the L1 table.
Piece Walk::raw() {
  const auto& g = view_.geometry_;
  const std::uint64_t index = at_ / g.span();
  if (loaded_ != index) {
    if (auto piece = without_table(index)) return *piece;
    loaded_ = index;
  }
  const std::uint64_t cluster = at_ & ~(g.cluster_size() - 1);
  const std::uint64_t number = (at_ >> g.cluster_bits()) & (g.l2_entries() - 1);
  const std::uint64_t place = number * g.l2_entry_size();
  const Piece whole{.begin = at_, .length = cluster + g.cluster_size() - at_, .kind = Kind::lost};
  if (l2_.cut(place, g.l2_entry_size())) return lost(whole, "its L2 table reaches over the end of the file");
  if (l2_.failed(place, g.l2_entry_size())) return lost(whole, "its L2 table can't be read");
  const format::L2Entry entry{l2_.word(place)};
  const format::Subclusters bits{g.extended_l2() ? l2_.word(place + 8) : 0};
  auto piece = entry.compressed() ? stream(whole, entry, bits)
               : g.extended_l2()  ? extended(whole, entry, bits)
                                  : standard(whole, entry);
  if (piece.why.empty()) piece.why = table_doubt_;
  return piece;
}

// A piece that no L2 table has a say in; otherwise the table is loaded.
std::optional<Piece> Walk::without_table(std::uint64_t index) {
  const auto& g = view_.geometry_;
  const auto up_to = [&](std::uint64_t end, Kind kind, std::string_view why) {
    return Piece{.begin = at_,
                 .length = std::min(base::saturating_mul(end, g.span()), layer_.end) - at_,
                 .kind = kind,
                 .why = why,
                 .without_table = true};
  };
  const auto entry = l1_entry(index);
  if (!entry.word) {
    const bool all = index >= layer_.l1_entries || !layer_.damage.empty();
    return up_to(all ? UINT64_MAX : index + 1, Kind::lost, entry.why);
  }
  const format::L1Entry l1{*entry.word};
  if (l1.word == 0) {
    std::uint64_t end = index + 1;
    while (end < layer_.l1_entries && end * g.span() < layer_.end) {
      const std::uint64_t at = layer_.l1.raw() + end * 8;
      if (end % l1_window == 0 && at < view_.device_.size())
        if (const auto extent = view_.device_.extent(at); extent.hole && extent.end >= at + 8) {
          end = std::min(end + (extent.end - at) / 8, layer_.l1_entries);
          continue;
        }
      if (l1_entry(end).word != std::uint64_t{0}) break;
      ++end;
    }
    return up_to(end, Kind::unallocated, {});
  }
  const std::uint64_t eof = view_.device_.size();
  const auto table = l1.offset();
  const auto refuse = [&](std::string_view why) { return up_to(index + 1, Kind::lost, why); };
  if (table.raw() == 0) {
    if (l1.copied()) return refuse("its L1 entry has lost its offset");
    return up_to(index + 1, Kind::unallocated, "its L1 entry has reserved bits");
  }
  if (!g.aligned(table)) return refuse("its L1 entry is not aligned");
  if (table.raw() >= eof) return refuse("its L2 table lies behind the end of the file");
  table_doubt_ = l1.reserved() != 0 ? std::string_view("its L1 entry has reserved bits") : std::string_view();
  const auto owned = view_.owned_.first_in(table.raw(), table.raw() + 1, g);
  if (owned) {
    const auto use = view_.owned_.use_besides_l2(view_.device_, g, table.raw());
    if (use.certain) return refuse("its L1 entry points at other metadata");
    if (!use.what.empty()) table_doubt_ = "its L2 table lies where other metadata should";
  }
  l2_.load(view_.device_, table.raw(), g.cluster_size());
  if (l2_looks(l2_.bytes, g, view_.data_end()).is_none())
    return refuse("its L2 table is none: other bytes lie there");
  return std::nullopt;
}

Piece Walk::lost(Piece piece, std::string_view why) {
  piece.kind = Kind::lost;
  piece.why = why;
  return piece;
}

Piece Walk::stream(Piece piece, format::L2Entry entry, format::Subclusters bits) const {
  const auto& g = view_.geometry_;
  if (view_.header_.external_data_file())
    return lost(piece, "it is compressed, though the data is in another file");
  if (bits.word != 0) return lost(piece, "its cluster is compressed, and has subclusters");
  const auto range = g.compressed_range(entry);
  if (range.offset.raw() >> 56 != 0) return lost(piece, "its compressed cluster has an impossible place");
  if (range.offset.raw() >= view_.device_.size())
    return lost(piece, "its compressed cluster lies behind the end of the file");
  piece.kind = Kind::compressed;
  piece.host = range.offset.raw();
  piece.payload = range.length();
  return piece;
}

// Content at the entry's place, from the piece's first byte on; cut where the file ends.
Piece Walk::stored(Piece piece, format::L2Entry entry) const {
  const auto& g = view_.geometry_;
  const std::uint64_t cluster = piece.begin & ~(g.cluster_size() - 1);
  std::uint64_t place = entry.offset().raw();
  if (!g.aligned(entry.offset())) return lost(piece, "its place is not aligned");
  if (view_.header_.external_data_file() && place != cluster) {
    place = cluster;  // a data file holds each cluster where the guest has it
    piece.why = "its entry names another place of the data file than the guest's";
  }
  piece.kind = Kind::data;
  piece.host = place + (piece.begin - cluster);
  const std::uint64_t end = view_.data_end();
  if (place >= end) return lost(piece, "its place lies behind the end of the file");
  if (piece.host < end) {
    piece.length = std::min(piece.length, end - piece.host);
    return piece;
  }
  return lost(piece, "its cluster is cut by the end of the file");
}

Piece Walk::standard(Piece piece, format::L2Entry entry) const {
  const auto& g = view_.geometry_;
  const auto place = entry.offset();
  const bool placed = place.raw() != 0 || (view_.header_.external_data_file() && entry.copied());
  if (entry.reserved() != 0) piece.why = "its L2 entry has reserved bits";
  if (entry.zero()) {
    if (!view_.header_.has_v3()) return lost(piece, "it is a zero cluster, which version 2 does not know");
    piece.kind = Kind::zero;
    if (placed && !g.aligned(place)) piece.why = "its place is not aligned";
    return piece;
  }
  if (placed) return stored(piece, entry);
  if (entry.copied()) return lost(piece, "its L2 entry has lost its offset");
  piece.kind = Kind::unallocated;
  return piece;
}

// The subcluster at the piece's beginning, and those alike behind it.
Piece Walk::extended(Piece piece, format::L2Entry entry, format::Subclusters bits) const {
  const auto& g = view_.geometry_;
  const bool placed = entry.offset().raw() != 0 || (view_.header_.external_data_file() && entry.copied());
  if (entry.reserved() != 0) piece.why = "its L2 entry has reserved bits";
  if (entry.zero()) piece.why = "its L2 entry has a flag that extended entries do not know";
  const std::uint64_t inside = piece.begin & (g.cluster_size() - 1);
  const auto number = static_cast<unsigned>(inside / g.subcluster_size());
  const bool data = (bits.allocated() >> number & 1U) != 0, zero = (bits.zero() >> number & 1U) != 0;
  const std::uint32_t unlike =
      (data ? ~bits.allocated() : bits.allocated()) | (zero ? ~bits.zero() : bits.zero());
  const auto alike = static_cast<std::uint64_t>(std::min(
      std::countr_zero(unlike >> number), static_cast<int>(format::subclusters_per_cluster - number)));
  piece.length = std::min(piece.length, (number + alike) * g.subcluster_size() - inside);
  if (data && zero) return lost(piece, "its subclusters are both data and zero");
  if (data && !placed) return lost(piece, "its subclusters have data but no place");
  if (data) return stored(piece, entry);
  if (zero) {
    piece.kind = Kind::zero;
    return piece;
  }
  if (!placed && entry.copied()) return lost(piece, "its L2 entry has lost its offset");
  piece.kind = Kind::unallocated;
  return piece;
}

// A run whose place is also metadata's ends before it; one that begins there is lost, or doubtful where the bytes don't
// look it.
void Walk::judge_place(Piece& piece) {
  const auto& g = view_.geometry_;
  if (piece.kind == Kind::compressed) {
    if (const auto owned = view_.owned_.first_in(piece.host, piece.host + piece.payload, g))
      if (view_.owned_.use_of(view_.device_, g, *owned).certain)
        piece = lost(piece, "its compressed cluster lies in the image's own tables");
    return;
  }
  if (piece.kind != Kind::data || view_.header_.external_data_file()) return;
  const auto owned = view_.owned_.first_in(piece.host, piece.host + piece.length, g);
  if (!owned) return;
  if (*owned > piece.host) {  // a later turn judges the rest
    piece.length = *owned - piece.host;
  } else {
    piece.length = std::min(piece.length, *owned + g.cluster_size() - piece.host);
    const auto use = view_.owned_.use_of(view_.device_, g, *owned);
    if (use.certain)
      piece = lost(piece, use.what);
    else
      piece.why = use.what;
  }
  at_ = piece.end();
}

}  // namespace cowvet::repair
