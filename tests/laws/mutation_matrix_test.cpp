// Every single-bit flip of metadata, and eight changes of every 64-bit word of it, on tiny images of each
// feature: each is reported (by a plain check, or with --deep), or proved harmless by the flat reader (every
// guest byte of every layer as before, and safe to write), or on the list of what no reader can tell. The
// list is published in docs/undetectable.md; a test compares the two.
#include <array>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "analyzer/check.hpp"
#include "corpus/builder/recipe.hpp"
#include "format/header.hpp"
#include "format/luks.hpp"
#include "format/snapshot.hpp"
#include "storage/memory.hpp"
#include "tests/laws/flat_image.hpp"

namespace cowvet::laws {

namespace {

struct Feature {
  const char* name;
  const char* recipe;
};
constexpr std::array features{
    Feature{"plain", "image size=16K cluster_size=512\ndata 0..2,9\n"},
    Feature{"version 2",
            "image version=2 size=16K cluster_size=512\ndata 0..2\nsnapshot id=1 name=a\ndata 1\n"},
    Feature{"zero clusters", "image size=16K cluster_size=512\ndata 0..1\nzero 3\nzero 4 preallocated\n"},
    Feature{"deflate", "image size=16K cluster_size=512\ncompressed 0..3\ndata 5\n"},
    Feature{"zstd", "image size=16K cluster_size=512 compression=zstd\ncompressed 0..3\ndata 5\n"},
    Feature{"subclusters",
            "image size=64K cluster_size=16K extended_l2\nsubclusters 0 allocated=0..3 zero=8..9\ndata "
            "1\nsubclusters 2 zero=0..31\n"},
    Feature{"snapshots",
            "image size=16K cluster_size=512\ndata 0..2\nsnapshot id=1 name=a vm_state=1K\ndata 1\nsnapshot "
            "id=2 name=b\ndata 2\n"},
    Feature{"bitmaps",
            "image size=64K cluster_size=512\ndata 0..2\nbitmap name=b0 granularity=512 set=0..3\nbitmap "
            "name=b1 granularity=1K auto\n"},
    Feature{"luks", "image size=16K cluster_size=512 encryption=luks\ndata 0..2\n"},
    Feature{"backing", "image size=16K cluster_size=512\nbacking \"b.raw\" format=raw\ndata 0..2\nzero 4\n"},
    Feature{"data file", "image size=16K cluster_size=512\ndatafile \"d.raw\"\ndata 0..2\n"},
    Feature{"1-bit refcounts", "image size=16K cluster_size=512 refcount_bits=1\ndata 0..2\n"},
    Feature{"2-bit refcounts",
            "image size=16K cluster_size=512 refcount_bits=2\ndata 0..2\nsnapshot id=1 name=a\ndata 1\n"},
    Feature{"8-bit refcounts", "image size=16K cluster_size=512 refcount_bits=8\ndata 0..2\n"},
    Feature{"64-bit refcounts", "image size=16K cluster_size=512 refcount_bits=64\ndata 0..2\n"},
};

struct Place {  // of a change, as the list of the undetectable names it
  std::string structure;
  std::string part;
  friend auto operator<=>(const Place&, const Place&) = default;
};

struct Reading {
  std::array<std::uint64_t, findings::rule_count> found{};
  bool recognised = false;
};

Reading check(const storage::MemoryDevice& device, bool deep = false) {
  findings::Collector collector(1);
  base::Progress progress;
  analyzer::Options options;
  options.jobs = 1;
  options.deep = deep;
  const auto verdict = analyzer::check(device, options, collector, progress);
  Reading r;
  if (!verdict) return r;
  r.recognised = verdict->recognised;
  for (std::size_t i = 0; i < r.found.size(); ++i) r.found[i] = verdict->summary.by_rule[i].clusters;
  return r;
}

// Whether the change made a difference that a user is told: another finding, or another count.
bool reported(const Reading& before, const Reading& now) {
  return before.found != now.found || before.recognised != now.recognised;
}

std::string structure_of(corpus::Kind kind) {
  constexpr std::array names{
      "header",      "extension",      "backing name", "refcount table", "refcount block",   "L1",
      "L2",          "snapshot table", "snapshot L1",  "snapshot L2",    "bitmap directory", "bitmap table",
      "bitmap data", "LUKS header",    "reserved"};
  return names[static_cast<std::size_t>(kind)];
}

std::string field_at(std::span<const format::FieldInfo> fields, std::uint64_t at) {
  for (const auto& f : fields)
    if (at >= f.offset && at < f.offset + f.width) return std::string(f.name);
  return "behind the known fields";
}

// The changed part: the field of a record, or the bits of an entry. `changed` are the bits of the word at `at`.
std::string part_of(const corpus::Layout& layout, const corpus::NamedRegion& region, std::uint64_t at,
                    std::uint64_t changed) {
  const std::uint64_t byte = at + static_cast<std::uint64_t>(std::countl_zero(changed)) / 8;
  const std::uint64_t inside = byte - region.region.offset;
  switch (region.kind) {
    case corpus::Kind::header:
      return inside < format::disk_size<format::HeaderV2>
                 ? field_at(format::fields_of<format::HeaderV2>(), inside)
                 : field_at(format::fields_of<format::HeaderV3>(),
                            inside - format::disk_size<format::HeaderV2>);
    case corpus::Kind::l2:
    case corpus::Kind::snapshot_l2:
      if (layout.geometry.extended_l2())
        return (at - region.region.offset) % 16 == 8 ? "subclusters" : "entry";
      if (changed == format::zero_flag) return "zero flag";
      return layout.external_data ? "entry, external data file" : "entry";
    case corpus::Kind::snapshot_table:
      for (const auto& s : layout.snapshots) {
        const std::uint64_t in_entry = byte - s.offset;
        if (byte < s.offset || in_entry >= format::disk_size<format::SnapshotEntry> + s.extra_size) continue;
        return in_entry < format::disk_size<format::SnapshotEntry>
                   ? field_at(format::fields_of<format::SnapshotEntry>(), in_entry)
                   : field_at(format::fields_of<format::SnapshotExtra>(),
                              in_entry - format::disk_size<format::SnapshotEntry>);
      }
      return "names";
    default: return "any";
  }
}

struct Cell {
  std::uint64_t reported = 0, deep = 0, harmless = 0, undetectable = 0;
};

// What no reader can tell: another value there is as good as the one that was there.
const std::map<Place, std::string>& undetectable() {
  static const std::map<Place, std::string> list{
      {{"header", "size"}, "a disk of another size that the L1 table also covers"},
      {{"L2", "zero flag"}, "a cluster that was made to read as zeros, or no longer is"},
      {{"L2", "subclusters"}, "subclusters that read as zeros, from the backing file or from the cluster"},
      {{"L2", "entry, external data file"},
       "a cluster of the data file that is not mapped: nothing else counts it"},
      {{"snapshot L2", "zero flag"}, "a cluster that was made to read as zeros, or no longer is"},
  };
  return list;
}

class Matrix {
 public:
  void run(const Feature& feature) {
    const auto built = corpus::build(feature.recipe, feature.name);
    ASSERT_TRUE(built) << built.error().message;
    image_ = std::make_unique<storage::MemoryDevice>(built->file.read(0, built->file.size()));
    before_ = check(*image_);
    before_deep_ = check(*image_, true);
    flat_ = read_flat(image_->bytes());
    ASSERT_TRUE(flat_ && flat_->writable)
        << feature.name << ": the flat reader does not accept the sound image";
    feature_ = feature.name;
    layout_ = &built->layout;
    std::set<std::uint64_t> done;
    for (const auto& region : built->layout.regions()) {
      if (region.kind == corpus::Kind::reserved) continue;
      const std::uint64_t first = region.region.offset & ~std::uint64_t{7};
      const std::uint64_t end =
          std::min<std::uint64_t>(region.region.offset + considered(region), image_->size());
      std::size_t zero_words = 0;
      for (std::uint64_t at = first; at + 8 <= end; at += 8) {
        // Empty words are all alike: a few of each structure stand for the rest.
        if (word(at) == 0 && region.kind != corpus::Kind::header && ++zero_words > 4) continue;
        if (done.insert(at).second) change_word(region, at);
      }
    }
  }

