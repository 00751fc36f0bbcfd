// NTFS: records of the master file table hold their own number, blocks of directories theirs; where
// everything lies is told by runs in the records, and what is free by the bitmap of record 6.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "format/geometry.hpp"
#include "repair/guest_survey.hpp"
#include "repair/guest_words.hpp"

namespace cowvet::repair {

namespace {

using format::limits::sector;
constexpr std::uint64_t most_records = 1U << 17;
constexpr std::size_t most_runs = 1U << 16;         // of a file
constexpr std::uint64_t most_bitmap = 32ULL << 20;  // bytes
constexpr std::uint64_t longest_cluster = 2ULL << 20;
constexpr std::uint32_t mirror = 1, bitmap = 6, letters = 10;

struct Run {
  std::uint64_t vcn = 0, count = 0, lcn = 0;  // clusters
};

struct Stored {  // an attribute's content outside of its record
  std::uint32_t type = 0;
  std::uint64_t size = 0;
  std::vector<Run> runs;
};

// Whether every record in these bytes is the one with its number.
bool records_are(base::ConstBytes bytes, std::uint64_t size, std::uint64_t first) {
  bool any = false;
  for (std::uint64_t k = 0; (k + 1) * size <= bytes.size(); ++k) {
    const auto record = part(bytes, k * size, size);
    if (base::all_zero(record)) continue;
    // Older ones don't hold their number.
    const bool numbered = little<std::uint16_t>(record, 4) >= 0x30;
    if (!says(record, 0, "FILE") || (numbered && little<std::uint32_t>(record, 0x2c) != first + k))
      return false;
    any = any || numbered;
  }
  return any;
}

class Ntfs {
 public:
  Ntfs(const GuestReader& disk, std::uint64_t begin, Expectations& to)
      : disk_(disk), begin_(begin), to_(to) {}

  void survey() {
    std::vector<std::byte> boot(sector);
    if (!disk_.read(begin_, boot) || !take(boot)) return;
    to_.add_check(begin_ + sectors_ * bytes_per_sector_, begin_ + sectors_ * bytes_per_sector_ + sector,
                  "the copy of the boot sector",
                  [copy = boot](base::ConstBytes b) { return std::ranges::equal(b, copy); });
    const std::uint64_t table = little<std::uint64_t>(boot, 0x30);
    if (table >= clusters_) return;
    expect_records(0, at(table), std::max(record_size_, cluster_size_));
    std::vector<std::byte> record(static_cast<std::size_t>(record_size_));
    if (!disk_.read(at(table), record) || !unfix(record)) return;
    std::vector<Run> runs;
    std::uint64_t size = 0;
    for (auto& stored : attributes(record))
      if (stored.type == data_type) {
        runs = std::move(stored.runs);
        size = stored.size;
      }
    for (const auto& run : runs) {
      const std::uint64_t first = run.vcn * cluster_size_ / record_size_;
      if (run.vcn * cluster_size_ < size) expect_records(first, at(run.lcn), run.count * cluster_size_);
    }
    for (std::uint64_t n = 0; n < std::min(size / record_size_, most_records); ++n)
      if (const auto place = place_of(runs, n * record_size_);
          place && disk_.read(*place, record) && unfix(record))
        expect_file(n, record);
  }

 private:
  static constexpr std::uint32_t data_type = 0x80, index_type = 0xa0, end_type = 0xffffffff;

  bool take(base::ConstBytes b) {
    bytes_per_sector_ = little<std::uint16_t>(b, 0x0b);
    const std::uint64_t factor = little<std::uint8_t>(b, 0x0d);
    if (bytes_per_sector_ < sector || bytes_per_sector_ > 4096 || factor == 0 ||
        (factor > 128 && factor < 240))
      return false;
    cluster_size_ = bytes_per_sector_ * (factor > 128 ? 1ULL << (256 - factor) : factor);
    record_size_ = size_of(little<std::uint8_t>(b, 0x40));
    index_size_ = size_of(little<std::uint8_t>(b, 0x44));
    sectors_ = little<std::uint64_t>(b, 0x28);
    if (sectors_ > (disk_.size() - begin_) / bytes_per_sector_ || record_size_ < sector ||
        record_size_ > 65536 || index_size_ < sector || index_size_ > 1U << 20 ||
        cluster_size_ > longest_cluster)
      return false;
    clusters_ = sectors_ * bytes_per_sector_ / cluster_size_;
    return clusters_ != 0;
  }
  // A number of clusters, or the negative logarithm of a number of bytes.
  [[nodiscard]] std::uint64_t size_of(std::uint8_t said) const {
    if (said < 128) return said * cluster_size_;
    return said > 256 - 24 ? 1ULL << (256 - said) : 0;
  }
  [[nodiscard]] std::uint64_t at(std::uint64_t lcn) const { return begin_ + lcn * cluster_size_; }

