#include "engine/commit.hpp"

#include <algorithm>
#include <ranges>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "base/text.hpp"
#include "engine/compare.hpp"
#include "engine/copy.hpp"
#include "engine/raw_disk.hpp"
#include "storage/file.hpp"

namespace cowvet::engine {

namespace {

using base::ErrorKind;
using base::GuestOffset;
using Kind = CopyRun::Kind;

// What the layers from `top` down to the one above `base` hold. The base is not looked at: it is being written.
class RangeSource final : public CopySource {
 public:
  RangeSource(OpenImage& top, const OpenImage& base) : top_(top), base_(base) {
    for (OpenImage* layer = &top; layer != &base; layer = layer->backing()) ++depth_;
  }

  [[nodiscard]] std::uint64_t size() const override { return top_.disk().size(); }
  [[nodiscard]] base::Result<CopyRun> run(std::uint64_t at, std::uint64_t most) override {
    const auto found = chain_extent(top_, GuestOffset{at}, most, Holes::zero, &base_);
    if (!found) return about_image(top_, found.error());
    const auto& extent = found->extent;
    const auto kind = found->depth == depth_        ? Kind::kept
                      : extent.data && !extent.zero ? Kind::data
                                                    : Kind::zero;
    return CopyRun{kind, extent.length};
  }
  [[nodiscard]] base::Result<void> read(std::uint64_t at, base::MutableBytes into) const override {
    if (auto done = top_.disk().read(GuestOffset{at}, into); !done) return about_image(top_, done.error());
    return {};
  }
  [[nodiscard]] std::uint64_t granule() const override { return format::limits::sector; }

 private:
  OpenImage& top_;
  const OpenImage& base_;
  std::size_t depth_ = 0;  // of the base
};

// The base as it is written: zeros that it shows already are not written once more.
class Base final : public Disk {
 public:
  explicit Base(OpenImage& image) : image_(image) {}

  [[nodiscard]] std::uint64_t size() const override { return disk().size(); }
  [[nodiscard]] bool writable() const override { return disk().writable(); }
  [[nodiscard]] base::Result<void> read(GuestOffset at, base::MutableBytes into) const override {
    return disk().read(at, into);
  }
  [[nodiscard]] base::Result<Extent> extent(GuestOffset at, std::uint64_t most) const override {
    return disk().extent(at, most);
  }
  [[nodiscard]] base::Result<void> write(GuestOffset at, base::ConstBytes bytes) override {
    return disk().write(at, bytes);
  }
  [[nodiscard]] base::Result<void> zero(GuestOffset at, std::uint64_t length, Unmap unmap) override;
  [[nodiscard]] base::Result<void> discard(GuestOffset at, std::uint64_t length) override {
    return disk().discard(at, length);
  }
  [[nodiscard]] base::Result<void> flush() override { return disk().flush(); }

 private:
  [[nodiscard]] Disk& disk() const { return image_.disk(); }
  OpenImage& image_;
};

base::Result<void> Base::zero(GuestOffset at, std::uint64_t length, Unmap unmap) {
  std::uint64_t begin = at.raw();  // of what is not known to be zeros
  const std::uint64_t end = begin + length;
  for (std::uint64_t now = begin; now < end;) {
    const auto there = chain_extent(image_, GuestOffset{now}, end - now);
    if (!there) return std::unexpected(there.error());
    const std::uint64_t next = now + there->extent.length;
    if (there->extent.zero) {
      if (begin < now)
        if (auto done = disk().zero(GuestOffset{begin}, now - begin, unmap); !done) return done;
      begin = next;
    }
    now = next;
  }
  return begin < end ? disk().zero(GuestOffset{begin}, end - begin, unmap) : base::Result<void>{};
}

// A layer's data, which are about to be cut off, leave the system's memory: letting go of it takes longer
// than cutting. What tables lie between stays, since it is needed for that.
void drop_cached_data(OpenImage& layer) {
  constexpr std::uint64_t least = 1 << 20;  // less is not worth a system call
  const auto& disk = layer.disk();
  std::uint64_t begin = 0, end = 0;  // in the file
  const auto drop = [&] {
    if (end - begin >= least) storage::drop_cached(layer.device(), begin, end - begin);
  };
  for (std::uint64_t at = 0; at < disk.size();) {
    const auto found = disk.extent(GuestOffset{at}, disk.size() - at);
    if (!found) break;
    at += found->length;
    if (!found->host || found->compressed) continue;
    if (const std::uint64_t host = found->host->raw(); host != end) {
      drop();
      begin = end = host;
    }
    end += found->length;
  }
  drop();
}

class Commit final : public ChainEdit {
 public:
  Commit(std::unique_ptr<OpenImage> chain, ChainOptions options, OpenFile open)
      : chain_(std::move(chain)), options_(std::move(options)), open_(std::move(open)) {}

