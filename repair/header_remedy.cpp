// The header, and the places that only it knows. What the content proved of it is written down; the active L1
// table, when the header leads elsewhere, is the lost L1 table that the check found. Promises: the rest of
// the first cluster stays, unless nothing of it could be believed.
#include <algorithm>

#include <fmt/format.h>

#include "analyzer/header_remains.hpp"
#include "analyzer/info.hpp"
#include "repair/content_codec.hpp"
#include "repair/data_file_evidence.hpp"
#include "repair/header_model.hpp"
#include "repair/l1_search.hpp"
#include "repair/luks_region.hpp"
#include "repair/remedies.hpp"

namespace cowvet::repair {

using namespace findings::literals;
using base::HostOffset;
using findings::Consent;
using findings::RuleId;

namespace {

constexpr std::string_view write_header = "write the header as the rest of the image tells it";
constexpr std::string_view move_l1 = "lead the header to the L1 table that was found";
constexpr std::string_view empty_l1 = "make a new L1 table, which the lost L2 tables can be put back into";
constexpr std::string_view lengthen_l1 = "count the L1 entries that the disk needs";

constexpr RuleId readings[] = {"header/inferred"_rule, "header/geometry-misread"_rule,
                               "feature/extl2-misflagged"_rule, "feature/data-file-misflagged"_rule,
                               "header/version-misflagged"_rule};

// The header's bytes as the check understood them, up to the end of what it knows.
std::vector<std::byte> encoded(const format::Header& header) {
  std::vector<std::byte> bytes;
  const auto add = [&](const auto& record) {
    const auto encoded = format::encode(record);
    bytes.insert(bytes.end(), encoded.begin(), encoded.end());
  };
  add(header.v2);
  if (!header.has_v3()) return bytes;
  add(header.v3);
  if (header.v3.header_length >= format::header_known_length) add(header.additional);
  return bytes;
}

// The extensions behind a header of this length, and the name behind them, where the damage left them alone.
std::vector<std::byte> left_behind(const Draft& draft, std::uint64_t length) {
  auto first = draft.bytes(0, draft.geometry().cluster_size());
  const auto remains = analyzer::find_header_remains(first);
  if (!remains || remains->begin != length) return {};
  first.resize(static_cast<std::size_t>(remains->end + remains->name));
  first.erase(first.begin(), first.begin() + static_cast<std::ptrdiff_t>(length));
  return first;
}

Remedied write_what_was_inferred(Draft& draft) {
  const auto& verdict = draft.verdict();
  if (!verdict.inferred || !verdict.geometry) return {};
  for (const auto rule : readings)
    for (const auto& f : draft.found(rule)) {
      auto header = *verdict.header;
      if (rule == "header/version-misflagged"_rule) continue;
      const auto by_model = header_by_model(draft);
      if (!by_model) return std::unexpected(by_model.error());
      const auto& model = verdict.header_lost ? *by_model : std::nullopt;
      auto* action =
          draft.may_act(rule, Consent::choice, write_header,
                        place_from(f, model ? f.detail + "; the rest is the template's" : f.detail));
      if (action == nullptr) return {};
      if (model) return draft.put(*action, 0, *model);
      const auto outside = verdict.header_lost && header.has_v3() ? disk_in_data_file(draft) : std::nullopt;
      if (outside) {
        header.v3.incompatible_features |= format::incompatible_word["external_data_file"].mask();
        header.v2.size = std::max(header.v2.size, *outside);
      }
      if (verdict.header_lost && header.has_v3() && codec_of_content(draft) == format::Compression::zstd) {
        header.v3.incompatible_features |= format::incompatible_word["compression_type"].mask();
        header.v3.header_length =
            std::max(header.v3.header_length, std::uint32_t{format::header_known_length});
        header.additional.compression_type = static_cast<std::uint8_t>(format::Compression::zstd);
      }
      const auto left =
          verdict.header_lost ? left_behind(draft, encoded(header).size()) : std::vector<std::byte>();
      // Extensions that are left would lead to a LUKS header of this image's: any other one is the guest's.
      const auto luks = verdict.header_lost && left.empty() && header.v2.crypt_method == 0
                            ? find_luks_region(draft)
                            : std::nullopt;
      if (luks) header.v2.crypt_method = static_cast<std::uint32_t>(format::CryptMethod::luks);
      auto bytes = encoded(header);
      bytes.insert(bytes.end(), left.begin(), left.end());
      if (luks) {
        const auto add = [&](const auto& record) { bytes.insert(bytes.end(), record.begin(), record.end()); };
        add(format::encode(
            format::ExtensionHeader{.type = static_cast<std::uint32_t>(format::ExtensionType::encryption),
                                    .length = format::disk_size<format::EncryptionExtension>}));
        add(format::encode(*luks));
      }
      if (verdict.header_lost) bytes.resize(static_cast<std::size_t>(draft.geometry().cluster_size()));
      return draft.put(*action, 0, bytes);
    }
  return {};
}

// Where size and place of the table were overwritten together: the only table that is found tells both, as far as it
// reaches, or else the newest snapshot how large the disk was.
Remedied take_size_of_table(Draft& draft, const findings::Finding& why, const L1Candidate& found,
                            std::uint64_t entries) {
  const auto& g = draft.geometry();
  const auto bytes = draft.bytes(found.offset, entries * 8);
  const base::BigEndianTable<std::uint64_t> words(bytes);
  std::uint64_t used = words.size();
  while (used != 0 && words[static_cast<std::size_t>(used - 1)] == 0) --used;
  auto header = draft.header();
  header.v2.size = used * g.span();
  std::string evidence = fmt::format(
      "the cluster at {:#x} holds the only table that nothing refers to, which leads to {} L2 tables; "
      "the disk is at least as large",
      found.offset, found.tables);
  for (const auto& snapshot : analyzer::read_snapshots(draft.image(), header))
    if (const auto disk = snapshot.disk_size_bytes();
        disk && g.l1_entries(*disk) >= used && g.l1_entries(*disk) <= words.size()) {
      header.v2.size = *disk;
      evidence = fmt::format(
          "the cluster at {:#x} holds the only table that nothing refers to, and the newest "
          "snapshot is of a disk of this size",
          found.offset);
    }
  header.v2.l1_size = static_cast<std::uint32_t>(g.l1_entries(header.v2.size));
  header.v2.l1_table_offset = HostOffset{found.offset};
  auto* action = draft.may_act(why.rule, Consent::choice, move_l1, place_from(why, std::move(evidence)));
  return action == nullptr ? Remedied{} : draft.put(*action, 0, format::encode(header.v2));
}

// Where the active L1 table is, when the header does not lead to one.
Remedied find_l1(Draft& draft) {
  const auto& verdict = draft.verdict();
  const auto astray = l1_astray();
  auto why = std::ranges::find_if(astray, [&](RuleId rule) { return draft.any(rule); });
  const std::uint64_t at = draft.header().v2.l1_table_offset.raw();
  const std::uint64_t entries = draft.geometry().l1_entries(draft.header().v2.size);
  const auto leads_to_tables = [&] { return tables_behind(draft, at, entries) != 0; };
  std::optional<L1Candidate> found;
  if (why == astray.end()) {
    const auto strange =
        std::ranges::find_if(strange_entries(), [&](RuleId rule) { return draft.any(rule); });
    if (strange == strange_entries().end() || leads_to_tables() || cut_off(draft, at, entries)) return {};
    why = strange;
    found = search_l1(draft, entries);
    if (!found) return {};
  }
  auto finding = draft.found(*why).front();
  finding.guest = {{base::GuestOffset{0}, draft.header().v2.size, ""}};  // another table shows another disk
  const auto& g = draft.geometry();
  auto header = draft.header();
  const bool uncounted = draft.any("header/l1-size-limit"_rule);
  const std::uint64_t length = uncounted ? g.cluster_size() / 8 : header.v2.l1_size;
  if (entries > format::limits::max_l1_entries ||
      (uncounted && draft.any("header/size-sector-multiple"_rule) &&
       draft.any("security/virtual-size-bomb"_rule)))
    if (const auto whole = search_l1(draft, length))
      return take_size_of_table(draft, finding, *whole, length);
  if (entries == 0 || entries > format::limits::max_l1_entries) return {};
  // Lost L1 tables that no lost snapshot names; the active one's entries have COPIED.
  const analyzer::Orphan* best = nullptr;
  bool several = false;
  for (const auto& orphan : verdict.orphans) {
    if (!orphan.is_l1 || !orphan.where_from.empty()) continue;
    if (best != nullptr && best->copied == orphan.copied && best->entries == orphan.entries) several = true;
    if (best == nullptr ||
        std::pair(orphan.copied, orphan.entries) > std::pair(best->copied, best->entries)) {
      best = &orphan;
      several = false;
    }
  }
  header.v2.l1_size = static_cast<std::uint32_t>(entries);
  if (!found && (best == nullptr || several)) found = search_l1(draft, entries);
  if (found) {
    header.v2.l1_table_offset = HostOffset{found->offset};
    auto* action = draft.may_act(
        *why, Consent::choice, move_l1,
        place_from(finding, fmt::format("the cluster at {:#x} holds a table that names {} L2 tables, and no "
                                        "other one that nothing refers to names as many",
                                        found->offset, found->tables)));
    return action == nullptr ? Remedied{} : draft.put(*action, 0, format::encode(header.v2));
  }
  if (best != nullptr && !several) {
    header.v2.l1_table_offset = HostOffset{best->cluster << g.cluster_bits()};
    auto* action = draft.may_act(
        *why, Consent::choice, move_l1,
        place_from(finding, fmt::format("cluster[{}] holds a table of {} entries, {} of which name L2 tables",
                                        best->cluster, best->entries, best->tables)));
    return action == nullptr ? Remedied{} : draft.put(*action, 0, format::encode(header.v2));
  }
  // A table that leads to L2 tables is better than an empty one, whatever else claims its place.
  if (leads_to_tables() || std::ranges::none_of(verdict.orphans, [](const auto& o) { return !o.is_l1; }))
    return {};
  if (!draft.allows(Consent::choice)) {
    draft.withhold(*why, Consent::choice, empty_l1, place_from(finding));
    return {};
  }
  const auto room = draft.take(g.clusters(entries * 8), "l1/table-past-eof"_rule);
  if (!room) return {};
  auto* action = draft.may_act(*why, Consent::choice, empty_l1,
                               place_from(finding, "no L1 table was found, but L2 tables were"));
  header.v2.l1_table_offset = HostOffset{*room};
  return draft.put(*action, 0, format::encode(header.v2));
}

// The table is there, and the header counts too few of its entries.
Remedied count_l1_entries(Draft& draft) {
  for (const auto& f : draft.found("header/l1-coverage"_rule)) {
    auto header = draft.header();
    const std::uint64_t entries = draft.geometry().l1_entries(header.v2.size);
    if (entries > format::limits::max_l1_entries) continue;
    const std::uint64_t held = draft.geometry().clusters(std::uint64_t{header.v2.l1_size} * 8);
    if (draft.geometry().clusters(entries * 8) > std::max<std::uint64_t>(held, 1))
      continue;  // it would be longer than its clusters
    header.v2.l1_size = static_cast<std::uint32_t>(entries);
    if (auto* action = draft.may_act(f.rule, Consent::choice, lengthen_l1,
                                     place_from(f, "the table's last cluster has room for them")))
      if (auto done = draft.put(*action, 0, format::encode(header.v2)); !done) return done;
  }
  return {};
}

}  // namespace

Remedied mend_header(Draft& draft) {
  if (!draft.verdict().geometry) return {};
  if (draft.verdict().inferred) return write_what_was_inferred(draft);
  const auto writes = draft.writes();
  if (auto done = mend_header_fields(draft); !done || draft.writes() != writes) return done;
  if (auto done = count_l1_entries(draft); !done) return done;
  return find_l1(draft);
}

}  // namespace cowvet::repair