  // Each sector's last two bytes are kept elsewhere in the record. False when it was not written as one.
  [[nodiscard]] static bool unfix(std::vector<std::byte>& record) {
    if (!says(record, 0, "FILE")) return false;
    const std::uint64_t place = little<std::uint16_t>(record, 4), count = little<std::uint16_t>(record, 6);
    if (count == 0 || (count - 1) * sector > record.size() || place + 2 * count > record.size()) return false;
    for (std::uint64_t i = 1; i < count; ++i) {
      const auto end = static_cast<std::size_t>(i * sector - 2);
      if (little<std::uint16_t>(record, end) != little<std::uint16_t>(record, place)) return false;
      record[end] = record[static_cast<std::size_t>(place + 2 * i)];
      record[end + 1] = record[static_cast<std::size_t>(place + 2 * i + 1)];
    }
    return true;
  }

  [[nodiscard]] std::vector<Stored> attributes(base::ConstBytes record) const {
    std::vector<Stored> list;
    for (std::uint64_t place = little<std::uint16_t>(record, 0x14); place + 24 <= record.size();) {
      const auto type = little<std::uint32_t>(record, place);
      const std::uint64_t length = little<std::uint32_t>(record, place + 4);
      if (type == end_type || length < 24 || length > record.size() - place) break;
      const auto attribute = part(record, place, length);
      constexpr std::uint16_t packed = 0x00ff;  // compressed in units: its runs hold streams
      if (little<std::uint8_t>(attribute, 8) != 0 && (little<std::uint16_t>(attribute, 12) & packed) == 0)
        list.push_back({type, little<std::uint64_t>(attribute, 0x30), runs_of(attribute)});
      place += length;
    }
    return list;
  }
  [[nodiscard]] std::vector<Run> runs_of(base::ConstBytes attribute) const {
    std::vector<Run> runs;
    std::uint64_t vcn = little<std::uint64_t>(attribute, 0x10), lcn = 0;
    for (std::uint64_t place = little<std::uint16_t>(attribute, 0x20);
         place < attribute.size() && runs.size() < most_runs;) {
      const unsigned header = little<std::uint8_t>(attribute, place), lengths = header & 15U,
                     offsets = header >> 4;
      if (header == 0 || lengths == 0 || lengths > 8 || offsets > 8 ||
          place + 1 + lengths + offsets > attribute.size())
        break;
      std::uint64_t count = 0, move = 0;
      for (unsigned i = 0; i < lengths; ++i)
        count |= std::uint64_t{little<std::uint8_t>(attribute, place + 1 + i)} << (8 * i);
      for (unsigned i = 0; i < offsets; ++i)
        move |= std::uint64_t{little<std::uint8_t>(attribute, place + 1 + lengths + i)} << (8 * i);
      if (offsets != 0 && offsets < 8 && (move >> (8 * offsets - 1) & 1) != 0) move |= ~0ULL << (8 * offsets);
      place += 1 + lengths + offsets;
      if (count == 0 || count > clusters_ || vcn > clusters_ << 8) break;
      if (offsets != 0) {  // otherwise it is a hole
        lcn += move;
        if (lcn >= clusters_ || count > clusters_ - lcn) break;
        runs.push_back({vcn, count, lcn});
      }
      vcn += count;
    }
    return runs;
  }
  [[nodiscard]] std::optional<std::uint64_t> place_of(const std::vector<Run>& runs,
                                                      std::uint64_t offset) const {
    const std::uint64_t vcn = offset / cluster_size_;
    const auto behind = std::ranges::upper_bound(runs, vcn, {}, &Run::vcn);  // they are in order
    if (behind == runs.begin() || vcn - (behind - 1)->vcn >= (behind - 1)->count) return std::nullopt;
    return at((behind - 1)->lcn) + (offset - (behind - 1)->vcn * cluster_size_);
  }

  void expect_records(std::uint64_t first, std::uint64_t place, std::uint64_t length) {
    const std::uint64_t step = std::max(record_size_, std::min<std::uint64_t>(cluster_size_, 4096));
    for (std::uint64_t done = 0; done + step <= length && !to_.exhausted();
         done += step, first += step / record_size_)
      to_.add_check(
          place + done, place + done + step, fmt::format("records of the MFT from {}", first),
          [first, size = record_size_](base::ConstBytes b) { return records_are(b, size, first); },
          Area::Kind::tried);
  }

