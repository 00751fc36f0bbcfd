// The words for the enumerators, and what must hold of all rows at once.
#include "findings/rule.hpp"

#include <algorithm>
#include <string_view>

namespace cowvet::findings {

namespace {

consteval bool codes_ascend() {
  return std::ranges::adjacent_find(rules::table, [](const Rule& a, const Rule& b) {
           return a.code >= b.code;
         }) == rules::table.end();
}

consteval bool names_are_unique() {
  std::array<std::string_view, rule_count> names{};
  std::ranges::transform(rules::table, names.begin(), &Rule::name);
  std::ranges::sort(names);
  return std::ranges::adjacent_find(names) == names.end();
}

// Areas in the order of their numbers.
constexpr std::string_view areas[] = {"header", "feature", "ext",      "backing",    "refcount",
                                      "l1",     "l2",      "extl2",    "compressed", "snapshot",
                                      "bitmap", "crypt",   "luks",     "datafile",   "overlap",
                                      "file",   "chain",   "security", "libvirt"};

consteval bool names_begin_with_their_area() {
  return std::ranges::all_of(rules::table, [](const Rule& rule) {
    const std::size_t number = rule.code / 100u;
    if (number == 0 || number > std::size(areas)) return false;
    const std::string_view area = areas[number - 1];
    return rule.name.size() > area.size() + 1 && rule.name.starts_with(area) && rule.name[area.size()] == '/';
  });
}

consteval bool repairs_are_consistent() {
  return std::ranges::all_of(rules::table, [](const Rule& rule) {
    const bool repairable = rule.reason == Reason::repairable;
    return (rule.remedy != Remedy::none) == repairable && (rule.consent != Consent::none) == repairable;
  });
}

consteval bool severities_are_consistent() {
  return std::ranges::all_of(rules::table, [](const Rule& rule) { return rule.lesser <= rule.severity; });
}

consteval bool texts_are_complete() {
  return std::ranges::all_of(rules::table, [](const Rule& rule) {
    const auto sentence = [](std::string_view text) { return text.size() > 1 && text.ends_with('.'); };
    return !rule.title.empty() && rule.title.size() <= 90 && !rule.title.ends_with('.') &&
           sentence(rule.explanation) && sentence(rule.consequence) && sentence(rule.advice) &&
           !rule.spec.empty();
  });
}

static_assert(codes_ascend(), "codes are unique and ascending over the whole table");
static_assert(names_are_unique());
static_assert(names_begin_with_their_area(), "a rule's name is its area, a slash and a word for the defect");
static_assert(repairs_are_consistent(), "remedy, consent and reason must agree on whether there is a repair");
static_assert(severities_are_consistent(), "the milder severity can't be the graver one");
static_assert(texts_are_complete(),
              "a title of at most 90 characters without a full stop; the rest in sentences");

}  // namespace

std::string_view to_string(Severity severity) {
  switch (severity) {
    case Severity::note: return "note";
    case Severity::warning: return "warning";
    case Severity::leak: return "leak";
    case Severity::error: return "error";
    case Severity::fatal: return "fatal";
  }
  __builtin_unreachable();
}

std::string_view to_string(Reader reader) {
  switch (reader) {
    case Reader::tolerate: return "tolerate";
    case Reader::refuse_write: return "refuse-write";
    case Reader::fail_read: return "fail-read";
    case Reader::refuse_open: return "refuse-open";
  }
  __builtin_unreachable();
}

std::string_view to_string(Consent consent) {
  switch (consent) {
    case Consent::none: return "none";
    case Consent::lossless: return "lossless";
    case Consent::frees: return "frees";
    case Consent::choice: return "choice";
    case Consent::lossy: return "lossy";
  }
  __builtin_unreachable();
}

std::string_view to_string(Reason reason) {
  switch (reason) {
    case Reason::repairable: return "repairable";
    case Reason::n1_not_recorded: return "n1-not-recorded";
    case Reason::n2_two_readings: return "n2-two-readings";
    case Reason::n3_legal: return "n3-legal";
    case Reason::n4_would_discard: return "n4-would-discard";
    case Reason::n5_content_lost: return "n5-content-lost";
    case Reason::n6_elsewhere: return "n6-elsewhere";
    case Reason::n7_not_yet: return "n7-not-yet";
  }
  __builtin_unreachable();
}

std::string_view to_string(Remedy remedy) {
  switch (remedy) {
    case Remedy::none: return "none";
    case Remedy::set_refcount: return "set-refcount";
    case Remedy::rebuild_refcounts: return "rebuild-refcounts";
    case Remedy::rebuild_refcount_block: return "rebuild-refcount-block";
    case Remedy::widen_refcounts: return "widen-refcounts";
    case Remedy::clear_copied: return "clear-copied";
    case Remedy::set_copied: return "set-copied";
    case Remedy::clear_reserved_bits: return "clear-reserved-bits";
    case Remedy::clear_entry: return "clear-entry";
    case Remedy::bare_zero_entry: return "bare-zero-entry";
    case Remedy::clear_subcluster_bitmap: return "clear-subcluster-bitmap";
    case Remedy::choose_subclusters: return "choose-subclusters";
    case Remedy::set_sector_count: return "set-sector-count";
    case Remedy::copy_table: return "copy-table";
    case Remedy::reattach_table: return "reattach-table";
    case Remedy::clear_feature_bit: return "clear-feature-bit";
    case Remedy::clear_dirty_bit: return "clear-dirty-bit";
    case Remedy::clear_corrupt_bit: return "clear-corrupt-bit";
    case Remedy::drop_bitmap: return "drop-bitmap";
    case Remedy::drop_bitmaps: return "drop-bitmaps";
    case Remedy::rewrite_snapshot_table: return "rewrite-snapshot-table";
    case Remedy::zero_padding: return "zero-padding";
    case Remedy::set_guest_offset: return "set-guest-offset";
    case Remedy::mark_bitmaps_stale: return "mark-bitmaps-stale";
    case Remedy::correct_header: return "correct-header";
    case Remedy::relink_structure: return "relink-structure";
    case Remedy::correct_extension: return "correct-extension";
    case Remedy::correct_luks_field: return "correct-luks-field";
    case Remedy::recount_bitmaps: return "recount-bitmaps";
    case Remedy::reattach_cluster: return "reattach-cluster";
    case Remedy::copy_cluster: return "copy-cluster";
    case Remedy::give_up_content: return "give-up-content";
    case Remedy::drop_snapshot: return "drop-snapshot";
    case Remedy::truncate_file: return "truncate-file";
  }
  __builtin_unreachable();
}

std::optional<Severity> parse_severity(std::string_view word) {
  for (const Severity severity :
       {Severity::note, Severity::warning, Severity::leak, Severity::error, Severity::fatal}) {
    if (word == to_string(severity)) return severity;
  }
  return std::nullopt;
}

}  // namespace cowvet::findings