  void print() const {
    fmt::print("{:<18}{:<10}{:>10}{:>8}{:>10}{:>14}\n", "structure", "change", "reported", "--deep",
               "harmless", "undetectable");
    for (const auto& [key, cell] : cells_)
      fmt::print("{:<18}{:<10}{:>10}{:>8}{:>10}{:>14}\n", key.first, key.second, cell.reported, cell.deep,
                 cell.harmless, cell.undetectable);
    fmt::print("{} changes\n", changes_);
  }
  [[nodiscard]] const std::vector<std::string>& silent() const { return silent_; }
  [[nodiscard]] const std::set<Place>& used() const { return used_; }
  [[nodiscard]] std::uint64_t changes() const { return changes_; }

 private:
  // Key material is content, not metadata: of a LUKS header the fields, and a few words of the first key.
  [[nodiscard]] static std::uint64_t considered(const corpus::NamedRegion& region) {
    return region.kind == corpus::Kind::luks ? format::luks_header_size + 64 : region.region.length;
  }
  [[nodiscard]] std::uint64_t word(std::uint64_t at) const {
    return base::load_be<std::uint64_t, 0>(
        *base::prefix<8>(base::ConstBytes(image_->bytes()).subspan(static_cast<std::size_t>(at))));
  }
  void change_word(const corpus::NamedRegion& region, std::uint64_t at) {
    const std::uint64_t old = word(at);
    for (int bit = 0; bit < 64; ++bit) try_value(region, at, "bit", old, old ^ (1ULL << bit));
    const std::uint64_t random = std::mt19937_64(at)();
    for (const auto& [name, value] : {std::pair{"zero", std::uint64_t{0}},
                                      {"ones", ~std::uint64_t{0}},
                                      {"top", old ^ (1ULL << 63)},
                                      {"middle", old ^ (1ULL << 32)},
                                      {"low", old ^ 1},
                                      {"+512", old + 512},
                                      {"-512", old - 512},
                                      {"random", random}})
      if (value != old) try_value(region, at, name, old, value);
  }
  void try_value(const corpus::NamedRegion& region, std::uint64_t at, const char* change, std::uint64_t old,
                 std::uint64_t value) {
    ++changes_;
    store(at, value);
    auto& cell = cells_[{structure_of(region.kind), change}];
    if (reported(before_, check(*image_))) {
      ++cell.reported;
    } else if (const auto now = read_flat(image_->bytes());
               now && now->layers == flat_->layers && now->writable) {
      ++cell.harmless;
    } else if (reported(before_deep_, check(*image_, true))) {
      ++cell.deep;
    } else {
      const Place place{structure_of(region.kind), part_of(*layout_, region, at, old ^ value)};
      if (undetectable().contains(place)) {
        ++cell.undetectable;
        used_.insert(place);
      } else if (silent_.size() < 200) {
        silent_.push_back(fmt::format("{}: {} {} at {:#x} ({}): {:#x} -> {:#x}", feature_, region.path,
                                      place.part, at, change, old, value));
      }
    }
    store(at, old);
  }
  void store(std::uint64_t at, std::uint64_t value) {
    std::array<std::byte, 8> bytes;
    base::store_be<std::uint64_t, 0>(std::span<std::byte, 8>(bytes), value);
    ASSERT_TRUE(image_->write(at, bytes));
  }

