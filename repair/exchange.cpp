// The active L1 table and a cluster of data that lie at each other's places, as a device leaves them that writes to the
// wrong one: the table is found where nothing refers to it, and leads to data at just that place. Promises:
// nothing is lost by it, since both clusters stay; done only where the header leads to no L1 table, and the
// one that was found is the only one.
#include <fmt/format.h>

#include "repair/l1_search.hpp"
#include "repair/remedies.hpp"

namespace cowvet::repair {

using namespace findings::literals;
using findings::Consent;

namespace {

constexpr std::string_view swap = "exchange the L1 table and the data cluster that lies in its place";

// How many entries of the L2 tables below the L1 table at `l1` lead to this cluster of data.
std::uint64_t uses(const Draft& draft, std::uint64_t l1, std::uint64_t entries, std::uint64_t cluster) {
  const auto& g = draft.geometry();
  std::uint64_t count = 0;
  for (std::uint64_t i = 0; i < entries; ++i) {
    const std::uint64_t at = draft.word(l1 + i * 8) & format::entry_offset_mask;
    if (at == 0 || !g.aligned(base::HostOffset{at}) || at >= draft.image().size()) continue;
    const auto table = draft.bytes(at, g.cluster_size());
    const base::BigEndianTable<std::uint64_t> words(table);
    for (std::size_t k = 0; k < words.size(); k += static_cast<std::size_t>(g.l2_entry_size() / 8)) {
      const format::L2Entry entry{words[k]};
      count += !entry.compressed() && entry.offset().raw() == cluster ? 1U : 0U;
    }
  }
  return count;
}

}  // namespace

Remedied exchange(Draft& draft) {
  if (!draft.verdict().geometry || !draft.verdict().complete || draft.verdict().inferred ||
      draft.verdict().orphans.empty() || draft.header().external_data_file())
    return {};
  const auto& g = draft.geometry();
  const auto& v2 = draft.header().v2;
  const std::uint64_t entries = g.l1_entries(v2.size), cluster = g.cluster_size();
  const std::uint64_t here = v2.l1_table_offset.raw();
  if (entries == 0 || entries > v2.l1_size || v2.l1_size * 8ULL > cluster || !g.aligned(v2.l1_table_offset) ||
      here == 0 || here + cluster > draft.image().size() || tables_behind(draft, here, entries) != 0 ||
      cut_off(draft, here, entries))
    return {};
  const auto found = search_l1(draft, entries);
  if (!found || found->offset + cluster > draft.image().size() ||
      uses(draft, found->offset, entries, found->offset) != 1 ||
      uses(draft, found->offset, entries, here) != 0)
    return {};
  const auto table = draft.bytes(found->offset, cluster), data = draft.bytes(here, cluster);
  if (!base::all_zero(std::span(table).subspan(static_cast<std::size_t>(entries * 8)))) return {};
  auto* action = draft.may_act(
      "refcount/leak-holds-table"_rule, Consent::choice, swap,
      {.where = fmt::format("cluster[{}]", found->offset >> g.cluster_bits()),
       .guest = {{base::GuestOffset{0}, v2.size, ""}},
       .evidence = "it holds the only L1 table that was found, whose tables lead to it as to data"});
  if (action == nullptr) {
    draft.spare(found->offset >> g.cluster_bits(), 1);
    return {};
  }
  if (auto done = draft.put(*action, here, table); !done) return done;
  return draft.put(*action, found->offset, data);
}

}  // namespace cowvet::repair
