#include "analyzer/infer_l1.hpp"

#include <algorithm>

namespace cowvet::analyzer {

namespace {

constexpr std::uint64_t head = 4096;            // bytes that a table is judged by at first
constexpr std::uint64_t tables_a_page = 64;     // L2 tables that are read for a cluster of L1 entries
constexpr std::uint64_t most_empty_pages = 64;  // in a row, inside a table
constexpr std::size_t most_targets = 1U << 16;  // remembered

}  // namespace

std::vector<std::byte> bytes_of(const Image& image, std::uint64_t offset, std::uint64_t length) {
  if (offset >= image.eof) return {};
  std::vector<std::byte> bytes(static_cast<std::size_t>(std::min(length, image.eof - offset)));
  const auto read = image.device.read(offset, bytes);
  bytes.resize(static_cast<std::size_t>(read.os_error == 0 ? read.valid : 0));
  return bytes;
}

L1Evidence::L1Evidence(const Image& image, const format::Geometry& geometry, StoredRefcounts* refcounts,
                       std::uint64_t refcount_table, bool external_data)
    : image_(image),
      geometry_(geometry),
      rules_{.geometry = geometry, .eof = image.eof, .external_data = external_data},
      refcounts_(refcounts),
      reserved_{0, refcount_table} {}

bool L1Evidence::exclusive(std::uint64_t offset) {
  return refcounts_ == nullptr || refcounts_->of(offset >> geometry_.cluster_bits()) == 1;
}

void L1Evidence::compare(std::uint64_t cluster, bool copied, Agreement& agreement) {
  const std::uint64_t count = refcounts_ == nullptr ? (copied ? 1 : 2) : refcounts_->of(cluster);
  if (count == 0 || copied != (count == 1))
    ++agreement.opposed;
  else
    ++(copied ? agreement.copied : agreement.clear);
}

const L1Evidence::Target& L1Evidence::target(std::uint64_t offset) {
  if (const auto known = targets_.find(offset); known != targets_.end()) return known->second;
  if (targets_.size() >= most_targets) targets_.clear();
  auto& target = targets_[offset];
  const auto bytes = bytes_of(image_, offset, geometry_.cluster_size());
  if (base::all_zero(bytes)) {
    target.content = Target::Content::empty;
    return target;
  }
  std::vector<EntryRun> runs;
  scan_l2(bytes, rules_, 0, runs);
  std::uint64_t good = 0;
  std::uint64_t bad = 0;
  for (const auto& run : runs) {
    const bool broken = (run.problems & (problem::implausible | problem::too_many_sectors)) != 0;
    if (broken || run.type == EntryType::none) {
      bad += run.count;
    } else if (run.owns() && (run.problems & problem::past_eof) == 0) {  // what a cut took says nothing
      good += run.count;
      if (rules_.external_data) continue;
      const auto [first, count] = host_clusters(run, geometry_);
      for (std::uint64_t c = first; c < first + count; ++c) {
        if (run.type != EntryType::compressed)
          compare(c, run.copied, target.agreement);
        else if (run.copied || (refcounts_ != nullptr && refcounts_->of(c) == 0))
          ++target.agreement.opposed;
        else
          ++target.agreement.clear;
      }
    }
  }
  target.agreement.opposed += bad;
  if (good != 0 && bad <= good) target.content = Target::Content::table;
  return target;
}

// The entries of the cluster at `own`.
L1Evidence::Page L1Evidence::page(std::uint64_t own, base::ConstBytes bytes) {
  const base::BigEndianTable<std::uint64_t> words(bytes);
  Page page;
  std::uint64_t looked_at = 0;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const format::L1Entry entry{words[i]};
    if (entry.word == 0) continue;
    page.used = i + 1;
    const std::uint64_t place = entry.offset().raw();
    if (entry.reserved() != 0 || place == 0 || place == own || !geometry_.aligned(entry.offset()) ||
        far_past_eof(place, image_.eof)) {
      ++page.bad;
      continue;
    }
    if (place >= image_.eof) continue;
    compare(place >> geometry_.cluster_bits(), entry.copied(), page.agreement);
    if (looked_at++ >= tables_a_page) continue;
    const auto& there = target(place);
    page.agreement.add(there.agreement);
    ++(there.content == Target::Content::table   ? page.tables
       : there.content == Target::Content::empty ? page.empty
                                                 : page.other);
  }
  page.agreement.opposed += page.bad + page.other;
  return page;
}

std::optional<L1Guess> L1Evidence::judge(std::uint64_t offset, std::uint64_t most) {
  const std::uint64_t cluster = geometry_.cluster_size();
  if (offset % cluster != 0 || reserved(offset) || offset >= image_.eof || !exclusive(offset))
    return std::nullopt;
  L1Guess guess{.offset = offset, .extended = geometry_.extended_l2()};
  std::uint64_t empty_pages = 0;
  for (std::uint64_t at = 0; at / 8 < std::min(most, format::limits::max_l1_entries); at += cluster) {
    const bool first = at == 0;
    const std::uint64_t place = offset + at;
    if (!first && (place >= image_.eof || reserved(place) || !exclusive(place))) break;
    const std::uint64_t length =
        std::min(cluster, most - at / 8 < cluster / 8 ? (most - at / 8) * 8 : cluster);
    auto bytes = bytes_of(image_, place, std::min(head, length));
    if (!base::all_zero(bytes)) {  // of most other content the first words tell
      const base::BigEndianTable<std::uint64_t> words(bytes);
      std::uint64_t odd = 0;
      for (std::size_t i = 0; i < words.size(); ++i)
        odd += format::L1Entry{words[i]}.reserved() != 0 ||
                       !geometry_.aligned(format::L1Entry{words[i]}.offset())
                   ? 1U
                   : 0U;
      if (odd > 1 && odd * 2 > words.size()) {
        if (first) return std::nullopt;
        break;
      }
    }
    if (length > head) bytes = bytes_of(image_, place, length);
    const Page found = page(place, bytes);
    if (found.used == 0) {
      if (first && most == format::limits::max_l1_entries) return std::nullopt;
      if (++empty_pages > most_empty_pages) break;
      continue;
    }
    // A table of something else that points at empty clusters is told by what points at it in turn.
    const bool plausible =
        found.tables + found.empty != 0 && found.other + found.bad <= found.tables + found.empty;
    if (!plausible || (!first && found.tables == 0)) {
      if (first) return std::nullopt;
      break;
    }
    empty_pages = 0;
    guess.entries = at / 8 + found.used;
    guess.bad += found.bad + found.other;
    guess.recognised = guess.recognised || found.tables != 0;
    guess.agreement.add(found.agreement);
  }
  return guess;
}

}  // namespace cowvet::analyzer
