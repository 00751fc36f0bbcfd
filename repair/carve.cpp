// 1. What uses the file now: its metadata and all that the disk and the snapshots map.
// 2. Every other cluster that is not a hole is looked at: does it read as a table, or as a snapshot table?
// 3. A table most of whose entries lead to tables is an L1 table; the others are L2 tables. An old snapshot table says
//    what an L1 table was. L2 tables that no L1 table names are placed by the tables in use that they have entries in
//    common with.
// 4. What each old disk stored is held against what uses its place now.
#include "repair/carve.hpp"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include "analyzer/content.hpp"
#include "repair/cluster_set.hpp"
#include "repair/layer_source.hpp"
#include "storage/overlay.hpp"

namespace cowvet::repair {

namespace {

using Kind = Piece::Kind;

constexpr std::uint64_t most_clusters = 1ULL << 28;  // in the file: 96 MiB of bits
constexpr std::size_t most_carved_tables = 1U << 18;
constexpr std::size_t most_held_layers = 64;  // that are held against a carved disk
constexpr std::size_t sampled = 64;           // entries of a table that is to be placed

base::Result<void> stopped() {
  return base::fail(base::ErrorKind::cancelled, "stopped: nothing was written");
}

}  // namespace

double CarvedDisk::confidence() const {
  const auto all = static_cast<double>(bytes.intact + bytes.shared + bytes.lost);
  return all == 0 ? 0 : (static_cast<double>(bytes.intact) + static_cast<double>(bytes.shared) / 2) / all;
}

class Carving::Impl {
 public:
  Impl(const storage::Device& image, const View& present)
      : image_(image),
        g_(present.geometry()),
        clusters_(g_.clusters(image.size())),
        present_(present),
        rules_{.geometry = g_, .eof = image.size(), .version2 = !present.header().has_v3()},
        used_(clusters_),
        tables_(clusters_),
        tables_in_use_(clusters_),
        overlay_(image) {}

  base::Result<void> run(base::Progress& progress) {
    progress.expect(image_.size());
    note_present();
    if (auto done = look_around(progress); !done) return done;
    sort_tables();
    place_loose();
    view.emplace(overlay_, present_.header(), g_);
    for (auto& disk : found) {
      if (progress.stop_requested()) return stopped();
      measure(disk);
    }
    std::erase_if(found, [](const CarvedDisk& disk) { return disk.bytes.intact == 0; });
    std::ranges::stable_sort(found, [](const CarvedDisk& a, const CarvedDisk& b) {
      return std::pair(a.confidence(), a.bytes.intact) > std::pair(b.confidence(), b.bytes.intact);
    });
    return {};
  }

  [[nodiscard]] Judge judge() const {
    auto cursors = std::make_shared<std::vector<PieceCursor>>();
    for (const auto& layer : present_.layers())
      if (cursors->size() < most_held_layers) cursors->emplace_back(present_, layer);
    return [this, cursors](const Piece& piece) { return judged(piece, *cursors); };
  }

  std::vector<CarvedDisk> found;
  std::uint64_t unplaced = 0;
  std::optional<View> view;

 private:
  [[nodiscard]] std::uint64_t cluster_of(std::uint64_t offset) const { return offset >> g_.cluster_bits(); }
  [[nodiscard]] std::uint64_t offset_of(std::uint64_t cluster) const { return cluster << g_.cluster_bits(); }
  [[nodiscard]] std::vector<std::byte> bytes_of(std::uint64_t cluster) const {
    std::vector<std::byte> bytes(static_cast<std::size_t>(g_.cluster_size()));
    const auto got = image_.read(offset_of(cluster), bytes);
    bytes.resize(static_cast<std::size_t>(got.os_error == 0 ? got.valid : 0));
    return bytes;
  }

  void note_present() {
    for (const auto& layer : present_.layers()) {
      Walk walk(present_, layer);
      while (true) {
        if (const auto table = walk.table_ahead()) {
          used_.add(cluster_of(table->offset().raw()));
          if (!tables_in_use_.has(cluster_of(table->offset().raw()))) {
            tables_in_use_.add(cluster_of(table->offset().raw()));
            in_use_.push_back({walk.position() / g_.span(), cluster_of(table->offset().raw())});
          }
        }
        const auto piece = walk.next();
        if (!piece) break;
        if (piece->kind == Kind::data)
          used_.add_range(cluster_of(piece->host), g_.clusters(piece->host + piece->length));
        if (piece->kind == Kind::compressed)
          used_.add_range(cluster_of(piece->host), g_.clusters(piece->host + piece->payload));
      }
    }
  }
  [[nodiscard]] bool used(std::uint64_t cluster) const {
    return used_.has(cluster) || present_.owned(offset_of(cluster));
  }

