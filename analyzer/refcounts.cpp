#include "analyzer/refcounts.hpp"

#include <algorithm>
#include <functional>
#include <system_error>

#include <fmt/format.h>

#include "analyzer/refcount_scan.hpp"
#include "base/parallel.hpp"
#include "format/refcounts.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;
using base::HostOffset;
using findings::Finding;
using findings::RuleId;
using findings::Value;

namespace {
// A refcount above this for each layer (compressed streams of a layer share a cluster) is no refcount; and so many of
// them, each in a place of its own, make a block of them.
constexpr std::uint64_t references_a_layer = 64;
constexpr std::uint64_t too_many_absurd = 16;
}  // namespace

void Refcounts::read_table(MetadataMap& metadata) {
  if (!image_.refcount_table_usable) return;
  const auto& header = image_.header.v2;
  const HostOffset table = header.refcount_table_offset;
  entries_ = base::saturating_mul(header.refcount_table_clusters, geometry_.cluster_size() / 8);
  const std::uint64_t there =
      table.raw() < image_.eof ? std::min(entries_, (image_.eof - table.raw()) / 8) : 0;
  constexpr std::uint64_t piece = 1ULL << 17;  // entries
  std::vector<std::byte> bytes;
  for (std::uint64_t first = 0; first < there; first += piece) {
    bytes.resize(static_cast<std::size_t>(std::min(piece, there - first) * 8));
    const auto read = image_.device.read(table.raw() + first * 8, bytes);
    if (read.os_error != 0) {
      image_.report(Finding{"file/io-error"_rule}
                        .at("refcount_table")
                        .on(HostOffset{read.offset}, bytes.size())
                        .saying(std::generic_category().message(read.os_error)));
      image_.doubt("the refcount table can't be read");
      continue;
    }
    if (read.hole) continue;
    const base::BigEndianTable<std::uint64_t> words(bytes);
    for (std::size_t i = 0; i < words.size(); ++i)
      if (words[i] != 0) read_entry(first + i, words[i], metadata);
  }
  flush_bad_entries();
}

void Refcounts::read_entry(std::uint64_t index, std::uint64_t word, MetadataMap& metadata) {
  const HostOffset block{word & format::refcount_table_word["offset"].mask()};
  const bool reserved = (word & format::refcount_table_word.reserved_mask) != 0;
  if (reserved) bad_entry("refcount/table-entry-reserved"_rule, index, word);
  if (block.raw() == 0) return;
  if (!geometry_.aligned(block)) {
    if (!reserved) bad_entry("refcount/block-unaligned"_rule, index, word);
  } else if (block.raw() >= image_.eof) {
    if (!reserved) bad_entry("refcount/block-past-eof"_rule, index, word);
  } else {
    if (!image_.inside(block, geometry_.cluster_size()))
      bad_entry("refcount/block-partial-eof"_rule, index, word);
    if (blocks_.size() <= index) blocks_.resize(static_cast<std::size_t>(index + 1));
    blocks_[static_cast<std::size_t>(index)] = block.raw();
    metadata.add_block(geometry_.cluster_of(block));
  }
}

// Entries that are wrong in the same way, one behind the other, are one finding: a table of garbage is one fault.
void Refcounts::bad_entry(RuleId rule, std::uint64_t index, std::uint64_t word) {
  if (!bad_ || bad_->rule != rule || bad_->first + bad_->count != index) {
    flush_bad_entries();
    bad_ = BadEntries{rule, index, 0, word};
  }
  ++bad_->count;
}

void Refcounts::flush_bad_entries() {
  if (!bad_) return;
  const auto& [rule, first, count, word] = *bad_;
  const std::uint64_t end = base::saturating_mul(first + count, geometry_.block_entries());
  Finding f{rule};
  f.where = fmt::format("refcount_table[{}]", first);
  if (count > 1) f.where += fmt::format("..[{}]", first + count - 1);
  f.host = {HostOffset{image_.header.v2.refcount_table_offset.raw() + first * 8}, count * 8};
  f.actual = Value::hex(word);
  f.detail = fmt::format("{} clusters {} to {}", count > 1 ? "the blocks count" : "the block counts",
                         first * geometry_.block_entries(), end - 1);
  image_.report(std::move(f));
  bad_.reset();
}

