#include "analyzer/structures.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

#include "analyzer/info.hpp"
#include "analyzer/records.hpp"
#include "base/checked.hpp"
#include "format/bitmap.hpp"
#include "format/entries.hpp"
#include "format/extensions.hpp"
#include "format/luks.hpp"
#include "format/refcounts.hpp"
#include "format/snapshot.hpp"

namespace cowvet::analyzer {

using base::HostOffset;

namespace {

constexpr std::uint64_t entry_size = 8;
constexpr std::uint64_t piece_entries = 8192;
constexpr std::uint64_t longest_header_area = 1ULL << format::limits::max_cluster_bits;

std::unexpected<base::Error> wrong(std::string message) {
  return base::fail(base::ErrorKind::usage, std::move(message));
}

}  // namespace

// Takes a path apart from the front.
class Structures::Path {
 public:
  explicit Path(std::string_view text) : rest_(text) {}
  // Takes the word if the path goes on with it and it ends there.
  bool take(std::string_view word) {
    if (!rest_.starts_with(word)) return false;
    const auto after = rest_.substr(word.size());
    if (!after.empty() && after.front() != '.' && after.front() != '[') return false;
    rest_ = after;
    return true;
  }
  // Takes "[17]".
  std::optional<std::uint64_t> index() {
    std::uint64_t number = 0;
    if (!rest_.starts_with('[')) return std::nullopt;
    const auto [stop, error] = std::from_chars(rest_.data() + 1, rest_.data() + rest_.size(), number);
    if (error != std::errc{} || stop == rest_.data() + rest_.size() || *stop != ']') return std::nullopt;
    rest_.remove_prefix(static_cast<std::size_t>(stop + 1 - rest_.data()));
    return number;
  }
  bool dot() {
    const bool there = rest_.starts_with('.');
    if (there) rest_.remove_prefix(1);
    return there;
  }
  [[nodiscard]] bool at_end() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

Structures::Structures(const storage::Device& device) : device_(device) {
  cluster0_.resize(static_cast<std::size_t>(std::min(longest_header_area, device.size())));
  const auto request = device_.read(0, cluster0_);
  cluster0_.resize(static_cast<std::size_t>(request.os_error != 0 ? request.bad_begin : request.valid));
  header_ = format::decode_header(cluster0_);
}

Structures::Done Structures::visit(std::string_view text, const Visit& visit) const {
  if (const auto at = text.find('@'); at != std::string_view::npos) {
    std::uint64_t offset = 0;
    const auto number = text.substr(at + 1);
    const bool hex = number.starts_with("0x");
    const char* end = number.data() + number.size();
    const auto [stop, error] = std::from_chars(number.data() + (hex ? 2 : 0), end, offset, hex ? 16 : 10);
    if (error != std::errc{} || stop != end) return wrong(fmt::format("'{}' is no offset", number));
    return anything(text.substr(0, at), offset, visit);
  }
  Path path(text);
  Done done =
      wrong(fmt::format("there is no structure '{}': see 'cowvet dump --help' for their names", text));
  if (path.take("header")) {
    done = header(visit);
    if (path.dot()) return done;  // "header.l1_size": the whole header shows it best
  } else if (!header_) {
    return wrong("the file is too short for a header; NAME@OFFSET shows any record at any place");
  } else if (path.take("ext")) {
    done = extensions(path.index(), visit);
  } else if (path.take("backing_name")) {
    done = backing_name(visit);
  } else if (path.take("l1")) {
    done = mapping(path, "l1", header_->v2.l1_table_offset, header_->v2.l1_size, visit);
  } else if (path.take("refcount_table")) {
    const auto g = geometry();
    if (!g) return std::unexpected(g.error());
    done =
        table("refcount_table", *format::find_word("refcount_table_entry"), header_->v2.refcount_table_offset,
              base::saturating_mul(header_->v2.refcount_table_clusters, g->cluster_size() / entry_size),
              path.index(), visit);
  } else if (path.take("refcount_block")) {
    done = refcount_block(path.index().value_or(0), visit);
  } else if (path.take("cluster")) {
    done = refcount(path.index().value_or(0), visit);
  } else if (path.take("snapshots") || path.take("snapshot")) {
    const auto index = path.index();
    done = snapshots(path, index, visit);
  } else if (path.take("bitmap_directory") || path.take("bitmap")) {
    const auto index = path.index();
    done = bitmaps(path, index, visit);
  } else if (path.take("luks")) {
    done = luks(path, visit);
  } else {
    return done;
  }
  if (done && !path.at_end()) return wrong(fmt::format("'{}' goes on behind the structure it names", text));
  return done;
}

Structures::Done Structures::header(const Visit& visit) const {
  if (cluster0_.size() < format::disk_size<format::HeaderV2>)
    return wrong("the file is too short for a header; NAME@OFFSET shows any record at any place");
  std::uint64_t at = 0;
  for (const auto* name : {"header", "header_v3", "header_additional"}) {
    const auto& record = *format::find_record(name);
    const auto rest = base::ConstBytes(cluster0_).subspan(static_cast<std::size_t>(at));
    if (at != 0 && (!header_ || !header_->has_v3() || header_->length() < at + record.size)) break;
    if (rest.size() < record.size) break;
    visit(record_at(at == 0 ? "header" : fmt::format("header+{}", at), record, rest, HostOffset{at}));
    at += record.size;
  }
  return {};
}

Structures::Done Structures::extensions(std::optional<std::uint64_t> index, const Visit& visit) const {
  const std::uint64_t name_begin = header_->v2.backing_file_offset.raw();
  const auto g = geometry();
  const auto area = format::parse_extensions(cluster0_, header_->length(),
                                             name_begin != 0 ? name_begin
                                             : g             ? g->cluster_size()
                                                             : cluster0_.size());
  if (index && *index >= area.list.size())
    return wrong(fmt::format("there are {} header extensions", area.list.size()));
  for (std::size_t i = 0; i < area.list.size(); ++i)
    if (!index || i == *index) visit(extension(fmt::format("ext[{}]", i), area.list[i]));
  return {};
}

Structures::Done Structures::backing_name(const Visit& visit) const {
  const auto& v2 = header_->v2;
  const std::uint64_t begin = v2.backing_file_offset.raw();
  if (begin == 0 || begin >= cluster0_.size())
    return wrong("the header names no backing file in the first cluster");
  const auto name = base::ConstBytes(cluster0_).subspan(static_cast<std::size_t>(begin));
  const auto length = std::min<std::size_t>(v2.backing_file_size, name.size());
  visit({.path = "backing_name",
         .spec = "Header",
         .offset = v2.backing_file_offset,
         .length = length,
         .parts = {{"name", v2.backing_file_offset, length, std::string(format::as_text(name.first(length))),
                    "", nullptr}},
         .zero_entries = 0});
  return {};
}

Structures::Done Structures::snapshots(Path& path, std::optional<std::uint64_t> index,
                                       const Visit& visit) const {
  const auto list = read_snapshots(device_, *header_);
  if (index && *index >= list.size())
    return wrong(fmt::format("{} of {} snapshots can be read", list.size(), header_->v2.nb_snapshots));
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (index && i != *index) continue;
    const auto name = fmt::format("snapshot[{}]", i);
    if (index && path.dot()) {
      if (!path.take("l1")) return wrong("a snapshot has an 'l1'");
      return mapping(path, name + ".l1", list[i].entry.l1_table_offset, list[i].entry.l1_size, visit);
    }
    visit(snapshot(name, list[i], header_->v2.snapshots_offset));
  }
  return {};
}

Structures::Done Structures::bitmaps(Path& path, std::optional<std::uint64_t> index,
                                     const Visit& visit) const {
  const auto area = format::parse_extensions(cluster0_, header_->length(), cluster0_.size());
  const auto* extension = area.find(format::ExtensionType::bitmaps);
  const auto where =
      extension == nullptr ? std::nullopt : format::exact<format::BitmapsExtension>(extension->data);
  if (!where) return wrong("the header has no bitmaps extension");
  const auto list = read_bitmaps(device_, *where);
  if (index && *index >= list.size())
    return wrong(fmt::format("{} of {} bitmaps can be read", list.size(), where->count));
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (index && i != *index) continue;
    const auto name = fmt::format("bitmap[{}]", i);
    if (index && path.dot()) {
      if (!path.take("table")) return wrong("a bitmap has a 'table'");
      return table(name + ".table", *format::find_word("bitmap_table_entry"), list[i].entry.table_offset,
                   list[i].entry.table_size, path.index(), visit);
    }
    visit(bitmap(name, list[i], where->directory_offset));
  }
  return {};
}

