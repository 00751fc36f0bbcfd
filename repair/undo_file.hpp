// The undo file as a stream of blocks. Promises: memory for one block, whatever the file's length; what is read is what
// was written, or an error; nothing of the image is needed to read it.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "repair/undo_format.hpp"
#include "storage/device.hpp"

namespace cowvet::repair {

// What the image held in a block before it was changed.
enum class BeforeKind : std::uint32_t {
  saved = 1,   // bytes that the undo file keeps
  zeros = 2,   // zeros that took space
  hole = 3,    // zeros that took none
  beyond = 4,  // nothing: the block lies behind the end that the image had
};

// Sectors one behind the other. Behind an end of the image, before or after, a sector goes on with zeros.
struct UndoBlock {
  BeforeKind kind = BeforeKind::saved;
  std::uint64_t offset = 0;         // in the image, a multiple of a sector
  std::vector<SectorDigest> after;  // of each sector: what it holds when the change is made
  std::vector<std::byte> before;    // of all sectors, one behind the other; only where they were saved

  [[nodiscard]] std::uint64_t length() const { return after.size() * sector; }
  [[nodiscard]] std::uint64_t end() const { return offset + length(); }
};

enum class UndoState : std::uint32_t {
  repairing = 1,  // the image may have been changed in part, or not at all
  complete = 2,   // the image was changed
  undoing = 3,    // it may have been changed back in part
  undone = 4,     // the image is what it was
};
[[nodiscard]] inline bool interrupted(UndoState state) {
  return state == UndoState::repairing || state == UndoState::undoing;
}

// What an undo file is for, as its writer says.
struct UndoIdentity {
  std::string image;  // its name: relative to the undo file's folder, or absolute. At most name_limit bytes
  std::string undo_file;   // its own name, for the command that its text shows
  std::string cause;       // what changes the image: "cowvet repair --level all"
  std::uint64_t made = 0;  // seconds since 1970
};

struct UndoInfo {
  UndoState state = UndoState::repairing;
  std::string image = {};                             // as in UndoIdentity
  std::uint64_t made = 0;                             // seconds since 1970
  std::uint64_t length_before = 0, length_after = 0;  // of the image, bytes
  bool block_device = false;
  std::uint64_t blocks = 0, sectors = 0, saved_sectors = 0;
  std::optional<std::pair<std::uint64_t, std::uint64_t>> modified =
      {};  // the image's last change when it was complete
};

class UndoWriter {
 public:
  explicit UndoWriter(storage::Device& undo) : undo_(undo) {}
  [[nodiscard]] base::Result<void> add(const UndoBlock& block);
  [[nodiscard]] std::uint64_t sectors() const { return header_.sectors; }
  // Makes it an undo file in the state `repairing`, durably. `head`: the image's first bytes before. Lengths in `info`.
  [[nodiscard]] base::Result<void> finish(const UndoIdentity& who, const UndoInfo& info,
                                          base::ConstBytes head);

 private:
  storage::Device& undo_;
  UndoHeader header_;
  std::uint64_t end_ = blocks_place;
};

class UndoReader {
 public:
  // Reads what comes before the blocks. Errors: wrong_format, for what is no undo file or a damaged one; io.
  [[nodiscard]] static base::Result<UndoReader> open(const storage::Device& undo);

  [[nodiscard]] const UndoInfo& info() const { return info_; }
  [[nodiscard]] const Digest& head() const { return header_.head; }

  // The next block; nothing after the last one, when the whole file was as it was written. The block is valid until the
  // next call. Errors as open().
  [[nodiscard]] base::Result<const UndoBlock*> next();
  void rewind();

 private:
  explicit UndoReader(const storage::Device& undo) : undo_(&undo) {}
  [[nodiscard]] base::Result<void> read_state(const Digest& header);

  const storage::Device* undo_;
  UndoHeader header_;
  UndoInfo info_;
  UndoBlock block_;
  Digest chain_{};
  std::uint64_t place_ = blocks_place, blocks_ = 0, sectors_ = 0, saved_ = 0, image_end_ = 0;
};

// "2026-11-27 15:40:02 UTC"; `seconds` since 1970, at most the year 9999.
[[nodiscard]] std::string utc(std::uint64_t seconds);

// Says the state in the file, durably. `image`: with the state `complete`, the image as it is now.
[[nodiscard]] base::Result<void> set_state(storage::Device& undo, UndoState state,
                                           const storage::Device* image = nullptr);

}  // namespace cowvet::repair