void Refcounts::label_blocks(LabelMap& labels) const {
  LabelMap::Session session(labels);
  for (const auto block : blocks_)
    if (block != 0) session.add(block >> geometry_.cluster_bits(), 1, {Kind::refcount_block, 1});
}

std::optional<std::uint64_t> Refcounts::stored(std::uint64_t cluster) const {
  Piece piece;
  piece.bytes.resize(8);
  return stored(cluster, piece);
}

std::optional<std::uint64_t> Refcounts::stored(std::uint64_t cluster, Piece& piece) const {
  constexpr std::size_t usual_piece = 512;  // bytes: divides every cluster
  if (piece.bytes.empty()) piece.bytes.resize(usual_piece);
  const std::uint64_t index = cluster >> geometry_.block_bits();
  if (index >= blocks_.size() || blocks_[static_cast<std::size_t>(index)] == 0) return std::nullopt;
  const std::uint64_t within = cluster & (geometry_.block_entries() - 1);
  const std::uint64_t byte = (within << geometry_.refcount_order()) / 8;
  const std::uint64_t begin = byte - byte % piece.bytes.size();
  const std::uint64_t offset = blocks_[static_cast<std::size_t>(index)] + begin;
  if (piece.offset != offset) {
    piece.offset.reset();
    if (image_.device.read(offset, piece.bytes).os_error != 0) return std::nullopt;
    piece.offset = offset;
  }
  return format::refcount_at(piece.bytes, geometry_.refcount_order(),
                             within - begin * 8 / geometry_.refcount_bits());
}

// What was found in a stretch of clusters.
struct Refcounts::Part {
  struct Block {
    std::uint64_t index, owned;
  };
  struct Unreadable {
    std::uint64_t index;
    int os_error;
  };
  static constexpr std::size_t most_kept = 4096;  // mismatches

  // Takes the mismatches when there are too many to keep. Without it the part is merely marked as too full.
  std::function<void(std::span<const Mismatch>)> hand_on{};
  bool too_full = false;
  std::vector<Mismatch> mismatches{};
  std::uint64_t found = 0;                   // mismatches, kept or not
  std::uint64_t absurd = 0;                  // of them, those that no number of layers explains
  std::vector<std::uint64_t> implausible{};  // blocks with many of these
  std::vector<Unreadable> unreadable{};      // blocks
  std::vector<Block> uncovered{};      // blocks that are missing, with the owned clusters they should count
  std::vector<std::uint64_t> empty{};  // blocks that count nothing, or only themselves
  std::uint64_t highest_used = 0;
  std::uint64_t beyond_eof = 0;
  std::uint64_t end_of_file = 0;  // clusters; what lies behind is told apart

  void differs(std::uint64_t first, std::uint64_t count, std::uint64_t stored, Label label) {
    if (!mismatches.empty()) {
      auto& last = mismatches.back();
      if (last.first + last.count == first && last.stored == stored && last.label == label &&
          first != end_of_file) {
        last.count += count;
        return;
      }
    }
    if (mismatches.size() == most_kept) {
      if (hand_on)
        hand_on(mismatches);
      else
        too_full = true;
      mismatches.clear();
    }
    mismatches.push_back({first, count, stored, label});
    ++found;
  }
  void saw(std::uint64_t first, std::uint64_t count, Label label) {
    if (label.kind != Kind::free) highest_used = std::max(highest_used, first + count);
  }
};

