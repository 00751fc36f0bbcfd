#include "model/known_differences.hpp"

#include <algorithm>

#include "model/model.hpp"
#include "model/overloaded.hpp"

namespace cowvet::model {

namespace {

Comparable without(Known met) { return {std::nullopt, met}; }

bool holds_any(const Layer& layer, const Range& range) {
  const std::uint64_t piece = layer.setting.piece();
  for (std::uint64_t at = range.at; at < range.end(); at += piece)
    if (layer.disk.held[at / piece] != Held::no) return true;
  return false;
}

Comparable resize(Resize o, const Layer& layer) {
  const bool grows = o.size > layer.size();
  if (grows && layer.setting.version == 2 && layer.over_backing) return without(Known::version_2_grows);
  if (grows && layer.size() % layer.setting.cluster_size != 0) return without(Known::old_tail_shows);
  std::optional<Known> met;
  if (layer.over_backing && o.preallocation != engine::Preallocation::off)
    met = Known::preallocation_over_backing;
  else if (o.preallocation == engine::Preallocation::metadata)
    met = Known::old_tables_show;
  else if (layer.setting.encryption != format::CryptMethod::none &&
           o.preallocation != engine::Preallocation::off)
    met = Known::preallocated_ciphertext;
  if (met) o.preallocation = engine::Preallocation::off;
  return {o, met};
}

bool encrypted(const Layer& layer) { return layer.setting.encryption != format::CryptMethod::none; }

std::optional<Known> met_by_commit(const Model& model, std::size_t top, std::size_t base) {
  const auto chain = model.chain_of(model.used());
  const auto& layers = model.layers();
  const Layer& from = layers[chain[top]];
  const Layer& into = layers[chain[base]];
  if (top != 0 && into.size() > from.size()) return Known::longer_base_shows;
  if (into.raw || into.size() >= from.size()) return {};
  if (into.setting.version == 2 && into.over_backing) return Known::version_2_grows;
  if (into.size() % into.setting.cluster_size != 0) return Known::old_tail_shows;
  return {};
}

Comparable overlay(AddOverlay o) {
  const auto made = comparable(o.setting);
  o.setting = made.setting;
  return {o, made.met};
}

Comparable on_trees(const Operation& fitted, const Model& model) {
  std::optional<Known> met;
  if (const auto* o = std::get_if<Commit>(&fitted)) met = met_by_commit(model, o->top, o->base);
  if (const auto* o = std::get_if<RemoveLayer>(&fitted); o != nullptr && !o->upwards)
    met = met_by_commit(model, o->which, o->which + 1);
  if (const auto* o = std::get_if<Rebase>(&fitted); o != nullptr && !o->safe)
    if (std::ranges::find(model.top().disk.held, Held::unknown) != model.top().disk.held.end())
      met = Known::held_or_not;
  const bool opens = !std::holds_alternative<Use>(fitted);
  if (opens && std::ranges::any_of(model.layers(), encrypted)) met = Known::keys_of_trees;
  return met ? without(*met) : Comparable{fitted, {}};
}

}  // namespace

ComparableSetting comparable(const Setting& fitted) {
  using engine::Preallocation;
  if (fitted.encryption == format::CryptMethod::none || fitted.preallocation == Preallocation::off)
    return {fitted, {}};
  auto plain = fitted;
  plain.preallocation = Preallocation::off;
  return {plain, Known::preallocated_ciphertext};
}

Comparable comparable(const Operation& fitted, const Model& model) {
  if (const auto* o = std::get_if<AddOverlay>(&fitted)) return overlay(*o);
  if (on_tree(fitted)) return on_trees(fitted, model);
  const Layer& layer = model.top();
  const Setting& s = layer.setting;
  const Comparable same{fitted, {}};
  return std::visit(Overloaded{
                        [&](const WriteCompressed& o) {
                          return holds_any(layer, o.range) ? without(Known::compressed_again) : same;
                        },
                        [&](const Discard&) {
                          return s.version == 2 && layer.over_backing ? without(Known::discard_shows_below)
                                                                      : same;
                        },
                        [&](const Reopen& o) {
                          return o.properly ? same : Comparable{Reopen{}, Known::ended_without_closing};
                        },
                        [&](const CreateSnapshot&) {
                          return s.refcount_bits < 8 ? without(Known::narrow_refcounts) : same;
                        },
                        [&](const ApplySnapshot&) {
                          return layer.bitmaps.empty() ? same : without(Known::revert_unmarked);
                        },
                        [&](const Resize& o) { return resize(o, layer); },
                        [&](const auto&) { return same; },
                    },
                    fitted);
}

}  // namespace cowvet::model
