// Bitmaps that can't be used: dropped, with consent, since a backup program then copies everything once more;
// the rest of the directory is written anew beside the old one.
#include <algorithm>
#include <ranges>
#include <set>

#include <fmt/format.h>

#include "analyzer/info.hpp"
#include "repair/bitmap_entry.hpp"
#include "repair/extension_area.hpp"
#include "repair/field_places.hpp"
#include "repair/remedies.hpp"

namespace cowvet::repair {

using namespace findings::literals;
using base::HostOffset;
using findings::Consent;
using findings::RuleId;

namespace {

constexpr std::string_view drop_all = "drop the bitmaps, which can't be read";
constexpr std::string_view drop_one = "drop the bitmap, which can't be used";

constexpr std::string_view recount = "count the bitmaps that the directory holds";

constexpr RuleId miscounted[] = {"bitmap/count-range"_rule, "bitmap/directory-size"_rule,
                                 "bitmap/directory-count"_rule, "bitmap/directory-past-eof"_rule,
                                 "bitmap/entry-bounds"_rule};
constexpr RuleId one[] = {"bitmap/table-offset"_rule,          "bitmap/table-size-range"_rule,
                          "bitmap/table-size-match"_rule,      "bitmap/table-past-eof"_rule,
                          "bitmap/table-entry-reserved"_rule,  "bitmap/table-entry-ones"_rule,
                          "bitmap/table-entry-unaligned"_rule, "bitmap/data-past-eof"_rule,
                          "bitmap/data-overlap"_rule,          "bitmap/type"_rule,
                          "bitmap/granularity"_rule,           "bitmap/flags-reserved"_rule,
                          "bitmap/flag-extra-compatible"_rule, "bitmap/extra-data"_rule,
                          "bitmap/name-length"_rule,           "bitmap/name-duplicate"_rule,
                          "overlap/bitmap-table"_rule};
constexpr RuleId all[] = {"bitmap/count-range"_rule,      "bitmap/directory-offset"_rule,
                          "bitmap/directory-size"_rule,   "bitmap/directory-past-eof"_rule,
                          "bitmap/directory-count"_rule,  "bitmap/entry-bounds"_rule,
                          "overlap/bitmap-directory"_rule};

Remedied drop_extension(Draft& draft, Action& action, ExtensionList& extensions) {
  std::erase_if(extensions.list, [](const auto& e) {
    return e.type == static_cast<std::uint32_t>(format::ExtensionType::bitmaps);
  });
  if (auto written = write_extension_list(draft, action, extensions); !written)
    return std::unexpected(written.error());
  if (!draft.header().has_v3()) return {};
  return draft.put_word(action, autoclear_at,
                        draft.word(autoclear_at) & ~format::autoclear_word["bitmaps"].mask());
}

// Number and size that the directory's own entries give; false where they don't, or say what the extension says.
base::Result<bool> count_anew(Draft& draft, ExtensionList& extensions, StoredExtension& stored,
                              format::BitmapsExtension where) {
  const auto rule = std::ranges::find_if(miscounted, [&](RuleId r) { return draft.any(r); });
  const std::uint64_t begin = where.directory_offset.raw();
  if (rule == std::end(miscounted) || begin == 0 || begin % draft.geometry().cluster_size() != 0 ||
      begin >= draft.image().size())
    return false;
  constexpr std::uint64_t most = 1ULL << 20;
  const auto bytes = draft.bytes(begin, std::min(most, draft.image().size() - begin));
  std::uint64_t at = 0;
  std::uint32_t count = 0;
  while (at < bytes.size()) {
    const auto step = format::parse_bitmap(base::ConstBytes(bytes).subspan(static_cast<std::size_t>(at)), at);
    if (!step.bitmap || !is_bitmap_entry(*step.bitmap, draft.geometry(), draft.image().size())) break;
    at += step.needed;
    ++count;
  }
  if (count == 0 || (where.count == count && where.directory_size == at)) return false;
  auto* action =
      draft.may_act(*rule, Consent::choice, recount,
                    place_from(draft.found(*rule).front(), fmt::format("the directory holds {}", count)));
  if (action == nullptr) return true;
  where.count = count;
  where.directory_size = at;
  const auto record = format::encode(where);
  stored.data.assign(record.begin(), record.end());
  return write_extension_list(draft, *action, extensions);
}

// A directory that begins with a sound entry where its cluster does: only the low bits of its offset are wrong.
base::Result<bool> align_directory(Draft& draft, ExtensionList& extensions, StoredExtension& stored,
                                   format::BitmapsExtension where) {
  const RuleId rule = "bitmap/directory-offset"_rule;
  const std::uint64_t cluster = draft.geometry().cluster_size();
  const std::uint64_t at = where.directory_offset.raw() / cluster * cluster;
  if (!draft.any(rule) || at == 0 || at == where.directory_offset.raw() || at >= draft.image().size())
    return false;
  where.directory_offset = HostOffset{at};
  const auto bitmaps = analyzer::read_bitmaps(draft.image(), where);
  if (bitmaps.size() != where.count || !std::ranges::all_of(bitmaps, [&](const auto& b) {
        return b.entry.type == 1 && !b.name.empty() && b.entry.table_size != 0 &&
               draft.geometry().aligned(b.entry.table_offset) &&
               b.entry.table_offset.raw() < draft.image().size();
      }))
    return false;
  auto* action = draft.may_act(rule, Consent::choice, "lead the header to where the bitmap directory begins",
                               place_from(draft.found(rule).front(), "all its entries are there, and sound"));
  if (action == nullptr) return true;
  const auto record = format::encode(where);
  stored.data.assign(record.begin(), record.end());
  return write_extension_list(draft, *action, extensions);
}

// Entries of a bitmap's table that make sense without the bits that mean nothing there.
base::Result<bool> clear_reserved(Draft& draft) {
  const RuleId rule = "bitmap/table-entry-reserved"_rule;
  bool any = false;
  for (const auto& f : draft.found(rule)) {
    if (!f.host) continue;
    for (std::uint64_t at = f.host->begin.raw(); at < f.host->begin.raw() + f.host->length; at += 8) {
      const std::uint64_t word = draft.word(at), place = word & format::entry_offset_mask;
      const std::uint64_t right = place != 0 ? place : word & 1;  // without a place: all zeros, or all ones
      if (right == word || place % draft.geometry().cluster_size() != 0 || place >= draft.image().size())
        continue;
      auto* action =
          draft.may_act(rule, Consent::choice, "clear the reserved bits, and keep the offset", place_from(f));
      if (action == nullptr) continue;
      any = true;
      if (auto done = draft.put_word(*action, at, right); !done) return std::unexpected(done.error());
    }
  }
  return any;
}

// A bitmap whose table is elsewhere, and the only lost table that may be one.
base::Result<bool> find_table(Draft& draft, const format::BitmapsExtension& where,
                              std::span<const format::Bitmap> bitmaps) {
  std::vector<std::pair<std::size_t, const findings::Finding*>> without;
  for (const auto rule : {"bitmap/table-past-eof"_rule, "bitmap/table-offset"_rule})
    for (const auto& f : draft.found(rule))
      if (const auto index = index_in(f, "bitmap"); index && *index < bitmaps.size())
        without.emplace_back(*index, &f);
  std::vector<const analyzer::Orphan*> tables;
  for (const auto& orphan : draft.verdict().orphans)
    if (!orphan.is_l1 && !orphan.copied && !orphan.placed) tables.push_back(&orphan);
  if (without.size() != 1 || tables.size() != 1) return false;
  const auto& bitmap = bitmaps[without.front().first];
  if (tables.front()->last >= bitmap.entry.table_size || tables.front()->lost != tables.front()->named)
    return false;
  const auto& f = *without.front().second;
  auto* action =
      draft.may_act(f.rule, Consent::choice, "lead the bitmap to the table that was found",
                    place_from(f, "it is the only lost table, and this the only bitmap without one"));
  if (action == nullptr) return true;
  const std::uint64_t at = where.directory_offset.raw() + bitmap.position;
  if (auto done = draft.put_word(*action, at, tables.front()->cluster << draft.geometry().cluster_bits());
      !done)
    return std::unexpected(done.error());
  return true;
}

// Bitmaps that a program which did not know them has left behind: they are kept, marked as not to be relied on.
Remedied keep_stale(Draft& draft, const ExtensionList& extensions, const format::BitmapsExtension& where) {
  const RuleId rule = "feature/bitmaps-bit-clear"_rule;
  if (!draft.any(rule) || !draft.any("refcount/leak"_rule) || !extensions.whole) return {};
  const auto bitmaps = analyzer::read_bitmaps(draft.image(), where);
  if (bitmaps.empty() || bitmaps.size() != where.count) return {};
  auto* action =
      draft.may_act(rule, Consent::choice, "keep the bitmaps, marked so that no program relies on them",
                    place_from(draft.found(rule).front(), "their clusters are still theirs"));
  if (action == nullptr) return {};
  constexpr std::uint64_t flags_at = 12;  // in an entry
  for (const auto& bitmap : bitmaps) {
    std::array<std::byte, 4> flags{};
    base::store_be<std::uint32_t, 0>(std::span(flags), bitmap.entry.flags | format::bitmap_in_use);
    if (auto done = draft.put(*action, where.directory_offset.raw() + bitmap.position + flags_at, flags);
        !done)
      return done;
  }
  return draft.put_word(*action, autoclear_at,
                        draft.word(autoclear_at) | format::autoclear_word["bitmaps"].mask());
}

}  // namespace

Remedied mend_bitmaps(Draft& draft) {
  if (!draft.verdict().geometry || draft.verdict().inferred) return {};
  auto extensions = read_extension_list(draft);
  auto* stored = extensions.find(format::ExtensionType::bitmaps);
  if (stored == nullptr || !extensions.whole) return {};
  // The reserved word alone is wrong: nothing rests on it.
  auto where = format::exact<format::BitmapsExtension>(stored->data);
  if (!where) return {};
  for (const auto& f : draft.found("bitmap/reserved-word"_rule)) {
    auto* action = draft.may_act(f.rule, Consent::choice, "clear the reserved word", place_from(f));
    if (action == nullptr) continue;
    where->reserved = 0;
    const auto bytes = format::encode(*where);
    stored->data.assign(bytes.begin(), bytes.end());
    if (auto written = write_extension_list(draft, *action, extensions); !written)
      return std::unexpected(written.error());
  }
  if (auto done = keep_stale(draft, extensions, *where); !done) return done;
  if (auto aligned = align_directory(draft, extensions, *stored, *where); !aligned || *aligned)
    return aligned ? Remedied{} : Remedied(std::unexpected(aligned.error()));
  if (auto counted = count_anew(draft, extensions, *stored, *where); !counted || *counted)
    return counted ? Remedied{} : Remedied(std::unexpected(counted.error()));
  for (const auto rule : all)
    for (const auto& f : draft.found(rule))
      if (auto* action = draft.may_act(rule, Consent::lossy, drop_all, place_from(f)))
        return drop_extension(draft, *action, extensions);

  if (where->count > format::limits::max_bitmaps) return {};  // the list below would not be all of them
  auto bitmaps = analyzer::read_bitmaps(draft.image(), *where);
  if (auto cleared = clear_reserved(draft); !cleared || *cleared)
    return cleared ? Remedied{} : Remedied(std::unexpected(cleared.error()));
  if (auto led = find_table(draft, *where, bitmaps); !led || *led)
    return led ? Remedied{} : Remedied(std::unexpected(led.error()));
  std::set<std::size_t> gone;
  Action* action = nullptr;
  for (const auto rule : one)
    for (const auto& f : draft.found(rule))
      if (const auto index = index_in(f, "bitmap");
          index && *index < bitmaps.size() && !gone.contains(*index))
        if (auto* allowed = draft.may_act(rule, Consent::lossy, drop_one, place_from(f))) {
          gone.insert(*index);
          action = allowed;
        }
  if (action == nullptr) return {};
  action = &draft.last();
  for (const auto index : std::views::reverse(gone))
    bitmaps.erase(bitmaps.begin() + static_cast<std::ptrdiff_t>(index));
  if (bitmaps.empty()) return drop_extension(draft, *action, extensions);
  std::vector<std::byte> directory;
  for (const auto& bitmap : bitmaps) {
    const auto bytes = format::encode_bitmap(bitmap);
    directory.insert(directory.end(), bytes.begin(), bytes.end());
    directory.resize((directory.size() + 7) & ~std::size_t{7});
  }
  const std::uint64_t clusters = draft.geometry().clusters(directory.size());
  const auto room = draft.take(clusters);
  if (!room) return {};
  where->count = static_cast<std::uint32_t>(bitmaps.size());
  where->directory_size = directory.size();
  where->directory_offset = HostOffset{*room};
  directory.resize(static_cast<std::size_t>(clusters * draft.geometry().cluster_size()));
  if (auto done = draft.put(*action, *room, directory); !done) return done;
  const auto bytes = format::encode(*where);
  stored->data.assign(bytes.begin(), bytes.end());
  if (auto written = write_extension_list(draft, *action, extensions); !written)
    return std::unexpected(written.error());
  return {};
}

}  // namespace cowvet::repair
