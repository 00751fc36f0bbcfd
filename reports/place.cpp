#include "reports/place.hpp"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "base/text.hpp"

namespace cowvet::reports {

using findings::Finding;

namespace {

constexpr std::size_t owners_shown = 4, guest_ranges_shown = 3;

// "0x50000..0x60000 (64 KiB)".
std::string range(std::uint64_t begin, std::uint64_t length) {
  return fmt::format("{:#x}..{:#x} ({})", begin, begin + length, base::human_size(length));
}

}  // namespace

std::string describe(const findings::GuestRange& guest) {
  auto words = "guest " + range(guest.begin.raw(), guest.length);
  if (!guest.snapshot.empty()) words += fmt::format(" of snapshot '{}'", base::escape(guest.snapshot));
  return words;
}

namespace {

// The first `most` of a list in words, joined; what is left out is counted.
template <class List, class Words>
std::string some_of(const List& list, std::size_t most, std::string_view joint, const Words& words_of) {
  std::string words;
  for (std::size_t i = 0; i < list.size() && i < most; ++i)
    words += (i == 0 ? "" : std::string(joint)) + words_of(list[i]);
  if (list.size() > most) words += fmt::format(" and {} more", list.size() - most);
  return words;
}

// An owner, with its guest range unless the finding has named that already.
std::string describe_owner(const findings::Owner& owner, const Finding& finding) {
  auto words = base::escape(owner.what);
  if (!owner.where.empty() && owner.where != finding.where) words += " " + base::escape(owner.where);
  if (owner.guest && std::ranges::find(finding.guest, *owner.guest) == finding.guest.end())
    words += " (" + reports::describe(*owner.guest) + ")";
  return words;
}

bool named_with_guest(const Finding& finding) {
  return std::ranges::find(finding.guest, finding.snapshot, &findings::GuestRange::snapshot) !=
         finding.guest.end();
}

}  // namespace

std::string place(const Finding& finding, PlaceDetail detail) {
  const bool all = detail == PlaceDetail::all;
  std::vector<std::string> parts;
  if (finding.host) parts.push_back("file " + range(finding.host->begin.raw(), finding.host->length));
  if (!finding.guest.empty())
    parts.push_back(some_of(finding.guest, all ? SIZE_MAX : guest_ranges_shown, ", ",
                            [](const findings::GuestRange& guest) { return describe(guest); }));
  if (!finding.snapshot.empty() && !named_with_guest(finding))
    parts.push_back(fmt::format("snapshot '{}'", base::escape(finding.snapshot)));
  if (!finding.actual.empty()) parts.push_back("found " + base::escape(to_string(finding.actual)));
  if (!finding.expected.empty()) parts.push_back("expected " + base::escape(to_string(finding.expected)));
  if (finding.count > 1) parts.push_back(fmt::format("{} clusters", finding.count));
  if (!finding.owners.empty())
    parts.push_back("used by " + some_of(finding.owners, all ? SIZE_MAX : owners_shown, " and ",
                                         [&](const auto& owner) { return describe_owner(owner, finding); }));
  if (!finding.detail.empty()) parts.push_back(base::escape(finding.detail));
  if (finding.inferred) parts.emplace_back("rests on an inferred geometry");
  const auto where = finding.where.empty() ? "the image" : base::escape(finding.where);
  return parts.empty() ? where : fmt::format("{}: {}", where, fmt::join(parts, "; "));
}

}  // namespace cowvet::reports
