#include "model/known_differences.hpp"

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
  if (met) o.preallocation = engine::Preallocation::off;
  return {o, met};
}

}  // namespace

Comparable comparable(const Operation& fitted, const Layer& layer) {
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
