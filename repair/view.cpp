#include "repair/view.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include <fmt/format.h>

#include "base/checked.hpp"
#include "base/text.hpp"
#include "repair/walk.hpp"

namespace cowvet::repair {

namespace {

namespace limits = format::limits;

// The entry at `position` of the snapshot table, as far as it can be one.
std::optional<format::Snapshot> snapshot_at(const storage::Device& device, const format::Geometry& geometry,
                                            base::HostOffset table, std::uint64_t position) {
  constexpr std::uint64_t fixed = format::disk_size<format::SnapshotEntry>;
  const auto place = table.plus(position);
  if (!place) return std::nullopt;
  std::vector<std::byte> bytes(fixed);
  const auto whole = [&](const storage::ReadRequest& got) {
    return got.os_error == 0 && got.valid == got.into.size();
  };
  if (!whole(device.read(place->raw(), bytes)) || base::all_zero(bytes)) return std::nullopt;
  const auto entry = format::decode<format::SnapshotEntry>(*base::prefix<fixed>(bytes));
  if (entry.extra_data_size > limits::max_snapshot_extra) return std::nullopt;
  bytes.resize(static_cast<std::size_t>(fixed + entry.extra_data_size + entry.id_size + entry.name_size));
  if (!whole(device.read(place->raw(), bytes))) return std::nullopt;
  auto step = format::parse_snapshot(bytes, position);
  if (!step.snapshot) return std::nullopt;
  // Text that can't be read keeps nobody from reading the disk, where the rest makes sense.
  const bool plain = base::plain_text(step.snapshot->id) && base::plain_text(step.snapshot->name);
  const auto l1 = entry.l1_table_offset;
  if (!plain && (l1.raw() == 0 || !geometry.aligned(l1) || l1.raw() >= device.size())) return std::nullopt;
  return std::move(step.snapshot);
}

Layer active_layer(const format::Header& header) {
  return {.snapshot = {},
          .name = {},
          .l1 = header.v2.l1_table_offset,
          .l1_entries = std::min<std::uint64_t>(header.v2.l1_size, limits::max_l1_entries),
          .size = header.v2.size,
          .vm_state = header.v2.size,
          .end = header.v2.size};
}

}  // namespace

base::Result<View> View::open(const storage::Device& device, const ViewOptions& options) {
  std::array<std::byte, format::header_known_length> bytes{};
  const auto got = device.read(0, bytes);
  const auto there = base::ConstBytes(bytes).first(static_cast<std::size_t>(got.valid));
  const auto header = got.os_error == 0 ? format::decode_header(there) : std::nullopt;
  if (!header || header->v2.magic != format::qcow_magic || header->v2.version < 2 || header->v2.version > 3)
    return base::fail(base::ErrorKind::wrong_format,
                      "no qcow2 header: cowvet check says what can be inferred");
  const auto geometry = format::Geometry::make(
      header->v2.cluster_bits, header->has_v3() ? header->v3.refcount_order : 4, header->extended_l2());
  if (!geometry)
    return base::fail(base::ErrorKind::wrong_format,
                      "the header names impossible sizes: cowvet check says what can be inferred");
  return View(device, *header, *geometry, options);
}

View::View(const storage::Device& device, const format::Header& header, const format::Geometry& geometry,
           const ViewOptions& options)
    : device_(device), header_(header), geometry_(geometry), options_(options) {
  header_.v2.size = std::min(header_.v2.size, limits::max_virtual_size);
  layers_.push_back(active_layer(header_));
  layers_.back().damage = l1_damage(layers_.back());
  find_snapshots();
  owned_.add_header(device_, header_, geometry_);
  for (const auto& layer : layers_) owned_.add_l1(device_, geometry_, layer.l1, layer.l1_entries);
  owned_.seal();
}

void View::find_snapshots() {
  const auto table = header_.v2.snapshots_offset;
  const std::uint32_t count = std::min(header_.v2.nb_snapshots, limits::max_snapshots);
  if (count == 0) return;
  std::uint64_t position = 0;
  snapshots_complete_ = count == header_.v2.nb_snapshots && geometry_.aligned(table) && table.raw() != 0;
  for (std::uint32_t i = 0; i < count && snapshots_complete_; ++i) {
    const auto snapshot = position < limits::max_snapshot_table
                              ? snapshot_at(device_, geometry_, table, position)
                              : std::nullopt;
    if (!snapshot) {
      snapshots_complete_ = false;
      break;
    }
    layers_.push_back(layer_of(*snapshot));
    owned_.add_range(base::HostOffset{table.raw() + position}, snapshot->length(), geometry_);
    position = (position + snapshot->length() + 7) & ~std::uint64_t{7};
  }
}

std::string_view View::l1_damage(const Layer& layer) const {
  if (layer.size == 0 && layer.l1_entries == 0) return {};
  if (layer.l1.raw() == 0) return "the L1 table has no place";
  if (!geometry_.aligned(layer.l1)) return "the L1 table is not aligned";
  if (layer.l1.raw() >= device_.size()) return "the L1 table lies behind the end of the file";
  if (l1_looks(device_, geometry_, layer.l1, layer.l1_entries).is_none())
    return "the L1 table is none: other bytes lie there";
  return {};
}

// The VM state begins where the last table's range that the disk uses ends.
Layer View::layer_of(const format::Snapshot& snapshot) const {
  Layer layer{
      .snapshot = snapshot.id,
      .name = snapshot.name,
      .l1 = snapshot.entry.l1_table_offset,
      .l1_entries = std::min<std::uint64_t>(snapshot.entry.l1_size, limits::max_l1_entries),
      .size = std::min(snapshot.disk_size_bytes().value_or(header_.v2.size), limits::max_virtual_size),
      .entry = snapshot};
  const std::uint64_t mapped =
      layer.l1_entries * geometry_.span();  // at most 2^22 tables of at most 2^39 bytes
  layer.damage = l1_damage(layer);
  layer.vm_state = layer.end = layer.size;
  const std::uint64_t begin = geometry_.l1_entries(layer.size) * geometry_.span();
  if (snapshot.vm_state_size() == 0 || mapped <= begin) return layer;
  layer.vm_state = begin;
  layer.end = std::min(mapped, base::saturating_add(begin, snapshot.vm_state_size()));
  return layer;
}

const storage::Device* View::data() const {
  return header_.external_data_file() ? options_.data_file : &device_;
}

std::uint64_t View::data_end() const {
  const auto* device = data();
  return device != nullptr ? device->size() : UINT64_MAX;
}

void View::visit(const Layer& layer, const std::function<bool(const Piece&)>& use) const {
  Walk walk(*this, layer);
  std::optional<Piece> kept;
  for (auto piece = walk.next(); piece; piece = walk.next()) {
    if (kept && continues(*kept, *piece)) {
      kept->length += piece->length;
      continue;
    }
    if (kept && !use(*kept)) return;
    kept = piece;
  }
  if (kept) (void)use(*kept);
}

bool continues(const Piece& first, const Piece& second) {
  using enum Piece::Kind;
  if (first.kind != second.kind || first.why != second.why || first.end() != second.begin) return false;
  return first.kind != compressed && (first.kind != data || second.host == first.host + first.length);
}

std::optional<Unread> View::read(const Piece& piece, std::uint64_t offset, base::MutableBytes into) const {
  const auto nothing = [&](std::string why) {
    std::ranges::fill(into, std::byte{0});
    return Unread{0, into.size(), std::move(why)};
  };
  switch (piece.kind) {
    case Piece::Kind::unallocated:
    case Piece::Kind::zero: std::ranges::fill(into, std::byte{0}); return std::nullopt;
    case Piece::Kind::lost: return nothing(std::string(piece.why));
    case Piece::Kind::compressed: return read_stream(piece, offset, into);
    case Piece::Kind::data: break;
  }
  const auto* device = data();
  if (device == nullptr) return nothing("its bytes are in the external data file, which was not given");
  const auto got = device->read(piece.host + offset, into);
  if (got.os_error != 0) return Unread{got.bad_begin, got.bad_end, std::strerror(got.os_error)};
  return std::nullopt;
}

std::optional<Unread> View::read_stream(const Piece& piece, std::uint64_t offset,
                                        base::MutableBytes into) const {
  thread_local format::Decoder decoder;
  thread_local std::vector<std::byte> stream, cluster;
  const auto nothing = [&](std::string why) {
    std::ranges::fill(into, std::byte{0});
    return Unread{0, into.size(), std::move(why)};
  };
  const auto codec = header_.compression();
  if (!codec) return nothing("its cluster is compressed in a way that is not known");
  stream.resize(static_cast<std::size_t>(piece.payload));
  cluster.resize(static_cast<std::size_t>(geometry_.cluster_size()));
  const auto got = device_.read(piece.host, stream);
  // The stream may end before what the device did not give.
  const std::uint64_t there = got.os_error != 0 ? std::min(got.valid, got.bad_begin) : got.valid;
  const auto decoded =
      decoder.decode(*codec, base::ConstBytes(stream).first(static_cast<std::size_t>(there)), cluster);
  using Status = format::Decoded::Status;
  const bool good = decoded.produced == cluster.size() &&
                    (decoded.status == Status::ok || decoded.status == Status::overlong);
  if (!good)
    return nothing(got.os_error != 0 ? std::string(std::strerror(got.os_error))
                                     : std::string("its compressed cluster can't be decoded"));
  const std::uint64_t first = (piece.begin & (geometry_.cluster_size() - 1)) + offset;
  std::ranges::copy(base::ConstBytes(cluster).subspan(static_cast<std::size_t>(first), into.size()),
                    into.begin());
  return std::nullopt;
}

}  // namespace cowvet::repair
