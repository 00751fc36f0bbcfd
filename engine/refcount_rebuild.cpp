#include "engine/refcount_rebuild.hpp"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "engine/scrap.hpp"
#include "format/refcounts.hpp"

namespace cowvet::engine {

namespace {

using base::ErrorKind;
using Count = std::function<base::Result<std::uint64_t>(std::uint64_t cluster)>;

base::Result<void> unsound(std::string_view what) {
  return base::fail(ErrorKind::usage,
                    fmt::format("the image was not closed properly, and not only its refcounts are out of "
                                "date ({}): run cowvet repair, or open it read-only",
                                what));
}

// Writes blocks and table for the counts of clusters below `end`, behind everything, and makes the header name them.
// `width`: the new refcount order.
base::Result<void> write_refcounts(Image& image, std::uint32_t order, std::uint64_t end, const Count& count,
                                   base::Progress& progress) {
  const auto geometry =
      format::Geometry::make(image.geometry().cluster_bits(), order, image.geometry().extended_l2());
  if (!geometry) return base::fail(ErrorKind::usage, "refcounts have 1 to 64 bits");
  const auto bits = geometry->cluster_bits();
  const std::uint64_t first = std::max(end, (image.file.size() + geometry->cluster_size() - 1) >> bits);

  // Which blocks there must be: those with counts, and those that count the new clusters themselves.
  std::set<std::uint64_t> indices;
  for (std::uint64_t c = 0; c < end; ++c) {
    const auto owners = count(c);
    if (!owners) return std::unexpected(owners.error());
    if (*owners > geometry->max_refcount())
      return base::fail(ErrorKind::limit,
                        fmt::format("host cluster {:#x} has {} owners, more than {}-bit refcounts can count",
                                    c, *owners, geometry->refcount_bits()));
    if (*owners == 0) continue;
    indices.insert(c >> geometry->block_bits());
    if (progress.stop_requested()) return base::fail(ErrorKind::cancelled, "stopped; the image is as it was");
  }
  std::uint64_t table_clusters = 1;
  while (true) {
    const std::uint64_t last = first + indices.size() + table_clusters - 1;
    const std::size_t before = indices.size();
    const std::uint64_t before_clusters = table_clusters;
    for (auto i = first >> geometry->block_bits(); i <= last >> geometry->block_bits(); ++i)
      indices.insert(i);
    table_clusters =
        std::max(table_clusters, base::divide_up((*indices.rbegin() + 1) * 8, geometry->cluster_size()));
    if (indices.size() == before && table_clusters == before_clusters) break;
  }
  if (table_clusters << bits > format::limits::max_refcount_table)
    return base::fail(ErrorKind::limit, "the image is too large for refcounts of this width");

  const std::uint64_t own_end = first + indices.size() + table_clusters;
  if (auto reached = image.file.reach(own_end << bits); !reached) return reached;
  std::vector<std::byte> table(static_cast<std::size_t>(table_clusters << bits));
  std::vector<std::byte> block(static_cast<std::size_t>(geometry->cluster_size()));
  std::uint64_t place = first;
  progress.expect(indices.size() << bits);
  for (const auto index : indices) {
    std::ranges::fill(block, std::byte{0});
    for (std::uint64_t i = 0; i < geometry->block_entries(); ++i) {
      const std::uint64_t c = (index << geometry->block_bits()) + i;
      if (c >= own_end) break;
      const auto owners = c >= first ? base::Result<std::uint64_t>(1) : c < end ? count(c) : 0;
      if (!owners) return std::unexpected(owners.error());
      format::set_refcount(block, order, i, *owners);
    }
    if (auto written = image.file.write(place << bits, block); !written) return written;
    base::store_be<std::uint64_t, 0>(
        base::MutableBytes(table).subspan(static_cast<std::size_t>(index * 8)).first<8>(), place << bits);
    ++place;
    progress.advance(geometry->cluster_size());
    if (progress.stop_requested()) return base::fail(ErrorKind::cancelled, "stopped; the image is as it was");
  }
  if (auto written = image.file.write(place << bits, table); !written) return written;
  if (auto flushed = image.file.flush(); !flushed) return flushed;

  auto fields = image.fields();
  fields.v2.refcount_table_offset = base::HostOffset{place << bits};
  fields.v2.refcount_table_clusters = static_cast<std::uint32_t>(table_clusters);
  if (fields.has_v3()) fields.v3.refcount_order = order;
  fields.v3.incompatible_features =
      format::incompatible_word["dirty"].set(fields.v3.incompatible_features, 0);
  if (auto stored = image.header.store(fields); !stored) return stored;
  if (auto flushed = image.file.flush(); !flushed) return flushed;
  image.rules.geometry = image.reading.rules.geometry = image.header.geometry();
  return {};
}

// Counts what the mappings own, and refuses what a writer could make worse.
class Recount {
 public:
  Recount(Image& image, Changes& changes) : image_(image), changes_(changes) {}

