// The pieces of one layer, one after the other. Promises: one L2 table and a part of the L1 table are in memory at a
// time; an entry that can't be read costs its own range alone; every guest byte of the layer is told exactly once.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "format/entries.hpp"
#include "repair/view.hpp"

namespace cowvet::repair {

// View and layer must live longer.
class Walk {
 public:
  Walk(const View& view, const Layer& layer) : view_(view), layer_(layer) {}
  // Nothing: the layer's end. A piece never crosses the border between two L2 tables, unless no table is there.
  [[nodiscard]] std::optional<Piece> next();

  // Where the next piece begins, guest bytes.
  [[nodiscard]] std::uint64_t position() const { return at_; }
  // The L1 entry of the next piece when that begins a table's range; nothing otherwise or where it can't be read.
  [[nodiscard]] std::optional<format::L1Entry> table_ahead();
  // Passes over that range.
  void skip_table();

 private:
  struct Entry {
    std::optional<std::uint64_t> word;  // nothing: lost
    std::string_view why;
  };
  [[nodiscard]] Entry l1_entry(std::uint64_t index);
  [[nodiscard]] Piece raw();
  [[nodiscard]] std::optional<Piece> without_table(std::uint64_t index);
  [[nodiscard]] static Piece lost(Piece piece, std::string_view why);
  [[nodiscard]] Piece stream(Piece piece, format::L2Entry entry, format::Subclusters bits) const;
  [[nodiscard]] Piece stored(Piece piece, format::L2Entry entry) const;
  [[nodiscard]] Piece standard(Piece piece, format::L2Entry entry) const;
  [[nodiscard]] Piece extended(Piece piece, format::L2Entry entry, format::Subclusters bits) const;
  void judge_place(Piece& piece);

  // Tables as the device gave them: `valid` bytes, of which those from `bad_begin` to `bad_end` failed.
  struct Table {
    std::vector<std::byte> bytes;
    std::uint64_t valid = 0, bad_begin = 0, bad_end = 0;
    void load(const storage::Device& device, std::uint64_t offset, std::uint64_t length);
    // Why the word at `at` can't be had; empty when it can.
    [[nodiscard]] bool cut(std::uint64_t at, std::uint64_t length) const { return at + length > valid; }
    [[nodiscard]] bool failed(std::uint64_t at, std::uint64_t length) const {
      return at < bad_end && at + length > bad_begin;
    }
    [[nodiscard]] std::uint64_t word(std::uint64_t at) const;
  };

  const View& view_;
  const Layer& layer_;
  std::uint64_t at_ = 0;
  Table l1_, l2_;
  std::uint64_t l1_first_ = 0;           // entry in l1_
  std::optional<std::uint64_t> loaded_;  // L1 index of the table in l2_
  std::string_view table_doubt_;         // of all its entries
};

}  // namespace cowvet::repair