  const char* feature_ = "";
  const corpus::Layout* layout_ = nullptr;
  std::unique_ptr<storage::MemoryDevice> image_;
  Reading before_, before_deep_;
  std::optional<FlatImage> flat_;
  std::map<std::pair<std::string, std::string>, Cell> cells_;
  std::vector<std::string> silent_;
  std::set<Place> used_;
  std::uint64_t changes_ = 0;
};

TEST(MutationMatrix, EveryChangeIsReportedOrHarmlessOrKnownToBeUndetectable) {
  Matrix matrix;
  for (const auto& feature : features) matrix.run(feature);
  matrix.print();
  for (const auto& line : matrix.silent()) ADD_FAILURE() << line;
  for (const auto& [place, why] : undetectable())
    EXPECT_TRUE(matrix.used().contains(place))
        << place.structure << ", " << place.part << " is on the list and never needed";
  EXPECT_GT(matrix.changes(), 50000U);
}

TEST(MutationMatrix, TheListOfTheUndetectableIsPublished) {
  std::ifstream file(COWVET_SOURCE_DIR "/docs/undetectable.md");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  for (const auto& [place, why] : undetectable())
    EXPECT_NE(text.find(fmt::format("| {} | {} | {} |", place.structure, place.part, why)), std::string::npos)
        << place.structure << ", " << place.part;
}

}  // namespace

}  // namespace cowvet::laws
