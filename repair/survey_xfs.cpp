// XFS, version 5: nearly every block of metadata holds the file system's UUID and its own place, so that it
// proves where it belongs. Free space is told by each allocation group's tree, files by the extents of their
// inodes.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "repair/guest_survey.hpp"
#include "repair/guest_words.hpp"

namespace cowvet::repair {

namespace {

using Uuid = std::array<std::byte, 16>;

constexpr std::uint64_t most_blocks = 1U << 16;  // of trees and inodes that are read
constexpr std::uint64_t most_allocation_groups = 1U << 16;
constexpr unsigned deepest = 9;
constexpr std::uint64_t chunk_inodes = 64;

bool has_uuid(base::ConstBytes bytes, std::uint64_t at, const Uuid& uuid) {
  return std::ranges::equal(part(bytes, at, uuid.size()), uuid);
}

// Two kinds of trees: inside a group, with pointers of 32 bits, and of a file, with pointers of 64.
struct TreeShape {
  std::string_view magic;
  std::uint64_t header, key, record, pointer, place, uuid;
};
constexpr TreeShape free_space{"AB3B", 56, 8, 8, 4, 16, 32};
constexpr TreeShape free_space_by_size{"AB3C", 56, 8, 8, 4, 16, 32};
constexpr TreeShape inode_tree{"IAB3", 56, 4, 16, 4, 16, 32};
constexpr TreeShape free_inode_tree{"FIB3", 56, 4, 16, 4, 16, 32};
constexpr TreeShape reverse_map{"RMB3", 56, 40, 24, 4, 16, 32};
constexpr TreeShape reference_counts{"R3FC", 56, 4, 12, 4, 16, 32};
constexpr TreeShape file_map{"BMA3", 72, 8, 16, 8, 24, 40};

class Xfs {
 public:
  Xfs(const GuestReader& disk, std::uint64_t begin, Expectations& to) : disk_(disk), begin_(begin), to_(to) {}

  void survey() {
    std::vector<std::byte> super(512);
    if (!disk_.read(begin_, super) || !take_super(super)) return;
    for (std::uint64_t g = 0; g < groups_ && !to_.exhausted(); ++g) expect_group(g);
  }

 private:
  bool take_super(base::ConstBytes s) {
    block_size_ = big<std::uint32_t>(s, 4);
    blocks_ = big<std::uint64_t>(s, 8);
    std::ranges::copy(part(s, 32, 16), uuid_.begin());
    // A file system whose user changed the UUID keeps the old one in its blocks.
    constexpr std::uint32_t has_meta_uuid = 4;
    incompat_ = big<std::uint32_t>(s, 216);
    super_uuid_ = uuid_;
    if ((incompat_ & has_meta_uuid) != 0) std::ranges::copy(part(s, 248, 16), uuid_.begin());
    per_group_ = big<std::uint32_t>(s, 84);
    sector_ = big<std::uint16_t>(s, 102);
    inode_size_ = big<std::uint16_t>(s, 104);
    group_bits_ = little<std::uint8_t>(s, 124);
    inodes_bits_ = little<std::uint8_t>(s, 123);
    const auto directory_bits = little<std::uint8_t>(s, 192);
    if ((big<std::uint16_t>(s, 100) & 0xf) != 5 || block_size_ < 512 || block_size_ > 65536 ||
        sector_ < 512 || sector_ > block_size_ || inode_size_ < 256 || inode_size_ > 2048 ||
        per_group_ == 0 || group_bits_ > 31 || per_group_ > 1ULL << group_bits_ || inodes_bits_ > 8 ||
        inode_size_ << inodes_bits_ != block_size_ || blocks_ > (disk_.size() - begin_) / block_size_ ||
        directory_bits > 7)
      return false;
    directory_blocks_ = 1ULL << directory_bits;
    groups_ = std::min({base::divide_up(blocks_, per_group_), std::uint64_t{big<std::uint32_t>(s, 88)},
                        most_allocation_groups});
    const std::uint64_t log = block_of(big<std::uint64_t>(s, 48)), log_blocks = big<std::uint32_t>(s, 96);
    if (log != 0 && inside(log, log_blocks)) {
      to_.add(at(log), at(log) + sector_, Area::Kind::stored);
      to_.add_ground(at(log), at(log + log_blocks), Area::Kind::perhaps);
    }
    return true;
  }

