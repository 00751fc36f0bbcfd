#include "analyzer/overlaps.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "analyzer/claims.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;
using base::HostOffset;
using findings::Finding;
using findings::RuleId;
using findings::Value;

namespace {

constexpr std::size_t most_owners_named = 16;

// The rule for metadata that meets other metadata: that of the first of these kinds among the owners. The
// kinds whose own area has a rule for it come first.
struct KindRule {
  Kind kind;
  RuleId rule;
};
constexpr std::array metadata_rules{
    KindRule{Kind::refcount_block, "refcount/block-overlap"_rule},
    KindRule{Kind::luks, "crypt/header-unique"_rule},
    KindRule{Kind::bitmap_data, "bitmap/data-overlap"_rule},
    KindRule{Kind::active_l1, "overlap/active-l1"_rule},
    KindRule{Kind::refcount_table, "overlap/refcount-table"_rule},
    KindRule{Kind::snapshot_table, "overlap/snapshot-table"_rule},
    KindRule{Kind::snapshot_l1, "overlap/snapshot-l1"_rule},
    KindRule{Kind::bitmap_directory, "overlap/bitmap-directory"_rule},
    KindRule{Kind::bitmap_table, "overlap/bitmap-table"_rule},
};

class Judge {
 public:
  Judge(Image& image, const Claims& claims, const MetadataMap& metadata)
      : image_(image), claims_(claims), metadata_(metadata), geometry_(*image.geometry) {}

  void judge(std::uint64_t cluster) {
    cluster_ = cluster;
    all_ = claims_.on(cluster);
    std::size_t metadata = 0;
    std::size_t data = 0;
    std::size_t compressed = 0;
    for (const auto& claim : all_) {
      metadata += claim.type == Claim::Type::metadata || claim.type == Claim::Type::table ? 1 : 0;
      data += claim.type == Claim::Type::data ? 1 : 0;
      compressed += claim.type == Claim::Type::compressed ? 1 : 0;
    }
    if (metadata > 1) judge_metadata();
    if (metadata > 0 && !judge_implausible_tables()) {
      for (const auto& claim : all_) {
        if (claim.type == Claim::Type::data) report("l2/points-at-metadata"_rule, claim);
        if (claim.type == Claim::Type::compressed) report("compressed/overlaps-metadata"_rule, claim);
      }
    } else if (metadata == 0 && data > 0 && compressed > 0) {
      report("compressed/overlaps-standard"_rule,
             *std::ranges::find(all_, Claim::Type::compressed, &Claim::type));
    } else if (metadata == 0 && data > 1) {
      report("l2/host-alias"_rule, all_.front());
    }
    // With several references of its own the walk has reported the flag already.
    for (const auto& claim : all_)
      if (claim.type == Claim::Type::data && claim.copied && claim.refs == 1)
        report("l2/copied-set-shared"_rule, claim);
  }

 private:
  // A cluster of data that L1 entries take for a table: its content says that it is data, so they are wrong.
  bool judge_implausible_tables() {
    if (!std::ranges::all_of(all_, [&](const Claim& c) {
          return c.type == Claim::Type::data || c.type == Claim::Type::compressed || claims_.implausible(c);
        }))
      return false;
    bool reported = false;
    for (const auto& claim : all_) {
      if (claim.type != Claim::Type::table) continue;
      report("l1/points-at-metadata"_rule, claim);
      reported = true;
    }
    return reported;
  }
  void judge_metadata() {
    const auto only = [&](Kind kind) {
      return std::ranges::all_of(
          all_, [&](const Claim& c) { return c.type != Claim::Type::metadata || c.kind == kind; });
    };
    const auto begins = [&](const Claim& claim) { return metadata_.regions()[claim.entry].begin; };
    const auto& first = all_.front();
    if (first.type != Claim::Type::metadata)
      return;  // L2 tables alone: a repeated table, which has its own rule
    if (only(Kind::refcount_block)) return report("refcount/block-shared"_rule, first);
    if (only(Kind::snapshot_l1) && std::ranges::all_of(all_, [&](const Claim& c) {
          return c.type == Claim::Type::metadata && begins(c) == begins(first);
        }))
      return;  // whole tables shared by snapshots: reported with the snapshot table
    const auto snapshot = std::ranges::find(all_, Kind::snapshot_l1, &Claim::kind);
    if (first.kind == Kind::active_l1 && snapshot != all_.end() && begins(first) == begins(*snapshot))
      return report("l1/shared-with-snapshot"_rule, first);
    for (const auto& row : metadata_rules)
      if (const auto it = std::ranges::find(all_, row.kind, &Claim::kind); it != all_.end())
        return report(row.rule, *it);
  }