  [[nodiscard]] base::Result<void> prepare(const CommitRequest& request, OpenImage& top, OpenImage& base);
  [[nodiscard]] base::Result<void> run(const EditOptions& options, base::Progress& progress) override;

 private:
  [[nodiscard]] base::Result<void> find_hazards();
  [[nodiscard]] base::Result<bool> changes_below(const Disk& snapshot);
  void tell_layers();
  [[nodiscard]] base::Result<std::unique_ptr<OpenImage>> open_base(base::Progress& progress) const;
  [[nodiscard]] base::Result<void> fill(OpenImage& base, const EditOptions& options,
                                        base::Progress& progress);
  [[nodiscard]] ChainOptions alone(const OpenImage& layer) const;

  std::unique_ptr<OpenImage> chain_;
  ChainOptions options_;
  OpenFile open_;
  SeenLayers seen_;
  OpenImage* above_ = nullptr;  // names the base afterwards; null: the top is the active layer
  OpenImage* top_ = nullptr;
  OpenImage* base_ = nullptr;
  std::uint64_t hidden_end_ = 0;  // so far the layer above, or a snapshot in it, looks down
  bool empties_ = false;
  std::string backing_name_;
};

// A layer opened for writing without what lies below it.
ChainOptions Commit::alone(const OpenImage& layer) const {
  return {.format = layer.format(),
          .writable = true,
          .no_backing = true,
          .secret = options_.secret,
          .cache_bytes = options_.cache_bytes};
}

base::Result<void> Commit::prepare(const CommitRequest& request, OpenImage& top, OpenImage& base) {
  top_ = &top;
  base_ = &base;
  for (OpenImage* layer : layers_of(*chain_))
    if (layer->backing() == &top) above_ = layer;
  if (above_ != nullptr) {
    OpenImage* lowest = &top;
    while (lowest->backing() != &base) lowest = lowest->backing();
    const auto stored = request.backing_name ? request.backing_name : lowest->qcow2()->backing_name();
    auto name = name_for(*above_, base, stored, open_);
    if (!name) return std::unexpected(std::move(name.error()));
    if (request.backing_name && *name != *request.backing_name)
      return about_image(*above_,
                         {ErrorKind::usage,
                          fmt::format("the name '{}' does not lead from it to '{}': give another one",
                                      base::escape(*request.backing_name), base::escape(base.file())),
                          0});
    backing_name_ = std::move(*name);
    const auto takes = above_->qcow2()->takes_backing_file(backing_name_, format_word(base.format()));
    if (!takes) return about_image(*above_, takes.error());
    hidden_end_ = above_->disk().size();
    for (const auto& snapshot : above_->qcow2()->snapshots())
      hidden_end_ = std::max(hidden_end_, snapshot.disk_size);
  } else {
    empties_ = !request.keep && top.backing() == &base;
  }
  if (const std::uint64_t size = top.disk().size(); base.qcow2() != nullptr && size > base.disk().size())
    if (const auto takes = base.qcow2()->takes_size(size); !takes) return about_image(base, takes.error());
  seen_.remember(*chain_, base_);
  tell_layers();
  RangeSource source(top, base);
  if (auto added = add_costs(plan_, source, base, std::min(hidden_end_, base.disk().size())); !added)
    return added;
  if (above_ != nullptr) add_header_cost(plan_, *above_);
  return find_hazards();
}

void Commit::tell_layers() {
  const std::uint64_t grown = std::max(top_->disk().size(), base_->disk().size());
  bool merged = false;
  for (OpenImage* layer : layers_of(*chain_)) {
    plan_.before.push_back(state_of(*layer));
    if (layer == top_) merged = true;
    if (layer == base_) merged = false;
    if (merged && (above_ != nullptr || layer != top_)) plan_.invalid.push_back(layer->file());
    if (merged && above_ != nullptr) {
      plan_.unused.push_back(layer->file());
      continue;
    }
    plan_.after.push_back(state_of(*layer));
    if (layer == base_) plan_.after.back().size = grown;
  }
  plan_.changed.push_back(base_->file());
}

// Whether the snapshot, in one of the merged layers, looks at what will be written.
base::Result<bool> Commit::changes_below(const Disk& snapshot) {
  RangeSource source(*top_, *base_);
  const std::uint64_t end = std::min(source.size(), snapshot.size());
  for (std::uint64_t at = 0; at < end;) {
    const auto run = source.run(at, end - at);
    if (!run) return std::unexpected(run.error());
    const std::uint64_t stop = at + run->length;
    while (run->kind != Kind::kept && at < stop) {
      const auto own = snapshot.extent(GuestOffset{at}, stop - at);
      if (!own) return std::unexpected(own.error());
      if (!own->allocated) return true;
      at += own->length;
    }
    at = stop;
  }
  return false;
}

base::Result<void> Commit::find_hazards() {
  for (OpenImage* layer = top_; layer != base_; layer = layer->backing())
    for (const auto& snapshot : layer->qcow2()->snapshots()) {
      const auto disk = layer->qcow2()->snapshot_disk(snapshot.id);
      if (!disk) return about_image(*layer, disk.error());
      const auto changes = changes_below(**disk);
      if (!changes) return std::unexpected(changes.error());
      if (*changes)
        plan_.hazards.push_back(fmt::format(
            "{}: its snapshot '{}' shows what lies below, which changes: remove it first, or convert it "
            "into an image of its own",
            base::escape(layer->file()), base::escape(snapshot.name)));
    }
  return {};
}

// The base for writing, as long as the top.
base::Result<std::unique_ptr<OpenImage>> Commit::open_base(base::Progress& progress) const {
  const ChainOptions options{.format = base_->format(),
                             .writable = true,
                             .secret = options_.secret,
                             .cache_bytes = options_.cache_bytes};
  const auto opened = [&] { return open_image(base_->file(), options, open_); };
  auto base = opened();
  if (!base) return about_image(*base_, base.error());
  const std::uint64_t size = top_->disk().size();
  if ((*base)->disk().size() >= size) return base;
  auto* const qcow2 = (*base)->qcow2();
  auto grown = qcow2 != nullptr ? qcow2->resize(size)
                                : resize_raw((*base)->device(), size, Preallocation::off, progress);
  if (!grown) return about_image(*base_, grown.error());
  if (qcow2 != nullptr) return base;
  base->reset();  // its lock, too
  base = opened();
  if (!base) return about_image(*base_, base.error());
  return base;
}

base::Result<void> Commit::fill(OpenImage& base, const EditOptions& options, base::Progress& progress) {
  Base target(base);
  const std::uint64_t end = top_->disk().size();
  const std::uint64_t hidden = std::min(hidden_end_, base_->disk().size());
  if (hidden > end)
    if (auto done = target.zero(GuestOffset{end}, hidden - end, Unmap::yes); !done)
      return about_image(base, done.error());
  RangeSource source(*top_, *base_);
  return copy_disk(source, {.disk = target, .name = base.file()},
                   {.jobs = options.jobs, .rate = options.rate}, progress);
}

base::Result<void> Commit::run(const EditOptions& options, base::Progress& progress) {
  auto base = open_base(progress);
  if (!base) return std::unexpected(base.error());
  std::unique_ptr<OpenImage> above;
  if (above_ != nullptr) {
    auto opened = open_image(above_->file(), alone(*above_), open_);
    if (!opened) return about_image(*above_, opened.error());
    above = std::move(*opened);
  }
  // From here on nobody can write to them.
  if (auto same = seen_.same_still(); !same) return same;
  const auto filled = fill(**base, options, progress);
  const auto closed = [&] {
    // While the base becomes durable there is little else to do.
    std::jthread aside;
    if (filled && empties_ && options.jobs != 1 && top_->data_file() == nullptr)
      aside = std::jthread([&] { drop_cached_data(*top_); });
    return (*base)->close();  // what was done is kept, whether it is all or not
  }();
  if (!filled) return filled;
  if (!closed) return about_image(**base, closed.error());
  if (above) {
    auto named = above->qcow2()->set_backing_file(backing_name_, format_word(base_->format()));
    if (named) named = above->close();
    if (!named) return about_image(*above_, named.error());
  }
  if (!empties_) return {};
  auto top = open_image(top_->file(), alone(*top_), open_);
  if (!top) return about_image(*top_, top.error());
  auto emptied = (*top)->qcow2()->give_up_content();
  if (emptied) emptied = (*top)->close();
  if (!emptied) return about_image(*top_, emptied.error());
  return {};
}

// The top is no layer of the chain, since it was merged before. That is looked at, and nothing is done.
class Merged final : public ChainEdit {
 public:
  Merged(std::unique_ptr<OpenImage> chain, std::unique_ptr<OpenImage> top, OpenImage& base)
      : chain_(std::move(chain)), top_(std::move(top)), base_(base) {
    for (OpenImage* layer : layers_of(*chain_)) plan_.before.push_back(state_of(*layer));
    plan_.after = plan_.before;
    for (OpenImage* layer = top_.get(); !same_layer(*layer, base_); layer = layer->backing()) {
      plan_.unused.push_back(layer->file());
      plan_.invalid.push_back(layer->file());
    }
    plan_.compared = base_.disk().size();
  }

