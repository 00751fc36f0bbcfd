// The hot loop of a check. Entries in a row whose host clusters follow each other are told apart from the rest with one
// comparison each; only the first of them is taken apart.
#include "analyzer/l2_scan.hpp"

#include <algorithm>
#include <bit>

namespace cowvet::analyzer {

namespace {

using format::L2Entry;
using format::Subclusters;

class Scan {
 public:
  Scan(const ScanRules& rules, std::uint64_t guest, std::vector<EntryRun>& out)
      : rules_(rules), g_(rules.geometry), guest_(guest), out_(out) {}

  // From entry `begin` on, until there are `most` runs; the entry to go on with.
  template <bool Extended>
  std::size_t table(base::ConstBytes bytes, std::size_t begin, std::size_t most) {
    const base::BigEndianTable<std::uint64_t> words(bytes);
    constexpr std::size_t stride = Extended ? 2 : 1;
    const std::size_t n = words.size() / stride;
    const std::uint64_t cluster = g_.cluster_size();
    std::size_t i = begin;
    while (i < n && out_.size() < most) {
      const L2Entry entry{words[i * stride]};
      const Subclusters sub{Extended ? words[i * stride + 1] : 0};
      if (entry.word == 0 && sub.word == 0) {
        ++i;
        continue;
      }
      EntryRun run = Extended ? extended(entry, sub) : standard(entry);
      run.first = static_cast<std::uint32_t>(i);
      run.count = 1;
      check_data_file(entry, run);
      ++i;
      if (run.problems == 0 && run.type != EntryType::compressed) {
        // How the next entry of the run must look: the same, one host cluster on (zero owns nothing: just the same).
        const std::uint64_t step = run.type == EntryType::zero ? 0 : cluster;
        std::uint64_t next = entry.word + step;
        const std::size_t end =
            run.type == EntryType::zero ? n : std::min<std::size_t>(n, i + room_behind(run.host));
        while (i < end && words[i * stride] == next && (!Extended || words[i * stride + 1] == sub.word)) {
          ++i;
          next += step;
        }
        run.count = static_cast<std::uint32_t>(i) - run.first;
      }
      out_.push_back(run);
    }
    return i;
  }

 private:
  // How many clusters behind the one at `host` start below the end of the file (or of what an offset can say).
  [[nodiscard]] std::size_t room_behind(std::uint64_t host) const {
    constexpr std::uint64_t sayable = 1ULL << 56;  // what an entry's offset field can say
    const std::uint64_t end = rules_.external_data ? sayable : std::min(rules_.eof, sayable);
    return end > host ? static_cast<std::size_t>((end - host - 1) >> g_.cluster_bits()) : 0;
  }
  void check_end(std::uint64_t host, EntryRun& run) const {
    if (host < rules_.eof) return;
    run.problems |= problem::past_eof;
    if (far_past_eof(host, rules_.eof)) run.problems |= problem::far_past_eof;
  }
  void check_place(std::uint64_t host, EntryRun& run) const {
    if ((host & (g_.cluster_size() - 1)) != 0) run.problems |= problem::unaligned;
    if (rules_.external_data) return;
    check_end(host, run);
    if (host < g_.cluster_size() && host != 0) run.problems |= problem::in_header;
  }

  [[nodiscard]] EntryRun compressed(L2Entry entry) const {
    EntryRun run;
    run.type = EntryType::compressed;
    const auto range = g_.compressed_range(entry);
    run.host = range.offset.raw();
    run.sectors = static_cast<std::uint16_t>(range.sectors);
    run.copied = entry.copied();
    if (entry.copied()) run.problems |= problem::compressed_copied;
    if (rules_.external_data) {
      run.problems |= problem::compressed_here;
      return run;
    }
    if (run.host >> 56 != 0) run.problems |= problem::high_bits;
    check_end(run.host, run);
    if (run.host < g_.cluster_size()) run.problems |= problem::in_header;
    if (run.sectors > g_.cluster_size() / format::limits::sector) run.problems |= problem::too_many_sectors;
    return run;
  }