  base::Result<void> look_around(base::Progress& progress) {
    std::vector<std::byte> head(static_cast<std::size_t>(std::min(g_.cluster_size(), analyzer::head_bytes)));
    for (std::uint64_t c = 0, next = 0; c < clusters_; c = next) {
      if (progress.stop_requested()) return stopped();
      const auto extent = image_.extent(offset_of(c));
      const bool hole = extent.hole && extent.end >= offset_of(c + 1);
      next = hole ? cluster_of(extent.end) : c + 1;
      progress.advance(std::min(offset_of(next), image_.size()) - offset_of(c));
      if (hole || used(c)) continue;
      const auto got = image_.read(offset_of(c), head);
      if (got.os_error != 0) continue;
      const auto first = base::ConstBytes(head).first(static_cast<std::size_t>(got.valid));
      if (analyzer::classify_head(first, rules_) == analyzer::Content::other) continue;
      const auto bytes = bytes_of(c);
      const auto evidence = analyzer::classify(bytes, rules_);
      if (evidence.content == analyzer::Content::snapshot_table) read_snapshots(bytes);
      if (evidence.content != analyzer::Content::l2_table || listed_.size() == most_carved_tables) continue;
      tables_.add(c);
      listed_.push_back(c);
    }
    return {};
  }

  // Entries of an old snapshot table, up to the first that is none.
  void read_snapshots(base::ConstBytes bytes) {
    for (std::uint64_t position = 0; position < bytes.size();) {
      auto step = format::parse_snapshot(bytes.subspan(static_cast<std::size_t>(position)), position);
      if (!step.snapshot || !analyzer::looks_like_snapshot(*step.snapshot, rules_)) return;
      position = (position + step.snapshot->length() + 7) & ~std::uint64_t{7};
      const auto l1 = step.snapshot->entry.l1_table_offset.raw();
      named_.try_emplace(cluster_of(l1), std::move(*step.snapshot));
    }
  }

  void sort_tables() {
    for (const auto c : listed_) {
      const auto bytes = bytes_of(c);
      const auto evidence = analyzer::classify(bytes, rules_);
      std::unordered_set<std::uint64_t> leads;  // an L1 table names each table once
      for (const auto& named : evidence.named)
        if (named.cluster != c && (tables_.has(named.cluster) || tables_in_use_.has(named.cluster)))
          leads.insert(named.cluster);
      if (leads.size() * 2 >= evidence.named.size() && !leads.empty())
        l1_.insert(c);
      else
        l2_.push_back(c);
    }
    std::unordered_set<std::uint64_t> placed;
    for (const auto c : l1_) {
      const auto named = named_.find(c);
      if (named == named_.end() && l1_.contains(c - 1)) continue;  // the continuation of a longer one
      add_disk(c, named == named_.end() ? nullptr : &named->second, placed);
    }
    std::erase_if(l2_, [&](std::uint64_t c) { return placed.contains(c); });
  }

  void add_disk(std::uint64_t c, const format::Snapshot* snapshot,
                std::unordered_set<std::uint64_t>& placed) {
    CarvedDisk disk;
    const std::uint64_t wanted = snapshot != nullptr ? snapshot->entry.l1_size : present_.header().v2.l1_size;
    std::uint64_t room = 1;  // clusters of the table that are still there
    while (room * (g_.cluster_size() / 8) < wanted && c + room < clusters_ && !used(c + room) &&
           (l1_.contains(c + room) || base::all_zero(bytes_of(c + room))))
      ++room;
    disk.layer.l1_entries = std::min(wanted, room * (g_.cluster_size() / 8));
    disk.layer.l1 = base::HostOffset{offset_of(c)};
    disk.layer.size = disk.layer.vm_state = disk.layer.end =
        std::min(present_.header().v2.size, disk.layer.l1_entries * g_.span());
    if (snapshot != nullptr) {
      disk.kind = CarvedDisk::Kind::snapshot;
      disk.layer.snapshot = snapshot->id;
      disk.layer.name = snapshot->name;
      disk.layer.entry = *snapshot;
      disk.layer.size = disk.layer.vm_state = disk.layer.end = std::min(
          snapshot->disk_size_bytes().value_or(present_.header().v2.size), format::limits::max_virtual_size);
    }
    for (std::uint64_t i = 0; i < room; ++i) {
      const auto bytes = bytes_of(c + i);
      const base::BigEndianTable<std::uint64_t> words(bytes);
      for (std::size_t k = 0; k < words.size() && i * (g_.cluster_size() / 8) + k < disk.layer.l1_entries;
           ++k)
        if (const auto table = cluster_of(format::L1Entry{words[k]}.offset().raw()); table != 0) {
          ++disk.tables;
          placed.insert(table);
        }
    }
    found.push_back(std::move(disk));
  }

