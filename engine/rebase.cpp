#include "engine/rebase.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/text.hpp"
#include "engine/copy.hpp"
#include "engine/rebase_source.hpp"
#include "storage/naming.hpp"

namespace cowvet::engine {

namespace {

using base::ErrorKind;
using base::GuestOffset;
using Mode = RebaseSource::Mode;

// The image as it is given what it needs. It looks at its old backing file still: what must be zeros over the
// new one is written as zeros even where it reads as zeros now.
class Filled final : public Disk {
 public:
  explicit Filled(Qcow2Disk& disk) : disk_(disk) {}

  [[nodiscard]] std::uint64_t size() const override { return disk_.size(); }
  [[nodiscard]] bool writable() const override { return disk_.writable(); }
  [[nodiscard]] base::Result<void> read(GuestOffset at, base::MutableBytes into) const override {
    return disk_.read(at, into);
  }
  [[nodiscard]] base::Result<Extent> extent(GuestOffset at, std::uint64_t most) const override {
    return disk_.extent(at, most);
  }
  [[nodiscard]] base::Result<void> write(GuestOffset at, base::ConstBytes bytes) override {
    return disk_.write(at, bytes);
  }
  [[nodiscard]] base::Result<void> zero(GuestOffset at, std::uint64_t length, Unmap unmap) override;
  [[nodiscard]] base::Result<void> discard(GuestOffset at, std::uint64_t length) override {
    return disk_.discard(at, length);
  }
  [[nodiscard]] base::Result<void> flush() override { return disk_.flush(); }

 private:
  [[nodiscard]] base::Result<void> write_zeros(std::uint64_t at, std::uint64_t end);
  Qcow2Disk& disk_;
};

base::Result<void> Filled::write_zeros(std::uint64_t at, std::uint64_t end) {
  constexpr std::uint64_t most = 1 << 20;
  const std::vector<std::byte> zeros(static_cast<std::size_t>(std::min(most, end - at)));
  while (at < end) {
    const auto part = base::ConstBytes(zeros).first(
        static_cast<std::size_t>(std::min<std::uint64_t>(zeros.size(), end - at)));
    if (auto done = disk_.write(GuestOffset{at}, part); !done) return done;
    at += part.size();
  }
  return {};
}

base::Result<void> Filled::zero(GuestOffset at, std::uint64_t length, Unmap unmap) {
  const std::uint64_t begin = at.raw();
  const std::uint64_t end = begin + length;
  const std::uint64_t unit = disk_.geometry().subcluster_size();
  const std::uint64_t first = std::min(end, (begin + unit - 1) / unit * unit);
  const std::uint64_t last = end == size() ? end : std::max(first, end / unit * unit);
  if (!disk_.header().has_v3() || first >= last) return write_zeros(begin, end);
  if (begin < first)
    if (auto done = write_zeros(begin, first); !done) return done;
  if (auto done = disk_.zero(GuestOffset{first}, last - first, unmap); !done) return done;
  return last < end ? write_zeros(last, end) : base::Result<void>{};
}

std::unexpected<base::Error> refused(const OpenImage& image, std::string why) {
  return about_image(image, {ErrorKind::usage, std::move(why), 0});
}

ImageFormat requested_format(const std::string& word) {
  return word == "qcow2" ? ImageFormat::qcow2 : word == "raw" ? ImageFormat::raw : ImageFormat::probe;
}

// The new backing file with its chain; null: none.
base::Result<std::unique_ptr<OpenImage>> open_new(OpenImage& image, const RebaseRequest& request,
                                                  const ChainOptions& chain, const OpenFile& open) {
  if (request.backing.empty()) return nullptr;
  auto path = storage::backing_path(image.file(), request.backing);
  if (path.starts_with("file:")) path.erase(0, 5);
  auto opened = open_image(
      path,
      {.format = requested_format(request.format), .secret = chain.secret, .cache_bytes = chain.cache_bytes},
      open);
  if (!opened) {
    auto error = std::move(opened.error());
    error.message = fmt::format("{}: can't be opened as backing file: {}", base::escape(path), error.message);
    return std::unexpected(std::move(error));
  }
  for (OpenImage* layer : layers_of(**opened))
    if (same_layer(*layer, image))
      return refused(image, "would be its own backing file: give it another one");
  return opened;
}

// Whether the image can have such a backing file at all, and what is written into it be compressed.
base::Result<Qcow2Disk*> changeable(OpenImage& image, const RebaseRequest& request) {
  auto* const disk = image.qcow2();
  if (disk == nullptr) return refused(image, "a raw image has no backing file: convert it to qcow2");
  if (!request.backing.empty() && request.format.empty())
    return refused(image, "the backing file's format must be said: add -F qcow2 or -F raw");
  if (const auto takes = disk->takes_backing_file(request.backing, request.format); !takes)
    return about_image(image, takes.error());
  if (!request.compress) return disk;
  if (disk->header().external_data_file())
    return refused(image, "an image with an external data file can't hold compressed clusters: leave -c out");
  if (disk->header().v2.crypt_method != 0)
    return refused(image, "an encrypted image can't hold compressed clusters: leave -c out");
  return disk;
}

class Rebase final : public ChainEdit {
 public:
  Rebase(std::unique_ptr<OpenImage> image, RebaseRequest request, ChainOptions chain, OpenFile open,
         Mode mode)
      : image_(std::move(image)),
        request_(std::move(request)),
        chain_(std::move(chain)),
        open_(std::move(open)),
        mode_(mode) {}