  void report(RuleId rule, const Claim& about) {
    const HostOffset begin{cluster_ << geometry_.cluster_bits()};
    Finding f{rule};
    f.where = claims_.where(about);
    f.host = {begin, geometry_.cluster_size()};
    // The others are worth a word as owners, but only this claim's guest range is in doubt.
    const bool one_side = rule == "l2/points-at-metadata"_rule || rule == "l2/copied-set-shared"_rule;
    for (const auto& claim : all_) {
      if (&claim != &about && f.owners.size() < most_owners_named) f.owners.push_back(claims_.owner(claim));
      if ((!one_side || &claim == &about) && f.guest.size() < most_owners_named) claims_.put_guest(f, claim);
    }
    f.detail = fmt::format("{} references to this cluster", claims_.total(cluster_));
    image_.report(std::move(f));
  }

  Image& image_;
  const Claims& claims_;
  const MetadataMap& metadata_;
  const format::Geometry geometry_;
  std::uint64_t cluster_ = 0;
  std::span<const Claim> all_;
};

}  // namespace

base::Result<void> report_overlaps(Image& image, MappingWalk& walk, const MetadataMap& metadata,
                                   const LabelMap& labels) {
  for (std::uint64_t from = labels.window_begin(); from < labels.window_end();) {
    std::vector<std::uint64_t> clusters;
    std::uint64_t next = labels.window_end();
    labels.for_each_run(from, labels.window_end(),
                        [&](std::uint64_t first, std::uint64_t count, Label label) {
                          if (label.kind != Kind::contested || next != labels.window_end()) return;
                          for (std::uint64_t c = first; c < first + count; ++c) {
                            if (clusters.size() == Claims::most_clusters) {
                              next = c;
                              return;
                            }
                            clusters.push_back(c);
                          }
                        });
    if (!clusters.empty()) {
      Claims claims(image, walk, metadata, clusters);
      if (auto collected = claims.collect(); !collected) return collected;
      Judge judge(image, claims, metadata);
      for (const auto cluster : clusters) judge.judge(cluster);
    }
    from = next;
  }
  return {};
}

void report_repeated_tables(Image& image, const MappingWalk& walk) {
  const auto& g = *image.geometry;
  const Naming naming(image, walk.trees());
  for (const auto& repeat : walk.repeats()) {
    Finding f{"l1/alias"_rule};
    f.host = {repeat.table, g.cluster_size()};
    f.actual = Value::hex(repeat.table.raw());
    f.detail = fmt::format("{} L1 entries name this L2 table", repeat.times);
    for (const auto& place : walk.places(repeat)) {
      const auto& tree = walk.trees()[place.tree];
      const base::GuestOffset guest{place.index * g.span()};
      naming.put_guest(f, tree, guest, g.span());
      if (f.where.empty())
        f.where = naming.l1_entry(tree, place.index);
      else
        f.owners.push_back(
            {"L1 entry", naming.l1_entry(tree, place.index), {{guest, g.span(), naming.layer(tree)}}});
    }
    if (constexpr std::uint64_t very_often = 1024; repeat.times >= very_often)
      image.report(Finding{"security/l1-fanout"_rule}
                       .at(f.where)
                       .on(repeat.table, g.cluster_size())
                       .found(Value::dec(repeat.times)));
    image.report(std::move(f));
  }
}