  base::Result<void> run(const Bitmaps& bitmaps) {
    const auto& v2 = image_.fields().v2;
    for (const auto& e : image_.header.extensions())
      if (!known(e.type)) return unsound("a header extension that is not known may own clusters");
    owners_.add({0, 1});
    owners_.add(changes_.clusters_of(v2.l1_table_offset, image_.l1.size() * 8));
    owners_.add(changes_.clusters_of(v2.snapshots_offset, image_.snapshot_bytes));
    if (const auto* data = image_.header.extension(format::ExtensionType::encryption)) {
      const auto luks = format::exact<format::EncryptionExtension>(*data);
      if (!luks || !image_.geometry().aligned(luks->offset) || luks->offset.raw() > image_.file.size() ||
          luks->length > image_.file.size() - luks->offset.raw())
        return unsound("the encryption header");
      owners_.add(changes_.clusters_of(luks->offset, luks->length));
    }
    if (auto done = bitmaps.each_cluster([&](Clusters c) { owners_.add(c); }); !done)
      return unsound("bitmaps");
    if (auto done = tree(image_.l1); !done) return done;
    for (const auto& s : image_.snapshots) {
      const auto l1 = read_snapshot_l1(image_.file, image_.geometry(), s);
      if (!l1) return unsound(l1.error().message);
      owners_.add(changes_.clusters_of(s.entry.l1_table_offset, l1->size() * 8));
      if (auto done = tree(*l1); !done) return done;
    }
    return check_copied();
  }
  [[nodiscard]] const OwnerCounts& owners() const { return owners_; }

 private:
  static bool known(std::uint32_t type) {
    using enum format::ExtensionType;
    return std::ranges::any_of(
        std::array{backing_format, feature_names, bitmaps, encryption, data_file, scrap},
        [&](auto t) { return type == static_cast<std::uint32_t>(t); });
  }
  base::Result<TablePointer> table(std::uint64_t word) const {
    const format::L1Entry entry{word};
    if (entry.offset().raw() == 0 && word == 0) return nullptr;
    if (entry.reserved() != 0 || entry.offset().raw() == 0 || !image_.geometry().aligned(entry.offset()))
      return std::unexpected(unsound("an L1 entry").error());
    auto found = image_.tables.get(TableKind::l2, entry.offset());
    if (!found) return std::unexpected(unsound(found.error().message).error());
    return found;
  }
  base::Result<void> tree(const std::vector<std::uint64_t>& l1) {
    const auto& g = image_.geometry();
    const std::uint64_t file_end = (image_.file.size() + g.cluster_size() - 1) >> g.cluster_bits();
    for (std::size_t i = 0; i < l1.size(); ++i) {
      const auto l2 = table(l1[i]);
      if (!l2) return std::unexpected(l2.error());
      if (*l2 == nullptr) continue;
      owners_.add({(*l2)->at().raw() >> g.cluster_bits(), 1});
      for (std::uint64_t j = 0; j < g.l2_entries(); ++j) {
        const auto slot = image_.rules.load(**l2, j);
        const auto owned = changes_.owned_by(slot);
        if (!image_.rules.fault(slot, i * g.span() + (j << g.cluster_bits())).empty() ||
            !image_.rules.doubt(slot).empty() || owned.end() > file_end)
          return unsound("an L2 entry");
        owners_.add(owned);
      }
    }
    return {};
  }
  // COPIED lets a writer overwrite: nothing that has other owners may have it.
  base::Result<void> check_copied() {
    const auto& g = image_.geometry();
    for (const auto word : image_.l1) {
      const auto l2 = table(word);
      if (!l2) return std::unexpected(l2.error());
      if (*l2 == nullptr) continue;
      if (format::L1Entry{word}.copied() && owners_.of((*l2)->at().raw() >> g.cluster_bits()) != 1)
        return unsound("an L2 table with several owners");
      for (std::uint64_t j = 0; j < g.l2_entries() && !image_.rules.data_file; ++j) {
        const auto slot = image_.rules.load(**l2, j);
        if (slot.entry.compressed() || !slot.entry.copied()) continue;
        if (owners_.of(slot.entry.offset().raw() >> g.cluster_bits()) != 1)
          return unsound("a cluster with several owners");
      }
    }
    return {};
  }

