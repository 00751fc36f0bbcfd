// Who owns each host cluster, and how often it is referenced: one label a cluster, for files of any length.
// Promises: adding is commutative, so the outcome does not depend on the order or the thread; memory follows what was
// added, not the file's length, and stays within a budget by shrinking the window of clusters that is looked at (the
// walk is then run again for the rest).
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace cowvet::analyzer {

enum class Kind : std::uint8_t {
  free,
  data,        // standard data cluster, reserved zero cluster, VM state
  compressed,  // one or several compressed streams
  header,
  active_l1,
  snapshot_l1,
  l2,
  refcount_table,
  refcount_block,
  snapshot_table,
  luks,
  bitmap_directory,
  bitmap_table,
  bitmap_data,
  contested,  // owners that must not share a cluster
};
inline constexpr std::size_t kind_count = 15;
[[nodiscard]] std::string_view to_string(Kind kind);

// What is known of a cluster. Up to 2^28 - 1 references are told apart; more saturate.
struct Label {
  Kind kind = Kind::free;
  std::uint32_t refs = 0;
  static constexpr std::uint32_t max_refs = (1U << 28) - 1;
  friend constexpr bool operator==(Label, Label) = default;
};

// The label of a cluster that gets a further owner. Streams may share a cluster; nothing else may: the walk adds a data
// cluster that snapshots share, and an L2 table that they share, once, with all its references.
[[nodiscard]] constexpr Label merge(Label a, Label b) {
  if (a.kind == Kind::free) return b;
  if (b.kind == Kind::free) return a;
  const std::uint64_t refs = std::uint64_t{a.refs} + b.refs;
  const bool share = a.kind == Kind::compressed && b.kind == Kind::compressed;
  return {share ? Kind::compressed : Kind::contested,
          static_cast<std::uint32_t>(refs < Label::max_refs ? refs : Label::max_refs)};
}

class LabelMap {
 public:
  // Labels for clusters [0, clusters); about `budget` bytes of memory at most.
  [[nodiscard]] static base::Result<std::unique_ptr<LabelMap>> make(std::uint64_t clusters,
                                                                    std::uint64_t budget);
  ~LabelMap();
  LabelMap(const LabelMap&) = delete;
  LabelMap& operator=(const LabelMap&) = delete;

  // A thread's way to add labels. Sessions run side by side; between them the map may shrink its window.
  class Session {
   public:
    explicit Session(LabelMap& map) : map_(map), lock_(map.shape_) {}
    ~Session() { leave(); }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    // Gives `count` clusters from `first` one more owner. What lies outside the window is left out.
    void add(std::uint64_t first, std::uint64_t count, Label label);

   private:
    void leave();
    LabelMap& map_;
    std::shared_lock<std::shared_mutex> lock_;
  };

  [[nodiscard]] std::uint64_t clusters() const { return clusters_; }
  // The clusters that labels are complete for: [window_begin, window_end). Ask when no session is open.
  [[nodiscard]] std::uint64_t window_begin() const { return begin_; }
  [[nodiscard]] std::uint64_t window_end() const { return end_; }
  // Forgets all labels and looks at what lies behind the present window next. False: there is nothing behind it.
  [[nodiscard]] bool advance();

  // Calls visit(first, count, label) for the runs of equal labels in [first, last) in ascending order; runs end at
  // multiples of 4096 clusters at the latest, gaps without owners may be longer. No session may be open.
  using Visit = std::function<void(std::uint64_t first, std::uint64_t count, Label label)>;
  void for_each_run(std::uint64_t first, std::uint64_t last, const Visit& visit) const;
  [[nodiscard]] Label at(std::uint64_t cluster) const;
  // The highest cluster of the window with an owner.
  [[nodiscard]] std::optional<std::uint64_t> last_used() const;
  [[nodiscard]] std::uint64_t memory() const { return memory_.load(std::memory_order_relaxed); }

  // The least budget that is kept to: a chunk of clusters always stays, and may need four bytes a cluster.
  [[nodiscard]] static std::uint64_t least_budget();

  static constexpr std::uint32_t page_bits = 12;
  static constexpr std::uint64_t page_clusters = 1ULL << page_bits;

 private:
  struct Page;
  struct Chunk;
  LabelMap() = default;
  Chunk& chunk_for(std::uint64_t index);
  [[nodiscard]] std::uint64_t chunk_cost() const;
  void shrink();
  void release(std::size_t from);

  std::uint64_t clusters_ = 0, budget_ = 0, begin_ = 0, end_ = 0;
  std::atomic<Chunk*>* root_ = nullptr;  // lazily backed memory, an element a chunk
  std::uint64_t root_bytes_ = 0;
  std::atomic<std::uint64_t> memory_{0};
  std::shared_mutex shape_;          // shared: a session; exclusive: the window changes
  std::mutex creating_;              // guards used_ and the making of chunks
  std::vector<std::uint64_t> used_;  // the chunks that exist, ascending
};

}  // namespace cowvet::analyzer
