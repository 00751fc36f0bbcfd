// ext2, ext3 and ext4: superblock and group descriptors, the maps of used blocks and inodes, inode tables,
// directories, extents. Where the file system has checksums (metadata_csum) they prove a block's place, since
// they are seeded with the group's, inode's or file system's number.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "repair/guest_survey.hpp"
#include "repair/guest_words.hpp"

namespace cowvet::repair {

namespace {

constexpr std::uint64_t super_at = 1024, super_size = 1024;
constexpr std::uint32_t has_64bit = 0x80, has_csum_seed = 0x2000, has_meta_bg = 0x10;
constexpr std::uint32_t ro_sparse = 1, ro_metadata_csum = 0x400, ro_gdt_csum = 0x10, ro_bigalloc = 0x200;
constexpr std::uint16_t inode_uninit = 1, block_uninit = 2;
constexpr std::uint64_t most_groups = 1U << 16;
constexpr std::uint64_t most_inode_blocks = 1U << 16;   // that are read
constexpr std::uint64_t most_extent_blocks = 1U << 14;  // the same

struct Group {
  std::uint64_t block_map = 0, inode_map = 0, inode_table = 0;
  std::uint32_t unused_inodes = 0, block_csum = 0, inode_csum = 0;
  std::uint16_t flags = 0;
};

// A checksum of `map` as a descriptor holds it: 16 bits of it, or all.
bool map_sum_is(base::ConstBytes map, std::uint32_t seed, std::uint32_t stored, bool wide) {
  const auto sum = crc32c(seed, map);
  return wide ? sum == stored : (sum & 0xffff) == stored;
}

class Ext {
 public:
  Ext(const GuestReader& disk, std::uint64_t begin, Expectations& to) : disk_(disk), begin_(begin), to_(to) {}

  void survey() {
    std::vector<std::byte> super(super_size);
    if (!disk_.read(begin_ + super_at, super) || !take_super(super)) return;
    for (std::uint64_t g = 0; g < groups_; ++g) expect_copies(g);
    for (std::uint64_t g = 0; g < groups_; ++g) {
      const auto group = descriptor(g);
      if (!group) continue;
      expect_maps(g, *group);
      expect_inodes(g, *group);
    }
    for (std::uint64_t g = 0; g < groups_; ++g)
      if (const auto group = descriptor(g)) expect_blocks(g, *group);
  }

 private:
  bool take_super(base::ConstBytes s) {
    const auto log = little<std::uint32_t>(s, 0x18);
    if (log > 6) return false;
    block_size_ = 1024ULL << log;
    first_ = little<std::uint32_t>(s, 0x14);
    per_group_ = little<std::uint32_t>(s, 0x20);
    inodes_ = little<std::uint32_t>(s, 0x28);
    inode_size_ = little<std::uint32_t>(s, 0x4c) == 0 ? 128 : little<std::uint16_t>(s, 0x58);
    const auto incompat = little<std::uint32_t>(s, 0x60);
    ro_ = little<std::uint32_t>(s, 0x64);
    descriptor_size_ =
        (incompat & has_64bit) != 0 ? std::max<std::uint64_t>(little<std::uint16_t>(s, 0xfe), 32) : 32;
    blocks_ = little<std::uint32_t>(s, 4) |
              ((incompat & has_64bit) != 0 ? std::uint64_t{little<std::uint32_t>(s, 0x150)} << 32 : 0);
    if (per_group_ == 0 || per_group_ > 8 * block_size_ || inodes_ == 0 || inodes_ > 8 * block_size_ ||
        first_ > 1 || inode_size_ < 128 || inode_size_ > block_size_ || descriptor_size_ > block_size_ ||
        blocks_ <= first_ || blocks_ > (disk_.size() - begin_) / block_size_ || (incompat & has_meta_bg) != 0)
      return false;
    groups_ = std::min(base::divide_up(blocks_ - first_, per_group_), most_groups);
    summed_ = (ro_ & ro_metadata_csum) != 0;
    uuid_.assign(s.begin() + 0x68, s.begin() + 0x78);
    seed_ = (incompat & has_csum_seed) != 0 ? little<std::uint32_t>(s, 0x270)
                                            : crc32c(~0U, base::ConstBytes(uuid_));
    reserved_ = little<std::uint16_t>(s, 0xce);
    journal_ = little<std::uint32_t>(s, 0xe0);
    to_.add(begin_ + super_at, begin_ + super_at + super_size, Area::Kind::stored);
    return true;
  }

