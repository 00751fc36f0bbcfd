#include "corpus/builder/path.hpp"

#include <algorithm>
#include <span>

#include <fmt/format.h>

#include "format/bitmap.hpp"
#include "format/entries.hpp"
#include "format/extensions.hpp"
#include "format/header.hpp"
#include "format/luks.hpp"
#include "format/snapshot.hpp"

namespace cowvet::corpus {
namespace {

using format::FieldInfo;

Place structure(Region region) { return {region.offset, region.length}; }

Place integer(std::uint64_t offset, std::uint64_t width) {
  return {offset, width, Place::What::integer, 0, static_cast<std::uint32_t>(width * 8)};
}

// Walks along a path, and complains in its words.
class Walk {
 public:
  Walk(const Layout& layout, const Path& path) : layout_(layout), path_(path) {}
  Place go();

 private:
  struct Fields {
    std::uint64_t base;
    std::span<const FieldInfo> list;
  };

  [[nodiscard]] bool more() const { return at_ < path_.size(); }
  const Step& step() { return path_[at_++]; }
  // The step's only index, below `count`.
  std::uint64_t index(const Step& s, std::uint64_t count, std::string_view what);
  static void no_index(const Step& s);
  Place done(Place place) {
    if (more())
      throw Complaint{
          fmt::format("'{}' has no parts, so '.{}' names nothing", path_[at_ - 1].name, path_[at_].name)};
    return place;
  }
  // A field by name out of several records; `also` are names that the caller knows.
  const FieldInfo* find(const Fields& fields, const std::string& name) const;
  [[noreturn]] void no_field(const Step& s, std::initializer_list<Fields> fields,
                             std::vector<std::string_view> also = {}) const;
  Place field(const FieldInfo& info, std::uint64_t base);
  template <std::size_t N>
  Place parts(Place word, const format::Word<N>& table);
  template <std::size_t N>
  Place entry(std::uint64_t offset, const format::Word<N>& table) {
    return parts(integer(offset, 8), table);
  }

  Place header();
  Place extension(const Step& s);
  Place mapping(const Step& s, const MappingPlace& place);
  Place l2_entry(std::uint64_t offset);
  Place snapshot(const Step& s);
  Place bitmap(const Step& s);
  Place luks();
  Place refcounts(const Step& s);