  [[nodiscard]] base::Result<void> prepare();
  [[nodiscard]] base::Result<void> run(const EditOptions& options, base::Progress& progress) override;

 private:
  [[nodiscard]] base::Result<void> find_hazards(OpenImage* below);
  void tell_layers(OpenImage* below);
  [[nodiscard]] base::Result<void> fill(OpenImage& image, OpenImage* below, const EditOptions& options,
                                        base::Progress& progress);

  std::unique_ptr<OpenImage> image_;
  RebaseRequest request_;
  ChainOptions chain_;
  OpenFile open_;
  Mode mode_;
};

base::Result<void> Rebase::prepare() {
  if (const auto disk = changeable(*image_, request_); !disk) return std::unexpected(disk.error());
  const auto below = open_new(*image_, request_, chain_, open_);
  if (!below) return std::unexpected(below.error());
  tell_layers(below->get());
  RebaseSource source(image_->disk(), image_->file(), image_->backing(), below->get(), mode_);
  if (auto added = add_costs(plan_, source, *image_); !added) return added;
  add_header_cost(plan_, *image_);
  return find_hazards(below->get());
}

void Rebase::tell_layers(OpenImage* below) {
  for (OpenImage* layer : layers_of(*image_)) plan_.before.push_back(state_of(*layer));
  plan_.after.push_back(state_of(*image_));
  if (below != nullptr)
    for (OpenImage* layer : layers_of(*below)) plan_.after.push_back(state_of(*layer));
  if (image_->backing() == nullptr) return;
  for (OpenImage* layer : layers_of(*image_->backing())) {
    const auto stays = [&](OpenImage* other) { return same_layer(*layer, *other); };
    if (below == nullptr || std::ranges::none_of(layers_of(*below), stays))
      plan_.unused.push_back(layer->file());
  }
}

// A snapshot that shows what lies below would show something else.
base::Result<void> Rebase::find_hazards(OpenImage* below) {
  for (const auto& snapshot : image_->qcow2()->snapshots()) {
    const auto disk = image_->qcow2()->snapshot_disk(snapshot.id);
    if (!disk) return about_image(*image_, disk.error());
    RebaseSource source(**disk, image_->file(), image_->backing(), below, mode_);
    bool depends = false;
    for (std::uint64_t at = 0; at < source.size() && !depends;) {
      const auto run = source.run(at, source.size() - at);
      if (!run) return std::unexpected(run.error());
      depends = run->kind != CopyRun::Kind::kept;
      at += run->length;
    }
    if (depends)
      plan_.hazards.push_back(
          fmt::format("{}: its snapshot '{}' shows what lies below, and may show something else then: remove "
                      "it first, or convert "
                      "it into an image of its own",
                      base::escape(image_->file()), base::escape(snapshot.name)));
  }
  return {};
}

base::Result<void> Rebase::fill(OpenImage& image, OpenImage* below, const EditOptions& options,
                                base::Progress& progress) {
  auto& disk = *image.qcow2();
  RebaseSource source(disk, image.file(), image.backing(), below, mode_);
  Filled filled(disk);
  CopyTarget target{.disk = filled, .name = image.file(), .reads_zero = below == nullptr};
  if (below != nullptr) target.below = &below->disk();
  target.changing = &source.changing();
  if (request_.compress) {
    target.compressed = &disk;
    if (disk.geometry().extended_l2()) source.read_own();
  }
  return copy_disk(source, target, {.jobs = options.jobs, .rate = options.rate}, progress);
}

base::Result<void> Rebase::run(const EditOptions& options, base::Progress& progress) {
  const auto file = image_->file();
  const ChainOptions again{.format = image_->format(),
                           .writable = true,
                           .secret = chain_.secret,
                           .cache_bytes = chain_.cache_bytes};
  const auto state = image_->device().identity();
  auto opened = open_image(file, again, open_);
  if (!opened) return about_image(*image_, opened.error());
  auto& image = **opened;
  if (image.device().identity() != state)
    return about_image(
        image, {ErrorKind::in_use, "was changed by another program meanwhile: run the command again", 0});
  const auto below = open_new(image, request_, chain_, open_);
  if (!below) return std::unexpected(below.error());
  auto done = fill(image, below->get(), options, progress);
  if (done) {
    done = image.qcow2()->set_backing_file(request_.backing, request_.format);
    if (!done) return about_image(image, done.error());
  }
  const auto closed = image.close();  // what was done is kept, whether it is all or not
  if (!done || closed) return done;
  return about_image(image, closed.error());
}

class Rename final : public ChainEdit {
 public:
  Rename(std::unique_ptr<OpenImage> image, RebaseRequest request, ChainOptions chain, OpenFile open)
      : image_(std::move(image)),
        request_(std::move(request)),
        chain_(std::move(chain)),
        open_(std::move(open)) {
    for (OpenImage* layer : layers_of(*image_)) plan_.before.push_back(state_of(*layer));
    plan_.after.push_back(plan_.before.front());
    plan_.changed.push_back(image_->file());
    add_header_cost(plan_, *image_);
  }

