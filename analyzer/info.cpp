#include "analyzer/info.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/checked.hpp"

namespace cowvet::analyzer {

namespace {

using format::limits::sector;
// Bytes of the snapshot table that are read at once: some dozens of entries; all of any entry that a writer makes.
constexpr std::uint64_t usual_piece = 4 * 1024, longest_piece = 256 * 1024;

// Up to `length` bytes at `offset`, cut at the end of the file and before the first that can't be read.
std::vector<std::byte> read_some(const storage::Device& device, std::uint64_t offset, std::uint64_t length) {
  if (offset >= device.size()) return {};
  std::vector<std::byte> bytes(static_cast<std::size_t>(std::min(length, device.size() - offset)));
  const auto request = device.read(offset, bytes);
  bytes.resize(static_cast<std::size_t>(request.os_error != 0 ? request.bad_begin : request.valid));
  return bytes;
}

void read_names(Info& info, base::ConstBytes cluster0) {
  const auto& v2 = info.header->v2;
  const std::uint64_t begin = v2.backing_file_offset.raw();
  if (begin == 0 || v2.backing_file_size == 0 || v2.backing_file_size > format::limits::max_backing_name)
    return;
  if (begin > cluster0.size() || v2.backing_file_size > cluster0.size() - begin) return;
  info.backing_name =
      format::as_text(cluster0.subspan(static_cast<std::size_t>(begin), v2.backing_file_size));
}

base::Result<Info> read_qcow2(const storage::Device& device) {
  const auto first = read_some(device, 0, format::header_known_length);
  const auto header = format::decode_header(first);
  if (!header || header->v2.magic != format::qcow_magic)
    return base::fail(base::ErrorKind::wrong_format,
                      "this is no qcow2 image: 'cowvet check -f qcow2' looks for its remains");
  if (header->v2.version != 2 && header->v2.version != 3)
    return base::fail(base::ErrorKind::usage,
                      fmt::format("qcow2 version {} is unknown: only 2 and 3 exist", header->v2.version));
  const auto geometry =
      format::Geometry::make(header->v2.cluster_bits, header->v3.refcount_order, header->extended_l2());
  if (!geometry)
    return base::fail(base::ErrorKind::usage,
                      "the header's sizes are out of range: 'cowvet check' tells what is wrong");

  Info info{.virtual_size = header->v2.size & ~(sector - 1),
            .actual_size = device.allocated(),
            .header = header,
            .geometry = geometry,
            .backing_name = {},
            .backing_format = {},
            .data_file_name = {},
            .snapshots = read_snapshots(device, *header),
            .bitmaps = {},
            .luks = {}};
  const auto cluster0 = read_some(device, 0, geometry->cluster_size());
  read_names(info, cluster0);
  const std::uint64_t names_begin = header->v2.backing_file_offset.raw();
  const auto area = format::parse_extensions(cluster0, header->length(),
                                             names_begin != 0 ? names_begin : geometry->cluster_size());
  using format::ExtensionType;
  if (const auto* e = area.find(ExtensionType::backing_format))
    info.backing_format = format::as_text(e->data);
  if (const auto* e = area.find(ExtensionType::data_file)) info.data_file_name = format::as_text(e->data);
  if (const auto* e = area.find(ExtensionType::bitmaps); e != nullptr && header->bitmaps_consistent())
    if (const auto where = format::exact<format::BitmapsExtension>(e->data))
      info.bitmaps = read_bitmaps(device, *where);
  if (const auto* e = area.find(ExtensionType::encryption))
    if (const auto where = format::exact<format::EncryptionExtension>(e->data))
      info.luks = format::decode_luks(read_some(device, where->offset.raw(), format::luks_header_size));
  return info;
}

bool has_magic(const storage::Device& device) {
  const auto first = read_some(device, 0, 4);
  const auto magic = base::prefix<4>(first);
  return magic && base::load_be<std::uint32_t, 0>(*magic) == format::qcow_magic;
}

}  // namespace

// The table does not say how long it is: it is read a piece at a time, each from the first entry that did not fit into
// the piece before. An entry that claims more than the longest piece is none.
std::vector<format::Snapshot> read_snapshots(const storage::Device& device, const format::Header& header) {
  const std::uint64_t offset = header.v2.snapshots_offset.raw();
  const std::uint32_t wanted = std::min(header.v2.nb_snapshots, format::limits::max_snapshots);
  if (wanted == 0 || offset == 0) return {};  // the header is no table
  std::vector<format::Snapshot> list;
  std::uint64_t position = 0;
  constexpr std::uint64_t longest = format::limits::max_snapshot_table;
  for (std::uint64_t length = usual_piece; position < longest && length <= longest_piece;) {
    const std::uint64_t most = std::min(length, longest - position);
    const auto piece = read_some(device, base::saturating_add(offset, position), most);
    const std::size_t before = list.size();
    std::uint64_t at = 0;
    while (list.size() < wanted && at < piece.size()) {
      auto step = format::parse_snapshot(base::ConstBytes(piece).subspan(static_cast<std::size_t>(at)),
                                         position + at);
      if (!step.snapshot) break;
      const std::uint64_t end = at + ((step.snapshot->length() + 7) & ~std::uint64_t{7});
      if (end > piece.size() && piece.size() == most) break;  // its padding is not all there
      at = end;
      list.push_back(std::move(*step.snapshot));
    }
    if (list.size() == wanted || piece.size() < most) break;
    position += at;
    length = list.size() == before ? length * 2 : usual_piece;
  }
  return list;
}

std::vector<format::Bitmap> read_bitmaps(const storage::Device& device,
                                         const format::BitmapsExtension& where) {
  const auto directory = read_some(device, where.directory_offset.raw(),
                                   std::min(where.directory_size, format::limits::max_bitmap_directory));
  const std::uint64_t most = std::min(where.count, format::limits::max_bitmaps);
  std::vector<format::Bitmap> list;
  std::uint64_t position = 0;
  while (list.size() < most && position < directory.size()) {
    auto step = format::parse_bitmap(base::ConstBytes(directory).subspan(static_cast<std::size_t>(position)),
                                     position);
    if (!step.bitmap) break;
    position += step.needed;
    list.push_back(std::move(*step.bitmap));
  }
  return list;
}

base::Result<Info> read_info(const storage::Device& device, Format format) {
  if (format == Format::qcow2 || (format == Format::probe && has_magic(device))) return read_qcow2(device);
  Info raw;
  raw.virtual_size = (device.size() + sector - 1) & ~(sector - 1);  // sizes of files are below 2^63
  raw.actual_size = device.allocated();
  return raw;
}

}  // namespace cowvet::analyzer