  [[nodiscard]] std::uint64_t at(std::uint64_t block) const { return begin_ + block * block_size_; }
  [[nodiscard]] bool inside(std::uint64_t block, std::uint64_t count = 1) const {
    return block < blocks_ && count <= blocks_ - block;
  }
  // Of a number that holds a group's number and a block's in it.
  [[nodiscard]] std::uint64_t block_of(std::uint64_t number) const {
    return (number >> group_bits_) * per_group_ + (number & ((1ULL << group_bits_) - 1));
  }
  // As blocks hold their own place.
  [[nodiscard]] std::uint64_t place_of(std::uint64_t block) const { return block * (block_size_ / 512); }
  [[nodiscard]] bool read(std::uint64_t block, std::vector<std::byte>& into) {
    into.resize(static_cast<std::size_t>(block_size_));
    return inside(block) && ++read_ <= most_blocks && disk_.read(at(block), into);
  }

  void expect_group(std::uint64_t g) {
    const std::uint64_t begin = at(g * per_group_);
    to_.add_check(
        begin, begin + sector_, fmt::format("the superblock of group {}", g),
        [uuid = super_uuid_](base::ConstBytes b) { return says(b, 0, "XFSB") && has_uuid(b, 32, uuid); });
    const auto header = [&](unsigned n, std::string_view magic, std::uint64_t number, std::uint64_t uuid_at) {
      to_.add_check(begin + n * sector_, begin + (n + 1) * sector_,
                    fmt::format("header {} of group {}", magic, g), [=, uuid = uuid_](base::ConstBytes b) {
                      return says(b, 0, magic) && big<std::uint32_t>(b, number) == g &&
                             has_uuid(b, uuid_at, uuid);
                    });
    };
    header(1, "XAGF", 8, 64);
    header(2, "XAGI", 8, 296);
    header(3, "XAFL", 4, 8);
    std::vector<std::byte> sector(static_cast<std::size_t>(sector_));
    if (disk_.read(begin + sector_, sector) && says(sector, 0, "XAGF")) expect_space(g, sector);
    if (disk_.read(begin + 2 * sector_, sector) && says(sector, 0, "XAGI")) expect_inodes(g, sector);
  }

  using UseLeaf = std::function<void(base::ConstBytes record)>;
  void expect_tree(const TreeShape& shape, std::uint64_t group, std::uint64_t number, const UseLeaf& use,
                   unsigned depth = 0) {
    const std::uint64_t block = shape.pointer == 4 ? group * per_group_ + number : block_of(number);
    if (depth > deepest || !inside(block)) return;
    expect_node(shape, block);
    std::vector<std::byte> node;
    if (!read(block, node) || !says(node, 0, shape.magic)) return;
    const auto level = big<std::uint16_t>(node, 4), count = big<std::uint16_t>(node, 6);
    if (level == 0) {
      for (std::uint64_t i = 0; i < count && !to_.exhausted(); ++i)
        if (const auto record = part(node, shape.header + i * shape.record, shape.record); !record.empty())
          use(record);
      return;
    }
    const std::uint64_t most = (block_size_ - shape.header) / (shape.key + shape.pointer);
    for (std::uint64_t i = 0; i < std::min<std::uint64_t>(count, most) && !to_.exhausted(); ++i)
      expect_tree(shape, group, pointer(node, shape.header + most * shape.key, i, shape), use, depth + 1);
  }
  [[nodiscard]] static std::uint64_t pointer(base::ConstBytes node, std::uint64_t begin, std::uint64_t i,
                                             const TreeShape& shape) {
    return shape.pointer == 4 ? big<std::uint32_t>(node, begin + i * 4)
                              : big<std::uint64_t>(node, begin + i * 8);
  }
  void expect_node(const TreeShape& shape, std::uint64_t block) {
    to_.add_check(at(block), at(block + 1), fmt::format("block {} of a tree ({})", block, shape.magic),
                  [shape, place = place_of(block), uuid = uuid_](base::ConstBytes b) {
                    return says(b, 0, shape.magic) && big<std::uint64_t>(b, shape.place) == place &&
                           has_uuid(b, shape.uuid, uuid);
                  });
  }

