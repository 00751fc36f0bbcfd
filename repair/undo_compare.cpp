#include "repair/undo_compare.hpp"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

namespace cowvet::repair {

namespace {

using base::ErrorKind;

// What the block held before, as far as an image of `size` bytes shows it.
std::vector<std::byte> before_of(const UndoBlock& block, std::uint64_t size) {
  auto before = block.before;
  before.resize(block.length());
  const std::uint64_t shown = block.offset < size ? std::min(size - block.offset, block.length()) : 0;
  std::fill(before.begin() + static_cast<std::ptrdiff_t>(shown), before.end(), std::byte{0});
  return before;
}

// Lays what the block held before over the image's first bytes.
void take_back(const UndoBlock& block, base::MutableBytes head) {
  if (block.offset >= head.size()) return;
  const auto place = head.subspan(block.offset, std::min(head.size() - block.offset, block.length()));
  if (block.before.empty())
    std::ranges::fill(place, std::byte{0});
  else
    std::ranges::copy(std::span(block.before).first(place.size()), place.begin());
}

}  // namespace

base::Result<void> read_image(const storage::Device& image, std::uint64_t offset, base::MutableBytes into) {
  std::ranges::fill(into, std::byte{0});
  const std::uint64_t size = image.size();
  const auto got = image.read(offset, into);
  const std::uint64_t there = offset < size ? std::min<std::uint64_t>(size - offset, into.size()) : 0;
  if (got.os_error == 0 && got.valid < there)
    return base::fail(
        ErrorKind::io,
        fmt::format("the image ends at {:#x} all of a sudden: is another program cutting it off?",
                    offset + got.valid));
  if (got.os_error != 0)
    return base::fail(
        ErrorKind::io,
        fmt::format("reading at {:#x} failed: copy the image to a good disk first", offset + got.bad_begin),
        got.os_error);
  return {};
}

base::Result<Comparison> compare(const storage::Device& image, UndoReader& undo, base::Progress& progress) {
  undo.rewind();
  const std::uint64_t size = image.size();
  const auto& info = undo.info();
  std::vector<std::byte> head(std::min(head_bytes, info.length_before));
  if (auto read = read_image(image, 0, head); !read) return std::unexpected(read.error());
  Comparison result;
  std::vector<std::byte> now;
  for (;;) {
    if (progress.stop_requested()) return base::fail(ErrorKind::cancelled, "stopped");
    const auto block = undo.next();
    if (!block) return std::unexpected(block.error());
    if (*block == nullptr) break;
    take_back(**block, head);
    now.resize((*block)->length());
    if (auto read = read_image(image, (*block)->offset, now); !read) return std::unexpected(read.error());
    const auto before = before_of(**block, size);
    for (std::size_t i = 0; i < (*block)->after.size(); ++i) {
      const std::uint64_t place = (*block)->offset + i * sector;
      const auto is = base::ConstBytes(now).subspan(i * sector, sector);
      const bool was = std::ranges::equal(is, base::ConstBytes(before).subspan(i * sector, sector));
      if (was && (!result.all_after || place >= info.length_after)) continue;
      const bool is_after = sector_digest(is) == (*block)->after[i];
      result.all_before = result.all_before && (was || place >= info.length_before);
      result.all_after = result.all_after && (is_after || place >= info.length_after);
      if (!was && !is_after && !result.strange) result.strange = place;
    }
    progress.advance(now.size());
  }
  result.same_head = digest_of({head}) == undo.head();
  return result;
}

base::Result<void> set_length(storage::Device& image, std::uint64_t size) {
  if (image.size() == size) return {};
  if (auto done = image.resize(size); !done) return done;
  if (image.size() != size) return loses_writes();
  return {};
}

std::unexpected<base::Error> loses_writes() {
  return base::fail(
      ErrorKind::io,
      "what was written is not what the image holds now: its disk loses writes; copy it to a good one");
}

}  // namespace cowvet::repair
