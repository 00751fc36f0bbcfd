#include "analyzer/content.hpp"

#include <algorithm>

namespace cowvet::analyzer {

namespace {

constexpr std::size_t most_named = 1024;

}  // namespace

bool looks_like_snapshot(const format::Snapshot& s, const ScanRules& rules) {
  return s.entry.l1_table_offset.raw() != 0 && rules.geometry.aligned(s.entry.l1_table_offset) &&
         s.entry.l1_table_offset.raw() < rules.eof && s.entry.l1_size > 0 &&
         s.entry.l1_size <= format::limits::max_l1_entries && !s.id.empty() &&
         s.entry.date_nsec < 1000000000 &&
         (s.extra.empty() ||
          (s.extra.size() >= 16 && s.extra.size() <= format::limits::max_snapshot_extra)) &&
         std::ranges::all_of(s.id, [](char c) { return c > ' ' && c < 0x7f; });
}

namespace {

// `tolerance`: one entry in so many may be none.
ContentEvidence judge(base::ConstBytes bytes, const ScanRules& rules, std::uint64_t tolerance) {
  ContentEvidence evidence;
  if (base::all_zero(bytes)) {
    evidence.content = Content::empty;
    return evidence;
  }
  std::vector<EntryRun> runs;
  scan_l2(bytes, rules, 0, runs);
  constexpr std::uint32_t invalid =
      problem::implausible | problem::past_eof | problem::copied_alone | problem::alloc_without_offset;
  std::uint64_t bad = 0;
  bool names = false;
  for (const auto& run : runs) {
    if ((run.problems & invalid) != 0 || run.type == EntryType::none) {
      bad += run.count;
      continue;
    }
    evidence.entries += run.count;
    evidence.copied = evidence.copied || run.copied || run.type == EntryType::compressed;
    if (!run.owns()) continue;
    names = true;
    for (std::uint32_t i = 0; i < run.count && evidence.named.size() < most_named; ++i)
      evidence.named.push_back({run.first + i, (run.host >> rules.geometry.cluster_bits()) + i});
  }
  if (names && bad * tolerance <= evidence.entries) {
    evidence.content = Content::l2_table;
  } else {
    evidence.named.clear();
    const auto step = format::parse_snapshot(bytes, 0);
    if (step.snapshot && looks_like_snapshot(*step.snapshot, rules))
      evidence.content = Content::snapshot_table;
  }
  return evidence;
}

}  // namespace

// A lost table may have damaged entries too, but few: of other content hardly a word passes for an entry.
ContentEvidence classify(base::ConstBytes cluster, const ScanRules& rules) {
  return judge(cluster, rules, 8);
}

// The damage may all lie at the beginning.
Content classify_head(base::ConstBytes head, const ScanRules& rules) { return judge(head, rules, 1).content; }

}  // namespace cowvet::analyzer
