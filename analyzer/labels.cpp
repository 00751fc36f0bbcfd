// A page holds the labels of 4096 clusters in the smallest of three forms: runs (what preallocated and sequentially
// written images give), a byte a cluster, or four bytes a cluster when a byte can't say it. 64 pages make a
// chunk; chunks appear when a cluster in them gets an owner.
#include "analyzer/labels.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <thread>

#include <sys/mman.h>

#include "base/checked.hpp"
#include "storage/heap.hpp"

namespace cowvet::analyzer {

namespace {

constexpr std::uint64_t pages_per_chunk = 64;
constexpr std::uint64_t os_page = 4096;
constexpr std::uint64_t of_allocation = 16;        // bytes that malloc takes for itself, of each
constexpr std::uint64_t much_memory = 8ULL << 20;  // bytes, worth giving back to the system
constexpr std::size_t most_runs = 256;             // half of what a page of bytes takes

using Packed = std::uint32_t;  // kind in the upper four bits
constexpr Packed pack(Label l) { return static_cast<Packed>(l.kind) << 28 | l.refs; }
constexpr Label unpack(Packed p) { return {static_cast<Kind>(p >> 28), p & Label::max_refs}; }

// The byte form: the labels that occur in practice have a code of one byte.
struct Codes {
  std::array<Packed, 256> label{};
  std::array<std::uint8_t, kind_count> first{};  // code of (kind, least refs)
  std::array<std::uint8_t, kind_count> count{};  // how many counts have a code
  std::array<std::uint8_t, kind_count> least{};
  constexpr Codes() {
    std::size_t code = 1;
    for (std::size_t k = 1; k < kind_count; ++k) {
      const auto kind = static_cast<Kind>(k);
      const std::uint8_t n = kind == Kind::data         ? 110
                             : kind == Kind::compressed ? 80
                             : kind == Kind::contested  ? 16
                             : kind == Kind::l2         ? 30
                                                        : 1;
      first[k] = static_cast<std::uint8_t>(code);
      count[k] = n;
      least[k] = kind == Kind::contested ? 2 : 1;
      for (std::uint32_t i = 0; i < n; ++i) label[code++] = pack({kind, least[k] + i});
    }
    if (code > 256) throw "the codes must fit into a byte";
  }
  // The code of a label, 0 for free; nothing (-1) when it has none.
  [[nodiscard]] constexpr int of(Packed p) const {
    if (p == 0) return 0;
    const auto l = unpack(p);
    const auto k = static_cast<std::size_t>(l.kind);
    if (l.refs < least[k] || l.refs - least[k] >= count[k]) return -1;
    return static_cast<int>(first[k] + (l.refs - least[k]));
  }
};
constexpr Codes codes;

struct Run {
  std::uint32_t first;  // its clusters reach to the next run's first, the last one's to the page's end
  Packed label;
};

enum class Form : std::uint8_t { runs, bytes, words };

}  // namespace

std::string_view to_string(Kind kind) {
  static constexpr std::array<std::string_view, kind_count> names{"free",
                                                                  "data",
                                                                  "compressed data",
                                                                  "header",
                                                                  "active L1 table",
                                                                  "snapshot L1",
                                                                  "L2 table",
                                                                  "refcount table",
                                                                  "refcount block",
                                                                  "snapshot table",
                                                                  "LUKS header",
                                                                  "bitmap directory",
                                                                  "bitmap table",
                                                                  "bitmap data",
                                                                  "contested"};
  return names[static_cast<std::size_t>(kind)];
}

struct LabelMap::Page {
  std::atomic<bool> locked{false};
  Form form = Form::runs;
  std::uint16_t runs = 0;  // 0: all free
  std::uint16_t capacity = 0;
  union {
    Run* run = nullptr;
    std::uint8_t* byte;
    Packed* word;
  };

  class Lock {
   public:
    explicit Lock(Page& page) : page_(page) {
      while (page_.locked.exchange(true, std::memory_order_acquire))
        while (page_.locked.load(std::memory_order_relaxed)) std::this_thread::yield();
    }
    ~Lock() { page_.locked.store(false, std::memory_order_release); }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

   private:
    Page& page_;
  };

