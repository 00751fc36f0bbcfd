// FAT12, FAT16 and FAT32: the table in its copies, directories that name their own first cluster, files along
// the table. An entry of the table mostly leads to the next one, so that a sector of it tells which one it
// is.
#include <algorithm>

#include <fmt/format.h>

#include "format/geometry.hpp"
#include "repair/guest_survey.hpp"
#include "repair/guest_words.hpp"

namespace cowvet::repair {

namespace {

using format::limits::sector;
constexpr std::uint64_t most_fat_bytes = 16ULL << 20;  // bytes of a table that is read
constexpr std::uint64_t most_chain = 1U << 20;         // clusters of a file that are followed
constexpr std::size_t most_directories = 1U << 14;
constexpr std::uint64_t entry_size = 32;

bool power_of_two(std::uint64_t v) { return v != 0 && (v & (v - 1)) == 0; }

// Whether bytes look like a part of a directory: entries that make sense, then zeros.
bool lists_files(base::ConstBytes bytes, std::uint64_t clusters) {
  bool ended = false, any = false;
  for (std::uint64_t at = 0; at + entry_size <= bytes.size(); at += entry_size) {
    const auto entry = part(bytes, at, entry_size);
    const auto first = little<std::uint8_t>(entry, 0), attributes = little<std::uint8_t>(entry, 11);
    if (first == 0) {
      ended = true;
      continue;
    }
    constexpr std::uint8_t long_name = 0x0f;
    const std::uint64_t cluster =
        little<std::uint16_t>(entry, 26) | std::uint64_t{little<std::uint16_t>(entry, 20)} << 16;
    if (ended || (attributes & 0xc0) != 0 ||
        (attributes == long_name ? little<std::uint16_t>(entry, 26) != 0 : cluster >= clusters + 2))
      return false;
    any = true;
  }
  return any;
}

class Fat {
 public:
  Fat(const GuestReader& disk, std::uint64_t begin, Expectations& to) : disk_(disk), begin_(begin), to_(to) {}

  void survey() {
    std::vector<std::byte> boot(sector);
    if (!disk_.read(begin_, boot) || !take(boot)) return;
    expect_tables(boot);
    read_table();
    expect_files();
    expect_clusters();
  }

 private:
  bool take(base::ConstBytes b) {
    bytes_per_sector_ = little<std::uint16_t>(b, 0x0b);
    const std::uint64_t reserved = little<std::uint16_t>(b, 0x0e),
                        root_entries = little<std::uint16_t>(b, 0x11);
    tables_ = little<std::uint8_t>(b, 0x10);
    cluster_size_ = bytes_per_sector_ * little<std::uint8_t>(b, 0x0d);
    const std::uint64_t small = little<std::uint16_t>(b, 0x16),
                        table = small != 0 ? small : little<std::uint32_t>(b, 0x24);
    const std::uint64_t few = little<std::uint16_t>(b, 0x13),
                        total = few != 0 ? few : little<std::uint32_t>(b, 0x20);
    table_size_ = table * bytes_per_sector_;
    table_at_ = begin_ + reserved * bytes_per_sector_;
    root_at_ = table_at_ + tables_ * table_size_;
    root_size_ = root_entries * entry_size;
    data_at_ = root_at_ + base::divide_up(root_size_, bytes_per_sector_) * bytes_per_sector_;
    const std::uint64_t end = begin_ + total * bytes_per_sector_;
    if (end > disk_.size() || data_at_ >= end || table_size_ == 0) return false;
    clusters_ = (end - data_at_) / cluster_size_;
    bits_ = clusters_ < 4085 ? 12 : clusters_ < 65525 ? 16 : 32;
    root_cluster_ = bits_ == 32 ? little<std::uint32_t>(b, 0x2c) : 0;
    backup_ = bits_ == 32 ? std::uint64_t{little<std::uint16_t>(b, 0x32)} * bytes_per_sector_ : 0;
    media_ = little<std::uint8_t>(b, 0x15);
    return clusters_ != 0;
  }

  [[nodiscard]] bool is_cluster(std::uint64_t c) const { return c >= 2 && c < clusters_ + 2; }
  [[nodiscard]] std::uint64_t at(std::uint64_t cluster) const {
    return data_at_ + (cluster - 2) * cluster_size_;
  }

  [[nodiscard]] static std::uint64_t entry_in(base::ConstBytes table, std::uint64_t bits, std::uint64_t i) {
    if (bits == 12) {
      const auto word = little<std::uint16_t>(table, i + i / 2);
      return (i & 1) != 0 ? word >> 4 : word & 0xfff;
    }
    return bits == 16 ? little<std::uint16_t>(table, 2 * i)
                      : little<std::uint32_t>(table, 4 * i) & 0x0fffffff;
  }