  void expect_file(std::uint64_t number, base::ConstBytes record) {
    constexpr std::uint16_t in_use = 1;
    if ((little<std::uint16_t>(record, 0x16) & in_use) == 0 || number == 0) return;
    for (const auto& stored : attributes(record)) {
      if (stored.type == index_type) {
        expect_index(stored);
      } else if (stored.type == data_type && number == mirror) {
        for (const auto& run : stored.runs)
          expect_records(run.vcn * cluster_size_ / record_size_, at(run.lcn), run.count * cluster_size_);
      } else if (stored.type == data_type && number == bitmap) {
        for (const auto& run : stored.runs)
          to_.add_ground(at(run.lcn), at(run.lcn + run.count), Area::Kind::perhaps);
        if (!std::exchange(bitmap_taken_, true)) take_bitmap(stored);
      } else {
        expect_content(stored, number);
      }
    }
  }
  void expect_index(const Stored& stored) {
    for (const auto& run : stored.runs)
      for (std::uint64_t done = 0; done + index_size_ <= run.count * cluster_size_ && !to_.exhausted();
           done += index_size_) {
        const std::uint64_t unit = index_size_ < cluster_size_ ? sector : cluster_size_;
        const std::uint64_t vcn = (run.vcn * cluster_size_ + done) / unit;
        to_.add_check(
            at(run.lcn) + done, at(run.lcn) + done + index_size_, "a block of a directory",
            [vcn](base::ConstBytes b) { return says(b, 0, "INDX") && little<std::uint64_t>(b, 0x10) == vcn; },
            Area::Kind::tried);
      }
  }
  void expect_content(const Stored& stored, std::uint64_t number) {
    for (const auto& run : stored.runs) {
      if (to_.exhausted()) return;
      const std::uint64_t begin = run.vcn * cluster_size_, length = run.count * cluster_size_;
      const std::uint64_t held = stored.size > begin ? std::min(stored.size - begin, length) : 0;
      const std::uint64_t place = at(run.lcn);
      if (number == letters && begin == 0 &&
          held >= sector)  // the table of capitals begins with all numbers in turn
        to_.add_check(place, place + sector / 4, "the table of capitals", [](base::ConstBytes b) {
          for (std::uint64_t i = 0; i < b.size() / 2; ++i)
            if (little<std::uint16_t>(b, 2 * i) != i) return false;
          return true;
        });
      else
        to_.add(place, place + std::min(held, cluster_size_), Area::Kind::used);
      if (held > cluster_size_) to_.add(place + cluster_size_, place + held, Area::Kind::used);
      if (const std::uint64_t edge = std::min(base::divide_up(held, sector) * sector, length); edge != held)
        to_.add(place + held, place + edge, Area::Kind::zeros);
      to_.add_ground(place, place + length, Area::Kind::perhaps);
    }
  }
  void take_bitmap(const Stored& stored) {
    std::vector<std::byte> bytes(static_cast<std::size_t>(cluster_size_));
    for (const auto& run : stored.runs)
      for (std::uint64_t k = 0; k < run.count && !to_.exhausted(); ++k) {
        const std::uint64_t from = (run.vcn + k) * cluster_size_;
        if (from >= stored.size || from >= most_bitmap || from * 8 >= clusters_ ||
            !disk_.read(at(run.lcn + k), bytes))
          continue;
        for_each_run(bytes, std::min(cluster_size_ * 8, clusters_ - from * 8),
                     [&](std::uint64_t first, std::uint64_t count, bool used) {
                       to_.add_map(at(from * 8 + first), at(from * 8 + first + count),
                                   used ? Area::Kind::held : Area::Kind::free);
                     });
      }
  }

  const GuestReader& disk_;
  const std::uint64_t begin_;
  Expectations& to_;
  std::uint64_t bytes_per_sector_ = 0, cluster_size_ = 0, record_size_ = 0, index_size_ = 0, sectors_ = 0,
                clusters_ = 0;
  bool bitmap_taken_ = false;  // a record that claims several would make work without end
};

}  // namespace

bool begins_ntfs(base::ConstBytes bytes) {
  return says(bytes, 3, "NTFS    ") && little<std::uint16_t>(bytes, 510) == 0xaa55 &&
         little<std::uint64_t>(bytes, 0x28) != 0;
}

void survey_ntfs(const GuestReader& disk, std::uint64_t begin, Expectations& expectations) {
  Ntfs(disk, begin, expectations).survey();
}

}  // namespace cowvet::repair