  [[nodiscard]] std::uint64_t bytes_used() const {
    switch (form) {
      case Form::runs: return capacity == 0 ? 0 : capacity * sizeof(Run) + of_allocation;
      case Form::bytes: return page_clusters + of_allocation;
      case Form::words: return page_clusters * sizeof(Packed) + of_allocation;
    }
    return 0;
  }
  void release() {
    std::free(run);
    run = nullptr;
    form = Form::runs;
    runs = capacity = 0;
  }
  template <class T>
  static T* reserve(std::size_t n) {
    auto* p = static_cast<T*>(std::malloc(n * sizeof(T)));
    if (p == nullptr) throw std::bad_alloc();
    return p;
  }

  template <class Visit>  // visit(first, count, packed) in ascending order, maximal runs within [from, to)
  void each(std::uint32_t from, std::uint32_t to, Visit&& visit) const {
    if (form == Form::runs) {
      if (runs == 0) return visit(from, to - from, Packed{0});
      for (std::size_t i = run_of(from); from < to; ++i) {
        const std::uint32_t end = std::min(to, end_of(i));
        visit(from, end - from, run[i].label);
        from = end;
      }
      return;
    }
    for (std::uint32_t at = from; at < to;) {
      std::uint32_t end = at + 1;
      if (form == Form::bytes) {
        while (end < to && byte[end] == byte[at]) ++end;
        visit(at, end - at, codes.label[byte[at]]);
      } else {
        while (end < to && word[end] == word[at]) ++end;
        visit(at, end - at, word[at]);
      }
      at = end;
    }
  }

  void add(std::uint32_t from, std::uint32_t to, Label label) {
    if (form == Form::runs) {
      from = add_to_runs(from, to, label);
      if (from == to) return;
      leave_runs();
    }
    if (form == Form::bytes) {
      from = add_to_bytes(from, to, label);
      if (from == to) return;
      widen_to_words();
    }
    for (std::uint32_t i = from; i < to; ++i) word[i] = pack(merge(unpack(word[i]), label));
  }

