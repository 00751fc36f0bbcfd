// The fixed part of the first cluster. Promises: the fields are judged in the order in which the others depend on them,
// and each as far as what it depends on is known; with a header that gives no geometry, the content is asked for one.
// Hands on: the header, the first cluster's bytes, the geometry, the extension list, and the places of the L1 and the
// refcount table.
#include "analyzer/header_checks.hpp"

#include <algorithm>
#include <span>
#include <utility>

#include "analyzer/infer.hpp"
#include "base/text.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;
using findings::Finding;
using findings::Value;
using format::HeaderAdditional;
using format::HeaderV2;
using format::HeaderV3;
namespace limits = format::limits;

namespace {

// Reads the first sector and decodes what it says; bytes that the file does not have read as zeros. False: they are
// there but can't be read, which has been reported.
bool read_stored_header(Image& image) {
  image.cluster0 = image.read(base::HostOffset{0}, limits::sector, limits::sector, "header");
  if (image.cluster0.empty() && image.eof > 0) return false;
  auto bytes = image.cluster0;
  bytes.resize(limits::sector);
  image.header = *format::decode_header(bytes);
  return true;
}

bool judge_length_of_file(Image& image) {
  const auto& v2 = image.header.v2;
  const std::uint64_t needed = v2.magic == format::qcow_magic && v2.version == 3
                                   ? format::header_v3_length
                                   : format::disk_size<HeaderV2>;
  if (image.eof >= needed) return true;
  image.report(Finding{"header/file-too-short"_rule}
                   .at("header")
                   .on(base::HostOffset{0}, image.eof)
                   .wanted(Value::text(fmt::format("at least {} bytes", needed)))
                   .found(Value::dec(image.eof)));
  return false;
}

// With clusters too small for 32 subclusters, either the cluster size or the bit for extended L2 entries is wrong. The
// bit is doubted as long as the L1 table has the length that the disk needs without it.
bool believe_standard_entries(Image& image, std::uint32_t order) {
  const auto& v2 = image.header.v2;
  image.geometry = format::Geometry::make(v2.cluster_bits, order, false);
  const bool covered = v2.l1_size >= image.geometry->l1_entries(v2.size);
  image.report(
      header_finding<&HeaderV2::cluster_bits>(image, "feature/extl2-cluster-bits"_rule)
          .wanted(Value::text("at least 14"))
          .saying(covered
                      ? "The L1 table fits this cluster size with standard L2 entries, so the entries are "
                        "read as standard ones here."
                      : "The L1 table is too short for this cluster size even with standard L2 entries, so "
                        "the cluster size is doubted."));
  if (covered) {
    image.doubt("cluster size and extended L2 bit contradict each other");
  } else {
    image.geometry.reset();
  }
  return covered;
}

// Sets the geometry that the header gives; false, with the reasons reported, when it gives none.
bool judge_geometry(Image& image) {
  const auto& v2 = image.header.v2;
  const bool complete = judge_length_of_file(image);
  if (image.eof >= sizeof v2.magic && v2.magic != format::qcow_magic) {
    image.report(header_finding<&HeaderV2::magic>(image, "header/magic"_rule)
                     .wanted(Value::hex(format::qcow_magic))
                     .found(Value::hex(v2.magic)));
    return false;
  }
  if (!complete) return false;
  if (v2.version != 2 && v2.version != 3) {
    image.report(
        header_finding<&HeaderV2::version>(image, "header/version"_rule).wanted(Value::text("2 or 3")));
    return false;
  }
  const bool size_known =
      v2.cluster_bits >= limits::min_cluster_bits && v2.cluster_bits <= limits::max_cluster_bits;
  if (!size_known)
    image.report(header_finding<&HeaderV2::cluster_bits>(image, "header/cluster-bits-range"_rule)
                     .wanted(Value::text(
                         fmt::format("{} to {}", limits::min_cluster_bits, limits::max_cluster_bits))));
  const std::uint32_t order = image.header.has_v3() ? image.header.v3.refcount_order : 4;
  const bool order_known = order <= limits::max_refcount_order;
  if (!order_known)
    image.report(header_finding<&HeaderV3::refcount_order>(image, "header/refcount-order-range"_rule)
                     .wanted(Value::text(fmt::format("at most {}", limits::max_refcount_order))));
  if (!size_known || !order_known) return false;
  image.geometry = format::Geometry::make(v2.cluster_bits, order, image.header.extended_l2());
  return image.geometry || believe_standard_entries(image, order);
}

void judge_header_length(Image& image) {
  const auto& header = image.header;
  const std::uint32_t length = header.v3.header_length;
  const std::uint64_t cluster = image.geometry->cluster_size();
  if (length < format::header_v3_length) {
    image.report(header_finding<&HeaderV3::header_length>(image, "header/length-too-small"_rule)
                     .wanted(Value::text("at least 104")));
  } else if (length > cluster) {
    image.report(header_finding<&HeaderV3::header_length>(image, "header/length-too-large"_rule)
                     .wanted(Value::text(fmt::format("at most {}", cluster))));
  }
  if (!header_length_usable(image)) {
    image.doubt("the header extensions can't be found");
    return;
  }
  if (image.eof < length)
    image.report(Finding{"header/file-too-short"_rule}
                     .at("header")
                     .on(base::HostOffset{0}, image.eof)
                     .wanted(Value::text(fmt::format("at least {} bytes", length)))
                     .found(Value::dec(image.eof)));
  if (length % 8 != 0)
    image.report(header_finding<&HeaderV3::header_length>(image, "header/length-unaligned"_rule)
                     .wanted(Value::text("a multiple of 8")));
  if (!base::all_zero(header.additional.padding))
    image.report(field_finding<&HeaderAdditional::padding>(
                     "header/padding-nonzero"_rule, base::HostOffset{format::header_v3_length}, "header")
                     .wanted(Value::text("zeros"))
                     .found(Value::text(fmt::format(
                         "{:02x}", fmt::join(std::as_bytes(std::span{header.additional.padding}), " ")))));
  if (length > format::header_known_length) {
    const std::uint64_t behind = length - format::header_known_length;
    image.report(
        Finding{"header/unknown-fields"_rule}
            .at("header")
            .on(base::HostOffset{format::header_known_length}, behind)
            .saying(fmt::format("The header is {} bytes longer than the fields that are known.", behind)));
  }
}

void judge_size(Image& image) {
  const std::uint64_t size = image.header.v2.size;
  if (size > limits::max_virtual_size) {
    image.report(header_finding<&HeaderV2::size>(image, "header/size-limit"_rule)
                     .wanted(Value::text(fmt::format("at most {:#x}", limits::max_virtual_size)))
                     .found(Value::hex(size)));
    return;
  }
  if (const std::uint64_t rest = size % limits::sector; rest != 0)
    image.report(header_finding<&HeaderV2::size>(image, "header/size-sector-multiple"_rule)
                     .wanted(Value::text("a multiple of 512"))
                     .hits({base::GuestOffset{size - rest}, rest, {}}));
  constexpr std::uint64_t enormous = 64ULL << 40;
  constexpr std::uint64_t out_of_proportion = 1'000'000;
  if (size > enormous && size / out_of_proportion > image.eof)
    image.report(header_finding<&HeaderV2::size>(image, "security/virtual-size-bomb"_rule)
                     .saying(fmt::format("A disk of {} in a file of {}.", base::human_size(size),
                                         base::human_size(image.eof))));
}

void judge_snapshot_pointer(Image& image) {
  const auto& v2 = image.header.v2;
  if (v2.nb_snapshots > 0 && v2.snapshots_offset.raw() == 0) {
    image.report(header_finding<&HeaderV2::snapshots_offset>(image, "header/snapshot-pointer-pair"_rule)
                     .wanted(Value::text("the offset of a snapshot table"))
                     .saying(fmt::format("The header counts {} snapshots.", v2.nb_snapshots)));
    image.doubt("the snapshot table can't be found");
  } else if (v2.nb_snapshots == 0 && v2.snapshots_offset.raw() != 0) {
    image.report(header_finding<&HeaderV2::nb_snapshots>(image, "header/snapshot-pointer-pair"_rule)
                     .milder()
                     .wanted(Value::text("at least 1"))
                     .saying(fmt::format("The header names a snapshot table at {:#x}; it may still be there.",
                                         v2.snapshots_offset.raw())));
    image.doubt("the header names a snapshot table but counts no snapshots");
  }
}

void judge_version_and_method(Image& image) {
  if (version_misflagged(image)) {
    image.report(header_finding<&HeaderV2::version>(image, "header/version-misflagged"_rule)
                     .wanted(Value::dec(3))
                     .saying("The image is read as version 2 here, as its header says."));
    image.doubt("the header extensions of version 3 are not read");
  }
  if (image.header.v2.crypt_method > std::to_underlying(format::CryptMethod::luks))
    image.report(header_finding<&HeaderV2::crypt_method>(image, "header/crypt-method"_rule)
                     .wanted(Value::text("0, 1 or 2"))
                     .hits(whole_disk(image)));
}

}  // namespace

