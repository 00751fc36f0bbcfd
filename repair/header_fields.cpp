// Single fields of the header that contradict the rest of the first cluster, or the rest of the image.
// Promises: a field is written only where the rest leaves one value for it, with the evidence; the others are
// left to a person.
#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "analyzer/info.hpp"
#include "analyzer/stored_refcounts.hpp"
#include "base/checked.hpp"
#include "format/extensions.hpp"
#include "repair/content_codec.hpp"
#include "repair/extension_area.hpp"
#include "repair/field_places.hpp"
#include "repair/l1_search.hpp"
#include "repair/owned_clusters.hpp"
#include "repair/remedies.hpp"

namespace cowvet::repair {

using namespace findings::literals;
using findings::Consent;
using findings::RuleId;
using format::ExtensionType;

namespace {

constexpr std::string_view set_field = "write what the rest of the image says into the header's field";
constexpr std::uint64_t version_at = place_of_field<&format::HeaderV2::version>();
constexpr std::uint64_t name_offset_at = place_of_field<&format::HeaderV2::backing_file_offset>();
constexpr std::uint64_t name_size_at = place_of_field<&format::HeaderV2::backing_file_size>();
constexpr std::uint64_t size_at = place_of_field<&format::HeaderV2::size>();
constexpr std::uint64_t crypt_at = place_of_field<&format::HeaderV2::crypt_method>();
constexpr std::uint64_t refcount_table_at = place_of_field<&format::HeaderV2::refcount_table_offset>();
constexpr std::uint64_t refcount_clusters_at = place_of_field<&format::HeaderV2::refcount_table_clusters>();
constexpr std::uint64_t l1_size_at = place_of_field<&format::HeaderV2::l1_size>();
constexpr std::uint64_t length_at = place_of_field<&format::HeaderV3::header_length>();
constexpr std::uint64_t compression_at = place_of_field<&format::HeaderAdditional::compression_type>();

// The first finding of any of the rules.
const findings::Finding* first_of(const Draft& draft, std::initializer_list<RuleId> rules) {
  for (const auto rule : rules)
    if (draft.any(rule)) return &draft.found(rule).front();
  return nullptr;
}

// One field gets one value; nothing is written where it has it.
template <class Word>
Remedied set(Draft& draft, const findings::Finding& why, std::uint64_t at, Word value, std::string evidence) {
  std::array<std::byte, sizeof(Word)> bytes{};
  base::store_be<Word, 0>(std::span(bytes), value);
  if (std::ranges::equal(draft.bytes(at, sizeof(Word)), bytes)) return {};
  auto* action = draft.may_act(why.rule, Consent::choice, set_field, place_from(why, std::move(evidence)));
  return action == nullptr ? Remedied{} : draft.put(*action, at, bytes);
}

// Version 3 fields behind a header that says 2: the check read both ways and found this one right.
Remedied mend_version(Draft& draft) {
  const auto* why = first_of(draft, {"header/version-misflagged"_rule});
  if (why == nullptr) return {};
  const auto* wanted = std::get_if<std::uint64_t>(&why->expected.v);
  if (wanted == nullptr || (*wanted != 2 && *wanted != 3)) return {};
  return set(draft, *why, version_at, static_cast<std::uint32_t>(*wanted),
             "the fields of version 3 are there, and make sense");
}

// How well the extensions read when they begin at `begin`: known types count, unknown ones count against it, and a list
// without an end is none.
int list_score(const Draft& draft, std::uint64_t begin) {
  const auto cluster = draft.bytes(0, std::min(draft.geometry().cluster_size(), draft.image().size()));
  const auto list = format::parse_extensions(cluster, begin, cluster.size());
  if (list.how != format::ExtensionArea::End::record) return -1;
  int score = 0;
  for (const auto& e : list.list) score += format::known_extension(e.type) ? 2 : -2;
  return std::max(score, 0);
}

Remedied mend_length(Draft& draft) {
  const auto* wrong = first_of(draft, {"header/length-too-small"_rule, "header/length-too-large"_rule,
                                       "header/length-unaligned"_rule});
  const auto* odd =
      first_of(draft, {"ext/area-overrun"_rule, "ext/unknown"_rule, "ext/end-record-missing"_rule,
                       "datafile/name-missing"_rule, "crypt/luks-extension"_rule});
  if (!draft.header().has_v3() || (wrong == nullptr && odd == nullptr)) return {};
  const auto type = draft.bytes(compression_at, 8);
  const bool short_form = type[0] > std::byte{1} || !base::all_zero(std::span(type).subspan(1));
  std::uint32_t best = short_form ? format::header_v3_length : format::header_known_length;
  int score = list_score(draft, best);
  const auto other =
      best == format::header_v3_length ? format::header_known_length : format::header_v3_length;
  if (const int s = list_score(draft, other); s > score) {
    best = other;
    score = s;
  }
  if (wrong == nullptr && (score <= 0 || score <= list_score(draft, draft.header().length()))) return {};
  return set(draft, wrong != nullptr ? *wrong : *odd, length_at, best,
             score > 0 ? "the list of extensions begins there"
                       : "no extension is there, and programs write this length");
}

// An extension that can be read tells what the header's field must be.
Remedied mend_crypt(Draft& draft) {
  const auto* why = first_of(
      draft, {"crypt/luks-extension"_rule, "header/crypt-method"_rule, "crypt/aes-no-extension"_rule});
  if (why == nullptr) return {};
  auto extensions = read_extension_list(draft);
  if (!extensions.whole) return {};
  const bool luks = extensions.find(ExtensionType::encryption) != nullptr;
  if (!luks && draft.any("ext/unknown"_rule)) return {};  // it may be the one
  return set(draft, *why, crypt_at,
             static_cast<std::uint32_t>(luks ? format::CryptMethod::luks : format::CryptMethod::none),
             luks ? "the header names a LUKS region" : "the header names no LUKS region");
}

Remedied mend_compression(Draft& draft) {
  const auto* why =
      first_of(draft, {"feature/compression-bit-type"_rule, "feature/compression-type-unknown"_rule});
  if (why == nullptr || !draft.header().has_v3()) return {};
  const auto codec = codec_of_content(draft);
  const bool zstd = codec == format::Compression::zstd;
  const std::string evidence = !codec ? "no cluster is compressed"
                               : zstd ? "the compressed clusters begin as zstd frames do"
                                      : "the compressed clusters are no zstd frames";
  const std::uint64_t bit = format::incompatible_word["compression_type"].mask();
  const std::uint64_t features = draft.header().v3.incompatible_features;
  if (draft.header().v3.header_length >= format::header_known_length)
    if (auto done = set(draft, *why, compression_at, static_cast<std::uint8_t>(zstd ? 1 : 0), evidence);
        !done)
      return done;
  return set(draft, *why, incompatible_at, zstd ? features | bit : features & ~bit, evidence);
}

// The extended L2 bit with clusters that are too small for it; the check has read the entries as standard ones.
Remedied mend_extended(Draft& draft) {
  const auto* why = first_of(draft, {"feature/extl2-cluster-bits"_rule});
  if (why == nullptr) return {};
  return set(draft, *why, incompatible_at,
             draft.header().v3.incompatible_features & ~format::incompatible_word["extended_l2"].mask(),
             "clusters of this size have no subclusters");
}

// A disk that is larger than its L1 table, and a table that has no room for more entries: a flipped bit, or
// else the disk that the newest snapshot was taken of, or else all that the table covers.
Remedied mend_size(Draft& draft) {
  const auto* why = first_of(
      draft, {"header/l1-coverage"_rule, "header/size-limit"_rule, "header/size-sector-multiple"_rule});
  if (why == nullptr) return {};
  const auto& g = draft.geometry();
  const auto& v2 = draft.header().v2;
  const bool fits = v2.size % 512 == 0 && g.l1_entries(v2.size) <= v2.l1_size;
  const bool has_room = g.clusters(g.l1_entries(v2.size) * 8) <=
                        std::max<std::uint64_t>(g.clusters(std::uint64_t{v2.l1_size} * 8), 1);
  if (v2.l1_size == 0 || v2.l1_size > format::limits::max_l1_entries || fits ||
      (has_room && v2.size % 512 == 0))
    return {};
  const auto right = [&](std::uint64_t size) {
    return size % 512 == 0 && size != 0 && g.l1_entries(size) == v2.l1_size;
  };
  std::vector<std::uint64_t> flipped;
  for (unsigned bit = 0; bit < 64; ++bit)
    if (const std::uint64_t size = v2.size ^ (1ULL << bit); right(size)) flipped.push_back(size);
  std::uint64_t size = std::uint64_t{v2.l1_size} * g.span();
  std::string evidence =
      "the L1 table covers that much, and can't be longer; the disk may have been a little smaller";
  if (flipped.size() == 1) {
    size = flipped.front();
    evidence = "one bit differs, and the L1 table covers just this";
  } else {
    for (const auto& snapshot : analyzer::read_snapshots(draft.image(), draft.header()))
      if (const auto disk = snapshot.disk_size_bytes(); disk && right(*disk)) {
        size = *disk;
        evidence = "the newest snapshot is of a disk of this size, which the L1 table covers";
      }
  }
  return set(draft, *why, size_at, size, std::move(evidence));
}

// More L1 entries than the disk needs, and what is behind the needed ones is something else: QEMU leaves such
// a table when a disk shrinks, but then it is all there and belongs to nobody else.
Remedied mend_l1_size(Draft& draft) {
  const auto& g = draft.geometry();
  const auto& v2 = draft.header().v2;
  const std::uint64_t needed = g.l1_entries(v2.size);
  const auto* why =
      first_of(draft, {"header/l1-size-limit"_rule, "l1/table-past-eof"_rule, "overlap/active-l1"_rule});
  if (why == nullptr && tables_behind(draft, v2.l1_table_offset.raw(), needed) != 0)
    why = strange_behind(draft, "l1[", needed);
  const std::uint64_t end = v2.l1_table_offset.raw() + needed * 8;
  if (why == nullptr || needed == 0 || needed >= v2.l1_size || needed > format::limits::max_l1_entries ||
      end > draft.image().size() || l1_looks(draft.image(), g, v2.l1_table_offset, needed).is_none())
    return {};
  return set(draft, *why, l1_size_at, static_cast<std::uint32_t>(needed), "the disk needs no more");
}

// A refcount table that is said to be longer than it is, since something else lies behind it.
Remedied mend_refcount_table_size(Draft& draft) {
  const auto& g = draft.geometry();
  const auto& v2 = draft.header().v2;
  const std::uint64_t begin = v2.refcount_table_offset.raw();
  const findings::Finding* why = nullptr;
  std::uint64_t end = begin + v2.refcount_table_clusters * g.cluster_size();
  for (const auto rule :
       {"overlap/refcount-table"_rule, "overlap/active-l1"_rule, "overlap/snapshot-table"_rule,
        "overlap/snapshot-l1"_rule, "overlap/bitmap-directory"_rule, "overlap/bitmap-table"_rule,
        "crypt/header-unique"_rule, "bitmap/data-overlap"_rule, "refcount/block-overlap"_rule,
        "l1/points-at-metadata"_rule, "l2/points-at-metadata"_rule})
    for (const auto& f : draft.found(rule))
      if (f.host && f.host->begin.raw() > begin && f.host->begin.raw() < end) {
        why = &f;
        end = f.host->begin.raw();
      }
  const std::uint64_t clusters = (end - begin) / g.cluster_size();
  const std::uint64_t blocks = base::divide_up(g.clusters(draft.image().size()), g.block_entries());
  constexpr unsigned certain = 3;
  if (why == nullptr || clusters == 0 || blocks * 8 > clusters * g.cluster_size() ||
      analyzer::StoredRefcounts(draft.image(), g, v2.refcount_table_offset).self_evidence() < certain)
    return {};
  return set(draft, *why, refcount_clusters_at, static_cast<std::uint32_t>(clusters),
             "something else lies behind that, and the table counts itself, its block and the header once");
}

// A refcount table that the header does not lead to is known by its counting itself, its block and the header once.
Remedied mend_refcount_table(Draft& draft) {
  const auto& g = draft.geometry();
  const auto evidence = [&](std::uint64_t at) {
    return analyzer::StoredRefcounts(draft.image(), g, base::HostOffset{at}).self_evidence();
  };
  constexpr unsigned certain = 3;
  const auto* why = first_of(draft, {"refcount/table-offset-zero"_rule,
                                     "refcount/table-offset-unaligned"_rule, "refcount/table-past-eof"_rule});
  // It may also lead to something that is no table: then its entries show it.
  if (why == nullptr && evidence(draft.header().v2.refcount_table_offset.raw()) < certain)
    why = first_of(draft, {"refcount/block-past-eof"_rule, "refcount/block-unaligned"_rule,
                           "refcount/table-entry-reserved"_rule, "refcount/block-overlap"_rule,
                           "refcount/block-implausible"_rule, "refcount/block-shared"_rule,
                           "refcount/coverage"_rule, "overlap/refcount-table"_rule});
  const std::uint64_t clusters = draft.header().v2.refcount_table_clusters;
  if (why == nullptr || clusters == 0 || clusters * g.cluster_size() > format::limits::max_refcount_table)
    return {};
  constexpr std::uint64_t most = 4096;  // clusters that are looked at: tables are made at the beginning
  std::optional<std::uint64_t> found;
  for (std::uint64_t c = 1; c < std::min(most, g.clusters(draft.image().size())); ++c) {
    const std::uint64_t at = c << g.cluster_bits();
    if (draft.image().extent(at).hole) continue;
    if (evidence(at) < certain) continue;
    if (found) return {};
    found = at;
  }
  if (!found) return {};
  return set(draft, *why, refcount_table_at, *found,
             "the table there counts itself, its first block and the header once");
}

// The backing file's name: readable text that begins at `at`, and its length; 0 when there is none.
std::uint32_t name_length(const std::vector<std::byte>& cluster, std::uint64_t at) {
  constexpr std::uint32_t most = 1023;
  std::uint32_t length = 0;
  while (length < most && at + length < cluster.size() &&
         cluster[static_cast<std::size_t>(at + length)] >= std::byte{0x20})
    ++length;
  const bool ends =
      at + length >= cluster.size() || cluster[static_cast<std::size_t>(at + length)] == std::byte{0};
  return ends ? length : 0;
}

Remedied mend_backing_name(Draft& draft) {
  const auto* why = first_of(draft, {"backing/offset-range"_rule, "backing/size-limit"_rule,
                                     "backing/crosses-first-cluster"_rule, "backing/name-nul"_rule});
  if (why == nullptr) return {};
  const auto& v2 = draft.header().v2;
  const auto cluster = draft.bytes(0, std::min(draft.geometry().cluster_size(), draft.image().size()));
  const auto list = format::parse_extensions(cluster, draft.header().length(), cluster.size());
  if (list.how != format::ExtensionArea::End::record) return {};
  std::uint64_t at = v2.backing_file_offset.raw();
  if (at < list.end || at >= cluster.size() || name_length(cluster, at) == 0) at = list.end;
  const std::uint32_t length = name_length(cluster, at);
  if (length == 0) {
    const bool format_known = std::ranges::any_of(list.list, [](const auto& e) {
      return e.type == static_cast<std::uint32_t>(ExtensionType::backing_format);
    });
    if (format_known || !base::all_zero(std::span(cluster).subspan(static_cast<std::size_t>(list.end))))
      return {};
    const std::string evidence =
        "behind the extensions stands no name, and no format of a backing file is told";
    if (auto done = set(draft, *why, name_offset_at, std::uint64_t{0}, evidence); !done) return done;
    return set(draft, *why, name_size_at, std::uint32_t{0}, evidence);
  }
  const std::string evidence = fmt::format("behind the extensions stands a name of {} bytes", length);
  if (auto done = set(draft, *why, name_offset_at, at, evidence); !done) return done;
  return set(draft, *why, name_size_at, length, evidence);
}

}  // namespace

Remedied mend_header_fields(Draft& draft) {
  if (!draft.verdict().geometry || !draft.verdict().header || draft.verdict().inferred) return {};
  for (const auto mend :
       {mend_version, mend_length, mend_extended, mend_compression, mend_crypt, mend_l1_size, mend_size,
        mend_refcount_table, mend_refcount_table_size, mend_backing_name})
    if (auto done = mend(draft); !done) return done;
  return {};
}

}  // namespace cowvet::repair