  void expect_space(std::uint64_t g, base::ConstBytes agf) {
    const std::uint64_t begin = g * per_group_, count = std::min(per_group_, blocks_ - begin);
    std::vector<std::pair<std::uint64_t, std::uint64_t>> runs;
    expect_tree(free_space, g, big<std::uint32_t>(agf, 16), [&](base::ConstBytes record) {
      const std::uint64_t first = big<std::uint32_t>(record, 0), length = big<std::uint32_t>(record, 4);
      if (first < count && length <= count - first) runs.emplace_back(first, length);
    });
    const auto none = [](base::ConstBytes) {};
    expect_tree(free_space_by_size, g, big<std::uint32_t>(agf, 20), none);
    if (big<std::uint32_t>(agf, 24) != 0) expect_tree(reverse_map, g, big<std::uint32_t>(agf, 24), none);
    if (big<std::uint32_t>(agf, 88) != 0) expect_tree(reference_counts, g, big<std::uint32_t>(agf, 88), none);
    if (runs.empty()) return;  // not known, or full
    std::ranges::sort(runs);
    std::uint64_t end = 0;
    for (const auto& [first, length] : runs) {
      if (first < end) continue;
      to_.add_map(at(begin + end), at(begin + first), Area::Kind::held);
      to_.add_map(at(begin + first), at(begin + first + length), Area::Kind::free);
      end = first + length;
    }
    to_.add_map(at(begin + end), at(begin + count), Area::Kind::held);
  }

  void expect_inodes(std::uint64_t g, base::ConstBytes agi) {
    expect_tree(inode_tree, g, big<std::uint32_t>(agi, 20),
                [&](base::ConstBytes record) { expect_chunk(g, big<std::uint32_t>(record, 0), record); });
    if (big<std::uint32_t>(agi, 328) != 0)
      expect_tree(free_inode_tree, g, big<std::uint32_t>(agi, 328), [](base::ConstBytes) {});
  }
  void expect_chunk(std::uint64_t g, std::uint64_t first, base::ConstBytes record) {
    constexpr std::uint32_t sparse = 2;
    const std::uint64_t free = big<std::uint64_t>(record, 8), each = 1ULL << inodes_bits_;
    const std::uint64_t holes = (incompat_ & sparse) != 0 ? big<std::uint16_t>(record, 4) : 0;
    std::vector<std::byte> bytes;
    for (std::uint64_t i = 0; i < chunk_inodes && !to_.exhausted(); i += each) {
      if ((holes >> (i / 4) & 1) != 0) continue;
      const std::uint64_t block = g * per_group_ + ((first + i) >> inodes_bits_);
      if (!inside(block)) return;
      const std::uint64_t number = g << (group_bits_ + inodes_bits_) | (first + i);
      to_.add_check(at(block), at(block + 1), fmt::format("inodes from {}", number),
                    [=, size = inode_size_, uuid = uuid_](base::ConstBytes b) {
                      for (std::uint64_t k = 0; k < each; ++k) {
                        const auto inode = part(b, k * size, size);
                        if (!says(inode, 0, "IN") || big<std::uint64_t>(inode, 152) != number + k ||
                            !has_uuid(inode, 160, uuid))
                          return false;
                      }
                      return true;
                    });
      if (!read(block, bytes)) continue;
      for (std::uint64_t k = 0; k < each && i + k < chunk_inodes; ++k)
        if ((free >> (i + k) & 1) == 0) expect_file(part(bytes, k * inode_size_, inode_size_));
    }
  }

