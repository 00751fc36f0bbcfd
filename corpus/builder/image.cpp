// The guest's side of an image: mapping, copy on write, compression. The tables and the header are in image_tables.cpp
// and image_header.cpp.
#include "corpus/builder/image.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/checked.hpp"

namespace cowvet::corpus {
namespace {

using format::copied_flag;
using format::L2Entry;

std::optional<std::string> complaint(const ImageOptions& o) {
  if (o.version != 2 && o.version != 3) return "version is 2 or 3";
  if (!format::Geometry::make(o.cluster_bits, o.refcount_order, o.extended_l2))
    return "cluster_bits is 9 to 21 (14 to 21 with extended_l2), refcount_order 0 to 6";
  if (o.version == 2 && (o.refcount_order != 4 || o.extended_l2 || o.lazy_refcounts || o.dirty || o.corrupt ||
                         o.compression != format::Compression::deflate))
    return "version 2 has 16-bit refcounts, deflate and no features; use version=3";
  if (o.version == 3 && (o.header_length < format::header_v3_length || o.header_length % 8 != 0 ||
                         o.header_length > 1U << o.cluster_bits))
    return "header_length is a multiple of 8 from 104 to the cluster size";
  if (o.compression != format::Compression::deflate && o.header_length < format::header_known_length)
    return "compression=zstd needs header_length=112";
  if (o.luks_key_bytes != 16 && o.luks_key_bytes != 32 && o.luks_key_bytes != 64)
    return "luks_key_bytes is 16, 32 or 64";
  if (o.luks_active_slots > 8) return "there are 8 key slots";
  return std::nullopt;
}

constexpr std::uint32_t all_subclusters = ~0U;

}  // namespace

Image::Image(const ImageOptions& options)
    : options_(options),
      geometry_(format::Geometry::make(options.cluster_bits, options.refcount_order, options.extended_l2)
                    .value_or(*format::Geometry::make(16, 4, false))),
      error_(complaint(options)) {
  active_.size = options.size;
  l1_entries_ = std::max(geometry_.l1_entries(options.size), options.l1_entries);
  if (l1_entries_ > format::limits::max_l1_entries && !error_)
    error_ = fmt::format("an L1 table of {} entries is over the limit of 4194304; use larger clusters",
                         l1_entries_);
  if (error_) return;
  clusters_.emplace(file_, geometry_, std::max<std::uint64_t>(options.refcount_table_clusters, 1));
  if (l1_entries_ != 0) l1_offset_ = clusters_->take(geometry_.clusters(l1_entries_ * 8));
  if (options.encryption == format::CryptMethod::luks) create_luks();
}

Image& Image::complain(std::string why) {
  if (!error_) error_ = std::move(why);
  return *this;
}

bool Image::failed() {
  if (!error_ && clusters_->error()) error_ = clusters_->error();
  return error_.has_value();
}

bool Image::in_disk(GuestRange range, const char* what) {
  if (failed()) return false;
  const std::uint64_t clusters = geometry_.clusters(active_.size);
  if (range.first <= range.last && range.last < clusters) return true;
  complain(clusters == 0
               ? fmt::format("the disk has no clusters, so {} can't be put there", what)
               : fmt::format("guest clusters {}..{} are not in the disk, which ends with cluster {}",
                             range.first, range.last, clusters - 1));
  return false;
}

// The L2 entry's place, in a table that the active layer alone uses.
std::uint64_t Image::l2_slot(std::uint64_t guest_cluster) {
  const std::uint64_t l1_slot = l1_offset_ + guest_cluster / geometry_.l2_entries() * 8;
  std::uint64_t table = file_.load(l1_slot, 8) & format::entry_offset_mask;
  if (table == 0) {
    table = clusters_->take(1, true);
    file_.store(l1_slot, 8, table | copied_flag);
  } else if (clusters_->refcount(table) > 1) {
    const std::uint64_t copy = clusters_->take(1, true);
    file_.write(copy, file_.read(table, geometry_.cluster_size()));
    clusters_->release(table);
    table = copy;
    file_.store(l1_slot, 8, table | copied_flag);
  }
  return table + guest_cluster % geometry_.l2_entries() * geometry_.l2_entry_size();
}

Image::L2Words Image::l2_words(std::uint64_t slot) const {
  return {file_.load(slot, 8), geometry_.extended_l2() ? file_.load(slot + 8, 8) : 0};
}

void Image::set_l2(std::uint64_t slot, L2Words words) {
  file_.store(slot, 8, words.entry);
  if (geometry_.extended_l2()) file_.store(slot + 8, 8, words.subclusters);
}

// Drops the references of an entry that is about to be replaced.
void Image::release(L2Words words) {
  const L2Entry entry{words.entry};
  if (entry.compressed()) {
    const auto range = geometry_.compressed_range(entry);
    const std::uint64_t last = range.offset.raw() + range.length() - 1;
    for (auto c = geometry_.cluster_of(range.offset).raw(); c <= last >> geometry_.cluster_bits(); ++c) {
      const std::uint64_t offset = c << geometry_.cluster_bits();
      clusters_->release(offset);
      if (stream_end_ >> geometry_.cluster_bits() == c && clusters_->refcount(offset) == 0) stream_end_ = 0;
    }
  } else if (entry.offset().raw() != 0 && !data_file_) {
    clusters_->release(entry.offset().raw());
  }
}

// Host space that the active layer may write the guest cluster to: what it has, if nobody shares it.
std::uint64_t Image::host_for(std::uint64_t guest_cluster, std::uint64_t slot) {
  if (data_file_) return guest_cluster << geometry_.cluster_bits();
  const L2Words old = l2_words(slot);
  const L2Entry entry{old.entry};
  const std::uint64_t host = entry.compressed() ? 0 : entry.offset().raw();
  if (host != 0 && clusters_->refcount(host) == 1) return host;
  release(old);
  return clusters_->take(1);
}

void Image::put_content(std::uint64_t guest_cluster, std::uint64_t host, std::uint32_t allocated,
                        const Content& content) {
  if (content.kind == Content::Kind::none) return;
  std::vector<std::byte> bytes(geometry_.cluster_size());
  fill_content(content, guest_cluster, generation_, bytes);
  auto& target = data_file_ ? *data_file_ : file_;
  if (allocated == all_subclusters) {
    // The external data file is as long as the disk, also where the disk ends inside a cluster.
    const std::uint64_t room = data_file_ && host < target.size() ? target.size() - host : bytes.size();
    return target.write(host, base::ConstBytes(bytes).first(std::min<std::uint64_t>(room, bytes.size())));
  }
  for (std::uint32_t i = 0; i < format::subclusters_per_cluster; ++i) {
    if ((allocated >> i & 1) == 0) continue;
    const std::uint64_t at = i * geometry_.subcluster_size();
    target.write(host + at, base::ConstBytes(bytes).subspan(at, geometry_.subcluster_size()));
  }
}

// Maps guest clusters to host clusters; the masks matter with extended L2 entries.
void Image::write_clusters(GuestRange range, std::uint32_t allocated, std::uint32_t zero,
                           const Content& content) {
  for (std::uint64_t g = range.first; g <= range.last && !failed(); ++g) {
    const std::uint64_t slot = l2_slot(g);
    const std::uint64_t host = host_for(g, slot);
    const bool zero_entry = !geometry_.extended_l2() && zero != 0;
    set_l2(slot, {host | copied_flag | (zero_entry ? format::zero_flag : 0),
                  std::uint64_t{zero} << 32 | allocated});
    if (!zero_entry) put_content(g, host, allocated, content);
  }
}

Image& Image::data(GuestRange range, const Content& content) {
  if (!in_disk(range, "data")) return *this;
  write_clusters(range, all_subclusters, 0, content);
  active_.writes.push_back({range, Written::What::data, content, generation_, all_subclusters});
  return *this;
}

Image& Image::zero(GuestRange range, bool preallocated) {
  if (!in_disk(range, "zeros")) return *this;
  if (options_.version < 3) return complain("version 2 has no zero clusters; use version=3 or unmap");
  if (preallocated) {
    write_clusters(range, 0, all_subclusters, {.kind = Content::Kind::none, .byte = {}});
  } else {
    for (std::uint64_t g = range.first; g <= range.last && !failed(); ++g) {
      const std::uint64_t slot = l2_slot(g);
      release(l2_words(slot));
      const bool extended = geometry_.extended_l2();
      set_l2(slot, {extended ? 0 : format::zero_flag, std::uint64_t{all_subclusters} << 32});
    }
  }
  clear_raw_data(range);
  active_.writes.push_back({range, Written::What::zero, {}, generation_, 0});
  return *this;
}

// A raw data file holds zeros where the image reads as zeros.
void Image::clear_raw_data(GuestRange range) {
  if (!raw_data_file_) return;
  const std::uint64_t begin = range.first << geometry_.cluster_bits();
  const std::uint64_t end = std::min((range.last + 1) << geometry_.cluster_bits(), data_file_->size());
  data_file_->punch(begin, end - begin);
}

Image& Image::subclusters(GuestRange range, std::uint32_t allocated, std::uint32_t zero, bool preallocated,
                          const Content& content) {
  if (!in_disk(range, "subclusters")) return *this;
  if (!geometry_.extended_l2()) return complain("only images with extended_l2=yes have subclusters");
  if ((allocated & zero) != 0)
    return complain("a subcluster is either allocated or zero; set the bits under damage:");
  if (allocated != 0 || preallocated) {
    write_clusters(range, allocated, zero, content);
  } else {
    for (std::uint64_t g = range.first; g <= range.last && !failed(); ++g) {
      const std::uint64_t slot = l2_slot(g);
      release(l2_words(slot));
      set_l2(slot, {0, std::uint64_t{zero} << 32});
    }
  }
  active_.writes.push_back({range, Written::What::data, content, generation_, allocated});
  return *this;
}

Image& Image::unmap(GuestRange range) {
  if (!in_disk(range, "nothing")) return *this;
  unmap_clusters(range);
  clear_raw_data(range);
  active_.writes.push_back({range, Written::What::unallocated, {}, generation_, 0});
  return *this;
}

void Image::unmap_clusters(GuestRange range) {
  for (std::uint64_t g = range.first; g <= range.last && !failed(); ++g) {
    const std::uint64_t l1_slot = l1_offset_ + g / geometry_.l2_entries() * 8;
    if ((file_.load(l1_slot, 8) & format::entry_offset_mask) == 0) continue;
    const std::uint64_t slot = l2_slot(g);
    release(l2_words(slot));
    set_l2(slot, {});
  }
}

Image& Image::compressed(GuestRange range, const CompressedOptions& options) {
  if (!in_disk(range, "compressed clusters")) return *this;
  if (data_file_)
    return complain("an image with a data file has no compressed clusters; write them under damage:");
  if (options.content.kind == Content::Kind::none) return complain("compressed clusters have content");
  for (std::uint64_t g = range.first; g <= range.last && !failed(); ++g) compress_one(g, options);
  active_.writes.push_back({range, Written::What::data, options.content, generation_, all_subclusters});
  return *this;
}

void Image::compress_one(std::uint64_t guest_cluster, const CompressedOptions& options) {
  const auto change = std::max(options.output_change, -static_cast<std::int64_t>(geometry_.cluster_size()));
  std::vector<std::byte> plain(geometry_.cluster_size() + static_cast<std::uint64_t>(change));
  fill_content(options.content, guest_cluster, generation_, plain);
  const bool zstd = options.codec.value_or(options_.compression) == format::Compression::zstd;
  const auto stream =
      zstd ? format::zstd_cluster(plain, options.zstd) : format::deflate_cluster(plain, options.deflate);

  const std::uint64_t slot = l2_slot(guest_cluster);
  release(l2_words(slot));
  if (options.own_cluster) stream_end_ = 0;
  // Where the stream goes depends on its length in bytes, what it references on its sectors.
  const std::int64_t grown =
      static_cast<std::int64_t>(stream.size()) + std::max<std::int64_t>(options.extra_sectors, 0) * 512;
  const std::uint64_t offset = place_stream(static_cast<std::uint64_t>(grown));
  const std::uint64_t end = offset + stream.size();
  const std::int64_t sectors =
      static_cast<std::int64_t>((end - 1) / 512 - offset / 512) + options.extra_sectors;
  if (sectors < 0 || static_cast<std::uint64_t>(sectors) >> (geometry_.cluster_bits() - 8) != 0) {
    complain(fmt::format("a descriptor can't say {} additional sectors with clusters of {} bytes", sectors,
                         geometry_.cluster_size()));
    return;
  }
  const auto entry =
      geometry_.compressed_entry({base::HostOffset{offset}, static_cast<std::uint64_t>(sectors)});
  const auto range = geometry_.compressed_range(entry);
  const std::uint64_t last = (offset + range.length() - 1) >> geometry_.cluster_bits();
  for (std::uint64_t c = offset >> geometry_.cluster_bits(); c <= last; ++c) {
    const std::uint64_t cluster = c << geometry_.cluster_bits();
    clusters_->reference(cluster);
  }
  file_.write(offset, stream);
  set_l2(slot, {entry.word, 0});
  stream_end_ = end % geometry_.cluster_size() == 0 ? 0 : end;
}

// Finds room for a stream: behind the last one in its cluster, running on into the next cluster if that is the next to
// be given out, else at the start of a new cluster. New clusters get refcount 0 here; the caller references them.
std::uint64_t Image::place_stream(std::uint64_t length) {
  const std::uint64_t cs = geometry_.cluster_size();
  if (stream_end_ != 0 && clusters_->refcount(stream_end_) < geometry_.max_refcount()) {
    const std::uint64_t room = cs - stream_end_ % cs;
    const bool last_cluster = stream_end_ + room == clusters_->next();
    if (length <= room) return stream_end_;
    if (last_cluster) {
      clusters_->take_uncounted(geometry_.clusters(length - room));
      return stream_end_;
    }
  }
  return clusters_->take_uncounted(geometry_.clusters(length));
}

}  // namespace cowvet::corpus
