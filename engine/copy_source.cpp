#include "engine/copy_source.hpp"

#include <algorithm>

namespace cowvet::engine {

void ChainSource::append(OpenImage& image, std::uint64_t from, std::uint64_t length) {
  const std::uint64_t size = image.disk().size();
  from = std::min(from, size);
  length = std::min(length, size - from);
  for (OpenImage* layer = &image; layer != nullptr; layer = layer->backing())
    if (layer->qcow2() != nullptr) granule_ = std::min(granule_, layer->qcow2()->geometry().cluster_size());
  if (length == 0) return;
  parts_.push_back({&image, from, size_, length});
  size_ += length;
}

void ChainSource::set_reference(OpenImage& below) {
  reference_ = &below;
  if (parts_.empty()) return;
  const auto wanted = below.device().identity();
  std::size_t depth = 1;
  for (OpenImage* layer = parts_.back().image->backing(); layer != nullptr;
       layer = layer->backing(), ++depth) {
    const auto identity = layer->device().identity();
    if (!wanted || !identity || wanted->device != identity->device || wanted->inode != identity->inode)
      continue;
    // The same file read as another format is another disk.
    if (layer->format() == below.format()) shared_depth_ = depth;
    return;
  }
}

const ChainSource::Part& ChainSource::part_at(std::uint64_t at) const {
  const auto next = std::ranges::upper_bound(parts_, at, {}, &Part::begin);
  return *std::prev(next);
}

base::Result<CopyRun> ChainSource::run(std::uint64_t at, std::uint64_t most) {
  const auto& part = part_at(at);
  const std::uint64_t within = at - part.begin;
  const base::GuestOffset place{part.from + within};
  const auto found = chain_extent(*part.image, place, std::min(most, part.length - within), Holes::zero);
  if (!found) return about_image(*part.image, found.error());
  std::uint64_t length = found->extent.length;
  auto kind = found->extent.data && !found->extent.zero ? CopyRun::Kind::data : CopyRun::Kind::zero;
  if (reference_ != nullptr) {
    const auto above = above_reference(*found, place.raw(), length);
    if (!above) return std::unexpected(above.error());
    kind = *above;
  }
  return CopyRun{kind, length};
}

base::Result<CopyRun::Kind> ChainSource::above_reference(const ChainExtent& found, std::uint64_t at,
                                                         std::uint64_t& length) {
  using Kind = CopyRun::Kind;
  const auto& extent = found.extent;
  const auto own = extent.data && !extent.zero ? Kind::data : Kind::zero;
  if (found.depth >= shared_depth_) return Kind::kept;
  // What the layers above the shared one have is written, whether the reference happens to show the same or not.
  if (extent.allocated && (found.depth == 0 || shared_depth_ != SIZE_MAX)) return own;
  const std::uint64_t end = reference_->disk().size();
  if (own == Kind::data) return Kind::compared;
  if (at >= end) return Kind::kept;  // zeros on both sides
  length = std::min(length, end - at);
  const auto below = chain_extent(*reference_, base::GuestOffset{at}, length, Holes::zero);
  if (!below) return about_image(*reference_, below.error());
  length = below->extent.length;
  return below->extent.zero ? Kind::kept : Kind::compared;
}

base::Result<void> ChainSource::read(std::uint64_t at, base::MutableBytes into) const {
  while (!into.empty()) {
    const auto& part = part_at(at);
    const std::uint64_t within = at - part.begin;
    const auto here =
        into.first(static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), part.length - within)));
    if (auto done = part.image->disk().read(base::GuestOffset{part.from + within}, here); !done)
      return about_image(*part.image, done.error());
    at += here.size();
    into = into.subspan(here.size());
  }
  return {};
}

}  // namespace cowvet::engine
