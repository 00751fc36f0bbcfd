#include "engine/scrap.hpp"

#include <algorithm>
#include <set>

#include "engine/mapping_tree.hpp"
#include "engine/refcount_rebuild.hpp"

namespace cowvet::engine {

namespace {

constexpr auto scrap_type = static_cast<std::uint32_t>(format::ExtensionType::scrap);
constexpr std::uint64_t most_surplus = 1ULL
                                       << 16;  // more owners than that too many are no trace of an operation

// What the header says.
ScrapNote all_noted(const Image& image) {
  const auto* data = image.header.extension(format::ExtensionType::scrap);
  return data == nullptr ? ScrapNote{} : format::parse_scrap(*data).value_or(ScrapNote{});
}

// The same without the tables of a note.
ScrapNote all_noted_but(const Image& image, const ScrapNote& note) {
  auto records = all_noted(image);
  std::erase_if(records, [&](const auto& r) {
    return std::ranges::any_of(note, [&](const auto& n) { return n.offset == r.offset; });
  });
  return records;
}

// Makes `records` what the header says.
base::Result<void> store(Image& image, const ScrapNote& records) {
  auto list = image.header.extensions();
  std::erase_if(list, [](const auto& e) { return e.type == scrap_type; });
  if (!records.empty()) list.push_back({scrap_type, format::encode_scrap(records)});
  return image.header.store(image.fields(), std::move(list), image.header.backing_name());
}

bool no_room(const base::Result<void>& stored) {
  return !stored && stored.error().kind == base::ErrorKind::limit;
}

format::ReadCluster reader(const Image& image) {
  return [&image](base::HostOffset at, base::MutableBytes into) {
    return at.raw() + into.size() <= image.file.size() &&
           image.file.read(at.raw(), into, "table").has_value();
  };
}

base::Result<std::vector<std::byte>> bytes_of(const Image& image, base::HostOffset at, std::uint64_t length) {
  if (at.raw() > image.file.size() || length > image.file.size() - at.raw())
    return base::fail(base::ErrorKind::usage, "a table lies past the file's end: run cowvet check");
  std::vector<std::byte> bytes(static_cast<std::size_t>(length));
  if (auto read = image.file.read(at.raw(), bytes, "table"); !read) return std::unexpected(read.error());
  return bytes;
}

// The clusters that a noted table and what it names may own, whatever else owns them.
class Reach {
 public:
  explicit Reach(Image& image, Changes& changes) : image_(image), changes_(changes) {}

  base::Result<void> add(const format::ScrapRecord& record) {
    const auto& g = image_.geometry();
    if (record.length % 8 != 0 || !g.aligned(record.offset)) return {};
    const auto table = bytes_of(image_, record.offset, record.length);
    if (!table) return {};
    if (format::scrap_checksum(*table, g, reader(image_)) != record.checksum) return {};
    take(changes_.clusters_of(record.offset, record.length));
    const base::BigEndianTable<std::uint64_t> words(*table);
    for (std::size_t i = 0; i < words.size(); ++i)
      if (const auto child = format::scrap_child(words[i], g))
        if (auto done = below(*child); !done) return done;
    return {};
  }
  [[nodiscard]] const std::set<std::uint64_t>& clusters() const { return clusters_; }

 private:
  void take(Clusters run) {
    const std::uint64_t end = image_.geometry().clusters(image_.file.size());
    for (auto c = run.first; c < std::min(run.end(), end); ++c) clusters_.insert(c);
  }
  // Read from the file: these may be tables of any kind, and nobody's.
  base::Result<void> below(base::HostOffset at) {
    const auto& g = image_.geometry();
    if (!clusters_.insert(at.raw() >> g.cluster_bits()).second) return {};
    const auto bytes = bytes_of(image_, at, g.cluster_size());
    if (!bytes) return std::unexpected(bytes.error());
    const base::BigEndianTable<std::uint64_t> words(*bytes);
    for (std::size_t i = 0; i < words.size(); i += static_cast<std::size_t>(g.l2_entry_size() / 8))
      take(changes_.owned_by(Slot{.entry = format::L2Entry{words[i]}, .pieces = {}}));
    return {};
  }