// Compares the clusters that block `index` counts. An empty span: there is no block; owned clusters are
// reported as such.
void Refcounts::compare_block(std::uint64_t index, const LabelMap& labels, base::ConstBytes block,
                              Part& part) const {
  const std::uint64_t base = index << geometry_.block_bits();
  const std::uint64_t end = base + geometry_.block_entries();
  if (block.empty()) {
    std::uint64_t owned = 0;
    labels.for_each_run(base, end, [&](std::uint64_t first, std::uint64_t count, Label label) {
      part.saw(first, count, label);
      if (label.kind != Kind::free) owned += count;
    });
    if (owned != 0) part.uncovered.push_back({index, owned});
    return;
  }
  const std::uint64_t found_before = part.found;
  const std::uint64_t absurd_before = part.absurd;
  const std::uint64_t explicable = (image_.snapshots.size() + 1) * references_a_layer;
  std::uint64_t owned = 0;
  with_order(geometry_.refcount_order(), [&]<std::uint32_t Order> {
    labels.for_each_run(base, end, [&](std::uint64_t first, std::uint64_t count, Label label) {
      part.saw(first, count, label);
      if (label.kind != Kind::free) owned += count;
      find_differences<Order>(block.data(), first - base, first - base + count, label.refs,
                              [&](std::uint64_t at, std::uint64_t n, std::uint64_t stored) {
                                part.differs(base + at, n, stored, label);
                                part.absurd +=
                                    stored > std::max<std::uint64_t>(explicable, label.refs) ? 1U : 0U;
                                if (stored != 0)
                                  part.highest_used = std::max(part.highest_used, base + at + n);
                              });
    });
    // Behind the end of the file nothing may be counted.
    const std::uint64_t behind = std::max(base, labels.clusters());
    if (labels.window_end() == labels.clusters() && behind < end)
      find_differences<Order>(block.data(), behind - base, end - base, 0,
                              [&](std::uint64_t at, std::uint64_t n, std::uint64_t stored) {
                                part.differs(base + at, n, stored, Label{});
                                part.beyond_eof += n;
                              });
  });
  if (part.absurd - absurd_before >= too_many_absurd) part.implausible.push_back(index);
  const std::uint64_t itself = blocks_[static_cast<std::size_t>(index)] >> geometry_.cluster_bits();
  const bool counts_itself = itself >= base && itself < end;
  if (owned == (counts_itself ? 1 : 0) && part.found == found_before && base >= labels.window_begin() &&
      std::min(end, labels.clusters()) <= labels.window_end())
    part.empty.push_back(index);
}