  [[nodiscard]] std::uint64_t at(std::uint64_t block) const { return begin_ + block * block_size_; }
  [[nodiscard]] bool inside(std::uint64_t block, std::uint64_t count = 1) const {
    return block < blocks_ && count <= blocks_ - block;
  }
  [[nodiscard]] bool read(std::uint64_t block, std::vector<std::byte>& into) const {
    into.resize(static_cast<std::size_t>(block_size_));
    return inside(block) && disk_.read(at(block), into);
  }
  [[nodiscard]] std::uint64_t descriptor_blocks() const {
    return base::divide_up(groups_ * descriptor_size_, block_size_);
  }
  [[nodiscard]] bool has_copies(std::uint64_t group) const {
    if (group <= 1 || (ro_ & ro_sparse) == 0) return true;
    for (const std::uint64_t base : {3ULL, 5ULL, 7ULL})
      for (std::uint64_t power = base; power <= group; power *= base)
        if (power == group) return true;
    return false;
  }

  // Superblock and descriptors of a group.
  void expect_copies(std::uint64_t g) {
    if (!has_copies(g)) return;
    const std::uint64_t block = first_ + g * per_group_;
    if (g != 0)
      to_.add_check(
          at(block), at(block) + super_size, fmt::format("the copy of the superblock in group {}", g),
          [g, uuid = uuid_](base::ConstBytes b) {
            return little<std::uint16_t>(b, 0x38) == 0xef53 && little<std::uint16_t>(b, 0x5a) == g &&
                   std::ranges::equal(part(b, 0x68, 16), uuid);
          });
    for (std::uint64_t i = 0; i < descriptor_blocks() && !to_.exhausted(); ++i) {
      const std::uint64_t place = block + 1 + i;
      if (!summed_ || g != 0) {
        to_.add(at(place), at(place + 1), Area::Kind::stored);
        continue;
      }
      const std::uint64_t first = i * (block_size_ / descriptor_size_);
      const std::uint64_t count = std::min(groups_ - first, block_size_ / descriptor_size_);
      to_.add_check(at(place), at(place + 1), fmt::format("descriptors of the groups from {}", first),
                    [first, count, size = descriptor_size_, seed = seed_](base::ConstBytes b) {
                      for (std::uint64_t k = 0; k < count; ++k) {
                        const auto one = part(b, k * size, size);
                        std::vector<std::byte> bytes(one.begin(), one.end());
                        if (bytes.size() < 32) return false;
                        bytes[0x1e] = bytes[0x1f] = std::byte{0};
                        const auto sum = crc32c(crc32c(seed, static_cast<std::uint32_t>(first + k)), bytes);
                        if ((sum & 0xffff) != little<std::uint16_t>(one, 0x1e)) return false;
                      }
                      return true;
                    });
    }
    to_.add_ground(at(block + 1 + descriptor_blocks()), at(block + 1 + descriptor_blocks() + reserved_),
                   Area::Kind::perhaps);
  }

  [[nodiscard]] std::optional<Group> descriptor(std::uint64_t g) {
    const std::uint64_t each = block_size_ / descriptor_size_;
    const std::uint64_t block = first_ + 1 + g / each;
    if (block != descriptors_block_) {
      descriptors_block_ = block;
      descriptors_known_ = read(block, descriptors_);
    }
    if (!descriptors_known_) return std::nullopt;
    const auto d = part(descriptors_, g % each * descriptor_size_, descriptor_size_);
    const bool wide = descriptor_size_ >= 64;
    const auto high = [&](std::uint64_t offset) {
      return wide ? std::uint64_t{little<std::uint32_t>(d, offset)} << 32 : 0;
    };
    Group group{.block_map = little<std::uint32_t>(d, 0) | high(0x20),
                .inode_map = little<std::uint32_t>(d, 4) | high(0x24),
                .inode_table = little<std::uint32_t>(d, 8) | high(0x28),
                .unused_inodes = little<std::uint16_t>(d, 0x1c),
                .block_csum = little<std::uint16_t>(d, 0x18),
                .inode_csum = little<std::uint16_t>(d, 0x1a),
                .flags = little<std::uint16_t>(d, 0x12)};
    if (wide) {
      group.unused_inodes |= std::uint32_t{little<std::uint16_t>(d, 0x32)} << 16;
      group.block_csum |= std::uint32_t{little<std::uint16_t>(d, 0x38)} << 16;
      group.inode_csum |= std::uint32_t{little<std::uint16_t>(d, 0x3a)} << 16;
    }
    if ((ro_ & (ro_metadata_csum | ro_gdt_csum)) == 0) {  // then these fields mean nothing
      group.flags = 0;
      group.unused_inodes = 0;
    }
    if (!inside(group.block_map) || !inside(group.inode_map) || !inside(group.inode_table, table_blocks()))
      return std::nullopt;
    return group;
  }
  [[nodiscard]] std::uint64_t table_blocks() const {
    return base::divide_up(inodes_ * inode_size_, block_size_);
  }

