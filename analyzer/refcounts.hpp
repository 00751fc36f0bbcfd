// The refcount structures: the table and its blocks, and the comparison of what they count with what the walk counted.
// Promises: each block is read once a window; a block that can't be read is told apart from one that says zero.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "analyzer/labels.hpp"
#include "analyzer/walk.hpp"

namespace cowvet::analyzer {

// Clusters [first, first + count) whose refcount on disk is not the number of their owners; both are the same all over.
struct Mismatch {
  std::uint64_t first = 0, count = 0;
  std::uint64_t stored = 0;
  Label label;
};

class Refcounts {
 public:
  explicit Refcounts(Image& image) : image_(image), geometry_(*image.geometry) {}

  // Reads the table and judges its entries; adds the blocks to `metadata`.
  void read_table(MetadataMap& metadata);
  // Gives each block its label.
  void label_blocks(LabelMap& labels) const;

  struct Outcome {
    std::vector<Mismatch> leaks;           // clusters without an owner, ascending; at most most_leaks runs
    std::vector<Mismatch> held;            // L2 tables with a refcount above their owners: not reported yet
    std::uint64_t highest_used = 0;        // number of clusters up to the last that is owned or counted
    std::uint64_t counted_beyond_eof = 0;  // clusters past the end of the file with a refcount
    std::uint64_t wrong = 0;               // clusters of the file whose refcount is not what it should be
  };
  static constexpr std::size_t most_leaks = 1U << 16;
  static constexpr std::size_t most_held = 1U << 16;
  // Compares all clusters of the window; reports the differences unless it is asked to be quiet. All of them, however
  // many, are shown to `see`.
  enum class Voice : std::uint8_t { report, quiet };
  using See = std::function<void(const Mismatch&)>;
  [[nodiscard]] Outcome compare(const LabelMap& labels, unsigned jobs, Voice voice = Voice::report,
                                const See& see = {});
  void report(const Mismatch& mismatch);
  // The refcount on disk of one cluster; nothing where no block says it. Whoever asks for many keeps the piece of the
  // block that was read last.
  struct Piece {
    std::optional<std::uint64_t> offset{};  // of the bytes
    std::vector<std::byte> bytes{};
  };
  [[nodiscard]] std::optional<std::uint64_t> stored(std::uint64_t cluster, Piece& piece) const;
  [[nodiscard]] std::optional<std::uint64_t> stored(std::uint64_t cluster) const;

 private:
  struct Part;
  void compare_block(std::uint64_t index, const LabelMap& labels, base::ConstBytes block, Part& part) const;
  void read_entry(std::uint64_t index, std::uint64_t word, MetadataMap& metadata);
  void bad_entry(findings::RuleId rule, std::uint64_t index, std::uint64_t word);
  void flush_bad_entries();
  void report_uncovered(std::uint64_t block, std::uint64_t owned);
  void report_empty(std::uint64_t block);
  void report_implausible(std::uint64_t block);

  Image& image_;
  const format::Geometry geometry_;
  std::vector<std::uint64_t> blocks_;  // host offset of each block that can be read, by table index; 0: none
  std::uint64_t entries_ = 0;          // of the table, as declared
  struct BadEntries {                  // of the table, one behind the other
    findings::RuleId rule;
    std::uint64_t first, count, word;  // word: of the first one
  };
  std::optional<BadEntries> bad_;
};

}  // namespace cowvet::analyzer