 private:
  // The run that holds the cluster. There is one.
  [[nodiscard]] std::size_t run_of(std::uint32_t cluster) const {
    return static_cast<std::size_t>(std::ranges::upper_bound(run, run + runs, cluster, {}, &Run::first) -
                                    run) -
           1;
  }
  [[nodiscard]] std::uint32_t end_of(std::size_t i) const {
    return i + 1 < runs ? run[i + 1].first : static_cast<std::uint32_t>(page_clusters);
  }
  // Merges the label in as far as there is room for the runs of the outcome; returns where it stopped.
  std::uint32_t add_to_runs(std::uint32_t from, std::uint32_t to, Label label) {
    if (runs == 0) {
      grow(3);
      run[runs++] = {0, 0};
    }
    while (from < to) {
      const std::uint32_t end = std::min(to, end_of(run_of(from)));
      if (!add_within_run(from, end, label)) return from;
      from = end;
    }
    return to;
  }
  // Of [from, to), which lies within one run: this is cut at the borders, or joined with a neighbour that
  // says the same.
  bool add_within_run(std::uint32_t from, std::uint32_t to, Label label) {
    const std::size_t i = run_of(from);
    const Run old = run[i];
    const Packed now = pack(merge(unpack(old.label), label));
    const bool tail = to < end_of(i);
    std::array<Run, 3> pieces;
    std::size_t n = 0;
    if (old.first < from) pieces[n++] = old;
    if (n > 0 || i == 0 || run[i - 1].label != now) pieces[n++] = {from, now};
    if (tail) pieces[n++] = {to, old.label};
    const std::size_t behind = !tail && i + 1 < runs && run[i + 1].label == now ? i + 2 : i + 1;
    const std::size_t total = i + n + (runs - behind);
    if (total > most_runs) return false;
    grow(total);
    std::memmove(run + i + n, run + behind, (runs - behind) * sizeof(Run));
    std::copy_n(pieces.begin(), n, run + i);
    runs = static_cast<std::uint16_t>(total);
    return true;
  }
  void grow(std::size_t n) {
    if (n <= capacity) return;
    const std::size_t wanted = std::min(std::bit_ceil(n), most_runs);
    auto* bigger = reserve<Run>(wanted);
    std::copy_n(run, runs, bigger);
    std::free(run);
    run = bigger;
    capacity = static_cast<std::uint16_t>(wanted);
  }
  // Merges the label in as far as bytes can say the outcome; returns where it stopped.
  std::uint32_t add_to_bytes(std::uint32_t from, std::uint32_t to, Label label) {
    const int fresh = codes.of(pack(label));
    for (std::uint32_t i = from; i < to; ++i) {
      const int code = byte[i] == 0 ? fresh : codes.of(pack(merge(unpack(codes.label[byte[i]]), label)));
      if (code < 0) return i;
      byte[i] = static_cast<std::uint8_t>(code);
    }
    return to;
  }
  // From runs to bytes, or to words when a label needs them.
  void leave_runs() {
    const bool bytes_do = std::all_of(run, run + runs, [](const Run& r) { return codes.of(r.label) >= 0; });
    if (bytes_do) {
      auto* wide = reserve<std::uint8_t>(page_clusters);
      each(0, page_clusters, [&](std::uint32_t first, std::uint32_t count, Packed label) {
        std::memset(wide + first, codes.of(label), count);
      });
      replace(Form::bytes, wide);
    } else {
      auto* wide = reserve<Packed>(page_clusters);
      each(0, page_clusters, [&](std::uint32_t first, std::uint32_t count, Packed label) {
        std::fill_n(wide + first, count, label);
      });
      replace(Form::words, wide);
    }
  }
  void widen_to_words() {
    auto* wide = reserve<Packed>(page_clusters);
    for (std::size_t i = 0; i < page_clusters; ++i) wide[i] = codes.label[byte[i]];
    replace(Form::words, wide);
  }
  template <class T>
  void replace(Form next, T* storage) {
    release();
    form = next;
    if constexpr (sizeof(T) == 1)
      byte = storage;
    else
      word = storage;
  }
};

struct LabelMap::Chunk {
  std::array<Page, pages_per_chunk> pages;
};

// What a chunk takes besides its pages' storage: itself, its place in used_, and in long files a page of the root.
std::uint64_t LabelMap::chunk_cost() const {
  return sizeof(Chunk) + sizeof(std::uint64_t) + (root_bytes_ > (1U << 20) ? os_page : 0);
}

std::uint64_t LabelMap::least_budget() {
  return sizeof(Chunk) + sizeof(std::uint64_t) + os_page +
         pages_per_chunk * (page_clusters * sizeof(Packed) + of_allocation);
}

base::Result<std::unique_ptr<LabelMap>> LabelMap::make(std::uint64_t clusters, std::uint64_t budget) {
  std::unique_ptr<LabelMap> map{new LabelMap};
  map->clusters_ = clusters;
  map->budget_ = budget;
  map->end_ = clusters;
  map->root_bytes_ = (clusters / (page_clusters * pages_per_chunk) + 1) * sizeof(std::atomic<Chunk*>);
  // Memory that takes no room until it is touched: a file may be 2^63 bytes long and hold nothing.
  void* root = mmap(nullptr, map->root_bytes_, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (root == MAP_FAILED)
    return base::fail(base::ErrorKind::limit, "the file is too long to account for its clusters", errno);
  map->root_ = static_cast<std::atomic<Chunk*>*>(root);
  return map;
}

LabelMap::~LabelMap() {
  if (root_ == nullptr) return;
  release(0);
  munmap(root_, root_bytes_);
}

// Frees the chunks used_[from] and up.
void LabelMap::release(std::size_t from) {
  for (std::size_t i = from; i < used_.size(); ++i) {
    auto* chunk = root_[used_[i]].exchange(nullptr, std::memory_order_relaxed);
    memory_ -= chunk_cost();
    for (auto& page : chunk->pages) {
      memory_ -= page.bytes_used();
      page.release();
    }
    delete chunk;
  }
  used_.resize(from);
}

LabelMap::Chunk& LabelMap::chunk_for(std::uint64_t index) {
  if (auto* chunk = root_[index].load(std::memory_order_acquire)) return *chunk;
  const std::lock_guard guard(creating_);
  if (auto* chunk = root_[index].load(std::memory_order_relaxed)) return *chunk;
  auto* chunk = new Chunk;
  used_.insert(std::ranges::lower_bound(used_, index), index);
  memory_ += chunk_cost();
  root_[index].store(chunk, std::memory_order_release);
  return *chunk;
}

void LabelMap::Session::add(std::uint64_t first, std::uint64_t count, Label label) {
  if (map_.memory() > map_.budget_) {  // at once: of many threads, each would add to it
    leave();
    lock_.lock();
  }
  const std::uint64_t begin = std::max(first, map_.begin_);
  const std::uint64_t end = std::min(base::saturating_add(first, count), map_.end_);
  for (std::uint64_t at = begin; at < end;) {
    const std::uint64_t page_index = at >> page_bits;
    const std::uint64_t page_begin = page_index << page_bits;
    const auto from = static_cast<std::uint32_t>(at - page_begin);
    const auto to = static_cast<std::uint32_t>(std::min(end - page_begin, page_clusters));
    Page& page = map_.chunk_for(page_index / pages_per_chunk).pages[page_index % pages_per_chunk];
    {
      const Page::Lock lock(page);
      const std::uint64_t before = page.bytes_used();
      page.add(from, to, label);
      if (const std::uint64_t after = page.bytes_used(); after != before) map_.memory_ += after - before;
    }
    at = page_begin + to;
  }
}

void LabelMap::Session::leave() {
  lock_.unlock();
  if (map_.memory() > map_.budget_) map_.shrink();
}

// Halves what is kept: the window ends where the first half of the memory does. A single chunk always stays.
void LabelMap::shrink() {
  const std::unique_lock guard(shape_);
  if (memory() <= budget_) return;
  const std::uint64_t goal = memory() / 2;
  std::uint64_t sum = 0;
  std::size_t kept = 0;
  while (kept < used_.size() && (kept == 0 || sum < goal)) {
    sum += chunk_cost();
    for (const auto& page : root_[used_[kept]].load(std::memory_order_relaxed)->pages)
      sum += page.bytes_used();
    ++kept;
  }
  if (kept == used_.size()) return;
  end_ = used_[kept] * page_clusters * pages_per_chunk;
  release(kept);
  storage::give_back_free_heap();
}

bool LabelMap::advance() {
  const bool much = memory() > much_memory;
  release(0);
  if (much) storage::give_back_free_heap();
  if (end_ >= clusters_) return false;
  begin_ = end_;
  end_ = clusters_;
  return true;
}

void LabelMap::for_each_run(std::uint64_t first, std::uint64_t last, const Visit& visit) const {
  first = std::max(first, begin_);
  last = std::min(last, end_);
  constexpr std::uint64_t chunk_clusters = page_clusters * pages_per_chunk;
  auto next_chunk = std::ranges::lower_bound(used_, first / chunk_clusters);
  while (first < last) {
    const std::uint64_t index = first / chunk_clusters;
    if (next_chunk == used_.end() || *next_chunk > index) {  // a gap
      const std::uint64_t end =
          next_chunk == used_.end() ? last : std::min(last, *next_chunk * chunk_clusters);
      visit(first, end - first, Label{});
      first = end;
      continue;
    }
    ++next_chunk;
    const auto& pages = root_[index].load(std::memory_order_relaxed)->pages;
    while (first < last && first / chunk_clusters == index) {
      const std::uint64_t page_begin = first & ~(page_clusters - 1);
      const std::uint64_t to = std::min(last - page_begin, page_clusters);
      pages[(first >> page_bits) % pages_per_chunk].each(
          static_cast<std::uint32_t>(first - page_begin), static_cast<std::uint32_t>(to),
          [&](std::uint32_t at, std::uint32_t count, Packed label) {
            visit(page_begin + at, count, unpack(label));
          });
      first = page_begin + to;
    }
  }
}

Label LabelMap::at(std::uint64_t cluster) const {
  Label found;
  for_each_run(cluster, cluster + 1, [&](std::uint64_t, std::uint64_t, Label label) { found = label; });
  return found;
}

std::optional<std::uint64_t> LabelMap::last_used() const {
  constexpr std::uint64_t chunk_clusters = page_clusters * pages_per_chunk;
  std::optional<std::uint64_t> last;
  for (auto index = used_.rbegin(); index != used_.rend() && !last; ++index)
    for_each_run(*index * chunk_clusters, (*index + 1) * chunk_clusters,
                 [&](std::uint64_t first, std::uint64_t count, Label label) {
                   if (label.kind != Kind::free) last = first + count - 1;
                 });
  return last;
}

}  // namespace cowvet::analyzer
