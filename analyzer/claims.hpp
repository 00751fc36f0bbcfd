// Who refers to given clusters: a further walk that looks at those clusters only and remembers every
// reference, with its place and the layers that see it. Promises: bounded memory (of a cluster's many
// references the first few are kept, all are counted) and an order that does not depend on threads.
#pragma once
#include <cstdint>
#include <map>
#include <vector>

#include "analyzer/naming.hpp"
#include "analyzer/walk.hpp"
#include "findings/finding.hpp"

namespace cowvet::analyzer {

struct Claim {
  enum class Type : std::uint8_t { metadata, table, data, compressed };
  std::uint64_t cluster = 0;
  Type type = Type::data;
  Kind kind = Kind::data;    // metadata: of what kind
  bool active = false;       // the active layer refers to it
  bool copied = false;       // ... with COPIED set
  std::uint32_t entry = 0;   // data and compressed: index in the L2 table; metadata: index of the region
  std::uint32_t layers = 0;  // which trees, as Claims::layers() tells
  std::uint32_t refs = 0;
  std::uint64_t l1_index = 0;
  std::uint64_t table = 0;  // host offset of the L2 table, bytes
};

class Claims final : public Visitor {
 public:
  static constexpr std::size_t most_clusters = 1U << 15;  // looked at in one walk
  static constexpr std::size_t most_claims = 64;  // kept of one cluster; of very many clusters, fewer each
  static constexpr std::size_t least_claims = 4;
  static constexpr std::size_t most_claims_in_all = 1U << 17;

  // `clusters` are ascending, at most most_clusters.
  Claims(Image& image, MappingWalk& walk, const MetadataMap& metadata, std::vector<std::uint64_t> clusters);
  [[nodiscard]] base::Result<void> collect();

  // The claims on one of the clusters, metadata first, then in order of guest offsets.
  [[nodiscard]] std::span<const Claim> on(std::uint64_t cluster) const;
  // All references to it, kept or not.
  [[nodiscard]] std::uint64_t total(std::uint64_t cluster) const;
  // Whether the bytes of the L2 table that a claim speaks of are hardly a table: then the claim is the doubtful one.
  [[nodiscard]] bool implausible(const Claim& table) const;
  // How a finding names the claim.
  [[nodiscard]] findings::Owner owner(const Claim& claim) const;
  [[nodiscard]] std::string where(const Claim& claim) const;
  [[nodiscard]] base::GuestOffset guest(const Claim& claim) const;
  void put_guest(findings::Finding& finding, const Claim& claim) const;

  void group(const Group& group, unsigned worker) override;
  void table(const Group& group, const TableUse& use, const Table& table, unsigned worker) override;
  void owned(const Group& group, std::span<const Owned> items, unsigned worker) override;

 private:
  template <class Make>
  void claim(std::uint64_t first, std::uint64_t last, std::uint32_t refs, Make&& make);
  // Claims name a single tree by its number, and several by a number of their own: mostly it is one.
  static constexpr std::uint32_t several = 1U << 31;
  [[nodiscard]] std::uint32_t number_of(const std::vector<std::uint32_t>& trees);
  [[nodiscard]] std::span<const std::uint32_t> layers(const Claim& claim) const;

  MappingWalk& walk_;
  const MetadataMap& metadata_;
  const format::Geometry geometry_;
  Naming naming_;
  std::vector<std::uint64_t> clusters_;
  const std::size_t kept_of_each_;  // claims on one cluster
  struct Count {
    std::uint64_t refs = 0;
    std::size_t claims = 0;
  };
  std::vector<Count> counts_;               // by position in clusters_
  std::vector<std::uint64_t> implausible_;  // host offsets of L2 tables, ascending
  std::vector<Claim> claims_;
  std::vector<const std::vector<std::uint32_t>*> layers_;  // by their numbers: keys of known_layers_
  std::map<std::vector<std::uint32_t>, std::uint32_t> known_layers_;
};

}  // namespace cowvet::analyzer
