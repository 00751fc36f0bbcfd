#include "repair/candidates.hpp"

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include <fmt/format.h>

#include "repair/content_places.hpp"
#include "repair/tables.hpp"
#include "repair/vacancies.hpp"

namespace cowvet::repair {

namespace {

constexpr std::uint64_t most_weighed_entries = 1U << 16;
constexpr std::size_t most_empty_entries = 1U << 12;
// How much each kind of evidence weighs beside the bits of what the guest's file systems say.
constexpr double of_resemblance = 32, of_the_check = 16, of_leading_nowhere = 4;

struct OpenEntry {
  std::uint64_t index = 0, word = 0;
  bool vacant = false;  // it has a word, which leads nowhere
};

// Entries of the active L1 table that lead nowhere or are empty, ascending.
std::vector<OpenEntry> open_entries(const Draft& draft) {
  const auto& v2 = draft.header().v2;
  const std::uint64_t count =
      std::min({std::uint64_t{v2.l1_size}, draft.geometry().l1_entries(v2.size), most_weighed_entries});
  std::unordered_set<std::uint64_t> vacant;
  for (const auto& v : vacancies(draft, true, true)) vacant.insert(v.place.offset);
  std::vector<OpenEntry> open;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t at = v2.l1_table_offset.raw() + i * 8, word = draft.word(at);
    if (at + 8 > draft.image().size()) break;
    if (draft.chosen(at)) continue;
    const bool leads_nowhere = vacant.contains(at);
    if (leads_nowhere || (word == 0 && open.size() < most_empty_entries))
      open.push_back({i, word, leads_nowhere});
  }
  return open;
}

struct Weighed {
  Candidate candidate;
  double weight = 0;
};

}  // namespace

std::vector<std::vector<Candidate>> candidates_for(Draft& draft, std::span<const std::uint64_t> tables) {
  std::vector<std::vector<Candidate>> found(tables.size());
  const auto& g = draft.geometry();
  const auto open = open_entries(draft);
  std::vector<std::uint64_t> indices;
  for (const auto& entry : open) indices.push_back(entry.index);
  tables = tables.first(std::min(tables.size(), most_asked_tables));
  const auto bits = fits_by_content(draft, tables, indices);
  const auto& orphans = draft.verdict().orphans;
  for (std::size_t t = 0; t < tables.size(); ++t) {
    const auto orphan = std::ranges::find(orphans, tables[t] >> g.cluster_bits(), &analyzer::Orphan::cluster);
    std::vector<Weighed> all;
    for (std::size_t i = 0; i < open.size(); ++i) {
      const findings::GuestRange guest{base::GuestOffset{open[i].index * g.span()},
                                       std::min(g.span(), draft.header().v2.size - open[i].index * g.span()),
                                       ""};
      Weighed one{
          .candidate = {.where = fmt::format("l1[{}]", open[i].index), .guest = guest, .to = tables[t]}};
      const auto speaks = [&](double weight, std::string_view evidence) {
        one.weight += weight;
        one.candidate.evidence += (one.candidate.evidence.empty() ? "" : "; ") + std::string(evidence);
      };
      if (const auto like = resembles(open[i].word, tables[t]); !like.empty()) speaks(of_resemblance, like);
      const auto covers = [&](const findings::GuestRange& range) {
        return range.snapshot.empty() && range.begin <= guest.begin &&
               guest.begin.raw() - range.begin.raw() < range.length;
      };
      if (orphan != orphans.end()) {
        const auto range = std::ranges::find_if(orphan->guest, covers);
        if (range != orphan->guest.end())
          speaks(of_the_check, range->length <= g.span()
                                   ? orphan->where_from
                                   : "it lies between the table's neighbours in the file");
      }
      if (open[i].vacant) speaks(of_leading_nowhere, "the entry leads nowhere");
      if (const double fit = bits[t * open.size() + i]; std::abs(fit) >= 1)
        speaks(fit, fmt::format("what the guest's file system expects there speaks {} it, {:.0f} bits",
                                fit > 0 ? "for" : "against", std::min(std::abs(fit), 1e4)));
      if (!open[i].vacant && one.candidate.evidence.empty()) speaks(0, "the entry is empty");
      all.push_back(std::move(one));
    }
    std::ranges::stable_sort(all, std::ranges::greater(), &Weighed::weight);
    for (auto& one : std::span(all).first(std::min(all.size(), most_candidates)))
      found[t].push_back(std::move(one.candidate));
  }
  return found;
}

}  // namespace cowvet::repair