Refcounts::Outcome Refcounts::compare(const LabelMap& labels, unsigned jobs, Voice voice, const See& see) {
  Outcome outcome;
  const std::uint64_t cluster_size = geometry_.cluster_size();
  const auto take_mismatches = [&](std::span<const Mismatch> mismatches) {
    for (const auto& m : mismatches) {
      const bool inside = m.first < labels.clusters();
      if (inside) outcome.wrong += m.count;
      if (voice == Voice::report && m.label.kind == Kind::l2 && m.stored > m.label.refs &&
          outcome.held.size() < most_held)
        outcome.held.push_back(m);
      else if (voice == Voice::report)
        report(m);
      if (see) see(m);
      if (m.label.kind == Kind::free && inside && outcome.leaks.size() < most_leaks)
        outcome.leaks.push_back(m);
    }
  };
  const auto take = [&](const Part& part) {
    take_mismatches(part.mismatches);
    if (voice == Voice::report) {
      for (const auto& block : part.uncovered) report_uncovered(block.index, block.owned);
      for (const auto block : part.empty) report_empty(block);
      for (const auto block : part.implausible) report_implausible(block);
      for (const auto& block : part.unreadable)
        image_.report(Finding{"file/io-error"_rule}
                          .at(fmt::format("refcount_block[{}]", block.index))
                          .on(HostOffset{blocks_[static_cast<std::size_t>(block.index)]}, cluster_size)
                          .saying(std::generic_category().message(block.os_error)));
    }
    for (const auto& block : part.uncovered) outcome.wrong += block.owned;
    outcome.highest_used = std::max(outcome.highest_used, part.highest_used);
    outcome.counted_beyond_eof += part.beyond_eof;
  };

  // The blocks that count clusters of the window; the last window also has those that count clusters past the end.
  const std::uint64_t first_block = labels.window_begin() >> geometry_.block_bits();
  const bool last_window = labels.window_end() == labels.clusters();
  const std::uint64_t covered = base::divide_up(labels.window_end(), geometry_.block_entries());
  const std::uint64_t end_block =
      last_window ? blocks_.size() : std::min<std::uint64_t>(covered, blocks_.size());

  const std::uint64_t batch = std::clamp<std::uint64_t>((1ULL << 20) >> geometry_.cluster_bits(), 1, 256);
  // Reads the blocks of the batch that begins with block `from` and compares them.
  const auto compare_batch = [&](std::uint64_t from, std::vector<std::byte>& buffer, Part& part) {
    const std::uint64_t to = std::min(end_block, from + batch);
    buffer.resize(std::max(buffer.size(), static_cast<std::size_t>((to - from) * cluster_size)));
    std::vector<storage::ReadRequest> requests;
    for (std::uint64_t b = from; b < to; ++b)
      if (const auto offset = blocks_[static_cast<std::size_t>(b)]; offset != 0)
        requests.push_back(
            {.offset = offset,
             .into = std::span(buffer).subspan(static_cast<std::size_t>((b - from) * cluster_size),
                                               static_cast<std::size_t>(cluster_size))});
    image_.device.read(requests);
    image_.progress.advance(requests.size() * cluster_size);
    auto next = requests.begin();
    for (std::uint64_t b = from; b < to; ++b) {
      base::ConstBytes block;
      if (blocks_[static_cast<std::size_t>(b)] != 0) {
        if (next->os_error == 0)
          block = next->into;
        else
          part.unreadable.push_back({b, next->os_error});
        ++next;
      }
      compare_block(b, labels, block, part);
    }
  };

  image_.progress.expect(cluster_size *
                         static_cast<std::uint64_t>(std::ranges::count_if(
                             blocks_.begin() + static_cast<std::ptrdiff_t>(std::min(first_block, end_block)),
                             blocks_.begin() + static_cast<std::ptrdiff_t>(end_block),
                             [](std::uint64_t block) { return block != 0; })));
  constexpr std::uint64_t all_buffers = 16ULL << 20;  // bytes that all workers may take
  jobs = static_cast<unsigned>(
      std::clamp<std::uint64_t>(all_buffers / (batch * cluster_size), 1, std::max(jobs, 1U)));
  std::vector<std::vector<std::byte>> buffers(jobs);
  constexpr std::uint64_t batches_at_once =
      64;  // then what they found is taken over, in the order of the file
  for (std::uint64_t begin = first_block; begin < end_block && !image_.progress.stop_requested();
       begin += batch * batches_at_once) {
    std::vector<Part> parts(
        static_cast<std::size_t>(std::min(batches_at_once, base::divide_up(end_block - begin, batch))));
    for (auto& part : parts) part.end_of_file = labels.clusters();
    base::parallel_for(jobs, parts.size(), [&](std::size_t task, unsigned worker) {
      compare_batch(begin + task * batch, buffers[worker], parts[task]);
    });
    for (std::size_t task = 0; task < parts.size(); ++task) {
      if (parts[task].too_full) {  // blocks of garbage: once more, and nothing is kept
        parts[task] = Part{.hand_on = take_mismatches, .end_of_file = labels.clusters()};
        compare_batch(begin + task * batch, buffers.front(), parts[task]);
      }
      take(parts[task]);
    }
  }

  // Clusters behind all blocks.
  Part rest;
  std::uint64_t block = 0;
  std::uint64_t owned = 0;
  const auto flush = [&] {
    if (owned != 0) rest.uncovered.push_back({block, owned});
    owned = 0;
  };
  labels.for_each_run(
      std::max(labels.window_begin(), std::uint64_t{blocks_.size()} << geometry_.block_bits()),
      labels.window_end(), [&](std::uint64_t first, std::uint64_t count, Label label) {
        rest.saw(first, count, label);
        if (label.kind == Kind::free) return;
        for (const std::uint64_t end = first + count; first < end;) {
          if (first >> geometry_.block_bits() != block) flush();
          block = first >> geometry_.block_bits();
          const std::uint64_t next = std::min(end, (block + 1) << geometry_.block_bits());
          owned += next - first;
          first = next;
        }
      });
  flush();
  take(rest);
  return outcome;
}

