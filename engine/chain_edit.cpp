#include "engine/chain_edit.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/text.hpp"
#include "storage/naming.hpp"

namespace cowvet::engine {

namespace {

using base::ErrorKind;
using Kind = CopyRun::Kind;

bool same_file(const std::optional<storage::Identity>& one, const std::optional<storage::Identity>& other) {
  return one && other && one->device == other->device && one->inode == other->inode;
}

// Counts units of a target that copied runs touch: runs come in order, so that a unit is met again only at once.
class Touched {
 public:
  explicit Touched(std::uint64_t unit) : unit_(unit) {}
  void add(std::uint64_t at, std::uint64_t length) {
    const std::uint64_t first = std::max(at / unit_, next_);
    const std::uint64_t end = (at + length - 1) / unit_ + 1;
    if (end <= first) return;
    count_ += end - first;
    next_ = end;
  }
  [[nodiscard]] std::uint64_t count() const { return count_; }

 private:
  std::uint64_t unit_, next_ = 0, count_ = 0;
};

// The space that a target's files need.
class Space {
 public:
  explicit Space(OpenImage& target)
      : target_(target),
        qcow2_(target.qcow2()),
        unit_(qcow2_ != nullptr ? qcow2_->geometry().cluster_size() : 1),
        data_(unit_),
        tables_(qcow2_ != nullptr ? qcow2_->geometry().span() : UINT64_MAX) {}

  base::Result<void> add(std::uint64_t at, std::uint64_t length, bool zeros) {
    if (qcow2_ == nullptr && zeros) return {};
    tables_.add(at, length);
    if (qcow2_ != nullptr && zeros && qcow2_->header().has_v3()) {
      // What does not fill a cluster may have to be written.
      if (at % unit_ != 0) data_.add(at, 1);
      if ((at + length) % unit_ != 0) data_.add(at + length - 1, 1);
      return {};
    }
    const bool shared = qcow2_ != nullptr && !qcow2_->snapshots().empty();
    for (const std::uint64_t end = at + length; at < end;) {
      if (at >= target_.disk().size()) {
        data_.add(at, end - at);
        break;
      }
      const auto there =
          target_.disk().extent(base::GuestOffset{at}, std::min(end, target_.disk().size()) - at);
      if (!there) return about_image(target_, there.error());
      const bool has_space =
          there->host && (qcow2_ != nullptr ? !shared && !there->compressed : !there->zero);
      if (!has_space) data_.add(at, there->length);
      at += there->length;
    }
    return {};
  }

  void tell(EditPlan& plan, std::uint64_t size) const {
    if (qcow2_ == nullptr) {
      plan.needs.push_back({target_.file(), data_.count()});
      return;
    }
    const auto& g = qcow2_->geometry();
    const auto named = qcow2_->data_file_name();
    const std::uint64_t content = data_.count() * unit_;
    std::uint64_t clusters = tables_.count() + (named ? 0 : data_.count());
    if (const std::uint64_t end = target_.disk().size(); size > end) {
      clusters += g.clusters(g.l1_entries(size) * sizeof(std::uint64_t));
      // What a longer backing file has behind the end must be hidden.
      OpenImage* const below = target_.backing();
      const std::uint64_t shown = below != nullptr ? std::min(size, below->disk().size()) : 0;
      if (shown > end)
        clusters +=
            (shown - end) / g.span() + 2 + (qcow2_->header().has_v3() ? 1 : g.clusters(shown - end) + 1);
    }
    // Refcounts of all these, for which the file may have to get another table of refcount blocks too.
    constexpr std::uint64_t bits = 8;
    const std::uint64_t counted = unit_ * bits >> g.refcount_order();
    if (clusters != 0) clusters += clusters / counted + 3;
    plan.needs.push_back({target_.file(), clusters * unit_});
    if (named) plan.needs.push_back({*named, content});
  }

