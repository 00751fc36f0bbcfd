// What several owners share and must not share: each gets its own copy, so that all of them read as before and none can
// write to another's. Promises: no byte that is read changes; where a place is a part of the encryption and so no copy
// would read the same, only what is known to be another's or wrong is given up, with consent.
#include <algorithm>

#include "repair/field_places.hpp"
#include "repair/remedies.hpp"
#include "repair/tables.hpp"
#include "repair/vacancies.hpp"

namespace cowvet::repair {

using namespace findings::literals;
using findings::Consent;
using findings::Finding;

namespace {

constexpr std::string_view copy_cluster = "give the entry a copy of the cluster of its own";
constexpr std::string_view copy_stream = "give the entry a copy of the compressed cluster of its own";
constexpr std::string_view copy_l1 = "give the layer a copy of the L1 table of its own";
constexpr std::string_view give_up_share = "give up the cluster, which is another's";

// Whether the entry's neighbours in its table lead to the cluster's neighbours in the file.
bool in_order(const Draft& draft, const EntryPlace& place, std::uint64_t host) {
  const auto& g = draft.geometry();
  const auto leads = [&](std::uint64_t entry, std::uint64_t to) {
    const format::L2Entry word{draft.word(place.table + entry * g.l2_entry_size())};
    return !word.compressed() && word.offset().raw() == to;
  };
  return (place.l2_index > 0 && leads(place.l2_index - 1, host - g.cluster_size())) ||
         (place.l2_index + 1 < g.l2_entries() && leads(place.l2_index + 1, host + g.cluster_size()));
}

// One data cluster, several entries (and perhaps metadata, which keeps it).
Remedied separate_cluster(Draft& draft, const Finding& f, bool metadata) {
  if (!f.host) return {};
  const auto& g = draft.geometry();
  const std::uint64_t host = f.host->begin.raw();
  struct Member {
    EntryPlace place;
    Place named;
    bool ordered = false;
  };
  std::vector<Member> members;
  const auto add = [&](const std::string& where, std::vector<findings::GuestRange> guest) {
    const auto place = draft.entry(where);
    if (!place || place->l1 ||
        std::ranges::any_of(members, [&](const Member& m) { return m.place.offset == place->offset; }))
      return;
    const format::L2Entry word{draft.word(place->offset)};
    if (word.compressed() || word.offset().raw() != host) return;
    members.push_back({*place, {.where = where, .guest = std::move(guest)}, in_order(draft, *place, host)});
  };
  add(f.where, f.guest.empty() ? f.guest : std::vector{f.guest.front()});
  for (const auto& owner : f.owners)
    add(owner.where, owner.guest ? std::vector{*owner.guest} : std::vector<findings::GuestRange>{});
  if (members.empty()) return {};
  std::size_t keeper = members.size();
  if (!metadata) {
    const auto by_choice = std::ranges::find_if(members, [&](const Member& m) {
      return draft.chosen(m.place.offset) && !draft.awaits(m.place.offset);
    });
    const auto ordered =
        by_choice != members.end() ? by_choice : std::ranges::find(members, true, &Member::ordered);
    keeper = ordered == members.end() ? 0 : static_cast<std::size_t>(ordered - members.begin());
  }
  const bool luks = draft.header().v2.crypt_method == static_cast<std::uint32_t>(format::CryptMethod::luks);
  // A copy of metadata holds nothing of the guest's: the image would be sound, and nothing would tell any
  // more that data was lost. So whoever reads the plan is to agree.
  const auto consent = f.rule == "l2/points-at-metadata"_rule ? Consent::choice : Consent::lossless;
  const bool owner_known = metadata || members[keeper].ordered || draft.chosen(members[keeper].place.offset);
  for (std::size_t i = 0; i < members.size(); ++i) {
    auto& m = members[i];
    if (i == keeper || draft.awaits(m.place.offset)) continue;
    if (draft.contested(m.place)) continue;  // the table is another's, perhaps
    if (luks) {
      m.named.evidence = "its place is a part of the encryption, so that no copy would read the same";
      if (!owner_known) {
        for (const auto& one : members)
          if (!one.named.guest.empty())
            m.named.candidates.push_back({.where = one.named.where,
                                          .guest = one.named.guest.front(),
                                          .to = host,
                                          .evidence = "its owner, and the others are wrong"});
        draft.withhold(f.rule, Consent::none, copy_cluster, std::move(m.named));
      } else if (auto* action = draft.may_act(f.rule, Consent::lossy, give_up_share, std::move(m.named)))
        if (auto done = read_as_zeros(draft, *action, m.place.offset); !done) return done;
      continue;
    }
    if (!draft.allows(consent)) {
      draft.withhold(f.rule, consent, copy_cluster, std::move(m.named));
      continue;
    }
    const auto room = draft.take(1);
    if (!room) {
      m.named.evidence = draft.why_no_room();
      draft.withhold(f.rule, Consent::lossy, copy_cluster, std::move(m.named));
      continue;
    }
    auto* action = draft.may_act(f.rule, consent, copy_cluster, std::move(m.named));
    if (auto done = draft.copy(*action, host, *room, g.cluster_size()); !done) return done;
    const std::uint64_t rest =
        draft.word(m.place.offset) & ~(format::entry_offset_mask | format::copied_flag);
    if (auto done = draft.put_word(*action, m.place.offset, rest | *room | format::copied_flag); !done)
      return done;
  }
  return {};
}

// LUKS images have no compressed clusters: where an entry says so and names another's bytes, it is the wrong one.
base::Result<bool> give_up_streams(Draft& draft, const Finding& f) {
  bool any = false;
  std::vector<std::string> places{f.where};
  for (const auto& owner : f.owners) places.push_back(owner.where);
  for (const auto& where : places) {
    const auto place = draft.entry(where);
    if (!place || place->l1 || draft.contested(*place) ||
        !format::L2Entry{draft.word(place->offset)}.compressed())
      continue;
    any = true;
    Place named{.where = where, .evidence = "an encrypted image has no compressed clusters"};
    for (const auto& owner : f.owners)
      if (owner.where == where && owner.guest) named.guest = {*owner.guest};
    if (where == f.where)  // of the ranges of all owners the one of its own layer
      for (const auto& range : f.guest)
        if (range.snapshot.empty() != where.starts_with("snapshot[")) named.guest = {range};
    if (auto* action = draft.may_act(f.rule, Consent::lossy, give_up_share, std::move(named)))
      if (auto done = read_as_zeros(draft, *action, place->offset); !done)
        return std::unexpected(done.error());
  }
  return any;
}

// Two entries name the same stream, or streams that overlap: one gets a copy, at the same place within a sector.
Remedied separate_stream(Draft& draft, const Finding& f) {
  const auto& g = draft.geometry();
  const auto place = draft.entry(f.where);
  if (!place || place->l1 || draft.contested(*place) || draft.header().external_data_file()) return {};
  const format::L2Entry entry{draft.word(place->offset)};
  if (!entry.compressed()) return {};
  auto range = g.compressed_range(entry);
  const std::uint64_t begin = range.offset.raw(), eof = draft.image().size();
  if (begin >= eof) return {};
  constexpr std::uint64_t sector = format::limits::sector;
  const auto room = draft.take(g.clusters(begin % sector + range.length()));
  auto named = place_from(f);
  if (!named.guest.empty()) named.guest.resize(1);
  if (!room) {
    named.evidence = draft.why_no_room();
    draft.withhold(f.rule, Consent::lossy, copy_stream, std::move(named));
    return {};
  }
  auto* action = draft.may_act(f.rule, Consent::lossless, copy_stream, std::move(named));
  if (auto done = draft.copy(*action, begin, *room + begin % sector, std::min(range.length(), eof - begin));
      !done)
    return done;
  range.offset = base::HostOffset{*room + begin % sector};
  return draft.put_word(*action, place->offset, g.compressed_entry(range).word);
}

// A layer gets an L1 table of its own; its pointer lies at `pointer`, and the number of its entries is given.
Remedied separate_l1(Draft& draft, const Finding& f, std::uint64_t pointer, std::uint64_t entries) {
  const std::uint64_t from = draft.word(pointer);
  const std::uint64_t length = entries * 8;
  const auto& g = draft.geometry();
  if (length == 0 || from + length > draft.image().size() || entries > format::limits::max_l1_entries)
    return {};
  if (!draft.allows(Consent::choice)) {
    draft.withhold(f.rule, Consent::choice, copy_l1, place_from(f));
    return {};
  }
  const auto room = draft.take(g.clusters(length));
  if (!room) {
    draft.withhold(f.rule, Consent::lossy, copy_l1, place_from(f, draft.why_no_room()));
    return {};
  }
  auto* action = draft.may_act(f.rule, Consent::choice, copy_l1, place_from(f));
  if (auto done = draft.copy(*action, from, *room, length); !done) return done;
  return draft.put_word(*action, pointer, *room);
}

}  // namespace

Remedied separate(Draft& draft) {
  if (!draft.verdict().geometry || !draft.verdict().complete) return {};
  for (const auto& f : draft.found("l2/points-at-metadata"_rule))
    if (auto done = separate_cluster(draft, f, true); !done) return done;
  for (const auto rule : {"l2/host-alias"_rule, "refcount/overflow"_rule})
    for (const auto& f : draft.found(rule)) {
      if (rule == "refcount/overflow"_rule && draft.header().has_v3()) continue;  // they are made wider
      if (auto done = separate_cluster(draft, f, false); !done) return done;
    }
  const bool luks = draft.header().v2.crypt_method == static_cast<std::uint32_t>(format::CryptMethod::luks);
  for (const auto& f : draft.found("compressed/overlaps-standard"_rule)) {
    if (luks) {
      const auto given_up = give_up_streams(draft, f);
      if (!given_up) return std::unexpected(given_up.error());
      if (*given_up) continue;
    }
    if (auto done = separate_cluster(draft, f, true); !done) return done;
  }
  for (const auto& f : draft.found("compressed/streams-overlap"_rule))
    if (auto done = separate_stream(draft, f); !done) return done;
  for (const auto& f : draft.found("l1/shared-with-snapshot"_rule))
    if (auto done = separate_l1(draft, f, place_of_field<&format::HeaderV2::l1_table_offset>(),
                                draft.header().v2.l1_size);
        !done)
      return done;
  for (const auto& f : draft.found("snapshot/l1-shared"_rule)) {
    if (!f.host) continue;
    const std::uint64_t pointer = f.host->begin.raw();
    if (auto done = separate_l1(draft, f, pointer, draft.word(pointer + 8) >> 32); !done) return done;
  }
  return {};
}

}  // namespace cowvet::repair