  Image& image_;
  Changes& changes_;
  std::set<std::uint64_t> clusters_;
};

base::Result<void> wipe_cluster(Image& image, Changes& changes, std::uint64_t cluster) {
  const auto& g = image.geometry();
  const std::uint64_t at = cluster << g.cluster_bits();
  const auto counted = changes.refcounts().get(cluster);
  if (!counted || *counted != 0 || at + g.cluster_size() > image.file.size()) return {};
  if (const auto extent = image.file.device().extent(at); extent.hole && extent.end >= at + g.cluster_size())
    return {};
  image.tables.forget(base::HostOffset{at});
  return image.file.write(at, std::vector<std::byte>(static_cast<std::size_t>(g.cluster_size())));
}

base::Result<void> wipe(Image& image, Changes& changes, const format::ScrapRecord& record) {
  const auto& g = image.geometry();
  const auto table = bytes_of(image, record.offset, record.length / 8 * 8);
  if (!table || !g.aligned(record.offset)) return {};
  const base::BigEndianTable<std::uint64_t> words(*table);
  for (std::size_t i = 0; i < words.size(); ++i)
    if (const auto child = format::scrap_child(words[i], g))
      if (auto done = wipe_cluster(image, changes, child->raw() >> g.cluster_bits()); !done) return done;
  const auto own = changes.clusters_of(record.offset, record.length);
  for (auto c = own.first; c < own.end(); ++c)
    if (auto done = wipe_cluster(image, changes, c); !done) return done;
  return {};
}

}  // namespace

base::Result<ScrapNote> note_scrap(Image& image, const std::vector<ScrapTable>& tables) {
  ScrapNote note;
  for (const auto& t : tables) {
    if (t.entries == 0) continue;
    const auto bytes = bytes_of(image, t.at, t.entries * 8);
    if (!bytes) return std::unexpected(bytes.error());
    const auto sum = format::scrap_checksum(*bytes, image.geometry(), reader(image));
    if (!sum) return base::fail(base::ErrorKind::usage, "a table can't be read: run cowvet check");
    note.push_back({t.at, static_cast<std::uint32_t>(bytes->size()), *sum});
  }
  if (note.empty()) return note;
  // What an operation that failed has left stays noted, the newest of it where there is not room for all.
  auto records = all_noted_but(image, note);
  if (const auto all = records.size() + note.size(); all > format::most_scrap_records)
    records.erase(records.begin(),
                  records.begin() + static_cast<std::ptrdiff_t>(all - format::most_scrap_records));
  records.insert(records.end(), note.begin(), note.end());
  auto stored = store(image, records);
  if (no_room(stored)) stored = store(image, note);
  if (no_room(stored)) return ScrapNote{};
  if (!stored) return std::unexpected(stored.error());
  return note;
}

base::Result<void> drop_scrap(Image& image, Changes& changes, const ScrapNote& note) {
  if (note.empty()) return {};
  for (const auto& record : note)
    if (auto wiped = wipe(image, changes, record); !wiped) return wiped;
  const auto stored = store(image, all_noted_but(image, note));
  return no_room(stored) ? base::Result<void>{} : stored;  // it explains nothing any more
}

base::Result<void> recover_scrap(Image& image, Changes& changes, const Bitmaps& bitmaps) {
  const auto note = all_noted(image);
  Reach reach(image, changes);
  for (const auto& record : note)
    if (auto added = reach.add(record); !added) return added;
  if (!reach.clusters().empty()) {
    const auto owners = count_owners(image, changes, bitmaps);
    if (!owners) return {};  // the check says what is wrong; the note stays
    auto& counts = changes.refcounts();
    for (const auto cluster : reach.clusters()) {
      const auto counted = counts.get(cluster);
      if (!counted) return std::unexpected(counted.error());
      const std::uint64_t owned = owners->of(cluster);
      if (*counted <= owned || *counted - owned > most_surplus) continue;
      for (auto n = *counted; n > owned; --n)
        if (auto lowered = counts.lower({cluster, 1}); !lowered) return lowered;
    }
    if (auto done = changes.settle(); !done) return done;
    if (auto done = MappingTree(image, changes).set_copied(); !done) return done;
    if (auto done = changes.settle(); !done) return done;
  }
  return drop_scrap(image, changes, note);
}

}  // namespace cowvet::engine