void Refcounts::report_uncovered(std::uint64_t block, std::uint64_t owned) {
  if (!image_.refcount_table_usable) return;  // what is wrong with the table says it for all of them
  const std::uint64_t first = block << geometry_.block_bits();
  const std::uint64_t end =
      std::min(first + geometry_.block_entries(), base::divide_up(image_.eof, geometry_.cluster_size()));
  const RuleId rule = "refcount/coverage"_rule;
  const HostOffset begin{first << geometry_.cluster_bits()};
  if (image_.findings.only_counts(rule, {begin, base::GuestOffset{0}}, rule->severity, owned)) return;
  Finding f{rule};
  f.where = fmt::format("refcount_table[{}]", block);
  f.host = {begin, (end - first) << geometry_.cluster_bits()};
  f.count = owned;
  f.expected = Value::text("a refcount block");
  f.actual = Value::text(block < entries_ ? "none that can be read" : "no table entry");
  f.guest.push_back(
      {base::GuestOffset{0}, image_.header.v2.size, ""});  // a writer may take any of them for free
  f.detail =
      fmt::format("{} clusters between {} and {} are in use and have no refcount", owned, first, end - 1);
  image_.report(std::move(f));
}

void Refcounts::report_implausible(std::uint64_t block) {
  image_.report(Finding{"refcount/block-implausible"_rule}
                    .at(fmt::format("refcount_table[{}]", block))
                    .on(HostOffset{blocks_[static_cast<std::size_t>(block)]}, geometry_.cluster_size()));
  image_.doubt("a refcount block holds something else");
}

void Refcounts::report_empty(std::uint64_t block) {
  image_.report(Finding{"refcount/empty-block"_rule}
                    .at(fmt::format("refcount_table[{}]", block))
                    .on(HostOffset{blocks_[static_cast<std::size_t>(block)]}, geometry_.cluster_size()));
}

void Refcounts::report(const Mismatch& m) {
  const std::uint64_t clusters = base::divide_up(image_.eof, geometry_.cluster_size());
  const RuleId rule = m.first >= clusters                       ? "refcount/beyond-eof"_rule
                      : m.label.kind == Kind::free              ? "refcount/leak"_rule
                      : m.label.refs > geometry_.max_refcount() ? "refcount/overflow"_rule
                      : m.stored == 0                           ? "refcount/zero-in-use"_rule
                      : m.stored < m.label.refs                 ? "refcount/too-low"_rule
                                                                : "refcount/too-high"_rule;
  const HostOffset begin{m.first << geometry_.cluster_bits()};
  if (image_.findings.only_counts(rule, {begin, std::nullopt}, rule->severity, m.count)) return;
  Finding f{rule};
  f.where = m.count == 1 ? fmt::format("cluster[{}]", m.first)
                         : fmt::format("cluster[{}]..[{}]", m.first, m.first + m.count - 1);
  f.host = {begin, m.count << geometry_.cluster_bits()};
  f.expected = Value::dec(m.label.refs);
  f.actual = Value::dec(m.stored);
  f.count = m.count;
  if (m.label.kind != Kind::free) f.detail = fmt::format("in use as: {}", to_string(m.label.kind));
  image_.report(std::move(f));
}

}  // namespace cowvet::analyzer