  void expect_tables(base::ConstBytes boot) {
    if (backup_ != 0)
      to_.add_check(begin_ + backup_, begin_ + backup_ + sector, "the copy of the boot sector",
                    [copy = std::vector<std::byte>(boot.begin(), boot.end())](base::ConstBytes b) {
                      return std::ranges::equal(b, copy);
                    });
    std::vector<std::byte> known(sector), other(sector);
    for (std::uint64_t s = 0; s < table_size_ && !to_.exhausted(); s += sector) {
      for (std::uint64_t t = 0; t < tables_; ++t) {
        const std::uint64_t place = table_at_ + t * table_size_ + s;
        if (!to_.wanted(place, place + sector)) continue;
        // The other copy of the table proves this one.
        bool told = false;
        for (std::uint64_t o = 0; o < tables_ && !told; ++o)
          told = o != t && disk_.read(table_at_ + o * table_size_ + s, known);
        if (told) {
          to_.add_check(
              place, place + sector, "a part of the FAT",
              [known](base::ConstBytes b) { return std::ranges::equal(b, known); },
              base::all_zero(known) ? Area::Kind::tried : Area::Kind::checked);
        } else if (s == 0) {
          to_.add_check(place, place + sector, "the first sector of the FAT",
                        [media = media_](base::ConstBytes b) {
                          return little<std::uint8_t>(b, 0) == media && little<std::uint8_t>(b, 1) == 0xff;
                        });
        } else if (bits_ != 12) {
          const std::uint64_t first = s * 8 / bits_;
          to_.add_check(
              place, place + sector, "a part of the FAT",
              [first, bits = bits_, clusters = clusters_](base::ConstBytes b) {
                unsigned next = 0, wrong = 0;
                for (std::uint64_t i = 0; i < sector * 8 / bits; ++i) {
                  const auto entry = entry_in(b, bits, i);
                  const bool last = entry >= (bits == 16 ? 0xfff7U : 0x0ffffff7U);
                  if (entry == first + i + 1)
                    ++next;
                  else if (!last && entry >= clusters + 2)
                    ++wrong;
                }
                return wrong == 0 && next >= 4;
              },
              Area::Kind::tried);
        }
      }
    }
  }
  // Of the copies, what can be read of any.
  void read_table() {
    if (table_size_ > most_fat_bytes) return;
    table_.assign(static_cast<std::size_t>(table_size_), std::byte{0});
    known_.assign(static_cast<std::size_t>(table_size_ / sector), false);
    for (std::size_t s = 0; s < known_.size(); ++s)
      for (std::uint64_t t = 0; t < tables_ && !known_[s]; ++t)
        known_[s] = disk_.read(table_at_ + t * table_size_ + s * sector,
                               std::span(table_).subspan(s * sector, sector));
  }
  // Nothing: not known.
  [[nodiscard]] std::optional<std::uint64_t> next(std::uint64_t cluster) const {
    const std::uint64_t first = cluster * bits_ / 8 / sector, last = ((cluster + 1) * bits_ - 1) / 8 / sector;
    if (last >= known_.size() || !known_[static_cast<std::size_t>(first)] ||
        !known_[static_cast<std::size_t>(last)])
      return std::nullopt;
    return entry_in(table_, bits_, cluster);
  }

  // A longer one is a circle.
  [[nodiscard]] std::uint64_t longest_chain() const { return std::min(most_chain, clusters_); }

