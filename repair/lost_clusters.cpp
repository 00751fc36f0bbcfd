#include "repair/lost_clusters.hpp"

#include <unordered_set>

#include "analyzer/census.hpp"

namespace cowvet::repair {

base::Result<std::vector<std::uint64_t>> lost_clusters(Draft& draft, Counted counted) {
  const analyzer::Options how{.jobs = draft.options().jobs, .assume_qcow2 = draft.options().assume_qcow2};
  std::unordered_set<std::uint64_t> tables;
  for (const auto& orphan : draft.verdict().orphans) tables.insert(orphan.cluster);
  const std::uint64_t end = draft.geometry().clusters(draft.image().size());
  std::vector<std::uint64_t> lost;
  const analyzer::CensusUse use{.owned = [](auto, auto, auto) {},
                                .wrong =
                                    [&](const analyzer::Mismatch& m) {
                                      if (m.label.kind != analyzer::Kind::free || m.stored == 0 ||
                                          (counted == Counted::once && m.stored != 1))
                                        return;
                                      for (std::uint64_t c = m.first; c < m.first + m.count && c < end; ++c)
                                        if (lost.size() < most_lost_clusters && !tables.contains(c))
                                          lost.push_back(c);
                                    }};
  if (auto done = analyzer::take_census(draft.image(), how, draft.progress(), use); !done)
    return std::unexpected(done.error());
  return lost;
}

}  // namespace cowvet::repair