  Image& image_;
  Changes& changes_;
  OwnerCounts owners_;
};

}  // namespace

void OwnerCounts::add(Clusters clusters, std::uint64_t owners) {
  for (std::uint64_t c = clusters.first; c < clusters.end(); ++c) {
    auto& counts = pages_[c / page];
    if (counts.empty()) counts.resize(page);
    counts[static_cast<std::size_t>(c % page)] += static_cast<std::uint32_t>(owners);
  }
  if (clusters.count != 0) end_ = std::max(end_, clusters.end());
}

std::uint64_t OwnerCounts::of(std::uint64_t cluster) const {
  const auto found = pages_.find(cluster / page);
  return found == pages_.end() ? 0 : found->second[static_cast<std::size_t>(cluster % page)];
}

base::Result<void> change_refcount_order(Image& image, Changes& changes, std::uint32_t order,
                                         base::Progress& progress) {
  if (auto done = changes.settle(); !done) return done;
  const auto end = changes.refcounts().end_of_use();
  if (!end) return std::unexpected(end.error());
  const auto old = changes.refcounts().own();
  const auto& v2 = image.fields().v2;
  const auto noted = note_scrap(
      image,
      {{.at = v2.refcount_table_offset,
        .entries = (std::uint64_t{v2.refcount_table_clusters} << image.geometry().cluster_bits()) / 8}});
  if (!noted) return std::unexpected(noted.error());
  const auto count = [&](std::uint64_t c) { return changes.refcounts().get(c); };
  if (auto written = write_refcounts(image, order, *end, count, progress); !written) return written;
  image.tables.forget_all(TableKind::refcount_block);
  if (auto loaded = changes.load(); !loaded) return loaded;
  for (const auto& run : old)
    if (auto lowered = changes.refcounts().lower(run); !lowered) return lowered;
  if (auto done = changes.settle(); !done) return done;
  return drop_scrap(image, changes, *noted);
}

base::Result<OwnerCounts> count_owners(Image& image, Changes& changes, const Bitmaps& bitmaps) {
  Recount recount(image, changes);
  if (auto done = recount.run(bitmaps); !done) return std::unexpected(done.error());
  OwnerCounts owners = recount.owners();
  for (const auto& run : changes.refcounts().own()) owners.add(run);
  return owners;
}

base::Result<void> recount(Image& image, Changes& changes, const Bitmaps& bitmaps) {
  Recount recount(image, changes);
  if (auto done = recount.run(bitmaps); !done) return done;
  const auto& owners = recount.owners();
  base::Progress progress;
  return write_refcounts(
      image, image.geometry().refcount_order(), owners.end(),
      [&](std::uint64_t c) { return base::Result<std::uint64_t>(owners.of(c)); }, progress);
}

}  // namespace cowvet::engine
