#include "engine/refcounts.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "format/refcounts.hpp"

namespace cowvet::engine {

namespace {

using base::ErrorKind;

constexpr std::uint64_t offset_limit = 1ULL << 56;  // of what an L2 entry can name

}  // namespace

base::Result<void> Refcounts::load() {
  geometry_ = header_.geometry();
  new_entries_.clear();
  moved_ = false;
  replaced_ = {};
  search_from_ = end_ = stream_end_ = 0;
  freed_.clear();
  const auto& v2 = header_.header().v2;
  const std::uint64_t bytes = std::uint64_t{v2.refcount_table_clusters} << geometry_.cluster_bits();
  const auto at = v2.refcount_table_offset;
  if (bytes == 0 || bytes > format::limits::max_refcount_table || at.raw() == 0 || !geometry_.aligned(at) ||
      at.raw() > file_.size() || bytes > file_.size() - at.raw())
    return base::fail(ErrorKind::usage,
                      "the refcount table's place or length can't be right: see cowvet check");
  std::vector<std::byte> raw(static_cast<std::size_t>(bytes));
  if (auto read = file_.read(at.raw(), raw, "refcount table"); !read) return read;
  const base::BigEndianTable<std::uint64_t> words(raw);
  table_.resize(words.size());
  for (std::size_t i = 0; i < table_.size(); ++i) {
    table_[i] = words[i];
    if (!geometry_.aligned(base::HostOffset{table_[i]}))
      return base::fail(ErrorKind::usage,
                        fmt::format("entry {} of the refcount table can't be right: see cowvet check", i));
  }
  table_offset_ = at.raw();
  return {};
}

base::Result<TablePointer> Refcounts::block_of(std::uint64_t cluster) const {
  const std::uint64_t index = cluster >> geometry_.block_bits();
  if (index >= table_.size() || table_[static_cast<std::size_t>(index)] == 0) return nullptr;
  return tables_.get(TableKind::refcount_block, base::HostOffset{table_[static_cast<std::size_t>(index)]});
}

base::Result<std::uint64_t> Refcounts::get(std::uint64_t cluster) const {
  const auto block = block_of(cluster);
  if (!block) return std::unexpected(block.error());
  if (*block == nullptr) return 0;
  return format::refcount_at((*block)->bytes(), geometry_.refcount_order(),
                             cluster & (geometry_.block_entries() - 1));
}

void Refcounts::set(const TablePointer& block, std::uint64_t cluster, std::uint64_t value) {
  const std::uint64_t index = cluster & (geometry_.block_entries() - 1);
  const auto byte = static_cast<std::size_t>(index << geometry_.refcount_order() >> 3);
  const std::size_t width = std::max<std::size_t>(1, geometry_.refcount_bits() / 8);
  const auto bytes = tables_.change(block, byte, byte + width);
  // Below a byte, the index counts within it.
  const std::uint64_t within =
      geometry_.refcount_order() < 3 ? index & ((8U >> geometry_.refcount_order()) - 1) : 0;
  format::set_refcount(bytes, geometry_.refcount_order(), within, value);
}

base::Result<std::uint64_t> Refcounts::end_of_use() {
  if (end_ != 0) return end_;
  for (std::size_t i = table_.size(); i > 0; --i) {
    if (table_[i - 1] == 0) continue;
    const std::uint64_t first = (i - 1) << geometry_.block_bits();
    const auto block = block_of(first);
    if (!block) return std::unexpected(block.error());
    for (std::uint64_t c = geometry_.block_entries(); c > 0; --c)
      if (format::refcount_at((*block)->bytes(), geometry_.refcount_order(), c - 1) != 0) {
        end_ = first + c;
        return end_;
      }
  }
  return base::fail(ErrorKind::usage,
                    "no cluster is counted at all: the refcounts are lost, run cowvet repair");
}

base::Result<Clusters> Refcounts::allocate(std::uint64_t most) {
  const auto end = end_of_use();
  if (!end) return std::unexpected(end.error());
  // First what is free among what is in use, as far as there are blocks for it.
  while (search_from_ < end_) {
    const std::uint64_t block_end = ((search_from_ >> geometry_.block_bits()) + 1) << geometry_.block_bits();
    const std::uint64_t stop = std::min(block_end, end_);
    const auto block = block_of(search_from_);
    if (!block) return std::unexpected(block.error());
    if (*block == nullptr) {
      search_from_ = stop;
      continue;
    }
    const auto is_free = [&](std::uint64_t c) {
      return format::refcount_at((*block)->bytes(), geometry_.refcount_order(),
                                 c & (geometry_.block_entries() - 1)) == 0;
    };
    while (search_from_ < stop && !is_free(search_from_)) ++search_from_;
    Clusters found{search_from_, 0};
    while (found.count < most && found.end() < stop && is_free(found.end())) ++found.count;
    if (found.count == 0) continue;
    for (std::uint64_t c = found.first; c < found.end(); ++c) set(*block, c, 1);
    search_from_ = found.end();
    return found;
  }
  return extend(most, end_);
}

base::Result<Clusters> Refcounts::allocate_all(std::uint64_t count, bool at_end) {
  const auto end = end_of_use();
  if (!end) return std::unexpected(end.error());
  if (count == 1 && !at_end) return allocate(1);
  const std::uint64_t file_end = (file_.size() + geometry_.cluster_size() - 1) >> geometry_.cluster_bits();
  return extend(count, at_end && !file_.device().is_block_device() ? std::max(*end, file_end) : *end);
}

base::Result<Clusters> Refcounts::extend(std::uint64_t count, std::uint64_t from) {
  // Blocks and table are counted by blocks that may be new themselves, so their number is found step by step.
  const std::uint64_t per_table_cluster = geometry_.cluster_size() / 8;
  std::uint64_t blocks = 0;
  std::uint64_t table_clusters = 0;
  while (true) {
    const std::uint64_t end = from + blocks + table_clusters + count;
    std::uint64_t absent = 0;
    for (std::uint64_t i = from >> geometry_.block_bits(); i <= (end - 1) >> geometry_.block_bits(); ++i)
      if (i >= table_.size() || table_[static_cast<std::size_t>(i)] == 0) ++absent;
    const std::uint64_t entries = ((end - 1) >> geometry_.block_bits()) + 1;
    std::uint64_t wanted = 0;
    if (entries > table_.size())
      wanted = std::max(table_clusters,
                        base::divide_up(std::max<std::uint64_t>(entries, table_.size() + table_.size() / 2),
                                        per_table_cluster));
    if (absent <= blocks && wanted <= table_clusters) break;
    blocks = std::max(blocks, absent);
    table_clusters = std::max(table_clusters, wanted);
  }
  const std::uint64_t end = from + blocks + table_clusters + count;
  if (table_clusters << geometry_.cluster_bits() > format::limits::max_refcount_table ||
      end > offset_limit >> geometry_.cluster_bits())
    return base::fail(ErrorKind::limit,
                      "the image file has reached the largest size that its clusters allow: convert it to "
                      "larger clusters");
  if (file_.device().is_block_device() && end > file_.size() >> geometry_.cluster_bits())
    return base::fail(ErrorKind::io, "the block device is full: the image needs a larger one", ENOSPC);

  std::uint64_t next = from;
  if (table_clusters != 0) {
    if (!moved_) replaced_ = {table_offset_ >> geometry_.cluster_bits(), table_.size() / per_table_cluster};
    const Clusters old{table_offset_ >> geometry_.cluster_bits(), table_.size() / per_table_cluster};
    const bool never_named = moved_;
    table_.resize(static_cast<std::size_t>(table_clusters * per_table_cluster));
    table_offset_ = (from + blocks) << geometry_.cluster_bits();
    moved_ = true;
    if (never_named)
      if (auto done = lower(old); !done) return std::unexpected(done.error());
  }
  for (std::uint64_t i = from >> geometry_.block_bits(); i <= (end - 1) >> geometry_.block_bits(); ++i) {
    auto& entry = table_[static_cast<std::size_t>(i)];
    if (entry != 0) continue;
    entry = next++ << geometry_.cluster_bits();
    tables_.create(TableKind::refcount_block, base::HostOffset{entry});
    new_entries_.insert(i);
  }
  // Fewer blocks than planned were needed when the plan's own growth was counted twice: the gap stays free.
  const Clusters found{from + blocks + table_clusters, count};
  const auto count_once = [&](Clusters run) -> base::Result<void> {
    for (std::uint64_t c = run.first; c < run.end(); ++c) {
      const auto block = block_of(c);
      if (!block) return std::unexpected(block.error());
      set(*block, c, 1);
    }
    return {};
  };
  if (auto done = count_once({from, next - from}); !done) return std::unexpected(done.error());
  if (auto done = count_once({from + blocks, table_clusters}); !done) return std::unexpected(done.error());
  if (auto done = count_once(found); !done) return std::unexpected(done.error());
  if (search_from_ >= from) search_from_ = std::min(next, from + blocks);
  end_ = std::max(end_, found.end());
  return found;
}

base::Result<base::HostOffset> Refcounts::allocate_stream(std::uint64_t length) {
  const std::uint64_t cs = geometry_.cluster_size();
  if (stream_end_ % cs != 0) {
    const std::uint64_t cluster = stream_end_ >> geometry_.cluster_bits();
    const auto count = get(cluster);
    if (!count) return std::unexpected(count.error());
    const std::uint64_t room = cs - stream_end_ % cs;
    if (*count != 0 && *count < geometry_.max_refcount()) {
      bool fits = length <= room;
      if (!fits) {
        const auto block = block_of(cluster + 1);
        if (!block) return std::unexpected(block.error());
        const auto next = get(cluster + 1);
        if (!next) return std::unexpected(next.error());
        if (*block != nullptr && *next == 0) {
          set(*block, cluster + 1, 1);
          end_ = std::max(end_, cluster + 2);
          fits = true;
        }
      }
      if (fits) {
        if (auto raised = raise({cluster, 1}); !raised) return std::unexpected(raised.error());
        const base::HostOffset at{stream_end_};
        stream_end_ += length;
        return at;
      }
    }
  }
  const auto run = allocate(1);
  if (!run) return std::unexpected(run.error());
  const base::HostOffset at{run->first << geometry_.cluster_bits()};
  stream_end_ = at.raw() + length;
  return at;
}

base::Result<void> Refcounts::raise(Clusters clusters) {
  for (std::uint64_t c = clusters.first; c < clusters.end(); ++c) {
    const auto block = block_of(c);
    const auto count = block ? get(c) : std::unexpected(block.error());
    if (count && *block != nullptr && *count != 0 && *count < geometry_.max_refcount()) {
      set(*block, c, *count + 1);
      continue;
    }
    if (auto back = lower({clusters.first, c - clusters.first}); !back) return back;
    if (!count) return std::unexpected(count.error());
    if (*block == nullptr || *count == 0)
      return base::fail(ErrorKind::usage,
                        fmt::format("host cluster {:#x} is in use but not counted: run cowvet repair", c));
    return base::fail(
        ErrorKind::limit,
        fmt::format("host cluster {:#x} has {} owners, the most that {}-bit refcounts can count: convert the "
                    "image to wider ones",
                    c, *count, geometry_.refcount_bits()));
  }
  return {};
}

base::Result<void> Refcounts::lower(Clusters clusters) {
  for (std::uint64_t c = clusters.first; c < clusters.end(); ++c) {
    const auto block = block_of(c);
    if (!block) return std::unexpected(block.error());
    const auto count = get(c);
    if (!count) return std::unexpected(count.error());
    if (*count == 0)
      return base::fail(ErrorKind::usage,
                        fmt::format("host cluster {:#x} was in use but not counted: run cowvet repair", c));
    set(*block, c, *count - 1);
    if (*count != 1) continue;
    search_from_ = std::min(search_from_, c);
    if (stream_end_ != 0 && (stream_end_ - 1) >> geometry_.cluster_bits() == c) stream_end_ = 0;
    tables_.forget(base::HostOffset{c << geometry_.cluster_bits()});
    if (!freed_.empty() && freed_.back().end() == c)
      ++freed_.back().count;
    else
      freed_.push_back({c, 1});
  }
  return {};
}

std::vector<Clusters> Refcounts::own() const {
  std::vector<Clusters> list{
      {table_offset_ >> geometry_.cluster_bits(), table_.size() * 8 >> geometry_.cluster_bits()}};
  for (const auto offset : table_)
    if (offset != 0) list.push_back({offset >> geometry_.cluster_bits(), 1});
  return list;
}

std::vector<Clusters> Refcounts::take_freed() { return std::exchange(freed_, {}); }

base::Result<Clusters> Refcounts::publish() {
  if (!unpublished()) return Clusters{};
  const auto encode = [&](std::uint64_t first, std::uint64_t count) {
    std::vector<std::byte> bytes(static_cast<std::size_t>(count * 8));
    for (std::size_t i = 0; i < count; ++i)
      base::store_be<std::uint64_t, 0>(base::MutableBytes(bytes).subspan(i * 8).first<8>(),
                                       table_[static_cast<std::size_t>(first) + i]);
    return bytes;
  };
  if (moved_)
    if (auto written = file_.write(table_offset_, encode(0, table_.size())); !written)
      return std::unexpected(written.error());
  if (auto flushed = file_.flush(); !flushed) return std::unexpected(flushed.error());
  if (moved_) {
    auto header = header_.header();
    header.v2.refcount_table_offset = base::HostOffset{table_offset_};
    header.v2.refcount_table_clusters =
        static_cast<std::uint32_t>(table_.size() * 8 >> geometry_.cluster_bits());
    if (auto stored = header_.store(header); !stored) return std::unexpected(stored.error());
  } else {
    for (auto at = new_entries_.begin(); at != new_entries_.end();) {
      const std::uint64_t first = *at;
      std::uint64_t count = 0;
      while (at != new_entries_.end() && *at == first + count) {
        ++at;
        ++count;
      }
      if (auto written = file_.write(table_offset_ + first * 8, encode(first, count)); !written)
        return std::unexpected(written.error());
    }
  }
  new_entries_.clear();
  moved_ = false;
  return std::exchange(replaced_, {});
}

}  // namespace cowvet::engine