  [[nodiscard]] base::Result<void> run(const EditOptions&, base::Progress&) override {
    auto image = open_image(
        image_->file(),
        {.format = image_->format(), .writable = true, .no_backing = true, .secret = chain_.secret}, open_);
    if (!image) return about_image(*image_, image.error());
    auto done = (*image)->qcow2()->set_backing_file(request_.backing, request_.format);
    if (done) done = (*image)->close();
    return done ? done : about_image(**image, done.error());
  }

 private:
  std::unique_ptr<OpenImage> image_;
  RebaseRequest request_;
  ChainOptions chain_;
  OpenFile open_;
};

// Notes where something would be written.
class Differences final : public Disk {
 public:
  Differences(std::uint64_t size, ShownDifference& found) : size_(size), found_(found) {}

  [[nodiscard]] std::uint64_t size() const override { return size_; }
  [[nodiscard]] bool writable() const override { return true; }
  [[nodiscard]] base::Result<void> read(GuestOffset, base::MutableBytes) const override {
    return unreadable();
  }
  [[nodiscard]] base::Result<Extent> extent(GuestOffset, std::uint64_t) const override {
    return unreadable();
  }
  [[nodiscard]] base::Result<void> write(GuestOffset at, base::ConstBytes bytes) override {
    note(at.raw(), bytes.size());
    return {};
  }
  [[nodiscard]] base::Result<void> zero(GuestOffset at, std::uint64_t length, Unmap) override {
    note(at.raw(), length);
    return {};
  }
  [[nodiscard]] base::Result<void> discard(GuestOffset, std::uint64_t) override { return {}; }
  [[nodiscard]] base::Result<void> flush() override { return {}; }

 private:
  static std::unexpected<base::Error> unreadable() { return base::fail(ErrorKind::usage, "holds nothing"); }
  void note(std::uint64_t at, std::uint64_t length) {
    found_.bytes += length;
    if (end_ != at) ++found_.count;
    if (end_ == at && found_.ranges.size() == found_.count)
      found_.ranges.back().length += length;
    else if (end_ != at && found_.ranges.size() < most_told_ranges)
      found_.ranges.push_back({at, length});
    end_ = at + length;
  }

