// The last steps of an image: the tables that are written once, the header with its extensions, the layout.
#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "corpus/builder/image.hpp"

namespace cowvet::corpus {
namespace {

std::vector<std::byte> to_bytes(std::string_view text) {
  std::vector<std::byte> out;
  for (char c : text) out.push_back(static_cast<std::byte>(c));
  return out;
}

template <format::Record T>
std::vector<std::byte> to_bytes(const T& record) {
  const auto bytes = format::encode(record);
  return {bytes.begin(), bytes.end()};
}

// The names of all feature bits, as QEMU writes them into every image of version 3.
std::vector<std::byte> feature_name_table() {
  struct Row {
    std::uint8_t word, bit;
    std::string_view name;
  };
  constexpr std::array rows{
      Row{0, 0, "dirty bit"},        Row{0, 1, "corrupt bit"},         Row{0, 2, "external data file"},
      Row{0, 3, "compression type"}, Row{0, 4, "extended L2 entries"}, Row{1, 0, "lazy refcounts"},
      Row{2, 0, "bitmaps"},          Row{2, 1, "raw external data"}};
  std::vector<std::byte> out;
  for (const auto& row : rows) {
    format::FeatureName record{row.word, row.bit, {}};
    std::ranges::copy(to_bytes(row.name), record.name.begin());
    const auto bytes = to_bytes(record);
    out.insert(out.end(), bytes.begin(), bytes.end());
  }
  return out;
}

constexpr std::uint32_t number(format::ExtensionType type) { return static_cast<std::uint32_t>(type); }

}  // namespace

Image& Image::backing(std::string name, std::optional<std::string> format) {
  backing_name_ = std::move(name);
  backing_format_ = std::move(format);
  return *this;
}

Image& Image::external_data(std::string name, bool raw) {
  if (failed()) return *this;
  if (options_.version < 3) return complain("version 2 has no external data file; use version=3");
  if (!active_.writes.empty() || !snapshots_.empty())
    return complain("name the data file before the guest clusters");
  data_file_name_ = std::move(name);
  raw_data_file_ = raw;
  data_file_.emplace();
  data_file_->resize(active_.size);
  return *this;
}

Image& Image::feature_names() {
  feature_names_ = true;
  return *this;
}

Image& Image::extension(std::uint32_t type, std::vector<std::byte> data) {
  extensions_.push_back({type, std::move(data)});
  return *this;
}

std::vector<Image::RawExtension> Image::extension_list(const Layout& layout) const {
  using format::ExtensionType;
  std::vector<RawExtension> list;
  if (backing_format_) list.push_back({number(ExtensionType::backing_format), to_bytes(*backing_format_)});
  if (data_file_) list.push_back({number(ExtensionType::data_file), to_bytes(data_file_name_)});
  if (luks_) {
    list.push_back({number(ExtensionType::encryption),
                    to_bytes(format::EncryptionExtension{base::HostOffset{luks_->offset}, luks_->length})});
  }
  if (feature_names_) list.push_back({number(ExtensionType::feature_names), feature_name_table()});
  if (!bitmaps_.empty()) {
    list.push_back({number(ExtensionType::bitmaps),
                    to_bytes(format::BitmapsExtension{static_cast<std::uint32_t>(bitmaps_.size()), 0,
                                                      layout.bitmap_directory.length,
                                                      base::HostOffset{layout.bitmap_directory.offset}})});
  }
  list.insert(list.end(), extensions_.begin(), extensions_.end());
  list.push_back({number(ExtensionType::end), {}});
  return list;
}

void Image::write_header(Layout& layout) {
  const bool v3 = options_.version >= 3;
  std::uint64_t at = v3 ? options_.header_length : format::disk_size<format::HeaderV2>;
  layout.header = {0, at};
  for (const auto& e : extension_list(layout)) {
    layout.extensions.push_back({e.type, at, static_cast<std::uint32_t>(e.data.size())});
    file_.write(at, format::encode(format::ExtensionHeader{e.type, layout.extensions.back().length}));
    file_.write(at + 8, e.data);
    at += 8 + (e.data.size() + 7) / 8 * 8;
    if (at > geometry_.cluster_size()) {
      complain(fmt::format("the header extensions don't fit into the first cluster of {} bytes",
                           geometry_.cluster_size()));
      return;
    }
  }
  format::HeaderV2 h;
  if (backing_name_) {
    if (backing_name_->size() > geometry_.cluster_size() - at) {
      complain(fmt::format("only {} bytes of the first cluster are left for the backing file's name",
                           geometry_.cluster_size() - at));
      return;
    }
    layout.backing_name = Region{at, backing_name_->size()};
    file_.write(at, to_bytes(*backing_name_));
    h.backing_file_offset = base::HostOffset{at};
    h.backing_file_size = static_cast<std::uint32_t>(backing_name_->size());
  }
  h.version = options_.version;
  h.cluster_bits = options_.cluster_bits;
  h.size = active_.size;
  h.crypt_method = static_cast<std::uint32_t>(options_.encryption);
  h.l1_size = static_cast<std::uint32_t>(l1_entries_);
  h.l1_table_offset = base::HostOffset{l1_offset_};
  h.refcount_table_offset = base::HostOffset{layout.refcount_table.offset};
  h.refcount_table_clusters = static_cast<std::uint32_t>(geometry_.clusters(layout.refcount_table.length));
  h.nb_snapshots = static_cast<std::uint32_t>(snapshots_.size());
  h.snapshots_offset = base::HostOffset{layout.snapshot_table.offset};
  file_.write(0, format::encode(h));
  if (!v3) return;

  using format::autoclear_word, format::compatible_word, format::incompatible_word;
  format::HeaderV3 f;
  auto set = [](std::uint64_t& word, const format::BitInfo& bit, bool on) {
    word = bit.set(word, on ? 1 : 0);
  };
  const bool zstd = options_.compression == format::Compression::zstd;
  set(f.incompatible_features, incompatible_word["dirty"], options_.dirty);
  set(f.incompatible_features, incompatible_word["corrupt"], options_.corrupt);
  set(f.incompatible_features, incompatible_word["external_data_file"], data_file_.has_value());
  set(f.incompatible_features, incompatible_word["compression_type"], zstd);
  set(f.incompatible_features, incompatible_word["extended_l2"], options_.extended_l2);
  set(f.compatible_features, compatible_word["lazy_refcounts"], options_.lazy_refcounts);
  set(f.autoclear_features, autoclear_word["bitmaps"], !bitmaps_.empty());
  set(f.autoclear_features, autoclear_word["raw_external_data"], raw_data_file_);
  f.refcount_order = options_.refcount_order;
  f.header_length = options_.header_length;
  file_.write(format::disk_size<format::HeaderV2>, format::encode(f));
  if (zstd) file_.store(format::header_v3_length, 1, 1);
}

base::Result<Built> Image::finish() {
  Built built;
  auto& layout = built.layout;
  if (!failed()) {
    write_bitmap_directory(layout);
    write_snapshot_table(layout);
    clusters_->finish();
    layout.refcount_table = clusters_->table();
    layout.refcount_blocks = clusters_->blocks();
    write_header(layout);
  }
  if (failed()) return base::fail(base::ErrorKind::usage, *error_);
  layout.geometry = geometry_;
  layout.version = options_.version;
  layout.disk_size = active_.size;
  layout.external_data = data_file_.has_value();
  layout.active = mapping_of(l1_offset_, l1_entries_);
  layout.luks = luks_;
  layout.reserved = reserved_;
  layout.pristine = file_;
  built.file = std::move(file_);
  built.data_file = std::move(data_file_);
  built.data_file_name = data_file_name_;
  built.active = std::move(active_);
  for (auto& s : snapshots_) built.snapshots.push_back(std::move(s.layer));
  return built;
}

std::vector<std::byte> Layer::read(const format::Geometry& geometry, std::uint64_t guest_cluster) const {
  std::vector<std::byte> out(geometry.cluster_size());
  auto last = std::find_if(writes.rbegin(), writes.rend(), [&](const Written& w) {
    return w.range.first <= guest_cluster && guest_cluster <= w.range.last;
  });
  if (last == writes.rend() || last->what != Written::What::data) return out;
  fill_content(last->content, guest_cluster, last->generation, out);
  for (std::uint32_t i = 0; i < format::subclusters_per_cluster && last->allocated != ~0U; ++i) {
    if ((last->allocated >> i & 1) != 0) continue;
    const auto part = geometry.subcluster_size();
    std::fill_n(out.begin() + static_cast<std::ptrdiff_t>(i * part), part, std::byte{0});
  }
  return out;
}

}  // namespace cowvet::corpus
