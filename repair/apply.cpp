#include "repair/apply.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "repair/undo.hpp"
#include "repair/undo_compare.hpp"
#include "repair/undo_gather.hpp"

namespace cowvet::repair {

namespace {

using base::ErrorKind;

// Writes what `wanted` shows in the block: whole sectors, since a sector is what a crash leaves old or new.
base::Result<std::uint64_t> put(storage::Device& image, const storage::Device& wanted,
                                const UndoBlock& block) {
  const std::uint64_t wanted_end = (wanted.size() + sector - 1) / sector * sector;
  const std::uint64_t end = std::min({block.end(), image.size(), wanted_end});
  if (block.offset >= end) return 0;  // cut off
  std::vector<std::byte> bytes(block.length());
  if (auto read = read_image(wanted, block.offset, bytes); !read) return std::unexpected(read.error());
  for (std::size_t i = 0; i < block.after.size(); ++i)
    if (sector_digest(base::ConstBytes(bytes).subspan(i * sector, sector)) != block.after[i])
      return base::fail(
          ErrorKind::io,
          fmt::format("what was to be written at {:#x} is not what it was any more: is the memory "
                      "or the disk of this machine failing?",
                      block.offset + i * sector));
  const std::uint64_t length = end - block.offset;
  if (auto written =
          image.write(block.offset, base::ConstBytes(bytes).first(static_cast<std::size_t>(length)));
      !written)
    return std::unexpected(written.error());
  return length;
}

// The undo file is durable: changes the image, durably, and looks whether it holds what it should.
base::Result<std::uint64_t> change(storage::Device& image, const storage::Device& wanted, UndoReader& undo,
                                   base::Progress& progress) {
  const std::uint64_t size = undo.info().length_after;
  if (image.size() < size)
    if (auto grown = set_length(image, size); !grown) return std::unexpected(grown.error());
  std::uint64_t written = 0;
  undo.rewind();
  for (;;) {
    if (progress.stop_requested()) return base::fail(ErrorKind::cancelled, "stopped");
    const auto block = undo.next();
    if (!block) return std::unexpected(block.error());
    if (*block == nullptr) break;
    const auto length = put(image, wanted, **block);
    if (!length) return length;
    written += *length;
    progress.advance((*block)->length());
  }
  if (auto flushed = image.flush(); !flushed) return std::unexpected(flushed.error());
  // Before anything is cut off, so that a device which lost writes still holds one of both states.
  const auto found = compare(image, undo, progress);
  if (!found) return std::unexpected(found.error());
  if (!found->all_after) return loses_writes();
  if (image.size() != size) {
    auto cut = set_length(image, size);
    if (cut) cut = image.flush();
    if (!cut) return std::unexpected(cut.error());
  }
  return written;
}

// Why the change did not come about, when the image was perhaps written to.
std::unexpected<base::Error> take_back(storage::Device& image, storage::Device& undo, base::Error error) {
  base::Progress progress;  // of its own: the other one may have been stopped
  const auto undone = repair::undo(image, undo, Force::no, progress);
  if (undone)
    error.message += "; the image is what it was before";
  else
    error.message += fmt::format(
        "; the image may be changed in part, and taking that back failed as well ({}): run 'cowvet "
        "undo' with its undo file when the cause is gone",
        undone.error().message);
  return std::unexpected(std::move(error));
}

}  // namespace

base::Result<Applied> apply(storage::Device& image, const storage::Overlay& wanted, storage::Device& undo,
                            const UndoIdentity& who, const Publish& publish, base::Progress& progress) {
  return apply(image, wanted, wanted.changes(), undo, who, publish, progress);
}

base::Result<Applied> apply(storage::Device& image, const storage::Device& wanted,
                            std::span<const storage::Range> changes, storage::Device& undo,
                            const UndoIdentity& who, const Publish& publish, base::Progress& progress) {
  const UndoInfo lengths{
      .length_before = image.size(), .length_after = wanted.size(), .block_device = image.is_block_device()};
  if (lengths.block_device && lengths.length_before != lengths.length_after)
    return base::fail(
        ErrorKind::usage,
        fmt::format("the block device has {} bytes and would need {}: copy the image to a file, or "
                    "to a device of that length",
                    lengths.length_before, lengths.length_after));
  if (undo.size() != 0) return base::fail(ErrorKind::usage, "the undo file is not empty: name a new one");
  for (const auto& range : changes) progress.expect(range.end - range.begin);
  UndoWriter writer(undo);
  if (auto gathered = gather(image, wanted, changes, writer, progress); !gathered)
    return std::unexpected(gathered.error());
  if (writer.sectors() == 0 && lengths.length_before == lengths.length_after) return Applied{};
  std::vector<std::byte> head(std::min(head_bytes, lengths.length_before));
  if (auto read = read_image(image, 0, head); !read) return std::unexpected(read.error());
  auto ready = writer.finish(who, lengths, head);
  // Nothing is overwritten before it was seen that what is kept can be read.
  if (const auto kept = ready ? read_undo(undo, progress) : base::Result<UndoInfo>(); !kept)
    return std::unexpected(kept.error());
  if (ready && publish) ready = publish();
  if (!ready) return std::unexpected(ready.error());

  progress.expect(2 * writer.sectors() * sector);
  auto reader = UndoReader::open(undo);
  if (!reader) return std::unexpected(reader.error());
  const auto written = change(image, wanted, *reader, progress);
  if (!written) return take_back(image, undo, written.error());
  // Where this fails the image is sound all the same, and 'undo' can still take it back.
  if (auto marked = set_state(undo, UndoState::complete, &image); !marked) {
    marked.error().message +=
        "; the image was changed all the same, but the undo file calls that interrupted: 'cowvet undo' "
        "takes it back, or remove the undo file to keep it";
    return std::unexpected(marked.error());
  }
  return Applied{.changed = true, .written = *written, .kept = undo.size()};
}

}  // namespace cowvet::repair