Structures::Done Structures::luks(Path& path, const Visit& visit) const {
  const auto area = format::parse_extensions(cluster0_, header_->length(), cluster0_.size());
  const auto* extension = area.find(format::ExtensionType::encryption);
  const auto where =
      extension == nullptr ? std::nullopt : format::exact<format::EncryptionExtension>(extension->data);
  if (!where) return wrong("the header has no pointer to a LUKS header");
  const auto region = bytes(where->offset, format::luks_header_size);
  if (!region) return std::unexpected(region.error());
  std::optional<std::uint64_t> slot;
  const bool one_slot = path.dot();
  if (one_slot) {
    if (!path.take("slot")) return wrong("a LUKS header has 'slot[0]' to 'slot[7]'");
    slot = path.index();
  } else {
    visit(record_at("luks", *format::find_record("luks"), *region, where->offset));
  }
  const auto& record = *format::find_record("luks_slot");
  for (std::size_t i = 0; i < format::luks_slots; ++i) {
    if (slot && i != *slot) continue;
    const std::size_t at = format::disk_size<format::LuksHeader> + i * record.size;
    visit(record_at(fmt::format("luks.slot[{}]", i), record, base::ConstBytes(*region).subspan(at),
                    HostOffset{where->offset.raw() + at}));
  }
  return {};
}

