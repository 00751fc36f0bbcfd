// L2 tables and refcount blocks in memory. Promises: a table that somebody holds, or that has changes, stays;
// beyond that the memory is bounded, and the table used longest ago goes first. get() is safe from several
// threads; changes are made by one thread, with nobody reading.
#pragma once
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "base/units.hpp"
#include "engine/medium.hpp"

namespace cowvet::engine {

enum class TableKind : std::uint8_t { l2, refcount_block };

// One cluster of metadata. What was changed is known in pieces, so that little is written.
class Table {
 public:
  Table(TableKind kind, base::HostOffset at, std::size_t size) : kind_(kind), at_(at), bytes_(size) {}

  [[nodiscard]] TableKind kind() const { return kind_; }
  [[nodiscard]] base::HostOffset at() const { return at_; }
  [[nodiscard]] base::ConstBytes bytes() const { return bytes_; }
  [[nodiscard]] std::uint64_t word(std::size_t index) const {
    return base::BigEndianTable<std::uint64_t>(bytes_)[index];
  }

 private:
  friend class TableCache;
  static constexpr std::size_t piece = 4096;

  TableKind kind_;
  base::HostOffset at_;
  std::vector<std::byte> bytes_;
  std::vector<bool> changed_;  // by piece; empty while nothing is
};

using TablePointer = std::shared_ptr<const Table>;

class TableCache {
 public:
  TableCache(Medium& medium, std::size_t table_size, std::uint64_t budget)
      : medium_(medium), table_size_(table_size), budget_(budget) {}

  // The table at `at`, read if need be.
  [[nodiscard]] base::Result<TablePointer> get(TableKind kind, base::HostOffset at) const;

  // A new table of zeros; it counts as changed.
  TablePointer create(TableKind kind, base::HostOffset at);
  // The bytes of `table`, to be changed in [begin, end).
  [[nodiscard]] base::MutableBytes change(const TablePointer& table, std::size_t begin, std::size_t end);
  void set_word(const TablePointer& table, std::size_t index, std::uint64_t word);
  // The cluster is no table any more; its changes are void.
  void forget(base::HostOffset at);
  void forget_all(TableKind kind);

  // Writes the changes of all tables of a kind.
  [[nodiscard]] base::Result<void> write(TableKind kind);

  // Changes, which can't be dropped, fill half of the memory.
  [[nodiscard]] bool crowded() const {
    return (changed_blocks_.size() + changed_l2_.size()) * table_size_ > budget_ / 2;
  }
  [[nodiscard]] bool changed(TableKind kind) const {
    return !(kind == TableKind::l2 ? changed_l2_ : changed_blocks_).empty();
  }

 private:
  using Changed = std::unordered_map<std::uint64_t, std::shared_ptr<Table>>;
  using Order = std::list<std::shared_ptr<Table>>;  // used last comes first

  void insert(const std::shared_ptr<Table>& table) const;
  [[nodiscard]] base::Result<void> write(Table& table);
  [[nodiscard]] Changed& changed_of(TableKind kind) {
    return kind == TableKind::l2 ? changed_l2_ : changed_blocks_;
  }

  Medium& medium_;
  std::size_t table_size_;
  std::uint64_t budget_;
  mutable std::mutex mutex_;
  mutable Order order_;
  mutable std::unordered_map<std::uint64_t, Order::iterator> known_;  // by host offset
  Changed changed_blocks_, changed_l2_;
};

}  // namespace cowvet::engine
