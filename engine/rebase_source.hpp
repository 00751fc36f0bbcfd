// What an image must be given before it may look at another backing file: where it holds nothing, what it shows now and
// would not show then. Promises: what both backing files have from a layer that they share is not read; the image
// may be written meanwhile, by whoever holds `changing`.
#pragma once
#include <shared_mutex>

#include "engine/chain.hpp"
#include "engine/copy_source.hpp"

namespace cowvet::engine {

class RebaseSource final : public CopySource {
 public:
  enum class Mode : std::uint8_t {
    copied,    // what layers above a shared one hold is copied, whether the new backing file shows it or not
    compared,  // it is compared first
    exact,     // all is compared: nothing is a difference that does not read differently
  };

  // `own`: the image, or a snapshot in it, whose content without anything of its own is what `old_below`
  // shows. Null for no backing file. `file` is the image's name, for errors.
  RebaseSource(const Disk& own, std::string file, OpenImage* old_below, OpenImage* new_below, Mode mode);
  // Content is read through `own` itself: for units of which it holds a part.
  void read_own() { reads_own_ = true; }

  [[nodiscard]] std::uint64_t size() const override { return own_.size(); }
  [[nodiscard]] base::Result<CopyRun> run(std::uint64_t at, std::uint64_t most) override;
  [[nodiscard]] base::Result<void> read(std::uint64_t at, base::MutableBytes into) const override;
  [[nodiscard]] std::uint64_t granule() const override { return format::limits::sector; }

  // To be held for any change of the image.
  [[nodiscard]] std::shared_mutex& changing() { return changing_; }

 private:
  [[nodiscard]] base::Result<ChainExtent> shown(OpenImage* below, std::uint64_t at, std::uint64_t most) const;
  [[nodiscard]] std::unexpected<base::Error> about(base::Error error) const;

  const Disk& own_;
  std::string file_;
  OpenImage* old_;
  OpenImage* new_;
  Mode mode_;
  std::size_t shared_depth_ = SIZE_MAX;  // in the old chain: from here down it is the new one, too
  bool reads_own_ = false;
  mutable std::shared_mutex changing_;
};

}  // namespace cowvet::engine