  // Which L1 entry a table without one belongs to: that of the table in use that it has most in common with.
  void place_loose() {
    std::unordered_multimap<std::uint64_t, std::size_t>
        samples;  // by entry's place in the file, mixed with its slot
    const auto key = [](std::uint64_t slot, std::uint64_t place) {
      return place * 0x9e3779b97f4a7c15ULL + slot;
    };
    const auto each = [&](base::ConstBytes bytes, auto&& use) {
      const base::BigEndianTable<std::uint64_t> words(bytes);
      const std::size_t stride = g_.extended_l2() ? 2 : 1;
      for (std::size_t i = 0; i + stride <= words.size(); i += stride) {
        const format::L2Entry entry{words[i]};
        const auto place =
            entry.compressed() ? g_.compressed_range(entry).offset.raw() : entry.offset().raw();
        if (place != 0) use(i, place);
      }
    };
    for (std::size_t t = 0; t < l2_.size(); ++t) {
      std::size_t taken = 0;
      each(bytes_of(l2_[t]), [&](std::uint64_t slot, std::uint64_t place) {
        if (taken++ < sampled) samples.emplace(key(slot, place), t);
      });
    }
    std::vector<std::map<std::uint64_t, std::uint64_t>> votes(l2_.size());  // by L1 index
    if (!l2_.empty())
      for (const auto& [index, cluster] : in_use_)
        each(bytes_of(cluster), [&](std::uint64_t slot, std::uint64_t place) {
          const auto [from, to] = samples.equal_range(key(slot, place));
          for (auto it = from; it != to; ++it) ++votes[it->second][index];
        });
    // Of several tables for one place, each is a state of its own.
    std::vector<std::map<std::uint64_t, std::uint64_t>> states;  // L1 index to cluster
    const bool single = g_.l1_entries(present_.header().v2.size) == 1;
    for (std::size_t t = 0; t < l2_.size(); ++t) {
      const auto best = std::ranges::max_element(votes[t], {}, [](const auto& vote) { return vote.second; });
      if (best == votes[t].end() && !single) {
        ++unplaced;
        continue;
      }
      const std::uint64_t index = best == votes[t].end() ? 0 : best->first;
      auto state = std::ranges::find_if(states, [&](const auto& s) { return !s.contains(index); });
      if (state == states.end()) state = states.emplace(states.end());
      state->emplace(index, l2_[t]);
    }
    for (const auto& state : states) put_together(state);
  }

  // An L1 table for them, behind the end of the file, in memory.
  void put_together(const std::map<std::uint64_t, std::uint64_t>& state) {
    CarvedDisk disk;
    disk.kind = CarvedDisk::Kind::tables;
    disk.tables = state.size();
    disk.layer.l1_entries = g_.l1_entries(present_.header().v2.size);
    disk.layer.size = disk.layer.vm_state = disk.layer.end = present_.header().v2.size;
    std::vector<std::byte> table(
        static_cast<std::size_t>(g_.clusters(disk.layer.l1_entries * 8) << g_.cluster_bits()));
    for (const auto& [index, cluster] : state)
      base::store_be<std::uint64_t, 0>(
          base::MutableBytes(table).subspan(static_cast<std::size_t>(index * 8)).first<8>(),
          offset_of(cluster));
    disk.layer.l1 = base::HostOffset{offset_of(g_.clusters(overlay_.size()))};
    if (overlay_.write(disk.layer.l1.raw(), table)) found.push_back(std::move(disk));
  }

  void measure(CarvedDisk& disk) const {
    const auto judge_it = judge();
    PieceCursor cursor(*view, disk.layer);
    for (std::uint64_t at = 0; at < disk.layer.size;) {
      const auto whole = cursor.at(at);
      if (!whole) break;
      const auto piece = judge_it(*whole);
      at = piece.end();
      if (piece.kind == Kind::lost)
        disk.bytes.lost += piece.length;
      else if (piece.kind == Kind::data || piece.kind == Kind::compressed)
        (piece.why.empty() ? disk.bytes.intact : disk.bytes.shared) += piece.length;
    }
  }

