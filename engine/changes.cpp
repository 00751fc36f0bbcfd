#include "engine/changes.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

namespace cowvet::engine {

base::Result<void> Changes::begin() {
  if (begun_) return {};
  auto fields = image_.fields();
  if ((fields.v3.autoclear_features & format::autoclear_word.reserved_mask) != 0) {
    fields.v3.autoclear_features &= ~format::autoclear_word.reserved_mask;
    if (auto stored = image_.header.store(fields); !stored) return stored;
    if (auto flushed = flush(); !flushed) return flushed;
  }
  begun_ = true;
  return {};
}

base::Result<Clusters> Changes::allocate(std::uint64_t most) {
  auto found = refcounts_.allocate(most);
  if (!found && !(released_.empty() && replaced_tables_.empty())) {
    if (auto done = commit(); !done) return std::unexpected(done.error());
    found = refcounts_.allocate(most);
  }
  return unless_damaged(std::move(found));
}

base::Result<Clusters> Changes::allocate_all(std::uint64_t count, bool at_end) {
  auto found = refcounts_.allocate_all(count, at_end);
  if (!found && !(released_.empty() && replaced_tables_.empty())) {
    if (auto done = commit(); !done) return std::unexpected(done.error());
    found = refcounts_.allocate_all(count, at_end);
  }
  return unless_damaged(std::move(found));
}

bool Changes::holds_metadata(Clusters clusters) const {
  const auto& v2 = image_.fields().v2;
  const std::uint64_t table = std::uint64_t{v2.refcount_table_clusters} << v2.cluster_bits;
  return std::ranges::any_of(std::array{Clusters{0, 1}, clusters_of(v2.l1_table_offset, image_.l1.size() * 8),
                                        clusters_of(v2.refcount_table_offset, table),
                                        clusters_of(v2.snapshots_offset, image_.snapshot_bytes)},
                             [&](const Clusters& other) {
                               return std::max(clusters.first, other.first) <
                                      std::min(clusters.end(), other.end());
                             });
}

base::Result<Clusters> Changes::unless_damaged(base::Result<Clusters> found) {
  if (found && holds_metadata(*found))
    return base::fail(base::ErrorKind::usage, "the refcounts call metadata free: run cowvet repair");
  return found;
}

base::Result<TablePointer> Changes::l2(std::uint64_t l1_index) {
  const auto& g = image_.geometry();
  if (l1_index >= image_.l1.size())
    return base::fail(base::ErrorKind::usage, "the L1 table does not reach that far");
  const format::L1Entry entry{image_.l1[static_cast<std::size_t>(l1_index)]};
  if (entry.reserved() != 0 || !g.aligned(entry.offset()))
    return base::fail(base::ErrorKind::usage,
                      fmt::format("L1 entry {} can't be right: run cowvet check before writing", l1_index));
  TablePointer old;
  if (entry.offset().raw() != 0) {
    auto table = image_.tables.get(TableKind::l2, entry.offset());
    if (!table || entry.copied()) return table;
    old = std::move(*table);
  }
  auto table = new_l2(old);
  if (!table) return table;
  if (old != nullptr) replaced_tables_.push_back({entry.offset().raw() >> g.cluster_bits(), 1});
  set_l1(l1_index, (*table)->at().raw() | format::copied_flag);
  return table;
}

// Written at once, as it begins.
base::Result<TablePointer> Changes::new_l2(const TablePointer& copied) {
  const auto& g = image_.geometry();
  const auto cluster = allocate(1);
  if (!cluster) return std::unexpected(cluster.error());
  const base::HostOffset at{cluster->first << g.cluster_bits()};
  std::vector<std::byte> bytes(static_cast<std::size_t>(g.cluster_size()));
  if (copied != nullptr) {
    std::ranges::copy(copied->bytes(), bytes.begin());
    // Whoever shares the table shares what it names.
    if (!image_.rules.data_file)
      for (std::size_t i = 0; i < bytes.size(); i += static_cast<std::size_t>(g.l2_entry_size()))
        bytes[i] &= static_cast<std::byte>(format::l2_word["copied"].mask() >> 56) ^ std::byte{0xff};
  }
  image_.tables.forget(at);
  auto written = image_.file.write(at.raw(), bytes);
  auto table = written ? image_.tables.get(TableKind::l2, at) : std::unexpected(written.error());
  if (!table) (void)refcounts_.lower(*cluster);  // at worst it is leaked
  return table;
}

void Changes::set_slot(const TablePointer& table, std::uint64_t index, const Slot& slot) {
  const bool extended = image_.geometry().extended_l2();
  const auto word = static_cast<std::size_t>(extended ? 2 * index : index);
  image_.tables.set_word(table, word, slot.entry.word);
  if (extended) image_.tables.set_word(table, word + 1, slot.pieces.word);
}

void Changes::set_l1(std::uint64_t index, std::uint64_t word) {
  image_.l1[static_cast<std::size_t>(index)] = word;
  changed_l1_.insert(index);
}

void Changes::drop_l2(std::uint64_t l1_index) {
  const format::L1Entry entry{image_.l1[static_cast<std::size_t>(l1_index)]};
  set_l1(l1_index, 0);
  release(Clusters{entry.offset().raw() >> image_.geometry().cluster_bits(), 1});
}

void Changes::release(Clusters clusters) {
  if (clusters.count == 0) return;
  if (!released_.empty() && released_.back().end() == clusters.first)
    released_.back().count += clusters.count;
  else
    released_.push_back(clusters);
}

Clusters Changes::owned_by(const Slot& slot) const {
  const auto& g = image_.geometry();
  if (slot.entry.compressed()) {
    const auto range = g.compressed_range(slot.entry);
    const std::uint64_t first = range.offset.raw() >> g.cluster_bits();
    return {first, ((range.offset.raw() + range.length() - 1) >> g.cluster_bits()) - first + 1};
  }
  if (image_.rules.data_file || slot.entry.offset().raw() == 0) return {};
  return {slot.entry.offset().raw() >> g.cluster_bits(), 1};
}

base::Result<Clusters> Changes::place(base::ConstBytes bytes) {
  if (bytes.empty()) return Clusters{};
  const auto& g = image_.geometry();
  auto run = allocate_all(g.clusters(bytes.size()));
  if (!run) return run;
  auto done = image_.file.write(run->first << g.cluster_bits(), bytes);
  if (done) done = image_.file.reach(run->end() << g.cluster_bits());
  if (!done) {
    (void)refcounts_.lower(*run);  // at worst they are leaked
    return std::unexpected(done.error());
  }
  return run;
}

Clusters Changes::clusters_of(base::HostOffset at, std::uint64_t length) const {
  return {at.raw() >> image_.geometry().cluster_bits(), image_.geometry().clusters(length)};
}

base::Result<void> Changes::switch_l1(std::vector<std::uint64_t>& l1, Clusters table, std::uint64_t size) {
  auto fields = image_.fields();
  fields.v2.size = size;
  fields.v2.l1_size = static_cast<std::uint32_t>(l1.size());
  fields.v2.l1_table_offset = base::HostOffset{table.first << image_.geometry().cluster_bits()};
  if (auto stored = image_.header.store(fields); !stored) return stored;
  if (auto flushed = flush(); !flushed) return flushed;
  std::swap(image_.l1, l1);
  return {};
}

std::vector<std::byte> encode_l1(const std::vector<std::uint64_t>& l1) {
  std::vector<std::byte> bytes(l1.size() * 8);
  for (std::size_t i = 0; i < l1.size(); ++i)
    base::store_be<std::uint64_t, 0>(base::MutableBytes(bytes).subspan(i * 8).first<8>(), l1[i]);
  return bytes;
}

base::Result<void> Changes::flush() {
  if (image_.data)
    if (auto flushed = image_.data->flush(); !flushed) {
      image_.file.end(flushed.error());
      return flushed;
    }
  return image_.file.flush();
}

base::Result<void> Changes::set_dirty(bool on) {
  if (image_.fields().dirty() == on) return {};
  auto fields = image_.fields();
  fields.v3.incompatible_features =
      format::incompatible_word["dirty"].set(fields.v3.incompatible_features, on ? 1 : 0);
  return image_.header.store(fields);
}

base::Result<void> Changes::commit(bool counts_too) {
  if (auto fine = image_.file.usable(); !fine) return fine;
  auto& tables = image_.tables;
  const bool lazy = image_.fields().lazy_refcounts() && !counts_too;
  Clusters replaced;
  if (lazy) {
    if (tables.changed(TableKind::refcount_block) || refcounts_.unpublished())
      if (auto stored = set_dirty(true); !stored) return stored;
  } else {
    if (auto written = tables.write(TableKind::refcount_block); !written) return written;
    const auto published = refcounts_.publish();
    if (!published) return std::unexpected(published.error());
    replaced = *published;
  }
  if (auto flushed = flush(); !flushed) return flushed;

  release(replaced);
  if (!changed_l1_.empty()) {
    if (auto written = write_l1(); !written) return written;
    if (auto flushed = flush(); !flushed) return flushed;
    if (auto lowered = lower_replaced_tables(lazy); !lowered) return lowered;
  }
  if (auto written = tables.write(TableKind::l2); !written) return written;
  if (auto flushed = flush(); !flushed) return flushed;
  return lower_released();
}

base::Result<void> Changes::lower_replaced_tables(bool lazy) {
  if (replaced_tables_.empty()) return {};
  while (!replaced_tables_.empty()) {
    const auto table = replaced_tables_.back();
    replaced_tables_.pop_back();
    if (auto done = refcounts_.lower(table); !done) return done;
  }
  if (lazy) return {};
  if (auto written = image_.tables.write(TableKind::refcount_block); !written) return written;
  return flush();
}

base::Result<void> Changes::lower_released() {
  while (!released_.empty()) {
    const auto run = released_.back();
    released_.pop_back();
    if (auto done = refcounts_.lower(run); !done) return done;
  }
  give_back_freed();
  return {};
}

void Changes::give_back_freed() {
  constexpr std::size_t most_held = 1 << 16;
  auto freed = refcounts_.take_freed();
  if (cuts_ && held_.size() + freed.size() <= most_held)
    held_.insert(held_.end(), freed.begin(), freed.end());
  else
    give_back(std::move(freed), false);
}

// Of what became free and is so still; small runs are not worth a system call, and used again soon.
void Changes::give_back(std::vector<Clusters> freed, bool cut) {
  constexpr std::uint64_t least = 64 << 10;
  std::ranges::sort(freed, {}, &Clusters::first);
  const auto bits = image_.geometry().cluster_bits();
  Clusters run;
  const auto discard = [&] {
    if (run.count << bits >= least) image_.file.discard(run.first << bits, run.count << bits);
  };
  for (const auto& part : freed)
    for (std::uint64_t c = part.first; c < part.end(); ++c) {
      const auto count = refcounts_.get(c);
      if (!count || *count != 0 || c < run.end()) continue;  // in use again, or freed twice
      if (run.end() != c) {
        discard();
        run = {c, 0};
      }
      ++run.count;
    }
  if (!cut || run.count == 0 || run.end() << bits < image_.file.size() ||
      image_.file.device().is_block_device())
    return discard();
  if (image_.file.resize(run.first << bits))
    refcounts_.end_at(run.first);  // else it costs space, nothing more
}

base::Result<void> Changes::write_l1() {
  const std::uint64_t table = image_.fields().v2.l1_table_offset.raw();
  while (!changed_l1_.empty()) {
    const std::uint64_t first = *changed_l1_.begin();
    std::vector<std::byte> bytes;
    auto at = changed_l1_.begin();
    for (; at != changed_l1_.end() && *at == first + bytes.size() / 8; ++at) {
      bytes.resize(bytes.size() + 8);
      base::store_be<std::uint64_t, 0>(base::MutableBytes(bytes).last<8>(),
                                       image_.l1[static_cast<std::size_t>(*at)]);
    }
    if (auto written = image_.file.write(table + first * 8, bytes); !written) return written;
    changed_l1_.erase(changed_l1_.begin(), at);
  }
  return {};
}

base::Result<void> Changes::relieve() {
  constexpr std::size_t most_released = 65536;
  const bool crowded = image_.tables.crowded();
  if (crowded || released_.size() >= most_released) return commit(crowded);
  return {};
}

base::Result<void> Changes::finish() {
  do {
    if (auto done = commit(true); !done) return done;
  } while (image_.tables.changed(TableKind::refcount_block) || !released_.empty());
  if (image_.fields().dirty()) {
    if (auto stored = set_dirty(false); !stored) return stored;
    if (auto flushed = flush(); !flushed) return flushed;
  }
  if (std::exchange(cuts_, false)) give_back(std::exchange(held_, {}), true);
  return {};
}

}  // namespace cowvet::engine