  void expect_map(std::uint64_t block, std::uint64_t bits, std::uint32_t sum, bool unset, std::string what) {
    if (unset) {
      to_.add(at(block), at(block + 1), Area::Kind::perhaps);
      return;
    }
    if (!summed_) {
      to_.add(at(block), at(block + 1), Area::Kind::stored);
      return;
    }
    to_.add_check(at(block), at(block + 1), std::move(what),
                  [length = bits / 8, seed = seed_, sum, wide = descriptor_size_ >= 64](base::ConstBytes b) {
                    return !base::all_zero(b) && map_sum_is(part(b, 0, length), seed, sum, wide);
                  });
  }
  void expect_maps(std::uint64_t g, const Group& group) {
    expect_map(group.block_map, per_group_, group.block_csum, (group.flags & block_uninit) != 0,
               fmt::format("the block bitmap of group {}", g));
    expect_map(group.inode_map, inodes_, group.inode_csum, (group.flags & inode_uninit) != 0,
               fmt::format("the inode bitmap of group {}", g));
  }

  [[nodiscard]] static std::uint32_t inode_sum(std::uint32_t seed, std::uint32_t number,
                                               base::ConstBytes inode) {
    std::vector<std::byte> bytes(inode.begin(), inode.end());
    bytes[0x7c] = bytes[0x7d] = std::byte{0};
    if (bytes.size() > 0x84 && little<std::uint16_t>(inode, 0x80) >= 4)
      bytes[0x82] = bytes[0x83] = std::byte{0};
    return crc32c(crc32c(crc32c(seed, number), little<std::uint32_t>(inode, 0x64)), bytes);
  }
  [[nodiscard]] static bool inode_is(std::uint32_t seed, std::uint32_t number, base::ConstBytes inode) {
    if (inode.size() < 128) return false;
    const auto sum = inode_sum(seed, number, inode);
    if ((sum & 0xffff) != little<std::uint16_t>(inode, 0x7c)) return false;
    return inode.size() <= 0x84 || little<std::uint16_t>(inode, 0x80) < 4 ||
           sum >> 16 == little<std::uint16_t>(inode, 0x82);
  }

