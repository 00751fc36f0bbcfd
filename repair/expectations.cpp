// Bits are rough: what proves something weighs more than all that merely agrees, and a contradiction more than that.
#include "repair/expectations.hpp"

#include <algorithm>
#include <utility>

namespace cowvet::repair {

namespace {

constexpr std::size_t grain = 64;  // bytes whose being zeros is remembered
constexpr double proved = 24, disproved = -24;

base::ConstBytes part_of(base::ConstBytes bytes, std::uint64_t from, std::uint64_t to) {
  return bytes.subspan(static_cast<std::size_t>(from), static_cast<std::size_t>(to - from));
}

// How odd it would be if nothing were stored where something of the kind lies; bits.
double oddity(Area::Kind kind) {
  switch (kind) {
    case Area::Kind::checked:
    case Area::Kind::stored: return 20;
    case Area::Kind::used: return 8;
    case Area::Kind::held: return 1;
    case Area::Kind::tried:
    case Area::Kind::perhaps:
    case Area::Kind::zeros:
    case Area::Kind::free: return 0;
  }
  return 0;
}

// In order; of two that overlap the one that begins first stays.
void keep_first(std::vector<Area>& areas) {
  std::ranges::stable_sort(areas, {}, &Area::begin);
  std::uint64_t end = 0;
  std::erase_if(areas, [&](const Area& area) {
    if (area.begin < end) return true;
    end = area.end;
    return false;
  });
}

}  // namespace

Content::Content(base::ConstBytes bytes) : bytes_(bytes) {
  zero_.reserve(bytes.size() / grain + 1);
  for (std::size_t at = 0; at < bytes.size(); at += grain)
    zero_.push_back(base::all_zero(bytes.subspan(at, std::min(grain, bytes.size() - at))));
}

bool Content::all_zero(std::uint64_t begin, std::uint64_t end) const {
  auto at = static_cast<std::size_t>(begin);
  const auto stop = std::min(static_cast<std::size_t>(end), bytes_.size());
  while (at < stop) {
    const std::size_t next = std::min((at / grain + 1) * grain, stop);
    if (!zero_[at / grain] && !base::all_zero(bytes_.subspan(at, next - at))) return false;
    at = next;
  }
  return true;
}

bool Expectations::wanted(std::uint64_t begin, std::uint64_t end) const {
  const auto window = std::ranges::upper_bound(windows_, begin, {}, &Window::end);
  return window != windows_.end() && window->begin < end;
}

void Expectations::add(std::uint64_t begin, std::uint64_t end, Area::Kind kind) {
  if (begin < end && areas_.size() < most_areas && wanted(begin, end)) areas_.push_back({begin, end, kind});
}

void Expectations::add_check(std::uint64_t begin, std::uint64_t end, std::string what,
                             std::function<bool(base::ConstBytes)> holds, Area::Kind kind) {
  if (begin >= end || areas_.size() >= most_areas || proofs_.size() >= most_proofs || !wanted(begin, end))
    return;
  areas_.push_back({begin, end, kind, static_cast<std::uint32_t>(proofs_.size())});
  proofs_.push_back({std::move(what), std::move(holds)});
}

void Expectations::add_ground(std::uint64_t begin, std::uint64_t end, Area::Kind kind) {
  if (begin < end && ground_.size() < most_areas && wanted(begin, end)) ground_.push_back({begin, end, kind});
}

void Expectations::add_map(std::uint64_t begin, std::uint64_t end, Area::Kind kind) {
  if (begin < end && map_.size() < most_areas && wanted(begin, end)) map_.push_back({begin, end, kind});
}

void Expectations::seal() {
  keep_first(areas_);
  put_under(ground_);
  put_under(map_);
}

// Adds the parts of the ground on which nothing lies yet.
void Expectations::put_under(std::vector<Area>& ground) {
  keep_first(ground);
  const auto known = areas_;
  for (const auto& area : ground) {
    std::uint64_t at = area.begin;
    auto next = std::ranges::upper_bound(known, at, {}, &Area::end);
    for (; at < area.end; ++next) {
      const bool more = next != known.end() && next->begin < area.end;
      const std::uint64_t stop = more ? next->begin : area.end;
      if (at < stop) areas_.push_back({at, stop, area.kind});
      if (!more) break;
      at = next->end;
    }
  }
  ground.clear();
  std::ranges::sort(areas_, {}, &Area::begin);
}

void Expectations::for_each_check(const UseCheck& use) const {
  for (const auto& area : areas_)
    if (area.kind == Area::Kind::checked || area.kind == Area::Kind::tried) use(area, proofs_[area.proof]);
}

std::size_t Expectations::first_behind(std::uint64_t begin) const {
  return static_cast<std::size_t>(std::ranges::upper_bound(areas_, begin, {}, &Area::end) - areas_.begin());
}

Expectations::Judgement Expectations::judge(std::uint64_t begin, const Content& content) const {
  Judgement judgement;
  const std::uint64_t end = begin + content.bytes().size();
  for (std::size_t i = first_behind(begin); i < areas_.size() && areas_[i].begin < end; ++i) {
    const auto& area = areas_[i];
    const std::uint64_t from = std::max(area.begin, begin) - begin, to = std::min(area.end, end) - begin;
    const bool whole = area.begin >= begin && area.end <= end;
    switch (area.kind) {
      case Area::Kind::tried:
        if (content.all_zero(from, to)) break;
        [[fallthrough]];
      case Area::Kind::checked:
        if (!whole) {
          judgement.bits += content.all_zero(from, to) ? -2 : 0;
        } else if (proofs_[area.proof].holds(part_of(content.bytes(), from, to))) {
          judgement.bits += proved;
          if (judgement.proof == nullptr) judgement.proof = &proofs_[area.proof].what;
        } else {
          judgement.bits += disproved;
        }
        break;
      case Area::Kind::stored: judgement.bits += content.all_zero(from, to) ? -16 : 1; break;
      case Area::Kind::used: judgement.bits += content.all_zero(from, to) ? -4 : 0.5; break;
      case Area::Kind::held: judgement.bits += content.all_zero(from, to) ? -1 : 0; break;
      case Area::Kind::perhaps: break;
      case Area::Kind::zeros:
        judgement.bits += content.all_zero(from, to) ? (to - from < 16 ? 0.5 : 2) : -10;
        break;
      case Area::Kind::free: judgement.bits += content.all_zero(from, to) ? 0.5 : -4; break;
    }
  }
  return judgement;
}

bool Expectations::proves(std::uint64_t begin, std::uint64_t end) const {
  for (std::size_t i = first_behind(begin); i < areas_.size() && areas_[i].begin < end; ++i)
    if ((areas_[i].kind == Area::Kind::checked || areas_[i].kind == Area::Kind::tried) &&
        areas_[i].begin >= begin && areas_[i].end <= end)
      return true;
  return false;
}

double Expectations::oddity_of_nothing(std::uint64_t begin, std::uint64_t end, std::uint64_t unit) const {
  double bits = 0, most = 0;  // of the units before `at`, and what was found in the one that begins there
  std::uint64_t at = begin;
  for (std::size_t i = first_behind(begin); i < areas_.size() && areas_[i].begin < end; ++i) {
    const double odd = oddity(areas_[i].kind);
    if (odd == 0) continue;
    const std::uint64_t from = std::max(areas_[i].begin, begin), to = std::min(areas_[i].end, end);
    if (const std::uint64_t first = begin + (from - begin) / unit * unit; first != at) {
      bits += std::exchange(most, 0);
      at = first;
    }
    most = std::max(most, odd);
    if (to - at <= unit) continue;
    // It goes on over whole units, and perhaps into one more.
    const std::uint64_t whole = (to - at) / unit - 1;
    bits += most + static_cast<double>(whole) * odd;
    at += (whole + 1) * unit;
    most = at < to ? odd : 0;
  }
  return bits + most;
}

std::uint64_t Expectations::same_until(std::uint64_t begin) const {
  const auto i = first_behind(begin);
  if (i == areas_.size()) return ~std::uint64_t{0};
  return areas_[i].begin > begin ? areas_[i].begin : areas_[i].end;
}

}  // namespace cowvet::repair
