#include "engine/rebase_source.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/text.hpp"
#include "engine/chain_edit.hpp"

namespace cowvet::engine {

using Kind = CopyRun::Kind;

RebaseSource::RebaseSource(const Disk& own, std::string file, OpenImage* old_below, OpenImage* new_below,
                           Mode mode)
    : own_(own), file_(std::move(file)), old_(old_below), new_(new_below), mode_(mode) {
  if (old_ == nullptr || new_ == nullptr) return;
  const auto layers = layers_of(*old_);
  // The same file read as another format is another disk.
  for (std::size_t depth = 0; depth < layers.size(); ++depth)
    if (same_layer(*layers[depth], *new_) && layers[depth]->format() == new_->format()) shared_depth_ = depth;
}

std::unexpected<base::Error> RebaseSource::about(base::Error error) const {
  error.message = fmt::format("{}: {}", base::escape(file_), error.message);
  return std::unexpected(std::move(error));
}

base::Result<ChainExtent> RebaseSource::shown(OpenImage* below, std::uint64_t at, std::uint64_t most) const {
  const std::uint64_t end = below != nullptr ? below->disk().size() : 0;
  if (at >= end) return ChainExtent{Extent{.length = most, .zero = true}};
  auto found = chain_extent(*below, base::GuestOffset{at}, std::min(most, end - at), Holes::zero);
  if (!found) return about_image(*below, found.error());
  return found;
}

base::Result<CopyRun> RebaseSource::run(std::uint64_t at, std::uint64_t most) {
  {
    const std::shared_lock lock(changing_);
    const auto own = own_.extent(base::GuestOffset{at}, most);
    if (!own) return about(own.error());
    most = own->length;
    if (own->allocated) return CopyRun{Kind::kept, most};
  }
  const auto now = shown(old_, at, most);
  if (!now) return std::unexpected(now.error());
  most = now->extent.length;
  const bool inside = old_ != nullptr && at < old_->disk().size();
  if (inside && now->depth >= shared_depth_) return CopyRun{Kind::kept, most};
  if (!now->extent.zero) {
    // Without a backing file nothing is there to be compared, and zeros need not be written.
    const bool copied = new_ == nullptr || (mode_ == Mode::copied && shared_depth_ != SIZE_MAX);
    return CopyRun{copied && mode_ != Mode::exact ? Kind::data : Kind::compared, most};
  }
  const auto then = shown(new_, at, most);
  if (!then) return std::unexpected(then.error());
  most = then->extent.length;
  if (then->extent.zero) return CopyRun{Kind::kept, most};
  return CopyRun{mode_ == Mode::exact ? Kind::compared : Kind::zero, most};
}

base::Result<void> RebaseSource::read(std::uint64_t at, base::MutableBytes into) const {
  if (reads_own_) {
    const std::shared_lock lock(changing_);
    if (auto done = own_.read(base::GuestOffset{at}, into); !done) return about(done.error());
    return {};
  }
  const std::uint64_t end = old_ != nullptr ? old_->disk().size() : 0;
  const auto there =
      into.first(static_cast<std::size_t>(at < end ? std::min<std::uint64_t>(end - at, into.size()) : 0));
  std::ranges::fill(into.subspan(there.size()), std::byte{0});
  if (there.empty()) return {};
  if (auto done = old_->disk().read(base::GuestOffset{at}, there); !done)
    return about_image(*old_, done.error());
  return {};
}

}  // namespace cowvet::engine
