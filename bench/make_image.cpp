// Makes a large valid qcow2 image at once, where qemu-io would need hours: every guest cluster is allocated, as if a
// guest had written each once, in order or in a random order, and internal snapshots share all of it. Data clusters
// stay holes, so that a 1 TiB image takes 160 MiB on disk. `bench/check` proves each image with `qemu-img check`.
//
// It shares no code with cowvet, so that a wrong constant there can't hide here.
//
//   make_image FILE SIZE_GIB [SNAPSHOTS [SEED]]      a SEED makes the order of the writes random

#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace {

using u64 = std::uint64_t;

constexpr u64 cluster_bits = 16;
constexpr u64 cluster_size = u64{1} << cluster_bits;
constexpr u64 table_entries = cluster_size / 8;   // entries of an L1, L2 or refcount table cluster
constexpr u64 block_clusters = cluster_size / 2;  // clusters that one block of 16-bit refcounts describes
constexpr u64 copied_flag = u64{1} << 63;
constexpr u64 header_length = 112;
constexpr u64 snapshot_extra = 24;

constexpr u64 ceil_div(u64 value, u64 unit) { return (value + unit - 1) / unit; }

// The image as one mapped file. Stores are big-endian; pages never stored to stay holes.
class Image {
 public:
  Image(const char* path, u64 length) {
    const int fd = ::open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(length)) != 0) fail(path);
    void* base = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) fail(path);
    ::close(fd);
    bytes_ = static_cast<unsigned char*>(base);
  }

  template <class Word>
  void store(u64 offset, Word value) {
    if constexpr (std::endian::native == std::endian::little) value = std::byteswap(value);
    std::memcpy(bytes_ + offset, &value, sizeof value);
  }

  void store_text(u64 offset, const std::string& text) {
    std::memcpy(bytes_ + offset, text.data(), text.size());
  }

 private:
  [[noreturn]] static void fail(const char* path) {
    std::perror(path);
    std::exit(1);
  }

  unsigned char* bytes_;
};

// Hands out host clusters from the front of the file. The first cluster of each refcount block's range is kept for
// that block, except in the first range, where the header stands and the block follows it.
class Allocator {
 public:
  u64 take(u64 count = 1) {
    if (next_ % block_clusters + count > block_clusters)
      next_ = ceil_div(next_, block_clusters) * block_clusters;
    if (next_ % block_clusters == 0) ++next_;
    return std::exchange(next_, next_ + count);
  }
  u64 end() const { return next_; }
  static u64 block_position(u64 block) { return block == 0 ? 1 : block * block_clusters; }

 private:
  u64 next_ = 2;
};