 private:
  OpenImage& target_;
  Qcow2Disk* qcow2_;
  std::uint64_t unit_;
  Touched data_, tables_;
};

// Whether `name`, stored in `image`, leads to `file`.
bool leads_to(const OpenImage& image, const std::string& name, OpenImage& file, const OpenFile& open) {
  const auto path = storage::backing_path(image.file(), name);
  if (path == file.file()) return true;
  const auto device = open(path, false);
  return device && same_file((*device)->identity(), file.device().identity());
}

}  // namespace

std::vector<OpenImage*> layers_of(OpenImage& top) {
  std::vector<OpenImage*> layers;
  for (OpenImage* layer = &top; layer != nullptr; layer = layer->backing()) layers.push_back(layer);
  return layers;
}

LayerState state_of(OpenImage& layer) { return {layer.file(), layer.format(), layer.disk().size()}; }

bool same_layer(OpenImage& one, OpenImage& other) {
  const auto a = one.device().identity();
  const auto b = other.device().identity();
  return a || b ? same_file(a, b) : one.file() == other.file();
}

OpenImage* find_layer(OpenImage& top, const std::string& name, const OpenFile& open) {
  const auto layers = layers_of(top);
  const auto by_name = std::ranges::find_if(layers, [&](OpenImage* l) { return l->file() == name; });
  if (by_name != layers.end()) return *by_name;
  for (OpenImage* layer : layers)
    if (layer->backing() != nullptr && layer->qcow2_image()->backing_name() == name) return layer->backing();
  const auto device = open(name, false);
  if (!device) return nullptr;
  const auto wanted = (*device)->identity();
  const auto by_file =
      std::ranges::find_if(layers, [&](OpenImage* l) { return same_file(wanted, l->device().identity()); });
  return by_file != layers.end() ? *by_file : nullptr;
}

std::string_view format_word(ImageFormat format) { return format == ImageFormat::raw ? "raw" : "qcow2"; }

void SeenLayers::remember(OpenImage& top, const OpenImage* stop) {
  for (OpenImage* layer : layers_of(top)) {
    if (layer == stop) return;
    seen_.push_back({layer, layer->device().identity()});
  }
}

base::Result<void> SeenLayers::same_still() const {
  for (const auto& seen : seen_)
    if (seen.layer->device().identity() != seen.state)
      return about_image(*seen.layer, {ErrorKind::in_use,
                                       "was changed by another program meanwhile: run the command again", 0});
  return {};
}

base::Result<void> add_costs(EditPlan& plan, CopySource& source, OpenImage& target, std::uint64_t zero_end) {
  constexpr std::uint64_t most = 1ULL << 30;
  Space space(target);
  for (std::uint64_t at = 0; at < source.size();) {
    const auto run = source.run(at, std::min(most, source.size() - at));
    if (!run) return std::unexpected(run.error());
    if (run->kind == Kind::data) plan.copied += run->length;
    if (run->kind == Kind::zero) plan.zeroed += run->length;
    if (run->kind == Kind::compared) plan.compared += run->length;
    if (run->kind != Kind::kept)
      if (auto added = space.add(at, run->length, run->kind == Kind::zero); !added) return added;
    at += run->length;
  }
  if (zero_end > source.size()) {
    plan.zeroed += zero_end - source.size();
    if (auto added = space.add(source.size(), zero_end - source.size(), true); !added) return added;
  }
  space.tell(plan, source.size());
  return {};
}

void add_header_cost(EditPlan& plan, OpenImage& image) {
  const std::uint64_t bytes = image.qcow2()->geometry().cluster_size();
  const auto need = std::ranges::find(plan.needs, image.file(), &SpaceNeed::file);
  if (need != plan.needs.end())
    need->bytes += bytes;
  else
    plan.needs.push_back({image.file(), bytes});
}

base::Result<std::string> name_for(OpenImage& image, OpenImage& file,
                                   const std::optional<std::string>& stored, const OpenFile& open) {
  std::vector<std::string> names;
  if (stored) names.push_back(*stored);
  names.push_back(storage::name_within(image.file(), file.file()));
  if (!file.file().starts_with('/')) names.push_back(storage::name_within("/", file.file()));
  for (const auto& name : names)
    if (leads_to(image, name, file, open)) return name;
  return about_image(image, {ErrorKind::usage,
                             fmt::format("no name leads from it to '{}': give one (--backing-name)",
                                         base::escape(file.file())),
                             0});
}

}  // namespace cowvet::engine
