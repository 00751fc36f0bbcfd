// Giving an image another backing file, or none [rebase, block stream, flatten]. Promises: as every operation on chains
// (chain_edit.hpp); what the image shows and the new backing file does not is written into the image first, and
// the header is written last, when all that is durable. Lower layers are never written.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/chain_edit.hpp"

namespace cowvet::engine {

struct RebaseRequest {
  std::string backing;    // its name, as the image is to store it; empty: none
  std::string format;     // as it is to be stored; empty without a backing file
  bool compress = false;  // what is written into the image
};

// `image` is open for reading, with its old chain and `chain`: its secret opens the new one. Errors name their file.
[[nodiscard]] base::Result<std::unique_ptr<ChainEdit>> prepare_rebase(std::unique_ptr<OpenImage> image,
                                                                      const RebaseRequest& request,
                                                                      const ChainOptions& chain,
                                                                      const OpenFile& open);

struct PullRequest {
  std::optional<std::string> base = {};          // the layer below that stays; without it, none does
  std::optional<std::string> backing_name = {};  // under which the image is to name the base
  bool compress = false;                         // what is written into the image
};

// Copies what lies between the image and the base into the image, which then has the base as its backing file. The same
// as a rebase onto the base, but that what those layers hold is not compared. Errors as prepare_rebase(); not_found:
// there is no such layer, or nothing below.
[[nodiscard]] base::Result<std::unique_ptr<ChainEdit>> prepare_pull(std::unique_ptr<OpenImage> image,
                                                                    const PullRequest& request,
                                                                    const ChainOptions& chain,
                                                                    const OpenFile& open);

// Stores another name without looking at what it leads to [unsafe rebase]. `image` may be open without its chain.
[[nodiscard]] base::Result<std::unique_ptr<ChainEdit>> prepare_rename(std::unique_ptr<OpenImage> image,
                                                                      const RebaseRequest& request,
                                                                      const ChainOptions& chain,
                                                                      const OpenFile& open);

// What such a rename would change.
struct GuestRange {
  std::uint64_t at = 0, length = 0;  // bytes
};
struct ShownDifference {
  std::string snapshot = {};            // whose content; empty: the image's own
  std::vector<GuestRange> ranges = {};  // the first ones
  std::uint64_t count = 0;              // of all ranges
  std::uint64_t bytes = 0;              // of all ranges
};
inline constexpr std::size_t most_told_ranges = 1000;

// Reads both chains, and tells what the image, and each snapshot in it, would show differently, to the
// sector: empty when nothing. Errors: whatever keeps a chain from being read, with the name of the file.
[[nodiscard]] base::Result<std::vector<ShownDifference>> shown_differences(
    OpenImage& image, const RebaseRequest& request, const ChainOptions& chain, const OpenFile& open,
    const EditOptions& options, base::Progress& progress);

}  // namespace cowvet::engine
