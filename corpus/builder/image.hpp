// Builds a sound qcow2 image step by step, as its options and calls say, and remembers where everything lies and what a
// guest must read. It shares nothing with the analyzer, so that each cross-examines the other.
//
// Promises: the same calls give the same bytes; memory follows what is written, not the disk's size; a call that can't
// be met changes nothing, is remembered, and finish() says why. Every count, flag and table of the result is right: to
// make a damaged image, damage the result (recipe.hpp does).
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "corpus/builder/content.hpp"
#include "corpus/builder/host_clusters.hpp"
#include "corpus/builder/layout.hpp"
#include "corpus/builder/sparse_bytes.hpp"
#include "format/compress.hpp"
#include "format/extensions.hpp"
#include "format/geometry.hpp"
#include "format/header.hpp"

namespace cowvet::corpus {

struct ImageOptions {
  std::uint32_t version = 3;
  std::uint32_t cluster_bits = 16;
  std::uint64_t size = 1 << 20;  // bytes
  std::uint32_t refcount_order = 4;
  bool extended_l2 = false;
  format::Compression compression = format::Compression::deflate;
  std::uint32_t header_length =
      format::header_known_length;  // version 3; more than 112: unknown fields, zero
  bool lazy_refcounts = false, dirty = false, corrupt = false;
  format::CryptMethod encryption = format::CryptMethod::none;
  std::uint32_t luks_key_bytes = 64;          // 16, 32 or 64: AES-128-CBC, AES-256-CBC, AES-256-XTS
  std::uint32_t luks_active_slots = 1;        // the first so many of the eight are in use
  std::uint64_t l1_entries = 0;               // at least; what the disk needs if that is more
  std::uint64_t refcount_table_clusters = 1;  // at least
};

// Guest clusters by number, both ends included.
struct GuestRange {
  std::uint64_t first = 0, last = 0;
};

struct CompressedOptions {
  Content content = {};
  std::optional<format::Compression> codec = {};  // nothing: the image's
  format::DeflateShape deflate = {};
  format::ZstdShape zstd = {};
  std::int64_t output_change = 0;  // the stream yields so many bytes more or less than a cluster
  std::int64_t extra_sectors = 0;  // the descriptor says so many sectors more or less than the stream needs
  bool own_cluster = false;        // starts a new host cluster instead of following the stream before
};

struct SnapshotOptions {
  std::string id = {};  // empty: "1", "2", ...
  std::string name = "snapshot";
  std::uint64_t vm_state = 0;                    // bytes
  std::optional<std::uint32_t> extra_size = {};  // of the extra data; nothing: 24, in version 2 none
  std::optional<std::uint32_t> date_sec =
      {};  // nothing: 2023-11-14 22:13:20 and a minute more for each snapshot before
  std::uint32_t date_nsec = 0;
  std::uint64_t vm_clock_nsec = 0;
  std::uint64_t icount = ~std::uint64_t{0};  // all ones: none
};

struct BitmapOptions {
  std::string name = "bitmap";
  std::uint8_t granularity_bits = 16;
  std::vector<GuestRange> set = {};  // bits, both ends included
  bool in_use = false, automatic = false;
  std::uint32_t extra_size = 0;  // bytes of extra data, which nobody knows the meaning of
  bool ones = false;             // clusters of set bits become all-ones entries, without data
};

// What a guest sees in one layer: the active one, or a snapshot's.
struct Written {
  GuestRange range;
  enum class What : std::uint8_t { data, zero, unallocated } what = What::data;
  Content content;
  std::uint32_t generation = 0;
  std::uint32_t allocated = ~0U;  // subclusters that hold the content
};
struct Layer {
  std::uint64_t size = 0;       // bytes
  std::vector<Written> writes;  // the last one that covers a cluster counts
  // A guest cluster's bytes; what is unallocated reads as zeros, as without a backing file.
  [[nodiscard]] std::vector<std::byte> read(const format::Geometry& geometry,
                                            std::uint64_t guest_cluster) const;
};

struct Built {
  SparseBytes file;
  Layout layout;
  std::optional<SparseBytes> data_file;  // the external data file that belongs beside the image
  std::string data_file_name;
  Layer active;
  std::vector<Layer> snapshots;
};

class Image {
 public:
  explicit Image(const ImageOptions& options);
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;
  ~Image() = default;

