#include "model/examine.hpp"

#include <exception>
#include <map>
#include <set>

#include <fmt/format.h>

#include "model/compare.hpp"
#include "model/found.hpp"

namespace cowvet::model {

namespace {

using Found = std::optional<Disagreement>;

class Run {
 public:
  Run(const Sequence& sequence, const Examination& how)
      : sequence_(sequence), how_(how), model_(sequence.raw_base, sequence.first, how.scope) {}

  Outcome whole() {
    Outcome outcome;
    try {
      outcome.disagreement = start();
      for (const auto& wanted : sequence_.operations) {
        if (outcome.disagreement) break;
        const auto operation = model_.fitted(wanted);
        if (!operation) continue;
        ++outcome.operations;
        ++outcome.kinds[operation->index()];
        outcome.disagreement = step(*operation);
        if (!outcome.disagreement && how_.check_every != 0 && outcome.operations % how_.check_every == 0)
          outcome.disagreement = look(outcome.operations % (2 * how_.check_every) == 0);
      }
      if (!outcome.disagreement) outcome.disagreement = look(true);
      if (!outcome.disagreement) outcome.disagreement = compare_top();
    } catch (const std::exception& error) {
      outcome.disagreement = Disagreement{Oracle::refused, error.what()};
    }
    return outcome;
  }

 private:
  static Found refused(const base::Error& error) { return Disagreement{Oracle::refused, error.message}; }

  Found compare_top() {
    const Layer& layer = model_.top();
    if (auto found = compare(chain_.disk(), layer)) return found;
    return layer.data_file.empty() ? Found{}
                                   : compare_data_file(chain_.files().at(layer.data_file).bytes(), layer);
  }

  Found start() {
    if (auto done = chain_.start(model_); !done) return refused(done.error());
    freeze();
    return compare_top();
  }

  Found step(const Operation& operation) {
    const bool shares =
        std::holds_alternative<CreateSnapshot>(operation) || std::holds_alternative<ApplySnapshot>(operation);
    const auto* rebase = std::get_if<Rebase>(&operation);
    const bool renames = rebase != nullptr && !rebase->safe;
    if (auto found = learn_what_is_held(operation, renames)) return found;
    const auto moved = model_.moved_by(operation);
    const auto shown = snapshots_of(moved);
    const bool tree = on_tree(operation);
    const auto used_before = model_.top().name;
    const auto done = chain_.perform(operation, model_);
    if (done) {
      if (auto found = lose_bitmaps(operation)) return found;
      const auto written = tree ? written_by(operation) : std::set<std::string>{};
      model_.apply(operation);
      if (!renames && !chain_.warned() && snapshots_of(moved) != shown)
        return Disagreement{Oracle::snapshot,
                            "snapshots show something else now, and nobody was told beforehand"};
      if (tree)
        if (auto found = look_at_tree(written, used_before)) return found;
    } else if (!shares || done.error().kind != base::ErrorKind::limit) {
      return refused(done.error());
    } else {
      model_.refuse(operation);
    }
    return compare_top();
  }

  // What they read as, one behind the other.
  std::vector<std::byte> snapshots_of(const std::vector<std::size_t>& images) const {
    std::vector<std::byte> all;
    for (const auto image : images)
      for (const auto& snapshot : model_.layers()[image].snapshots)
        all.insert(all.end(), snapshot.state.content.begin(), snapshot.state.content.end());
    return all;
  }

  // What a layer, or a snapshot in it, holds decides what it shows over another backing file.
  Found learn_what_is_held(const Operation& operation, bool renames) {
    if (renames)
      if (auto found = learn(model_.used(), {}, chain_.disk())) return found;
    for (const auto image : model_.moved_by(operation)) {
      const Layer& layer = model_.layers()[image];
      if (layer.snapshots.empty()) continue;
      std::unique_ptr<engine::OpenImage> other;
      if (image != model_.used()) {
        auto opened = chain_.look_at(layer.name);
        if (!opened) return refused(opened.error());
        other = std::move(*opened);
      }
      auto& disk = other ? *other->qcow2() : chain_.disk();
      for (std::size_t i = 0; i < layer.snapshots.size(); ++i) {
        const auto view = disk.snapshot_disk(layer.snapshots[i].name);
        if (!view) return refused(view.error());
        if (auto found = learn(image, i, **view)) return found;
      }
    }
    return {};
  }

  Found learn(std::size_t image, std::optional<std::size_t> snapshot, const engine::Disk& disk) {
    std::vector<Held> held;
    for (std::uint64_t at = 0; at < disk.size(); at += model_.layers()[image].setting.piece()) {
      const auto extent = disk.extent(base::GuestOffset{at}, disk.size() - at);
      if (!extent) return refused(extent.error());
      held.push_back(extent->allocated ? Held::yes : Held::no);
    }
    model_.learn(image, snapshot, held);
    return {};
  }

