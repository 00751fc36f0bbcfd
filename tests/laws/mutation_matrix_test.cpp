// Every single-bit flip of metadata, and eight changes of every 64-bit word of it, on tiny images of each
// feature: each is reported (by a plain check, or with --deep), or proved harmless by the flat reader (every
// guest byte of every layer as before, and safe to write), or on the list of what no reader can tell. The
// list is published in docs/undetectable.md; a test compares the two.
#include <array>
#include <fstream>
#include <iterator>
#include <memory>
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "analyzer/check.hpp"
#include "corpus/builder/recipe.hpp"
#include "format/header.hpp"
#include "format/snapshot.hpp"
#include "storage/memory.hpp"
#include "tests/laws/flat_image.hpp"
#include "tests/laws/mutations.hpp"

namespace cowvet::laws {

namespace {

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
    for_each_mutation(built->layout, *image_, [this](const Mutation& mutation) { look(mutation); });
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
  void look(const Mutation& mutation) {
    ++changes_;
    auto& cell = cells_[{structure_of(mutation.region.kind), mutation.change}];
    if (reported(before_, check(*image_))) {
      ++cell.reported;
    } else if (const auto now = read_flat(image_->bytes());
               now && now->layers == flat_->layers && now->writable) {
      ++cell.harmless;
    } else if (reported(before_deep_, check(*image_, true))) {
      ++cell.deep;
    } else {
      const Place place{structure_of(mutation.region.kind),
                        part_of(*layout_, mutation.region, mutation.at, mutation.old ^ mutation.value)};
      if (undetectable().contains(place)) {
        ++cell.undetectable;
        used_.insert(place);
      } else if (silent_.size() < 200) {
        silent_.push_back(fmt::format("{}: {} {} at {:#x} ({}): {:#x} -> {:#x}", feature_,
                                      mutation.region.path, place.part, mutation.at, mutation.change,
                                      mutation.old, mutation.value));
      }
    }
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
  for (const auto& feature : features()) matrix.run(feature);
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