  void expect_inodes(std::uint64_t g, const Group& group) {
    std::vector<std::byte> map;
    if ((group.flags & inode_uninit) != 0) {
      to_.add_ground(at(group.inode_table), at(group.inode_table + table_blocks()), Area::Kind::free);
      return;
    }
    if (!read(group.inode_map, map)) {
      to_.add_ground(at(group.inode_table), at(group.inode_table + table_blocks()), Area::Kind::perhaps);
      return;
    }
    const std::uint64_t each = block_size_ / inode_size_;
    std::vector<std::byte> block;
    for (std::uint64_t b = 0; b < table_blocks() && !to_.exhausted(); ++b) {
      std::vector<std::uint32_t> used;  // of this block, by number in it
      for (std::uint64_t k = 0; k < each && b * each + k < inodes_; ++k) {
        const std::uint64_t i = b * each + k;
        if ((std::to_integer<unsigned>(map[static_cast<std::size_t>(i / 8)]) >> (i % 8) & 1) != 0)
          used.push_back(static_cast<std::uint32_t>(k));
      }
      const std::uint64_t place = group.inode_table + b;
      const auto first = static_cast<std::uint32_t>(g * inodes_ + b * each + 1);
      if (used.empty()) {
        const bool never = (b + 1) * each > inodes_ - std::min<std::uint64_t>(group.unused_inodes, inodes_);
        to_.add_ground(at(place), at(place + 1), never ? Area::Kind::free : Area::Kind::perhaps);
        continue;
      }
      // The first inodes are reserved, and zeros as a rule.
      const bool reserved = first + used.back() < 11 && used.back() + first != 2;
      if (!summed_) {
        to_.add(at(place), at(place + 1), reserved ? Area::Kind::perhaps : Area::Kind::stored);
      } else {
        to_.add_check(at(place), at(place + 1), fmt::format("inodes from {}", first),
                      [used, first, seed = seed_, size = inode_size_](base::ConstBytes bytes) {
                        bool any = false;
                        for (const auto k : used) {
                          const auto inode = part(bytes, k * size, size);
                          if (base::all_zero(inode)) continue;
                          if (!inode_is(seed, first + k, inode)) return false;
                          any = true;
                        }
                        return any;
                      });
      }
      if (inode_blocks_ >= most_inode_blocks || !read(place, block)) continue;
      ++inode_blocks_;
      for (const auto k : used) expect_file(first + k, part(block, k * inode_size_, inode_size_));
    }
  }

  struct File {
    std::uint32_t number = 0, seed = 0;
    std::uint64_t size = 0;
    bool directory = false, journal = false, regular = false;
  };
  void expect_file(std::uint32_t number, base::ConstBytes inode) {
    constexpr std::uint32_t extents = 0x80000;
    const auto mode = little<std::uint16_t>(inode, 0) & 0xf000;
    if (mode == 0 || (little<std::uint32_t>(inode, 0x20) & extents) == 0) return;
    const File file{
        .number = number,
        .seed = crc32c(crc32c(seed_, number), little<std::uint32_t>(inode, 0x64)),
        .size = little<std::uint32_t>(inode, 4) | std::uint64_t{little<std::uint32_t>(inode, 0x6c)} << 32,
        .directory = mode == 0x4000,
        .journal = number == journal_,
        .regular = mode == 0x8000};
    expect_extents(file, part(inode, 0x28, 60), 0);
  }
  void expect_extents(const File& file, base::ConstBytes node, unsigned depth_so_far) {
    constexpr unsigned deepest = 5;
    const auto count = little<std::uint16_t>(node, 2), depth = little<std::uint16_t>(node, 6);
    if (little<std::uint16_t>(node, 0) != 0xf30a || depth > deepest || depth_so_far > deepest) return;
    std::vector<std::byte> next;
    for (std::uint64_t i = 0; i < count && 12 * (i + 2) <= node.size() && !to_.exhausted(); ++i) {
      const auto entry = part(node, 12 * (i + 1), 12);
      if (depth == 0) {
        expect_extent(file, little<std::uint32_t>(entry, 0), little<std::uint16_t>(entry, 4),
                      little<std::uint32_t>(entry, 8) | std::uint64_t{little<std::uint16_t>(entry, 6)} << 32);
        continue;
      }
      const std::uint64_t block =
          little<std::uint32_t>(entry, 4) | std::uint64_t{little<std::uint16_t>(entry, 8)} << 32;
      if (!inside(block)) continue;
      to_.add_check(at(block), at(block + 1), fmt::format("extents of inode {}", file.number),
                    [seed = file.seed, summed = summed_](base::ConstBytes b) {
                      if (little<std::uint16_t>(b, 0) != 0xf30a) return false;
                      const std::uint64_t tail = 12 + 12 * std::uint64_t{little<std::uint16_t>(b, 4)};
                      return !summed || (tail + 4 <= b.size() &&
                                         crc32c(seed, part(b, 0, tail)) == little<std::uint32_t>(b, tail));
                    });
      if (++extent_blocks_ <= most_extent_blocks && read(block, next))
        expect_extents(file, next, depth_so_far + 1);
    }
  }
  void expect_extent(const File& file, std::uint64_t logical, std::uint64_t length, std::uint64_t block) {
    constexpr std::uint64_t longest = 32768;
    const bool unwritten = length > longest;
    if (unwritten) length -= longest;
    if (!inside(block, length)) return;
    if (unwritten || file.journal || !(file.directory || file.regular)) {
      if (file.journal && logical == 0) to_.add(at(block), at(block) + 12, Area::Kind::stored);
      to_.add_ground(at(block), at(block + length), Area::Kind::perhaps);
      return;
    }
    if (file.directory) {
      for (std::uint64_t i = 0; i < length && !to_.exhausted(); ++i)
        expect_directory(file, logical + i, block + i);
      return;
    }
    // What lies behind the file's end in its last block is zeros.
    const std::uint64_t in_file = file.size > logical * block_size_ ? file.size - logical * block_size_ : 0;
    const std::uint64_t end = std::min(length * block_size_, in_file);
    to_.add(at(block), at(block) + end, Area::Kind::used);
    if (const std::uint64_t edge = base::divide_up(end, block_size_) * block_size_; edge != end)
      to_.add(at(block) + end, at(block) + edge, Area::Kind::zeros);
  }
  void expect_directory(const File& file, std::uint64_t logical, std::uint64_t block) {
    to_.add_check(at(block), at(block + 1), fmt::format("the directory of inode {}", file.number),
                  [=, number = file.number, seed = file.seed, summed = summed_,
                   size = block_size_](base::ConstBytes b) {
                    const bool dots = little<std::uint32_t>(b, 0) == number &&
                                      little<std::uint16_t>(b, 4) == 12 && says(b, 8, ".");
                    if (logical == 0) return dots;
                    if (!summed)
                      return little<std::uint16_t>(b, 4) >= 12 && little<std::uint16_t>(b, 4) <= size;
                    const bool tail = little<std::uint32_t>(b, size - 12) == 0 &&
                                      little<std::uint32_t>(b, size - 8) == 0xde00000cU;
                    // A node of the index has its sum elsewhere: it is an empty entry at first.
                    if (!tail) return little<std::uint32_t>(b, 0) == 0 && little<std::uint16_t>(b, 4) == size;
                    return crc32c(seed, part(b, 0, size - 12)) == little<std::uint32_t>(b, size - 4);
                  });
  }

