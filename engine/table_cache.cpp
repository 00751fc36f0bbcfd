#include "engine/table_cache.hpp"

#include <algorithm>
#include <iterator>

namespace cowvet::engine {

base::Result<TablePointer> TableCache::get(TableKind kind, base::HostOffset at) const {
  {
    const std::scoped_lock lock(mutex_);
    if (const auto found = known_.find(at.raw()); found != known_.end()) {
      if ((*found->second)->kind() != kind)
        return base::fail(base::ErrorKind::io,
                          "one cluster is used as L2 table and as refcount block: run cowvet check");
      order_.splice(order_.begin(), order_, found->second);
      return *found->second;
    }
  }
  // Read without the lock: two threads may read the same table, and the first one's stays.
  auto table = std::make_shared<Table>(kind, at, table_size_);
  if (auto read =
          medium_.read(at.raw(), table->bytes_, kind == TableKind::l2 ? "L2 table" : "refcount block");
      !read)
    return std::unexpected(read.error());
  const std::scoped_lock lock(mutex_);
  if (const auto found = known_.find(at.raw()); found != known_.end()) return *found->second;
  insert(table);
  return table;
}

// Under the lock. Tables that must stay are put to the front, so that the search for one that may go is short
// on average.
void TableCache::insert(const std::shared_ptr<Table>& table) const {
  constexpr int patience = 16;
  order_.push_front(table);
  known_[table->at().raw()] = order_.begin();
  for (int i = 0; i < patience && known_.size() > 4 && known_.size() * table_size_ > budget_; ++i) {
    const auto last = std::prev(order_.end());
    if (last->use_count() > 1) {  // held by somebody, or changed
      order_.splice(order_.begin(), order_, last);
    } else {
      known_.erase((*last)->at().raw());
      order_.erase(last);
    }
  }
}

TablePointer TableCache::create(TableKind kind, base::HostOffset at) {
  forget(at);
  auto table = std::make_shared<Table>(kind, at, table_size_);
  {
    const std::scoped_lock lock(mutex_);
    insert(table);
  }
  (void)change(table, 0, table_size_);
  return table;
}

base::MutableBytes TableCache::change(const TablePointer& table, std::size_t begin, std::size_t end) {
  auto& changed = changed_of(table->kind());
  auto [entry, is_new] = changed.try_emplace(table->at().raw());
  if (is_new) {
    const std::scoped_lock lock(mutex_);
    entry->second = *known_.at(table->at().raw());
  }
  auto& own = *entry->second;
  if (own.changed_.empty()) own.changed_.assign((table_size_ + Table::piece - 1) / Table::piece, false);
  for (std::size_t i = begin / Table::piece; i * Table::piece < end; ++i) own.changed_[i] = true;
  return base::MutableBytes(own.bytes_).subspan(begin, end - begin);
}

void TableCache::set_word(const TablePointer& table, std::size_t index, std::uint64_t word) {
  const auto bytes = change(table, index * 8, index * 8 + 8);
  base::store_be<std::uint64_t, 0>(bytes.first<8>(), word);
}

void TableCache::forget(base::HostOffset at) {
  changed_l2_.erase(at.raw());
  changed_blocks_.erase(at.raw());
  const std::scoped_lock lock(mutex_);
  if (const auto found = known_.find(at.raw()); found != known_.end()) {
    order_.erase(found->second);
    known_.erase(found);
  }
}

void TableCache::forget_all(TableKind kind) {
  changed_of(kind).clear();
  const std::scoped_lock lock(mutex_);
  for (auto at = order_.begin(); at != order_.end();) {
    const auto next = std::next(at);
    if ((*at)->kind() == kind) {
      known_.erase((*at)->at().raw());
      order_.erase(at);
    }
    at = next;
  }
}

base::Result<void> TableCache::write(TableKind kind) {
  auto& changed = changed_of(kind);
  while (!changed.empty()) {
    const auto first = changed.begin();
    if (auto written = write(*first->second); !written) return written;
    changed.erase(first);
  }
  return {};
}

// Each entry lies within a sector, so a write that is torn between sectors leaves old entries and new ones.
base::Result<void> TableCache::write(Table& table) {
  const auto& pieces = table.changed_;
  for (std::size_t i = 0; i < pieces.size();) {
    if (!pieces[i]) {
      ++i;
      continue;
    }
    std::size_t end = i;
    while (end < pieces.size() && pieces[end]) ++end;
    const std::size_t begin = i * Table::piece;
    const std::size_t length = std::min(end * Table::piece, table_size_) - begin;
    if (auto written =
            medium_.write(table.at().raw() + begin, base::ConstBytes(table.bytes_).subspan(begin, length));
        !written)
      return written;
    i = end;
  }
  table.changed_.clear();
  return {};
}

}  // namespace cowvet::engine
