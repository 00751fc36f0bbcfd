#include "repair/undo.hpp"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "repair/undo_compare.hpp"

namespace cowvet::repair {

namespace {

using base::ErrorKind;

std::unexpected<base::Error> refuse(std::string what) {
  return base::fail(ErrorKind::usage, std::move(what));
}

// Whether the image has a length that it can have.
base::Result<void> judge_length(const storage::Device& image, const UndoInfo& info) {
  const std::uint64_t size = image.size();
  if (image.is_block_device() != info.block_device)
    return refuse(fmt::format("the undo file is for {}: name that one",
                              info.block_device ? "a block device" : "a file, and this is a block device"));
  const auto [least, most] = std::minmax(info.length_before, info.length_after);
  const bool good = info.block_device         ? size >= most
                    : interrupted(info.state) ? size >= least && size <= most
                                              : size == least || size == most;
  if (good) return {};
  return refuse(fmt::format(
      "the image has {} bytes, and had {} before the change and {} after it: it is another image, or was "
      "changed since; nothing was written",
      size, info.length_before, info.length_after));
}

base::Result<void> judge_time(const storage::Device& image, const UndoInfo& info) {
  const auto identity = image.identity();
  if (!identity || !info.modified || image.is_block_device()) return {};
  const auto [sec, nsec] = *info.modified;
  const auto now_sec = static_cast<std::uint64_t>(identity->modified_sec);
  const auto now_nsec = static_cast<std::uint64_t>(identity->modified_nsec);
  // An earlier time is what a crash leaves that came before the time was durable.
  if (std::pair(now_sec, now_nsec) <= *info.modified) return {};
  return refuse(fmt::format(
      "the image was written to at {}, after its change was complete at {}; what was changed still is as "
      "it was left: use --force if only the time differs (a copy, a touch), else what was written since "
      "would not fit",
      utc(now_sec), utc(sec)));
}

base::Result<void> judge_content(const Comparison& found, const UndoInfo& info) {
  if (found.strange)
    return refuse(fmt::format(
        "what lies at {:#x} is neither what was there before the change nor after it: the image is another "
        "one, or was written to since (a later repair has an undo file of its own: undo that one "
        "first); nothing was written",
        *found.strange));
  if (!found.same_head)
    return refuse(
        "with the change taken back, its first bytes are not those that it had: the image is another one, or "
        "was "
        "written to since; nothing was written");
  if (!interrupted(info.state) && !found.all_before && !found.all_after)
    return refuse(
        "parts of it are as before the change and others as after it, although both were complete: it was "
        "written "
        "to since; nothing was written");
  return {};
}

// Writes what the block held before where the image holds something else. Adds what was written.
base::Result<void> put_back(storage::Device& image, const UndoBlock& block, std::uint64_t before_end,
                            std::uint64_t& written) {
  const std::uint64_t end =
      std::min({block.end(), image.size(), (before_end + sector - 1) / sector * sector});
  if (block.offset >= end) return {};
  const auto length = static_cast<std::size_t>(end - block.offset);
  const auto extent = image.extent(block.offset);
  const bool is_hole = extent.hole && extent.end >= end;
  if (block.kind == BeforeKind::hole) {
    if (is_hole) return {};
    written += length;
    return image.discard(block.offset, length);
  }
  std::vector<std::byte> now(length);
  if (auto read = read_image(image, block.offset, now); !read) return read;
  auto before = block.before;
  before.resize(length);
  if (now == before && !is_hole) return {};  // zeros that took space take it again
  written += length;
  return image.write(block.offset, before);
}

// Writes everything back, durably, and looks whether it is there.
base::Result<std::uint64_t> write_back(storage::Device& image, UndoReader& undo, base::Progress& progress) {
  // A block device keeps its length.
  const std::uint64_t size = undo.info().block_device ? image.size() : undo.info().length_before;
  if (image.size() < size)
    if (auto grown = set_length(image, size); !grown) return std::unexpected(grown.error());
  std::uint64_t written = 0;
  undo.rewind();
  for (;;) {
    if (progress.stop_requested())
      return base::fail(ErrorKind::cancelled, "stopped: 'cowvet undo' run again goes on");
    const auto block = undo.next();
    if (!block) return std::unexpected(block.error());
    if (*block == nullptr) break;
    if (auto put = put_back(image, **block, size, written); !put) return std::unexpected(put.error());
    progress.advance((*block)->length());
  }
  if (auto flushed = image.flush(); !flushed) return std::unexpected(flushed.error());
  // Before anything is cut off, so that a device which lost writes still holds one of both states.
  base::Progress not_stopped;
  const auto found = compare(image, undo, not_stopped);
  if (!found) return std::unexpected(found.error());
  if (!found->all_before || !found->same_head) return loses_writes();
  if (image.size() != size) {
    auto cut = set_length(image, size);
    if (cut) cut = image.flush();
    if (!cut) return std::unexpected(cut.error());
  }
  return written;
}

}  // namespace

base::Result<UndoInfo> read_undo(const storage::Device& undo, base::Progress& progress) {
  auto reader = UndoReader::open(undo);
  if (!reader) return std::unexpected(reader.error());
  for (;;) {
    if (progress.stop_requested()) return base::fail(ErrorKind::cancelled, "stopped");
    const auto block = reader->next();
    if (!block) return std::unexpected(block.error());
    if (*block == nullptr) return reader->info();
  }
}

base::Result<void> each_range(const storage::Device& undo,
                              const std::function<void(const UndoRange&)>& each) {
  auto reader = UndoReader::open(undo);
  if (!reader) return std::unexpected(reader.error());
  UndoRange range;
  const auto tell = [&] {
    if (range.end != 0) each(range);
  };
  for (;;) {
    const auto block = reader->next();
    if (!block) return std::unexpected(block.error());
    if (*block == nullptr) break;
    if ((*block)->kind == range.kind && (*block)->offset == range.end) {
      range.end = (*block)->end();
      continue;
    }
    tell();
    range = {(*block)->offset, (*block)->end(), (*block)->kind};
  }
  tell();
  return {};
}

base::Result<bool> is_as_before(const storage::Device& image, const storage::Device& undo,
                                base::Progress& progress) {
  auto reader = UndoReader::open(undo);
  if (!reader) return std::unexpected(reader.error());
  const auto found = compare(image, *reader, progress);
  if (!found) return std::unexpected(found.error());
  const bool long_enough = reader->info().block_device || image.size() == reader->info().length_before;
  return found->all_before && found->same_head && long_enough;
}

base::Result<Undone> undo(storage::Device& image, storage::Device& undo, Force force,
                          base::Progress& progress) {
  auto reader = UndoReader::open(undo);
  if (!reader) return std::unexpected(reader.error());
  const auto& info = reader->info();
  if (info.state == UndoState::undone) {
    if (auto sound = read_undo(undo, progress); !sound) return std::unexpected(sound.error());
    return Undone{.already = true};
  }
  progress.expect(2 * info.sectors * sector);
  const auto found = compare(image, *reader, progress);
  if (!found) return std::unexpected(found.error());
  if (auto good = judge_length(image, info); !good) return std::unexpected(good.error());
  if (auto good = judge_content(*found, info); !good) return std::unexpected(good.error());
  if (info.state == UndoState::complete && force == Force::no &&
      !(found->all_before && image.size() == info.length_before))
    if (auto good = judge_time(image, info); !good) return std::unexpected(good.error());
  // From here on the image's time tells nothing any more, also to an undo that comes after a crash of this one.
  if (info.state != UndoState::undoing)
    if (auto marked = set_state(undo, UndoState::undoing); !marked) return std::unexpected(marked.error());
  const auto written = write_back(image, *reader, progress);
  if (!written) return std::unexpected(written.error());
  if (auto marked = set_state(undo, UndoState::undone); !marked) return std::unexpected(marked.error());
  return Undone{.already = false, .written = *written};
}

base::Result<bool> recover(storage::Device& image, storage::Device& undo, base::Progress& progress) {
  const auto reader = UndoReader::open(undo);
  if (!reader) return std::unexpected(reader.error());
  if (!interrupted(reader->info().state)) return false;
  if (auto done = repair::undo(image, undo, Force::no, progress); !done) return std::unexpected(done.error());
  return true;
}

}  // namespace cowvet::repair
