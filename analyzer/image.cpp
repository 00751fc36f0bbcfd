#include "analyzer/image.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace cowvet::analyzer {

using namespace findings::literals;

std::string Region::where() const {
  switch (kind) {
    case Kind::header: return "header";
    case Kind::active_l1: return "l1";
    case Kind::snapshot_l1: return fmt::format("snapshot[{}].l1", index);
    case Kind::refcount_table: return "refcount_table";
    case Kind::snapshot_table: return "snapshot_table";
    case Kind::luks: return "luks";
    case Kind::bitmap_directory: return "bitmap_directory";
    case Kind::bitmap_table: return fmt::format("bitmap[{}].table", index);
    case Kind::bitmap_data: return fmt::format("bitmap[{}].table[{}]", index, entry);
    case Kind::free:
    case Kind::data:
    case Kind::compressed:
    case Kind::l2:
    case Kind::refcount_block:
    case Kind::contested: break;  // of many clusters at many places: no region
  }
  std::unreachable();
}

std::string SnapshotState::where() const { return fmt::format("snapshot[{}]", index); }
std::string BitmapState::where() const { return fmt::format("bitmap[{}]", index); }

void Image::doubt(std::string reason) {
  if (std::ranges::find(doubts, reason) == doubts.end()) doubts.push_back(std::move(reason));
}

void Image::report(findings::Finding&& finding) {
  finding.inferred = inferred || reread;
  findings.add(std::move(finding));
}

std::vector<std::byte> Image::read(base::HostOffset offset, std::uint64_t length, std::uint64_t limit,
                                   std::string_view where) {
  if (offset.raw() >= eof) return {};
  std::vector<std::byte> bytes(static_cast<std::size_t>(std::min({length, limit, eof - offset.raw()})));
  const auto request = device.read(offset.raw(), bytes);
  if (request.os_error != 0)
    report(findings::Finding{"file/io-error"_rule}
               .at(std::string(where))
               .on(offset, bytes.size())
               .saying(std::generic_category().message(request.os_error)));
  bytes.resize(static_cast<std::size_t>(request.os_error != 0 ? 0 : request.valid));
  return bytes;
}

std::uint64_t label_budget(const Image& image) {
  if (image.options.memory_limit) return *image.options.memory_limit;
  constexpr std::uint64_t usual = 40ULL << 20;
  constexpr std::uint64_t of_a_snapshot = 320;  // its entry, its tree, its tables in a merge: see walk.cpp
  const std::uint64_t taken =
      std::min(image.snapshots.size() * of_a_snapshot, usual - LabelMap::least_budget());
  return usual - taken + (image.device.allocated() >> image.geometry->cluster_bits());
}

void read_structures(Image& image) {
  image.eof = image.device.size();
  check_header(image);
  if (!image.geometry) return;
  check_extensions(image);
  check_backing(image);
  check_data_file(image);
  check_encryption(image);
  check_snapshots(image);
  check_bitmaps(image);
}

}  // namespace cowvet::analyzer