  void expect_files() {
    const auto looks = [clusters = clusters_](base::ConstBytes b) { return lists_files(b, clusters); };
    if (root_size_ != 0) {
      for (std::uint64_t s = 0; s < root_size_; s += sector)
        to_.add_check(root_at_ + s, root_at_ + s + sector, "the root directory", looks, Area::Kind::tried);
      std::vector<std::byte> piece(sector);
      for (std::uint64_t s = 0; s < root_size_; s += sector)
        if (disk_.read(root_at_ + s, piece)) list(piece);
    } else {
      follow_directory(root_cluster_, true);
    }
    std::size_t done = 0;  // their number grows meanwhile
    while (done < directories_.size()) follow_directory(directories_[done++], false);
  }
  void list(base::ConstBytes bytes) {
    for (std::uint64_t i = 0; i + entry_size <= bytes.size(); i += entry_size) {
      const auto entry = part(bytes, i, entry_size);
      const auto first = little<std::uint8_t>(entry, 0), attributes = little<std::uint8_t>(entry, 11);
      if (first == 0) break;
      constexpr std::uint8_t deleted = 0xe5, label = 0x08, directory = 0x10;
      if (first == deleted || first == '.' || (attributes & label) != 0) continue;
      const std::uint64_t cluster =
          little<std::uint16_t>(entry, 26) | std::uint64_t{little<std::uint16_t>(entry, 20)} << 16;
      if (!is_cluster(cluster)) continue;
      if ((attributes & directory) == 0)
        follow_file(cluster, little<std::uint32_t>(entry, 28));
      else if (directories_.size() < most_directories &&
               std::ranges::find(directories_, cluster) == directories_.end())
        directories_.push_back(cluster);
    }
  }
  void follow_directory(std::uint64_t cluster, bool root) {
    std::vector<std::byte> bytes(static_cast<std::size_t>(cluster_size_));
    for (std::uint64_t n = 0; is_cluster(cluster) && n < longest_chain() && !to_.exhausted(); ++n) {
      if (n == 0 && !root)
        to_.add_check(
            at(cluster), at(cluster) + sector, "the beginning of a directory", [cluster](base::ConstBytes b) {
              return says(b, 0, ".          ") && little<std::uint8_t>(b, 11) == 0x10 &&
                     (little<std::uint16_t>(b, 26) | std::uint64_t{little<std::uint16_t>(b, 20)} << 16) ==
                         cluster &&
                     says(b, entry_size, "..         ");
            });
      for (std::uint64_t s = n == 0 && !root ? sector : 0; s < cluster_size_ && !to_.exhausted(); s += sector)
        to_.add_check(
            at(cluster) + s, at(cluster) + s + sector, "a part of a directory",
            [clusters = clusters_](base::ConstBytes b) { return lists_files(b, clusters); },
            Area::Kind::tried);
      if (disk_.read(at(cluster), bytes)) list(bytes);
      const auto follows = next(cluster);
      if (!follows) return;
      cluster = *follows;
    }
  }
  void follow_file(std::uint64_t cluster, std::uint64_t size) {
    for (std::uint64_t n = 0; is_cluster(cluster) && n < longest_chain() && size != 0 && !to_.exhausted();
         ++n) {
      const std::uint64_t here = std::min(size, cluster_size_), edge = base::divide_up(here, sector) * sector;
      to_.add(at(cluster), at(cluster) + here, Area::Kind::used);
      if (here != edge) to_.add(at(cluster) + here, at(cluster) + edge, Area::Kind::zeros);
      if (edge != cluster_size_)
        to_.add_ground(at(cluster) + edge, at(cluster) + cluster_size_, Area::Kind::perhaps);
      size -= here;
      const auto follows = next(cluster);
      if (!follows) return;
      cluster = *follows;
    }
  }

  void expect_clusters() {
    const std::uint64_t end_of_table = std::min(clusters_ + 2, known_.size() * sector * 8 / bits_);
    for (std::uint64_t c = 2; c < end_of_table;) {
      const auto state = [&](std::uint64_t cluster) {
        const auto entry = next(cluster);
        return !entry ? -1 : *entry != 0 ? 1 : 0;
      };
      const int here = state(c);
      std::uint64_t end = c + 1;
      while (end < end_of_table && state(end) == here) ++end;
      if (here >= 0) to_.add_map(at(c), at(end), here == 1 ? Area::Kind::held : Area::Kind::free);
      c = end;
    }
  }

  const GuestReader& disk_;
  const std::uint64_t begin_;
  Expectations& to_;
  std::uint64_t bytes_per_sector_ = 0, cluster_size_ = 0, tables_ = 0, table_at_ = 0, table_size_ = 0,
                root_at_ = 0;
  std::uint64_t root_size_ = 0, data_at_ = 0, clusters_ = 0, bits_ = 0, root_cluster_ = 0, backup_ = 0;
  std::uint8_t media_ = 0;
  std::vector<std::byte> table_;
  std::vector<bool> known_;  // of each sector of the table
  std::vector<std::uint64_t> directories_;
};

}  // namespace

bool begins_fat(base::ConstBytes bytes) {
  const std::uint64_t size = little<std::uint16_t>(bytes, 0x0b);
  const auto jump = little<std::uint8_t>(bytes, 0), tables = little<std::uint8_t>(bytes, 0x10);
  return little<std::uint16_t>(bytes, 510) == 0xaa55 && (jump == 0xeb || jump == 0xe9) &&
         power_of_two(size) && size >= sector && size <= 4096 &&
         power_of_two(little<std::uint8_t>(bytes, 0x0d)) && (tables == 1 || tables == 2) &&
         little<std::uint16_t>(bytes, 0x0e) != 0 && little<std::uint8_t>(bytes, 0x15) >= 0xf0 &&
         !begins_ntfs(bytes);
}

void survey_fat(const GuestReader& disk, std::uint64_t begin, Expectations& expectations) {
  Fat(disk, begin, expectations).survey();
}

}  // namespace cowvet::repair
