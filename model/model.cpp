#include "model/model.hpp"

#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "format/geometry.hpp"
#include "model/overloaded.hpp"

namespace cowvet::model {

namespace {

using format::limits::sector;
constexpr std::size_t most_snapshots = 3;
constexpr std::size_t most_bitmaps = 2;

constexpr std::uint64_t most_bits = 128;  // of a bitmap when it is made

std::uint64_t up(std::uint64_t a, std::uint64_t unit) { return (a + unit - 1) / unit * unit; }
std::uint64_t down(std::uint64_t a, std::uint64_t unit) { return a / unit * unit; }
std::ptrdiff_t steps(std::uint64_t a) { return static_cast<std::ptrdiff_t>(a); }

Range inside(Range range, std::uint64_t size) {
  range.at %= size;
  range.length = std::clamp<std::uint64_t>(range.length, 1, size - range.at);
  return range;
}

// The clusters that lie in the range whole; the disk may end within its last one.
Range whole_clusters(const Layer& layer, const Range& range) {
  const std::uint64_t unit = layer.setting.cluster_size;
  const std::uint64_t at = up(range.at, unit);
  const std::uint64_t end = range.end() == layer.size() ? range.end() : down(range.end(), unit);
  return {at, end > at ? end - at : 0};
}

void put(Layer& layer, const Range& range, const std::vector<std::byte>& bytes) {
  std::ranges::copy(bytes, layer.disk.content.begin() + steps(range.at));
}

void put_zeros(Layer& layer, const Range& range) {
  std::fill_n(layer.disk.content.begin() + steps(range.at), steps(range.length), std::byte{0});
}

// Pieces that touch the range become held; `unit` says what is allocated at once.
void hold(Layer& layer, const Range& range, std::uint64_t unit) {
  const std::uint64_t piece = layer.setting.piece();
  const std::uint64_t end = std::min(up(range.end(), unit), layer.size());
  for (std::uint64_t at = down(range.at, unit); at < end; at += piece)
    layer.disk.held[at / piece] = Held::yes;
}

// What was not held need not be so, and need not be otherwise.
void perhaps_hold(Layer& layer, std::uint64_t at) {
  auto& held = layer.disk.held[at / layer.setting.piece()];
  if (held == Held::no) held = Held::unknown;
}

void mark(Layer& layer, const Range& range) {
  for (auto& bitmap : layer.bitmaps) {
    if (!bitmap.enabled || range.length == 0) continue;
    bitmap.changed = true;
    for (std::uint64_t i = range.at / bitmap.granularity; i * bitmap.granularity < range.end(); ++i)
      bitmap.marked[i] = true;
  }
}

void set_size(Layer& layer, std::uint64_t size) {
  layer.disk.content.resize(size);
  layer.disk.held.resize(up(size, layer.setting.piece()) / layer.setting.piece(), Held::unknown);
}

void follow_size(Layer& layer) {
  for (auto& bitmap : layer.bitmaps) {
    bitmap.changed = true;
    bitmap.marked.resize(up(layer.size(), bitmap.granularity) / bitmap.granularity);
    bitmap.perhaps.resize(bitmap.marked.size());
  }
}

void zero(Layer& layer, const Zero& o) {
  put_zeros(layer, o.range);
  mark(layer, o.range);
  const std::uint64_t piece = layer.setting.piece();
  for (std::uint64_t at = down(o.range.at, piece); at < o.range.end(); at += piece) {
    const bool whole = at >= o.range.at && std::min(at + piece, layer.size()) <= o.range.end();
    auto& held = layer.disk.held[at / piece];
    // Version 2 can't say that a cluster is zero: it may be given up where nothing lies below.
    if (layer.setting.version == 2)
      held = Held::unknown;
    else if (whole)
      held = Held::yes;
    else
      perhaps_hold(layer, at);  // what reads as zeros already may stay as it is
  }
}

void discard(Layer& layer, const Discard& o) {
  mark(layer, o.range);
  const Range range = whole_clusters(layer, o.range);
  put_zeros(layer, range);
  const std::uint64_t piece = layer.setting.piece();
  for (std::uint64_t at = range.at; at < range.end(); at += piece) {
    const bool hides = layer.setting.version == 3 && down(at, layer.setting.cluster_size) < layer.backed;
    layer.disk.held[at / piece] = hides ? Held::yes : Held::unknown;
  }
}

// A bitmap that can't be trusted can only be removed.
template <class T>
std::optional<Operation> of_trusted_bitmap(const Layer& layer, T o) {
  if (layer.bitmaps.empty()) return {};
  o.which %= static_cast<std::uint32_t>(layer.bitmaps.size());
  if (!layer.bitmaps[o.which].trusted) return {};
  return o;
}

}  // namespace

std::string Layer::next_snapshot() const { return fmt::format("s{}", named + 1); }
std::string Layer::next_bitmap() const { return fmt::format("b{}", named + 1); }

Model::Model(std::uint64_t raw_base, const Setting& first, Scope scope) : scope_(scope) {
  raw_base = std::min(up(raw_base, sector), largest_disk(first));
  std::optional<std::size_t> below;
  if (raw_base != 0) {
    Layer base;
    base.name = raw_base_name;
    base.raw = true;
    base.disk.content = filled(raw_base_fill, raw_base);
    layers_.push_back(std::move(base));
    below = 0;
  }
  const auto setting = model::fitted(first, below.has_value());
  add_layer(scope == Scope::peer ? comparable(setting).setting : setting, below);
}

std::string Model::next_image() const {
  const std::size_t raw = !layers_.empty() && layers_.front().raw ? 1 : 0;
  return fmt::format("image{}.qcow2", layers_.size() - raw);
}
std::string Model::next_data_file() const { return next_image() + ".data"; }

void Model::add_layer(const Setting& setting, std::optional<std::size_t> below) {
  Layer layer;
  layer.name = next_image();
  if (setting.data_file != DataFile::none) layer.data_file = next_data_file();
  layer.setting = setting;
  const bool mapped =
      setting.preallocation != engine::Preallocation::off || setting.data_file == DataFile::raw;
  set_size(layer, setting.size);
  std::ranges::fill(layer.disk.held, mapped ? Held::unknown : Held::no);
  layers_.push_back(std::move(layer));
  used_ = layers_.size() - 1;
  stand_on(used_, below);
  used_layer().disk.content = shown_below(used_, below);
}

namespace {

// Of what differs, only what is no matter of QEMU's; there are no words for the keys of backing files.
std::optional<Operation> of_verbs(const Operation& possible, const Comparable& compared, const Model& model) {
  const auto encrypted = [](const Layer& layer) {
    return layer.setting.encryption != format::CryptMethod::none;
  };
  if (on_tree(possible) && std::ranges::any_of(model.layers(), encrypted)) return {};
  const bool ours = compared.met == Known::ended_without_closing || compared.met == Known::narrow_refcounts ||
                    compared.met == Known::held_or_not;
  return ours ? compared.operation : possible;
}

}  // namespace

std::optional<Operation> Model::fitted(const Operation& operation, KnownCounts* met) const {
  auto possible = possible_here(operation);
  if (!possible || scope_ == Scope::all) return possible;
  const auto compared = comparable(*possible, *this);
  if (scope_ == Scope::verbs) return of_verbs(*possible, compared, *this);
  if (compared.met && met != nullptr) ++(*met)[static_cast<std::size_t>(*compared.met)];
  return compared.operation;
}

std::optional<Operation> Model::possible_here(const Operation& operation) const {
  const Layer& layer = top();
  const Setting& s = layer.setting;
  using Fitted = std::optional<Operation>;
  return std::visit(Overloaded{
                        [&](Write o) -> Fitted {
                          o.range = inside(o.range, layer.size());
                          return o;
                        },
                        [&](WriteCompressed o) -> Fitted {
                          if (!s.compressible()) return {};
                          o.range = inside(o.range, layer.size());
                          const std::uint64_t end = std::min(up(o.range.end(), s.cluster_size), layer.size());
                          o.range.at = down(o.range.at, s.cluster_size);
                          o.range.length = end - o.range.at;
                          return o;
                        },
                        [&](Zero o) -> Fitted {
                          o.range = inside(o.range, layer.size());
                          return o;
                        },
                        [&](Discard o) -> Fitted {
                          o.range = inside(o.range, layer.size());
                          return o;
                        },
                        [&](Flush o) -> Fitted { return o; },
                        [&](Reopen o) -> Fitted { return o; },
                        [&](CreateSnapshot o) -> Fitted {
                          if (s.data_file != DataFile::none || layer.snapshots.size() >= most_snapshots)
                            return {};
                          return o;
                        },
                        [&](ApplySnapshot o) -> Fitted {
                          if (layer.snapshots.empty()) return {};
                          o.which %= static_cast<std::uint32_t>(layer.snapshots.size());
                          return o;
                        },
                        [&](RemoveSnapshot o) -> Fitted {
                          if (layer.snapshots.empty()) return {};
                          o.which %= static_cast<std::uint32_t>(layer.snapshots.size());
                          return o;
                        },
                        [&](Resize o) -> Fitted {
                          // Where the snapshots' sizes can't be noted, they would be lost; both refuse.
                          if (s.version == 2 && !layer.snapshots.empty()) return {};
                          o.size = std::clamp(down(o.size, sector), sector, largest_disk(s));
                          if (o.size <= layer.size()) o.preallocation = engine::Preallocation::off;
                          return o;
                        },
                        [&](AddBitmap o) -> Fitted {
                          if (s.version == 2 || layer.bitmaps.size() >= most_bitmaps) return {};
                          o.granularity = std::clamp(std::bit_floor(o.granularity),
                                                     std::bit_ceil(up(largest_disk(s) / most_bits, sector)),
                                                     std::uint64_t{1} << 20);
                          return o;
                        },
                        [&](RemoveBitmap o) -> Fitted {
                          if (layer.bitmaps.empty()) return {};
                          o.which %= static_cast<std::uint32_t>(layer.bitmaps.size());
                          return o;
                        },
                        [&](ClearBitmap o) -> Fitted { return of_trusted_bitmap(layer, o); },
                        [&](EnableBitmap o) -> Fitted { return of_trusted_bitmap(layer, o); },
                        [&](const AddOverlay& o) -> Fitted { return fitted_overlay(o); },
                        [&](const Use& o) -> Fitted { return fitted_use(o); },
                        [&](const Commit& o) -> Fitted { return fitted_commit(o); },
                        [&](const Rebase& o) -> Fitted { return fitted_rebase(o); },
                        [&](const Pull& o) -> Fitted { return fitted_pull(o); },
                        [&](const RemoveLayer& o) -> Fitted { return fitted_removal(o); },
                    },
                    operation);
}

void Model::apply(const Operation& operation) {
  Layer& layer = used_layer();
  if (on_tree(operation))
    for (auto& bitmap : layer.bitmaps) bitmap.changed = false;
  std::visit(Overloaded{
                 [&](const Write& o) {
                   put(layer, o.range, filled(o.fill, o.range.length));
                   hold(layer, o.range, layer.setting.piece());
                   mark(layer, o.range);
                 },
                 [&](const WriteCompressed& o) {
                   put(layer, o.range, filled(o.fill, o.range.length));
                   hold(layer, o.range, layer.setting.cluster_size);
                   mark(layer, o.range);
                 },
                 [&](const Zero& o) { zero(layer, o); },
                 [&](const Discard& o) { discard(layer, o); },
                 [&](const Flush&) {},
                 [&](const Reopen&) {
                   for (auto& bitmap : layer.bitmaps) bitmap.changed = false;
                 },
                 [&](const CreateSnapshot&) {
                   layer.snapshots.push_back({layer.next_snapshot(), layer.disk});
                   ++layer.named;
                 },
                 [&](const ApplySnapshot& o) {
                   const bool resized = layer.snapshots[o.which].state.content.size() != layer.size();
                   layer.disk = layer.snapshots[o.which].state;
                   if (resized) follow_size(layer);
                   mark(layer, {0, layer.size()});
                 },
                 [&](const RemoveSnapshot& o) {
                   layer.snapshots.erase(layer.snapshots.begin() + static_cast<std::ptrdiff_t>(o.which));
                 },
                 [&](const Resize& o) {
                   if (o.size == layer.size()) return;
                   const std::uint64_t old = layer.size();
                   set_size(layer, o.size);
                   // The old end's piece is held once its rest must hide what lies below.
                   if (o.size > old && old % layer.setting.piece() != 0) perhaps_hold(layer, old);
                   follow_size(layer);
                 },
                 [&](const AddBitmap& o) {
                   layer.bitmaps.push_back(
                       {.name = layer.next_bitmap(),
                        .granularity = o.granularity,
                        .enabled = o.enabled,
                        .marked = std::vector<bool>(up(layer.size(), o.granularity) / o.granularity)});
                   ++layer.named;
                 },
                 [&](const RemoveBitmap& o) {
                   layer.bitmaps.erase(layer.bitmaps.begin() + static_cast<std::ptrdiff_t>(o.which));
                 },
                 [&](const ClearBitmap& o) {
                   auto& bitmap = layer.bitmaps[o.which];
                   bitmap.changed = true;
                   bitmap.marked.assign(bitmap.marked.size(), false);
                   bitmap.perhaps = bitmap.marked;
                 },
                 [&](const EnableBitmap& o) {
                   auto& bitmap = layer.bitmaps[o.which];
                   bitmap.changed = bitmap.changed || bitmap.enabled != o.enabled;
                   bitmap.enabled = o.enabled;
                 },
                 [&](const AddOverlay& o) { add_layer(o.setting, o.over == 0 ? used_ : o.over - 1); },
                 [&](const Use& o) { used_ = o.which; },
                 [&](const Commit& o) { commit(chain_of(used_), o.top, o.base); },
                 [&](const Rebase& o) {
                   const auto onto = o.onto == 0 ? std::nullopt : std::optional<std::size_t>(o.onto - 1);
                   o.safe ? rebase(used_, onto) : rename(used_, onto);
                 },
                 [&](const Pull& o) {
                   const auto chain = chain_of(used_);
                   pull(chain[o.image], o.base == 0 ? std::nullopt : std::optional(chain[o.base]));
                 },
                 [&](const RemoveLayer& o) { remove_layer(o); },
             },
             operation);
}

void Model::refuse(const Operation& operation) {
  if (std::holds_alternative<ApplySnapshot>(operation)) mark(used_layer(), {0, top().size()});
}

}  // namespace cowvet::model