bool header_length_usable(const Image& image) {
  return !image.header.has_v3() || (image.header.v3.header_length >= format::header_v3_length &&
                                    image.header.v3.header_length <= image.geometry->cluster_size());
}

bool version_misflagged(const Image& image) {
  if (image.header.has_v3()) return false;
  const auto behind = base::ConstBytes{image.cluster0}.subspan(
      std::min<std::size_t>(image.cluster0.size(), format::disk_size<HeaderV2>));
  const auto fields = base::prefix<format::disk_size<HeaderV3>>(behind);
  if (!fields) return false;
  const auto end =
      format::decode<format::ExtensionHeader>(fields->first<format::disk_size<format::ExtensionHeader>>());
  const auto v3 = format::decode<HeaderV3>(*fields);
  const std::uint64_t name = image.header.v2.backing_file_offset.raw();
  return end.type == std::to_underlying(format::ExtensionType::end) &&
         v3.refcount_order <= limits::max_refcount_order && v3.header_length >= format::header_v3_length &&
         v3.header_length % 8 == 0 && v3.header_length <= image.geometry->cluster_size() &&
         (name == 0 || name >= v3.header_length);
}

void check_header(Image& image) {
  image.eof = image.device.size();
  if ((!read_stored_header(image) || !judge_geometry(image)) && !infer_image(image)) return;

  const std::uint64_t cluster = image.geometry->cluster_size();
  if (auto whole = image.read(base::HostOffset{0}, cluster, cluster, "header");
      whole.size() > image.cluster0.size())
    image.cluster0 = std::move(whole);
  image.regions.push_back({Kind::header, base::HostOffset{0}, cluster});
  if (image.header.has_v3()) judge_header_length(image);
  judge_version_and_method(image);
  judge_size(image);
  judge_snapshot_pointer(image);
  read_extensions(image);
  check_features(image);
  check_table_places(image);
}

}  // namespace cowvet::analyzer
