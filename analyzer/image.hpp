// What is known of an image while it is examined: its bytes, its header as far as it can be used, and the structures
// that the checks of each area have read so far. The checks fill it in order (see check.cpp); none of them judges what
// belongs to another's area.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "analyzer/labels.hpp"
#include "analyzer/options.hpp"
#include "analyzer/orphan.hpp"
#include "base/progress.hpp"
#include "findings/collector.hpp"
#include "findings/finding.hpp"
#include "format/bitmap.hpp"
#include "format/extensions.hpp"
#include "format/geometry.hpp"
#include "format/header.hpp"
#include "format/luks.hpp"
#include "format/snapshot.hpp"
#include "storage/device.hpp"

namespace cowvet::analyzer {

// A structure that owns whole clusters of the file. Regions past the end of the file are named all the same.
struct Region {
  Kind kind;
  base::HostOffset begin;
  std::uint64_t length = 0;  // bytes; 0 owns nothing
  std::uint32_t index = 0;   // of the snapshot or the bitmap that it belongs to
  std::uint32_t entry = 0;   // bitmap data: the entry of the bitmap's table that names its first cluster
  // Path for findings: "snapshot[2].l1". Computed, since thousands of snapshots have as many regions.
  [[nodiscard]] std::string where() const;
};

struct SnapshotState {
  format::Snapshot data;
  std::size_t index = 0;   // in the table
  bool l1_usable = false;  // its L1 table can be walked: aligned, not at 0, within the limits
  // Path of the snapshot in findings: "snapshot[2]".
  [[nodiscard]] std::string where() const;
};

struct BitmapState {
  format::Bitmap data;
  std::size_t index = 0;
  bool usable = false;                      // its table can be read
  [[nodiscard]] std::string where() const;  // "bitmap[0]"
};

// Clusters that nobody owns any more, though it is known what they are: see stale_bitmaps.hpp.
struct StaleRegion {
  base::HostOffset begin;
  std::uint64_t length = 0;  // bytes
  std::string name;          // of the owner that was: "the stale bitmap \"b0\""
};

struct Image {
  Image(const storage::Device& device_, const Options& options_, findings::Collector& findings_,
        base::Progress& progress_)
      : device(device_), options(options_), findings(findings_), progress(progress_) {}

  const storage::Device& device;
  const Options& options;
  findings::Collector& findings;
  base::Progress& progress;

  std::uint64_t eof = 0;                     // length of the file in bytes
  std::vector<std::byte> cluster0;           // the file's first cluster, as far as it exists
  format::Header header;                     // as stored; with an inferred geometry, repaired by inference
  std::optional<format::Geometry> geometry;  // nothing: neither the header nor the content gives one
  bool inferred = false;     // the header was unusable: geometry and table positions come from the content
  bool header_lost = false;  // nothing of the stored header is believed
  bool trial = false;        // another reading is tried: only what is counted matters, no leak is looked into
  bool reread =
      false;  // a field of the header was replaced, since the content contradicts it: see readings.hpp
  format::ExtensionArea extensions;
  std::optional<std::string> backing_name;    // raw bytes
  std::optional<std::string> backing_format;  // raw bytes
  std::optional<std::string> data_file_name;  // raw bytes
  std::optional<std::uint64_t>
      data_file_size;  // bytes; nothing when it is unknown: no regular file, or not found
  std::optional<format::EncryptionExtension> encryption;
  bool l1_usable = false;  // the active L1 table can be walked
  bool refcount_table_usable = false;

  std::vector<SnapshotState> snapshots;
  std::vector<UnlistedSnapshot> unlisted;  // lost, if nothing else owns their L1 tables
  std::vector<Orphan> orphans;             // lost tables, in order of their clusters
  std::vector<BitmapState> bitmaps;
  bool bitmaps_owned = false;  // the autoclear bit vouches for the bitmaps: their clusters have owners

  std::vector<StaleRegion> stale;  // ascending

  std::vector<Region> regions;  // all metadata regions but L2 tables and refcount blocks
  // Why owners of clusters may be missing from the walk (gates G1 to G4 of docs/catalogue.md): while there is a reason,
  // an unowned cluster is not called harmless. One short clause each: "the snapshot table is cut off".
  std::vector<std::string> doubts;

  void doubt(std::string reason);
  void report(findings::Finding&& finding);  // marks it inferred where the geometry is
  // Whether [offset, offset + length) lies below the end of the file.
  [[nodiscard]] bool inside(base::HostOffset offset, std::uint64_t length) const {
    return offset.raw() <= eof && length <= eof - offset.raw();
  }
  // The bytes of [offset, offset + length) that exist, at most `limit` of them; a device error is reported as a finding
  // named after `where` and reads as the bytes before it.
  [[nodiscard]] std::vector<std::byte> read(base::HostOffset offset, std::uint64_t length,
                                            std::uint64_t limit, std::string_view where);
};

// The checks of each area, in the order in which check() runs them. Each reports its findings, fills in what it has
// read, adds its regions, and leaves a doubt where owners may be missing.
void check_header(Image& image);  // header/*, feature/* (bits), geometry; may infer
void check_extensions(
    Image& image);                   // ext/*, names of backing and data file, encryption and bitmaps pointers
void check_backing(Image& image);    // backing/*, security/backing-host-file
void check_data_file(Image& image);  // datafile/* that need no walk, security/data-file-host-file
void check_encryption(Image& image);  // crypt/*, luks/*
void check_snapshots(Image& image);   // snapshot/* of the table itself
void check_bitmaps(Image& image);     // bitmap/*

// All of these in their order. Afterwards image.geometry says whether there is something to walk.
void read_structures(Image& image);
// Bytes for labels: what the user says, or 40 MiB less what snapshots take, and a byte for each cluster that the file
// really holds. The geometry is known.
[[nodiscard]] std::uint64_t label_budget(const Image& image);

}  // namespace cowvet::analyzer