  struct File {
    std::uint64_t number = 0, size = 0;
    bool directory = false, regular = false;
  };
  void expect_file(base::ConstBytes inode) {
    constexpr std::uint64_t core = 176;
    const auto mode = big<std::uint16_t>(inode, 2) & 0xf000;
    if (!says(inode, 0, "IN") || mode == 0) return;
    const File file{.number = big<std::uint64_t>(inode, 152),
                    .size = big<std::uint64_t>(inode, 56),
                    .directory = mode == 0x4000,
                    .regular = mode == 0x8000};
    const std::uint64_t fork = little<std::uint8_t>(inode, 82);
    const auto data =
        part(inode, core, fork == 0 ? inode_size_ - core : std::min(fork * 8, inode_size_ - core));
    constexpr std::uint64_t big_counts = 1U << 4;
    const std::uint64_t extents = (big<std::uint64_t>(inode, 120) & big_counts) != 0
                                      ? big<std::uint64_t>(inode, 24)
                                      : big<std::uint32_t>(inode, 76);
    switch (little<std::uint8_t>(inode, 5)) {
      case 2:
        for (std::uint64_t i = 0; i < extents && (i + 1) * 16 <= data.size(); ++i)
          expect_extent(file, part(data, i * 16, 16));
        break;
      case 3: {
        const std::uint64_t most = data.size() < 4 ? 0 : (data.size() - 4) / 16;
        for (std::uint64_t i = 0; i < std::min<std::uint64_t>(big<std::uint16_t>(data, 2), most); ++i)
          expect_tree(file_map, 0, pointer(data, 4 + most * 8, i, file_map),
                      [&](base::ConstBytes record) { expect_extent(file, record); });
        break;
      }
      default: break;
    }
  }
  void expect_extent(const File& file, base::ConstBytes record) {
    const std::uint64_t high = big<std::uint64_t>(record, 0), low = big<std::uint64_t>(record, 8);
    const std::uint64_t logical = high >> 9 & ((1ULL << 54) - 1), count = low & ((1ULL << 21) - 1);
    const std::uint64_t block = block_of((high & 0x1ff) << 43 | low >> 21);
    if (!inside(block, count)) return;
    const bool unwritten = high >> 63 != 0;
    if (file.directory) {
      for (std::uint64_t i = 0; i < count && !to_.exhausted(); ++i)
        expect_directory(file, logical + i, block + i);
    } else if (!unwritten && file.regular) {
      const std::uint64_t in_file = file.size > logical * block_size_ ? file.size - logical * block_size_ : 0;
      const std::uint64_t end = std::min(count * block_size_, in_file);
      to_.add(at(block), at(block) + end, Area::Kind::used);
      if (const std::uint64_t edge = base::divide_up(end, block_size_) * block_size_; edge != end)
        to_.add(at(block) + end, at(block) + edge, Area::Kind::zeros);
    } else {
      to_.add_ground(at(block), at(block + count), Area::Kind::perhaps);
    }
  }
  void expect_directory(const File& file, std::uint64_t logical, std::uint64_t block) {
    if (logical % directory_blocks_ != 0) {
      to_.add_ground(at(block), at(block + 1), Area::Kind::perhaps);
      return;
    }
    to_.add_check(at(block), at(block + 1), fmt::format("the directory of inode {}", file.number),
                  [place = place_of(block), uuid = uuid_](base::ConstBytes b) {
                    const bool data =
                        says(b, 0, "XD");  // data blocks and lists of free space; otherwise the index
                    return big<std::uint64_t>(b, data ? 8 : 16) == place && has_uuid(b, data ? 24 : 32, uuid);
                  });
  }

  const GuestReader& disk_;
  const std::uint64_t begin_;
  Expectations& to_;
  std::uint64_t block_size_ = 0, blocks_ = 0, per_group_ = 0, groups_ = 0, sector_ = 0, inode_size_ = 0;
  std::uint64_t group_bits_ = 0, inodes_bits_ = 0, directory_blocks_ = 1, read_ = 0;
  std::uint32_t incompat_ = 0;
  Uuid uuid_{}, super_uuid_{};
};

}  // namespace

// The group's header behind the superblock tells the first one from its copies.
bool begins_xfs(base::ConstBytes bytes) {
  if (!says(bytes, 0, "XFSB")) return false;
  const auto sector = big<std::uint16_t>(bytes, 102);
  return sector + 12U > bytes.size() ||
         (says(bytes, sector, "XAGF") && big<std::uint32_t>(bytes, sector + 8U) == 0);
}

void survey_xfs(const GuestReader& disk, std::uint64_t begin, Expectations& expectations) {
  Xfs(disk, begin, expectations).survey();
}

}  // namespace cowvet::repair