  // What belongs into the header.
  Image& backing(std::string name, std::optional<std::string> format);
  Image& external_data(std::string name, bool raw);
  Image& feature_names();
  Image& extension(std::uint32_t type, std::vector<std::byte> data);

  // Guest clusters of the active layer. What a snapshot shares is copied first.
  Image& data(GuestRange range, const Content& content = {});
  Image& zero(GuestRange range, bool preallocated = false);
  Image& compressed(GuestRange range, const CompressedOptions& options = {});
  // Extended L2 only: bit i of each mask speaks of subcluster i. Preallocated: host space even if nothing is allocated.
  Image& subclusters(GuestRange range, std::uint32_t allocated, std::uint32_t zero, bool preallocated = false,
                     const Content& content = {});
  Image& unmap(GuestRange range);

  Image& snapshot(const SnapshotOptions& options);
  Image& resize(std::uint64_t size);
  Image& bitmap(const BitmapOptions& options);

  // Host clusters without an owner, by name; with refcount 0 they are free.
  Image& reserve(const std::string& name, std::uint64_t clusters, std::uint64_t refcount,
                 const Content& content);
  // The next host cluster comes from `offset` or behind it.
  Image& place(std::uint64_t offset);

  // Why the last call could not be met, if so; later calls do nothing.
  [[nodiscard]] const std::optional<std::string>& error() const { return error_; }
  [[nodiscard]] const format::Geometry& geometry() const { return geometry_; }
  [[nodiscard]] std::uint64_t disk_size() const { return active_.size; }

  // Writes the tables that come last and the header. Once only.
  [[nodiscard]] base::Result<Built> finish();

 private:
  struct Snapshot {
    SnapshotOptions options;
    std::uint64_t l1_offset, l1_entries;
    Layer layer;
  };
  struct Bitmap {
    BitmapOptions options;
    BitmapPlace place;
    std::uint64_t entries = 0;
  };
  struct RawExtension {
    std::uint32_t type;
    std::vector<std::byte> data;
  };
  struct L2Words {
    std::uint64_t entry = 0, subclusters = 0;
  };

  Image& complain(std::string why);
  [[nodiscard]] bool failed();
  [[nodiscard]] bool in_disk(GuestRange range, const char* what);

  [[nodiscard]] std::uint64_t l2_slot(
      std::uint64_t guest_cluster);  // its entry's offset, in a table that may be written
  [[nodiscard]] L2Words l2_words(std::uint64_t slot) const;
  void set_l2(std::uint64_t slot, L2Words words);
  void release(L2Words words);
  std::uint64_t host_for(std::uint64_t guest_cluster, std::uint64_t slot);
  void write_clusters(GuestRange range, std::uint32_t allocated, std::uint32_t zero, const Content& content);
  void put_content(std::uint64_t guest_cluster, std::uint64_t host, std::uint32_t allocated,
                   const Content& content);
  void compress_one(std::uint64_t guest_cluster, const CompressedOptions& options);
  std::uint64_t place_stream(std::uint64_t length);
  void clear_raw_data(GuestRange range);
  void unmap_clusters(GuestRange range);
  void grow_l1(std::uint64_t entries);
  void share_with_snapshot(std::uint64_t snapshot_l1);

  void create_luks();
  void write_bitmap_directory(Layout& layout);
  void write_snapshot_table(Layout& layout);
  void write_header(Layout& layout);
  [[nodiscard]] MappingPlace mapping_of(std::uint64_t l1_offset, std::uint64_t l1_entries) const;
  [[nodiscard]] std::vector<RawExtension> extension_list(const Layout& layout) const;

  ImageOptions options_;
  format::Geometry geometry_;
  SparseBytes file_;
  std::optional<HostClusters> clusters_;
  std::uint64_t l1_offset_ = 0, l1_entries_ = 0;
  std::uint64_t stream_end_ = 0;  // where the next compressed stream may follow; 0: nowhere
  std::uint32_t generation_ = 0;
  Layer active_;
  std::vector<Snapshot> snapshots_;
  std::vector<Bitmap> bitmaps_;
  std::optional<Region> luks_;
  std::map<std::string, Region> reserved_;

  std::optional<std::string> backing_name_, backing_format_;
  std::optional<SparseBytes> data_file_;
  std::string data_file_name_;
  bool raw_data_file_ = false;
  bool feature_names_ = false;
  std::vector<RawExtension> extensions_;
  std::optional<std::string> error_;
};

}  // namespace cowvet::corpus