  [[nodiscard]] EntryRun standard(L2Entry entry) const {
    if (entry.compressed()) return compressed(entry);
    EntryRun run;
    run.copied = entry.copied();
    run.host = entry.offset().raw();
    if (entry.reserved() != 0) run.problems |= problem::reserved;
    if (entry.zero() && rules_.version2) run.problems |= problem::zero_in_v2;
    if (run.host == 0 && !(rules_.external_data && run.copied)) {
      run.type = entry.zero() ? EntryType::zero : EntryType::none;
      if (run.copied) run.problems |= entry.zero() ? problem::zero_copied : problem::copied_alone;
      return run;
    }
    run.type = entry.zero() ? EntryType::zero_alloc : EntryType::data;
    check_place(run.host, run);
    return run;
  }

  [[nodiscard]] EntryRun extended(L2Entry entry, Subclusters sub) const {
    EntryRun run;
    if (entry.compressed()) {
      run = compressed(entry);
      run.subclusters = sub.word;
      if (sub.word != 0) run.problems |= problem::compressed_bitmap;
      return run;
    }
    run.copied = entry.copied();
    run.host = entry.offset().raw();
    run.subclusters = sub.word;
    if (entry.reserved() != 0) run.problems |= problem::reserved;
    if (entry.zero()) run.problems |= problem::extended_zero_flag;
    if ((sub.allocated() & sub.zero()) != 0) run.problems |= problem::alloc_and_zero;
    if (run.host == 0 && !(rules_.external_data && run.copied)) {
      run.type = sub.zero() != 0 ? EntryType::zero : EntryType::none;
      if (sub.allocated() != 0) run.problems |= problem::alloc_without_offset;
      if (run.copied) run.problems |= problem::copied_alone;
      return run;
    }
    run.type = sub.allocated() != 0 ? EntryType::data : EntryType::zero_alloc;
    check_place(run.host, run);
    return run;
  }

  void check_data_file(L2Entry entry, EntryRun& run) const {
    if (!rules_.external_data || run.type == EntryType::compressed) return;
    if (run.type != EntryType::data && run.type != EntryType::zero_alloc) return;
    const bool first_of_disk = guest_ == 0 && run.first == 0;
    if (run.type == EntryType::zero_alloc && run.host == 0 &&
        !first_of_disk) {  // COPIED alone makes no offset
      run.type = EntryType::zero;
      run.problems = (run.problems & ~problem::not_copied) | problem::zero_copied;
      return;
    }
    if (!entry.copied()) run.problems |= problem::not_copied;
    if (run.host != guest_ + (std::uint64_t{run.first} << g_.cluster_bits()))
      run.problems |= problem::host_differs;
  }

  const ScanRules& rules_;
  const format::Geometry& g_;
  std::uint64_t guest_;
  std::vector<EntryRun>& out_;
};

}  // namespace

std::uint32_t scan_l2(base::ConstBytes bytes, const ScanRules& rules, std::uint64_t guest,
                      std::vector<EntryRun>& out, std::uint32_t first, std::size_t most) {
  Scan scan(rules, guest, out);
  return static_cast<std::uint32_t>(rules.geometry.extended_l2() ? scan.table<true>(bytes, first, most)
                                                                 : scan.table<false>(bytes, first, most));
}

bool far_past_eof(std::uint64_t host, std::uint64_t eof) {
  constexpr std::uint64_t far = 64ULL << 40;  // bytes; text where entries should be gives offsets beyond that
  constexpr std::uint64_t times = 1024;       // the part of a file that a cut may leave
  return host >= far && host / times >= eof;
}

// One fault of one kind, in an entry that still names a place in the file, is damage to an entry. What never was one
// has several, or leads nowhere at all.
bool foreign(const EntryRun& run) {
  constexpr std::uint32_t nowhere = problem::far_past_eof | problem::high_bits | problem::compressed_here;
  const std::uint32_t odd = run.problems & (problem::implausible | problem::compressed_here);
  const bool placed = run.type != EntryType::none && run.type != EntryType::zero;
  return (odd & nowhere) != 0 || std::popcount(odd) > 1 || ((odd & problem::reserved) != 0 && !placed);
}

Looks looks_of(const std::vector<EntryRun>& runs) {
  Looks looks;
  for (const auto& run : runs) {
    looks.entries += run.count;
    if (foreign(run)) looks.foreign += run.count;
  }
  return looks;
}

}  // namespace cowvet::analyzer