void store_snapshots(Image& image, u64 table, const std::vector<u64>& l1_tables, u64 l1_entries,
                     u64 disk_size) {
  u64 at = table * cluster_size;
  for (u64 i = 0; i < l1_tables.size(); ++i) {
    const std::string id = std::to_string(i + 1);
    const std::string name = "snapshot-" + id;
    image.store<u64>(at, l1_tables[i] * cluster_size);
    image.store<std::uint32_t>(at + 8, static_cast<std::uint32_t>(l1_entries));
    image.store<std::uint16_t>(at + 12, static_cast<std::uint16_t>(id.size()));
    image.store<std::uint16_t>(at + 14, static_cast<std::uint16_t>(name.size()));
    image.store<std::uint32_t>(at + 16, static_cast<std::uint32_t>(1'700'000'000 + i));
    image.store<std::uint32_t>(at + 36, snapshot_extra);
    image.store<u64>(at + 48, disk_size);
    image.store_text(at + 40 + snapshot_extra, id + name);
    at += ceil_div(40 + snapshot_extra + id.size() + name.size(), 8) * 8;
  }
}

std::vector<std::uint32_t> write_order(u64 clusters, bool random, u64 seed) {
  std::vector<std::uint32_t> order(clusters);
  std::iota(order.begin(), order.end(), 0U);
  if (!random) return order;
  std::mt19937_64 engine(seed);  // the standard fixes its sequence, but not std::shuffle's use of it
  for (u64 i = clusters; i > 1; --i) std::swap(order[i - 1], order[engine() % i]);
  return order;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || argc > 5) {
    std::fprintf(stderr, "usage: make_image FILE SIZE_GIB [SNAPSHOTS [SEED]]\n");
    return 1;
  }
  const u64 size = std::strtoull(argv[2], nullptr, 10) << 30;
  const u64 snapshots = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 0;
  const bool random = argc > 4;
  const u64 seed = random ? std::strtoull(argv[4], nullptr, 10) : 0;
  if (size == 0 || size > u64{64} << 40 || snapshots > 500) {
    std::fprintf(stderr, "make_image: SIZE_GIB is 1 to 65536, SNAPSHOTS 0 to 500\n");
    return 1;
  }

  const u64 guest_clusters = size / cluster_size;
  const u64 l1_entries = ceil_div(guest_clusters, table_entries);
  const u64 l1_clusters = ceil_div(l1_entries, table_entries);

  // Everything but the refcount blocks is counted first, and the blocks after it, so that the refcount table that
  // stands near the front of the file is large enough for all that follows.
  const u64 plain = 4 + (1 + snapshots) * l1_clusters + l1_entries + guest_clusters;
  const u64 block_limit = ceil_div(plain, block_clusters - 1 - l1_clusters) + 1;
  const u64 table_clusters = ceil_div(block_limit, table_entries);

  Allocator allocator;
  const u64 refcount_table = allocator.take(table_clusters);
  const u64 l1 = allocator.take(l1_clusters);
  const u64 snapshot_table = snapshots == 0 ? 0 : allocator.take();
  std::vector<u64> snapshot_l1(snapshots);
  for (u64& table : snapshot_l1) table = allocator.take(l1_clusters);

  Image image(argv[1], block_limit * block_clusters * cluster_size);

  const u64 copied = snapshots == 0 ? copied_flag : 0;
  std::vector<u64> l2(l1_entries);
  for (const u64 guest : write_order(guest_clusters, random, seed)) {
    u64& table = l2[guest / table_entries];
    if (table == 0) table = allocator.take();
    image.store<u64>(table * cluster_size + guest % table_entries * 8,
                     allocator.take() * cluster_size | copied);
  }
  for (u64 i = 0; i < l1_entries; ++i) {
    image.store<u64>(l1 * cluster_size + i * 8, l2[i] * cluster_size | copied);
    for (const u64 table : snapshot_l1) image.store<u64>(table * cluster_size + i * 8, l2[i] * cluster_size);
  }
  if (snapshots != 0) store_snapshots(image, snapshot_table, snapshot_l1, l1_entries, size);

  // The metadata at the front belongs to one owner each, all after it to the active layer and to each snapshot.
  const u64 shared_from = (snapshots == 0 ? l1 : snapshot_l1.back()) + l1_clusters;
  const u64 end = allocator.end();
  const u64 blocks = ceil_div(end, block_clusters);
  for (u64 block = 0; block < blocks; ++block) {
    const u64 position = Allocator::block_position(block);
    image.store<u64>(refcount_table * cluster_size + block * 8, position * cluster_size);
    for (u64 i = 0; i < block_clusters; ++i) {
      const u64 cluster = block * block_clusters + i;
      if (cluster >= end) break;
      const u64 count = cluster < shared_from || cluster == position ? 1 : 1 + snapshots;
      image.store<std::uint16_t>(position * cluster_size + i * 2, static_cast<std::uint16_t>(count));
    }
  }

  image.store<std::uint32_t>(0, 0x514649fb);
  image.store<std::uint32_t>(4, 3);
  image.store<std::uint32_t>(20, cluster_bits);
  image.store<u64>(24, size);
  image.store<std::uint32_t>(36, static_cast<std::uint32_t>(l1_entries));
  image.store<u64>(40, l1 * cluster_size);
  image.store<u64>(48, refcount_table * cluster_size);
  image.store<std::uint32_t>(56, static_cast<std::uint32_t>(table_clusters));
  image.store<std::uint32_t>(60, static_cast<std::uint32_t>(snapshots));
  image.store<u64>(64, snapshot_table * cluster_size);
  image.store<std::uint32_t>(96, 4);
  image.store<std::uint32_t>(100, header_length);

  if (::truncate(argv[1], static_cast<off_t>(end * cluster_size)) != 0) {
    std::perror(argv[1]);
    return 1;
  }
  return 0;
}
