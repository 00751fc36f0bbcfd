#include "analyzer/readings.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "analyzer/field_finding.hpp"
#include "analyzer/stored_refcounts.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;
using findings::Finding;
using findings::Severity;
using findings::Value;
using format::Geometry;
using format::HeaderV2;
using format::HeaderV3;
namespace limits = format::limits;

namespace {

constexpr std::uint64_t much = 3;                     // wrong clusters: less is damage to what is wrong
constexpr std::uint64_t next_to_nothing = 8;          // the part of them that a reading may leave
constexpr std::uint64_t most_clusters = 16ULL << 20;  // larger images get no second opinion

// What the other files and the guest hold is the same in all readings; that places in a data file are the guest's is
// what a reading with one stands on.
bool depends_on_reading(findings::RuleId rule) {
  if (rule == "datafile/host-offset"_rule) return true;
  constexpr std::array elsewhere{"backing/", "crypt/", "datafile/", "file/", "luks/", "security/"};
  return rule->severity >= Severity::leak &&
         std::ranges::none_of(elsewhere, [&](std::string_view area) { return rule->name.starts_with(area); });
}

bool any_fatal(const Verdict& verdict) {
  for (std::size_t i = 0; i < findings::rule_count; ++i)
    if (const auto rule = findings::RuleId::from_index(i); depends_on_reading(rule) &&
                                                           rule->severity == Severity::fatal &&
                                                           verdict.summary.of(rule).findings != 0)
      return true;
  return false;
}

template <auto Ptr, class Record>
Reading reading(findings::RuleId rule, const Record& record, std::uint64_t base, std::uint64_t value) {
  Reading r{field_finding<Ptr>(rule, record, base::HostOffset{base}, "header"), value};
  r.finding.expected = Value::dec(value);
  return r;
}

}  // namespace

std::vector<std::byte> Reading::bytes() const {
  std::vector<std::byte> bytes(static_cast<std::size_t>(finding.host->length));
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[bytes.size() - 1 - i] = static_cast<std::byte>(value >> (8 * i) & 0xff);
  return bytes;
}

std::uint64_t wrong_clusters(const Verdict& verdict) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < findings::rule_count; ++i)
    if (const auto rule = findings::RuleId::from_index(i); depends_on_reading(rule))
      sum = base::saturating_add(sum, verdict.summary.of(rule).clusters);
  return sum;
}

bool worth_other_readings(const Verdict& stored) {
  if (!stored.geometry || stored.inferred || !stored.complete) return false;
  // Leaks alone, however many, are no reason: crashes leave them, and to look again costs a check each. But a bit that
  // says that the data is in another file leaves nothing else.
  const auto reason = stored.header->external_data_file() ? Severity::leak : Severity::error;
  std::uint64_t errors = 0;
  for (std::size_t i = 0; i < findings::rule_count; ++i)
    if (const auto rule = findings::RuleId::from_index(i);
        depends_on_reading(rule) && stored.summary.gravest[i] >= reason)
      errors = base::saturating_add(errors, stored.summary.of(rule).clusters);
  return any_fatal(stored) || errors >= much;
}

bool explains(const Verdict& reading, const Verdict& stored) {
  return reading.geometry && !reading.inferred && reading.complete && !any_fatal(reading) &&
         reading.statistics.allocated_clusters != 0 &&
         wrong_clusters(reading) <= wrong_clusters(stored) / next_to_nothing;
}

std::vector<Reading> other_readings(const storage::Device& device, const Verdict& stored) {
  const auto& header = *stored.header;
  const auto& g = *stored.geometry;
  std::vector<Reading> readings;
  const auto affordable = [&](std::uint32_t bits) { return device.allocated() >> bits <= most_clusters; };
  // The table and what it counts lie where they lie in every reading: the right one counts them once.
  const auto believable = [&](std::uint32_t bits, std::uint32_t order) {
    const auto geometry = Geometry::make(bits, order, g.extended_l2());
    return geometry && affordable(bits) &&
           StoredRefcounts(device, *geometry, header.v2.refcount_table_offset).self_evidence() >= 2;
  };
  constexpr std::uint64_t v3_begin = format::disk_size<HeaderV2>;
  if (header.has_v3() && affordable(g.cluster_bits())) {
    const auto flip = [&](findings::RuleId rule, const format::BitInfo& field) {
      const bool set = field.get(header.v3.incompatible_features) == 0;
      auto r = reading<&HeaderV3::incompatible_features>(
          rule, header.v3, v3_begin, field.set(header.v3.incompatible_features, set ? 1 : 0));
      r.finding.actual = Value::hex(header.v3.incompatible_features);
      r.finding.expected = Value::text(set ? "bit set" : "bit clear");
      readings.push_back(std::move(r));
    };
    // Where the bit is not followed, as with clusters too small for it, that has been said.
    if (header.extended_l2() == g.extended_l2() &&
        Geometry::make(g.cluster_bits(), g.refcount_order(), !header.extended_l2()))
      flip("feature/extl2-misflagged"_rule, format::incompatible_word["extended_l2"]);
    // That nothing is counted says that the data is elsewhere only where the counts can be believed.
    if (header.external_data_file() || believable(g.cluster_bits(), g.refcount_order()))
      flip("feature/data-file-misflagged"_rule, format::incompatible_word["external_data_file"]);
    for (std::uint32_t order = 0; order <= limits::max_refcount_order; ++order)
      if (order != header.v3.refcount_order && believable(g.cluster_bits(), order))
        readings.push_back(
            reading<&HeaderV3::refcount_order>("header/geometry-misread"_rule, header.v3, v3_begin, order));
  }
  // The largest clusters first: of what fits them, smaller ones misread only a part.
  for (std::uint32_t bits = limits::max_cluster_bits; bits >= limits::min_cluster_bits; --bits)
    if (bits != g.cluster_bits() && believable(bits, g.refcount_order()))
      readings.push_back(
          reading<&HeaderV2::cluster_bits>("header/geometry-misread"_rule, header.v2, 0, bits));
  return readings;
}

}  // namespace cowvet::analyzer
