// What the model says of whole trees of images: overlays, commit, rebase, pull.
#include <algorithm>
#include <ranges>

#include "format/geometry.hpp"
#include "model/model.hpp"

namespace cowvet::model {

namespace {

constexpr std::ptrdiff_t most_valid = 7;  // images
constexpr std::size_t most_made = 40;
constexpr std::size_t deepest = 5;
using format::limits::sector;

// Zeros behind the end.
std::vector<std::byte> cut(const std::vector<std::byte>& content, std::uint64_t size) {
  auto shown = content;
  shown.resize(size);
  return shown;
}

// Everything may have been recorded, whether it changed or not.
void perhaps_mark(Layer& layer) {
  for (auto& bitmap : layer.bitmaps)
    if (bitmap.enabled) bitmap.perhaps.assign(bitmap.marked.size(), true);
}

// The base of a commit shows `content`, of which the first `written` bytes may have been written.
void show(Layer& base, std::vector<std::byte> content, std::uint64_t written) {
  const auto before = cut(base.disk.content, content.size());
  base.disk.content = std::move(content);
  if (base.raw) return;
  const std::uint64_t piece = base.setting.piece();
  base.disk.held.resize((base.size() + piece - 1) / piece);
  for (std::size_t i = 0; i * piece < written; ++i) base.disk.held[i] = Held::unknown;
  for (auto& bitmap : base.bitmaps) {
    bitmap.marked.resize((base.size() + bitmap.granularity - 1) / bitmap.granularity);
    bitmap.perhaps.resize(bitmap.marked.size());
    if (!bitmap.enabled) continue;
    for (std::uint64_t at = 0; at < written; ++at) {
      if (before[at] != base.disk.content[at]) bitmap.marked[at / bitmap.granularity] = true;
      bitmap.perhaps[at / bitmap.granularity] = true;
    }
  }
}

}  // namespace

std::vector<std::size_t> Model::chain_of(std::size_t image) const {
  std::vector<std::size_t> chain{image};
  while (layers_[chain.back()].below) chain.push_back(*layers_[chain.back()].below);
  return chain;
}

bool Model::lies_below(std::size_t image, std::size_t other) const {
  const auto chain = chain_of(other);
  return std::ranges::find(chain | std::views::drop(1), image) != chain.end();
}

std::vector<std::size_t> Model::overlays_of(std::size_t image) const {
  std::vector<std::size_t> overlays;
  for (std::size_t i = 0; i < layers_.size(); ++i)
    if (layers_[i].valid && layers_[i].below == image) overlays.push_back(i);
  return overlays;
}

std::vector<std::size_t> Model::moved_by(const Operation& operation) const {
  const auto chain = chain_of(used_);
  if (std::holds_alternative<Rebase>(operation)) return {used_};
  if (const auto* o = std::get_if<Pull>(&operation)) return {chain[o->image]};
  if (const auto* o = std::get_if<Commit>(&operation); o != nullptr && o->top == 0 && o->base == 1)
    return {used_};
  if (const auto* o = std::get_if<RemoveLayer>(&operation); o != nullptr && o->upwards)
    return overlays_of(chain[o->which]);
  return {};
}

void Model::learn(std::size_t image, std::optional<std::size_t> snapshot, const std::vector<Held>& held) {
  Layer& layer = layers_[image];
  auto& known = snapshot ? layer.snapshots[*snapshot].state.held : layer.disk.held;
  for (std::size_t i = 0; i < known.size(); ++i)
    if (known[i] == Held::unknown) known[i] = held[i];
}

std::vector<std::byte> Model::shown_below(std::size_t image, std::optional<std::size_t> below) const {
  return cut(below ? layers_[*below].disk.content : std::vector<std::byte>{}, layers_[image].size());
}

void Model::stand_on(std::size_t image, std::optional<std::size_t> below) {
  Layer& layer = layers_[image];
  layer.below = below;
  layer.over_backing = below.has_value();
  layer.backed = below ? layers_[*below].size() : 0;
}

void Model::show_through_snapshots(std::size_t image, std::optional<std::size_t> below) {
  Layer& layer = layers_[image];
  for (auto& snapshot : layer.snapshots) {
    auto& state = snapshot.state;
    const auto shown =
        cut(below ? layers_[*below].disk.content : std::vector<std::byte>{}, state.content.size());
    for (std::size_t at = 0; at < shown.size(); ++at)
      if (state.held[at / layer.setting.piece()] == Held::no) state.content[at] = shown[at];
  }
}

std::size_t Model::valid_near(std::uint32_t number) const {
  std::size_t image = number % layers_.size();
  while (!layers_[image].valid) image = (image + 1) % layers_.size();  // the one in use is valid
  return image;
}

std::optional<Operation> Model::fitted_overlay(AddOverlay o) const {
  if (std::ranges::count_if(layers_, &Layer::valid) >= most_valid || layers_.size() >= most_made) return {};
  o.setting = model::fitted(o.setting, true);
  if (o.over != 0) o.over = static_cast<std::uint32_t>(valid_near(o.over - 1) + 1);
  if (chain_of(o.over == 0 ? used_ : o.over - 1).size() >= deepest) return {};
  return o;
}

std::optional<Operation> Model::fitted_use(Use o) const {
  // Nothing valid looks at it, not even through a layer that is valid no longer.
  const auto usable = [&](std::size_t image) {
    if (!layers_[image].valid || layers_[image].raw) return false;
    for (std::size_t other = 0; other < layers_.size(); ++other)
      if (layers_[other].valid && lies_below(image, other)) return false;
    return true;
  };
  std::size_t image = o.which % layers_.size();
  while (!usable(image)) image = (image + 1) % layers_.size();  // the one in use is
  if (image == used_) return {};
  o.which = static_cast<std::uint32_t>(image);
  return o;
}

bool Model::can_commit(const std::vector<std::size_t>& chain, std::size_t top, std::size_t base) const {
  const Layer& from = layers_[chain[top]];
  const Layer& into = layers_[chain[base]];
  if (!from.valid || !into.valid) return false;
  // Its snapshots show what lies below, which changes: what they show through layers that are valid no longer
  // is too much to say.
  if (top == 0 && !from.snapshots.empty() && (scope_ != Scope::all || base != 1)) return false;
  // Where the snapshots' sizes can't be noted, they would be lost.
  return from.size() <= into.size() || into.raw || into.setting.version != 2 || into.snapshots.empty();
}

std::optional<Operation> Model::fitted_commit(Commit o) const {
  const auto chain = chain_of(used_);
  if (chain.size() < 2) return {};
  o.base = (std::max(o.base, 1U) - 1) % static_cast<std::uint32_t>(chain.size() - 1) + 1;
  o.top %= o.base;
  if (!can_commit(chain, o.top, o.base)) return {};
  return o;
}

std::optional<Operation> Model::fitted_rebase(Rebase o) const {
  const Layer& layer = top();
  // A raw data file leaves no room for what lies below.
  if (layer.setting.data_file == DataFile::raw || asks(layer)) return {};
  if (o.onto == 0) return o;
  const std::size_t onto = valid_near(o.onto - 1);
  if (onto == used_ || lies_below(used_, onto) || chain_of(onto).size() >= deepest) return {};
  o.onto = static_cast<std::uint32_t>(onto + 1);
  return o;
}

std::optional<Operation> Model::fitted_pull(Pull o) const {
  const auto chain = chain_of(used_);
  o.image %= static_cast<std::uint32_t>(chain.size());
  o.base %= static_cast<std::uint32_t>(chain.size());
  if (o.base <= o.image) o.base = 0;
  const Layer& image = layers_[chain[o.image]];
  if (!image.valid || !image.below || asks(image)) return {};
  if (o.base != 0 && !layers_[chain[o.base]].valid) return {};
  return o;
}

std::optional<Operation> Model::fitted_removal(RemoveLayer o) const {
  const auto chain = chain_of(used_);
  if (chain.size() < 2) return {};
  o.which = (std::max(o.which, 1U) - 1) % static_cast<std::uint32_t>(chain.size() - 1) + 1;
  const std::size_t image = chain[o.which];
  const Layer& layer = layers_[image];
  if (!layer.valid || layer.raw || (layer.below && !layers_[*layer.below].valid)) return {};
  // An image that is no more than a file below another one still needs it.
  for (const Layer& other : layers_)
    if (!other.valid && other.below == image) return {};
  if (!o.upwards)
    return layer.below && can_commit(chain, o.which, o.which + 1) ? std::optional<Operation>(o)
                                                                  : std::nullopt;
  for (const auto overlay : overlays_of(image))
    if (asks(layers_[overlay])) return {};
  return o;
}

// Merges chain[top] and what lies between into chain[base].
void Model::commit(const std::vector<std::size_t>& chain, std::size_t top, std::size_t base) {
  const std::size_t from = chain[top];
  const std::size_t into = chain[base];
  // Through this one the merged content is seen afterwards.
  const bool has_above = top != 0;
  const std::size_t stays = has_above ? chain[top - 1] : from;
  const auto& merged = layers_[from].disk.content;
  auto content = cut(layers_[into].disk.content, std::max(layers_[into].size(), layers_[from].size()));
  // Behind the top's end zeros were seen, as far as anybody looks.
  std::uint64_t looks = merged.size();
  if (has_above) {
    looks = std::max(looks, layers_[stays].size());
    for (const auto& snapshot : layers_[stays].snapshots)
      looks = std::max<std::uint64_t>(looks, snapshot.state.content.size());
  }
  looks = std::min<std::uint64_t>(looks, content.size());
  std::ranges::copy(cut(merged, looks), content.begin());
  show(layers_[into], std::move(content), looks);
  // All else that stands on the base shows something else now.
  for (std::size_t i = 0; i < layers_.size(); ++i)
    if (lies_below(into, i) && i != stays && !lies_below(stays, i)) layers_[i].valid = false;
  if (has_above) {
    stand_on(stays, into);
  } else if (base == top + 1) {
    stand_on(from, into);
    show_through_snapshots(from, into);
    std::ranges::fill(layers_[from].disk.held, Held::no);
  }
}

void Model::rebase(std::size_t image, std::optional<std::size_t> onto) {
  Layer& layer = layers_[image];
  const auto old_below = shown_below(image, layer.below);
  const auto new_below = shown_below(image, onto);
  const std::uint64_t piece = layer.setting.piece();
  // What is the same may be copied with what is not.
  if (layer.below != onto)
    for (auto& held : layer.disk.held)
      if (held == Held::no) held = Held::unknown;
  for (std::uint64_t at = 0; at < layer.size(); ++at)
    if (old_below[at] != new_below[at]) layer.disk.held[at / piece] = Held::yes;
  perhaps_mark(layer);
  stand_on(image, onto);
  show_through_snapshots(image, onto);
}

void Model::rename(std::size_t image, std::optional<std::size_t> onto) {
  Layer& layer = layers_[image];
  const auto below = shown_below(image, onto);
  const std::uint64_t piece = layer.setting.piece();
  for (std::uint64_t at = 0; at < layer.size(); ++at)
    if (layer.disk.held[at / piece] == Held::no) layer.disk.content[at] = below[at];
  for (std::size_t i = 0; i < layers_.size(); ++i)
    if (lies_below(image, i)) layers_[i].valid = false;
  stand_on(image, onto);
  show_through_snapshots(image, onto);
}

void Model::pull(std::size_t image, std::optional<std::size_t> base) {
  Layer& layer = layers_[image];
  const auto new_below = shown_below(image, base);
  const std::uint64_t piece = layer.setting.piece();
  // What layers between hold is copied, though it may be known to be the same.
  for (std::uint64_t at = 0; at < layer.size(); at += sector) {
    auto& held = layer.disk.held[at / piece];
    for (auto between = layer.below; held == Held::no && between != base; between = layers_[*between].below) {
      const Layer& l = layers_[*between];
      if (l.raw || at >= l.size() || l.disk.held[at / l.setting.piece()] != Held::no) held = Held::unknown;
    }
  }
  for (std::uint64_t at = 0; at < layer.size(); ++at)
    if (layer.disk.held[at / piece] != Held::yes && layer.disk.content[at] != new_below[at])
      layer.disk.held[at / piece] = Held::yes;
  perhaps_mark(layer);
  stand_on(image, base);
  show_through_snapshots(image, base);
}

void Model::remove_layer(const RemoveLayer& o) {
  const auto chain = chain_of(used_);
  const std::size_t image = chain[o.which];
  if (o.upwards)
    for (const auto overlay : overlays_of(image)) pull(overlay, layers_[image].below);
  else
    commit(chain, o.which, o.which + 1);
  layers_[image].valid = false;
}

}  // namespace cowvet::model