void report_walk_cost(Image& image, const MappingChecks& checks) {
  // What a walk that reads a table for each reference would read, beside what there is to read.
  constexpr std::uint64_t very_much = 64ULL << 30;
  constexpr std::uint64_t out_of_proportion = 128;
  const auto& g = *image.geometry;
  const std::uint64_t plain = base::saturating_mul(checks.table_references(), g.cluster_size());
  const std::uint64_t once = base::saturating_mul(checks.tables(), g.cluster_size());
  if (image.snapshots.empty() || plain < very_much || plain / out_of_proportion < once) return;
  image.report(
      Finding{"security/snapshot-work"_rule}
          .at("snapshots")
          .found(Value::dec(checks.table_references()))
          .saying(fmt::format("{} references to {} L2 tables", checks.table_references(), checks.tables())));
}

namespace {

// Adds what the ranges do not cover yet; what touches a known range widens it, and beyond a number they are left out.
void join(std::vector<findings::GuestRange>& all, std::vector<findings::GuestRange>&& more) {
  for (auto& range : more) {
    const std::uint64_t begin = range.begin.raw();
    const auto touched = std::ranges::find_if(all, [&](const auto& known) {
      return known.snapshot == range.snapshot && known.begin <= range.begin &&
             begin - known.begin.raw() <= known.length;
    });
    if (touched != all.end())
      touched->length = std::max(touched->length, begin - touched->begin.raw() + range.length);
    else if (all.size() < most_owners_named)
      all.push_back(std::move(range));
  }
}

// The clusters that a finding about refcounts speaks of.
struct Span {
  std::uint64_t first, count;
};
std::optional<Span> clusters_of(const Finding& f, const format::Geometry& g) {
  constexpr std::array concerned{"refcount/zero-in-use"_rule, "refcount/too-low"_rule,
                                 "refcount/too-high"_rule, "refcount/overflow"_rule,
                                 "refcount/coverage"_rule};
  if (!f.host || std::ranges::find(concerned, f.rule) == concerned.end()) return std::nullopt;
  return Span{f.host->begin.raw() >> g.cluster_bits(), base::divide_up(f.host->length, g.cluster_size())};
}

}  // namespace

base::Result<void> name_owners(Image& image, MappingWalk& walk, const MetadataMap& metadata,
                               std::span<findings::Finding> kept) {
  const auto& g = *image.geometry;
  const auto concerned = static_cast<std::uint64_t>(
      std::ranges::count_if(kept, [&](const Finding& f) { return clusters_of(f, g).has_value(); }));
  if (concerned == 0) return {};
  const std::uint64_t most = std::max<std::uint64_t>(Claims::most_clusters / concerned, 1);  // of one finding
  std::vector<std::uint64_t> clusters;
  for (const auto& f : kept)
    if (const auto span = clusters_of(f, g))
      for (std::uint64_t i = 0; i < std::min(span->count, most); ++i) clusters.push_back(span->first + i);
  std::ranges::sort(clusters);
  clusters.erase(std::unique(clusters.begin(), clusters.end()), clusters.end());
  clusters.resize(std::min(clusters.size(), Claims::most_clusters));
  Claims claims(image, walk, metadata, clusters);
  if (auto collected = claims.collect(); !collected) return collected;
  for (auto& f : kept) {
    const auto span = clusters_of(f, g);
    if (!span) continue;
    for (std::uint64_t i = 0; i < std::min(span->count, most); ++i) {
      for (const auto& claim : claims.on(span->first + i)) {
        if (f.owners.size() < most_owners_named) f.owners.push_back(claims.owner(claim));
        Finding one{f.rule};
        claims.put_guest(one, claim);
        join(f.guest, std::move(one.guest));
      }
    }
  }
  return {};
}

}  // namespace cowvet::analyzer
