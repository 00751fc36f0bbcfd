#include "engine/new_header.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "format/extensions.hpp"
#include "format/header.hpp"

namespace cowvet::engine {

namespace {

using format::ExtensionType;

// The names of all features, for programs that meet one which they don't know; worded as other programs word them.
struct Feature {
  std::uint8_t word;
  format::BitInfo bit;
  std::string_view name;
};
constexpr std::uint8_t incompatible = 0, compatible = 1, autoclear = 2;
constexpr std::array features{
    Feature{incompatible, format::incompatible_word["dirty"], "dirty bit"},
    Feature{incompatible, format::incompatible_word["corrupt"], "corrupt bit"},
    Feature{incompatible, format::incompatible_word["external_data_file"], "external data file"},
    Feature{incompatible, format::incompatible_word["compression_type"], "compression type"},
    Feature{incompatible, format::incompatible_word["extended_l2"], "extended L2 entries"},
    Feature{compatible, format::compatible_word["lazy_refcounts"], "lazy refcounts"},
    Feature{autoclear, format::autoclear_word["bitmaps"], "bitmaps"},
    Feature{autoclear, format::autoclear_word["raw_external_data"], "raw external data"},
};

base::ConstBytes bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

// Appends; what is appended is padded to a multiple of 8.
class Extensions {
 public:
  void add(base::ConstBytes bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
  void add(ExtensionType type, base::ConstBytes data) {
    add(format::encode(
        format::ExtensionHeader{static_cast<std::uint32_t>(type), static_cast<std::uint32_t>(data.size())}));
    add(data);
    bytes_.resize((bytes_.size() + 7) / 8 * 8);
  }
  [[nodiscard]] std::size_t size() const { return bytes_.size(); }
  [[nodiscard]] std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

std::vector<std::byte> feature_table() {
  std::vector<std::byte> table;
  for (const auto& feature : features) {
    format::FeatureName row{.word = feature.word, .bit = static_cast<std::uint8_t>(feature.bit.low)};
    std::ranges::copy(bytes_of(feature.name), row.name.begin());
    std::ranges::copy(format::encode(row), std::back_inserter(table));
  }
  return table;
}

format::HeaderV2 first_fields(const NewImage& image, const CreateOptions& options) {
  format::HeaderV2 header;
  header.version = options.version;
  header.cluster_bits = image.geometry.cluster_bits();
  header.size = image.size;
  header.crypt_method =
      static_cast<std::uint32_t>(options.encrypt ? options.encrypt->method : format::CryptMethod::none);
  header.l1_size = static_cast<std::uint32_t>(image.geometry.l1_entries(image.size));
  header.l1_table_offset = base::HostOffset{header.l1_size == 0 ? 0 : image.offset(image.l1.first)};
  header.refcount_table_offset = base::HostOffset{image.offset(image.refcount_table.first)};
  header.refcount_table_clusters = static_cast<std::uint32_t>(image.refcount_table.clusters);
  return header;
}

format::HeaderV3 later_fields(const NewImage& image, const CreateOptions& options) {
  format::HeaderV3 header;
  const auto set = [](std::uint64_t& word, format::BitInfo bit, bool on) { word = bit.set(word, on); };
  set(header.incompatible_features, format::incompatible_word["external_data_file"],
      options.data_file.has_value());
  set(header.incompatible_features, format::incompatible_word["compression_type"],
      options.compression != format::Compression::deflate);
  set(header.incompatible_features, format::incompatible_word["extended_l2"], options.extended_l2);
  set(header.compatible_features, format::compatible_word["lazy_refcounts"], options.lazy_refcounts);
  set(header.autoclear_features, format::autoclear_word["raw_external_data"], options.data_file_raw);
  header.refcount_order = image.geometry.refcount_order();
  header.header_length = format::header_known_length;
  return header;
}

}  // namespace

base::Result<std::vector<std::byte>> new_header(const NewImage& image, const CreateOptions& options) {
  const bool v3 = options.version >= 3;
  auto first = first_fields(image, options);
  Extensions area;
  area.add(format::encode(first));
  if (v3) {
    area.add(format::encode(later_fields(image, options)));
    area.add(format::encode(
        format::HeaderAdditional{.compression_type = static_cast<std::uint8_t>(options.compression)}));
  }
  if (options.backing_file && options.backing_format)
    area.add(ExtensionType::backing_format, bytes_of(*options.backing_format));
  if (options.data_file) area.add(ExtensionType::data_file, bytes_of(*options.data_file));
  if (image.luks_bytes != 0)
    area.add(ExtensionType::encryption,
             format::encode(format::EncryptionExtension{base::HostOffset{image.offset(image.luks.first)},
                                                        image.luks_bytes}));
  const std::uint64_t end_record = format::disk_size<format::ExtensionHeader>;
  const std::uint64_t name_size = options.backing_file ? options.backing_file->size() : 0;
  const auto room = [&] {
    const auto taken = area.size() + end_record + name_size;
    return image.geometry.cluster_size() > taken ? image.geometry.cluster_size() - taken : 0;
  };
  // A help for readers, no more: left out where clusters are too small for it.
  if (const auto names = feature_table(); v3 && room() >= end_record + names.size())
    area.add(ExtensionType::feature_names, names);
  area.add(ExtensionType::end, {});
  if (options.backing_file) {
    first.backing_file_offset = base::HostOffset{area.size()};
    first.backing_file_size = static_cast<std::uint32_t>(name_size);
    area.add(bytes_of(*options.backing_file));
  }
  auto bytes = area.take();
  if (bytes.size() > image.geometry.cluster_size())
    return base::fail(base::ErrorKind::usage,
                      "the names of backing file and data file don't fit into the first cluster: use shorter "
                      "ones, or a larger cluster_size");
  std::ranges::copy(format::encode(first), bytes.begin());
  bytes.resize(static_cast<std::size_t>(image.geometry.cluster_size()));
  return bytes;
}

}  // namespace cowvet::engine