  const Layout& layout_;
  const Path& path_;
  std::size_t at_ = 0;
};

std::uint64_t Walk::index(const Step& s, std::uint64_t count, std::string_view what) {
  if (s.indices.size() != 1 || !s.indices[0].word.empty())
    throw Complaint{fmt::format("'{}' takes one number in brackets: {}[0]", s.name, s.name)};
  if (s.indices[0].value >= count)
    throw Complaint{count == 0 ? fmt::format("the image has no {}", what)
                               : fmt::format("'{}[{}]' is not there; the {} are 0 to {}", s.name,
                                             s.indices[0].value, what, count - 1)};
  return s.indices[0].value;
}

void Walk::no_index(const Step& s) {
  if (!s.indices.empty()) throw Complaint{fmt::format("'{}' takes no index", s.name)};
}

const FieldInfo* Walk::find(const Fields& fields, const std::string& name) const {
  auto found = std::ranges::find(fields.list, std::string_view(name), &FieldInfo::name);
  return found == fields.list.end() ? nullptr : &*found;
}

void Walk::no_field(const Step& s, std::initializer_list<Fields> fields,
                    std::vector<std::string_view> also) const {
  std::vector<std::string_view> names;
  for (const auto& f : fields)
    for (const auto& info : f.list) names.push_back(info.name);
  names.insert(names.end(), also.begin(), also.end());
  throw Complaint{fmt::format("there is no '{}' here; there are {}", s.name, enumerate(names))};
}

Place Walk::field(const FieldInfo& info, std::uint64_t base) {
  if (info.text) return done({base + info.offset, info.width});
  const Place place = integer(base + info.offset, info.width);
  if (info.name == "incompatible_features") return parts(place, format::incompatible_word);
  if (info.name == "compatible_features") return parts(place, format::compatible_word);
  if (info.name == "autoclear_features") return parts(place, format::autoclear_word);
  if (info.name == "flags") return parts(place, format::bitmap_flags_word);
  return done(place);
}

template <std::size_t N>
Place Walk::parts(Place word, const format::Word<N>& table) {
  if (!more()) return word;
  const Step& s = step();
  no_index(s);
  auto part = std::ranges::find(table.parts, std::string_view(s.name), &format::BitInfo::name);
  if (part == table.parts.end()) {
    throw Complaint{fmt::format("there is no part '{}' in this word; there are {}", s.name,
                                enumerate(table.parts, &format::BitInfo::name))};
  }
  const int high = std::min(part->high, static_cast<int>(word.length * 8) - 1);
  word.low = static_cast<std::uint32_t>(part->low);
  word.bits = static_cast<std::uint32_t>(high - part->low + 1);
  word.in_place = part->name == "offset";
  return done(word);
}

Place Walk::header() {
  if (!more()) return structure(layout_.header);
  const Step& s = step();
  no_index(s);
  const Fields v2{0, format::fields_of<format::HeaderV2>()};
  const Fields v3{format::disk_size<format::HeaderV2>, format::fields_of<format::HeaderV3>()};
  const Fields additional{format::header_v3_length, format::fields_of<format::HeaderAdditional>()};
  for (const auto& record : {v2, v3, additional}) {
    const auto* info = find(record, s.name);
    if (info == nullptr) continue;
    if (record.base + info->offset + info->width > layout_.header.length)
      throw Complaint{
          fmt::format("the header ends before '{}'; it has {} bytes", s.name, layout_.header.length)};
    return field(*info, record.base);
  }
  no_field(s, {v2, v3, additional});
}

Place Walk::extension(const Step& s) {
  using format::ExtensionType;
  constexpr std::pair<std::string_view, ExtensionType> names[] = {
      {"end", ExtensionType::end},
      {"backing_format", ExtensionType::backing_format},
      {"feature_names", ExtensionType::feature_names},
      {"bitmaps", ExtensionType::bitmaps},
      {"encryption", ExtensionType::encryption},
      {"data_file", ExtensionType::data_file}};
  if (s.indices.size() != 1) throw Complaint{"write ext[0], ext[bitmaps] or ext[0x12345678]"};
  const auto& wanted = s.indices[0];
  const ExtensionPlace* place = nullptr;
  if (wanted.word.empty() && wanted.value < layout_.extensions.size()) {
    place = &layout_.extensions[wanted.value];
  } else {
    std::uint64_t type = wanted.value;
    if (!wanted.word.empty()) {
      auto named =
          std::ranges::find(names, std::string_view(wanted.word), [](const auto& n) { return n.first; });
      if (named == std::end(names))
        throw Complaint{
            fmt::format("no extension is called '{}'; there are end, backing_format, feature_names, bitmaps, "
                        "encryption and data_file, or write its number",
                        wanted.word)};
      type = static_cast<std::uint32_t>(named->second);
    }
    auto found = std::ranges::find(layout_.extensions, type, &ExtensionPlace::type);
    if (found == layout_.extensions.end()) throw Complaint{"the image has no such header extension"};
    place = &*found;
  }
  const std::uint64_t data = place->offset + format::disk_size<format::ExtensionHeader>;
  if (!more()) return {place->offset, data - place->offset + (place->length + 7ULL) / 8 * 8};

  const Step& f = step();
  const Fields head{place->offset, format::fields_of<format::ExtensionHeader>()};
  if (const auto* info = find(head, f.name)) return field(*info, head.base);
  if (f.name == "padding") return done({data + place->length, (8 - place->length % 8) % 8});
  const auto type = static_cast<ExtensionType>(place->type);
  Fields content{data, {}};
  if (type == ExtensionType::bitmaps) content.list = format::fields_of<format::BitmapsExtension>();
  if (type == ExtensionType::encryption) content.list = format::fields_of<format::EncryptionExtension>();
  // "ext[encryption].length" is the record's length, "ext[encryption].data.length" the field of its content.
  if (f.name == "data") {
    if (!more()) return {data, place->length};
    const Step& g = step();
    if (const auto* info = find(content, g.name)) return field(*info, data);
    no_field(g, {content});
  }
  if (type == ExtensionType::feature_names && f.name == "record") {
    constexpr auto size = format::disk_size<format::FeatureName>;
    const std::uint64_t base = data + index(f, place->length / size, "feature names") * size;
    if (!more()) return {base, size};
    const Step& g = step();
    const Fields record{base, format::fields_of<format::FeatureName>()};
    if (const auto* info = find(record, g.name)) return field(*info, base);
    no_field(g, {record});
  }
  if (const auto* info = find(content, f.name)) return field(*info, data);
  no_field(f, {head, content}, {"data", "padding"});
}

Place Walk::refcounts(const Step& s) {
  const auto& g = layout_.geometry;
  auto counted = [&](const Layout::RefcountPlace& p) {
    return done({p.offset, p.width, Place::What::integer, p.low_bit, g.refcount_bits()});
  };
  if (s.name == "reftable") {
    if (s.indices.empty()) return done(structure(layout_.refcount_table));
    return entry(
        layout_.refcount_table.offset + index(s, layout_.refcount_table.length / 8, "table entries") * 8,
        format::refcount_table_word);
  }
  if (s.name == "refblock") {
    if (s.indices.empty() || s.indices.size() > 2)
      throw Complaint{"write refblock[0], or refblock[0][5] for a refcount in it"};
    auto block = layout_.refcount_blocks.find(s.indices[0].value);
    if (block == layout_.refcount_blocks.end())
      throw Complaint{fmt::format("the image has no refcount block {}", s.indices[0].value)};
    if (s.indices.size() == 1) return done({block->second, g.cluster_size()});
    if (s.indices[1].value >= g.block_entries())
      throw Complaint{fmt::format("a refcount block has {} refcounts", g.block_entries())};
    return counted(layout_.refcount_in(block->second, s.indices[1].value));
  }
  // refcount[9] is cluster 9's; refcount[@l1] that of the cluster at that place.
  if (s.indices.size() != 1)
    throw Complaint{"write refcount[9] for cluster 9, or refcount[@l1] for the cluster of a structure"};
  const std::uint64_t cluster =
      s.indices[0].address ? s.indices[0].value >> g.cluster_bits() : s.indices[0].value;
  auto place = layout_.refcount_of(cluster);
  if (!place) throw Complaint{fmt::format("no refcount block counts cluster {}", cluster)};
  return counted(*place);
}

Place Walk::l2_entry(std::uint64_t offset) {
  const auto& g = layout_.geometry;
  if (!more()) return integer(offset, 8);
  if (path_[at_].name == "subclusters") {
    no_index(step());
    if (!g.extended_l2()) throw Complaint{"only images with extended_l2=yes have subclusters"};
    return entry(offset + 8, format::l2_subcluster_word);
  }
  // A compressed entry's parts, whose split depends on the cluster size.
  Place place = integer(offset, 8);
  if (path_[at_].name == "stream") {
    place.bits = g.compressed_shift();
    ++at_;
    return done(place);
  }
  if (path_[at_].name == "sectors") {
    place.low = g.compressed_shift();
    place.bits = 62 - place.low;
    ++at_;
    return done(place);
  }
  return entry(offset, format::l2_word);
}

Place Walk::mapping(const Step& s, const MappingPlace& place) {
  const auto& g = layout_.geometry;
  if (s.name == "l1") {
    if (s.indices.empty()) return done(structure(place.l1()));
    return entry(place.l1_offset + index(s, place.l1_entries, "L1 entries") * 8, format::l1_word);
  }
  if (s.name == "data") {
    const auto data = layout_.data_of(place, index(s, ~0ULL, "guest clusters"));
    if (!data) throw Complaint{fmt::format("guest cluster {} has no host cluster", s.indices[0].value)};
    return done(structure(*data));
  }
  if (s.indices.empty() || s.indices.size() > 2)
    throw Complaint{"write l2[0] for a table, l2[0][3] for an entry"};
  auto table = place.l2.find(s.indices[0].value);
  if (table == place.l2.end())
    throw Complaint{fmt::format("L1 entry {} leads to no L2 table", s.indices[0].value)};
  if (s.indices.size() == 1) return done({table->second, g.cluster_size()});
  if (s.indices[1].value >= g.l2_entries())
    throw Complaint{fmt::format("an L2 table has {} entries", g.l2_entries())};
  return l2_entry(table->second + s.indices[1].value * g.l2_entry_size());
}

Place Walk::snapshot(const Step& s) {
  const auto& place = layout_.snapshots[index(s, layout_.snapshots.size(), "snapshots")];
  const std::uint64_t extra = place.offset + format::disk_size<format::SnapshotEntry>;
  const std::uint64_t id = extra + place.extra_size;
  const std::uint64_t name = id + place.id_size;
  if (!more()) return {place.offset, name + place.name_size - place.offset};
  const Step& f = step();
  if (f.name == "l1" || f.name == "l2" || f.name == "data") return mapping(f, place.mapping);
  no_index(f);
  if (f.name == "id") return done({id, place.id_size});
  if (f.name == "name") return done({name, place.name_size});
  if (f.name == "extra") return done({extra, place.extra_size});
  const Fields fixed{place.offset, format::fields_of<format::SnapshotEntry>()};
  const Fields known{extra, format::fields_of<format::SnapshotExtra>()};
  if (const auto* info = find(fixed, f.name)) return field(*info, fixed.base);
  if (const auto* info = find(known, f.name)) {
    if (info->offset + info->width > place.extra_size)
      throw Complaint{
          fmt::format("the snapshot's {} bytes of extra data end before '{}'", place.extra_size, f.name)};
    return field(*info, known.base);
  }
  no_field(f, {fixed, known}, {"id", "name", "extra", "l1", "l2", "data"});
}

Place Walk::bitmap(const Step& s) {
  const auto& place = layout_.bitmaps[index(s, layout_.bitmaps.size(), "bitmaps")];
  const std::uint64_t extra = place.offset + format::disk_size<format::BitmapEntry>;
  const std::uint64_t name = extra + place.extra_size;
  const std::uint64_t bare = name + place.name_size - place.offset;
  const std::uint64_t whole = (bare + 7) / 8 * 8;
  if (!more()) return {place.offset, whole};
  const Step& f = step();
  if (f.name == "table") {
    if (f.indices.empty()) return done(structure(place.table));
    return entry(place.table.offset + index(f, place.table.length / 8, "table entries") * 8,
                 format::bitmap_table_word);
  }
  if (f.name == "data") {
    auto data = place.data.find(index(f, ~0ULL, "data clusters"));
    if (data == place.data.end())
      throw Complaint{fmt::format("bitmap table entry {} has no data cluster", f.indices[0].value)};
    return done({data->second, layout_.geometry.cluster_size()});
  }
  no_index(f);
  if (f.name == "name") return done({name, place.name_size});
  if (f.name == "extra") return done({extra, place.extra_size});
  if (f.name == "padding") return done({place.offset + bare, whole - bare});
  const Fields fixed{place.offset, format::fields_of<format::BitmapEntry>()};
  if (const auto* info = find(fixed, f.name)) return field(*info, fixed.base);
  no_field(f, {fixed}, {"name", "extra", "padding", "table", "data"});
}

Place Walk::luks() {
  if (!layout_.luks) throw Complaint{"the image has no LUKS header; write encryption=luks"};
  const std::uint64_t base = layout_.luks->offset;
  if (!more()) return structure(*layout_.luks);
  const Step& s = step();
  const Fields fixed{base, format::fields_of<format::LuksHeader>()};
  if (s.name == "slot") {
    constexpr auto size = format::disk_size<format::LuksKeySlot>;
    const std::uint64_t slot =
        base + format::disk_size<format::LuksHeader> + index(s, format::luks_slots, "key slots") * size;
    if (!more()) return {slot, size};
    const Step& f = step();
    const Fields record{slot, format::fields_of<format::LuksKeySlot>()};
    if (const auto* info = find(record, f.name)) return field(*info, slot);
    no_field(f, {record});
  }
  if (const auto* info = find(fixed, s.name)) return field(*info, base);
  no_field(s, {fixed}, {"slot"});
}

Place Walk::go() {
  const Step& s = step();
  if (s.name == "reftable" || s.name == "refblock" || s.name == "refcount") return refcounts(s);
  if (s.name == "l1" || s.name == "l2" || s.name == "data") return mapping(s, layout_.active);
  if (s.name == "ext") return extension(s);
  if (s.name == "snapshot") return snapshot(s);
  if (s.name == "bitmap") return bitmap(s);
  no_index(s);
  if (s.name == "header") return header();
  if (s.name == "luks") return luks();
  if (s.name == "snapshot_table" && !layout_.snapshots.empty())
    return done(structure(layout_.snapshot_table));
  if (s.name == "bitmap_directory" && !layout_.bitmaps.empty())
    return done(structure(layout_.bitmap_directory));
  if (s.name == "backing_name" && layout_.backing_name) return done(structure(*layout_.backing_name));
  if (auto found = layout_.reserved.find(s.name); found != layout_.reserved.end())
    return done(structure(found->second));
  throw Complaint{
      fmt::format("the image has no '{}'; there are header, ext[..], backing_name, reftable, refblock[..], "
                  "refcount[..], l1, l2[..], data[..], snapshot_table, snapshot[..], bitmap_directory, "
                  "bitmap[..], luks and the names of reserved clusters",
                  s.name)};
}

std::uint64_t mask_of(const Place& place) { return ~std::uint64_t{0} >> (64 - place.bits) << place.low; }

void demand_integer(const Place& place) {
  if (place.what != Place::What::integer)
    throw Complaint{fmt::format("that is {} bytes and no number; write a text or hex, or use fill or write",
                                place.length)};
}

}  // namespace

Place resolve(const Layout& layout, const Path& path) { return Walk{layout, path}.go(); }

std::uint64_t load(const SparseBytes& file, const Place& place) {
  demand_integer(place);
  const std::uint64_t masked = file.load(place.offset, place.length) & mask_of(place);
  return place.in_place ? masked : masked >> place.low;
}

void store(SparseBytes& file, const Place& place, std::uint64_t value) {
  demand_integer(place);
  const std::uint64_t mask = mask_of(place);
  const std::uint64_t above = place.bits == 64 ? 0 : value >> place.bits;
  if (place.in_place ? (value & ~mask) != 0 : above != 0 && above != ~std::uint64_t{0} >> place.bits)
    throw Complaint{
        fmt::format("{:#x} does not fit into {} bits here; set the whole word", value, place.bits)};
  const std::uint64_t word = file.load(place.offset, place.length);
  file.store(place.offset, place.length,
             (word & ~mask) | ((place.in_place ? value : value << place.low) & mask));
}

}  // namespace cowvet::corpus