// "l1", "l1[3]", "l1[3].l2", "l1[3].l2[17]" behind the part of the path that says whose L1 table it is.
Structures::Done Structures::mapping(Path& path, const std::string& prefix, HostOffset l1,
                                     std::uint64_t entries, const Visit& visit) const {
  const auto index = path.index();
  if (!index || !path.dot()) return table(prefix, *format::find_word("l1_entry"), l1, entries, index, visit);
  if (!path.take("l2")) return wrong("an L1 entry has an 'l2'");
  if (*index >= entries) return wrong(fmt::format("{} has {} entries", prefix, entries));
  const auto position = l1.plus(*index * entry_size);
  if (!position) return wrong("the table lies behind the end of all addresses");
  const auto word = word_at(*position);
  if (!word) return std::unexpected(word.error());
  const auto l2 = format::L1Entry{*word}.offset();
  if (l2.raw() == 0) return wrong(fmt::format("{}[{}] names no L2 table", prefix, *index));
  return l2_table(fmt::format("{}[{}].l2", prefix, *index), l2, path.index(), visit);
}

Structures::Done Structures::l2_table(const std::string& path, HostOffset offset,
                                      std::optional<std::uint64_t> index, const Visit& visit) const {
  const auto g = geometry();
  if (!g) return std::unexpected(g.error());
  if (index && *index >= g->l2_entries())
    return wrong(fmt::format("{} has {} entries", path, g->l2_entries()));
  const auto content = bytes(offset, g->cluster_size());
  if (!content) return std::unexpected(content.error());
  visit(l2_structure(path, *g, *content, offset, index));
  return {};
}

Structures::Done Structures::refcount_block(std::uint64_t index, const Visit& visit) const {
  const auto g = geometry();
  if (!g) return std::unexpected(g.error());
  const auto position = header_->v2.refcount_table_offset.plus(base::saturating_mul(index, entry_size));
  if (!position) return wrong("the table lies behind the end of all addresses");
  const auto word = word_at(*position);
  if (!word) return std::unexpected(word.error());
  const HostOffset offset{*word & format::refcount_table_word["offset"].mask()};
  if (offset.raw() == 0) return wrong(fmt::format("refcount_table[{}] names no block", index));
  const auto content = bytes(offset, g->cluster_size());
  if (!content) return std::unexpected(content.error());
  visit(refcounts_structure(fmt::format("refcount_block[{}]", index), *g, *content, offset, index));
  return {};
}