  // What the bitmap of a group says of blocks that nothing else is known of.
  void expect_blocks(std::uint64_t g, const Group& group) {
    const std::uint64_t begin = first_ + g * per_group_, count = std::min(per_group_, blocks_ - begin);
    if ((ro_ & ro_bigalloc) != 0 || !to_.wanted(at(begin), at(begin + count))) return;
    std::vector<std::byte> map;
    if ((group.flags & block_uninit) != 0) {
      to_.add_map(at(begin), at(begin + count), Area::Kind::free);
      return;
    }
    if (!read(group.block_map, map)) return;
    for_each_run(map, count, [&](std::uint64_t first, std::uint64_t length, bool used) {
      to_.add_map(at(begin + first), at(begin + first + length), used ? Area::Kind::held : Area::Kind::free);
    });
  }

  const GuestReader& disk_;
  const std::uint64_t begin_;
  Expectations& to_;
  std::uint64_t block_size_ = 0, first_ = 0, per_group_ = 0, inodes_ = 0, inode_size_ = 0,
                descriptor_size_ = 0;
  std::uint64_t blocks_ = 0, groups_ = 0, reserved_ = 0, inode_blocks_ = 0, extent_blocks_ = 0;
  std::uint32_t ro_ = 0, seed_ = 0, journal_ = 0;
  bool summed_ = false;
  std::vector<std::byte> uuid_, descriptors_;
  std::uint64_t descriptors_block_ = 0;
  bool descriptors_known_ = false;
};

}  // namespace

bool begins_ext(base::ConstBytes bytes) {
  const auto super = part(bytes, super_at, super_size);
  return little<std::uint16_t>(super, 0x38) == 0xef53 && little<std::uint16_t>(super, 0x5a) == 0 &&
         little<std::uint32_t>(super, 0x18) <= 6 && little<std::uint32_t>(super, 0x20) != 0;
}

void survey_ext(const GuestReader& disk, std::uint64_t begin, Expectations& expectations) {
  Ext(disk, begin, expectations).survey();
}

}  // namespace cowvet::repair