  [[nodiscard]] base::Result<void> run(const EditOptions& options, base::Progress& progress) override {
    const auto same = compare(*top_, base_, {.jobs = std::max(1U, options.jobs)}, progress);
    if (!same) return about_image(same.error().second ? base_ : *top_, same.error().error);
    if (same->difference == Comparison::Difference::none || same->common_part_same) return {};
    return about_image(
        *chain_,
        {ErrorKind::not_found,
         fmt::format("'{}' is no layer of its chain, and '{}' does not show the same: see cowvet info "
                     "--backing-chain",
                     base::escape(top_->file()), base::escape(base_.file())),
         0});
  }

 private:
  std::unique_ptr<OpenImage> chain_, top_;
  OpenImage& base_;
};

// The chain of a top that may have been merged already, when its base is the chain's, below a layer of it.
base::Result<std::unique_ptr<ChainEdit>> merged_before(std::unique_ptr<OpenImage> chain,
                                                       const CommitRequest& request,
                                                       const ChainOptions& options, const OpenFile& open) {
  auto top = open_image(*request.top, {.secret = options.secret, .cache_bytes = options.cache_bytes}, open);
  OpenImage* base = nullptr;
  if (top && (*top)->backing() != nullptr)
    base = request.base ? find_layer(**top, *request.base, open) : (*top)->backing();
  if (base != nullptr) {
    const auto layers = layers_of(*chain);
    const auto ours =
        std::ranges::find_if(layers, [&](OpenImage* layer) { return same_layer(*layer, *base); });
    if (base != top->get() && ours != layers.end() && ours != layers.begin())
      return std::make_unique<Merged>(std::move(chain), std::move(*top), **ours);
  }
  return about_image(*chain,
                     {ErrorKind::not_found,
                      fmt::format("there is no layer '{}' in its chain: see cowvet info --backing-chain",
                                  base::escape(*request.top)),
                      0});
}

}  // namespace

base::Result<std::unique_ptr<ChainEdit>> prepare_commit(std::unique_ptr<OpenImage> active,
                                                        const CommitRequest& request,
                                                        const ChainOptions& chain, const OpenFile& open) {
  OpenImage* const top = request.top ? find_layer(*active, *request.top, open) : active.get();
  if (top == nullptr) return merged_before(std::move(active), request, chain, open);
  OpenImage* base = top->backing();
  if (base == nullptr)
    return about_image(*top,
                       {ErrorKind::not_found, "has no backing file: there is nothing to commit into", 0});
  if (request.base) base = find_layer(*base, *request.base, open);
  if (base == nullptr)
    return about_image(*top, {ErrorKind::not_found,
                              fmt::format("there is no layer '{}' below it: see cowvet info --backing-chain",
                                          base::escape(*request.base)),
                              0});
  auto commit = std::make_unique<Commit>(std::move(active), chain, open);
  if (auto ready = commit->prepare(request, *top, *base); !ready) return std::unexpected(ready.error());
  return commit;
}

}  // namespace cowvet::engine