Structures::Done Structures::refcount(std::uint64_t cluster, const Visit& visit) const {
  const auto g = geometry();
  if (!g) return std::unexpected(g.error());
  Structure one{.path = fmt::format("cluster[{}]", cluster),
                .spec = "Host cluster management",
                .offset = {},
                .length = 0,
                .parts = {},
                .zero_entries = 0};
  const auto done = refcount_block(cluster >> g->block_bits(), [&](const Structure& block) {
    one.offset = block.offset;
    const std::uint64_t bit = (cluster & (g->block_entries() - 1)) << g->refcount_order();
    const std::uint64_t width = base::divide_up(g->refcount_bits(), 8);
    const HostOffset at{block.offset.raw() + bit / 8};
    const auto stored = bytes(at, width);
    const std::uint64_t value =
        stored ? format::refcount_at(*stored, g->refcount_order(), (bit & 7) >> g->refcount_order()) : 0;
    one.offset = at;
    one.length = width;
    one.parts.push_back({"refcount", at, width, value, "in " + block.path, nullptr});
  });
  if (done) visit(one);
  return done;
}

Structures::Done Structures::anything(std::string_view name, std::uint64_t offset, const Visit& visit) const {
  const auto path = fmt::format("{}@{:#x}", name, offset);
  const HostOffset at{offset};
  if (const auto* record = format::find_record(name)) {
    const auto content = bytes(at, record->size);
    if (!content) return std::unexpected(content.error());
    visit(record_at(path, *record, *content, at));
    return {};
  }
  if (const auto* word = format::find_word(name)) {
    const auto content = bytes(at, word->width);
    if (!content) return std::unexpected(content.error());
    visit({.path = path,
           .spec = word->spec,
           .offset = at,
           .length = word->width,
           .parts = {{std::string(word->name), at, word->width, number_of(*content), "", word}},
           .zero_entries = 0});
    return {};
  }
  return wrong(fmt::format("there is no record or word '{}'; docs/format.md lists them", name));
}

Structures::Done Structures::table(const std::string& path, const format::WordInfo& word, HostOffset offset,
                                   std::uint64_t entries, std::optional<std::uint64_t> index,
                                   const Visit& visit) const {
  if (index && *index >= entries) return wrong(fmt::format("{} has {} entries", path, entries));
  const std::uint64_t end = index ? *index + 1 : entries;
  for (std::uint64_t first = index.value_or(0); first < end; first += piece_entries) {
    const std::uint64_t count = std::min(piece_entries, end - first);
    const auto position = offset.plus(base::saturating_mul(first, entry_size));
    if (!position || position->raw() >= device_.size()) {
      if (first == index.value_or(0)) return wrong(fmt::format("{} lies past the end of the file", path));
      break;
    }
    const auto content = bytes(*position, std::min(count * entry_size, device_.size() - position->raw()));
    if (!content) return std::unexpected(content.error());
    auto piece = table_structure(path, word, *content, *position, first, index.has_value());
    if (!index && entries > piece_entries)
      piece.path = fmt::format("{}[{}..{}]", path, first, first + count - 1);
    visit(piece);
  }
  return {};
}

base::Result<std::uint64_t> Structures::word_at(HostOffset offset) const {
  const auto content = bytes(offset, entry_size);
  if (!content) return std::unexpected(content.error());
  return number_of(*content);
}

// Exactly so many bytes.
base::Result<std::vector<std::byte>> Structures::bytes(HostOffset offset, std::uint64_t length) const {
  if (offset.raw() > device_.size() || length > device_.size() - offset.raw())
    return wrong(fmt::format("offset {:#x} and {} bytes are not inside the file", offset.raw(), length));
  std::vector<std::byte> content(static_cast<std::size_t>(length));
  const auto request = device_.read(offset.raw(), content);
  if (request.os_error != 0)
    return base::fail(base::ErrorKind::io, fmt::format("offset {:#x} can't be read", offset.raw()),
                      request.os_error);
  return content;
}

base::Result<format::Geometry> Structures::geometry() const {
  const auto g = header_ ? format::Geometry::make(header_->v2.cluster_bits, header_->v3.refcount_order,
                                                  header_->extended_l2())
                         : std::nullopt;
  if (!g) return wrong("the header's sizes are out of range; NAME@OFFSET shows any record at any place");
  return *g;
}

}  // namespace cowvet::analyzer
