#include "model/examine.hpp"

#include <exception>

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
    const auto data_file = chain_.files().find(data_file_name(model_.layers().size() - 1));
    return data_file == chain_.files().end() ? Found{} : compare_data_file(data_file->second.bytes(), layer);
  }

  Found start() {
    if (auto done = chain_.start(model_); !done) return refused(done.error());
    return compare_top();
  }

  Found step(const Operation& operation) {
    const bool shares =
        std::holds_alternative<CreateSnapshot>(operation) || std::holds_alternative<ApplySnapshot>(operation);
    const auto done = chain_.perform(operation, model_);
    if (done) {
      if (auto found = lose_bitmaps(operation)) return found;
      if (std::holds_alternative<AddOverlay>(operation)) {
        if (auto found = look_below()) return found;
        freeze();
      }
      model_.apply(operation);
    } else if (!shares || done.error().kind != base::ErrorKind::limit) {
      return refused(done.error());
    } else {
      model_.refuse(operation);
    }
    return compare_top();
  }

  // After an end without closing, bitmaps that had recorded something can't be trusted; others need not be so.
  Found lose_bitmaps(const Operation& operation) {
    const auto* reopened = std::get_if<Reopen>(&operation);
    if (reopened == nullptr || reopened->properly) return {};
    leaks_ = Leaks::allowed;
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
    if (auto done = closed ? disk.close() : disk.flush(); !done) return refused(done.error());
    if (closed || !disk.header().dirty())
      if (auto found = look_at_top(closed ? leaks_ : Leaks::allowed, closed)) return found;
    if (!closed) return {};
    if (auto found = look_below()) return found;
    if (how_.peer)
      if (auto against = how_.peer(chain_.files(), model_, leaks_ != Leaks::none); !against.empty())
        return Disagreement{Oracle::peer, std::move(against)};
    const Reopen reopen{};
    model_.apply(reopen);
    if (auto done = chain_.open(); !done) return refused(done.error());
    return {};
  }

  Found look_at_top(Leaks leaks, bool deep) {
    const std::size_t top = model_.layers().size() - 1;
    const auto data_file = chain_.files().find(data_file_name(top));
    auto against = findings(chain_.files().at(image_name(top)), leaks, deep,
                            data_file != chain_.files().end() ? &data_file->second : nullptr);
    if (against.empty()) return {};
    return Disagreement{Oracle::check, std::move(against)};
  }

  Found look_below() const {
    for (const auto& [name, bytes] : frozen_)
      if (!same(chain_.files().at(name).bytes(), bytes))
        return Disagreement{Oracle::below, name + " was changed"};
    return {};
  }
  // Every file but the new image's is one that must not change any more.
  void freeze() {
    leaks_ = Leaks::none;
    const std::size_t top = model_.layers().size();
    for (const auto& [name, file] : chain_.files())
      if (name != image_name(top) && name != data_file_name(top)) frozen_.try_emplace(name, file.bytes());
  }

  const Sequence& sequence_;
  const Examination& how_;
  Model model_;
  EngineChain chain_;
  Leaks leaks_ = Leaks::none;
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
