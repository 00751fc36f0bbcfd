// Whether an image shows the same after a change as before: each layer, byte for byte. Promises: what is neither the
// same place, untouched, nor the same bytes when read, is told; nothing is called equal that was not looked at; memory
// is small whatever the images are.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/progress.hpp"
#include "base/result.hpp"
#include "engine/cipher.hpp"
#include "findings/finding.hpp"
#include "repair/view.hpp"
#include "storage/overlay.hpp"

namespace cowvet::repair {

// Guest ranges of all layers, ascending in each; the first ones are kept, all are counted.
struct GuestRanges {
  std::vector<findings::GuestRange> list;
  std::uint64_t bytes = 0;
  void add(const std::string& snapshot, std::uint64_t begin, std::uint64_t length);
  [[nodiscard]] bool empty() const { return bytes == 0; }
};

struct Proof {
  // Certain before, and reads otherwise after, or can't be proved to read the same; or lost before, and given
  // up, so that the backing file shows through now.
  GuestRanges changed;
  GuestRanges lost;      // could be read before, and can't after
  GuestRanges improved;  // lost or doubtful before, certain after
  GuestRanges
      restored;  // of these, what is stored somewhere: the rest was never written, however large the disk is
  GuestRanges settled;                   // doubtful before, and reads otherwise after
  GuestRanges unreadable;                // neither before nor after
  std::vector<std::string> layers_gone;  // ids of snapshots that held something and are not there any more
  std::vector<std::string> layers_new;   // ids of snapshots that were not there before

  // No byte that could be read for certain reads otherwise.
  [[nodiscard]] bool nothing_worse() const { return changed.empty() && lost.empty() && layers_gone.empty(); }
  // Nothing changed, for the better or the worse.
  [[nodiscard]] bool equal() const {
    return nothing_worse() && improved.empty() && settled.empty() && layers_new.empty();
  }
};

struct ProofOptions {
  // Host ranges of the image file outside of which both devices hold the same bytes, ascending: Overlay::changes().
  std::span<const storage::Range> changes;
  // Opens an encrypted image's data. Without it, data of a LUKS image that moved can't be proved: it counts as changed.
  std::shared_ptr<const engine::Cipher> cipher = nullptr;
};

// Both views are of the same image. Layers are matched by the snapshot's id, then by the place of their L1 tables.
// What is behind the end of a disk that became smaller counts as lost where it was stored. Error cancelled.
[[nodiscard]] base::Result<Proof> compare(const View& before, const View& after, const ProofOptions& options,
                                          base::Progress& progress);

}  // namespace cowvet::repair