  // The files that an operation on the tree may write, as the tree is before it.
  std::set<std::string> written_by(const Operation& operation) const {
    std::set<std::string> names;
    const auto add = [&](std::size_t image) {
      names.insert(model_.layers()[image].name);
      names.insert(model_.layers()[image].data_file);
    };
    const auto chain = model_.chain_of(model_.used());
    const auto commit = [&](std::size_t top, std::size_t base) {
      add(chain[base]);
      if (top != 0 || base == 1) add(chain[top == 0 ? 0 : top - 1]);
    };
    // Opening it takes back what an operation that had failed left noted.
    if (const auto* o = std::get_if<Use>(&operation)) add(o->which);
    if (const auto* o = std::get_if<Commit>(&operation)) commit(o->top, o->base);
    if (std::holds_alternative<Rebase>(operation)) add(model_.used());
    if (const auto* o = std::get_if<Pull>(&operation)) add(chain[o->image]);
    if (const auto* o = std::get_if<RemoveLayer>(&operation)) {
      if (!o->upwards) commit(o->which, o->which + 1);
      for (const auto overlay : model_.overlays_of(chain[o->which])) add(overlay);
    }
    return names;
  }

  // Every image that is valid reads as it must, and is sound; nothing else was written.
  Found look_at_tree(const std::set<std::string>& written, const std::string& used_before) {
    if (auto found = look_below(written, used_before)) return found;
    freeze(written);
    for (std::size_t i = 0; i < model_.layers().size(); ++i) {
      const Layer& layer = model_.layers()[i];
      if (!layer.valid || i == model_.used()) continue;
      if (layer.raw) {
        if (same(chain_.files().at(layer.name).bytes(), layer.disk.content)) continue;
        return Disagreement{Oracle::content, layer.name + " holds something else"};
      }
      auto image = chain_.look_at(layer.name);
      if (!image) return refused(image.error());
      auto found = compare(*(*image)->qcow2(), layer);
      if (!found && !layer.data_file.empty())
        found = compare_data_file(chain_.files().at(layer.data_file).bytes(), layer);
      if (!found && written.contains(layer.name)) found = look_at(layer, leaks_[layer.name], true);
      if (!found) continue;
      found->what = layer.name + ": " + found->what;
      return found;
    }
    return {};
  }

  // After an end without closing, bitmaps that had recorded something can't be trusted; others need not be so.
  Found lose_bitmaps(const Operation& operation) {
    const auto* reopened = std::get_if<Reopen>(&operation);
    if (reopened == nullptr || reopened->properly) return {};
    leaks_[model_.top().name] = Leaks::allowed;
    const auto list = chain_.disk().bitmaps();
    for (std::size_t i = 0; i < list.size() && i < model_.top().bitmaps.size(); ++i) {
      if (list[i].in_use)
        model_.distrust(i);
      else if (model_.top().bitmaps[i].changed)
        return Disagreement{Oracle::bitmap,
                            list[i].name + " is trusted, though what it recorded was not stored"};
    }
    return {};
  }

  // What the image is worth to others: flushed it has leaks at worst, closed nothing is wrong.
  Found look(bool closed) {
    auto& disk = chain_.disk();
    const auto leaks = leaks_[model_.top().name];
    if (auto done = closed ? disk.close() : disk.flush(); !done) return refused(done.error());
    if (closed || !disk.header().dirty())
      if (auto found = look_at(model_.top(), closed ? leaks : Leaks::allowed, closed)) return found;
    if (!closed) return {};
    if (auto found = look_below({}, model_.top().name)) return found;
    if (how_.peer)
      if (auto against = how_.peer(chain_.files(), model_, leaks != Leaks::none); !against.empty())
        return Disagreement{Oracle::peer, std::move(against)};
    const Reopen reopen{};
    model_.apply(reopen);
    if (auto done = chain_.open(); !done) return refused(done.error());
    return {};
  }

  Found look_at(const Layer& layer, Leaks leaks, bool deep) {
    auto against = findings(chain_.files().at(layer.name), leaks, deep,
                            layer.data_file.empty() ? nullptr : &chain_.files().at(layer.data_file));
    if (against.empty()) return {};
    return Disagreement{Oracle::check, std::move(against)};
  }

  // Files that nothing may have been done to: all but `used` and its data file, and those that are named.
  Found look_below(const std::set<std::string>& written, const std::string& used) const {
    for (const auto& [name, bytes] : frozen_) {
      const auto file = chain_.files().find(name);
      if (file == chain_.files().end() || written.contains(name) || name == used || name == used + ".data")
        continue;
      if (!same(file->second.bytes(), bytes)) return Disagreement{Oracle::below, name + " was changed"};
    }
    return {};
  }
  // From now on every file but those of the image in use must stay as it is.
  void freeze(const std::set<std::string>& written = {}) {
    const Layer& used = model_.top();
    std::erase_if(frozen_, [&](const auto& frozen) {
      const auto& name = frozen.first;
      return name == used.name || name == used.data_file || written.contains(name) ||
             !chain_.files().contains(name);
    });
    for (const auto& [name, file] : chain_.files())
      if (name != used.name && name != used.data_file) frozen_.try_emplace(name, file.bytes());
  }

  const Sequence& sequence_;
  const Examination& how_;
  Model model_;
  EngineChain chain_;
  std::map<std::string, Leaks> leaks_;  // that images may have, since they were not closed
  std::map<std::string, std::vector<std::byte>> frozen_;
};

}  // namespace

std::string_view name_of(Oracle oracle) {
  constexpr std::string_view names[] = {"refused",   "content", "snapshot", "extent", "bitmap",
                                        "data file", "below",   "check",    "peer"};
  return names[static_cast<std::size_t>(oracle)];
}

Outcome examine(const Sequence& sequence, const Examination& how) { return Run(sequence, how).whole(); }

}  // namespace cowvet::model
