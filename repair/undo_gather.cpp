#include "repair/undo_gather.hpp"

#include <algorithm>
#include <vector>

#include "repair/undo_compare.hpp"

namespace cowvet::repair {

namespace {

using base::ErrorKind;

// Space is given back in such units: of a hole, whole ones are noted.
constexpr std::uint64_t hole_unit = 4096;
constexpr std::uint64_t most_bytes = most_sectors * sector;

std::uint64_t down(std::uint64_t at, std::uint64_t unit) { return at / unit * unit; }
std::uint64_t up(std::uint64_t at, std::uint64_t unit) { return down(at + unit - 1, unit); }

class Gatherer {
 public:
  Gatherer(const storage::Device& image, const storage::Device& wanted, UndoWriter& into,
           base::Progress& progress)
      : image_(image),
        wanted_(wanted),
        into_(into),
        progress_(progress),
        before_end_(up(image.size(), sector)),
        after_end_(up(wanted.size(), sector)) {}

  // Ranges come in order.
  base::Result<void> look_at(storage::Range range) {
    std::uint64_t at = std::max(down(range.begin, sector), done_);
    const std::uint64_t end = up(range.end, sector);
    while (at < end) {
      if (progress_.stop_requested()) return base::fail(ErrorKind::cancelled, "stopped: nothing was changed");
      if (const auto next = empty_until(at, end); next > at) {
        at = next;
        continue;
      }
      const auto piece = piece_at(at, end);
      if (auto looked = examine(piece); !looked) return looked;
      progress_.advance(piece.end - at);
      at = done_ = piece.end;
    }
    return {};
  }

  base::Result<void> finish() { return hand_on(); }

 private:
  struct Piece {
    std::uint64_t begin = 0, end = 0;
    enum class Kind : std::uint8_t { data, hole, beyond } kind = Kind::data;
  };

  // As far as nothing is, on both sides: holes of any length cost nothing.
  [[nodiscard]] std::uint64_t empty_until(std::uint64_t at, std::uint64_t end) const {
    for (const auto* device : {&image_, &wanted_}) {
      if (at >= device->size()) continue;
      const auto extent = device->extent(at);
      if (!extent.hole) return at;
      if (extent.end < device->size()) end = std::min(end, down(extent.end, sector));
    }
    return std::max(at, end);
  }

  // The beginning of [at, end) that is of one kind; of a hole, whole units as far as they belong to it.
  [[nodiscard]] Piece piece_at(std::uint64_t at, std::uint64_t end) const {
    const std::uint64_t most = std::min(end, at + most_bytes);
    if (at >= before_end_) return {at, most, Piece::Kind::beyond};
    const auto extent = image_.extent(at);
    const bool to_the_end = extent.end >= image_.size();
    if (!extent.hole)
      return {at, std::min(most, to_the_end ? before_end_ : up(extent.end, sector)), Piece::Kind::data};
    const std::uint64_t hole_end = to_the_end ? before_end_ : down(extent.end, sector);
    if (hole_end <= at) return {at, at + sector, Piece::Kind::data};  // a hole that ends within the sector
    // Where an extent begins is known only when it was asked for from there.
    const std::uint64_t unit = std::max(down(at, hole_unit), done_);
    const auto around = image_.extent(unit);
    const std::uint64_t begin = around.hole && around.end > at ? unit : at;
    return {begin, std::min(up(most, hole_unit), hole_end), Piece::Kind::hole};
  }

  base::Result<void> examine(const Piece& piece) {
    const auto length = static_cast<std::size_t>(piece.end - piece.begin);
    before_.resize(length);
    after_.resize(length);
    if (piece.kind == Piece::Kind::data) {
      if (auto read = read_image(image_, piece.begin, before_); !read) return read;
    } else {
      std::ranges::fill(before_, std::byte{0});
    }
    if (auto read = read_image(wanted_, piece.begin, after_); !read) return read;
    const std::size_t unit = piece.kind == Piece::Kind::hole ? hole_unit : sector;
    for (std::size_t i = 0; i < length;) {
      const auto next = static_cast<std::size_t>(
          std::min<std::uint64_t>(up(piece.begin + i + 1, unit), piece.end) - piece.begin);
      // What is cut off is noted although it reads as zeros would: unless it is a hole, it takes space.
      const bool cut = piece.begin + i >= after_end_ && piece.kind == Piece::Kind::data;
      if (cut || !std::equal(before_.begin() + static_cast<std::ptrdiff_t>(i),
                             before_.begin() + static_cast<std::ptrdiff_t>(next),
                             after_.begin() + static_cast<std::ptrdiff_t>(i)))
        for (std::size_t s = i; s < next; s += sector)
          if (auto added = add(piece, s); !added) return added;
      i = next;
    }
    return {};
  }

  base::Result<void> add(const Piece& piece, std::size_t at) {
    const auto before = base::ConstBytes(before_).subspan(at, sector);
    const auto kind = piece.kind == Piece::Kind::beyond ? BeforeKind::beyond
                      : piece.kind == Piece::Kind::hole ? BeforeKind::hole
                      : base::all_zero(before)          ? BeforeKind::zeros
                                                        : BeforeKind::saved;
    const std::uint64_t offset = piece.begin + at;
    if (block_.after.size() == most_sectors || block_.kind != kind || block_.end() != offset) {
      if (auto handed = hand_on(); !handed) return handed;
      block_.kind = kind;
      block_.offset = offset;
    }
    block_.after.push_back(sector_digest(base::ConstBytes(after_).subspan(at, sector)));
    if (kind == BeforeKind::saved) block_.before.insert(block_.before.end(), before.begin(), before.end());
    return {};
  }

  base::Result<void> hand_on() {
    if (block_.after.empty()) return {};
    auto added = into_.add(block_);
    block_.after.clear();
    block_.before.clear();
    return added;
  }

  const storage::Device& image_;
  const storage::Device& wanted_;
  UndoWriter& into_;
  base::Progress& progress_;
  const std::uint64_t before_end_, after_end_;  // of the last sectors
  std::uint64_t done_ = 0;
  std::vector<std::byte> before_, after_;
  UndoBlock block_;
};

}  // namespace

base::Result<void> gather(const storage::Device& image, const storage::Device& wanted,
                          std::span<const storage::Range> changes, UndoWriter& into,
                          base::Progress& progress) {
  Gatherer gatherer(image, wanted, into, progress);
  for (const auto& range : changes)
    if (auto looked = gatherer.look_at(range); !looked) return looked;
  // The last sector of the smaller length holds bytes of which only one side knows.
  const std::uint64_t before = image.size(), after = wanted.size(), less = std::min(before, after);
  if (auto looked = gatherer.look_at({less, std::max(before, up(less, sector))}); !looked) return looked;
  return gatherer.finish();
}

}  // namespace cowvet::repair