  std::uint64_t size_;
  ShownDifference& found_;
  std::uint64_t end_ = UINT64_MAX;  // of the last range
};

}  // namespace

base::Result<std::unique_ptr<ChainEdit>> prepare_rebase(std::unique_ptr<OpenImage> image,
                                                        const RebaseRequest& request,
                                                        const ChainOptions& chain, const OpenFile& open) {
  auto rebase = std::make_unique<Rebase>(std::move(image), request, chain, open, Mode::compared);
  if (auto ready = rebase->prepare(); !ready) return std::unexpected(ready.error());
  return rebase;
}

base::Result<std::unique_ptr<ChainEdit>> prepare_pull(std::unique_ptr<OpenImage> image,
                                                      const PullRequest& request, const ChainOptions& chain,
                                                      const OpenFile& open) {
  RebaseRequest rebase{.backing = {}, .format = {}, .compress = request.compress};
  OpenImage* const below = image->backing();
  if (below == nullptr && request.base)
    return about_image(*image,
                       {ErrorKind::not_found, "has no backing file: there is nothing to pull from", 0});
  if (request.base) {
    OpenImage* const base = find_layer(*below, *request.base, open);
    if (base == nullptr)
      return about_image(*image,
                         {ErrorKind::not_found,
                          fmt::format("there is no layer '{}' below it: see cowvet info --backing-chain",
                                      base::escape(*request.base)),
                          0});
    auto stored = request.backing_name;
    for (OpenImage* layer = image.get(); !stored && layer != base; layer = layer->backing())
      if (layer->backing() == base) stored = layer->qcow2()->backing_name();
    auto name = name_for(*image, *base, stored, open);
    if (!name) return std::unexpected(std::move(name.error()));
    rebase.backing = std::move(*name);
    rebase.format = format_word(base->format());
  }
  auto pull = std::make_unique<Rebase>(std::move(image), std::move(rebase), chain, open, Mode::copied);
  if (auto ready = pull->prepare(); !ready) return std::unexpected(ready.error());
  return pull;
}

base::Result<std::unique_ptr<ChainEdit>> prepare_rename(std::unique_ptr<OpenImage> image,
                                                        const RebaseRequest& request,
                                                        const ChainOptions& chain, const OpenFile& open) {
  if (const auto disk = changeable(*image, request); !disk) return std::unexpected(disk.error());
  return std::make_unique<Rename>(std::move(image), request, chain, open);
}

base::Result<std::vector<ShownDifference>> shown_differences(OpenImage& image, const RebaseRequest& request,
                                                             const ChainOptions& chain, const OpenFile& open,
                                                             const EditOptions& options,
                                                             base::Progress& progress) {
  std::vector<ShownDifference> all;
  const auto disk = changeable(image, request);
  if (!disk) return std::unexpected(disk.error());
  const auto below = open_new(image, request, chain, open);
  if (!below) return std::unexpected(below.error());
  const auto look = [&](const Disk& own, const std::string& snapshot) -> base::Result<void> {
    ShownDifference found{.snapshot = snapshot};
    RebaseSource source(own, image.file(), image.backing(), below->get(), Mode::exact);
    Differences differences(own.size(), found);
    CopyTarget target{.disk = differences, .name = image.file()};
    if (*below) target.below = &(*below)->disk();
    if (auto done = copy_disk(
            source, target, {.zero_unit = format::limits::sector, .jobs = options.jobs, .rate = options.rate},
            progress);
        !done)
      return done;
    if (found.count != 0) all.push_back(std::move(found));
    return {};
  };
  if (auto done = look(image.disk(), {}); !done) return std::unexpected(done.error());
  for (const auto& snapshot : (*disk)->snapshots()) {
    const auto own = (*disk)->snapshot_disk(snapshot.id);
    if (!own) return about_image(image, own.error());
    if (auto done = look(**own, snapshot.name); !done) return std::unexpected(done.error());
  }
  return all;
}

}  // namespace cowvet::engine
