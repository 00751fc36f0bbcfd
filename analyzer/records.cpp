#include "analyzer/records.hpp"

#include <fmt/format.h>

#include "format/entries.hpp"
#include "format/refcounts.hpp"

namespace cowvet::analyzer {

using base::HostOffset;

namespace {

HostOffset moved(HostOffset offset, std::uint64_t by) { return HostOffset{offset.raw() + by}; }

void add_text(Structure& structure, std::string name, std::uint64_t at, std::string_view bytes,
              std::string note = "") {
  structure.parts.push_back(
      {std::move(name), HostOffset{at}, bytes.size(), std::string(bytes), std::move(note), nullptr});
}

// A record whose fields were encoded again: what was read is what is stored.
template <format::Record T>
Structure encoded_record(std::string path, std::string_view name, const T& record, HostOffset offset) {
  const auto bytes = format::encode(record);
  return record_at(std::move(path), *format::find_record(name), bytes, offset);
}

std::string describe_l2(const format::Geometry& geometry, format::L2Entry entry) {
  if (!entry.compressed()) return {};
  const auto range = geometry.compressed_range(entry);
  return fmt::format("offset {:#x}, {} more sectors", range.offset.raw(), range.sectors);
}

}  // namespace

std::uint64_t number_of(base::ConstBytes bytes) {
  std::uint64_t number = 0;
  for (const std::byte byte : bytes) number = number << 8 | std::to_integer<std::uint64_t>(byte);
  return number;
}

Structure record_at(std::string path, const format::RecordInfo& record, base::ConstBytes bytes,
                    HostOffset offset) {
  Structure structure{.path = std::move(path),
                      .spec = record.spec,
                      .offset = offset,
                      .length = record.size,
                      .parts = {},
                      .zero_entries = 0};
  for (const auto& field : record.fields) {
    const auto content = bytes.subspan(field.offset, field.width);
    Part part{std::string(field.name), moved(offset, field.offset),   field.width, {},
              std::string(field.note), format::word_of(record, field)};
    if (field.text)
      part.value = std::string(format::as_text(content));
    else
      part.value = number_of(content);
    structure.parts.push_back(std::move(part));
  }
  return structure;
}

Structure extension(std::string path, const format::Extension& extension) {
  const format::ExtensionHeader head{extension.type, static_cast<std::uint32_t>(extension.data.size())};
  auto structure = encoded_record(std::move(path), "extension", head, HostOffset{extension.position});
  const std::uint64_t data_at = extension.position + structure.length;
  structure.length += extension.data.size() + extension.padding.size();
  const auto inner = [&](std::string_view name) {
    const auto& record = *format::find_record(name);
    for (std::uint64_t at = 0; extension.data.size() - at >= record.size; at += record.size) {
      auto fields = record_at("", record, extension.data.subspan(static_cast<std::size_t>(at)),
                              HostOffset{data_at + at});
      for (auto& part : fields.parts) structure.parts.push_back(std::move(part));
    }
  };
  switch (static_cast<format::ExtensionType>(extension.type)) {
    case format::ExtensionType::feature_names: inner("feature_name"); break;
    case format::ExtensionType::bitmaps: inner("bitmaps"); break;
    case format::ExtensionType::encryption: inner("encryption"); break;
    default: add_text(structure, "data", data_at, format::as_text(extension.data));
  }
  return structure;
}

Structure snapshot(std::string path, const format::Snapshot& snapshot, HostOffset table) {
  const HostOffset offset = moved(table, snapshot.position);
  auto structure = encoded_record(std::move(path), "snapshot", snapshot.entry, offset);
  std::uint64_t at = offset.raw() + structure.length;
  const auto& record = *format::find_record("snapshot_extra");
  for (const auto& field : record.fields) {
    if (snapshot.extra.size() < field.offset + field.width) break;
    structure.parts.push_back({std::string(field.name), HostOffset{at + field.offset}, field.width,
                               *snapshot.extra_field(field.offset), std::string(field.note), nullptr});
  }
  if (snapshot.extra.size() > record.size)
    add_text(structure, "more_extra_data", at + record.size,
             format::as_text(snapshot.extra).substr(record.size));
  at += snapshot.extra.size();
  add_text(structure, "id", at, snapshot.id);
  add_text(structure, "name", at + snapshot.id.size(), snapshot.name);
  structure.length = snapshot.length() + snapshot.padding.size();
  return structure;
}

Structure bitmap(std::string path, const format::Bitmap& bitmap, HostOffset directory) {
  const HostOffset offset = moved(directory, bitmap.position);
  auto structure = encoded_record(std::move(path), "bitmap", bitmap.entry, offset);
  const std::uint64_t at = offset.raw() + structure.length;
  if (!bitmap.extra.empty()) add_text(structure, "extra_data", at, format::as_text(bitmap.extra));
  add_text(structure, "name", at + bitmap.extra.size(), bitmap.name);
  structure.length += bitmap.extra.size() + bitmap.name.size() + bitmap.padding.size();
  return structure;
}

Structure table_structure(std::string path, const format::WordInfo& word, base::ConstBytes bytes,
                          HostOffset offset, std::uint64_t first, bool all) {
  Structure structure{.path = std::move(path),
                      .spec = word.spec,
                      .offset = offset,
                      .length = bytes.size(),
                      .parts = {},
                      .zero_entries = 0};
  const base::BigEndianTable<std::uint64_t> table(bytes);
  for (std::size_t i = 0; i < table.size(); ++i) {
    if (table[i] == 0 && !all)
      ++structure.zero_entries;
    else
      structure.parts.push_back(
          {fmt::format("[{}]", first + i), moved(offset, 8 * i), 8, table[i], "", &word});
  }
  return structure;
}

Structure l2_structure(std::string path, const format::Geometry& geometry, base::ConstBytes bytes,
                       HostOffset offset, std::optional<std::uint64_t> index) {
  const std::uint64_t width = geometry.l2_entry_size();
  Structure structure{.path = std::move(path),
                      .spec = "Cluster mapping",
                      .offset = offset,
                      .length = bytes.size(),
                      .parts = {},
                      .zero_entries = 0};
  const base::BigEndianTable<std::uint64_t> table(bytes);
  for (std::uint64_t i = index.value_or(0); i < (index ? *index + 1 : geometry.l2_entries()); ++i) {
    const auto word = static_cast<std::size_t>(i * width / 8);
    const format::L2Entry entry{table[word]};
    const std::uint64_t second = geometry.extended_l2() ? table[word + 1] : 0;
    if (entry.word == 0 && second == 0 && !index) {
      ++structure.zero_entries;
      continue;
    }
    const auto* bits = format::find_word(entry.compressed() ? "l2_compressed_entry" : "l2_entry");
    structure.parts.push_back({fmt::format("[{}]", i), moved(offset, i * width), 8, entry.word,
                               describe_l2(geometry, entry), bits});
    if (geometry.extended_l2())
      structure.parts.push_back({fmt::format("[{}].subclusters", i), moved(offset, i * width + 8), 8, second,
                                 "", format::find_word("l2_subclusters")});
  }
  return structure;
}

Structure refcounts_structure(std::string path, const format::Geometry& geometry, base::ConstBytes bytes,
                              HostOffset offset, std::uint64_t index) {
  Structure structure{.path = std::move(path),
                      .spec = "Host cluster management",
                      .offset = offset,
                      .length = bytes.size(),
                      .parts = {},
                      .zero_entries = 0};
  const std::uint64_t first_cluster = index << geometry.block_bits();
  const std::uint64_t entries = geometry.block_entries();
  for (std::uint64_t i = 0; i < entries;) {
    const std::uint64_t value = format::refcount_at(bytes, geometry.refcount_order(), i);
    std::uint64_t end = i + 1;
    while (end < entries && format::refcount_at(bytes, geometry.refcount_order(), end) == value) ++end;
    const std::uint64_t begin = i;
    i = end;
    if (value == 0) {
      structure.zero_entries += end - begin;
      continue;
    }
    const std::uint64_t low = (begin << geometry.refcount_order()) / 8;
    const std::uint64_t high = ((end << geometry.refcount_order()) + 7) / 8;
    auto name = end - begin == 1
                    ? fmt::format("cluster[{}]", first_cluster + begin)
                    : fmt::format("cluster[{}..{}]", first_cluster + begin, first_cluster + end - 1);
    structure.parts.push_back({std::move(name), moved(offset, low), high - low, value, "", nullptr});
  }
  return structure;
}

}  // namespace cowvet::analyzer
