#include "analyzer/claims.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace cowvet::analyzer {

using base::GuestOffset;
using findings::Owner;

Claims::Claims(Image& image, MappingWalk& walk, const MetadataMap& metadata,
               std::vector<std::uint64_t> clusters)
    : walk_(walk),
      metadata_(metadata),
      geometry_(*image.geometry),
      naming_(image, walk.trees()),
      clusters_(std::move(clusters)),
      kept_of_each_(std::clamp(most_claims_in_all / std::max<std::size_t>(clusters_.size(), 1), least_claims,
                               most_claims)),
      counts_(clusters_.size()) {
  claims_.reserve(clusters_.size() * kept_of_each_);  // growing would take half as much again
}

// Adds make(cluster), which stands for `refs` references, for each looked-at cluster of [first, last].
template <class Make>
void Claims::claim(std::uint64_t first, std::uint64_t last, std::uint32_t refs, Make&& make) {
  for (auto it = std::ranges::lower_bound(clusters_, first); it != clusters_.end() && *it <= last; ++it) {
    auto& count = counts_[static_cast<std::size_t>(it - clusters_.begin())];
    count.refs += refs;
    if (++count.claims > kept_of_each_) continue;
    claims_.push_back(make(*it));
    claims_.back().refs = refs;
  }
}

std::uint32_t Claims::number_of(const std::vector<std::uint32_t>& trees) {
  if (trees.size() == 1) return trees.front();
  const auto [it, fresh] = known_layers_.try_emplace(trees, static_cast<std::uint32_t>(layers_.size()));
  if (fresh) layers_.push_back(&it->first);
  return several | it->second;
}

std::span<const std::uint32_t> Claims::layers(const Claim& claim) const {
  if ((claim.layers & several) == 0) return std::span(&claim.layers, 1);
  return *layers_[claim.layers & ~several];
}

base::Result<void> Claims::collect() {
  const auto& regions = metadata_.regions();
  for (std::size_t i = 0; i < regions.size(); ++i) {
    if (regions[i].length == 0) continue;
    const std::uint64_t first = geometry_.cluster_of(regions[i].begin).raw();
    const std::uint64_t last =
        base::saturating_add(regions[i].begin.raw(), regions[i].length - 1) >> geometry_.cluster_bits();
    claim(first, last, 1, [&](std::uint64_t cluster) {
      return Claim{.cluster = cluster,
                   .type = Claim::Type::metadata,
                   .kind = regions[i].kind,
                   .entry = static_cast<std::uint32_t>(i)};
    });
  }
  for (const auto block : metadata_.blocks())
    claim(block, block, 1, [](std::uint64_t cluster) {
      return Claim{.cluster = cluster, .type = Claim::Type::metadata, .kind = Kind::refcount_block};
    });
  if (auto walked = walk_.run_in_order(*this); !walked) return walked;
  std::ranges::sort(implausible_);
  std::ranges::sort(claims_, {}, [](const Claim& c) {
    return std::tuple(c.cluster, c.type, c.kind, c.l1_index, c.entry, c.layers, c.table);
  });
  return {};
}

void Claims::group(const Group& group, unsigned) {
  for (const auto& use : group.uses) {
    const std::uint64_t cluster = geometry_.cluster_of(use.table).raw();
    claim(cluster, cluster, use.refs_here, [&](std::uint64_t c) {
      return Claim{.cluster = c,
                   .type = Claim::Type::table,
                   .kind = Kind::l2,
                   .active = use.active,
                   .copied = use.copied,
                   .layers = number_of(use.trees),
                   .l1_index = group.l1_index,
                   .table = use.table.raw()};
    });
  }
}

void Claims::table(const Group&, const TableUse& use, const Table& table, unsigned) {
  if (table.ends && table.looks.implausible() &&
      std::ranges::binary_search(clusters_, geometry_.cluster_of(use.table).raw()))
    implausible_.push_back(use.table.raw());
}

void Claims::owned(const Group& group, std::span<const Owned> items, unsigned) {
  for (const auto& item : items) {
    const auto& run = item.run;
    const bool compressed = run.type == EntryType::compressed;
    if (!compressed && walk_.rules().external_data) continue;
    const ClusterSpan span = host_clusters(run, geometry_);
    claim(span.first, span.first + span.count - 1, item.refs, [&](std::uint64_t cluster) {
      std::vector<std::uint32_t> trees;
      if (item.uses.empty()) {
        trees = group.uses[item.use].trees;
      } else {
        for (const auto use : item.uses)
          trees.insert(trees.end(), group.uses[use].trees.begin(), group.uses[use].trees.end());
        std::ranges::sort(trees);
      }
      return Claim{.cluster = cluster,
                   .type = compressed ? Claim::Type::compressed : Claim::Type::data,
                   .kind = compressed ? Kind::compressed : Kind::data,
                   .active = item.active,
                   .copied = item.active && run.copied,
                   .entry = run.first + (compressed ? 0 : static_cast<std::uint32_t>(cluster - span.first)),
                   .layers = number_of(trees),
                   .l1_index = group.l1_index,
                   .table = group.uses[item.use].table.raw()};
    });
  }
}

std::span<const Claim> Claims::on(std::uint64_t cluster) const {
  return std::ranges::equal_range(claims_, cluster, {}, &Claim::cluster);
}

std::uint64_t Claims::total(std::uint64_t cluster) const {
  const auto it = std::ranges::lower_bound(clusters_, cluster);
  return it != clusters_.end() && *it == cluster
             ? counts_[static_cast<std::size_t>(it - clusters_.begin())].refs
             : 0;
}

bool Claims::implausible(const Claim& table) const {
  return table.type == Claim::Type::table && std::ranges::binary_search(implausible_, table.table);
}

std::string Claims::where(const Claim& claim) const {
  if (claim.type == Claim::Type::metadata) {
    if (claim.kind != Kind::refcount_block) return metadata_.regions()[claim.entry].where();
    return fmt::format("refcount_block at {:#x}", claim.cluster << geometry_.cluster_bits());
  }
  const auto entry = naming_.l1_entry(walk_.trees()[layers(claim).front()], claim.l1_index);
  return claim.type == Claim::Type::table ? entry : fmt::format("{}.l2[{}]", entry, claim.entry);
}

GuestOffset Claims::guest(const Claim& claim) const {
  return GuestOffset{claim.l1_index * geometry_.span() +
                     (std::uint64_t{claim.entry} << geometry_.cluster_bits())};
}

Owner Claims::owner(const Claim& claim) const {
  Owner owner{std::string(to_string(claim.kind)), where(claim), std::nullopt};
  if (claim.type == Claim::Type::data || claim.type == Claim::Type::compressed) {
    const auto& tree = walk_.trees()[layers(claim).front()];
    owner.guest = {guest(claim), geometry_.cluster_size(), naming_.layer(tree)};
  } else if (claim.type == Claim::Type::table) {
    owner.guest = {GuestOffset{claim.l1_index * geometry_.span()}, geometry_.span(),
                   naming_.layer(walk_.trees()[layers(claim).front()])};
  }
  return owner;
}

void Claims::put_guest(findings::Finding& finding, const Claim& claim) const {
  if (claim.type == Claim::Type::metadata) return;
  const std::uint64_t length = claim.type == Claim::Type::table ? geometry_.span() : geometry_.cluster_size();
  for (const auto tree : layers(claim)) naming_.put_guest(finding, walk_.trees()[tree], guest(claim), length);
}

}  // namespace cowvet::analyzer