  [[nodiscard]] Piece judged(Piece piece, std::vector<PieceCursor>& present) const {
    if (piece.kind != Kind::data && piece.kind != Kind::compressed) return piece;
    // The end of the file's last cluster, and what was put together behind it.
    if (piece.host >= image_.size()) return lost(piece, "its place lies behind the end of the file");
    const bool data = piece.kind == Kind::data;
    const std::uint64_t first = cluster_of(piece.host);
    const std::uint64_t end = g_.clusters(piece.host + (data ? piece.length : piece.payload));
    const bool in_use = data ? used(first) : uses_any(first, end);
    if (!in_use) {
      if (!data) return piece;
      const auto extent = image_.extent(piece.host);
      piece = as_far_as_alike(piece, extent.end - piece.host);
      if (extent.hole) return lost(piece, "its place was given back to the file system");
      return piece;
    }
    for (auto& cursor : present) {
      const auto now = cursor.at(piece.begin);
      if (!now || now->kind != piece.kind || now->host != piece.host) continue;
      if (data)
        piece = as_far_as_alike(piece, now->length);
      else
        piece.length = std::min(piece.length, now->length);
      piece.why = "the disk or a snapshot has it too: later writes may have changed it";
      return piece;
    }
    if (!data) {  // its neighbours may be in use, and decoding tells
      piece.why = "a part of its place is in use";
      return piece;
    }
    piece.length = std::min(piece.length, offset_of(first + 1) - piece.host);
    return lost(piece, "something else lies there now");
  }
  // The beginning of a piece of data, at most so long, whose clusters are all in use, or all not.
  [[nodiscard]] Piece as_far_as_alike(Piece piece, std::uint64_t most) const {
    piece.length = std::min(piece.length, most);
    const std::uint64_t first = cluster_of(piece.host), end = g_.clusters(piece.host + piece.length);
    std::uint64_t run = first + 1;
    while (run < end && used(run) == used(first)) ++run;
    piece.length = std::min(piece.length, offset_of(run) - piece.host);
    return piece;
  }
  [[nodiscard]] bool uses_any(std::uint64_t first, std::uint64_t end) const {
    for (; first < end; ++first)
      if (used(first)) return true;
    return false;
  }
  static Piece lost(Piece piece, std::string_view why) {
    piece.kind = Kind::lost;
    piece.why = why;
    return piece;
  }

  struct InUse {
    std::uint64_t index, cluster;
  };
  const storage::Device& image_;
  const format::Geometry g_;
  const std::uint64_t clusters_;
  const View present_;
  const analyzer::ScanRules rules_;
  ClusterSet used_, tables_, tables_in_use_;
  std::vector<InUse> in_use_;                        // L2 tables, each once, with an L1 index
  std::vector<std::uint64_t> listed_;                // clusters that read as tables, ascending
  std::map<std::uint64_t, format::Snapshot> named_;  // by the cluster of their L1 table
  std::unordered_set<std::uint64_t> l1_;
  std::vector<std::uint64_t> l2_;
  storage::Overlay overlay_;
};

Carving::Carving(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Carving::~Carving() = default;

base::Result<std::unique_ptr<Carving>> Carving::run(const storage::Device& image, base::Progress& progress) {
  const auto present = View::open(image);
  if (!present) return std::unexpected(present.error());
  if (present->header().external_data_file())
    return base::fail(base::ErrorKind::usage,
                      "its data is in another file, where each cluster has one place: there is "
                      "nothing old to find");
  if (present->geometry().clusters(image.size()) > most_clusters)
    return base::fail(base::ErrorKind::limit, "the file has more clusters than carving can keep in mind");
  auto impl = std::make_unique<Impl>(image, *present);
  if (auto done = impl->run(progress); !done) return std::unexpected(done.error());
  return std::unique_ptr<Carving>(new Carving(std::move(impl)));
}

const std::vector<CarvedDisk>& Carving::disks() const { return impl_->found; }
std::uint64_t Carving::unplaced() const { return impl_->unplaced; }
const View& Carving::view() const { return *impl_->view; }
Judge Carving::judge() const { return impl_->judge(); }

}  // namespace cowvet::repair
