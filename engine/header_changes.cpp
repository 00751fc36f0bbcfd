#include "engine/header_changes.hpp"

#include <algorithm>

namespace cowvet::engine {

namespace {

namespace limits = format::limits;

using base::refuse;

std::optional<std::string> stored(std::string_view name) {
  return name.empty() ? std::nullopt : std::optional(std::string(name));
}

}  // namespace

// The header's, with the backing format; empty: with none.
std::vector<OwnExtension> HeaderChanges::extensions_with(std::string_view backing_format) const {
  constexpr auto type = static_cast<std::uint32_t>(format::ExtensionType::backing_format);
  auto extensions = image_.header.extensions();
  std::erase_if(extensions, [](const auto& e) { return e.type == type; });
  if (backing_format.empty()) return extensions;
  const auto bytes = std::as_bytes(std::span(backing_format));
  extensions.insert(extensions.begin(), OwnExtension{type, {bytes.begin(), bytes.end()}});
  return extensions;
}

base::Result<void> HeaderChanges::takes_backing_file(std::string_view name, std::string_view format) const {
  if (name.size() > limits::max_backing_name)
    return refuse("the backing file's name is longer than 1023 bytes");
  if (format.size() > limits::max_backing_format)
    return refuse("the backing format's name is longer than 15 bytes");
  if (!name.empty() && image_.fields().raw_external_data())
    return refuse("an image whose external data file is raw can't have a backing file");
  return image_.header.has_room(image_.fields(), extensions_with(name.empty() ? "" : format), stored(name));
}

base::Result<void> HeaderChanges::set_backing_file(std::string_view name, std::string_view format) {
  if (auto fine = takes_backing_file(name, format); !fine) return fine;
  if (auto done = changes_.commit(); !done) return done;
  return image_.header.store(image_.fields(), extensions_with(name.empty() ? "" : format), stored(name));
}

base::Result<void> HeaderChanges::set_lazy_refcounts(bool on) {
  if (!image_.fields().has_v3()) return refuse("lazy refcounts need version 3: amend the image to it first");
  if (auto done = changes_.settle(); !done) return done;
  auto fields = image_.fields();
  fields.v3.compatible_features =
      format::compatible_word["lazy_refcounts"].set(fields.v3.compatible_features, on ? 1 : 0);
  if (auto stored = image_.header.store(fields); !stored) return stored;
  return image_.file.flush();
}

base::Result<void> HeaderChanges::set_raw_external_data(bool on) {
  if (!image_.rules.data_file) return refuse("only an image with an external data file can keep it raw");
  if (image_.fields().raw_external_data() == on) return {};
  // Clusters that read as zeros or from a backing file may be something else in the data file.
  if (on) return refuse("an existing image's external data file can't be made raw: convert the image");
  if (auto done = changes_.commit(); !done) return done;
  auto fields = image_.fields();
  fields.v3.autoclear_features =
      format::autoclear_word["raw_external_data"].set(fields.v3.autoclear_features, 0);
  if (auto stored = image_.header.store(fields); !stored) return stored;
  return image_.file.flush();
}

base::Result<void> HeaderChanges::set_data_file(std::string_view name) {
  if (!image_.rules.data_file) return refuse("only an image with an external data file can name another one");
  if (name.empty() || name.size() > limits::max_backing_name)
    return refuse("the data file's name has 1 to 1023 bytes");
  if (auto done = changes_.commit(); !done) return done;
  constexpr auto type = static_cast<std::uint32_t>(format::ExtensionType::data_file);
  auto extensions = image_.header.extensions();
  std::erase_if(extensions, [](const auto& e) { return e.type == type; });
  const auto bytes = std::as_bytes(std::span(name));
  extensions.insert(extensions.begin(), OwnExtension{type, {bytes.begin(), bytes.end()}});
  return image_.header.store(image_.fields(), std::move(extensions), image_.header.backing_name());
}

base::Result<void> HeaderChanges::raise_version() {
  if (image_.fields().has_v3()) return {};
  if (auto done = snapshots_.complete_entries(); !done) return done;
  auto fields = image_.fields();
  fields.v2.version = 3;
  fields.v3 = {.header_length = format::header_known_length};
  if (auto stored = image_.header.store(fields, image_.header.extensions(), image_.header.backing_name());
      !stored)
    return stored;
  image_.rules.zero_flag = image_.reading.rules.zero_flag = true;
  return {};
}

base::Result<void> HeaderChanges::lower_version() {
  const auto& h = image_.fields();
  if (!h.has_v3()) return {};
  if (auto done = changes_.settle(); !done) return done;
  if (h.v3.refcount_order != 4)
    return refuse("version 2 has 16-bit refcounts only: change their width first");
  if (h.external_data_file() || h.extended_l2())
    return refuse(
        "the image uses what version 2 does not have: an external data file or extended L2 entries");
  if (h.compression() != format::Compression::deflate) {
    const auto streams = has_streams();
    if (!streams) return std::unexpected(streams.error());
    if (*streams) return refuse("version 2 does not know zstd, and the image has clusters compressed by it");
  }
  if (h.bitmaps_consistent()) return refuse("version 2 can't hold bitmaps: remove them first");
  for (const auto& s : image_.snapshots)
    if (s.disk_size_bytes().value_or(image_.size()) != image_.size())
      return refuse(
          "a snapshot has another size than the disk, which version 2 can't express: remove it first");
  if (auto done = express_zeros(); !done) return done;
  if (auto done = changes_.settle(); !done) return done;
  auto fields = image_.fields();
  fields.v2.version = 2;
  fields.v3 = {.header_length = format::disk_size<format::HeaderV2>};
  fields.additional = {};
  // What autoclear bits stood for is stale without them.
  auto extensions = image_.header.extensions();
  std::erase_if(extensions, [](const auto& e) {
    return e.type == static_cast<std::uint32_t>(format::ExtensionType::bitmaps) ||
           e.type == static_cast<std::uint32_t>(format::ExtensionType::feature_names);
  });
  if (auto stored = image_.header.store(fields, std::move(extensions), image_.header.backing_name()); !stored)
    return stored;
  image_.rules.zero_flag = image_.reading.rules.zero_flag = false;
  image_.reading.codec = format::Compression::deflate;
  return {};
}

base::Result<void> HeaderChanges::express_zeros() {
  const bool shows_below = image_.names_backing();
  for (const auto& s : image_.snapshots) {
    const auto l1 = read_snapshot_l1(image_.file, image_.geometry(), s);
    if (!l1) return std::unexpected(l1.error());
    if (!shows_below) {
      if (auto done = drop_zeros(*l1); !done) return done;
      continue;
    }
    const auto found = has(*l1, [](format::L2Entry e) { return !e.compressed() && e.zero(); });
    if (!found) return std::unexpected(found.error());
    if (*found)
      return refuse(
          "a snapshot has zero clusters over the backing file, which version 2 can't express: remove it "
          "first");
  }
  return shows_below ? write_zeros() : drop_zeros(image_.l1);
}

base::Result<bool> HeaderChanges::has_streams() const {
  const Kind stream = [](format::L2Entry e) { return e.compressed(); };
  for (const auto& s : image_.snapshots) {
    const auto l1 = read_snapshot_l1(image_.file, image_.geometry(), s);
    if (!l1) return std::unexpected(l1.error());
    if (auto found = has(*l1, stream); !found || *found) return found;
  }
  return has(image_.l1, stream);
}

base::Result<bool> HeaderChanges::has(const std::vector<std::uint64_t>& l1, Kind kind) const {
  for (const auto word : l1) {
    const format::L1Entry entry{word};
    if (entry.offset().raw() == 0) continue;
    const auto table = image_.tables.get(TableKind::l2, entry.offset());
    if (!table) return std::unexpected(table.error());
    for (std::uint64_t i = 0; i < image_.geometry().l2_entries(); ++i)
      if (kind(image_.rules.load(**table, i).entry)) return true;
  }
  return false;
}

// In place, in shared tables too: what every owner reads stays the same. A reserved cluster loses all owners
// that it has through the table.
base::Result<void> HeaderChanges::drop_zeros(const std::vector<std::uint64_t>& l1) {
  for (const auto word : l1) {
    const format::L1Entry entry{word};
    if (entry.offset().raw() == 0) continue;
    if (auto done = changes_.relieve(); !done) return done;
    const auto table = image_.tables.get(TableKind::l2, entry.offset());
    if (!table) return std::unexpected(table.error());
    const auto owners = changes_.refcounts().get(entry.offset().raw() >> image_.geometry().cluster_bits());
    if (!owners) return std::unexpected(owners.error());
    for (std::uint64_t i = 0; i < image_.geometry().l2_entries(); ++i) {
      const auto slot = image_.rules.load(**table, i);
      if (slot.entry.compressed() || !slot.entry.zero()) continue;
      changes_.set_slot(*table, i, {});
      for (std::uint64_t k = 0; k < *owners; ++k) changes_.release(slot);
    }
  }
  return {};
}

base::Result<void> HeaderChanges::write_zeros() {
  const std::uint64_t cs = image_.geometry().cluster_size();
  const std::vector<std::byte> zeros(static_cast<std::size_t>(cs));
  const std::uint64_t end = image_.l1.size() * image_.geometry().span();
  for (std::uint64_t at = 0; at < end;) {
    const auto run = image_.active.find(at, end - at);
    if (!run) return std::unexpected(run.error());
    const std::uint64_t stop = at + run->length;
    for (; run->source == Source::zero && at < stop; at += cs)
      if (auto done = writer_.write(at, zeros, {end, 0}); !done) return done;
    at = stop;
  }
  return {};
}

}  // namespace cowvet::engine
